//! Distinguished names as Go prints them, which is how `blackbox_exporter` labels subject and issuer.

use std::fmt::Write as _;
use x509_parser::{asn1_rs::Tag, x509::X509Name};

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
    let attributes: Vec<(String, String, String)> =
        name.iter_attributes().map(|a| (a.attr_type().to_id_string(), text_of(a), hex_of_value(a))).collect();
    let mut parts = Vec::new();
    for (oid, short) in KNOWN {
        let mut values: Vec<&str> = attributes.iter().filter(|(o, ..)| o == oid).map(|(_, v, _)| v.as_str()).collect();
        if SINGLE.contains(&short) {
            values = values.pop().into_iter().collect();
        }
        if !values.is_empty() {
            let joined: Vec<String> = values.iter().map(|v| format!("{short}={}", escape(v))).collect();
            parts.push(joined.join("+"));
        }
    }
    let unknown = attributes.iter().rev().filter(|(oid, ..)| KNOWN.iter().all(|(known, _)| known != oid));
    parts.extend(unknown.map(|(oid, _, hex)| format!("{oid}=#{hex}")));
    parts.join(",")
}

fn text_of(attribute: &x509_parser::x509::AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    if value.tag() == Tag::BmpString {
        let units: Vec<u16> = value.data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
        return String::from_utf16_lossy(&units);
    }
    String::from_utf8_lossy(value.data).into_owned()
}

/// The DER of the value as Go writes it back: texts as `PrintableString` where they fit, else as `UTF8String`.
fn hex_of_value(attribute: &x509_parser::x509::AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    let text = [Tag::Utf8String, Tag::PrintableString, Tag::Ia5String, Tag::T61String, Tag::NumericString];
    let tag = match value.tag() {
        tag if !text.contains(&tag) => u8::try_from(tag.0).unwrap_or(0x04),
        _ if value.data.iter().all(|b| b.is_ascii_alphanumeric() || b" '()+,-./:=?".contains(b)) => 0x13,
        _ => 0x0c,
    };
    let mut der = vec![tag];
    match u8::try_from(value.data.len()) {
        Ok(short @ ..=0x7f) => der.push(short),
        Ok(long) => der.extend([0x81, long]),
        Err(_) => {
            let length = u16::try_from(value.data.len()).unwrap_or(u16::MAX).to_be_bytes();
            der.extend([0x82, length[0], length[1]]);
        }
    }
    der.extend(value.data);
    hex(&der)
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
