//! Revocation: how a module wants it looked into, and what a probe found.

use std::{path::PathBuf, time::Duration};
use strum::{IntoStaticStr, VariantArray};

/// The `revocation` block of `tls_config`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevocationPolicy {
    /// Fail when the server staples no good OCSP response.
    pub require_staple: bool,
    /// Whether the CA's OCSP responder is asked when no good response was stapled.
    pub ocsp: Online,
    /// Whether the CA's revocation list is fetched when no file answers.
    pub crl: Online,
    /// Revocation lists at hand, PEM or DER.
    pub crl_files: Vec<PathBuf>,
    /// The longest that anything fetched is kept.
    pub max_age: Duration,
    /// Whether URLs in certificates may lead to addresses that are not public.
    pub allow_private: bool,
}

impl RevocationPolicy {
    /// How long a fetched answer is kept at most, unless the config says otherwise.
    pub const MAX_AGE: Duration = Duration::from_secs(12 * 60 * 60);

    /// Whether the certificate must be known not to be revoked.
    pub fn must_be_known(&self) -> bool {
        self.ocsp == Online::Hard || self.crl == Online::Hard
    }
}

impl Default for RevocationPolicy {
    fn default() -> Self {
        Self {
            require_staple: false,
            ocsp: Online::Off,
            crl: Online::Off,
            crl_files: Vec::new(),
            max_age: Self::MAX_AGE,
            allow_private: false,
        }
    }
}

/// Whether a source is asked over the network, and what its silence means.
#[derive(Clone, Copy, Debug, Default, Eq, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Online {
    /// Not asked.
    #[default]
    Off,
    /// Asked; no answer is no fault.
    Soft,
    /// Asked; fails when no source knows the status.
    Hard,
}

/// What was learned about the revocation of a leaf certificate.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RevocationFacts {
    /// Whether the certificate demands a staple (RFC 7633).
    pub must_staple: bool,
    /// The OCSP response that came in the handshake.
    pub staple: Option<OcspFacts>,
    /// The OCSP response that the CA's responder gave, if it was asked.
    pub responder: Option<OcspFacts>,
    /// The revocation lists, if any were consulted.
    pub crl: Option<CrlFacts>,
}

impl RevocationFacts {
    /// The OCSP responses by where they came from.
    pub fn responses(&self) -> impl Iterator<Item = (&'static str, &OcspFacts)> {
        let both = [("staple", self.staple.as_ref()), ("responder", self.responder.as_ref())];
        both.into_iter().filter_map(|(source, facts)| facts.map(|facts| (source, facts)))
    }
}

/// One OCSP response, as far as it could be read. Times are Unix seconds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OcspFacts {
    /// What it says of the leaf, or why it says nothing.
    pub status: OcspStatus,
    /// When it was signed.
    pub produced_at: Option<i64>,
    /// When its status was known to be right.
    pub this_update: Option<i64>,
    /// When a newer one should be there.
    pub next_update: Option<i64>,
    /// Since when the certificate is revoked.
    pub revoked_at: Option<i64>,
    /// Why it was revoked (RFC 5280 section 5.3.1), in snake case.
    pub reason: Option<&'static str>,
    /// What is wrong with it, for a person; empty when it is fine.
    pub problem: String,
}

impl OcspFacts {
    /// Facts of a response that could not be read, or of none at all.
    pub fn nothing(status: OcspStatus, problem: impl Into<String>) -> Self {
        Self {
            status,
            produced_at: None,
            this_update: None,
            next_update: None,
            revoked_at: None,
            reason: None,
            problem: problem.into(),
        }
    }
}

/// What an OCSP response is worth for one certificate.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum OcspStatus {
    /// Not revoked; signed and in time.
    Good,
    /// Revoked; signed.
    Revoked,
    /// The responder does not know the certificate; signed and in time.
    Unknown,
    /// It cannot be read.
    Malformed,
    /// It speaks of other certificates only.
    NotForThisCertificate,
    /// Neither the issuer nor a responder of the issuer signed it.
    BadSignature,
    /// Its time has passed.
    Stale,
    /// Its time has not come.
    NotYetValid,
    /// The issuer's key is not at hand, so it could not be checked.
    IssuerUnknown,
    /// The responder answered that it gives no status.
    Refused,
    /// The responder gave no answer.
    Unreachable,
}

impl OcspStatus {
    /// The word used in metrics and reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What the consulted revocation lists said of the leaf.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CrlFacts {
    /// When the list that answered will be replaced, in Unix seconds.
    pub next_update: Option<i64>,
    /// Whether a list in force covers the leaf.
    pub answered: bool,
    /// What kept a list from answering, for a person; empty when it did.
    pub problem: String,
}
