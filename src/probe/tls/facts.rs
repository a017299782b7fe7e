//! One certificate's DER to the facts that are exported. Lenient: what verification refuses is read all the same.

use super::name::{go_format, hex};
use crate::model::Certificate;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use x509_parser::{
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
        signature_algorithm: signature_algorithm(&certificate.signature_algorithm.algorithm.to_id_string()),
        self_issued: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        is_ca: certificate.is_ca(),
        names_responder: names_access(&certificate, AIA_OCSP),
        names_issuer_location: names_access(&certificate, AIA_CA_ISSUERS),
    })
}

/// When a certificate ends, in Unix seconds.
pub(super) fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    Some(certificate.validity().not_after.timestamp())
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
            Ok(PublicKey::RSA(rsa)) => format!("RSA {}", rsa.key_size()),
            _ => algorithm,
        },
    }
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
