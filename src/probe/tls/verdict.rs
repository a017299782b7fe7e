//! What a presented chain is worth: validity, chain and name, each judged on its own.
//!
//! In: the certificates as sent, the trusted roots, the name, the time. Out: a verdict. Knows no connection.

use super::roots::Roots;
use crate::model::{Certificate, CheckResult, PathFacts, Reason, Verdict};
use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use std::{cell::RefCell, time::Duration};
use webpki::{EndEntityCert, Error, KeyUsage, VerifiedPath};

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

impl Evidence<'_> {
    /// Judges the chain. The proof of possession is not ours to see: it stays unproven here and is filled in when the
    /// handshake's signature was checked.
    pub(super) fn judge(&self) -> Verdict {
        let unproven =
            Err((Reason::CertInvalid, "the server did not prove that it holds the certificate's key".into()));
        let leaf = match self.presented.first().map(EndEntityCert::try_from) {
            Some(Ok(leaf)) => leaf,
            other => {
                let words = match other {
                    Some(Err(error)) => format!("the certificate cannot be used: {}", words(&error)),
                    _ => "the server sent no certificate".into(),
                };
                let unusable = Err((Reason::CertInvalid, words));
                return Verdict {
                    proof: unproven,
                    validity: self.validity(),
                    chain: unusable.clone(),
                    name: unusable,
                    revocation: None,
                    pin: None,
                    paths: None,
                    ignored: false,
                };
            }
        };
        let (chain, paths) = self.chain(&leaf);
        let validity = if paths.is_some() { Ok(()) } else { self.validity() };
        Verdict {
            proof: unproven,
            validity,
            chain,
            name: self.name_check(&leaf),
            revocation: None,
            pin: None,
            paths,
            ignored: false,
        }
    }

    /// Whether a path leads to a root, and the facts of all paths that hold now.
    fn chain(&self, leaf: &EndEntityCert<'_>) -> (CheckResult, Option<PathFacts>) {
        if self.leaf_is_trusted_itself() {
            let end = self.facts.first().map_or(0, |leaf| leaf.not_after);
            let paths = self.validity().is_ok().then_some(PathFacts { expiry: end });
            return (Ok(()), paths);
        }
        match self.paths_at(leaf, self.now) {
            Ok(expiry) => (Ok(()), Some(PathFacts { expiry })),
            Err(error) if is_about_time(&error) => (self.chain_at_better_times(leaf, error), None),
            Err(error) => (Err(self.chain_failure(&error)), None),
        }
    }

    /// Dates left aside: whether the path would have held at a time when its certificates were all valid.
    fn chain_at_better_times(&self, leaf: &EndEntityCert<'_>, error: Error) -> CheckResult {
        let mut last = error;
        for time in self.better_times() {
            match self.paths_at(leaf, time) {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        // No moment exists at which every date fits; then the dates alone stand in the way, which validity tells.
        if is_about_time(&last) { Ok(()) } else { Err(self.chain_failure(&last)) }
    }

    /// Moments at which the presented certificates were, or will be, valid together; else each one's own middle.
    pub(super) fn better_times(&self) -> impl Iterator<Item = UnixTime> + '_ {
        let from = self.facts.iter().map(|c| c.not_before).max();
        let until = self.facts.iter().map(|c| c.not_after).min();
        let together = from.zip(until).filter(|(from, until)| from <= until).map(|(from, until)| from.midpoint(until));
        let alone = self.facts.iter().map(|c| c.not_before.midpoint(c.not_after));
        let in_seconds = |at: i64| u64::try_from(at).ok().map(|at| UnixTime::since_unix_epoch(Duration::from_secs(at)));
        together.into_iter().chain(alone).filter_map(in_seconds)
    }

    /// Lists every path that holds at `time` and returns when the last of them dies; an error when there is none.
    fn paths_at(&self, leaf: &EndEntityCert<'_>, time: UnixTime) -> Result<i64, Error> {
        let ends: RefCell<Option<i64>> = RefCell::new(None);
        let note = |path: &VerifiedPath<'_>| {
            let end = self.end_of(path);
            let at = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            if end >= at {
                let mut latest = ends.borrow_mut();
                *latest = Some(latest.map_or(end, |known| known.max(end)));
                // Refusing a good path makes the search go on to the next one.
                return Err(Error::UnknownIssuer);
            }
            let not_after = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(end).unwrap_or(0)));
            Err(Error::CertExpired { time, not_after })
        };
        let outcome = leaf.verify_for_usage(
            self.algorithms,
            self.roots.anchors(),
            self.presented.get(1..).unwrap_or_default(),
            time,
            KeyUsage::server_auth(),
            None,
            Some(&note),
        );
        match (ends.into_inner(), outcome) {
            (Some(end), _) => Ok(end),
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(Error::UnknownIssuer),
        }
    }

    /// When a path ends: the earliest end of its certificates, its root's included where that is known.
    fn end_of(&self, path: &VerifiedPath<'_>) -> i64 {
        let sent = |der: &[u8]| self.presented.iter().position(|c| c.as_ref() == der).and_then(|at| self.facts.get(at));
        let leaf = self.facts.first().map(|c| c.not_after);
        let intermediates =
            path.intermediate_certificates().filter_map(|c| sent(c.der().as_ref())).map(|c| c.not_after);
        leaf.into_iter().chain(intermediates).chain(self.roots.end_of(path.anchor())).min().unwrap_or(0)
    }

    /// Go and OpenSSL accept a self-signed certificate that is itself in the trust store, CA or not; so do we.
    fn leaf_is_trusted_itself(&self) -> bool {
        let self_issued = self.facts.first().is_some_and(|leaf| leaf.self_issued);
        self_issued && self.presented.first().is_some_and(|der| self.roots.trusts(der))
    }

    /// The dates of the leaf and of whatever presented certificates link up from it.
    fn validity(&self) -> CheckResult {
        let now = i64::try_from(self.now.as_secs()).unwrap_or(i64::MAX);
        let in_use = self.linked();
        if let Some(old) = in_use.iter().find(|c| c.not_after < now) {
            return Err((Reason::CertExpired, format!("`{}` expired {} ago", old.subject, span(now - old.not_after))));
        }
        if let Some(young) = in_use.iter().find(|c| c.not_before > now) {
            let until = span(young.not_before - now);
            return Err((Reason::CertNotYetValid, format!("`{}` becomes valid in {until}", young.subject)));
        }
        if in_use.is_empty() {
            return Err((Reason::CertInvalid, "the certificate's dates cannot be read".into()));
        }
        Ok(())
    }

    /// The leaf, then each presented issuer of the one before.
    fn linked(&self) -> Vec<&Certificate> {
        let mut chain: Vec<&Certificate> = self.facts.first().into_iter().collect();
        while let Some(last) = chain.last().filter(|c| !c.self_issued) {
            let issuer = self.facts.iter().find(|c| {
                c.subject == last.issuer && chain.iter().all(|known| known.fingerprint_sha256 != c.fingerprint_sha256)
            });
            match issuer {
                Some(issuer) => chain.push(issuer),
                None => break,
            }
        }
        chain
    }

    fn name_check(&self, leaf: &EndEntityCert<'_>) -> CheckResult {
        leaf.verify_is_valid_for_subject_name(self.name).map_err(|error| {
            let wanted = self.name.to_str();
            let names = self.facts.first().map(names_of).filter(|names| !names.is_empty());
            let words = match (&error, names) {
                (Error::CertNotValidForName(_), Some(names)) => {
                    format!("the certificate is for {names}, not `{wanted}`")
                }
                (Error::CertNotValidForName(_), None) => format!("the certificate names no host, so not `{wanted}`"),
                (other, _) => format!("the certificate's names cannot be read: {}", words(other)),
            };
            (Reason::CertWrongName, words)
        })
    }

    /// Names what is wrong with the chain.
    fn chain_failure(&self, error: &Error) -> (Reason, String) {
        let Some(leaf) = self.facts.first() else {
            return (Reason::CertInvalid, format!("the certificate cannot be used: {}", words(error)));
        };
        let unanchored =
            matches!(error, Error::UnknownIssuer | Error::InvalidSignatureForPublicKey | Error::CaUsedAsEndEntity);
        if leaf.self_issued && unanchored {
            return (Reason::CertSelfSigned, format!("`{}` is self-signed and not trusted", leaf.subject));
        }
        match error {
            Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => self.missing_issuer(leaf),
            other => (Reason::CertInvalid, format!("the chain is not acceptable: {}", words(other))),
        }
    }

    /// Tells a server that forgot its intermediate from one whose root is not trusted. Real intermediates are published:
    /// a lone leaf that says where its issuer can be fetched was sent without it.
    fn missing_issuer(&self, leaf: &Certificate) -> (Reason, String) {
        let top = self.linked().last().copied().unwrap_or(leaf);
        let alone = top.fingerprint_sha256 == leaf.fingerprint_sha256;
        if alone && leaf.names_issuer_location {
            return (Reason::CertChainIncomplete, format!("the server did not send the issuer `{}`", leaf.issuer));
        }
        if top.self_issued {
            return (
                Reason::CertUnknownIssuer,
                format!("the root `{}` that the server sent is not trusted", top.subject),
            );
        }
        (Reason::CertUnknownIssuer, format!("the issuer `{}` is not trusted", top.issuer))
    }
}

fn names_of(leaf: &Certificate) -> String {
    /// Names listed in a message; a certificate may hold thousands.
    const SHOWN: usize = 10;
    let names = leaf.dns_names.iter().cloned().chain(leaf.ip_addresses.iter().map(ToString::to_string));
    names.take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// A time span as a person says it.
pub(in crate::probe) fn span(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

fn is_about_time(error: &Error) -> bool {
    matches!(error, Error::CertExpired { .. } | Error::CertNotValidYet { .. })
}

/// The verifier's word for an error, as a person reads it.
fn words(error: &Error) -> String {
    match error {
        Error::RequiredEkuNotFoundContext(_) => "it is not meant for TLS servers (extended key usage)".into(),
        Error::CaUsedAsEndEntity => "a CA certificate is used as a server's".into(),
        Error::EndEntityUsedAsCa => "a certificate that is no CA has signed another".into(),
        Error::UnsupportedCertVersion => "it is not an X.509 v3 certificate".into(),
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not known".into(),
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "its signature algorithm is too weak or not supported".into()
        }
        Error::NameConstraintViolation => "a name constraint of an issuer forbids this name".into(),
        Error::PathLenConstraintViolated => "an issuer allows fewer intermediates".into(),
        other => format!("{other:?}"),
    }
}
