//! What is said about a site apart from the target: whom to dial and which names to show.
//!
//! Address, SNI and Host are three things. Each can be set by the module, the job, the target's labels or a request, the
//! later over the earlier; what nobody sets is the target's own.

use super::Host;
use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr, sync::Arc};

/// What is said about a site apart from the target. What is `None` is left to the target.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Site {
    /// The Host header, or HTTP/2's authority; also the TLS name unless another is given. As blackbox's `hostname` parameter.
    pub hostname: Option<Arc<str>>,
    /// Whom to dial.
    pub connect_to: Option<ConnectTo>,
    /// The SNI, which is also the name to verify unless [`Site::verify_name`] is given.
    pub sni: Option<Sni>,
    /// The name that the certificate has to be for.
    pub verify_name: Option<Arc<str>>,
}

/// What the SNI extension says (RFC 6066 section 3).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Sni {
    /// This name.
    Name(Arc<str>),
    /// Nothing: the extension is left out.
    Omitted,
}

impl Site {
    /// The names by which a config, a target's labels and a request give the parts.
    pub const KEYS: [&'static str; 4] = ["hostname", "connect_to", "sni", "verify_name"];

    /// Sets the part that `key`, one of [`Site::KEYS`], stands for. The error says what is wrong with `text`.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), String> {
        match key {
            "hostname" => self.hostname = Some(authority(text)?),
            "connect_to" => self.connect_to = Some(text.parse()?),
            "sni" => self.sni = Some(text.parse()?),
            "verify_name" => self.verify_name = Some(tls_name(text)?),
            _ => return Err(format!("`{key}` says nothing about a site")),
        }
        Ok(())
    }

    /// What `self` says, and where it says nothing, what `other` says.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            hostname: self.hostname.clone().or_else(|| other.hostname.clone()),
            connect_to: self.connect_to.clone().or_else(|| other.connect_to.clone()),
            sni: self.sni.clone().or_else(|| other.sni.clone()),
            verify_name: self.verify_name.clone().or_else(|| other.verify_name.clone()),
        }
    }
}

impl FromStr for Sni {
    type Err = String;

    /// Reads a DNS name, or `none`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::Omitted);
        }
        match url::Host::parse(text) {
            Ok(url::Host::Domain(name)) => Ok(Self::Name(name.into())),
            Ok(_) => Err(format!("`{text}` is an address, which SNI cannot carry (RFC 6066 section 3)")),
            Err(_) => Err(format!("`{text}` is neither a DNS name nor `none`")),
        }
    }
}

impl fmt::Display for Sni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Omitted => f.write_str("none"),
        }
    }
}

/// A host with an optional port, as a Host header has it: the name in its ASCII form, its case kept, an IPv6 address in
/// brackets.
fn authority(text: &str) -> Result<Arc<str>, String> {
    if let Ok(IpAddr::V6(ip)) = text.parse() {
        return Ok(format!("[{ip}]").into());
    }
    let host = host_of(text);
    let ascii = if host.is_ascii() {
        Cow::Borrowed(text)
    } else {
        let (Ok(url::Host::Domain(name)), Some(port)) = (url::Host::parse(host), text.strip_prefix(host)) else {
            return Err(not_a_host(text));
        };
        Cow::Owned(name + port)
    };
    let one_host = !ascii.contains('@') && (ascii.starts_with('[') || !host_of(&ascii).contains(':'));
    match ascii.parse::<http::uri::Authority>() {
        Ok(authority) if one_host && !authority.host().is_empty() => Ok(ascii.into()),
        _ => Err(not_a_host(text)),
    }
}

fn not_a_host(text: &str) -> String {
    format!("`{text}` is not a host with an optional port")
}

/// What a certificate can be for: a DNS name in its ASCII form, or an address.
fn tls_name(text: &str) -> Result<Arc<str>, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.into());
    }
    match url::Host::parse(text) {
        Ok(url::Host::Domain(name)) => Ok(name.into()),
        _ => Err(format!("`{text}` is neither a DNS name nor an address")),
    }
}

/// The host part of a Host header: without port and brackets.
pub fn host_of(authority: &str) -> &str {
    if let Some((inside, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside;
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Whether two hosts, without port and brackets, are the same one: case and a final dot make no difference.
pub fn same_host(a: &str, b: &str) -> bool {
    a.trim_end_matches('.').eq_ignore_ascii_case(b.trim_end_matches('.'))
}

/// An address to dial in place of the target's own, with its port when that differs too.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ConnectTo {
    /// Whom to dial.
    pub host: Host,
    /// On which port; the target's own if none.
    pub port: Option<u16>,
}

impl FromStr for ConnectTo {
    type Err = String;

    /// Reads `203.0.113.7`, `203.0.113.7:8443`, `2001:db8::1`, `[2001:db8::1]:8443`, `edge.example` or `edge.example:8443`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an address or name with an optional port, such as 203.0.113.7:8443");
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self { host: Host::Ip(ip), port: None });
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((inside, "")) => (inside, None),
            Some((inside, after)) => (inside, Some(after.strip_prefix(':').ok_or_else(wrong)?)),
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(|p| p.parse().ok().filter(|&p| p != 0).ok_or_else(wrong)).transpose()?;
        let host = match host.parse::<IpAddr>() {
            Ok(ip) => Host::Ip(ip),
            Err(_) if text.starts_with('[') => return Err(wrong()),
            Err(_) => match url::Host::parse(host).map_err(|_| wrong())? {
                url::Host::Domain(name) => Host::Name(name),
                url::Host::Ipv4(_) | url::Host::Ipv6(_) => return Err(wrong()),
            },
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for ConnectTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (Host::Ip(IpAddr::V6(ip)), Some(port)) => write!(f, "[{ip}]:{port}"),
            (host, Some(port)) => write!(f, "{host}:{port}"),
            (host, None) => host.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_site_are_read_in_their_ascii_form() {
        let set = |key: &str, text: &str| {
            let mut site = Site::default();
            site.set(key, text).map(|()| site)
        };
        let hostname = |text| set("hostname", text).map(|site| site.hostname.unwrap().to_string());
        for (text, expected) in [
            ("www.example.com", "www.example.com"),
            ("Www.Example.com:8443", "Www.Example.com:8443"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("b\u{fc}cher.example:8443", "xn--bcher-kva.example:8443"),
            ("192.0.2.1", "192.0.2.1"),
            ("::1", "[::1]"),
            ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
        ] {
            assert_eq!(hostname(text).as_deref(), Ok(expected));
        }
        for text in ["", "a b", "user@a.example", "a.example/x", "a.example:x", "https://a.example"] {
            assert!(hostname(text).is_err(), "{text}");
        }
        let sni = |text| set("sni", text).map(|site| site.sni.unwrap().to_string());
        for (text, expected) in
            [("a.example", "a.example"), ("none", "none"), ("B\u{dc}CHER.example", "xn--bcher-kva.example")]
        {
            assert_eq!(sni(text).as_deref(), Ok(expected));
        }
        let verify = |text| set("verify_name", text).map(|site| site.verify_name.unwrap().to_string());
        for text in ["a.example", "192.0.2.1", "2001:db8::1"] {
            assert_eq!(verify(text).as_deref(), Ok(text));
        }
        for (key, text) in [
            ("sni", "192.0.2.1"),
            ("sni", "[::1]"),
            ("sni", "a b"),
            ("sni", ""),
            ("verify_name", "a:443"),
            ("verify_name", ""),
        ] {
            assert!(set(key, text).is_err(), "{key}={text}");
        }
        assert!(set("Hostname", "a").is_err());
    }

    #[test]
    fn the_port_of_a_host_header_is_no_part_of_the_name() {
        for (header, host) in
            [("a.example:8443", "a.example"), ("a.example", "a.example"), ("[::1]:81", "::1"), ("::1", "::1")]
        {
            assert_eq!(host_of(header), host);
        }
    }

    #[test]
    fn connect_to_reads_and_prints_every_form() {
        for text in [
            "203.0.113.7",
            "203.0.113.7:8443",
            "2001:db8::1",
            "[2001:db8::1]:8443",
            "edge.example",
            "edge.example:8443",
        ] {
            assert_eq!(text.parse::<ConnectTo>().unwrap().to_string(), text);
        }
        for text in ["", "a b", "1.2.3.4:x", "1.2.3.4:0", "[edge]:1", "[::1]x", "https://a"] {
            assert!(text.parse::<ConnectTo>().is_err(), "{text}");
        }
    }
}
