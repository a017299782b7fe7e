//! One certificate's DER to the facts that are exported. Lenient: what verification refuses is read all the same.

use super::name::{go_format, hex};
use crate::model::Certificate;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls_pki_types::{ServerName, SubjectPublicKeyInfoDer};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use webpki::{ALL_VERIFICATION_ALGS, Error, RawPublicKeyEntity};
use x509_parser::{
    asn1_rs::{Any, FromDer},
    certificate::X509Certificate,
    extensions::{GeneralName, ParsedExtension},
    public_key::PublicKey,
};

/// Alternative names kept of one certificate, per kind.
const MAX_NAMES: usize = 100;
/// The access methods of an authority information access extension (RFC 5280 section 4.2.2.1).
const AIA_OCSP: &str = "1.3.6.1.5.5.7.48.1";
const AIA_CA_ISSUERS: &str = "1.3.6.1.5.5.7.48.2";

/// Reads a certificate; `None` when it is not one.
pub(super) fn read(der: &[u8]) -> Option<Certificate> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let (dns_names, ip_addresses) = alternative_names(&certificate);
    let serial = certificate.raw_serial();
    let leading_zeros = serial.iter().take_while(|&&byte| byte == 0).count();
    let self_issued = certificate.subject().as_raw() == certificate.issuer().as_raw();
    let (sct_count, sct_newest) = timestamps(&certificate);
    Some(Certificate {
        subject: go_format(certificate.subject()),
        issuer: go_format(certificate.issuer()),
        serial: hex(&serial[leading_zeros..]),
        fingerprint_sha256: hex(&Sha256::digest(der)),
        spki_sha256: BASE64_STANDARD.encode(Sha256::digest(certificate.public_key().raw)),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        dns_names,
        ip_addresses,
        key: key(&certificate),
        key_bits: key_bits(&certificate),
        signature_algorithm: signature_algorithm(&certificate.signature_algorithm.algorithm.to_id_string()),
        self_issued,
        self_signed: self_issued && is_signed_by_itself(der, &certificate) != Some(false),
        is_ca: certificate.is_ca(),
        names_responder: names_access(&certificate, AIA_OCSP),
        names_issuer_location: names_access(&certificate, AIA_CA_ISSUERS),
        sct_count,
        sct_newest,
        unreadable: false,
    })
}

/// Reads a certificate; where it is not one, only its fingerprint is known.
pub(super) fn read_or_mark(der: &[u8]) -> Certificate {
    let fingerprint_sha256 = hex(&Sha256::digest(der));
    read(der).unwrap_or_else(|| Certificate { fingerprint_sha256, unreadable: true, ..Certificate::default() })
}

/// The public key of a certificate, with its algorithm, as DER.
pub(super) fn public_key(der: &[u8]) -> Option<SubjectPublicKeyInfoDer<'_>> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(certificate.tbs_certificate.subject_pki.raw.into())
}

/// Whether a certificate is signed with its own key; `None` where that cannot be checked, as its algorithm or the size of
/// its key is not supported.
fn is_signed_by_itself(der: &[u8], certificate: &X509Certificate<'_>) -> Option<bool> {
    let signed = certificate.tbs_certificate.as_ref();
    let (_, whole) = Any::from_der(der).ok()?;
    let (_, algorithm) = Any::from_der(whole.data.get(signed.len()..)?).ok()?;
    let spki = SubjectPublicKeyInfoDer::from(certificate.public_key().raw);
    let key = RawPublicKeyEntity::try_from(&spki).ok()?;
    let fitting = ALL_VERIFICATION_ALGS.iter().filter(|a| a.signature_alg_id().as_ref() == algorithm.data);
    let outcomes: Vec<Result<(), Error>> = fitting
        .filter(|_| !is_short_rsa(certificate))
        .map(|algorithm| key.verify_signature(*algorithm, signed, &certificate.signature_value.data))
        .collect();
    let refused = |outcome: &Result<(), Error>| matches!(outcome, Err(Error::InvalidSignatureForPublicKey));
    if outcomes.iter().any(Result::is_ok) { Some(true) } else { outcomes.iter().any(refused).then_some(false) }
}

fn is_short_rsa(certificate: &X509Certificate<'_>) -> bool {
    let is_rsa = matches!(certificate.public_key().parsed(), Ok(PublicKey::RSA(_)));
    is_rsa && key_bits(certificate).is_some_and(|bits| bits < super::verdict::SHORTEST_RSA)
}

/// When a certificate begins and ends, in Unix seconds.
pub(super) fn dates(der: &[u8]) -> Option<(i64, i64)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// Whether a certificate may be used by TLS servers: it says so, or does not say what it is for.
pub(super) fn is_for_servers(der: &[u8]) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return false };
    match certificate.extended_key_usage() {
        Ok(Some(usage)) => usage.value.server_auth,
        Ok(None) => true,
        Err(_) => false,
    }
}

/// Whether a certificate is for `name`, judged without a look at the rest of it (RFC 6125 section 6.4.3: a wildcard stands
/// for exactly one label, the first). For certificates that the verifier does not take; it judges the others itself.
pub(super) fn is_for(der: &[u8], name: &ServerName<'_>) -> bool {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(der) else { return false };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return false };
    extension.value.general_names.iter().any(|presented| match (presented, name) {
        (GeneralName::DNSName(presented), ServerName::DnsName(name)) => is_for_host(presented, name.as_ref()),
        (GeneralName::IPAddress(bytes), ServerName::IpAddress(address)) => ip(bytes) == Some((*address).into()),
        _ => false,
    })
}

fn is_for_host(presented: &str, host: &str) -> bool {
    let host = host.trim_end_matches('.');
    let by_wildcard = || {
        let parent = presented.strip_prefix("*.").filter(|parent| parent.contains('.'));
        parent.zip(host.split_once('.')).is_some_and(|(parent, (_, rest))| parent.eq_ignore_ascii_case(rest))
    };
    presented.eq_ignore_ascii_case(host) || by_wildcard()
}

fn alternative_names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<IpAddr>) {
    let (mut dns, mut ips) = (Vec::new(), Vec::new());
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return (dns, ips) };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) if dns.len() < MAX_NAMES => dns.push((*name).to_owned()),
            GeneralName::IPAddress(bytes) if ips.len() < MAX_NAMES => ips.extend(ip(bytes)),
            _ => {}
        }
    }
    (dns, ips)
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

fn names_access(certificate: &X509Certificate<'_>, method: &str) -> bool {
    certificate.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.iter().any(|description| description.access_method.to_id_string() == method)
        }
        _ => false,
    })
}

/// Key type and size; curves by their OID, because a size alone does not name one.
fn key(certificate: &X509Certificate<'_>) -> String {
    let info = certificate.public_key();
    let algorithm = info.algorithm.algorithm.to_id_string();
    let curve = info.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).map(|oid| oid.to_id_string());
    match (algorithm.as_str(), curve.as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => "ECDSA P-256".into(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => "ECDSA P-384".into(),
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => "ECDSA P-521".into(),
        ("1.2.840.10045.2.1", Some(curve)) => format!("ECDSA {curve}"),
        ("1.3.101.112", _) => "Ed25519".into(),
        ("1.3.101.113", _) => "Ed448".into(),
        _ => match info.parsed() {
            Ok(PublicKey::RSA(_)) => key_bits(certificate).map_or("RSA".into(), |bits| format!("RSA {bits}")),
            _ => algorithm,
        },
    }
}

fn key_bits(certificate: &X509Certificate<'_>) -> Option<u32> {
    let info = certificate.public_key();
    let algorithm = info.algorithm.algorithm.to_id_string();
    let curve = info.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok()).map(|oid| oid.to_id_string());
    match (algorithm.as_str(), curve.as_deref()) {
        ("1.2.840.10045.2.1", Some("1.2.840.10045.3.1.7")) => Some(256),
        ("1.2.840.10045.2.1", Some("1.3.132.0.34")) => Some(384),
        ("1.2.840.10045.2.1", Some("1.3.132.0.35")) => Some(521),
        ("1.3.101.112", _) => Some(255),
        ("1.3.101.113", _) => Some(448),
        _ => match info.parsed() {
            Ok(PublicKey::RSA(rsa)) => rsa_bits(rsa.modulus),
            _ => None,
        },
    }
}

/// From the modulus, which may begin with zeros.
fn rsa_bits(modulus: &[u8]) -> Option<u32> {
    let modulus = &modulus[modulus.iter().take_while(|&&byte| byte == 0).count()..];
    let unused = modulus.first()?.leading_zeros();
    u32::try_from(modulus.len()).ok()?.checked_mul(8)?.checked_sub(unused)
}

/// The embedded signed certificate timestamps: how many, and the newest in Unix seconds.
fn timestamps(certificate: &X509Certificate<'_>) -> (usize, Option<i64>) {
    let lists = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SCT(list) => Some(list),
        _ => None,
    });
    let times: Vec<u64> = lists.flatten().map(|timestamp| timestamp.timestamp).collect();
    (times.len(), times.iter().max().and_then(|&millis| i64::try_from(millis / 1000).ok()))
}

fn signature_algorithm(oid: &str) -> String {
    let name = match oid {
        "1.2.840.113549.1.1.4" => "md5WithRSAEncryption",
        "1.2.840.113549.1.1.5" => "sha1WithRSAEncryption",
        "1.2.840.113549.1.1.10" => "rsassaPss",
        "1.2.840.113549.1.1.11" => "sha256WithRSAEncryption",
        "1.2.840.113549.1.1.12" => "sha384WithRSAEncryption",
        "1.2.840.113549.1.1.13" => "sha512WithRSAEncryption",
        "1.2.840.10045.4.1" => "ecdsa-with-SHA1",
        "1.2.840.10045.4.3.2" => "ecdsa-with-SHA256",
        "1.2.840.10045.4.3.3" => "ecdsa-with-SHA384",
        "1.2.840.10045.4.3.4" => "ecdsa-with-SHA512",
        "1.3.101.112" => "Ed25519",
        other => other,
    };
    name.to_owned()
}
