//! The lab's certificate authority: takes what is to be wrong with a certificate, gives a chain and a key. All of it is
//! made in memory when the lab starts, with ECDSA P-256 keys, dated from now. Knows nothing of servers.

use super::{odd, pki};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, CrlDistributionPoint, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest as _, Sha256};
use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

/// Where the leaves say that their issuer's certificate can be had. Nothing is there: the name cannot exist.
pub const ISSUER_LOCATION: &str = "http://pki.invalid/lab-intermediate.cer";

/// What a server presents, and what is wrong with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cert {
    /// Nothing: right name, dates and chain.
    Good,
    /// Valid, but only for three more days.
    ExpiresSoon,
    /// Ended yesterday.
    Expired,
    /// Starts tomorrow.
    NotYetValid,
    /// For `other.example`.
    WrongName,
    /// Ended yesterday, and for `other.example`.
    ExpiredWrongName,
    /// Signed with its own key.
    SelfSigned,
    /// Complete, but up to a root that is not the lab's.
    UnknownCa,
    /// The leaf alone, which names the place of its issuer's certificate as real ones do.
    MissingIntermediate,
    /// The leaf alone, which names a place where its issuer's certificate can really be had.
    MissingIntermediatePublished,
    /// Nothing, but it demands a stapled OCSP response (RFC 7633).
    MustStaple,
    /// Nothing, as far as it goes; it names the lab's OCSP responder of this path ([`super::pki`]).
    Responder(&'static str),
    /// Nothing, as far as it goes; it names the lab's revocation list of this path.
    List(&'static str),
    /// It is on the lab's revocation list, which it names.
    Listed,
    /// For clients, not for servers.
    WrongPurpose,
    /// Signed with SHA-1; for one name only.
    Sha1Signature,
    /// X.509 version 1; for one subject only.
    VersionOne,
    /// Has a critical extension that nobody knows.
    UnknownCritical,
    /// Its issuer may sign for another domain only.
    NameConstraint,
    /// Says that it is a CA.
    CaAsLeaf,
    /// Its issuer's certificate ended yesterday.
    ExpiredIntermediate,
    /// A self-signed CA certificate that clients of the lab trust; for one name only.
    TrustedSelfSigned,
    /// Two certificates of one issuer: a good one, then one that has ended.
    CrossSigned,
    /// The same, the other way round.
    CrossSignedExpiredFirst,
    /// With the root, which nobody needs to be sent.
    RootSent,
    /// With an old root that has nothing to do with it.
    ExpiredRootSent,
    /// Everything twice.
    Duplicated,
    /// Five certificates.
    Long,
    /// Five certificates, in the wrong order.
    Shuffled,
    /// With two signed certificate timestamps.
    WithTimestamps,
}

/// A certificate chain, leaf first, and the leaf's key.
pub struct Identity {
    /// What is sent in the handshake.
    pub chain: Vec<CertificateDer<'static>>,
    /// Proves that the leaf is ours.
    pub key: PrivateKeyDer<'static>,
}

/// A root, its intermediate that signs the leaves, and a root that nobody trusts.
pub struct Authority {
    pub(super) root: CertifiedIssuer<'static, KeyPair>,
    pub(super) intermediate: CertifiedIssuer<'static, KeyPair>,
    pub(super) trusted_leaf: (Certificate, KeyPair),
    stranger: CertifiedIssuer<'static, KeyPair>,
    /// Where its publications are, once they are.
    published: Option<SocketAddr>,
}

impl Authority {
    /// Makes the three certificates that sign.
    pub fn new() -> Self {
        let self_signed = |name| CertifiedIssuer::self_signed(issuer_params(name), key()).expect(VALID);
        let root = self_signed("edgeprobe lab root");
        let intermediate =
            CertifiedIssuer::signed_by(issuer_params("edgeprobe lab intermediate"), key(), &root).expect(VALID);
        Self {
            root,
            intermediate,
            trusted_leaf: odd::trusted_leaf(),
            stranger: self_signed("some other root"),
            published: None,
        }
    }

    /// From now on leaves can name what is published at this address ([`super::pki::serve`]).
    pub fn publish_at(&mut self, address: SocketAddr) {
        self.published = Some(address);
    }

    /// The root to trust, as PEM.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// Everything to trust: the root, a server's own certificate, and who signed the certificates that are fixtures.
    pub fn trusted_pem(&self) -> String {
        let pem = |der: &[u8]| {
            let text = BASE64_STANDARD.encode(der);
            let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect::<Vec<_>>().join("\n");
            format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
        };
        [self.root.der(), self.trusted_leaf.0.der(), odd::FIXTURE_ROOT].map(pem).concat()
    }

    /// The root to trust.
    pub fn root(&self) -> &CertificateDer<'static> {
        self.root.der()
    }

    /// A server's certificate of this kind for `name` (where the kind does not say another) and for 127.0.0.1.
    pub fn identity(&self, cert: Cert, name: &str) -> Identity {
        if let Some(identity) = self.odd(cert, name) {
            return identity;
        }
        let key = key();
        let mut params = leaf_params(cert, name);
        let chain = match cert {
            Cert::SelfSigned => vec![params.self_signed(&key).expect(VALID).into()],
            Cert::UnknownCa => {
                vec![params.signed_by(&key, &self.stranger).expect(VALID).into(), self.stranger.der().clone()]
            }
            _ => {
                self.add_pointers(&mut params, cert);
                vec![params.signed_by(&key, &self.intermediate).expect(VALID).into(), self.intermediate.der().clone()]
            }
        };
        let alone = matches!(cert, Cert::MissingIntermediate | Cert::MissingIntermediatePublished);
        let sent = if alone { 1 } else { chain.len() };
        Identity {
            chain: chain.into_iter().take(sent).collect(),
            key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        }
    }

    /// Adds what a leaf says about where its issuer publishes.
    fn add_pointers(&self, params: &mut CertificateParams, cert: Cert) {
        let at = |path: &str| self.published.map_or_else(|| ISSUER_LOCATION.into(), |address| pki::url(address, path));
        let access = match cert {
            Cert::Responder(path) => authority_information_access(OCSP, &at(path)),
            Cert::MissingIntermediatePublished => authority_information_access(CA_ISSUERS, &at("/issuer.cer")),
            _ => authority_information_access(CA_ISSUERS, ISSUER_LOCATION),
        };
        params.custom_extensions.push(access);
        match cert {
            Cert::MustStaple => params.custom_extensions.push(must_staple()),
            Cert::List(path) => params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![at(path)] }],
            Cert::Listed => {
                params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![at("/crl/list")] }];
                params.serial_number = Some(SerialNumber::from_slice(pki::REVOKED_SERIAL));
            }
            _ => {}
        }
    }

    /// The intermediate's certificate, which signs the leaves.
    pub fn intermediate(&self) -> &CertificateDer<'static> {
        self.intermediate.der()
    }

    /// The intermediate, ready to sign.
    pub(super) fn intermediate_issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.intermediate
    }

    /// The intermediate's key.
    pub(super) fn intermediate_key(&self) -> &KeyPair {
        self.intermediate.key()
    }

    /// A certificate of the intermediate for this purpose, DER, and its key.
    pub(super) fn issue(&self, name: &str, purpose: ExtendedKeyUsagePurpose) -> (Vec<u8>, KeyPair) {
        let key = key();
        let mut params = named(name);
        params.extended_key_usages = vec![purpose];
        (params.signed_by(&key, &self.intermediate).expect(VALID).der().to_vec(), key)
    }

    /// A client's certificate, signed by the root, and its key: both PEM.
    pub fn client_pem(&self) -> (String, String) {
        client_pem("edgeprobe lab client", &self.root)
    }

    /// A client's certificate that the lab's servers do not trust, and its key: both PEM.
    pub fn stranger_client_pem(&self) -> (String, String) {
        client_pem("some other client", &self.stranger)
    }

    /// The pin (RFC 7469) of the intermediate's key, which is in every good chain.
    pub fn intermediate_pin(&self) -> String {
        pin(self.intermediate.key())
    }

    /// The pin of the root's key.
    pub fn root_pin(&self) -> String {
        pin(self.root.key())
    }

    /// The pin of a key that is in no good chain.
    pub fn stranger_pin(&self) -> String {
        pin(self.stranger.key())
    }
}

fn client_pem(name: &str, issuer: &CertifiedIssuer<'static, KeyPair>) -> (String, String) {
    let key = key();
    let mut params = named(name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    (params.signed_by(&key, issuer).expect(VALID).pem(), key.serialize_pem())
}

fn pin(key: &KeyPair) -> String {
    format!("sha256/{}", BASE64_STANDARD.encode(Sha256::digest(key.subject_public_key_info())))
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}

pub(super) const VALID: &str = "the lab's names, dates and keys are valid";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn key() -> KeyPair {
    KeyPair::generate().expect("P-256 is supported")
}

/// Parameters with this common name, valid from a month ago for two months to come.
fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = (SystemTime::now() - 30 * DAY).into();
    params.not_after = (SystemTime::now() + 60 * DAY).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

pub(super) fn issuer_params(common_name: &str) -> CertificateParams {
    let mut params = named(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = (SystemTime::now() - 365 * DAY).into();
    params.not_after = (SystemTime::now() + 3650 * DAY).into();
    params
}

pub(super) fn leaf_params(cert: Cert, name: &str) -> CertificateParams {
    let name = if matches!(cert, Cert::WrongName | Cert::ExpiredWrongName) { "other.example" } else { name };
    let mut params = named(name);
    params.subject_alt_names =
        CertificateParams::new([name.to_owned(), "127.0.0.1".to_owned()]).expect(VALID).subject_alt_names;
    params.is_ca = IsCa::ExplicitNoCa;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    match cert {
        Cert::ExpiresSoon => params.not_after = (SystemTime::now() + 3 * DAY).into(),
        Cert::Expired | Cert::ExpiredWrongName => params.not_after = (SystemTime::now() - DAY).into(),
        Cert::NotYetValid => params.not_before = (SystemTime::now() + DAY).into(),
        _ => {}
    }
    params
}

/// The access methods: the issuer's responder, the issuer's certificate.
pub(super) const OCSP: [u8; 10] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01];
pub(super) const CA_ISSUERS: [u8; 10] = [0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x02];

/// The extension that says where something of the issuer is (RFC 5280 section 4.2.2.1), for a short location.
pub(super) fn authority_information_access(method: [u8; 10], location: &str) -> CustomExtension {
    const URI: u8 = 0x86;
    let description = [&method[..], &der(URI, location.as_bytes())].concat();
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], der(0x30, &der(0x30, &description)))
}

/// The TLS feature extension with the feature that a staple answers (RFC 7633).
fn must_staple() -> CustomExtension {
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5])
}

/// One DER value with a length of one byte.
pub(super) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|&n| n < 128).expect("the lab's extensions are short");
    [&[tag, length], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::{extensions::ParsedExtension, prelude::*};

    /// A leaf as a test wants to see it.
    struct Leaf {
        names: Vec<String>,
        days: (i64, i64),
        ca: bool,
        own_issuer: bool,
        issuer_location: bool,
    }

    fn read(der: &[u8]) -> Leaf {
        let (_, cert) = X509Certificate::from_der(der).unwrap();
        let now = ASN1Time::now().timestamp();
        let days_from_now = |time: ASN1Time| (time.timestamp() - now + 43_200).div_euclid(86_400);
        let names = cert.subject_alternative_name().unwrap().unwrap().value.general_names.iter();
        Leaf {
            names: names.map(ToString::to_string).collect(),
            days: (days_from_now(cert.validity().not_before), days_from_now(cert.validity().not_after)),
            ca: cert.is_ca(),
            own_issuer: cert.subject() == cert.issuer(),
            issuer_location: cert.extensions().iter().any(|e| {
                matches!(e.parsed_extension(), ParsedExtension::AuthorityInfoAccess(aia)
                    if aia.accessdescs.iter().any(|d| d.access_location == GeneralName::URI(ISSUER_LOCATION)))
            }),
        }
    }

    fn signed_by(cert: &[u8], issuer: &[u8]) -> bool {
        let (_, cert) = X509Certificate::from_der(cert).unwrap();
        let (_, issuer) = X509Certificate::from_der(issuer).unwrap();
        cert.issuer() == issuer.subject()
    }

    #[test]
    fn each_kind_is_wrong_in_its_own_way_only() {
        let ca = Authority::new();
        let cases = [
            (Cert::Good, 2, "a.localhost", (-30, 60)),
            (Cert::ExpiresSoon, 2, "a.localhost", (-30, 3)),
            (Cert::Expired, 2, "a.localhost", (-30, -1)),
            (Cert::NotYetValid, 2, "a.localhost", (1, 60)),
            (Cert::WrongName, 2, "other.example", (-30, 60)),
            (Cert::ExpiredWrongName, 2, "other.example", (-30, -1)),
            (Cert::SelfSigned, 1, "a.localhost", (-30, 60)),
            (Cert::UnknownCa, 2, "a.localhost", (-30, 60)),
            (Cert::MissingIntermediate, 1, "a.localhost", (-30, 60)),
        ];
        for (cert, length, name, days) in cases {
            let identity = ca.identity(cert, "a.localhost");
            let leaf = read(&identity.chain[0]);
            assert_eq!(identity.chain.len(), length, "{cert:?}");
            assert!(leaf.names[0].contains(name), "{cert:?}: {:?}", leaf.names);
            assert_eq!(leaf.days, days, "{cert:?}");
            assert!(!leaf.ca, "{cert:?}");
            assert_eq!(leaf.own_issuer, cert == Cert::SelfSigned, "{cert:?}");
            assert_eq!(leaf.issuer_location, !matches!(cert, Cert::SelfSigned | Cert::UnknownCa), "{cert:?}");
        }
    }

    #[test]
    fn the_chain_leads_to_the_root_except_where_it_must_not() {
        let ca = Authority::new();
        let good = ca.identity(Cert::Good, "a.localhost").chain;
        assert!(signed_by(&good[0], &good[1]) && signed_by(&good[1], ca.root()));
        let unknown = ca.identity(Cert::UnknownCa, "a.localhost").chain;
        assert!(signed_by(&unknown[0], &unknown[1]) && signed_by(&unknown[1], &unknown[1]));
        assert!(!signed_by(&unknown[1], ca.root()));
        assert!(ca.root_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    }
}
