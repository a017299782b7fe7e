//! What a presented chain is worth: validity, chain and name, each judged on its own.
//!
//! In: the certificates as sent, the trusted roots, the name, the time. Out: a verdict. Knows no connection.

use super::{explain, facts, roots::Roots};
use crate::model::{Certificate, CheckResult, PathFacts, Reason, Verdict, issuers};
use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use std::{cell::RefCell, time::Duration};
use webpki::{EndEntityCert, Error, KeyUsage, VerifiedPath};

/// Shorter RSA keys are too weak (NIST SP 800-131A; OpenSSL's security level 2).
pub(super) const SHORTEST_RSA: u32 = 2048;
/// Moments at most at which a chain is tried that does not hold now.
const MAX_MOMENTS: usize = 12;

/// Everything a verdict is computed from.
pub(super) struct Evidence<'a> {
    /// As sent, leaf first.
    pub(super) presented: &'a [CertificateDer<'a>],
    /// The same certificates, read.
    pub(super) facts: &'a [Certificate],
    pub(super) roots: &'a Roots,
    pub(super) name: &'a ServerName<'a>,
    pub(super) now: UnixTime,
    pub(super) algorithms: &'a [&'static dyn SignatureVerificationAlgorithm],
}

/// A path of good signatures from the leaf to a trusted root.
#[derive(Clone, Debug, Default)]
struct Path {
    /// Its presented certificates, leaf first, by position.
    members: Vec<usize>,
    /// The root's dates, where they are known.
    root: Option<(i64, i64)>,
}

/// What a search for paths does about dates that do not fit its time.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Dates {
    /// They count, the root's included, and are an error.
    OfAll,
    /// What does not hold at the time is left out, so that its error covers no other one; a root's dates are not minded.
    Aside,
}

impl Evidence<'_> {
    /// Judges the chain. The proof of possession is not ours to see: it stays unproven here and is filled in when the
    /// handshake's signature was checked.
    pub(super) fn judge(&self) -> Verdict {
        let unproven =
            Err((Reason::CertInvalid, "the server did not prove that it holds the certificate's key".into()));
        let leaf = self.presented.first().map(EndEntityCert::try_from);
        let (chain, validity, paths) = match &leaf {
            _ if self.facts.first().is_none_or(|leaf| leaf.unreadable) => {
                let unreadable = Err(explain::unreadable(self.facts.first()));
                (unreadable.clone(), unreadable, None)
            }
            Some(Ok(leaf)) => self.paths(leaf),
            // The verifier takes no old versions; a trusted certificate may have one.
            Some(Err(Error::UnsupportedCertVersion)) if self.leaf_is_trusted_itself() => self.trusted_leaf(),
            Some(Err(error)) => (Err(explain::refused(error, &self.facts[..1])), self.dates_of_linked(), None),
            None => (Err(explain::unreadable(None)), Err(explain::unreadable(None)), None),
        };
        Verdict {
            proof: unproven,
            validity,
            chain,
            name: self.name_check(leaf.and_then(Result::ok).as_ref()),
            revocation: None,
            pin: None,
            paths,
            ignored: false,
        }
    }

    /// The checks of chain and validity, and the facts of all paths that hold now.
    fn paths(&self, leaf: &EndEntityCert<'_>) -> (CheckResult, CheckResult, Option<PathFacts>) {
        if self.leaf_is_trusted_itself() {
            return self.trusted_leaf();
        }
        // No verifier of chains looks at the leaf's own key.
        let fit = explain::short_key(&self.facts[0]).map_or(Ok(()), Err);
        match self.search(leaf, self.now, Dates::OfAll) {
            Ok(paths) => {
                let expiry = paths.iter().map(|path| self.end_of(path)).max().filter(|_| fit.is_ok());
                (fit, Ok(()), expiry.map(|expiry| PathFacts { expiry }))
            }
            Err(error) if is_about_time(&error) => match self.search_other_moments(leaf, error) {
                Ok(path) => (fit, Err(self.fault_of_dates(&path)), None),
                Err(error) => (Err(self.chain_failure(&error)), self.dates_of_linked(), None),
            },
            Err(error) => (Err(self.chain_failure(&error)), self.dates_of_linked(), None),
        }
    }

    /// Go and curl accept a certificate that is itself in the trust store, whoever signed it, CA or not; so do we.
    fn leaf_is_trusted_itself(&self) -> bool {
        self.presented.first().is_some_and(|der| self.roots.trusts(der))
    }

    fn trusted_leaf(&self) -> (CheckResult, CheckResult, Option<PathFacts>) {
        let leaf = &self.facts[0];
        let validity = explain::dates(&[leaf], self.now_unix());
        let is_for_servers = facts::is_for_servers(&self.presented[0]);
        let fault = if is_for_servers { explain::short_key(leaf) } else { Some(explain::wrong_purpose()) };
        let fit = fault.map_or(Ok(()), Err);
        let paths = (validity.is_ok() && fit.is_ok()).then_some(PathFacts { expiry: leaf.not_after });
        (fit, validity, paths)
    }

    /// Every path that holds at `time`; the verifier's most telling error when there is none. Roots have no dates to the
    /// verifier: they are looked at here, if they are minded.
    fn search(&self, leaf: &EndEntityCert<'_>, time: UnixTime, dates: Dates) -> Result<Vec<Path>, Error> {
        let found: RefCell<Vec<Path>> = RefCell::default();
        let note = |path: &VerifiedPath<'_>| {
            let path = self.path_of(path);
            let at = unix(time);
            match path.root.filter(|_| dates == Dates::OfAll) {
                Some((_, end)) if end < at => return Err(Error::CertExpired { time, not_after: moment(end) }),
                Some((start, _)) if start > at => {
                    return Err(Error::CertNotValidYet { time, not_before: moment(start) });
                }
                _ => found.borrow_mut().push(path),
            }
            // Refusing a good path makes the search go on to the next one.
            Err(Error::UnknownIssuer)
        };
        let intermediates = self.intermediates(unix(time), dates);
        let outcome = leaf.verify_for_usage(
            self.algorithms,
            self.roots.anchors(),
            &intermediates,
            time,
            KeyUsage::server_auth(),
            None,
            Some(&note),
        );
        let error = outcome.err().unwrap_or(Error::UnknownIssuer);
        let found = found.into_inner();
        if found.is_empty() { Err(error) } else { Ok(found) }
    }

    /// What may lead from the leaf to a root: strays and roots among what was sent only blur the verifier's errors.
    fn intermediates(&self, time: i64, dates: Dates) -> Vec<CertificateDer<'_>> {
        let linked = issuers(self.facts).into_iter().filter(|&at| !self.facts[at].self_signed);
        let usable = linked.filter(|&at| dates == Dates::OfAll || holds_at(&self.facts[at], time));
        usable.map(|at| CertificateDer::from(self.presented[at].as_ref())).collect()
    }

    fn path_of(&self, path: &VerifiedPath<'_>) -> Path {
        let position = |der: &[u8]| self.presented.iter().position(|sent| sent.as_ref() == der);
        let above = path.intermediate_certificates().filter_map(|c| position(c.der().as_ref()));
        Path { members: [0].into_iter().chain(above).collect(), root: self.roots.dates_of(path.anchor()) }
    }

    /// When a path dies: the earliest end in it, the root's included.
    fn end_of(&self, path: &Path) -> i64 {
        let ends = path.members.iter().map(|&at| self.facts[at].not_after);
        ends.chain(path.root.map(|(_, end)| end)).min().unwrap_or(0)
    }

    /// A path that holds at some other moment, its root's dates aside; else the error that no moment mends.
    fn search_other_moments(&self, leaf: &EndEntityCert<'_>, now: Error) -> Result<Path, Error> {
        let mut fault = now;
        for time in self.better_times() {
            match self.search(leaf, time, Dates::Aside) {
                Ok(paths) => return paths.into_iter().next().ok_or(Error::UnknownIssuer),
                Err(error) if is_about_time(&error) => {}
                // Elsewhen an issuer may be missing just because its certificate does not hold.
                Err(error) if self.linked_at(unix(time)).iter().all(|c| holds_at(c, unix(time))) => fault = error,
                Err(_) => {}
            }
        }
        Err(fault)
    }

    /// Moments of the leaf's life at which different sets of the linked certificates are valid: first now, then one
    /// between each two dates.
    pub(super) fn better_times(&self) -> impl Iterator<Item = UnixTime> {
        let leaf = &self.facts[0];
        let linked = issuers(self.facts).into_iter().map(|at| &self.facts[at]);
        let mut dates: Vec<i64> = linked.flat_map(|c| [c.not_before, c.not_after]).collect();
        dates.retain(|date| (leaf.not_before..=leaf.not_after).contains(date));
        dates.extend([leaf.not_before, leaf.not_after]);
        dates.sort_unstable();
        dates.dedup();
        let between: Vec<i64> = dates.windows(2).map(|pair| pair[0].midpoint(pair[1])).collect();
        [self.now_unix()].into_iter().chain(between).map(moment).take(MAX_MOMENTS)
    }

    /// Why a path that is good apart from its dates does not hold now.
    fn fault_of_dates(&self, path: &Path) -> (Reason, String) {
        let members: Vec<&Certificate> = path.members.iter().map(|&at| &self.facts[at]).collect();
        if let Err(fault) = explain::dates(&members, self.now_unix()) {
            return fault;
        }
        let top = path.members.last().map_or("", |&at| &self.facts[at].issuer);
        explain::root_dates(top, path.root, self.now_unix())
    }

    /// The dates of the leaf and of the presented certificates that link up from it, where no path tells which are in use.
    /// Of several issuers of one name, one that is valid now will do. Roots are the client's own.
    fn dates_of_linked(&self) -> CheckResult {
        explain::dates(&self.linked(), self.now_unix())
    }

    fn linked(&self) -> Vec<&Certificate> {
        self.linked_at(self.now_unix())
    }

    /// The leaf, then for each certificate a presented issuer of it, if possible one that holds at `time`.
    fn linked_at(&self, time: i64) -> Vec<&Certificate> {
        let mut chain: Vec<&Certificate> = self.facts.first().into_iter().collect();
        let candidates: Vec<&Certificate> = issuers(self.facts).into_iter().map(|at| &self.facts[at]).collect();
        while let Some(last) = chain.last().filter(|c| !c.self_signed) {
            let new = |c: &Certificate| chain.iter().all(|known| known.fingerprint_sha256 != c.fingerprint_sha256);
            let is_above = |c: &&Certificate| c.subject == last.issuer && !c.self_signed && new(c);
            let above: Vec<&Certificate> = candidates.iter().copied().filter(is_above).collect();
            match above.iter().find(|c| holds_at(c, time)).or(above.first()) {
                Some(issuer) => chain.push(issuer),
                None => break,
            }
        }
        chain
    }

    fn name_check(&self, leaf: Option<&EndEntityCert<'_>>) -> CheckResult {
        let Some(facts) = self.facts.first().filter(|leaf| !leaf.unreadable) else {
            return Err(explain::unreadable(self.facts.first()));
        };
        let fits = match leaf {
            Some(leaf) => leaf.verify_is_valid_for_subject_name(self.name),
            None if facts::is_for(&self.presented[0], self.name) => Ok(()),
            None => Err(Error::UnknownIssuer),
        };
        fits.map_err(|error| match error {
            Error::MalformedDnsIdentifier | Error::BadDer | Error::UnsupportedNameType => {
                (Reason::CertMalformed, format!("the certificate's names cannot be read: {}", explain::words(&error)))
            }
            _ => explain::wrong_name(facts, &self.name.to_str()),
        })
    }

    /// Names what is wrong with the chain.
    fn chain_failure(&self, error: &Error) -> (Reason, String) {
        let leaf = &self.facts[0];
        let unanchored =
            matches!(error, Error::UnknownIssuer | Error::InvalidSignatureForPublicKey | Error::CaUsedAsEndEntity);
        if leaf.self_signed && unanchored {
            return (Reason::CertSelfSigned, format!("`{}` is self-signed and not trusted", leaf.subject));
        }
        match error {
            Error::InvalidSignatureForPublicKey => self.bad_signature(),
            Error::UnknownIssuer => self.missing_issuer(leaf),
            other => explain::refused(other, self.linked()),
        }
    }

    /// A signature by a short key is refused unseen. Any other that does not fit is the mark of an issuer that has the right
    /// name and another key: a CA that was set up anew, mostly.
    fn bad_signature(&self) -> (Reason, String) {
        let linked = self.linked();
        let top = linked.last().map_or("", |top| &top.issuer);
        let short = linked.iter().find_map(|c| explain::short_key(c));
        short.or_else(|| self.roots.named(top).find_map(|root| explain::short_key(&root))).unwrap_or_else(|| {
            (
                Reason::CertUnknownIssuer,
                format!("the trusted certificates named `{top}` have another key than the issuer"),
            )
        })
    }

    /// Tells a server that forgot its intermediate from one whose root is not trusted. Real intermediates are published:
    /// a lone leaf that says where its issuer can be fetched was sent without it.
    fn missing_issuer(&self, leaf: &Certificate) -> (Reason, String) {
        let linked = self.linked();
        let top = linked.last().copied().unwrap_or(leaf);
        let root = self.facts.iter().skip(1).find(|c| c.self_signed && c.subject == top.issuer);
        if linked.len() == 1 && leaf.names_issuer_location && root.is_none() {
            return (Reason::CertChainIncomplete, format!("the server did not send the issuer `{}`", leaf.issuer));
        }
        let words = match root {
            Some(root) => format!("the root `{}` that the server sent is not trusted", root.subject),
            None => format!("the issuer `{}` is not trusted", top.issuer),
        };
        (Reason::CertUnknownIssuer, words)
    }

    fn now_unix(&self) -> i64 {
        unix(self.now)
    }
}

fn holds_at(certificate: &Certificate, time: i64) -> bool {
    (certificate.not_before..=certificate.not_after).contains(&time)
}

fn is_about_time(error: &Error) -> bool {
    matches!(error, Error::CertExpired { .. } | Error::CertNotValidYet { .. })
}

fn unix(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

/// Before 1970 no certificate is looked at.
fn moment(unix_seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(unix_seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests;
