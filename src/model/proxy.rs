//! Proxies: which one a module's probes go through, how it is asked, and what one of them said.

use super::{Header, Host, NoProxy, Secret, TlsFacts, TlsOptions, target::take_credentials};
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};
use strum::{IntoStaticStr, VariantArray};
use url::Url;

/// The longest user name or password that SOCKS can carry (RFC 1929 section 2).
const MAX_SOCKS_CREDENTIAL: usize = 255;

/// The proxy settings of a module.
#[derive(Clone, Debug)]
pub struct ProxyOptions {
    /// Which proxy.
    pub source: ProxySource,
    /// `proxy_connect_header`: headers for an HTTP proxy, and for nobody else.
    pub headers: Vec<Header>,
    /// TLS to an `https` proxy; `None` is the default of all.
    pub tls: Option<TlsOptions>,
    /// Whether we look the target's name up, and ask the proxy for its address; `None` leaves it to the proxy's kind.
    pub resolve_first: Option<bool>,
}

/// Where it is said which proxy to use.
#[derive(Clone, Debug)]
pub enum ProxySource {
    /// `proxy_url`, for every target but those of `no_proxy`.
    Url {
        /// The proxy.
        proxy: ProxyUrl,
        /// Who is reached directly.
        no_proxy: NoProxy,
    },
    /// The environment, by the rules of Go's `httpproxy.FromEnvironment`.
    Environment,
}

/// What is spoken to a proxy.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum ProxyKind {
    /// HTTP: CONNECT (RFC 9110 section 9.3.6), or a forwarded request.
    #[default]
    Http,
    /// The same inside of TLS.
    Https,
    /// SOCKS 5 (RFC 1928), asked for addresses.
    Socks5,
    /// SOCKS 5, asked for names.
    Socks5h,
}

impl ProxyKind {
    /// Whether HTTP is spoken, with TLS or without.
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }

    /// Where such a proxy listens unless its URL says otherwise; the ports of Go.
    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

impl fmt::Display for ProxyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.into())
    }
}

/// A proxy's URL, read. Prints without its credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProxyUrl {
    /// What is spoken to it.
    pub kind: ProxyKind,
    /// Its name or address.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// User name and password for it.
    pub credentials: Option<(String, Secret)>,
}

impl FromStr for ProxyUrl {
    type Err = String;

    /// Reads `http://proxy.example:3128` and the like. The error never quotes more than the scheme.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, _) =
            text.split_once("://").filter(|_| super::has_scheme(text)).ok_or("the proxy URL has no scheme")?;
        let is_scheme = |kind: &&ProxyKind| scheme.eq_ignore_ascii_case((*kind).into());
        let kind =
            *ProxyKind::VARIANTS.iter().find(is_scheme).ok_or_else(|| format!("`{scheme}` is not a kind of proxy"))?;
        let mut url = Url::parse(text).map_err(|error| format!("the proxy URL cannot be read: {error}"))?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err("the proxy URL goes on after the port".into());
        }
        // Read once more: the URL standard takes the host of `socks5://` for an opaque text.
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or("the proxy URL has no host")?;
        let host = match url::Host::parse(host).map_err(|error| format!("the proxy URL has a bad host: {error}"))? {
            url::Host::Domain(name) => Host::Name(name),
            url::Host::Ipv4(ip) => Host::Ip(ip.into()),
            url::Host::Ipv6(ip) => Host::Ip(ip.into()),
        };
        let port = url.port().unwrap_or(kind.default_port());
        if port == 0 {
            return Err("port 0 cannot be connected to".into());
        }
        let credentials = take_credentials(&mut url);
        if let Some((user, password)) = &credentials {
            check_credentials(kind, user, password)?;
        }
        Ok(Self { kind, host, port, credentials })
    }
}

fn check_credentials(kind: ProxyKind, user: &str, password: &Secret) -> Result<(), String> {
    if kind.is_http() && user.contains(':') {
        return Err("the proxy's user name holds a colon, which would end it (RFC 7617)".into());
    }
    let longest = user.len().max(password.expose().len());
    if !kind.is_http() && (user.is_empty() || longest > MAX_SOCKS_CREDENTIAL) {
        let words = "SOCKS takes a user name of 1 to 255 bytes and a password of at most 255 (RFC 1929)";
        return Err(words.into());
    }
    Ok(())
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.kind, authority(&self.host, self.port))
    }
}

/// Host and port as HTTP and URLs write them (RFC 3986 section 3.2). A zone means something on this machine only.
pub fn authority(host: &Host, port: u16) -> String {
    match host {
        Host::Ip(IpAddr::V6(ip)) | Host::Zoned(ip, _) => format!("[{ip}]:{port}"),
        other => format!("{other}:{port}"),
    }
}

/// What a proxy was asked for and what it said.
#[derive(Clone, Debug, Default)]
pub struct ProxyFacts {
    /// Its URL, without credentials.
    pub url: String,
    /// What is spoken to it.
    pub kind: ProxyKind,
    /// The address of it that was dialled.
    pub peer: Option<SocketAddr>,
    /// Host and port that it was asked for.
    pub asked_for: String,
    /// Whether it was asked for a tunnel; else the request itself went to it, in absolute form (RFC 9112 section 3.2.2).
    pub tunnel: bool,
    /// Whether it was given a name, and looked it up.
    pub resolves: bool,
    /// The status of its answer, or the reply code of SOCKS, where 0 is success.
    pub status: Option<u16>,
    /// The headers of its answer, values cut at 1 KiB; at most 100 are kept.
    pub headers: Vec<(String, String)>,
    /// How it wants to be shown who asks, as a 407 says it: scheme and realm; at most 256 characters.
    pub challenge: Option<String>,
    /// The TLS handshake with the proxy itself.
    pub tls: Option<TlsFacts>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_url_is_read_and_printed_without_credentials() {
        for (text, shown, user) in [
            ("http://proxy.example", "http://proxy.example:80", None),
            ("HTTP://Proxy.Example:3128/", "http://proxy.example:3128", None),
            ("https://proxy.example", "https://proxy.example:443", None),
            ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443", None),
            ("socks5://127.0.0.1", "socks5://127.0.0.1:1080", None),
            ("socks5://127.0.0.1:80", "socks5://127.0.0.1:80", None),
            ("socks5h://[::1]:1081", "socks5h://[::1]:1081", None),
            ("socks5h://bücher.example", "socks5h://xn--bcher-kva.example:1080", None),
            ("http://u%40d:p%3Aw@proxy.example:3128", "http://proxy.example:3128", Some(("u@d", "p:w"))),
            ("socks5://u@proxy.example", "socks5://proxy.example:1080", Some(("u", ""))),
        ] {
            let url: ProxyUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown);
            let credentials = url.credentials.as_ref().map(|(user, password)| (user.as_str(), password.expose()));
            assert_eq!(credentials, user, "{text}");
        }
        let ip: ProxyUrl = "socks5://192.0.2.1".parse().unwrap();
        assert_eq!(ip.host, Host::Ip("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_showing_a_password() {
        let long = format!("socks5://u:{}@h", "hunter2".repeat(40));
        for (text, part) in [
            ("", "no scheme"),
            ("proxy.example:3128", "no scheme"),
            ("u:hunter2@proxy.example:3128", "no scheme"),
            ("ftp://u:hunter2@proxy.example", "`ftp`"),
            ("socks4://proxy.example", "`socks4`"),
            ("http://u:hunter2@", "host"),
            ("http://u:hunter2@proxy:99999", "port"),
            ("http://u:hunter2@proxy:0", "port 0"),
            ("http://u:hunter2/@proxy:80", "port"),
            ("http://u:hunter2@proxy/path", "after the port"),
            ("http://u:hunter2@proxy?x", "after the port"),
            ("http://u:hunter2@a b", "domain name"),
            ("socks5://", "no host"),
            ("socks5://u:hunter2@a%00b", "bad host"),
            ("http://a%3Ab:hunter2@proxy", "colon"),
            ("socks5://:hunter2@proxy", "RFC 1929"),
            (&long, "RFC 1929"),
        ] {
            let error = text.parse::<ProxyUrl>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
    }
}
