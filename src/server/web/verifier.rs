//! What is asked of a client's certificate: a policy in, a rustls verifier out.

use crate::model::ClientCertPolicy;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use std::net::IpAddr;
use std::sync::Arc;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Asks for a certificate, and takes it when its chain and its names are right.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) policy: ClientCertPolicy,
    /// Verifies the chain, if the policy wants that; else its CA is only a hint for clients with several certificates.
    pub(super) chain: Option<Arc<dyn ClientCertVerifier>>,
    /// One of them must be in the certificate; any will do if there are none.
    pub(super) allowed_sans: Vec<String>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.policy.requires()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chain) = self.chain.as_ref().filter(|_| self.policy.verifies()) {
            chain.verify_client_cert(end_entity, intermediates, now)?;
        }
        if self.allowed_sans.is_empty() || has_one_of(end_entity, &self.allowed_sans)? {
            return Ok(ClientCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether one of the certificate's alternative names is allowed: a DNS name, an e-mail address, an IP address or a URI,
/// each compared as it stands.
fn has_one_of(certificate: &CertificateDer<'_>, allowed: &[String]) -> Result<bool, Error> {
    let unreadable = || Error::from(CertificateError::BadEncoding);
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| unreadable())?;
    let names = certificate.subject_alternative_name().map_err(|_| unreadable())?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names.into_iter().any(|name| match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
            allowed.iter().any(|allowed| allowed == text)
        }
        GeneralName::IPAddress(bytes) => {
            let address = ip(bytes);
            address.is_some() && allowed.iter().any(|allowed| allowed.parse().ok() == address)
        }
        _ => false,
    }))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
