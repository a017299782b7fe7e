//! How our own port is served: TLS, who may ask, and what every answer carries.
//!
//! Plain data, as the web config file says it. No certificate is read here and no password checked.

use super::module::{SecretText, TextSource, TlsVersion};
use super::secret::Secret;
use http::{HeaderName, HeaderValue};
use std::{collections::BTreeMap, time::Duration};
use strum::{IntoStaticStr, VariantArray};

/// The web config.
#[derive(Clone, Debug, Default)]
pub struct WebConfig {
    /// TLS; plain HTTP if there is none.
    pub tls: Option<WebTls>,
    /// Whether HTTP/2 is spoken over TLS besides HTTP/1.1.
    pub http2: bool,
    /// Set on every answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The bcrypt hash of each user's password; anybody may ask if there are none.
    pub users: BTreeMap<String, Secret>,
    /// How many requests are answered; all if there is none.
    pub rate_limit: Option<RateLimit>,
}

/// TLS of our own port.
#[derive(Clone, Debug)]
pub struct WebTls {
    /// The certificate chain, leaf first, as PEM.
    pub cert: TextSource,
    /// The leaf's key, as PEM.
    pub key: SecretText,
    /// What is asked of clients.
    pub client_auth: ClientCertPolicy,
    /// Signs the certificates of clients.
    pub client_ca: Option<TextSource>,
    /// One of these names must be in a client's certificate; any will do if there are none.
    pub client_allowed_sans: Vec<String>,
    /// The oldest version spoken.
    pub min_version: TlsVersion,
    /// The newest version spoken.
    pub max_version: TlsVersion,
    /// The suites to choose from; all if there are none.
    pub cipher_suites: Vec<CipherSuite>,
    /// Whether our order of suites counts, and not the client's.
    pub prefer_server_cipher_suites: bool,
    /// The key exchanges to choose from, the best first; all if there are none.
    pub curve_preferences: Vec<Curve>,
}

/// What is asked of clients, in Go's words.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
pub enum ClientCertPolicy {
    /// Nothing.
    NoClientCert,
    /// A certificate, but none will do, and so will any.
    RequestClientCert,
    /// Any certificate, whoever signed it.
    RequireAnyClientCert,
    /// A certificate of our CA, or none.
    VerifyClientCertIfGiven,
    /// A certificate of our CA.
    RequireAndVerifyClientCert,
}

impl ClientCertPolicy {
    /// Whether a certificate that is given must lead to our CA.
    pub fn verifies(self) -> bool {
        matches!(self, Self::VerifyClientCertIfGiven | Self::RequireAndVerifyClientCert)
    }

    /// Whether a client without a certificate is sent away.
    pub fn requires(self) -> bool {
        matches!(self, Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert)
    }
}

/// A cipher suite that our TLS library speaks, in Go's words.
#[expect(missing_docs, reason = "the names are those of the standard")]
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
pub enum CipherSuite {
    #[strum(serialize = "TLS_AES_128_GCM_SHA256")]
    Aes128Gcm,
    #[strum(serialize = "TLS_AES_256_GCM_SHA384")]
    Aes256Gcm,
    #[strum(serialize = "TLS_CHACHA20_POLY1305_SHA256")]
    ChaCha20Poly1305,
    #[strum(serialize = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    EcdsaAes128Gcm,
    #[strum(serialize = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    EcdsaAes256Gcm,
    #[strum(serialize = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdsaChaCha20Poly1305,
    #[strum(serialize = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    RsaAes128Gcm,
    #[strum(serialize = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]
    RsaAes256Gcm,
    #[strum(serialize = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")]
    RsaChaCha20Poly1305,
}

impl CipherSuite {
    /// The version it is for: suites of TLS 1.3 leave key exchange and signature open.
    pub fn version(self) -> TlsVersion {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm | Self::ChaCha20Poly1305 => TlsVersion::Tls13,
            _ => TlsVersion::Tls12,
        }
    }
}

/// A key exchange that our TLS library speaks, in Go's words.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
pub enum Curve {
    /// NIST P-256.
    CurveP256,
    /// NIST P-384.
    CurveP384,
    /// Curve25519.
    X25519,
    /// Curve25519 and ML-KEM-768 together, against later decryption.
    X25519MLKEM768,
}

/// How many requests are answered: `burst` at once, then one per `interval`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// The time it takes until one more request is answered.
    pub interval: Duration,
    /// So many after a silence.
    pub burst: u32,
}
