//! Why a probe failed, as a value: one phase and one reason from a closed list, each safe as a metric label.

use super::Phase;
use std::fmt;
use strum::{EnumMessage, IntoStaticStr, VariantArray};

/// Longer causes are cut: a peer may have chosen a part of the words, and every log line would carry them.
const MAX_CAUSE: usize = 4 * 1024;

/// A failed probe: where it stopped, why, and what the layer below said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// The step that failed.
    pub phase: Phase,
    /// Why, from the closed list.
    pub reason: Reason,
    /// What was found, in words. For logs and people, never a label: it may hold anything but a secret.
    pub cause: String,
}

impl Failure {
    /// A failure of `phase` with its reason and the words for a person.
    pub fn new(phase: Phase, reason: Reason, cause: impl Into<String>) -> Self {
        let mut cause = cause.into();
        if cause.len() > MAX_CAUSE {
            let end = (0..=MAX_CAUSE).rev().find(|at| cause.is_char_boundary(*at)).unwrap_or(0);
            cause.truncate(end);
            cause.push_str("...");
        }
        Self { phase, reason, cause }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.phase, self.reason)?;
        if self.cause.is_empty() { Ok(()) } else { write!(f, " ({})", self.cause) }
    }
}

/// Why a probe failed. The same word appears in the metric, the log line, the page, the command line and the docs.
#[derive(Clone, Copy, Debug, EnumMessage, Eq, Hash, IntoStaticStr, Ord, PartialEq, PartialOrd, VariantArray)]
#[strum(serialize_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The target is not a URL, host or port that the module's prober can use.
    InvalidTarget,
    /// The token endpoint gave no token: it refused, or its answer is of no use.
    TokenRefused,
    /// The token endpoint could not be reached, or has a fault of its own (status 5xx).
    TokenUnavailable,
    /// The name does not exist.
    NameNotFound,
    /// The name exists but has no address of the wanted family.
    NoAddress,
    /// The resolver failed or could not be asked.
    ResolverFailed,
    /// The name server refused to answer.
    ResolverRefused,
    /// No name server answered in the time it has.
    ResolverTimeout,
    /// The peer refused the TCP connection.
    Refused,
    /// No route to the peer, or the network said so.
    Unreachable,
    /// A local rule forbids connecting to this address.
    AddressDenied,
    /// The exporter ran out of file descriptors, ports or probe slots.
    LocalLimit,
    /// The proxy cannot be reached, or what answers there does not speak as such a proxy does.
    ProxyUnreachable,
    /// The proxy answered the tunnel request with a refusal.
    ProxyRefused,
    /// The proxy wants credentials, or other ones.
    ProxyAuthRequired,
    /// A certificate of the path is past its last day.
    CertExpired,
    /// A certificate of the path is before its first day.
    CertNotYetValid,
    /// The certificate is not for the name that was asked for.
    CertWrongName,
    /// The certificate is self-signed and not in the trust store.
    CertSelfSigned,
    /// An intermediate certificate is missing from what the server sent.
    CertChainIncomplete,
    /// The chain does not end at a trusted root.
    CertUnknownIssuer,
    /// The issuer has revoked the certificate.
    CertRevoked,
    /// The OCSP status of the certificate had to be known, and is not.
    RevocationUnknown,
    /// The server had to staple an OCSP response, and did not.
    StapleMissing,
    /// The certificate is not meant for TLS servers.
    CertWrongPurpose,
    /// A key or signature of the path is too weak, or of a kind that is not supported.
    CertWeak,
    /// The certificate cannot be read.
    CertMalformed,
    /// The chain breaks a rule that no other reason names, or the server does not hold the certificate's key.
    CertInvalid,
    /// No certificate of the chain has a pinned key.
    CertPinMismatch,
    /// The certificate expires within the module's limit.
    CertExpiresSoon,
    /// The server refused to switch to TLS (STARTTLS), or spoke before it had to.
    StarttlsRefused,
    /// The server wants a client certificate and the module has none.
    ClientCertRequired,
    /// The server did not accept the module's client certificate.
    ClientCertRejected,
    /// The server does not serve this SNI.
    UnrecognizedName,
    /// No TLS version in common.
    VersionUnsupported,
    /// No cipher suite, group, signature algorithm or ALPN protocol in common.
    NoSharedParameters,
    /// The peer does not speak TLS on this port.
    NotTls,
    /// The server ended the handshake with another alert.
    TlsAlert,
    /// What the server accepts breaks the module's TLS policy.
    VersionPolicy,
    /// The peer broke HTTP or WebSocket.
    ProtocolError,
    /// The response's status is not an accepted one.
    Status,
    /// The response's HTTP version is not an accepted one.
    HttpVersion,
    /// A response header failed a matcher.
    HeaderMismatch,
    /// More redirects than are followed.
    RedirectLimit,
    /// A redirect whose Location cannot be followed.
    RedirectInvalid,
    /// The final response did not come over TLS, and had to.
    NotEncrypted,
    /// The final response came over TLS, and must not.
    Encrypted,
    /// The server answered the WebSocket upgrade with something else than 101.
    UpgradeRefused,
    /// The 101 answer breaks the WebSocket handshake: accept key, Upgrade, Connection or an extension nobody offered.
    AcceptMismatch,
    /// The server chose no offered subprotocol, or one that was not offered.
    SubprotocolMismatch,
    /// The body failed a matcher.
    BodyMismatch,
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The body is not in the configured compression.
    BodyDecode,
    /// A WebSocket message failed its matcher.
    MessageMismatch,
    /// A WebSocket message is larger than the limit.
    MessageTooLarge,
    /// The server sent more WebSocket messages or bytes than are read in one go.
    MessageFlood,
    /// The server closed the WebSocket before the exchange was done.
    Closed,
    /// No pong came before the deadline.
    PingUnanswered,
    /// The deadline passed.
    Timeout,
    /// The peer reset the connection.
    Reset,
    /// The connection ended in the middle.
    Broken,
    /// The exporter itself failed: a file it needs is gone, or it has a bug.
    Internal,
}

impl Reason {
    /// Every reason, in the order of the docs page.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word used in metrics, logs, pages and docs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// One sentence for a person.
    pub fn explain(self) -> &'static str {
        self.get_documentation().expect("every reason has a doc comment")
    }

    /// The phase this reason belongs to, or `None` when any phase may end with it.
    pub fn phase(self) -> Option<Phase> {
        match self {
            Self::TokenRefused | Self::TokenUnavailable => Some(Phase::Token),
            Self::InvalidTarget
            | Self::NameNotFound
            | Self::NoAddress
            | Self::ResolverFailed
            | Self::ResolverRefused
            | Self::ResolverTimeout => Some(Phase::Resolve),
            Self::Refused | Self::Unreachable | Self::AddressDenied | Self::LocalLimit => Some(Phase::Connect),
            Self::ProxyUnreachable | Self::ProxyRefused | Self::ProxyAuthRequired => Some(Phase::Proxy),
            Self::CertExpired
            | Self::CertNotYetValid
            | Self::CertWrongName
            | Self::CertSelfSigned
            | Self::CertChainIncomplete
            | Self::CertUnknownIssuer
            | Self::CertRevoked
            | Self::RevocationUnknown
            | Self::StapleMissing
            | Self::CertWrongPurpose
            | Self::CertWeak
            | Self::CertMalformed
            | Self::CertInvalid
            | Self::CertPinMismatch
            | Self::StarttlsRefused
            | Self::CertExpiresSoon
            | Self::ClientCertRequired
            | Self::ClientCertRejected
            | Self::UnrecognizedName
            | Self::VersionUnsupported
            | Self::NoSharedParameters
            | Self::NotTls
            | Self::TlsAlert
            | Self::VersionPolicy => Some(Phase::Tls),
            Self::ProtocolError
            | Self::Status
            | Self::HttpVersion
            | Self::HeaderMismatch
            | Self::RedirectLimit
            | Self::RedirectInvalid
            | Self::NotEncrypted
            | Self::Encrypted
            | Self::UpgradeRefused
            | Self::AcceptMismatch
            | Self::SubprotocolMismatch => Some(Phase::Processing),
            Self::BodyMismatch
            | Self::BodyTooLarge
            | Self::BodyDecode
            | Self::MessageMismatch
            | Self::MessageTooLarge
            | Self::MessageFlood
            | Self::Closed
            | Self::PingUnanswered => Some(Phase::Transfer),
            Self::Timeout | Self::Reset | Self::Broken | Self::Internal => None,
        }
    }

    /// Whether trying again soon may end differently, so that a job's `retry` applies unless it says for which reasons.
    pub fn is_transient(self) -> bool {
        matches!(
            self,
            Self::TokenUnavailable
                | Self::ResolverFailed
                | Self::ResolverTimeout
                | Self::Refused
                | Self::Unreachable
                | Self::LocalLimit
                | Self::ProxyUnreachable
                | Self::Closed
                | Self::PingUnanswered
                | Self::Timeout
                | Self::Reset
                | Self::Broken
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_causes_are_cut_between_characters() {
        let cause = |words: String| Failure::new(Phase::Processing, Reason::RedirectLimit, words).cause;
        assert_eq!(cause("x".repeat(MAX_CAUSE)).len(), MAX_CAUSE);
        assert_eq!(cause(format!("x{}", "å".repeat(MAX_CAUSE))).len(), MAX_CAUSE - 1 + 3);
    }
}
