//! The verifier's errors and a certificate's faults, as a reason and the words for a person.
//!
//! In: facts and errors. Out: what to call them. Decides nothing.

use super::verdict::SHORTEST_RSA;
use crate::model::{Certificate, CheckResult, Reason};
use webpki::Error;

const NOT_FOR_SERVERS: &str = "it is not meant for TLS servers (extended key usage)";

/// Nothing to judge.
pub(super) fn unreadable(leaf: Option<&Certificate>) -> (Reason, String) {
    match leaf {
        Some(_) => (Reason::CertMalformed, "what the server sent is no certificate that can be read".into()),
        None => (Reason::CertInvalid, "the server sent no certificate".into()),
    }
}

/// Whether all are within their dates at `now`. What has ended comes before what has not begun.
pub(super) fn dates(certificates: &[&Certificate], now: i64) -> CheckResult {
    if let Some(old) = certificates.iter().find(|c| c.not_after < now) {
        return Err(ended(&format!("`{}`", old.subject), now - old.not_after));
    }
    match certificates.iter().find(|c| c.not_before > now) {
        Some(young) => Err(not_begun(&format!("`{}`", young.subject), young.not_before - now)),
        None => Ok(()),
    }
}

/// Why a root's dates make its paths useless.
pub(super) fn root_dates(name: &str, dates: Option<(i64, i64)>, now: i64) -> (Reason, String) {
    let root = format!("the trusted root `{name}`");
    match dates {
        Some((_, end)) if end < now => ended(&root, now - end),
        Some((start, _)) if start > now => not_begun(&root, start - now),
        _ => (Reason::CertExpired, "no path to a trusted root holds now".into()),
    }
}

fn ended(what: &str, ago: i64) -> (Reason, String) {
    (Reason::CertExpired, format!("{what} expired {} ago", span(ago)))
}

fn not_begun(what: &str, left: i64) -> (Reason, String) {
    (Reason::CertNotYetValid, format!("{what} becomes valid in {}", span(left)))
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

/// That a key is too short, if it is.
pub(super) fn short_key(certificate: &Certificate) -> Option<(Reason, String)> {
    let is_short = certificate.key.starts_with("RSA") && certificate.key_bits.is_some_and(|bits| bits < SHORTEST_RSA);
    let words = || format!("the key of `{}` is too short: {}", certificate.subject, certificate.key);
    is_short.then(|| (Reason::CertWeak, words()))
}

/// That the certificate is not for servers.
pub(super) fn wrong_purpose() -> (Reason, String) {
    (Reason::CertWrongPurpose, format!("the certificate is not acceptable: {NOT_FOR_SERVERS}"))
}

/// That the certificate is for other names.
pub(super) fn wrong_name(leaf: &Certificate, wanted: &str) -> (Reason, String) {
    let names = names_of(leaf);
    let words = if names.is_empty() {
        format!("the certificate lists no names, so not `{wanted}`; its subject does not count")
    } else {
        format!("the certificate is for {names}, not `{wanted}`")
    };
    (Reason::CertWrongName, words)
}

fn names_of(leaf: &Certificate) -> String {
    /// Names listed in a message; a certificate may hold thousands.
    const SHOWN: usize = 10;
    let names = leaf.dns_names.iter().cloned().chain(leaf.ip_addresses.iter().map(ToString::to_string));
    names.take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// What an error of the verifier stands for, other than a missing issuer.
pub(super) fn refused<'a>(error: &Error, chain: impl IntoIterator<Item = &'a Certificate>) -> (Reason, String) {
    let reason = reason_of(error);
    let old = || chain.into_iter().find(|c| is_old(&c.signature_algorithm));
    let words = match (reason == Reason::CertWeak).then(old).flatten() {
        Some(old) => format!("`{}` is signed with {}", old.subject, old.signature_algorithm),
        None => format!("the chain is not acceptable: {}", words(error)),
    };
    (reason, words)
}

fn is_old(signature_algorithm: &str) -> bool {
    let name = signature_algorithm.to_ascii_lowercase();
    name.contains("sha1") || name.contains("md5") || name.contains("md2")
}

fn reason_of(error: &Error) -> Reason {
    match error {
        Error::CertExpired { .. } => Reason::CertExpired,
        Error::CertNotValidYet { .. } => Reason::CertNotYetValid,
        Error::CertNotValidForName(_) => Reason::CertWrongName,
        Error::CertRevoked => Reason::CertRevoked,
        Error::UnknownIssuer | Error::InvalidSignatureForPublicKey => Reason::CertUnknownIssuer,
        Error::RequiredEkuNotFoundContext(_) => Reason::CertWrongPurpose,
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            Reason::CertWeak
        }
        Error::BadDer
        | Error::BadDerTime
        | Error::EmptyEkuExtension
        | Error::ExtensionValueInvalid
        | Error::InvalidCertValidity
        | Error::InvalidNetworkMaskConstraint
        | Error::InvalidSerialNumber
        | Error::MalformedDnsIdentifier
        | Error::MalformedExtensions
        | Error::MalformedNameConstraint
        | Error::SignatureAlgorithmMismatch
        | Error::TrailingData(_)
        | Error::UnsupportedCertVersion => Reason::CertMalformed,
        _ => Reason::CertInvalid,
    }
}

/// The verifier's word for an error, as a person reads it.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::CertExpired { .. } | Error::CertNotValidYet { .. } => "its certificates are never valid together".into(),
        Error::RequiredEkuNotFoundContext(_) => NOT_FOR_SERVERS.into(),
        Error::EmptyEkuExtension => "its extended key usage lists nothing".into(),
        Error::CaUsedAsEndEntity => "a CA certificate is used as a server's".into(),
        Error::EndEntityUsedAsCa => "a certificate that is no CA has signed another".into(),
        Error::UnsupportedCertVersion => "it is not an X.509 v3 certificate".into(),
        Error::UnsupportedCriticalExtension => "it has a critical extension that is not known".into(),
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            "a signature's algorithm is too weak or not supported".into()
        }
        Error::NameConstraintViolation => "a name constraint of an issuer forbids this name".into(),
        Error::PathLenConstraintViolated => "an issuer allows fewer intermediates".into(),
        Error::MaximumPathDepthExceeded => "it is too long".into(),
        Error::BadDer | Error::TrailingData(_) => "it is not well-formed DER".into(),
        Error::BadDerTime => "one of its dates is not well-formed".into(),
        Error::SignatureAlgorithmMismatch => "it names two different signature algorithms".into(),
        other => format!("{other:?}"),
    }
}
