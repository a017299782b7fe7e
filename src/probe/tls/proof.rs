//! Whether the peer holds the leaf's key: the handshake's signature, checked.
//!
//! In: what was signed, the leaf, the signature. Out: fine, or why not. A leaf that the verifier refuses to read is no
//! obstacle: its key is enough.

use super::{explain, facts};
use crate::model::{Certificate, CheckResult, Reason, TlsVersion};
use rustls::{
    DigitallySignedStruct, Error,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::CertificateDer;
use webpki::RawPublicKeyEntity;

/// One signature of a handshake.
pub(super) struct Proof<'a> {
    pub(super) version: TlsVersion,
    pub(super) message: &'a [u8],
    pub(super) leaf: &'a CertificateDer<'a>,
    pub(super) signature: &'a DigitallySignedStruct,
}

impl Proof<'_> {
    /// Checks the signature; `facts` are the leaf's.
    pub(super) fn check(&self, algorithms: &WebPkiSupportedAlgorithms, facts: Option<&Certificate>) -> CheckResult {
        let (Self { message, leaf, signature, .. }, tls13) = (self, self.version == TlsVersion::Tls13);
        let outcome = if tls13 {
            verify_tls13_signature(message, leaf, signature, algorithms)
        } else {
            verify_tls12_signature(message, leaf, signature, algorithms)
        };
        match outcome {
            Ok(_) => Ok(()),
            Err(_) if webpki::EndEntityCert::try_from(*leaf).is_err() && self.fits_key(algorithms) => Ok(()),
            Err(error) => Err(unproven(&error, facts)),
        }
    }

    /// Whether the signature fits the leaf's key, whatever else the leaf says. TLS 1.3 ties a scheme to one algorithm (RFC
    /// 8446 section 4.2.3), TLS 1.2 does not tie curves.
    fn fits_key(&self, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        let usable = if self.version == TlsVersion::Tls13 { 1 } else { usize::MAX };
        let mapped = algorithms.mapping.iter().find(|(scheme, _)| *scheme == self.signature.scheme);
        let Some(((_, fitting), spki)) = mapped.zip(facts::public_key(self.leaf)) else { return false };
        let Ok(key) = RawPublicKeyEntity::try_from(&spki) else { return false };
        let is_by = |algorithm| key.verify_signature(algorithm, self.message, self.signature.signature()).is_ok();
        fitting.iter().take(usable).any(|&algorithm| is_by(algorithm))
    }
}

/// A short key's signatures are refused unseen, which is no forgery.
fn unproven(error: &Error, leaf: Option<&Certificate>) -> (Reason, String) {
    leaf.and_then(explain::short_key).unwrap_or_else(|| {
        (Reason::CertInvalid, format!("the handshake's signature does not fit the certificate's key: {error}"))
    })
}
