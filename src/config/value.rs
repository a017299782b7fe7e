//! The small values of a config: durations, sizes, header names, patterns ... Text in, value out, or what is wrong.
//!
//! No function knows where in the file its text stands. Texts that may be secret are never part of an error.

use super::error::{Wrong, wrong};
use crate::model::{
    CipherClass, Compression, HttpVersion, IpFamily, IpProtocol, Online, Pattern, Pin, RootStore, ScanItem,
    ScanProfile, StartTls, TlsGroup, TlsVersion,
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderName, HeaderValue, Method};
use std::time::Duration;
use strum::VariantArray;

/// Go's duration units and, ours, days and weeks; longer spellings before their prefixes.
const DURATION_UNITS: &[(&str, f64)] = &[
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3_600e9),
    ("d", 86_400e9),
    ("w", 604_800e9),
];

/// Size units as `blackbox_exporter` reads them: powers of two, with or without the `i`.
const SIZE_UNITS: &[(&str, u32)] = &[("B", 0), ("K", 10), ("M", 20), ("G", 30), ("T", 40), ("P", 50), ("E", 60)];

/// About 100 years: longer ones are typing errors, and sums of shorter ones cannot overflow.
const MAX_DURATION_NANOS: f64 = 100.0 * 365.0 * 86_400e9;

/// Reads `5s`, `1m30s`, `250ms`, `1.5h`, `1d12h` or `0`.
pub(super) fn duration(text: &str) -> Result<Duration, Wrong> {
    const REMEDY: &str = "write a number with a unit, such as 5s, 250ms, 1m30s or 2d";
    let text = text.trim();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.starts_with('-') {
        return Err(wrong(format!("`{text}` is negative"), REMEDY));
    }
    if text.parse::<f64>().is_ok() {
        return Err(wrong(
            format!("`{text}` has no unit"),
            format!("write {text}s for seconds, or another unit: ms, m, h, d"),
        ));
    }
    let not_one = || wrong(format!("`{text}` is not a duration"), REMEDY);
    let mut rest = text;
    let mut nanos = 0.0;
    while !rest.is_empty() {
        let (number, tail) = split_number(rest).ok_or_else(not_one)?;
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, size) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(not_one)?;
        nanos += number * size;
        rest = tail;
    }
    if text.is_empty() {
        return Err(not_one());
    }
    if nanos > MAX_DURATION_NANOS {
        return Err(wrong(format!("`{text}` is longer than 100 years"), REMEDY));
    }
    Ok(Duration::from_secs_f64(nanos / 1e9))
}

/// Reads `10KB`, `1.5MiB`, `100B`; `None` for `0`, which means no limit.
pub(super) fn size(text: &str) -> Result<Option<u64>, Wrong> {
    const REMEDY: &str = "write a number with a unit, such as 512KB, 10MB or 1.5GiB (powers of two)";
    let text = text.trim();
    if text == "0" {
        return Ok(None);
    }
    let not_one = || wrong(format!("`{text}` is not a size"), REMEDY);
    let (number, unit) = split_number(text).ok_or_else(not_one)?;
    if unit.trim().is_empty() {
        return Err(wrong(format!("`{text}` has no unit"), REMEDY));
    }
    let name = unit.trim().strip_suffix('B').ok_or_else(not_one)?;
    let name = name.strip_suffix('i').unwrap_or(name);
    let name = if name.is_empty() { "B" } else { name };
    let (_, power) = SIZE_UNITS.iter().find(|(unit, _)| *unit == name).ok_or_else(not_one)?;
    let bytes = format!("{:.0}", number * 2f64.powi(i32::try_from(*power).unwrap_or_default()));
    Ok(bytes.parse().ok().filter(|&bytes| bytes != 0))
}

/// Reads a whole number of percent, as `10%`.
pub(super) fn percent(text: &str) -> Result<u32, Wrong> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse().ok());
    number.ok_or_else(|| wrong(format!("`{text}` is not a percentage"), "write a whole number and `%`, such as 10%"))
}

/// Digits with at most one dot, and the rest.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    Some((number.parse().ok()?, rest))
}

/// Reads `ip4` or `ip6`.
pub(super) fn ip_family(text: &str) -> Result<IpFamily, Wrong> {
    match text {
        "" | "ip6" => Ok(IpFamily::V6),
        "ip4" => Ok(IpFamily::V4),
        _ => Err(wrong(format!("`{text}` is not an IP protocol"), "write ip4 or ip6")),
    }
}

/// Reads `prefer`, `race` or `both`.
pub(super) fn ip_protocol(text: &str) -> Result<IpProtocol, Wrong> {
    let known = IpProtocol::VARIANTS.iter().copied().find(|known| known.to_string() == text);
    known.ok_or_else(|| {
        let remedy = "write prefer (one address), race (whichever answers first) or both (one result per family)";
        wrong(format!("`{text}` is not a way to use addresses"), remedy)
    })
}

/// Reads a request method.
pub(super) fn method(text: &str) -> Result<Method, Wrong> {
    Method::from_bytes(text.as_bytes())
        .map_err(|_| wrong(format!("`{text}` is not a request method"), "write one word, such as GET, HEAD or POST"))
}

/// Reads a header's name.
pub(super) fn header_name(text: &str) -> Result<HeaderName, Wrong> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| wrong(format!("`{text}` is not a header name"), "use letters, digits and hyphens only"))
}

/// Reads a header's value; the error does not show it.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, Wrong> {
    HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| wrong("the value holds a line break or a control character", "remove it"))
}

/// Whether `text` is a token of RFC 9110 section 5.6.2.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Compiles a regular expression.
pub(super) fn pattern(text: &str) -> Result<Pattern, Wrong> {
    Pattern::new(text).map_err(|error| {
        let text_of_error = error.to_string();
        let last = text_of_error.lines().last().unwrap_or_default().trim().trim_start_matches("error: ");
        wrong(
            format!("`{text}` is not a regular expression: {last}"),
            "use RE2 syntax, without look-around or backreferences",
        )
    })
}

/// Reads an accepted status code.
pub(super) fn status(code: i64) -> Result<u16, Wrong> {
    u16::try_from(code)
        .ok()
        .filter(|code| (100..=999).contains(code))
        .ok_or_else(|| wrong(format!("`{code}` is not a status code"), "write numbers from 100 to 999"))
}

/// Reads an accepted HTTP version.
pub(super) fn http_version(text: &str) -> Result<HttpVersion, Wrong> {
    if matches!(text, "HTTP/3" | "HTTP/3.0") {
        return Err(later(&format!("`{text}`")));
    }
    named(text, |name, version: HttpVersion| name == <&str>::from(version))
        .ok_or_else(|| wrong(format!("`{text}` is not an HTTP version"), "write HTTP/1.0, HTTP/1.1 or HTTP/2.0"))
}

/// Reads a compression's name, in any case.
pub(super) fn compression(text: &str) -> Result<Compression, Wrong> {
    named(text, |name, compression: Compression| name.eq_ignore_ascii_case(compression.into()))
        .ok_or_else(|| wrong(format!("`{text}` is not a known compression"), "write gzip, br, deflate or identity"))
}

/// Reads `TLS10` to `TLS13`.
pub(super) fn tls_version(text: &str) -> Result<TlsVersion, Wrong> {
    match text {
        "TLS10" => Ok(TlsVersion::Tls10),
        "TLS11" => Ok(TlsVersion::Tls11),
        "TLS12" => Ok(TlsVersion::Tls12),
        "TLS13" => Ok(TlsVersion::Tls13),
        _ => Err(wrong(format!("`{text}` is not a TLS version"), "write TLS10, TLS11, TLS12 or TLS13")),
    }
}

/// Reads `system` or `embedded`.
pub(super) fn root_store(text: &str) -> Result<RootStore, Wrong> {
    match text {
        "system" => Ok(RootStore::System),
        "embedded" => Ok(RootStore::Embedded),
        _ => Err(wrong(format!("`{text}` is not a store of roots"), "write system or embedded")),
    }
}

/// Reads a pin: `sha256/` (curl's `sha256//`, too) and Base64, or 64 hexadecimal digits, which may be parted by colons.
pub(super) fn pin(text: &str) -> Result<Pin, Wrong> {
    const REMEDY: &str = "write sha256/ and the Base64 of the key's SHA-256 (44 characters), or its 64 hexadecimal \
                          digits; `edgeprobe probe` shows the pin of each certificate";
    // A slash may begin the Base64, too; then all of it is needed for 32 bytes.
    let base64 = |text: &str| BASE64_STANDARD.decode(text).ok();
    let digest = match text.strip_prefix("sha256/") {
        Some(rest) => base64(rest).or_else(|| rest.strip_prefix('/').and_then(base64)),
        None => hex(&text.replace(':', "")),
    };
    let digest = digest.and_then(|digest| digest.try_into().ok());
    digest.map(Pin).ok_or_else(|| wrong(format!("`{text}` is not a pin"), REMEDY))
}

/// Reads bytes as pairs of hexadecimal digits, which may be parted by white space or colons.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, Wrong> {
    let digits = text.replace(|c: char| c == ':' || c.is_ascii_whitespace(), "");
    hex(&digits).ok_or_else(|| {
        wrong("this is not hexadecimal", "write two digits of 0-9 and a-f for each byte, such as \"00 ff 7e\"")
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: char| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let digits = text.chars().map(digit).collect::<Option<Vec<u8>>>()?;
    digits.chunks(2).map(|pair| <[u8; 2]>::try_from(pair).ok().map(|[high, low]| high << 4 | low)).collect()
}

/// Reads the name of a protocol that switches to TLS.
pub(super) fn starttls(text: &str) -> Result<StartTls, Wrong> {
    named(text, |name, protocol: StartTls| name == <&str>::from(protocol)).ok_or_else(|| {
        let remedy = "write smtp, imap, pop3, ftp, ldap, postgres, mysql or xmpp";
        wrong(format!("`{text}` is not a protocol that switches to TLS"), remedy)
    })
}

/// Reads what a scan can find accepted: a version, a cipher class or a group, in any case.
pub(super) fn scan_item(text: &str) -> Result<ScanItem, Wrong> {
    let is = |name: &str, known: &str| name.eq_ignore_ascii_case(known);
    let version = named(text, |name, version: TlsVersion| is(name, version.into())).map(ScanItem::Version);
    let class = || named(text, |name, class: CipherClass| is(name, class.into())).map(ScanItem::Class);
    let group = || named(text, |name, group: TlsGroup| is(name, group.into())).map(ScanItem::Group);
    version.or_else(class).or_else(group).ok_or_else(|| {
        wrong(format!("`{text}` is not something a scan asks for"), format!("write one of: {}", scan_items()))
    })
}

fn scan_items() -> String {
    let versions = TlsVersion::VARIANTS.iter().map(|version| ScanItem::Version(*version));
    let classes = CipherClass::VARIANTS.iter().map(|class| ScanItem::Class(*class));
    let groups = TlsGroup::VARIANTS.iter().map(|group| ScanItem::Group(*group));
    versions.chain(classes).chain(groups).map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// Reads the name of a ready-made policy.
pub(super) fn scan_profile(text: &str) -> Result<ScanProfile, Wrong> {
    named(text, |name, profile: ScanProfile| name == <&str>::from(profile))
        .ok_or_else(|| wrong(format!("`{text}` is not a profile"), "write modern, intermediate or old"))
}

/// Reads whether a source of revocation is asked.
pub(super) fn online(text: &str) -> Result<Online, Wrong> {
    named(text, |name, online: Online| name == <&str>::from(online))
        .ok_or_else(|| wrong(format!("`{text}` is not a way to ask"), "write off, soft or hard"))
}

fn named<T: VariantArray + Copy>(text: &str, is: impl Fn(&str, T) -> bool) -> Option<T> {
    T::VARIANTS.iter().copied().find(|&variant| is(text, variant))
}

/// What is said of everything that later work brings.
pub(super) fn later(what: &str) -> Wrong {
    wrong(format!("{what} is not supported yet"), "remove it")
}

/// Whether a server that reads `accept_encoding` may answer with `compression`: its most wanted match decides.
pub(super) fn accepts_encoding(accept_encoding: &str, compression: &str) -> bool {
    let mut entries: Vec<(&str, f64)> = accept_encoding
        .split(',')
        .map(|entry| {
            let (name, parameters) = entry.split_once(';').unwrap_or((entry, "q=1"));
            let q = parameters.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(0.0);
            (name.trim(), q)
        })
        .collect();
    entries.sort_by(|a, b| b.1.total_cmp(&a.1));
    let decides = |(name, _): &&(&str, f64)| name.eq_ignore_ascii_case(compression) || *name == "*";
    accept_encoding.trim().is_empty() || entries.iter().find(decides).is_some_and(|&(_, q)| q > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_pin_means_the_same() {
        let mut bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i * 8 + 7).unwrap());
        bytes[0] = 0xff; // its Base64 begins with a slash
        let shown = Pin(bytes).to_string();
        let digits: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let (hex, colons) = (digits.concat(), digits.join(":").to_uppercase());
        for text in [&shown, &shown.replacen('/', "//", 1), &hex, &colons] {
            if let Ok(pin) = pin(text) {
                assert_eq!(pin, Pin(bytes), "{text}");
            } else {
                panic!("{text} is a pin");
            }
        }
        for text in ["", "sha256/", &shown[..40], &hex[1..], &format!("{hex}00"), &hex.replace('7', "g"), "sha1/AAAA"] {
            assert!(pin(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_read_as_in_go_and_know_days() {
        for (text, millis) in [
            ("0", 0),
            ("0s", 0),
            ("5s", 5_000),
            ("1m30s", 90_000),
            ("250ms", 250),
            ("1.5h", 5_400_000),
            ("1d12h", 129_600_000),
            ("2w", 1_209_600_000),
            (".5s", 500),
            ("1000us", 1),
            ("1000µs", 1),
            ("1000000ns", 1),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for (text, part) in [
            ("5", "no unit"),
            ("-5s", "negative"),
            ("", "not a duration"),
            ("s", "not a duration"),
            ("5 s", "not a duration"),
            ("1y", "not a duration"),
            ("6000w", "100 years"),
        ] {
            let problem = duration(text).unwrap_err().problem;
            assert!(problem.contains(part), "{text}: {problem}");
        }
    }

    #[test]
    fn sizes_are_powers_of_two_with_a_unit() {
        for (text, bytes) in [
            ("0", None),
            ("0B", None),
            ("100B", Some(100)),
            ("1KB", Some(1024)),
            ("1.5MB", Some(1_572_864)),
            ("2MiB", Some(2_097_152)),
            ("1G", None),
        ] {
            assert_eq!(size(text).ok().flatten(), bytes, "{text}");
        }
        for text in ["100", "10XB", "-1KB", "", "KB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_most_wanted_encoding_decides() {
        for (accept, compression, expected) in [
            ("gzip", "gzip", true),
            ("GZIP", "gzip", true),
            ("", "gzip", true),
            ("br", "gzip", false),
            ("*", "gzip", true),
            ("gzip;q=0", "gzip", false),
            ("gzip;q=0, *;q=0.5", "gzip", true),
            ("br;q=1, gzip;q=0.2", "gzip", true),
            ("gzip;q=x", "gzip", false),
        ] {
            assert_eq!(accepts_encoding(accept, compression), expected, "{accept}");
        }
    }

    #[test]
    fn a_broken_pattern_is_explained_in_one_line() {
        let text = format!("{:?}", pattern("a(").unwrap_err());
        assert!(text.contains("unclosed group") && !text.contains("\\n"), "{text}");
    }
}
