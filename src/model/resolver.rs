//! How names are turned into addresses: the `resolver` block of a module or a job, and what name servers said.

use super::IpFamily;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    sync::Arc,
    time::Duration,
};

/// How names are turned into addresses. What is equal shares what was learned.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ResolverSettings {
    /// Whom to ask, in this order; empty means the system's resolver, and that the settings of servers do not apply.
    pub servers: Vec<NameServer>,
    /// How long one server has for one question.
    pub timeout: Duration,
    /// How often each server that does not answer is asked.
    pub attempts: u32,
    /// Roots that the servers' certificates are judged by, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether the system's hosts file is looked at before a server is asked.
    pub use_hosts_file: bool,
    /// Whether answers are remembered for as long as they say.
    pub cache: bool,
    /// For how long after its time an answer may stand in when no new one can be had; never if `None`.
    pub serve_stale: Option<Duration>,
}

impl Default for ResolverSettings {
    /// The system's resolver, and nothing remembered.
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            attempts: 2,
            ca_file: None,
            use_hosts_file: true,
            cache: false,
            serve_stale: None,
        }
    }
}

/// A name server and how it is spoken to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct NameServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is spoken to.
    pub transport: DnsTransport,
}

/// How a name server is spoken to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum DnsTransport {
    /// By UDP, and by TCP when the answer was too long (RFC 7766 section 5).
    Udp,
    /// By TCP only.
    Tcp,
    /// By TLS (RFC 7858); the certificate has to be for this name, or for the address.
    Tls(Option<Arc<str>>),
}

impl FromStr for NameServer {
    type Err = String;

    /// Reads `10.0.0.53`, `10.0.0.53:5353`, `[2001:db8::53]:53`, `tcp://10.0.0.53`, `tls://9.9.9.9` or
    /// `tls://9.9.9.9:853#dns.example`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("udp", text));
        let (rest, name) = rest.split_once('#').map_or((rest, None), |(rest, name)| (rest, Some(name)));
        let (transport, port) = match scheme {
            "udp" => (DnsTransport::Udp, 53),
            "tcp" => (DnsTransport::Tcp, 53),
            "tls" => (DnsTransport::Tls(name.map(Into::into)), 853),
            other => return Err(format!("`{other}` is not a way to ask a name server")),
        };
        if name.is_some_and(|name| scheme != "tls" || url::Host::parse(name).is_err()) {
            return Err("a name after `#` is that of a TLS server's certificate".into());
        }
        let bare = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(rest);
        let alone = bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port));
        let address = alone.or_else(|| rest.parse().ok()).filter(|address| address.port() != 0);
        let address = address.ok_or_else(|| format!("`{rest}` is not an address with an optional port"))?;
        Ok(Self { address, transport })
    }
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            DnsTransport::Udp => write!(f, "{}", self.address),
            DnsTransport::Tcp => write!(f, "tcp://{}", self.address),
            DnsTransport::Tls(None) => write!(f, "tls://{}", self.address),
            DnsTransport::Tls(Some(name)) => write!(f, "tls://{}#{name}", self.address),
        }
    }
}

/// What came of the questions behind one lookup.
#[derive(Clone, Debug, Default)]
pub struct DnsFacts {
    /// One entry for each family that was asked for and answered, well or not.
    pub answers: Vec<DnsAnswer>,
}

impl DnsFacts {
    /// Whether an old answer stood in for a new one that could not be had.
    pub fn is_stale(&self) -> bool {
        self.answers.iter().any(|answer| answer.stale)
    }

    /// How long ago the oldest of the answers was learned; zero when all came for this lookup.
    pub fn age(&self) -> Duration {
        self.answers.iter().map(|answer| answer.age).max().unwrap_or_default()
    }
}

/// What came of one question.
#[derive(Clone, Debug)]
pub struct DnsAnswer {
    /// The family that was asked for; `None` where both are one question, as to the system's resolver.
    pub family: Option<IpFamily>,
    /// Who answered: a name server, `hosts file` or `system`; `None` when nobody did.
    pub server: Option<Arc<str>>,
    /// The response code by its name, such as `NXDOMAIN` (RFC 1035 section 4.1.1); `None` when there was none.
    pub code: Option<Arc<str>>,
    /// The name at the end of the aliases, where there are some (CNAME).
    pub alias_of: Option<Arc<str>>,
    /// How many addresses the answer has.
    pub addresses: usize,
    /// For how long it says that it is good.
    pub ttl: Option<Duration>,
    /// How long it took when it was asked for.
    pub took: Duration,
    /// How long ago it was learned; zero when it came for this lookup.
    pub age: Duration,
    /// Whether it is an old one that stood in, because no new one could be had.
    pub stale: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_write_a_server_is_read_and_others_are_refused() {
        for (text, shown) in [
            ("10.0.0.53", "10.0.0.53:53"),
            ("10.0.0.53:5353", "10.0.0.53:5353"),
            ("udp://10.0.0.53", "10.0.0.53:53"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("[2001:db8::53]", "[2001:db8::53]:53"),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
            ("tcp://10.0.0.53", "tcp://10.0.0.53:53"),
            ("tls://9.9.9.9", "tls://9.9.9.9:853"),
            ("tls://9.9.9.9#dns.example", "tls://9.9.9.9:853#dns.example"),
            ("tls://[2620:fe::fe]:8853#dns.example", "tls://[2620:fe::fe]:8853#dns.example"),
        ] {
            let server: NameServer = text.parse().unwrap();
            assert_eq!(server.to_string(), shown);
            assert_eq!(shown.parse::<NameServer>().unwrap(), server);
        }
        for text in [
            "",
            "dns.example",
            "10.0.0.53:0",
            "10.0.0.53:x",
            "https://10.0.0.53",
            "10.0.0.53#dns.example",
            "tls://9.9.9.9#",
            "tls://dns.example",
            "tls://9.9.9.9:853/dns",
        ] {
            assert!(text.parse::<NameServer>().is_err(), "{text}");
        }
    }
}
