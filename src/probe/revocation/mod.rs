//! Whether a certificate is revoked: by the stapled OCSP response, by revocation lists, by the CA's responder.
//!
//! In: a presented chain, the module's policy. Out: facts and a check's result. What is read here was sent by strangers: it
//! is bounded, and believed only by its signature. Nothing here decides whether the probe goes on.

mod address;
mod cache;
mod crl;
mod der;
mod fetch;
mod issuers;
#[cfg(test)]
mod lab_tests;
mod leaf;
mod ocsp;
mod online;
mod signed;
#[cfg(test)]
mod tests;

use super::tls::span;
use crate::model::{CheckResult, CrlFacts, OcspFacts, OcspStatus, Reason, RevocationFacts, RevocationPolicy};
use crl::{Answer, Crl};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use signed::{Algorithms, Issuer, serial_of};
use std::{io, path::Path, sync::Arc};

/// A chain as it was presented, and what it is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Chain<'a> {
    /// Leaf first.
    pub(crate) presented: &'a [CertificateDer<'a>],
    pub(crate) anchors: &'a [TrustAnchor<'static>],
    pub(crate) algorithms: Algorithms<'static>,
    pub(crate) now: UnixTime,
}

impl Chain<'_> {
    fn seconds(&self) -> i64 {
        i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX)
    }
}

/// What was learned, and what it comes to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) facts: RevocationFacts,
    /// `None` when the status is not known and need not be.
    pub(crate) check: Option<CheckResult>,
}

/// A module's revocation checks, ready: its files read.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    policy: RevocationPolicy,
    lists: Vec<Arc<Crl>>,
}

impl Checks {
    /// Reads the policy's files by `read`; a problem names its file.
    pub(crate) fn new<B: AsRef<[u8]>>(
        policy: &RevocationPolicy,
        mut read: impl FnMut(&Path) -> io::Result<B>,
    ) -> Result<Self, String> {
        let mut lists = Vec::new();
        for path in &policy.crl_files {
            let bytes = read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
            let read = crl::read_all(bytes.as_ref()).map_err(|problem| format!("`{}` {problem}", path.display()))?;
            lists.extend(read.into_iter().map(Arc::new));
        }
        Ok(Self { policy: policy.clone(), lists })
    }

    /// What can be told without asking anybody: from the staple, if there is one, and from the lists at hand.
    pub(crate) fn offline(&self, chain: &Chain<'_>, staple: &[u8]) -> Findings {
        let Some(leaf) = chain.presented.first() else { return Findings::default() };
        let must_staple = leaf::pointers(leaf).must_staple;
        let staple = (!staple.is_empty()).then(|| response(staple, chain));
        let from_staple = staple_check(staple.as_ref(), must_staple, self.policy.require_staple);
        let (crl, from_lists) = consult(&self.lists, chain);
        let check = worst(from_staple, from_lists);
        Findings { facts: RevocationFacts { must_staple, staple, responder: None, crl }, check }
    }
}

/// An OCSP response for the leaf.
fn response(response: &[u8], chain: &Chain<'_>) -> OcspFacts {
    let Some((issuer, serial)) = Issuer::of_leaf(chain).zip(chain.presented.first().and_then(serial_of)) else {
        let words = "the issuer's certificate is not at hand, so it cannot be checked";
        return OcspFacts::nothing(OcspStatus::IssuerUnknown, words);
    };
    let mut facts =
        ocsp::judge(response, &ocsp::Subject { serial: &serial, issuer: &issuer }, chain.now, chain.algorithms);
    if facts.status == OcspStatus::Revoked {
        facts.problem = revoked_words("the certificate", "its issuer", (facts.revoked_at, facts.reason), chain.now);
    }
    facts
}

/// A good signature under a revocation is proof, whatever the policy. What else a staple says counts where one is demanded.
fn staple_check(staple: Option<&OcspFacts>, must_staple: bool, require_staple: bool) -> Option<CheckResult> {
    let demanded = match (must_staple, require_staple) {
        (true, _) => Some("the certificate demands a stapled OCSP response (must-staple)"),
        (_, true) => Some("the module demands a stapled OCSP response (require_staple)"),
        _ => None,
    };
    match (staple, demanded) {
        (Some(OcspFacts { status: OcspStatus::Good, .. }), _) => Some(Ok(())),
        (Some(OcspFacts { status: OcspStatus::Revoked, problem, .. }), _) => {
            Some(Err((Reason::CertRevoked, problem.clone())))
        }
        (_, None) => None,
        (None, Some(demand)) => Some(Err((Reason::StapleMissing, format!("{demand}, and none came")))),
        (Some(OcspFacts { status: OcspStatus::Unknown, .. }), Some(demand)) => {
            let words = format!("{demand}; the one that came says that the certificate is unknown");
            Some(Err((Reason::StapleMissing, words)))
        }
        (Some(bad), Some(demand)) => {
            let words = format!("{demand}; the one that came is of no use: {}", bad.problem);
            Some(Err((Reason::StapleMissing, words)))
        }
    }
}

/// What the lists say together.
fn consult(lists: &[Arc<Crl>], chain: &Chain<'_>) -> (Option<CrlFacts>, Option<CheckResult>) {
    let mut facts: Option<CrlFacts> = None;
    for list in lists {
        match list.judge(chain) {
            Answer::Revoked(words) => {
                let facts = CrlFacts { next_update: Some(list.next_update), answered: true, problem: String::new() };
                return (Some(facts), Some(Err((Reason::CertRevoked, words))));
            }
            Answer::Good => {
                facts = Some(CrlFacts { next_update: Some(list.next_update), answered: true, problem: String::new() });
            }
            Answer::Silent(problem) => {
                facts.get_or_insert(CrlFacts { next_update: None, answered: false, problem });
            }
        }
    }
    let known = facts.as_ref().is_some_and(|facts| facts.answered);
    (facts, known.then_some(Ok(())))
}

/// Of two answers the one that is a fault; else the one that there is.
fn worst(a: Option<CheckResult>, b: Option<CheckResult>) -> Option<CheckResult> {
    match (&a, &b) {
        // A missing staple is told after a revocation, which is the graver fault.
        (Some(Err((Reason::StapleMissing, _))), Some(Err(_))) | (Some(Ok(())) | None, Some(_)) => b,
        _ => a,
    }
}

/// `the certificate was revoked 3 days ago (key_compromise), says its issuer`.
fn revoked_words(
    which: &str,
    who: &str,
    (since, reason): (Option<i64>, Option<&'static str>),
    now: UnixTime,
) -> String {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let ago = since.map(|since| format!(" {} ago", span(now.saturating_sub(since).max(0)))).unwrap_or_default();
    let why = reason.filter(|reason| *reason != "unspecified").map(|r| format!(" ({r})")).unwrap_or_default();
    format!("{which} was revoked{ago}{why}, says {who}")
}
