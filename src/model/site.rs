//! What is said about a site apart from the target: whom to dial and which names to show.
//!
//! Address, SNI and Host are three things. Each can be set by the module, the job, the target's labels or a request, the
//! later over the earlier; what nobody sets is the target's own.

use super::Host;
use std::{fmt, net::IpAddr, str::FromStr, sync::Arc};

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
