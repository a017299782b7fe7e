//! What one probe found: the facts of each layer, and the failure if there was one.
//!
//! Facts are stored as soon as they are known and stay whatever fails later.

use super::{
    DnsFacts, Failure, Job, Module, PhaseTimes, ProxyFacts, Reason, RevocationFacts, ScanFacts, Site, TlsVersion,
    TokenFacts,
};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};
use strum::IntoStaticStr;

/// The outcome of one probe. Metrics, pages, logs and the command line all render from it.
#[derive(Clone, Debug)]
pub struct ProbeReport {
    /// What was asked for.
    pub job: Job,
    /// How it was probed.
    pub module: Arc<Module>,
    /// When the probe began (wall clock).
    pub started: SystemTime,
    /// How long it took, all attempts and pauses included.
    pub elapsed: Duration,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// The bearer token; `None` when the module wants none.
    pub token: Option<Box<TokenFacts>>,
    /// One entry per request: the target itself, then each redirect that was followed.
    pub hops: Vec<Hop>,
    /// Where and why it failed; `None` is success.
    pub failure: Option<Failure>,
    /// Attempts this verdict took.
    pub attempts: u32,
    /// The verdict of the first attempt, when there was more than one.
    pub retried_after: Option<Failure>,
    /// Whether one more attempt was due, but left out because the destination had too many retries of late.
    pub retry_suppressed: bool,
}

impl ProbeReport {
    /// Whether the probe succeeded.
    pub fn is_success(&self) -> bool {
        self.failure.is_none()
    }

    /// The failure of the first attempt, whether or not a retry mended it.
    pub fn first_failure(&self) -> Option<&Failure> {
        self.retried_after.as_ref().or(self.failure.as_ref())
    }

    /// What was said about the site apart from the target: by the job, else by the module.
    pub fn site(&self) -> Site {
        self.job.site.or(&self.module.site)
    }

    /// Time per phase, summed over the hops.
    pub fn times(&self) -> PhaseTimes {
        let mut times = PhaseTimes::default();
        self.hops.iter().for_each(|hop| times.add_all(&hop.times));
        times
    }

    /// The hop that answered last, or was tried last.
    pub fn last_hop(&self) -> Option<&Hop> {
        self.hops.last()
    }

    /// The lookup of the target's own name.
    pub fn lookup(&self) -> Option<&Lookup> {
        self.hops.first().and_then(|hop| hop.lookup.as_ref())
    }

    /// The TLS facts of the last hop that has any.
    pub fn tls(&self) -> Option<&TlsFacts> {
        self.hops.iter().rev().find_map(|hop| hop.tls.as_ref())
    }

    /// The proxy that the last hop went through.
    pub fn proxy(&self) -> Option<&ProxyFacts> {
        self.last_hop().and_then(|hop| hop.proxy.as_deref())
    }

    /// The response of the last hop.
    pub fn http(&self) -> Option<&HttpFacts> {
        self.last_hop().and_then(|hop| hop.http.as_ref())
    }

    /// The WebSocket facts.
    pub fn websocket(&self) -> Option<&WebSocketFacts> {
        self.last_hop().and_then(|hop| hop.websocket.as_ref())
    }

    /// What a scan found.
    pub fn scan(&self) -> Option<&ScanFacts> {
        self.last_hop().and_then(|hop| hop.scan.as_deref())
    }

    /// Redirects received, the one that was not followed included.
    pub fn redirects(&self) -> usize {
        self.hops.iter().filter(|hop| hop.http.as_ref().is_some_and(|http| http.redirect.is_some())).count()
    }
}

/// One request of a probe: from the name to the response.
#[derive(Clone, Debug, Default)]
pub struct Hop {
    /// The URL, without credentials.
    pub url: String,
    /// What the Host header said; empty when no HTTP is spoken.
    pub host_header: String,
    /// How long each phase took.
    pub times: PhaseTimes,
    /// The name's addresses.
    pub lookup: Option<Lookup>,
    /// The address that was dialled (also when nobody answered there), or that the proxy was asked for; `None` where the
    /// proxy was asked for a name.
    pub peer: Option<SocketAddr>,
    /// Every address that was dialled, in order, where several were tried for one connection.
    pub race: Vec<Dial>,
    /// The proxy on the way; `None` when the target was reached directly.
    pub proxy: Option<Box<ProxyFacts>>,
    /// The handshake.
    pub tls: Option<TlsFacts>,
    /// The response.
    pub http: Option<HttpFacts>,
    /// The WebSocket exchange.
    pub websocket: Option<WebSocketFacts>,
    /// What a scan found.
    pub scan: Option<Box<ScanFacts>>,
}

/// One of several attempts to connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Dial {
    /// Whom it was for.
    pub address: SocketAddr,
    /// How it ended.
    pub outcome: DialOutcome,
}

/// How an attempt to connect ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DialOutcome {
    /// It was the first to connect.
    Won,
    /// It failed, for this reason and with these words.
    Failed(Reason, String),
    /// It was given up when another one had won or the time was over.
    GivenUp,
}

/// What the resolver said.
#[derive(Clone, Debug, Default)]
pub struct Lookup {
    /// The name or address literal that was looked up.
    pub host: String,
    /// All addresses, in the resolver's order; at most 256 are kept.
    pub addresses: Vec<IpAddr>,
    /// The one that is probed.
    pub chosen: Option<IpAddr>,
    /// How long it took.
    pub took: Duration,
    /// What was asked and answered, where more is known than the addresses.
    pub dns: Option<Box<DnsFacts>>,
}

/// What a TLS handshake showed, whether or not it was believed.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// The name that was verified.
    pub server_name: String,
    /// The name that was sent as SNI; `None` when none was, as for an address (RFC 6066 section 3).
    pub sni: Option<String>,
    /// Whether the handshake came to its end, apart from the verdict.
    pub completed: bool,
    /// The negotiated version.
    pub version: Option<TlsVersion>,
    /// The negotiated cipher suite, by its IANA name.
    pub cipher: Option<String>,
    /// The negotiated key exchange group.
    pub group: Option<String>,
    /// The negotiated ALPN protocol.
    pub alpn: Option<String>,
    /// Whether the server asked for a client certificate; `None` before it could.
    pub client_cert_requested: Option<bool>,
    /// When our own client certificate ends, in Unix seconds; `None` when the module has none.
    pub client_cert_not_after: Option<i64>,
    /// The certificates the server sent, leaf first, in its order.
    pub chain: Arc<[Certificate]>,
    /// Whether an OCSP staple came along.
    pub ocsp_stapled: bool,
    /// How the handshake went; `None` before it was done.
    pub kind: Option<HandshakeKind>,
    /// Bytes read from the connection until the handshake ended, well or not.
    pub received_bytes: u64,
    /// Bytes written to it until then.
    pub sent_bytes: u64,
    /// The checks; `None` when no certificate came.
    pub verdict: Option<Verdict>,
    /// What was learned about the leaf's revocation.
    pub revocation: RevocationFacts,
}

/// How a handshake went. Sessions are never resumed: a resumed one would not show the certificate.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq)]
#[strum(serialize_all = "snake_case")]
pub enum HandshakeKind {
    /// In the usual round trips.
    Full,
    /// With one more, because the server wanted another key exchange group first (RFC 8446 section 4.1.4).
    FullWithHelloRetry,
}

impl fmt::Display for HandshakeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// One check's outcome: fine, or a reason and the words for a person.
pub type CheckResult = Result<(), (Reason, String)>;

/// The independent checks of a presented chain. All are computed; none stops the next.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether the chain could be read at all and the peer proved that it holds the leaf's key.
    pub proof: CheckResult,
    /// Whether every certificate in use is within its dates.
    pub validity: CheckResult,
    /// Whether a path of good signatures leads to a trusted root, dates left aside.
    pub chain: CheckResult,
    /// Whether the leaf is for the name.
    pub name: CheckResult,
    /// Whether the certificate is not revoked; `None` when that was not asked, or could not be told and need not.
    pub revocation: Option<CheckResult>,
    /// Whether a pinned key is in the chain; `None` without pins.
    pub pin: Option<CheckResult>,
    /// Facts of the verified paths; `None` when there is none.
    pub paths: Option<PathFacts>,
    /// Whether the module wants the verdict ignored (`insecure_skip_verify`).
    pub ignored: bool,
}

impl Verdict {
    /// The first failed check, in the documented order: proof, validity, chain, name, revocation, pin.
    pub fn failure(&self) -> Option<&(Reason, String)> {
        let always = [&self.proof, &self.validity, &self.chain, &self.name].into_iter();
        let on_request = [self.revocation.as_ref(), self.pin.as_ref()].into_iter().flatten();
        always.chain(on_request).find_map(|check| check.as_ref().err())
    }

    /// What stops the probe: the first failed check. Where verdicts are ignored, pins still count, and with them the proof
    /// that the server holds the pinned key.
    pub fn refusal(&self) -> Option<&(Reason, String)> {
        match &self.pin {
            _ if !self.ignored => self.failure(),
            Some(pin) => self.proof.as_ref().err().or(pin.as_ref().err()),
            None => None,
        }
    }

    /// Whether an intermediate is missing from what the server sent.
    pub fn chain_complete(&self) -> bool {
        !matches!(&self.chain, Err((Reason::CertChainIncomplete, _)))
    }
}

/// Facts of all verified paths together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PathFacts {
    /// When the last usable path dies, roots included, in Unix seconds: the latest of the paths' earliest ends.
    pub expiry: i64,
}

/// One presented certificate.
#[derive(Clone, Debug, Default)]
pub struct Certificate {
    /// The subject, in Go's name format, as `blackbox_exporter` prints it.
    pub subject: String,
    /// The issuer, likewise.
    pub issuer: String,
    /// The serial number in lower-case hex, two digits per byte.
    pub serial: String,
    /// SHA-256 of the DER, in lower-case hex.
    pub fingerprint_sha256: String,
    /// SHA-256 of the public key's DER (`SubjectPublicKeyInfo`) in Base64: what pins name.
    pub spki_sha256: String,
    /// Start of validity, Unix seconds.
    pub not_before: i64,
    /// End of validity, Unix seconds.
    pub not_after: i64,
    /// DNS names of the subject alternative name extension, in order; at most 100 are kept.
    pub dns_names: Vec<String>,
    /// IP addresses of the same extension; at most 100 are kept.
    pub ip_addresses: Vec<IpAddr>,
    /// Key type and size, such as `ECDSA P-256` or `RSA 2048`.
    pub key: String,
    /// Size of the key in bits: the modulus of RSA, the field of an elliptic curve; `None` where it cannot be told.
    pub key_bits: Option<u32>,
    /// Signature algorithm, such as `ecdsa-with-SHA256`.
    pub signature_algorithm: String,
    /// Whether subject and issuer are the same.
    pub self_issued: bool,
    /// Whether it is also signed with its own key, as far as that can be checked: old algorithms are taken at their word.
    pub self_signed: bool,
    /// Whether the basic constraints say that it is a CA.
    pub is_ca: bool,
    /// Whether it names an OCSP responder.
    pub names_responder: bool,
    /// Whether it names where its issuer's certificate can be fetched.
    pub names_issuer_location: bool,
    /// Embedded signed certificate timestamps (RFC 6962 section 3.3).
    pub sct_count: usize,
    /// The newest of them, Unix seconds.
    pub sct_newest: Option<i64>,
    /// Whether what was sent is no certificate that can be read: then nothing but the fingerprint is known.
    pub unreadable: bool,
}

/// What an HTTP response said.
#[derive(Clone, Debug, Default)]
pub struct HttpFacts {
    /// The status code.
    pub status: u16,
    /// 1.0, 1.1 or 2.0.
    pub version: f64,
    /// The headers in order, values cut at 1 KiB; at most 100 are kept.
    pub headers: Vec<(String, String)>,
    /// Content-Length as sent, before decompression; `None` when not told.
    pub content_length: Option<u64>,
    /// Bytes of the body after decompression, as far as it was read.
    pub body_length: u64,
    /// Last-Modified in Unix seconds.
    pub last_modified: Option<i64>,
    /// Strict-Transport-Security (RFC 6797).
    pub hsts: Option<Hsts>,
    /// Which of [`SECURITY_HEADERS`] are there.
    pub security_headers: Vec<&'static str>,
    /// Where a redirect status points to.
    pub redirect: Option<String>,
}

/// The response headers that tell browsers to be careful, as far as they are reported.
pub const SECURITY_HEADERS: [&str; 7] = [
    "content-security-policy",
    "cross-origin-opener-policy",
    "permissions-policy",
    "referrer-policy",
    "strict-transport-security",
    "x-content-type-options",
    "x-frame-options",
];

/// A parsed Strict-Transport-Security header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hsts {
    /// `max-age` in seconds.
    pub max_age: u64,
    /// `includeSubDomains`.
    pub include_subdomains: bool,
    /// `preload`.
    pub preload: bool,
}

/// What a WebSocket exchange showed.
#[derive(Clone, Debug, Default)]
pub struct WebSocketFacts {
    /// Whether the upgrade was complete and right.
    pub upgraded: bool,
    /// The subprotocol the server chose.
    pub subprotocol: Option<String>,
    /// From the ping to its pong.
    pub ping_rtt: Option<Duration>,
    /// The close code the server sent, or answered our close with.
    pub close_code: Option<u16>,
    /// The words the server sent with it; at most 123 bytes (RFC 6455 section 5.5).
    pub close_words: String,
    /// Whether both sides sent their close frame; `None` when neither began to.
    pub close_clean: Option<bool>,
    /// Text and binary messages received.
    pub messages: u64,
    /// How the body of a refused upgrade begins; at most 4 KiB, credentials of the request masked.
    pub refusal: Option<String>,
}
