//! Who may ask for which probe, where no probe may connect, and to whom a module's secrets may be sent.

use super::{ConnectTo, Host, Module, ModuleName, RateLimit, Site, Sni, Target, host_of, same_host};
use ipnet::IpNet;
use std::{net::IpAddr, ops::RangeInclusive, sync::Arc};

/// The `access` section.
#[derive(Clone, Debug)]
pub struct Access {
    /// What `/probe` may be asked for; anything if `None`.
    pub allowed_targets: Option<Arc<[TargetRule]>>,
    /// Where no probe connects.
    pub denied_networks: Vec<IpNet>,
    /// Where probes connect all the same.
    pub allowed_networks: Vec<IpNet>,
    /// What one client of `/probe` gets.
    pub per_client: Limit,
    /// What is asked of one destination by `/probe`.
    pub per_destination: Limit,
}

/// Networks that no probe has to reach, and that a redirect must not lead to: link-local addresses, and the metadata services
/// of clouds, which hand out credentials to whoever asks from inside.
const DENIED: [&str; 8] = [
    "169.254.0.0/16",     // RFC 3927; nearly every cloud's metadata service
    "fe80::/10",          // RFC 4291 section 2.5.6
    "fd00:ec2::254/128",  // Amazon, by IPv6
    "fd20:ce::254/128",   // Google, by IPv6
    "100.100.100.200/32", // Alibaba
    "168.63.129.16/32",   // Azure
    "192.0.0.192/32",     // Oracle
    "255.255.255.255/32", // everybody (RFC 919)
];

impl Default for Access {
    fn default() -> Self {
        Self {
            allowed_targets: None,
            denied_networks: Self::denied_by_default().iter().filter_map(|text| text.parse().ok()).collect(),
            allowed_networks: Vec::new(),
            per_client: Limit::default(),
            per_destination: Limit::default(),
        }
    }
}

impl Access {
    /// The networks that are denied where the config says nothing, in CIDR form.
    pub fn denied_by_default() -> &'static [&'static str] {
        &DENIED
    }
}

/// Bounds on the probes that are asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limit {
    /// How many in a time.
    pub rate: Option<RateLimit>,
    /// How many at once.
    pub concurrent: Option<u32>,
}

/// One entry of `allowed_targets`: admits what meets all that it says.
#[derive(Clone, Debug, Default)]
pub struct TargetRule {
    /// The target's name is one of these; any host if there are none.
    pub names: Vec<NamePattern>,
    /// The address is in one of these; anywhere if there are none.
    pub networks: Vec<IpNet>,
    /// The port is one of these; any if there are none.
    pub ports: Vec<RangeInclusive<u16>>,
    /// The module is one of these; any if there are none.
    pub modules: Vec<ModuleName>,
}

impl TargetRule {
    /// Whether a connection to `host` at `port` is admitted, as far as it can be told: an unknown address may be any.
    pub fn admits(&self, module: &ModuleName, (host, port): (&Host, u16), address: Option<IpAddr>) -> bool {
        let address = match host {
            Host::Ip(ip) => Some(*ip),
            _ => address,
        };
        (self.modules.is_empty() || self.modules.contains(module))
            && (self.ports.is_empty() || self.ports.iter().any(|ports| ports.contains(&port)))
            && (self.names.is_empty() || self.names.iter().any(|pattern| pattern.matches(host)))
            && (self.networks.is_empty() || address.is_none_or(|ip| is_in(&self.networks, ip)))
    }
}

impl TargetRule {
    /// Whether a request is admitted, as far as it can be told before a name is looked up: its target, whom it wants to
    /// connect to instead, and the names it wants to show.
    pub fn admits_request(&self, module: &ModuleName, (target, site): (&Target, &Site), edges: &[ConnectTo]) -> bool {
        let mut dialled = site.connect_to.iter().chain(edges);
        let mut shown = shown(site);
        self.admits(module, (target.host(), target.port()), None)
            && dialled.all(|to| self.admits_edge(module, to, target.port()))
            && shown.all(|host| self.names.is_empty() || self.names.iter().any(|pattern| pattern.matches(&host)))
    }

    /// An address to connect to has no name that a pattern could match: only networks admit it.
    fn admits_edge(&self, module: &ModuleName, to: &ConnectTo, port: u16) -> bool {
        let port = to.port.unwrap_or(port);
        match &to.host {
            Host::Name(_) => self.admits(module, (&to.host, port), None),
            host => {
                let nameless = Self { names: Vec::new(), ..self.clone() };
                (self.names.is_empty() || !self.networks.is_empty()) && nameless.admits(module, (host, port), None)
            }
        }
    }
}

/// Whether an address, or the IPv4 address that it stands for, is in one of the networks.
fn is_in(networks: &[IpNet], ip: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&ip.to_canonical()))
}

/// A host name, or `*.` and one that it is under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamePattern {
    name: String,
    under: bool,
}

impl NamePattern {
    /// Reads `www.example.com` or `*.example.com`, at any depth.
    pub fn read(text: &str) -> Option<Self> {
        let (under, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        match url::Host::parse(name).ok()? {
            url::Host::Domain(name) if !name.contains('*') => {
                Some(Self { name: name.trim_end_matches('.').to_owned(), under })
            }
            _ => None,
        }
    }

    /// Whether it is the host's name, or, with a star, the end of it.
    pub fn matches(&self, host: &Host) -> bool {
        let Host::Name(host) = host else { return false };
        let host = host.trim_end_matches('.');
        match (self.under, host.strip_suffix(self.name.as_str())) {
            (true, Some(rest)) => rest.len() > 1 && rest.ends_with('.'),
            (false, _) => same_host(host, &self.name),
            (true, None) => false,
        }
    }
}

/// One entry of `credentials_for`.
#[derive(Clone, Debug)]
pub enum Trusted {
    /// Sites of this name.
    Name(NamePattern),
    /// Targets given by an address in this network.
    Network(IpNet),
}

impl Trusted {
    fn covers(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Name(pattern), _) => pattern.matches(host),
            (Self::Network(network), Host::Ip(ip)) => network.contains(&ip.to_canonical()),
            (Self::Network(_), _) => false,
        }
    }
}

/// The names that are to be shown and verified in place of the target's own.
fn shown(site: &Site) -> impl Iterator<Item = Host> + '_ {
    let sni = match &site.sni {
        Some(Sni::Name(name)) => Some(&**name),
        Some(Sni::Omitted) | None => None,
    };
    let names = [site.hostname.as_deref().map(host_of), sni, site.verify_name.as_deref()];
    names.into_iter().flatten().map(|name| match name.parse() {
        Ok(ip) => Host::Ip(ip),
        Err(_) => Host::Name(name.to_ascii_lowercase()),
    })
}

/// The hosts that a target and what is said of its site name: whom to dial, and which names to show and to verify.
fn hosts_named<'a>(target: &'a Target, site: &'a Site) -> impl Iterator<Item = Host> + 'a {
    let dialled = site.connect_to.as_ref().map(|to| to.host.clone());
    std::iter::once(target.host().clone()).chain(dialled).chain(shown(site))
}

impl Module {
    /// The first host among those that a job names to which this module's secrets must not be sent.
    pub fn stranger(&self, target: &Target, site: &Site) -> Option<Host> {
        let trusted = self.credentials_for.as_ref()?;
        hosts_named(target, site).find(|host| !trusted.iter().any(|entry| entry.covers(host)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProberKind;

    fn host(text: &str) -> Host {
        text.parse().map_or_else(|_| Host::Name(text.into()), Host::Ip)
    }

    #[test]
    fn every_default_network_is_one() {
        assert_eq!(Access::default().denied_networks.len(), DENIED.len());
    }

    #[test]
    fn patterns_match_whole_labels() {
        for (pattern, good, bad) in [
            (
                "example.com",
                &["example.com", "example.com."][..],
                &["www.example.com", "xexample.com", "192.0.2.1"][..],
            ),
            (
                "*.example.com",
                &["www.example.com", "a.b.example.com"],
                &["example.com", ".example.com", "xexample.com"],
            ),
        ] {
            let pattern = NamePattern::read(pattern).unwrap();
            assert!(good.iter().all(|name| pattern.matches(&host(name))), "{pattern:?}");
            assert!(bad.iter().all(|name| !pattern.matches(&host(name))), "{pattern:?}");
        }
        for text in ["", "*", "*.", "a.*.b", "192.0.2.1", "a b"] {
            assert!(NamePattern::read(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_rule_admits_what_meets_all_it_says() {
        let rule = TargetRule {
            names: vec![NamePattern::read("*.example.com").unwrap()],
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            ports: vec![443..=443, 8000..=8010],
            modules: vec![ModuleName::new("m")],
        };
        let module = ModuleName::new("m");
        let inside = Some("10.1.2.3".parse().unwrap());
        let www = host("www.example.com");
        assert!(rule.admits(&module, (&www, 443), inside));
        assert!(rule.admits(&module, (&www, 8005), None), "not known yet");
        assert!(!rule.admits(&module, (&www, 443), Some("192.0.2.1".parse().unwrap())));
        assert!(!rule.admits(&module, (&www, 444), inside));
        assert!(!rule.admits(&module, (&host("other.example"), 443), inside));
        assert!(!rule.admits(&module, (&host("10.1.2.3"), 443), inside), "an address has no name");
        assert!(!rule.admits(&ModuleName::new("n"), (&www, 443), inside));
        let anywhere = TargetRule { networks: vec!["10.0.0.0/8".parse().unwrap()], ..TargetRule::default() };
        assert!(anywhere.admits(&module, (&host("::ffff:10.0.0.1"), 1), None));
        assert!(!anywhere.admits(&module, (&host("::ffff:11.0.0.1"), 1), None));
    }

    #[test]
    fn a_request_is_admitted_with_all_that_it_names() {
        let named = TargetRule { names: vec![NamePattern::read("*.example.com").unwrap()], ..TargetRule::default() };
        let both = TargetRule { networks: vec!["10.0.0.0/8".parse().unwrap()], ..named.clone() };
        let target = Target::parse("https://www.example.com/", ProberKind::Http).unwrap();
        let admits = |rule: &TargetRule, key: &str, text: &str| {
            let mut site = Site::default();
            site.set(key, text).unwrap();
            rule.admits_request(&ModuleName::new("m"), (&target, &site), &[])
        };
        for (key, text, by_name, by_both) in [
            ("hostname", "other.example.com:8443", true, true),
            ("hostname", "evil.example", false, false),
            ("sni", "evil.example", false, false),
            ("verify_name", "evil.example", false, false),
            ("verify_name", "10.0.0.1", false, false),
            ("connect_to", "cdn.example.com", true, true),
            ("connect_to", "evil.example", false, false),
            ("connect_to", "10.0.0.1", false, true),
            ("connect_to", "192.0.2.1", false, false),
        ] {
            assert_eq!(admits(&named, key, text), by_name, "{key}={text}");
            assert_eq!(admits(&both, key, text), by_both, "{key}={text}");
        }
    }

    #[test]
    fn every_host_that_a_request_names_is_looked_at() {
        let target = Target::parse("https://a.example/", ProberKind::Http).unwrap();
        let mut site = Site::default();
        for (key, text) in
            [("hostname", "B.example:81"), ("connect_to", "192.0.2.1:8"), ("sni", "c.example"), ("verify_name", "::1")]
        {
            site.set(key, text).unwrap();
        }
        let named: Vec<String> = hosts_named(&target, &site).map(|host| host.to_string()).collect();
        assert_eq!(named, ["a.example", "192.0.2.1", "b.example", "c.example", "::1"]);
    }
}
