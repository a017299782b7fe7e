//! Who is reached without the proxy: the list of `no_proxy` and `NO_PROXY`, by the rules of Go's `httpproxy`.

use super::Host;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Hosts that are reached directly. The default is none.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct NoProxy(Vec<Entry>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Entry {
    Everything,
    Network(IpNet),
    Address(IpAddr, Option<u16>),
    /// A name in lower case, and whether it counts itself beside the names under it.
    Domain {
        name: String,
        itself: bool,
        port: Option<u16>,
    },
}

impl NoProxy {
    /// Reads a list parted by commas; the second part is what in it is no entry.
    ///
    /// An entry is `*`, an address, a network as `10.0.0.0/8`, a name, which stands for itself and what is under it, or
    /// `.name` or `*.name`, which stand for what is under it. All but networks and `*` may have a port.
    pub fn read(list: &str) -> (Self, Vec<&str>) {
        let (mut entries, mut wrong) = (Vec::new(), Vec::new());
        for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            match entry(&text.to_ascii_lowercase()) {
                Some(entry) => entries.push(entry),
                None => wrong.push(text),
            }
        }
        (Self(entries), wrong)
    }

    /// Whether `host` at `port` is reached directly.
    pub fn covers(&self, host: &Host, port: u16) -> bool {
        self.0.iter().any(|entry| entry.covers(host, port))
    }
}

/// Whether a host is this machine: plain `localhost` or a loopback address. The environment's proxies do not get these.
pub fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Name(name) => name == "localhost",
        Host::Ip(ip) => ip.to_canonical().is_loopback(),
        Host::Zoned(..) => false,
    }
}

fn entry(text: &str) -> Option<Entry> {
    if text == "*" {
        return Some(Entry::Everything);
    }
    if text.contains('/') {
        return text.parse().ok().map(Entry::Network);
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(Entry::Address(address, None));
    }
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(Entry::Address(address.ip(), Some(address.port())));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (text, None),
    };
    let under = host.strip_prefix("*.").or_else(|| host.strip_prefix('.'));
    let name = match url::Host::parse(under.unwrap_or(host)).ok()? {
        url::Host::Domain(name) => name.trim_end_matches('.').to_owned(),
        url::Host::Ipv4(_) | url::Host::Ipv6(_) => return None,
    };
    (!name.is_empty() && !name.contains('*')).then_some(Entry::Domain { name, itself: under.is_none(), port })
}

impl Entry {
    fn covers(&self, host: &Host, at: u16) -> bool {
        let ip = match host {
            Host::Name(_) => None,
            Host::Ip(ip) => Some(ip.to_canonical()),
            Host::Zoned(ip, _) => Some((*ip).into()),
        };
        match (self, host) {
            (Self::Everything, _) => true,
            (Self::Network(network), _) => ip.is_some_and(|ip| network.contains(&ip)),
            (Self::Address(address, port), _) => {
                ip == Some(address.to_canonical()) && port.is_none_or(|port| port == at)
            }
            (Self::Domain { name, itself, port }, Host::Name(host)) => {
                let rest = host.trim_end_matches('.').strip_suffix(name.as_str());
                let matches = rest.is_some_and(|rest| if rest.is_empty() { *itself } else { rest.ends_with('.') });
                matches && port.is_none_or(|port| port == at)
            }
            (Self::Domain { .. }, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ProberKind, Target};

    fn covers(list: &str, authority: &str) -> bool {
        let target = Target::parse(&format!("https://{authority}/"), ProberKind::Http).unwrap();
        let (rules, wrong) = NoProxy::read(list);
        assert!(wrong.is_empty(), "{list}: {wrong:?}");
        rules.covers(target.host(), target.port())
    }

    /// The cases are those of Go's `httpproxy` tests, and some more.
    #[test]
    fn entries_mean_what_they_mean_in_go() {
        let list = "foobar.com, .barbaz.net, *.blah.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, \
                    2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64, \
                    ported.example:8443, BÜCHER.example";
        for (authority, expected) in [
            ("localhost", false),
            ("127.0.0.1", false),
            ("foobar.com", true),
            ("www.foobar.com", true),
            ("foofoobar.com", false),
            ("foobar.com.", true),
            ("barbaz.net", false),
            ("www.barbaz.net", true),
            ("blah.io", false),
            ("www.blah.io", true),
            ("xblah.io", false),
            ("baz.com", false),
            ("192.168.1.1", true),
            ("192.168.1.2", false),
            ("192.168.1.3", false),
            ("192.168.1.3:80", true),
            ("192.168.1.4", false),
            ("10.0.0.3", true),
            ("10.0.0.4", false),
            ("[::ffff:10.0.0.2]", true),
            ("[2001:db8::52:0:1]", true),
            ("[2001:db8::52:0:2]", true),
            ("[2001:db8::52:0:3]", false),
            ("[2002:db8:a::123]", true),
            ("[2002:db8:a:1::123]", false),
            ("ported.example", false),
            ("ported.example:8443", true),
            ("www.ported.example:8443", true),
            ("bücher.example", true),
        ] {
            assert_eq!(covers(list, authority), expected, "{authority}");
        }
        for (list, authority, expected) in [
            ("*", "any.example", true),
            ("a.example, *", "192.0.2.1", true),
            ("", "any.example", false),
            (" , ", "any.example", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "[2001:db8::1]", false),
            ("::/0", "[2001:db8::1]", true),
            ("192.0.2.1/32", "192.0.2.1", true),
            ("192.0.2.1/32", "192.0.2.2", false),
            ("localhost", "localhost", true),
        ] {
            assert_eq!(covers(list, authority), expected, "{list}: {authority}");
        }
    }

    #[test]
    fn what_is_no_entry_is_handed_back() {
        let (rules, wrong) = NoProxy::read("a.example, 10.0.0.0/33, :80, b:x, *.*, http://c, [::1, d e");
        assert_eq!(wrong, ["10.0.0.0/33", ":80", "b:x", "*.*", "http://c", "[::1", "d e"]);
        assert!(rules.covers(&Host::Name("a.example".into()), 443));
    }

    #[test]
    fn this_machine_is_told_as_go_tells_it() {
        let host = |text: &str| Target::parse(&format!("http://{text}/"), ProberKind::Http).unwrap().host().clone();
        for here in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(is_loopback(&host(here)), "{here}");
        }
        for elsewhere in ["a.localhost", "localhost.example", "192.0.2.1", "[2001:db8::1]"] {
            assert!(!is_loopback(&host(elsewhere)), "{elsewhere}");
        }
    }
}
