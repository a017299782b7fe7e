//! The recording verifier: sees what the server shows, judges it, and lets the handshake go on to learn more.
//!
//! It never decides alone: whoever completes a handshake with it must ask [`Witness::facts`] for the verdict before a byte
//! is sent. With a client certificate at hand it stops a handshake it does not believe in, so that our identity is not
//! shown to a stranger.

use super::{facts, memo::Key, pins, proof::Proof, setup::Trusted, verdict::Evidence};
use crate::model::{Certificate, Reason, TlsFacts, TlsVersion, Verdict};
use crate::probe::revocation::{Chain, Findings};
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
pub(super) const MAX_CHAIN: usize = 16;

/// What one handshake showed.
#[derive(Debug)]
pub(super) struct Witness {
    pub(super) trust: Trusted,
    /// The name to verify, which need not be the one that was sent as SNI.
    pub(super) name: ServerName<'static>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    pub(super) identity: Option<Arc<CertifiedKey>>,
    pub(super) seen: Mutex<TlsFacts>,
    /// Why we ended the handshake ourselves.
    pub(super) stopped: OnceLock<(Reason, String)>,
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

    /// Ends the handshake of a server that `verdict` refuses where our client certificate would be shown next.
    fn stop_if_refused(&self, verdict: &Verdict) -> Result<(), Error> {
        match verdict.refusal().filter(|_| self.identity.is_some()) {
            Some(refusal) => {
                let _ = self.stopped.set(refusal.clone());
                Err(Error::General("the server's certificate is not accepted".into()))
            }
            None => Ok(()),
        }
    }

    fn note_proof(&self, proof: &Proof<'_>) -> Result<HandshakeSignatureValid, Error> {
        let mut seen = self.seen();
        seen.version = Some(proof.version);
        let proof = proof.check(&self.algorithms, seen.chain.first());
        if let Some(verdict) = &mut seen.verdict {
            verdict.proof = proof;
            self.stop_if_refused(verdict)?;
        }
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _sni: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let presented: Vec<CertificateDer<'_>> = std::iter::once(end_entity)
            .chain(intermediates)
            .take(MAX_CHAIN)
            .map(|c| CertificateDer::from(c.as_ref()))
            .collect();
        let name = &self.name;
        let key = Key::of(&presented, name);
        let known = self.trust.memo.get(key, now);
        let chain: Arc<[Certificate]> = match &known {
            Some((chain, _)) => Arc::clone(chain),
            None => presented.iter().map(|der| facts::read_or_mark(der)).collect(),
        };
        let evidence = Evidence {
            presented: &presented,
            facts: &chain,
            roots: &self.trust.roots,
            name,
            now,
            algorithms: self.algorithms.all,
        };
        let around =
            Chain { presented: &presented, anchors: self.trust.roots.anchors(), algorithms: self.algorithms.all, now };
        let Findings { facts, check } = self.trust.checks.offline(&around, staple);
        let pin = pins::check(&self.trust.pins, &evidence);
        let (_, judged) = known.unwrap_or_else(|| {
            let judged = (Arc::clone(&chain), evidence.judge());
            self.trust.memo.put(key, &judged, now);
            judged
        });
        let verdict = Verdict { ignored: self.trust.ignore_verdict, revocation: check, pin, ..judged };
        // The proof comes later.
        let known = self.stop_if_refused(&Verdict { proof: Ok(()), ..verdict.clone() });
        let mut seen = self.seen();
        seen.chain = chain;
        seen.ocsp_stapled = !staple.is_empty();
        seen.revocation = facts;
        seen.verdict = Some(verdict);
        known.map(|()| ServerCertVerified::assertion())
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
