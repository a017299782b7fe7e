//! One probe to run, and the series that the scheduler runs again and again.

use super::{Host, ModuleName, mask_credentials};
use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr, sync::Arc, time::Duration};

/// Label names that a job's own labels must not use, because the exporter's metrics do.
pub const RESERVED_LABELS: &[&str] = &[
    "job",
    "instance",
    "module",
    "edge",
    "phase",
    "reason",
    "check",
    "position",
    "version",
    "cipher",
    "group",
    "protocol",
    "class",
    "result",
    "subprotocol",
    "fingerprint_sha256",
    "subject",
    "issuer",
    "subjectalternative",
    "serialnumber",
    "source",
    "status",
    "key",
    "signature_algorithm",
    "kind",
    "header",
    "le",
    "quantile",
];

/// One probe: which module, which target. `/probe`, the scheduler and the command line all make one of these.
#[derive(Clone)]
pub struct Job {
    /// The module that says how to probe.
    pub module: ModuleName,
    /// The target as the user wrote it. May hold credentials: show it through [`Job::shown_target`] only.
    pub target: Arc<str>,
    /// Names the site apart from the address: Host header and SNI, as blackbox's `hostname` parameter.
    pub hostname: Option<Arc<str>>,
    /// Connects here instead of to the target's own host; SNI and Host stay the target's.
    pub connect_to: Option<ConnectTo>,
    /// When to try again.
    pub retry: Retry,
}

impl Job {
    /// The target as it may be shown: its password, if any, masked.
    pub fn shown_target(&self) -> Cow<'_, str> {
        mask_credentials(&self.target)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("module", &self.module)
            .field("target", &self.shown_target())
            .field("hostname", &self.hostname)
            .field("connect_to", &self.connect_to)
            .field("retry", &self.retry)
            .finish()
    }
}

/// When a failed probe is tried again. Only transient reasons are ([`super::Reason::is_transient`]).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retry {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// The pause before the second attempt; doubles with each further one.
    pub backoff: Duration,
    /// The pause never exceeds this.
    pub max_backoff: Duration,
}

impl Retry {
    /// One attempt: no retry.
    pub const NONE: Self = Self { attempts: 1, backoff: Duration::ZERO, max_backoff: Duration::ZERO };
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

/// What tells one scheduled series from another: its labels on `/metrics`, in order.
///
/// `job`, `instance` and `module` come first, then `edge` when the job fans out, then the user's own by name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SeriesKey(pub Arc<[(String, String)]>);

impl SeriesKey {
    /// The labels.
    pub fn labels(&self) -> &[(String, String)] {
        &self.0
    }

    /// The value of one label, or an empty text.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

/// One probe that the scheduler repeats.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its identity.
    pub key: SeriesKey,
    /// What to run.
    pub job: Job,
    /// How often.
    pub interval: Duration,
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
