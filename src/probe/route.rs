//! Where one hop goes: whom to dial, which name to send as SNI and verify, what the Host header says. Pure.
//!
//! Address, SNI and Host are three things. They are worked out here for the first hop and, by the same rules, for each
//! redirect.

use super::tls::TlsNames;
use crate::model::{ConnectTo, Host, Job, Module, Prober, Sni, Target, host_of, same_host};
use std::net::SocketAddr;

/// One hop's way.
#[derive(Clone, Debug)]
pub(super) struct Route {
    /// The URL of this hop.
    pub(super) target: Target,
    /// The name or address to resolve and dial.
    pub(super) dial: Host,
    /// The port to dial.
    pub(super) port: u16,
    /// Which name to send and which to verify, where TLS is spoken.
    pub(super) tls: TlsNames,
    /// The Host header, or HTTP/2's authority.
    pub(super) host_header: String,
    /// Whether the module's credentials and secrets may be sent.
    pub(super) trusted_with_secrets: bool,
    /// An address that an earlier hop already chose for this site.
    pub(super) known_address: Option<SocketAddr>,
}

/// What the job and the module say about names, apart from the target.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Host, as the `hostname` parameter or a module's Host header gives it; may carry a port.
    host: Option<String>,
    /// The TLS name, where nothing more exact is said.
    server_name: Option<String>,
    sni: Option<Sni>,
    verify: Option<String>,
    connect_to: Option<ConnectTo>,
}

impl Names {
    /// Gathers what is said: for SNI `sni` wins, then `server_name`, then `hostname`, then (http only, as in blackbox) the
    /// module's Host header; for the name to verify `verify_name` wins, then the same. For the Host header `hostname` wins
    /// over the module's.
    pub(super) fn of(job: &Job, module: &Module) -> Self {
        let (site, prober) = (job.site.or(&module.site), &module.prober);
        let hostname = site.hostname.as_deref().map(str::to_owned);
        let header = prober.host_header().map(str::to_owned);
        let header_names_tls = matches!(prober, Prober::Http(_));
        let tls_from_host = hostname.clone().or_else(|| header.clone().filter(|_| header_names_tls));
        Self {
            server_name: prober.tls().server_name.clone().or_else(|| tls_from_host.map(|h| host_of(&h).to_owned())),
            host: hostname.or(header),
            sni: site.sni,
            verify: site.verify_name.as_deref().map(str::to_owned),
            connect_to: match (job.address, site.connect_to) {
                // What its name was found to have is dialled in its place, at its port.
                (Some(ip), to) => Some(ConnectTo { host: Host::Ip(ip), port: to.and_then(|to| to.port) }),
                (None, to) => to,
            },
        }
    }

    /// The TLS names of a hop to `host`.
    fn tls(&self, host: String) -> TlsNames {
        let usual = self.server_name.clone().unwrap_or(host);
        let (sni, usual) = match &self.sni {
            Some(Sni::Name(name)) => (Some(name.to_string()), name.to_string()),
            Some(Sni::Omitted) => (None, usual),
            None => (Some(usual.clone()), usual),
        };
        TlsNames { sni, verify: self.verify.clone().unwrap_or(usual) }
    }
}

impl Route {
    /// The way to the target itself.
    pub(super) fn first(target: Target, names: &Names) -> Self {
        let dial = names.connect_to.as_ref().map_or_else(|| target.host().clone(), |c| c.host.clone());
        let port = names.connect_to.as_ref().and_then(|c| c.port).unwrap_or_else(|| target.port());
        Self {
            dial,
            port,
            tls: names.tls(tls_name(target.host())),
            host_header: names.host.clone().unwrap_or_else(|| target.authority()),
            trusted_with_secrets: true,
            known_address: None,
            target,
        }
    }

    /// The way to where a redirect points.
    ///
    /// A hop that stays on the site keeps address, SNI and Host override: the site is the first target's host, or the name
    /// that was shown as Host or SNI. Any other hop speaks for itself, and gets no credential, now or later.
    pub(super) fn redirect(&self, next: Target, first: &Self, names: &Names) -> Self {
        let host = tls_name(next.host());
        let shown = same_host(&host, host_of(&first.host_header))
            || first.tls.sni.as_ref().is_some_and(|sni| same_host(&host, sni));
        let on_site = next.same_host(&first.target) || shown;
        let downgrade = self.target.scheme().is_tls() && !next.scheme().is_tls();
        let trusted_with_secrets = self.trusted_with_secrets && on_site && !downgrade;
        if !on_site {
            return Self { trusted_with_secrets, ..Self::first(next, &Names::default()) };
        }
        let same_port = next.port() == first.target.port();
        Self {
            dial: first.dial.clone(),
            port: if same_port { first.port } else { next.port() },
            tls: names.tls(host),
            host_header: names
                .host
                .clone()
                .filter(|_| next.same_host(&first.target))
                .unwrap_or_else(|| next.authority()),
            trusted_with_secrets,
            known_address: first.known_address,
            target: next,
        }
    }
}

/// A host as a TLS name: a zone means something on this machine only.
fn tls_name(host: &Host) -> String {
    match host {
        Host::Zoned(ip, _) => ip.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProberKind;

    fn target(url: &str) -> Target {
        Target::parse(url, ProberKind::Http).unwrap()
    }

    fn shown(route: &Route) -> String {
        format!(
            "{}:{} {} {} {}",
            route.dial, route.port, route.tls.verify, route.host_header, route.trusted_with_secrets
        )
    }

    #[test]
    fn address_sni_and_host_are_kept_on_site_and_renewed_off_site() {
        let named =
            Names { host: Some("site.example".into()), server_name: Some("site.example".into()), ..Names::default() };
        let pinned = Names { connect_to: Some("203.0.113.7:8443".parse().unwrap()), ..Names::default() };
        let plain = Names::default();
        let cases = [
            (&plain, "https://a.example/x", "/y", "a.example:443 a.example a.example true"),
            (&plain, "https://a.example/x", "https://b.example/y", "b.example:443 b.example b.example false"),
            (&plain, "http://a.example/", "https://a.example/", "a.example:443 a.example a.example true"),
            (&plain, "https://a.example/", "http://a.example/", "a.example:80 a.example a.example false"),
            (&plain, "https://a.example/", "https://a.example:8443/", "a.example:8443 a.example a.example:8443 true"),
            (&named, "https://192.0.2.1/", "/y", "192.0.2.1:443 site.example site.example true"),
            (&named, "https://192.0.2.1/", "https://site.example/y", "192.0.2.1:443 site.example site.example true"),
            (&named, "https://192.0.2.1/", "https://192.0.2.1/y", "192.0.2.1:443 site.example site.example true"),
            (
                &named,
                "https://192.0.2.1/",
                "https://other.example/",
                "other.example:443 other.example other.example false",
            ),
            (&pinned, "https://a.example/", "/y", "203.0.113.7:8443 a.example a.example true"),
            (&pinned, "https://a.example/", "https://b.example/", "b.example:443 b.example b.example false"),
        ];
        for (names, from, to, expected) in cases {
            let first = Route::first(target(from), names);
            let next = first.redirect(first.target.join(to).unwrap(), &first, names);
            assert_eq!(shown(&next), expected, "{from} -> {to}");
        }
    }

    #[test]
    fn sni_and_verified_name_stay_on_the_site_too() {
        let said = |sni: Sni, verify: Option<&str>| Names {
            sni: Some(sni),
            verify: verify.map(str::to_owned),
            ..Names::default()
        };
        let named = said(Sni::Name("edge.example".into()), None);
        let apart = said(Sni::Name("edge.example".into()), Some("a.example"));
        let silent = said(Sni::Omitted, None);
        for (names, on_site, off_site) in [
            (&named, "edge.example edge.example", "b.example b.example"),
            (&apart, "edge.example a.example", "b.example b.example"),
            (&silent, "- a.example", "b.example b.example"),
        ] {
            let shown = |route: &Route| format!("{} {}", route.tls.sni.as_deref().unwrap_or("-"), route.tls.verify);
            let first = Route::first(target("https://a.example/"), names);
            assert_eq!(shown(&first), on_site);
            assert_eq!(shown(&first.redirect(target("https://a.example/y"), &first, names)), on_site);
            assert_eq!(shown(&first.redirect(target("https://b.example/"), &first, names)), off_site);
        }
    }

    #[test]
    fn a_hop_that_left_the_site_never_gets_secrets_again() {
        let names = Names::default();
        let first = Route::first(target("https://a.example/"), &names);
        let away = first.redirect(target("https://b.example/"), &first, &names);
        let back = away.redirect(target("https://a.example/"), &first, &names);
        assert_eq!(shown(&back), "a.example:443 a.example a.example false");
    }
}
