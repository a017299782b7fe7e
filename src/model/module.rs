//! How to probe: a module, validated and ready to be read.

use super::{
    OAuth2, ProxyOptions, ResolverSettings, RevocationPolicy, Secret, Site, TlsScanModule, Trusted, WebSocketModule,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderName, HeaderValue, Method, header::HOST};
use std::{borrow::Borrow, fmt, net::IpAddr, path::PathBuf, sync::Arc, time::Duration};
use strum::{IntoStaticStr, VariantArray};

/// A module's name: the `module` parameter and label.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ModuleName(Arc<str>);

impl ModuleName {
    /// Wraps a name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ModuleName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How to probe.
#[derive(Clone, Debug)]
pub struct Module {
    /// Its name.
    pub name: ModuleName,
    /// How long a probe may take; `None` leaves it to the scrape.
    pub timeout: Option<Duration>,
    /// What is said about the site apart from the target, for every target.
    pub site: Site,
    /// How many of a name's addresses are dialled, and how.
    pub ip_protocol: IpProtocol,
    /// The proxy that targets are reached through; `None` reaches them directly.
    pub proxy: Option<ProxyOptions>,
    /// To whom its secrets may be sent; whoever is the target if `None`.
    pub credentials_for: Option<Vec<Trusted>>,
    /// How names are turned into addresses.
    pub resolver: Arc<ResolverSettings>,
    /// What to do.
    pub prober: Prober,
    /// The module as YAML, defaults filled in, secrets masked: for pages and debug reports.
    pub yaml: Arc<str>,
}

impl Module {
    /// A module without a timeout or a proxy of its own that leaves everything about the site to the target.
    pub fn new(name: ModuleName, prober: Prober, yaml: impl Into<Arc<str>>) -> Self {
        Self {
            name,
            timeout: None,
            site: Site::default(),
            credentials_for: None,
            ip_protocol: IpProtocol::default(),
            proxy: None,
            resolver: Arc::default(),
            prober,
            yaml: yaml.into(),
        }
    }
}

/// The protocol a module speaks, without its settings.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq)]
#[strum(serialize_all = "lowercase")]
pub enum ProberKind {
    /// HTTP and HTTPS.
    Http,
    /// WebSocket, ws and wss.
    WebSocket,
    /// TLS handshake and certificates only.
    Tls,
    /// What a TLS server accepts.
    #[strum(serialize = "tls_scan")]
    TlsScan,
}

impl fmt::Display for ProberKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// The protocol a module speaks, with its settings.
#[derive(Clone, Debug)]
pub enum Prober {
    /// HTTP and HTTPS.
    Http(Box<HttpModule>),
    /// WebSocket.
    WebSocket(Box<WebSocketModule>),
    /// TLS.
    Tls(Box<TlsModule>),
    /// What a TLS server accepts.
    TlsScan(Box<TlsScanModule>),
}

impl Prober {
    /// The protocol.
    pub fn kind(&self) -> ProberKind {
        match self {
            Self::Http(_) => ProberKind::Http,
            Self::WebSocket(_) => ProberKind::WebSocket,
            Self::Tls(_) => ProberKind::Tls,
            Self::TlsScan(_) => ProberKind::TlsScan,
        }
    }

    /// Which addresses to prefer.
    pub fn ip(&self) -> IpPreference {
        match self {
            Self::Http(m) => m.ip,
            Self::WebSocket(m) => m.ip,
            Self::Tls(m) => m.ip,
            Self::TlsScan(m) => m.ip,
        }
    }

    /// The Host header that the module's own headers set.
    pub fn host_header(&self) -> Option<&str> {
        let value = match self {
            Self::Http(m) => m.headers.iter().find(|(name, _)| name == HOST).map(|(_, value)| value),
            Self::WebSocket(m) => m.headers.iter().find(|entry| entry.name == HOST).and_then(|e| e.values.first()),
            Self::Tls(_) | Self::TlsScan(_) => None,
        };
        value.and_then(|value| value.to_str().ok())
    }

    /// The TLS settings.
    pub fn tls(&self) -> &TlsOptions {
        match self {
            Self::Http(m) => &m.tls,
            Self::WebSocket(m) => &m.tls,
            Self::Tls(m) => &m.tls,
            Self::TlsScan(m) => &m.tls,
        }
    }

    /// How a bearer token is asked for.
    pub fn oauth2(&self) -> Option<&OAuth2> {
        match self {
            Self::Http(m) => m.oauth2.as_deref(),
            Self::WebSocket(m) => m.oauth2.as_deref(),
            Self::Tls(_) | Self::TlsScan(_) => None,
        }
    }

    /// What is spoken before TLS.
    pub fn starttls(&self) -> Option<StartTls> {
        match self {
            Self::Http(_) | Self::WebSocket(_) => None,
            Self::Tls(m) => m.starttls,
            Self::TlsScan(m) => m.starttls,
        }
    }
}

/// An address family, spelled as `preferred_ip_protocol` spells it.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, PartialEq)]
pub enum IpFamily {
    /// IPv4.
    #[strum(serialize = "ip4")]
    V4,
    /// IPv6.
    #[strum(serialize = "ip6")]
    V6,
}

impl IpFamily {
    /// As the label `ip_family` has it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The family of an address.
    pub fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// How many of a name's addresses are dialled, and how.
#[derive(Clone, Copy, Debug, Default, Eq, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum IpProtocol {
    /// One address, chosen by [`IpPreference`] as `blackbox_exporter` chooses.
    #[default]
    Prefer,
    /// Several in turn, a little apart, until one answers (RFC 8305).
    Race,
    /// One of each family, as two results.
    Both,
}

impl fmt::Display for IpProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// `preferred_ip_protocol` and `ip_protocol_fallback`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IpPreference {
    /// The family whose first address is probed.
    pub preferred: IpFamily,
    /// Whether the other family will do when the preferred one has no address.
    pub fallback: bool,
}

impl Default for IpPreference {
    /// blackbox's: IPv6 first, IPv4 if there is none.
    fn default() -> Self {
        Self { preferred: IpFamily::V6, fallback: true }
    }
}

/// The `http` block.
#[derive(Clone, Debug)]
pub struct HttpModule {
    /// Which address to probe.
    pub ip: IpPreference,
    /// Accepted status codes of the final response; empty means 200 to 299.
    pub valid_status_codes: Vec<u16>,
    /// Accepted HTTP versions; empty means any.
    pub valid_http_versions: Vec<HttpVersion>,
    /// The request's method.
    pub method: Method,
    /// `headers`: one value each; `Host` sets the Host header and the TLS name.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `http_headers`: several values each, also from secrets and files.
    pub http_headers: Vec<Header>,
    /// The request's body.
    pub body: Body,
    /// Most bytes of the response body after decompression.
    pub body_size_limit: Option<u64>,
    /// How the body is compressed; `None` reads it as it comes.
    pub compression: Option<Compression>,
    /// Whether redirects are followed (at most 10).
    pub follow_redirects: bool,
    /// Fail when the final response came over TLS.
    pub fail_if_ssl: bool,
    /// Fail when it did not.
    pub fail_if_not_ssl: bool,
    /// Fail when any of these matches the body.
    pub fail_if_body_matches: Vec<Pattern>,
    /// Fail when any of these does not match the body.
    pub fail_if_body_not_matches: Vec<Pattern>,
    /// Fail when a value of the header matches.
    pub fail_if_header_matches: Vec<HeaderMatcher>,
    /// Fail when no value of the header matches.
    pub fail_if_header_not_matches: Vec<HeaderMatcher>,
    /// Offer HTTP/2 by ALPN.
    pub enable_http2: bool,
    /// Report which security headers the response has.
    pub report_security_headers: bool,
    /// Credentials.
    pub auth: Option<Auth>,
    /// Credentials that are asked for; not together with `auth`.
    pub oauth2: Option<Box<OAuth2>>,
    /// TLS.
    pub tls: TlsOptions,
}

impl Default for HttpModule {
    /// A GET whose answer has to be in the 200s, redirects followed, HTTP/2 offered.
    fn default() -> Self {
        Self {
            ip: IpPreference::default(),
            valid_status_codes: Vec::new(),
            valid_http_versions: Vec::new(),
            method: Method::GET,
            headers: Vec::new(),
            http_headers: Vec::new(),
            body: Body::None,
            body_size_limit: None,
            compression: None,
            follow_redirects: true,
            fail_if_ssl: false,
            fail_if_not_ssl: false,
            fail_if_body_matches: Vec::new(),
            fail_if_body_not_matches: Vec::new(),
            fail_if_header_matches: Vec::new(),
            fail_if_header_not_matches: Vec::new(),
            enable_http2: true,
            report_security_headers: false,
            auth: None,
            oauth2: None,
            tls: TlsOptions::default(),
        }
    }
}

/// The `tls` block.
#[derive(Clone, Debug, Default)]
pub struct TlsModule {
    /// Which address to probe.
    pub ip: IpPreference,
    /// TLS.
    pub tls: TlsOptions,
    /// Fail when a presented certificate expires within this time.
    pub fail_if_expires_within: Duration,
    /// What to speak before TLS.
    pub starttls: Option<StartTls>,
}

/// The `tls_config` block.
#[derive(Clone, Debug, PartialEq)]
pub struct TlsOptions {
    /// The verdict is computed and exported, but does not stop the probe.
    pub insecure_skip_verify: bool,
    /// Which roots are trusted.
    pub trust: Trust,
    /// Keys one of which must be in the chain; empty means that any will do.
    pub pins: Vec<Pin>,
    /// What we show a server that asks for a client certificate.
    pub identity: Option<ClientIdentity>,
    /// The name to send as SNI and to verify, in place of the target's host.
    pub server_name: Option<String>,
    /// The oldest version to offer.
    pub min_version: TlsVersion,
    /// The newest version to offer.
    pub max_version: TlsVersion,
    /// How the leaf's revocation is looked into.
    pub revocation: RevocationPolicy,
    /// Whether issuers that the server did not send are fetched, to tell an incomplete chain from an unknown issuer.
    pub fetch_missing_issuers: bool,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            insecure_skip_verify: false,
            trust: Trust::default(),
            pins: Vec::new(),
            identity: None,
            server_name: None,
            min_version: TlsVersion::Tls12,
            max_version: TlsVersion::Tls13,
            revocation: RevocationPolicy::default(),
            fetch_missing_issuers: false,
        }
    }
}

/// Which roots are trusted: those of all these places together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trust {
    /// Stores that are not the user's own.
    pub stores: Vec<RootStore>,
    /// PEM text.
    pub ca: Option<TextSource>,
    /// A folder of certificate files.
    pub folder: Option<PathBuf>,
}

impl Default for Trust {
    fn default() -> Self {
        Self { stores: vec![RootStore::SystemOrEmbedded], ca: None, folder: None }
    }
}

/// A store of roots that is not the user's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RootStore {
    /// The system's.
    System,
    /// The one in the program.
    Embedded,
    /// The system's, or the one in the program where the system has none.
    SystemOrEmbedded,
}

/// A pinned key: the SHA-256 of a certificate's `SubjectPublicKeyInfo` (RFC 7469 section 2.4).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Pin(pub [u8; 32]);

impl fmt::Display for Pin {
    /// As RFC 7469's reports and most tools write it: `sha256/` and Base64.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", BASE64_STANDARD.encode(self.0))
    }
}

/// A client certificate chain and its key, both PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientIdentity {
    /// The certificate and its intermediates.
    pub cert: TextSource,
    /// The private key.
    pub key: SecretText,
}

/// A text that stands in the config or in a file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TextSource {
    /// In the config.
    Inline(String),
    /// In this file.
    File(PathBuf),
}

/// A secret that stands in the config or in a file; the file is read again for every probe, its end of line cut.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SecretText {
    /// In the config.
    Inline(Secret),
    /// In this file.
    File(PathBuf),
}

/// A TLS version that a config can name.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, Ord, PartialEq, PartialOrd, VariantArray)]
pub enum TlsVersion {
    /// SSL 3.0 (RFC 6101): scanned for, never spoken.
    #[strum(serialize = "SSL 3.0")]
    Ssl30,
    /// TLS 1.0 (RFC 2246).
    #[strum(serialize = "TLS 1.0")]
    Tls10,
    /// TLS 1.1 (RFC 4346).
    #[strum(serialize = "TLS 1.1")]
    Tls11,
    /// TLS 1.2 (RFC 5246).
    #[strum(serialize = "TLS 1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[strum(serialize = "TLS 1.3")]
    Tls13,
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// A protocol that starts in the clear and switches to TLS on request.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum StartTls {
    /// RFC 3207.
    Smtp,
    /// RFC 3501 section 6.2.1.
    Imap,
    /// RFC 2595 section 4.
    Pop3,
    /// RFC 4217.
    Ftp,
    /// RFC 4511 section 4.14.
    Ldap,
    /// `PostgreSQL` `SSLRequest`.
    Postgres,
    /// The SSL request packet of `MySQL` and `MariaDB`.
    Mysql,
    /// RFC 6120 section 5.
    Xmpp,
}

impl StartTls {
    /// Where servers of this protocol listen: its port without TLS from the start.
    pub fn port(self) -> u16 {
        match self {
            Self::Smtp => 25,
            Self::Imap => 143,
            Self::Pop3 => 110,
            Self::Ftp => 21,
            Self::Ldap => 389,
            Self::Postgres => 5432,
            Self::Mysql => 3306,
            Self::Xmpp => 5222,
        }
    }
}

impl fmt::Display for StartTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// An HTTP version that `valid_http_versions` can name, spelled as `blackbox_exporter` does.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
pub enum HttpVersion {
    /// HTTP/1.0.
    #[strum(serialize = "HTTP/1.0")]
    Http10,
    /// HTTP/1.1.
    #[strum(serialize = "HTTP/1.1")]
    Http11,
    /// HTTP/2.
    #[strum(serialize = "HTTP/2.0")]
    Http2,
}

impl fmt::Display for HttpVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// How a response body is compressed.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Compression {
    /// RFC 1952.
    Gzip,
    /// RFC 7932.
    Br,
    /// RFC 1950 or bare RFC 1951: both are met under this name.
    Deflate,
    /// Not at all.
    Identity,
}

/// A request body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Body {
    /// No body.
    None,
    /// This one.
    Text(TextSource),
}

/// One entry of `http_headers`, or of a websocket module's `headers`.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The name.
    pub name: HeaderName,
    /// Values, sent first.
    pub values: Vec<HeaderValue>,
    /// Secret values (inline, then from files), sent after them; never to another origin.
    pub secrets: Vec<SecretText>,
}

/// One entry of `fail_if_header_matches` or its opposite.
#[derive(Clone, Debug)]
pub struct HeaderMatcher {
    /// Whose values are matched.
    pub header: HeaderName,
    /// The pattern.
    pub pattern: Pattern,
    /// Whether a response without the header passes.
    pub allow_missing: bool,
}

/// How the request shows who asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Auth {
    /// `basic_auth` (RFC 7617).
    Basic {
        /// User name.
        username: SecretText,
        /// Password; none counts as empty.
        password: Option<SecretText>,
    },
    /// `authorization`: a scheme and its credentials.
    Scheme {
        /// Such as `Bearer`.
        scheme: String,
        /// What follows it.
        credentials: SecretText,
    },
}

/// A compiled regular expression over bytes: linear time, unanchored.
#[derive(Clone)]
pub struct Pattern(regex::bytes::Regex);

impl Pattern {
    /// Compiled programs larger than this are refused.
    const MAX_COMPILED: usize = 1024 * 1024;

    /// Compiles `text`.
    pub fn new(text: &str) -> Result<Self, regex::Error> {
        regex::bytes::RegexBuilder::new(text).size_limit(Self::MAX_COMPILED).build().map(Self)
    }

    /// The expression as written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The compiled expression.
    pub fn regex(&self) -> &regex::bytes::Regex {
        &self.0
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.as_str())
    }
}
