//! What a `tls_scan` module asks, and what a scan found: versions, cipher classes and groups, each yes, no or unknown.

use super::{IpPreference, StartTls, TlsOptions, TlsVersion};
use std::{fmt, time::Duration};
use strum::{IntoStaticStr, VariantArray};

/// The `tls_scan` block.
#[derive(Clone, Debug, Default)]
pub struct TlsScanModule {
    /// Which address to probe.
    pub ip: IpPreference,
    /// Only `server_name` is set: a scan verifies nothing.
    pub tls: TlsOptions,
    /// What to speak before TLS, on every connection.
    pub starttls: Option<StartTls>,
    /// List every accepted cipher suite.
    pub list_ciphers: bool,
    /// Also ask for NULL, anonymous and EXPORT cipher suites.
    pub include_weak: bool,
    /// Fail when any of these is accepted.
    pub fail_if_accepted: Vec<ScanItem>,
    /// Fail when any of these is not accepted.
    pub fail_if_not_accepted: Vec<ScanItem>,
    /// A ready-made policy, on top of the two lists.
    pub profile: Option<ScanProfile>,
}

/// A thing that a server accepts or not, and a policy can name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ScanItem {
    /// A protocol version.
    Version(TlsVersion),
    /// A class of cipher suites.
    Class(CipherClass),
    /// A key exchange group.
    Group(TlsGroup),
}

impl fmt::Display for ScanItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Version(version) => version.into(),
            Self::Class(class) => class.into(),
            Self::Group(group) => group.into(),
        })
    }
}

/// A ready-made policy, after Mozilla's Server Side TLS guideline, version 5.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum ScanProfile {
    /// TLS 1.3 alone.
    Modern,
    /// TLS 1.2 with forward secrecy and AEAD, and TLS 1.3.
    Intermediate,
    /// TLS 1.0 to 1.3, CBC and 3DES included.
    Old,
}

/// Cipher suites of TLS 1.2 and older that a policy judges alike.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, Ord, PartialEq, PartialOrd, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum CipherClass {
    /// TLS 1.2's ECDHE and DHE suites with GCM, CCM or `ChaCha20`: TLS 1.3 has nothing else.
    ForwardSecretAead,
    /// ECDHE and DHE with a block cipher in CBC mode.
    ForwardSecretCbc,
    /// RSA key exchange: who gets the key reads everything ever recorded.
    StaticRsa,
    /// 3DES, with any key exchange.
    #[strum(serialize = "3des")]
    TripleDes,
    /// RC4 and single DES, with any key exchange.
    Rc4Des,
    /// No encryption, no authentication, or 40 and 56 bit keys made for export.
    NullAnonymousExport,
}

impl fmt::Display for CipherClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// A key exchange group, by its IANA name.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, Ord, PartialEq, PartialOrd, VariantArray)]
pub enum TlsGroup {
    /// X25519 and ML-KEM-768.
    X25519MLKEM768,
    /// P-256 and ML-KEM-768.
    SecP256r1MLKEM768,
    /// P-384 and ML-KEM-1024.
    SecP384r1MLKEM1024,
    /// Curve25519.
    X25519,
    /// P-256.
    #[strum(serialize = "secp256r1")]
    Secp256r1,
    /// P-384.
    #[strum(serialize = "secp384r1")]
    Secp384r1,
    /// P-521.
    #[strum(serialize = "secp521r1")]
    Secp521r1,
    /// Curve448.
    X448,
}

impl TlsGroup {
    /// Whether it combines a classic group with ML-KEM. Hybrids exist in TLS 1.3 only.
    pub fn is_hybrid(self) -> bool {
        matches!(self, Self::X25519MLKEM768 | Self::SecP256r1MLKEM768 | Self::SecP384r1MLKEM1024)
    }
}

impl fmt::Display for TlsGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// What a scan found.
#[derive(Clone, Debug, Default)]
pub struct ScanFacts {
    /// Each version that was asked for, newest first.
    pub versions: Vec<(TlsVersion, Finding)>,
    /// Each class that was asked for.
    pub classes: Vec<(CipherClass, Finding)>,
    /// Each group that was asked for.
    pub groups: Vec<(TlsGroup, Finding)>,
    /// Whether a large hello arrives; `None` when that was not tried.
    pub big_hello: Option<BigHello>,
    /// Whether answers in an older version warn of the newer one (RFC 8446 section 4.1.3); `None` without TLS 1.3 or
    /// without an older version.
    pub downgrade_protected: Option<bool>,
    /// Whether the server asks for a client certificate, as TLS 1.2 and older show; `None` with TLS 1.3 alone.
    pub client_cert_requested: Option<bool>,
    /// The version whose handshake showed the certificates. Nobody proved to hold their key.
    pub chain_version: Option<TlsVersion>,
    /// The accepted cipher suites, in the order they were chosen; `None` when they were not to be listed.
    pub ciphers: Option<CipherList>,
    /// Connections the scan made.
    pub connections: u32,
    /// How long the scan took, the first connect left out.
    pub took: Duration,
}

impl ScanFacts {
    /// What was found out about `item`; `None` when it was not asked for.
    pub fn finding(&self, item: ScanItem) -> Option<&Finding> {
        match item {
            ScanItem::Version(version) => of(&self.versions, version),
            ScanItem::Class(class) => of(&self.classes, class),
            ScanItem::Group(group) => of(&self.groups, group),
        }
    }

    /// Whether `item` is accepted for sure.
    pub fn accepts(&self, item: ScanItem) -> bool {
        self.finding(item).is_some_and(|finding| finding.answer == Answer::Yes)
    }
}

fn of<K: Copy + PartialEq>(findings: &[(K, Finding)], key: K) -> Option<&Finding> {
    findings.iter().find(|(of, _)| *of == key).map(|(_, finding)| finding)
}

/// An answer, how sure it is, and what it rests on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// Yes, no or unknown.
    pub answer: Answer,
    /// How sure a yes or no is; low for unknown.
    pub confidence: Confidence,
    /// What the server did, in words.
    pub why: String,
}

impl Finding {
    /// Nothing can be said, and why.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self { answer: Answer::Unknown, confidence: Confidence::Low, why: why.into() }
    }
}

/// Whether a server accepts something.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq)]
#[strum(serialize_all = "lowercase")]
pub enum Answer {
    /// It chose it.
    Yes,
    /// It refused it.
    No,
    /// Its behaviour allows neither conclusion.
    Unknown,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// How sure an answer is.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, Ord, PartialEq, PartialOrd)]
#[strum(serialize_all = "lowercase")]
pub enum Confidence {
    /// As medium, but with an alert that servers send for other reasons too; or nothing was concluded.
    Low,
    /// Two different hellos were refused, while others were answered before and after.
    Medium,
    /// The server said so.
    High,
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// What becomes of a hello that does not fit into one network packet, as those with a post-quantum key share.
#[derive(Clone, Copy, Debug, Eq, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum BigHello {
    /// It is answered, in one piece and split.
    Ok,
    /// It is not answered, whatever makes it large.
    SizeIntolerant,
    /// It is answered in one piece, but not when the first packet ends in the server name.
    SplitIntolerant,
    /// It is answered when it is large by padding, but not with a post-quantum key share.
    GroupIntolerant,
    /// None of these can be told.
    Unknown,
}

impl fmt::Display for BigHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// The cipher suites that a server accepts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CipherList {
    /// Version and IANA name.
    pub accepted: Vec<(TlsVersion, &'static str)>,
    /// Whether every list was asked through to the server's refusal.
    pub complete: bool,
}
