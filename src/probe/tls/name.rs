//! Distinguished names as Go prints them, which is how `blackbox_exporter` labels subject and issuer.

use std::fmt::Write as _;
use x509_parser::{
    asn1_rs::{Any, Tag},
    x509::X509Name,
};

/// Attribute types with a short name, in the order Go prints them.
const KNOWN: [(&str, &str); 9] = [
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.11", "OU"),
    ("2.5.4.10", "O"),
    ("2.5.4.17", "POSTALCODE"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.6", "C"),
];
/// Types of which Go keeps only the last value.
const SINGLE: [&str; 2] = ["CN", "SERIALNUMBER"];

/// `name` in Go's format: known types in Go's order whatever the certificate's, several values of one type joined by `+`,
/// unknown types last, in reverse order, as `oid=#` and the hex of the value's DER.
pub(super) fn go_format(name: &X509Name<'_>) -> String {
    let attributes: Vec<(String, String)> =
        name.iter_attributes().map(|a| (a.attr_type().to_id_string(), text_of(a.attr_value()))).collect();
    let mut parts = Vec::new();
    for (oid, short) in KNOWN {
        let mut values: Vec<&str> = attributes.iter().filter(|(o, _)| o == oid).map(|(_, v)| v.as_str()).collect();
        if SINGLE.contains(&short) {
            values = values.pop().into_iter().filter(|value| !value.is_empty()).collect();
        }
        if !values.is_empty() {
            let joined: Vec<String> = values.iter().map(|v| format!("{short}={}", escape(v))).collect();
            parts.push(joined.join("+"));
        }
    }
    let unknown = attributes.iter().rev().filter(|(oid, _)| KNOWN.iter().all(|(known, _)| known != oid));
    parts.extend(unknown.map(|(oid, value)| format!("{oid}=#{}", hex(&der_of(value)))));
    parts.join(",")
}

/// The text of a value, whatever its type; what is no text in that type is replaced, so that the label stays UTF-8.
fn text_of(value: &Any<'_>) -> String {
    let utf16 = |bytes: &[u8]| {
        let units: Vec<u16> = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match value.tag() {
        // Some are ended by a NUL, which Go cuts.
        Tag::BmpString => utf16(value.data.strip_suffix(&[0, 0]).unwrap_or(value.data)),
        Tag::UniversalString => {
            let points =
                value.data.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
            points.map(|point| char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        // Nobody uses T.61's own code pages; Go takes it for Latin-1, which it mostly is.
        Tag::T61String => value.data.iter().map(|&byte| char::from(byte)).collect(),
        _ => String::from_utf8_lossy(value.data).into_owned(),
    }
}

/// The DER of a text as Go writes it back: a `PrintableString` where it fits, else a `UTF8String`.
fn der_of(text: &str) -> Vec<u8> {
    let printable = text.bytes().all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(&b));
    let length = text.len().to_be_bytes();
    let length = &length[length.iter().take_while(|&&byte| byte == 0).count()..];
    let mut der = vec![if printable { 0x13 } else { 0x0c }];
    match text.len() {
        0 => der.push(0),
        1..=0x7f => der.extend(length),
        _ => {
            der.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
            der.extend(length);
        }
    }
    der.extend(text.as_bytes());
    der
}

fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        let special = matches!(c, ',' | '+' | '"' | '\\' | '<' | '>' | ';');
        if special || (c == ' ' && (at == 0 || at == last)) || (c == '#' && at == 0) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Lower-case hex, two digits per byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    #[test]
    fn prints_names_like_go() {
        let mut name = DistinguishedName::new();
        name.push(DnType::CountryName, "SE");
        name.push(DnType::CommonName, " a,b# ");
        name.push(DnType::StateOrProvinceName, "Skåne");
        name.push(DnType::OrganizationName, "Lab+1");
        name.push(DnType::LocalityName, "Malmö");
        name.push(DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]), "a@b");
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.distinguished_name = name;
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate.der()).unwrap();
        let expected = "CN=\\ a\\,b#\\ ,O=Lab\\+1,L=Malmö,ST=Skåne,C=SE,1.2.840.113549.1.9.1=#0c03614062";
        assert_eq!(go_format(parsed.subject()), expected);
    }
}
