//! The recording verifier: sees what the server shows, judges it, and lets the handshake go on to learn more.
//!
//! It never decides alone: whoever completes a handshake with it must ask [`Witness::facts`] for the verdict before a byte
//! is sent. With a client certificate at hand it stops a handshake it does not believe in, so that our identity is not
//! shown to a stranger.

use super::{facts, proof::Proof, roots::Roots, verdict::Evidence};
use crate::model::{TlsFacts, TlsVersion, Verdict};
use rustls::{
    AlertDescription, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        ResolvesClientCert,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::WebPkiSupportedAlgorithms,
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Certificates of one chain whose facts are kept.
const MAX_CHAIN: usize = 16;

/// What one handshake showed.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) roots: Arc<Roots>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) identity: Option<Arc<CertifiedKey>>,
    /// The verdict is exported but stops nothing.
    pub(super) ignore_verdict: bool,
    pub(super) seen: Mutex<TlsFacts>,
    /// The alert that ended the connection after the handshake.
    pub(super) late_alert: OnceLock<AlertDescription>,
}

impl Witness {
    /// The facts so far; they are there even if the handshake was cut off.
    pub(super) fn facts(&self) -> TlsFacts {
        self.seen().clone()
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, TlsFacts> {
        // A panic while it was held cannot leave the plain data inside half-changed in a way that matters.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to stop now: our client certificate would be shown next.
    fn must_stop(&self, verdict: &Verdict, proof_is_in: bool) -> bool {
        let doubted = if proof_is_in {
            verdict.failure().is_some()
        } else {
            verdict.validity.is_err() || verdict.chain.is_err() || verdict.name.is_err()
        };
        self.identity.is_some() && !self.ignore_verdict && doubted
    }

    fn note_proof(&self, proof: &Proof<'_>) -> Result<HandshakeSignatureValid, Error> {
        let mut seen = self.seen();
        seen.version = Some(proof.version);
        let proof = proof.check(&self.algorithms, seen.chain.first());
        if let Some(verdict) = &mut seen.verdict {
            verdict.proof = proof;
        }
        if seen.verdict.as_ref().is_some_and(|verdict| self.must_stop(verdict, true)) {
            return Err(Error::General("the server's certificate is not accepted".into()));
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented: Vec<CertificateDer<'_>> = std::iter::once(end_entity)
            .chain(intermediates)
            .take(MAX_CHAIN)
            .map(|c| CertificateDer::from(c.as_ref()))
            .collect();
        let chain: Vec<_> = presented.iter().map(|der| facts::read_or_mark(der)).collect();
        let evidence = Evidence {
            presented: &presented,
            facts: &chain,
            roots: &self.roots,
            name,
            now,
            algorithms: self.algorithms.all,
        };
        let verdict = Verdict { ignored: self.ignore_verdict, ..evidence.judge() };
        let stop = self.must_stop(&verdict, false);
        let mut seen = self.seen();
        seen.chain = chain.into();
        seen.ocsp_stapled = !staple.is_empty();
        seen.verdict = Some(verdict);
        if stop {
            return Err(Error::General("the server's certificate is not accepted".into()));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note_proof(&Proof { version: TlsVersion::Tls12, message, leaf: cert, signature })
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note_proof(&Proof { version: TlsVersion::Tls13, message, leaf: cert, signature })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Answers a request for a client certificate, and notes that there was one.
#[derive(Debug)]
pub(super) struct ClientAuth(pub(super) Arc<Witness>);

impl ResolvesClientCert for ClientAuth {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.seen().client_cert_requested = Some(true);
        self.0.identity.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}
