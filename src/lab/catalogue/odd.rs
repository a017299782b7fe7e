//! The rows of the catalogue whose certificates, chains, handshakes or headers are odd.

use super::super::{Expected, Seen, ca::Cert, http::Reply, tls::Tls};
use super::{Entry, GOOD, Serves, fails, hello};
use ::http::header;

/// Every odd endpoint.
pub(super) const TABLE: &[Entry] = &[
    Entry {
        name: "wrong-purpose",
        module: "https",
        expected: fails("tls", "cert_wrong_purpose"),
        serves: Serves::Https(Tls::new(Cert::WrongPurpose), hello),
        about: "its certificate is for clients",
    },
    Entry {
        name: "sha1-signature",
        module: "https",
        expected: fails("tls", "cert_weak"),
        serves: Serves::Https(Tls::new(Cert::Sha1Signature), hello),
        about: "its certificate is signed with SHA-1",
    },
    Entry {
        name: "x509-v1",
        module: "https",
        expected: fails("tls", "cert_malformed"),
        serves: Serves::Https(Tls::new(Cert::VersionOne), hello),
        about: "its certificate is of X.509 version 1",
    },
    Entry {
        name: "unknown-critical",
        module: "https",
        expected: fails("tls", "cert_invalid"),
        serves: Serves::Https(Tls::new(Cert::UnknownCritical), hello),
        about: "its certificate has a critical extension that nobody knows",
    },
    Entry {
        name: "name-constraint",
        module: "https",
        expected: fails("tls", "cert_invalid"),
        serves: Serves::Https(Tls::new(Cert::NameConstraint), hello),
        about: "its issuer may not sign for this name",
    },
    Entry {
        name: "ca-as-leaf",
        module: "https",
        expected: fails("tls", "cert_invalid"),
        serves: Serves::Https(Tls::new(Cert::CaAsLeaf), hello),
        about: "its certificate is a CA's",
    },
    Entry {
        name: "expired-intermediate",
        module: "https",
        expected: fails("tls", "cert_expired"),
        serves: Serves::Https(Tls::new(Cert::ExpiredIntermediate), hello),
        about: "its issuer's certificate ended yesterday",
    },
    Entry {
        name: "trusted-self-signed",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::TrustedSelfSigned), hello),
        about: "its certificate is self-signed, a CA's, and trusted",
    },
    Entry {
        name: "cross-signed",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::CrossSigned), hello),
        about: "sends two certificates of its issuer: a good one, then one that has ended",
    },
    Entry {
        name: "cross-signed-old-first",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::CrossSignedExpiredFirst), hello),
        about: "sends two certificates of its issuer: one that has ended, then a good one",
    },
    Entry {
        name: "root-sent",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::RootSent), hello),
        about: "sends its root too",
    },
    Entry {
        name: "expired-root-sent",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::ExpiredRootSent), hello),
        about: "sends an old root that nobody needs too",
    },
    Entry {
        name: "duplicated-chain",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::Duplicated), hello),
        about: "sends every certificate twice",
    },
    Entry {
        name: "long-chain",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::Long), hello),
        about: "sends five certificates",
    },
    Entry {
        name: "shuffled-chain",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::Shuffled), hello),
        about: "sends five certificates in the wrong order",
    },
    Entry {
        name: "timestamps",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::WithTimestamps), hello),
        about: "its certificate has two signed certificate timestamps",
    },
    Entry {
        name: "hello-retry",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls { hello_retry: true, ..GOOD }, hello),
        about: "wants another key exchange group, and says so with a hello retry",
    },
    Entry {
        name: "security-headers",
        module: "https_headers",
        expected: Expected::Success,
        serves: Serves::Https(GOOD, careful),
        about: "answers with HSTS and other headers that make browsers careful",
    },
];

fn careful(seen: &Seen) -> Reply {
    hello(seen)
        .header(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains")
        .header(header::CONTENT_SECURITY_POLICY, "default-src 'self'")
        .header(header::X_FRAME_OPTIONS, "DENY")
}
