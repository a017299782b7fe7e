//! Good verdicts, remembered: an identical chain for an identical name stays good until the first time limit inside it.
//!
//! One memo belongs to one set of trusted roots, and ends with it at a reload. Only good verdicts are kept: what is wrong is
//! told anew each time, with its age. The proof of the key is never remembered, nor what revocation and pins say.

use crate::model::{Certificate, Verdict};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Chains remembered at most; one more, and all are forgotten. Reports share the facts of a remembered chain.
const MAX_CHAINS: usize = 16 * 1024;

/// A chain's facts and its verdict.
pub(super) type Judged = (Arc<[Certificate]>, Verdict);

/// What identifies a chain and a name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// The key of this chain for this name.
    pub(super) fn of(presented: &[CertificateDer<'_>], name: &ServerName<'_>) -> Self {
        let mut hash = Sha256::new();
        for part in presented.iter().map(AsRef::as_ref).chain([name.to_str().as_bytes()]) {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

/// The memo of one set of roots.
#[derive(Debug, Default)]
pub(super) struct Memo(Mutex<HashMap<Key, Judged>>);

impl Memo {
    /// What was found before, if it still holds at `now`.
    pub(super) fn get(&self, key: Key, now: UnixTime) -> Option<Judged> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()?;
        holds(&known, now).then_some(known)
    }

    /// Remembers a good verdict; leaves out any other.
    pub(super) fn put(&self, key: Key, judged: &Judged, now: UnixTime) {
        let (_, verdict) = judged;
        let good = verdict.validity.is_ok() && verdict.chain.is_ok() && verdict.name.is_ok();
        if good && holds(judged, now) {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MAX_CHAINS {
                known.clear();
            }
            known.insert(key, judged.clone());
        }
    }
}

/// Whether no certificate that was sent, and no path, ends before `now` is over.
fn holds((chain, verdict): &Judged, now: UnixTime) -> bool {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let ends = chain.iter().map(|certificate| certificate.not_after);
    verdict.paths.is_some_and(|paths| ends.chain([paths.expiry]).all(|end| now < end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{PathFacts, Reason};
    use std::time::Duration;

    fn at(seconds: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(seconds))
    }

    fn judged(leaf_ends: i64, path_ends: i64) -> Judged {
        let verdict = Verdict {
            proof: Ok(()),
            validity: Ok(()),
            chain: Ok(()),
            name: Ok(()),
            revocation: None,
            pin: None,
            paths: Some(PathFacts { expiry: path_ends }),
            ignored: false,
        };
        ([Certificate { not_after: leaf_ends, ..Certificate::default() }].into(), verdict)
    }

    fn key(chain: &[&[u8]], name: &str) -> Key {
        let presented: Vec<_> = chain.iter().map(|der| CertificateDer::from_slice(der)).collect();
        Key::of(&presented, &ServerName::try_from(name).unwrap())
    }

    #[test]
    fn a_verdict_is_remembered_until_the_first_limit_inside_it() {
        for (leaf, path, last) in [(100, 200, 99), (200, 100, 99)] {
            let memo = Memo::default();
            let key = key(&[b"leaf"], "a.example");
            memo.put(key, &judged(leaf, path), at(10));
            assert!(memo.get(key, at(last)).is_some());
            assert!(memo.get(key, at(last + 1)).is_none());
        }
    }

    #[test]
    fn nothing_but_a_good_verdict_is_remembered() {
        let memo = Memo::default();
        let key = key(&[b"leaf"], "a.example");
        let (chain, good) = judged(100, 100);
        let bad = || Err((Reason::CertWrongName, String::new()));
        for verdict in [
            Verdict { name: bad(), ..good.clone() },
            Verdict { chain: bad(), ..good.clone() },
            Verdict { validity: bad(), ..good.clone() },
            Verdict { paths: None, ..good.clone() },
        ] {
            memo.put(key, &(chain.clone(), verdict), at(10));
            assert!(memo.get(key, at(10)).is_none());
        }
    }

    #[test]
    fn another_chain_or_name_is_another_key() {
        let keys = [
            key(&[b"ab"], "a.example"),
            key(&[b"a", b"b"], "a.example"),
            key(&[b"b", b"a"], "a.example"),
            key(&[b"ab"], "b.example"),
        ];
        for (at, one) in keys.iter().enumerate() {
            assert!(keys.iter().skip(at + 1).all(|other| other != one));
        }
    }
}
