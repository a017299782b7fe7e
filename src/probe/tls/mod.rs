//! TLS: turn a wire into an encrypted one, note what the peer showed, and let nothing pass that was not verified.
//!
//! In: any wire, and the name to verify. Out: the encrypted wire; the facts are in the attempt, whatever became of it.
//! Knows nothing of sockets or HTTP: a test hands it one end of a pipe.

mod explain;
mod facts;
mod files;
mod further;
mod identity;
mod keylog;
mod memo;
mod name;
mod pins;
mod proof;
mod roots;
mod setup;
#[cfg(test)]
mod tests;
mod verdict;
mod watched;
mod witness;

pub(super) use explain::span;
pub use files::Fingerprint;
pub(crate) use keylog::key_log_of_environment;
pub(super) use setup::verifying;
pub(crate) use setup::{Loading, TlsSetup, TlsSetupError, warm_up};

use super::{
    run::{StageError, share, until},
    wire::{Counted, Traffic, Wire, reason_of_io},
};
use crate::model::{Certificate, HandshakeKind, Reason, TlsFacts, TlsVersion};
use rustls::{AlertDescription, ClientConfig, Error as TlsFault, PeerIncompatible, ProtocolVersion};
use rustls_pki_types::ServerName;
use std::{future::poll_fn, io, pin::Pin, sync::Arc, task::Poll, time::Duration};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use watched::Watched;
use witness::Witness;

/// The facts of one certificate, from its DER; `None` when it is none.
pub(super) fn certificate(der: &[u8]) -> Option<Certificate> {
    facts::read(der)
}

/// How long a server may take to refuse a client certificate after a TLS 1.3 handshake.
const REFUSAL_PATIENCE: Duration = Duration::from_millis(500);

/// The names of a handshake: no port, no brackets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TlsNames {
    /// What to send as SNI; an address stands for nothing (RFC 6066 section 3).
    pub(super) sni: Option<String>,
    /// The name or address that the certificate has to be for.
    pub(super) verify: String,
}

impl TlsNames {
    /// The same name in both places.
    pub(super) fn same(name: String) -> Self {
        Self { sni: Some(name.clone()), verify: name }
    }
}

/// One handshake: made ready, then under way, then done. Clones are the same one.
#[derive(Clone)]
pub(super) struct Attempt {
    config: Arc<ClientConfig>,
    /// What rustls is told to connect to: it sends this as SNI. The name to verify is the witness's own.
    peer: ServerName<'static>,
    witness: Arc<Witness>,
    traffic: Arc<Traffic>,
}

/// Why a handshake gave no usable connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("{0}")]
    Verdict(String, Reason),
    #[error("the handshake failed")]
    Handshake(#[source] io::Error, Reason),
    #[error("{0}")]
    ClientCert(&'static str, Reason),
}

impl StageError for TlsError {
    fn reason(&self) -> Reason {
        match self {
            Self::Verdict(_, reason) | Self::Handshake(_, reason) | Self::ClientCert(_, reason) => *reason,
        }
    }
}

impl Attempt {
    /// What was learned so far. To be asked for whatever became of the handshake, a deadline included, and before more is
    /// sent: the bytes are those of the connection up to now.
    pub(super) fn facts(&self) -> TlsFacts {
        let (received_bytes, sent_bytes) = self.traffic.so_far();
        TlsFacts { received_bytes, sent_bytes, ..self.witness.facts() }
    }

    /// Completes the handshake and passes the one gate to the stream: the verdict.
    ///
    /// Where a client certificate was asked for, also waits a little for what TLS 1.3 tells late: that it was missing or
    /// refused (RFC 8446 section 4.4.2.4). Whoever writes first may lose that word to a reset.
    ///
    /// What takes asking others, such as an OCSP responder, happens in between, in a share of the time until `deadline`.
    pub(super) async fn handshake(&self, wire: Wire, deadline: Instant) -> Result<Wire, TlsError> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let wire: Wire = Box::new(Counted::new(wire, Arc::clone(&self.traffic)));
        let outcome = connector.connect(self.peer.clone(), wire).await;
        let mut stream = outcome.map_err(|error| self.handshake_failure(error))?;
        self.note(&stream);
        self.look_further(stream.get_ref().1.peer_certificates(), deadline).await;
        self.admit()?;
        let asked = self.witness.seen().client_cert_requested == Some(true);
        let early = if asked && self.witness.seen().version == Some(TlsVersion::Tls13) {
            // Silence means that nothing was refused.
            let settled = until(share(Some(deadline), REFUSAL_PATIENCE), settled(&mut stream)).await;
            let settled = settled.unwrap_or(Ok(None));
            settled.map_err(|error| self.handshake_failure(error))?
        } else {
            None
        };
        Ok(Box::new(Watched::new(stream, early, Arc::clone(&self.witness))))
    }

    /// Whether the handshake agreed on HTTP/2.
    pub(super) fn speaks_http2(&self) -> bool {
        self.witness.seen().alpn.as_deref() == Some("h2")
    }

    /// The server's late word on the client certificate, if the connection ended with one.
    pub(super) fn late_refusal(&self) -> Option<TlsError> {
        self.witness.late_alert().and_then(|alert| self.client_cert_fault(alert))
    }

    /// Notes what was negotiated.
    fn note(&self, stream: &TlsStream<Wire>) {
        let (_, session) = stream.get_ref();
        let mut seen = self.witness.seen();
        seen.completed = true;
        seen.client_cert_requested.get_or_insert(false);
        seen.version = session.protocol_version().and_then(version);
        seen.cipher = session.negotiated_cipher_suite().map(|suite| cipher_name(suite.suite()));
        seen.group = session.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
        seen.kind = session.handshake_kind().and_then(kind);
        seen.alpn = session.alpn_protocol().map(|protocol| String::from_utf8_lossy(protocol).into_owned());
    }

    /// The gate: fails with the verdict's first failed check, unless the module ignores verdicts.
    fn admit(&self) -> Result<(), TlsError> {
        match &self.witness.seen().verdict {
            Some(verdict) => {
                verdict.refusal().map_or(Ok(()), |(reason, words)| Err(TlsError::Verdict(words.clone(), *reason)))
            }
            None => Err(TlsError::Verdict("the server sent no certificate".into(), Reason::CertInvalid)),
        }
    }

    fn handshake_failure(&self, error: io::Error) -> TlsError {
        if let Some((reason, words)) = self.witness.stopped.get() {
            return TlsError::Verdict(words.clone(), *reason);
        }
        let fault = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsFault>());
        if let Some(TlsFault::AlertReceived(alert)) = fault
            && let Some(refusal) = self.client_cert_fault(*alert)
        {
            return refusal;
        }
        let reason = fault.map_or_else(|| reason_of_io(&error), reason_of_fault);
        TlsError::Handshake(error, reason)
    }

    /// What an alert means where a client certificate was asked for.
    fn client_cert_fault(&self, alert: AlertDescription) -> Option<TlsError> {
        use AlertDescription as Alert;
        let asked = self.witness.seen().client_cert_requested == Some(true);
        let about_certificates = matches!(
            alert,
            Alert::CertificateRequired
                | Alert::BadCertificate
                | Alert::UnsupportedCertificate
                | Alert::CertificateRevoked
                | Alert::CertificateExpired
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::AccessDenied
                | Alert::HandshakeFailure
        );
        if alert != Alert::CertificateRequired && !(asked && about_certificates) {
            return None;
        }
        Some(if self.witness.identity.is_some() {
            TlsError::ClientCert("the server refused the client certificate", Reason::ClientCertRejected)
        } else {
            TlsError::ClientCert("the server wants a client certificate", Reason::ClientCertRequired)
        })
    }
}

/// Until the server has shown that it accepts our side of the handshake: by a session ticket, by data (whose first byte is
/// handed back), or by an end.
async fn settled(stream: &mut TlsStream<Wire>) -> io::Result<Option<u8>> {
    poll_fn(|cx| {
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        let outcome = Pin::new(&mut *stream).poll_read(cx, &mut buf)?;
        let early = buf.filled().first().copied();
        let (_, session) = stream.get_ref();
        if outcome.is_pending() && session.tls13_tickets_received() == 0 {
            Poll::Pending
        } else {
            Poll::Ready(Ok(early))
        }
    })
    .await
}

fn reason_of_fault(fault: &TlsFault) -> Reason {
    use AlertDescription as Alert;
    use PeerIncompatible as Peer;
    match fault {
        TlsFault::AlertReceived(Alert::ProtocolVersion)
        | TlsFault::PeerIncompatible(
            Peer::ServerDoesNotSupportTls12Or13
            | Peer::ServerTlsVersionIsDisabledByOurConfig
            | Peer::Tls12NotOffered
            | Peer::Tls12NotOfferedOrEnabled
            | Peer::Tls13RequiredForQuic,
        ) => Reason::VersionUnsupported,
        TlsFault::AlertReceived(
            Alert::HandshakeFailure | Alert::InsufficientSecurity | Alert::NoApplicationProtocol,
        )
        | TlsFault::PeerIncompatible(_)
        | TlsFault::NoApplicationProtocol => Reason::NoSharedParameters,
        TlsFault::AlertReceived(Alert::UnrecognisedName) => Reason::UnrecognizedName,
        TlsFault::AlertReceived(_) => Reason::TlsAlert,
        TlsFault::InvalidCertificate(_) | TlsFault::NoCertificatesPresented => Reason::CertInvalid,
        TlsFault::FailedToGetCurrentTime | TlsFault::FailedToGetRandomBytes | TlsFault::General(_) => Reason::Internal,
        _ => Reason::NotTls,
    }
}

fn version(version: ProtocolVersion) -> Option<TlsVersion> {
    match version {
        ProtocolVersion::TLSv1_2 => Some(TlsVersion::Tls12),
        ProtocolVersion::TLSv1_3 => Some(TlsVersion::Tls13),
        _ => None,
    }
}

fn kind(kind: rustls::HandshakeKind) -> Option<HandshakeKind> {
    match kind {
        rustls::HandshakeKind::Full => Some(HandshakeKind::Full),
        rustls::HandshakeKind::FullWithHelloRetryRequest => Some(HandshakeKind::FullWithHelloRetry),
        rustls::HandshakeKind::Resumed => None,
    }
}

/// The IANA name; rustls marks TLS 1.3 suites with a name of its own.
fn cipher_name(suite: rustls::CipherSuite) -> String {
    format!("{suite:?}").replacen("TLS13_", "TLS_", 1)
}
