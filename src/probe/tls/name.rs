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
    use x509_parser::asn1_rs::FromDer;

    const UTF8: u8 = 0x0c;
    const NUMERIC: u8 = 0x12;
    const PRINTABLE: u8 = 0x13;
    const T61: u8 = 0x14;
    const IA5: u8 = 0x16;
    const UNIVERSAL: u8 = 0x1c;
    const BMP: u8 = 0x1e;

    const CN: &[u8] = &[0x55, 4, 3];
    const SERIAL: &[u8] = &[0x55, 4, 5];
    const C: &[u8] = &[0x55, 4, 6];
    const L: &[u8] = &[0x55, 4, 7];
    const ST: &[u8] = &[0x55, 4, 8];
    const STREET: &[u8] = &[0x55, 4, 9];
    const O: &[u8] = &[0x55, 4, 10];
    const OU: &[u8] = &[0x55, 4, 11];
    const POSTAL: &[u8] = &[0x55, 4, 17];
    const EMAIL: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
    const DC: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25];

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let header = if content.len() < 128 { vec![tag, length[1]] } else { vec![tag, 0x82, length[0], length[1]] };
        [header, content.to_vec()].concat()
    }

    /// Go's form of a name with these attributes, each of its own.
    fn printed(attributes: &[(&[u8], u8, &[u8])]) -> String {
        let one = |&(oid, tag, value): &(&[u8], u8, &[u8])| {
            tlv(0x31, &tlv(0x30, &[tlv(0x06, oid), tlv(tag, value)].concat()))
        };
        let der = tlv(0x30, &attributes.iter().flat_map(one).collect::<Vec<u8>>());
        go_format(&X509Name::from_der(&der).unwrap().1)
    }

    #[test]
    fn known_types_come_in_gos_order_whatever_the_certificates() {
        let all: [(&[u8], u8, &[u8]); 9] = [
            (C, PRINTABLE, b"SE"),
            (CN, UTF8, b"localhost"),
            (ST, UTF8, "Skåne".as_bytes()),
            (SERIAL, PRINTABLE, b"556"),
            (O, UTF8, b"Lab"),
            (POSTAL, NUMERIC, b"211 18"),
            (OU, UTF8, b"Probe"),
            (L, UTF8, "Malmö".as_bytes()),
            (STREET, UTF8, b"Gatan 1"),
        ];
        let expected =
            "SERIALNUMBER=556,CN=localhost,OU=Probe,O=Lab,POSTALCODE=211 18,STREET=Gatan 1,L=Malmö,ST=Skåne,C=SE";
        assert_eq!(printed(&all), expected);
        let mut reversed = all;
        reversed.reverse();
        assert_eq!(printed(&reversed), expected);
        assert_eq!(printed(&[]), "");
    }

    #[test]
    fn several_values_are_joined_and_the_last_common_name_wins() {
        let name: [(&[u8], u8, &[u8]); 5] =
            [(OU, UTF8, b"a"), (CN, UTF8, b"first"), (OU, UTF8, b""), (OU, UTF8, b"b"), (CN, UTF8, b"last")];
        assert_eq!(printed(&name), "CN=last,OU=a+OU=+OU=b");
        assert_eq!(printed(&[(CN, UTF8, b"first"), (CN, UTF8, b"")]), "", "an empty last one counts as none");
    }

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(printed(&[(CN, UTF8, br#" a,b+c"d\e<f>g;h#i j "#)]), r#"CN=\ a\,b\+c\"d\\e\<f\>g\;h#i j\ "#);
        assert_eq!(printed(&[(CN, UTF8, b"#1")]), r"CN=\#1");
        assert_eq!(printed(&[(CN, UTF8, " å ".as_bytes())]), r"CN=\ å\ ");
        assert_eq!(printed(&[(CN, UTF8, b" ")]), r"CN=\ ");
    }

    #[test]
    fn every_type_of_text_becomes_utf8() {
        assert_eq!(printed(&[(CN, T61, b"Malm\xf6")]), "CN=Malmö");
        assert_eq!(printed(&[(CN, BMP, b"\0M\0\xf6\xd8\x3d\xde\x00")]), "CN=Mö😀");
        assert_eq!(printed(&[(CN, BMP, b"\0M\0\0")]), "CN=M", "a NUL at the end is cut");
        assert_eq!(printed(&[(CN, UNIVERSAL, b"\0\0\0M\0\x01\xf6\x00\xff\xff\xff\xff")]), "CN=M😀\u{fffd}");
        assert_eq!(printed(&[(CN, UTF8, b"a\xffb")]), "CN=a\u{fffd}b");
    }

    #[test]
    fn unknown_types_come_last_in_reverse_as_hex() {
        let name: [(&[u8], u8, &[u8]); 4] =
            [(DC, IA5, b"example"), (EMAIL, IA5, b"a@b"), (CN, UTF8, b"x"), (DC, BMP, b"\0\xf6")];
        let expected = "CN=x,0.9.2342.19200300.100.1.25=#0c02c3b6,1.2.840.113549.1.9.1=#0c03614062,\
                        0.9.2342.19200300.100.1.25=#13076578616d706c65";
        assert_eq!(printed(&name), expected);
        assert_eq!(printed(&[(DC, UTF8, b"")]), "0.9.2342.19200300.100.1.25=#1300");
        let long = printed(&[(DC, UTF8, &[b'a'; 200])]);
        assert!(long.starts_with("0.9.2342.19200300.100.1.25=#1381c86161"), "{long}");
        let longer = printed(&[(DC, UTF8, &[b'a'; 300])]);
        assert!(longer.starts_with("0.9.2342.19200300.100.1.25=#1382012c6161"), "{longer}");
    }
}
