//! What to probe: a target's text, read once into scheme, host, port and path.

use super::{ProberKind, Secret};
use std::{borrow::Cow, fmt, net::IpAddr};
use url::Url;

/// Longer targets are refused: no URL in use is longer, and a target is a label.
const MAX_TARGET: usize = 8 * 1024;

/// The protocol a target asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// HTTP in the clear.
    Http,
    /// HTTP over TLS.
    Https,
    /// WebSocket in the clear.
    Ws,
    /// WebSocket over TLS.
    Wss,
    /// TLS with nothing on top.
    Tls,
}

impl Scheme {
    /// Whether the connection starts with a TLS handshake.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Wss | Self::Tls)
    }
}

/// The host part of a target.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Host {
    /// A DNS name, lower case, in its ASCII (punycode) form.
    Name(String),
    /// An address literal.
    Ip(IpAddr),
    /// A link-local IPv6 address with its zone, as in `fe80::1%eth0`.
    Zoned(std::net::Ipv6Addr, String),
}

impl fmt::Display for Host {
    /// As a resolver takes it: no brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
            Self::Zoned(ip, zone) => write!(f, "{ip}%{zone}"),
        }
    }
}

/// Why a text is not a target.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(String);

/// A parsed target. Credentials of the text's user info are kept apart, so that no form of it shows them.
#[derive(Clone, Debug)]
pub struct Target {
    scheme: Scheme,
    host: Host,
    url: Url,
    credentials: Option<(String, Secret)>,
    /// Whether the text says which port, be it the scheme's own.
    names_port: bool,
}

impl Target {
    /// Reads `text` as a target of `prober`.
    ///
    /// `http` takes a URL (a missing scheme means `http://`, as in `blackbox_exporter`), `websocket` a ws or wss URL, `tls` a
    /// host, `host:port` (443 if none) or a URL of an encrypted scheme.
    pub fn parse(text: &str, prober: ProberKind) -> Result<Self, TargetError> {
        if text.len() > MAX_TARGET {
            return Err(TargetError(format!("the target is longer than {MAX_TARGET} bytes")));
        }
        if text.trim().is_empty() {
            return Err(TargetError("the target is empty".into()));
        }
        let with_scheme = match prober {
            ProberKind::Http if !has_scheme(text) => Cow::Owned(format!("http://{}", bracketed(text))),
            ProberKind::Tls | ProberKind::TlsScan if !has_scheme(text) => {
                Cow::Owned(format!("tls://{}", bracketed(text)))
            }
            _ => Cow::Borrowed(text),
        };
        let (scheme_text, rest) = with_scheme
            .split_once("://")
            .filter(|_| has_scheme(&with_scheme))
            .ok_or_else(|| TargetError("a websocket target is a URL, such as wss://example.com/socket".into()))?;
        let scheme = scheme_of(scheme_text, prober)?;
        let (url, zone) = parse_url(&with_scheme, scheme)?;
        Ok(Self { names_port: names_port(rest), ..Self::from_parts(scheme, url, zone)? })
    }

    /// The same target, with `port` where its text named none.
    #[must_use]
    pub fn with_default_port(mut self, port: u16) -> Self {
        if !self.names_port {
            self.url.set_port(Some(port)).expect("every target has a host, and no scheme of files");
        }
        self
    }

    /// The target that a redirect from this one to `location` leads to (RFC 9110 section 10.2.2).
    pub fn join(&self, location: &str) -> Result<Self, TargetError> {
        let url = self.url.join(location).map_err(|e| TargetError(format!("bad redirect location: {e}")))?;
        let scheme = scheme_of(url.scheme(), ProberKind::Http)?;
        let mut next = Self::from_parts(scheme, url, None)?;
        if let (Host::Zoned(ip, _), Host::Ip(IpAddr::V6(to))) = (&self.host, &next.host)
            && ip == to
        {
            next.host = self.host.clone();
        }
        Ok(next)
    }

    fn from_parts(scheme: Scheme, mut url: Url, zone: Option<String>) -> Result<Self, TargetError> {
        let host = match (url.host(), zone) {
            (Some(url::Host::Ipv6(ip)), Some(zone)) => Host::Zoned(ip, zone),
            (Some(url::Host::Ipv6(ip)), None) => Host::Ip(ip.into()),
            (Some(url::Host::Ipv4(ip)), _) => Host::Ip(ip.into()),
            (Some(url::Host::Domain(name)), _) if !name.is_empty() => Host::Name(name.to_owned()),
            _ => return Err(TargetError("the target has no host".into())),
        };
        if url.port() == Some(0) {
            return Err(TargetError("port 0 cannot be connected to".into()));
        }
        let credentials = take_credentials(&mut url);
        if credentials.is_some() && matches!(scheme, Scheme::Ws | Scheme::Wss) {
            return Err(TargetError("a websocket target takes no user info; use `basic_auth` in the module".into()));
        }
        url.set_fragment(None);
        let names_port = url.port().is_some();
        Ok(Self { scheme, host, url, credentials, names_port })
    }

    /// The protocol.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host to resolve and, unless told otherwise, to name in SNI and Host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.url.port_or_known_default().unwrap_or(443)
    }

    /// Host and, when it is not the scheme's own, port: what the Host header says (RFC 9110 section 7.2).
    pub fn authority(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        self.url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Path and query: the request target.
    pub fn path_and_query(&self) -> &str {
        &self.url[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// User name and password of the target's user info.
    pub fn credentials(&self) -> Option<(&str, &Secret)> {
        self.credentials.as_ref().map(|(user, password)| (user.as_str(), password))
    }

    /// Whether `other` names the same host, whatever its scheme, port and path.
    pub fn same_host(&self, other: &Self) -> bool {
        self.host == other.host
    }

    /// Whether `other` has the same scheme, host and port: credentials may go there.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.same_host(other) && self.scheme == other.scheme && self.port() == other.port()
    }
}

impl fmt::Display for Target {
    /// The URL without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Tls => write!(f, "{}:{}", self.url.host_str().unwrap_or_default(), self.port()),
            _ => f.write_str(self.url.as_str()),
        }
    }
}

fn scheme_of(text: &str, prober: ProberKind) -> Result<Scheme, TargetError> {
    let scheme = text.to_ascii_lowercase();
    match (prober, scheme.as_str()) {
        (ProberKind::Http, "http") => Ok(Scheme::Http),
        (ProberKind::Http, "https") => Ok(Scheme::Https),
        (ProberKind::Http, "ws" | "wss") => {
            Err(TargetError(format!("the http prober takes http and https, not `{scheme}`; use a websocket module")))
        }
        (ProberKind::WebSocket, "ws") => Ok(Scheme::Ws),
        (ProberKind::WebSocket, "wss") => Ok(Scheme::Wss),
        (ProberKind::WebSocket, _) => Err(TargetError(format!("a websocket target is ws or wss, not `{scheme}`"))),
        (ProberKind::Tls | ProberKind::TlsScan, "tls" | "https" | "wss") => Ok(Scheme::Tls),
        (ProberKind::Tls | ProberKind::TlsScan, "http" | "ws") => Err(TargetError(format!(
            "`{scheme}://` is not encrypted; the {prober} prober wants a host, host:port or https URL"
        ))),
        _ => Err(TargetError(format!("the scheme `{scheme}` is not supported"))),
    }
}

/// Parses a URL whose IPv6 host may carry a zone, which the URL standard does not know (RFC 6874).
fn parse_url(text: &str, scheme: Scheme) -> Result<(Url, Option<String>), TargetError> {
    let (_, rest) = text.split_once("://").expect("the caller made sure of a scheme");
    let standard = match scheme {
        // A special scheme, so that the host is read as a DNS name and 443 is the default port.
        Scheme::Tls | Scheme::Https => "https",
        Scheme::Http => "http",
        Scheme::Ws => "ws",
        Scheme::Wss => "wss",
    };
    let (rest, zone) = split_zone(rest)?;
    let url = Url::parse(&format!("{standard}://{rest}")).map_err(|e| TargetError(format!("not a URL: {e}")))?;
    Ok((url, zone))
}

fn split_zone(rest: &str) -> Result<(Cow<'_, str>, Option<String>), TargetError> {
    let authority_end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    let Some((before, inside, after)) = authority
        .split_once('[')
        .and_then(|(before, tail)| tail.split_once(']').map(|(inside, after)| (before, inside, after)))
    else {
        return Ok((Cow::Borrowed(rest), None));
    };
    let Some((ip, zone)) = inside.split_once('%') else {
        return Ok((Cow::Borrowed(rest), None));
    };
    let zone = zone.strip_prefix("25").filter(|z| !z.is_empty()).unwrap_or(zone);
    if zone.is_empty() || !zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err(TargetError("the zone of the IPv6 address is not an interface name".into()));
    }
    Ok((Cow::Owned(format!("{before}[{ip}]{after}{path}")), Some(zone.to_owned())))
}

/// Whether the authority that a URL's `rest`, what follows `://`, begins with has a port: the URL itself forgets its
/// scheme's own.
fn names_port(rest: &str) -> bool {
    let authority = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host_and_port = authority.rsplit('@').next().unwrap_or_default();
    let after_address = host_and_port.rsplit(']').next().unwrap_or_default();
    after_address.split_once(':').is_some_and(|(_, port)| !port.is_empty())
}

/// A bare IPv6 literal gets its brackets; anything else stays.
fn bracketed(text: &str) -> Cow<'_, str> {
    let address = text.split('%').next().unwrap_or(text);
    if address.parse::<std::net::Ipv6Addr>().is_ok() { Cow::Owned(format!("[{text}]")) } else { Cow::Borrowed(text) }
}

pub(super) fn take_credentials(url: &mut Url) -> Option<(String, Secret)> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let user = percent_decode(url.username());
    let password = Secret::new(percent_decode(url.password().unwrap_or_default()));
    // Both setters fail only for URLs that cannot have user info; this one had it.
    let _ = url.set_password(None);
    let _ = url.set_username("");
    Some((user, password))
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%').then(|| tail.get(..2)).flatten().and_then(|h| std::str::from_utf8(h).ok());
        if let Some(byte) = hex.and_then(|h| u8::from_str_radix(h, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a target begins with a scheme; a URL may also be in the query of one that does not.
pub fn has_scheme(text: &str) -> bool {
    let is_in_schemes = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.split_once("://").is_some_and(|(scheme, _)| scheme.bytes().all(is_in_schemes))
}

/// `text` with the password of its user info replaced, whether or not it is a good target: for labels, logs and pages.
pub fn mask_credentials(text: &str) -> Cow<'_, str> {
    let start = text.find("://").filter(|_| has_scheme(text)).map_or(0, |at| at + 3);
    let authority = &text[start..];
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    let Some(at) = authority.rfind('@') else { return Cow::Borrowed(text) };
    let Some(colon) = authority[..at].find(':') else { return Cow::Borrowed(text) };
    Cow::Owned(format!("{}xxxxx{}", &text[..=start + colon], &text[start + at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parsed(text: &str, prober: ProberKind) -> (String, u16, String, String) {
        let target = Target::parse(text, prober).unwrap();
        (target.host().to_string(), target.port(), target.authority(), target.path_and_query().to_owned())
    }

    fn parts(host: &str, port: u16, authority: &str, path: &str) -> (String, u16, String, String) {
        (host.into(), port, authority.into(), path.into())
    }

    #[test]
    fn reads_every_spelling_alike_for_every_prober() {
        use ProberKind::{Http, Tls, WebSocket};
        let cases = [
            ("https://Example.com", Http, parts("example.com", 443, "example.com", "/")),
            ("example.com", Http, parts("example.com", 80, "example.com", "/")),
            ("example.com:8080/a?b=c#d", Http, parts("example.com", 8080, "example.com:8080", "/a?b=c")),
            ("HTTPS://example.com:443/x", Http, parts("example.com", 443, "example.com", "/x")),
            ("http://[::1]:81/", Http, parts("::1", 81, "[::1]:81", "/")),
            ("https://[fe80::1%25eth0]:8443/", Http, parts("fe80::1%eth0", 8443, "[fe80::1]:8443", "/")),
            ("https://[fe80::1%eth0]/", Http, parts("fe80::1%eth0", 443, "[fe80::1]", "/")),
            ("https://bücher.example/", Http, parts("xn--bcher-kva.example", 443, "xn--bcher-kva.example", "/")),
            ("https://e/?q=a+b&r=%2B%25", Http, parts("e", 443, "e", "/?q=a+b&r=%2B%25")),
            ("::1", Http, parts("::1", 80, "[::1]", "/")),
            (
                "example.com/?to=https://b.example/",
                Http,
                parts("example.com", 80, "example.com", "/?to=https://b.example/"),
            ),
            ("u:p@example.com/a://b", Http, parts("example.com", 80, "example.com", "/a://b")),
            ("wss://example.com/chat?x=1", WebSocket, parts("example.com", 443, "example.com", "/chat?x=1")),
            ("ws://example.com", WebSocket, parts("example.com", 80, "example.com", "/")),
            ("example.com", Tls, parts("example.com", 443, "example.com", "/")),
            ("example.com:8443", Tls, parts("example.com", 8443, "example.com:8443", "/")),
            ("https://example.com/x", Tls, parts("example.com", 443, "example.com", "/x")),
            ("[::1]:8443", Tls, parts("::1", 8443, "[::1]:8443", "/")),
            ("::1", Tls, parts("::1", 443, "[::1]", "/")),
            ("fe80::1%eth0", Tls, parts("fe80::1%eth0", 443, "[fe80::1]", "/")),
            ("192.0.2.7", Tls, parts("192.0.2.7", 443, "192.0.2.7", "/")),
        ];
        for (text, prober, expected) in cases {
            assert_eq!(parsed(text, prober), expected, "{text}");
        }
    }

    #[test]
    fn a_default_port_stands_in_only_where_the_text_has_none() {
        for (text, port) in [
            ("mail.example.com", 25),
            ("mail.example.com:", 25),
            ("mail.example.com:587", 587),
            ("mail.example.com:443", 443),
            ("mail.example.com:25", 25),
            ("tls://mail.example.com", 25),
            ("https://mail.example.com/a:b", 25),
            ("https://mail.example.com:443/", 443),
            ("::1", 25),
            ("[::1]:443", 443),
            ("fe80::1%eth0", 25),
            ("u:p@mail.example.com", 25),
        ] {
            let target = Target::parse(text, ProberKind::Tls).unwrap().with_default_port(25);
            assert_eq!(target.port(), port, "{text}");
            assert!(target.to_string().ends_with(&format!(":{port}")), "{text}: {target}");
        }
    }

    #[test]
    fn refuses_what_no_prober_can_use_and_says_what_would_be_right() {
        use ProberKind::{Http, Tls, WebSocket};
        let cases = [
            ("", Http, "empty"),
            ("ftp://example.com", Http, "`ftp`"),
            ("wss://example.com", Http, "websocket module"),
            ("https://", Http, "not a URL"),
            ("https://example.com:0/", Http, "port 0"),
            ("https://example.com:99999/", Http, "port"),
            ("example.com", WebSocket, "wss://"),
            ("https://example.com", WebSocket, "ws or wss"),
            ("u:pw@example.com/?to=wss://b.example", WebSocket, "wss://"),
            ("wss://user:pw@example.com", WebSocket, "basic_auth"),
            ("http://example.com", Tls, "not encrypted"),
            ("https://[fe80::1%25a b]/", Http, "zone"),
        ];
        for (text, prober, part) in cases {
            let error = Target::parse(text, prober).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("pw"), "{text}: {error}");
        }
    }

    #[test]
    fn credentials_are_taken_out_and_never_shown() {
        let target = Target::parse("https://us%40er:p%3Aw@example.com/x", ProberKind::Http).unwrap();
        let (user, password) = target.credentials().unwrap();
        assert_eq!((user, password.expose()), ("us@er", "p:w"));
        assert_eq!(target.to_string(), "https://example.com/x");
        assert!(!format!("{target:?}").contains("p:w"));
        assert_eq!(mask_credentials("https://u:p@ss@h/x?y=a:b@c"), "https://u:xxxxx@h/x?y=a:b@c");
        assert_eq!(mask_credentials("u:p@h"), "u:xxxxx@h");
        assert_eq!(mask_credentials("u:p@h/?to=https://x"), "u:xxxxx@h/?to=https://x");
        assert_eq!(mask_credentials("https://h/x@y:z"), "https://h/x@y:z");
    }

    #[test]
    fn redirects_resolve_against_the_hop_they_came_from() {
        let from = Target::parse("https://a.example/x/y?q", ProberKind::Http).unwrap();
        for (location, expected) in [
            ("z", "https://a.example/x/z"),
            ("/z", "https://a.example/z"),
            ("//b.example/z", "https://b.example/z"),
            ("http://c.example:8080", "http://c.example:8080/"),
        ] {
            assert_eq!(from.join(location).unwrap().to_string(), expected);
        }
        assert!(from.join("ftp://a.example/").is_err());
        assert!(from.join("https://").is_err());
        assert!(from.join("/other").unwrap().same_origin(&from));
        assert!(!from.join("http://a.example/").unwrap().same_origin(&from));
    }
}
