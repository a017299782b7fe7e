//! Whether a hop told the server one site by SNI and Host, or two, or none.
//!
//! An edge that serves many sites refuses a request whose names do not fit together; that it did, and which names they were,
//! is the first thing to know about such a refusal.

use super::{Hop, host_of, same_host};
use std::{fmt, net::IpAddr};

/// The statuses by which edges refuse such a request: forbidden, no such site, misdirected (RFC 9110 section 15.5).
pub const NAME_REFUSALS: [u16; 3] = [403, 404, 421];

/// How SNI and Host fail to name one site.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameClash<'a> {
    /// They name different ones.
    Differ {
        /// What the SNI extension said.
        sni: &'a str,
        /// What the Host header said, without its port.
        host: &'a str,
    },
    /// The Host header names one, and there was no SNI.
    NoSni {
        /// What the Host header said, without its port.
        host: &'a str,
    },
    /// Neither names one: only an address was told.
    Nameless {
        /// The address that the Host header said, without its port.
        host: &'a str,
    },
}

impl fmt::Display for NameClash<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Differ { sni, host } => write!(f, "the SNI is {sni}, the Host header says {host}"),
            Self::NoSni { host } => write!(f, "no SNI was sent, the Host header says {host}"),
            Self::Nameless { host } => {
                write!(f, "neither SNI nor Host names a site: all the server was told is the address {host}")
            }
        }
    }
}

impl Hop {
    /// How SNI and Host fail to name one site; `None` where they agree, and where no HTTP was spoken.
    pub fn name_clash(&self) -> Option<NameClash<'_>> {
        let host = host_of(&self.host_header);
        let sni = self.tls.as_ref().and_then(|tls| tls.sni.as_deref());
        let is_address = host.parse::<IpAddr>().is_ok();
        match sni {
            _ if host.is_empty() => None,
            Some(sni) => (!same_host(sni, host)).then_some(NameClash::Differ { sni, host }),
            None if is_address => Some(NameClash::Nameless { host }),
            None => self.tls.is_some().then_some(NameClash::NoSni { host }),
        }
    }

    /// The clash of names that the server may have refused the request for.
    pub fn refused_for_names(&self) -> Option<NameClash<'_>> {
        let refused = self.http.as_ref().is_some_and(|http| NAME_REFUSALS.contains(&http.status));
        self.name_clash().filter(|_| refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HttpFacts, TlsFacts};

    /// `tls` is the SNI, and empty where none was sent.
    fn hop(tls: Option<&str>, host: &str, status: u16) -> Hop {
        let sni = tls.filter(|sni| !sni.is_empty()).map(Into::into);
        Hop {
            host_header: host.into(),
            tls: tls.map(|_| TlsFacts { sni, ..TlsFacts::default() }),
            http: Some(HttpFacts { status, ..HttpFacts::default() }),
            ..Hop::default()
        }
    }

    #[test]
    fn a_refusal_is_told_with_the_names_that_clash() {
        let words = |hop: Hop| hop.refused_for_names().map(|clash| clash.to_string());
        let differ = hop(Some("a.example"), "b.example:8443", 403);
        assert_eq!(words(differ).unwrap(), "the SNI is a.example, the Host header says b.example");
        assert!(matches!(hop(Some(""), "a.example", 421).refused_for_names(), Some(NameClash::NoSni { .. })));
        for (tls, host) in [(Some(""), "192.0.2.1"), (Some(""), "[2001:db8::1]:8443"), (None, "192.0.2.1:8080")] {
            assert!(matches!(hop(tls, host, 404).refused_for_names(), Some(NameClash::Nameless { .. })), "{host}");
        }
        for (tls, host, status) in [
            (Some("a.example"), "A.Example.:443", 403),
            (Some("a.example"), "b.example", 200),
            (Some("a.example"), "", 403),
            (None, "a.example", 403),
        ] {
            assert_eq!(words(hop(tls, host, status)), None, "{host} {status}");
        }
    }
}
