//! The rows of the catalogue about revocation: staples, responders, lists, and issuers that are published.

use super::super::{Expected, ca::Cert, ocsp::Staple, tls::Tls};
use super::{Entry, GOOD, Serves, fails, hello};

/// Every endpoint whose certificate's standing is in question.
pub(super) const TABLE: &[Entry] = &[
    Entry {
        name: "staple-good",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(stapling(Staple::Good), hello),
        about: "staples an OCSP response: not revoked",
    },
    Entry {
        name: "staple-revoked",
        module: "https",
        expected: fails("tls", "cert_revoked"),
        serves: Serves::Https(stapling(Staple::Revoked), hello),
        about: "staples an OCSP response: revoked yesterday",
    },
    Entry {
        name: "staple-stale",
        module: "https_staple",
        expected: fails("tls", "staple_missing"),
        serves: Serves::Https(stapling(Staple::Stale), hello),
        about: "has to staple an OCSP response; the one it has ended yesterday",
    },
    Entry {
        name: "staple-wrong-certificate",
        module: "https_staple",
        expected: fails("tls", "staple_missing"),
        serves: Serves::Https(stapling(Staple::OtherCertificate), hello),
        about: "has to staple an OCSP response; the one it has is for another certificate",
    },
    Entry {
        name: "staple-bad-signature",
        module: "https_staple",
        expected: fails("tls", "staple_missing"),
        serves: Serves::Https(stapling(Staple::BadSignature), hello),
        about: "has to staple an OCSP response; a stranger signed the one it has",
    },
    Entry {
        name: "staple-delegated",
        module: "https_staple",
        expected: Expected::Success,
        serves: Serves::Https(stapling(Staple::Delegated), hello),
        about: "staples an OCSP response that a responder of its issuer signed",
    },
    Entry {
        name: "staple-none",
        module: "https_staple",
        expected: fails("tls", "staple_missing"),
        serves: Serves::Https(GOOD, hello),
        about: "has to staple an OCSP response, and does not",
    },
    Entry {
        name: "must-staple",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls { cert: Cert::MustStaple, ..stapling(Staple::Good) }, hello),
        about: "its certificate demands a staple, and gets one",
    },
    Entry {
        name: "must-staple-missing",
        module: "https",
        expected: fails("tls", "staple_missing"),
        serves: Serves::Https(Tls::new(Cert::MustStaple), hello),
        about: "its certificate demands a staple, and there is none",
    },
    Entry {
        name: "ocsp-good",
        module: "https_revocation_hard",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::Responder("/ocsp/slow")), hello),
        about: "its responder says, after a while: not revoked",
    },
    Entry {
        name: "ocsp-revoked",
        module: "https_revocation_soft",
        expected: fails("tls", "cert_revoked"),
        serves: Serves::Https(Tls::new(Cert::Responder("/ocsp/revoked")), hello),
        about: "its responder says: revoked",
    },
    Entry {
        name: "ocsp-unknown",
        module: "https_revocation_hard",
        expected: fails("tls", "revocation_unknown"),
        serves: Serves::Https(Tls::new(Cert::Responder("/ocsp/unknown")), hello),
        about: "its responder does not know it, and has to",
    },
    Entry {
        name: "ocsp-dead",
        module: "https_revocation_soft",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::Responder("/ocsp/dead")), hello),
        about: "its responder never answers, which the module permits",
    },
    Entry {
        name: "ocsp-dead-hard",
        module: "https_revocation_hard",
        expected: fails("tls", "revocation_unknown"),
        serves: Serves::Https(Tls::new(Cert::Responder("/ocsp/dead")), hello),
        about: "its responder never answers, and has to",
    },
    Entry {
        name: "crl-good",
        module: "https_revocation_hard",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::List("/crl/list")), hello),
        about: "is not on its issuer's revocation list",
    },
    Entry {
        name: "crl-revoked",
        module: "https_revocation_soft",
        expected: fails("tls", "cert_revoked"),
        serves: Serves::Https(Tls::new(Cert::Listed), hello),
        about: "is on its issuer's revocation list",
    },
    Entry {
        name: "crl-huge",
        module: "https_revocation_soft",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::List("/crl/huge")), hello),
        about: "its issuer's revocation list is larger than is taken",
    },
    Entry {
        name: "missing-intermediate-published",
        module: "https_fetch_issuers",
        expected: fails("tls", "cert_chain_incomplete"),
        serves: Serves::Https(Tls::new(Cert::MissingIntermediatePublished), hello),
        about: "sends its certificate without the intermediate, which its issuer publishes",
    },
];

const fn stapling(staple: Staple) -> Tls {
    Tls { staple: Some(staple), ..GOOD }
}
