//! A hop's three identities: the address that was dialled, the SNI, the Host header; and where they disagree.

use crate::model::{Hop, Host, NameClash, ProbeReport, Target, host_of, same_host};
use std::net::IpAddr;

/// The hop's target, read again from its URL.
pub(super) fn target_of(report: &ProbeReport, hop: &Hop) -> Option<Target> {
    Target::parse(&hop.url, report.module.prober.kind()).ok()
}

/// What the SNI extension said, in words; `None` when no handshake was tried.
pub(super) fn sni_words(hop: &Hop) -> Option<String> {
    let tls = hop.tls.as_ref().filter(|tls| !tls.server_name.is_empty())?;
    Some(match &tls.sni {
        Some(sni) if same_host(sni, &tls.server_name) => sni.clone(),
        Some(sni) => format!("{sni} (verified is {})", tls.server_name),
        None if tls.server_name.parse::<IpAddr>().is_ok() => {
            format!("none ({} is an address, which SNI cannot carry)", tls.server_name)
        }
        None => format!("none (verified is {})", tls.server_name),
    })
}

/// What a refusal by status may have to do with the names that were told; `None` when it was none, or the names agree.
pub(super) fn hint(report: &ProbeReport) -> Option<String> {
    let hop = report.last_hop()?;
    let clash = hop.refused_for_names()?;
    let status = hop.http.as_ref()?.status;
    Some(format!("the status {status} may be due to the names: {clash}"))
}

/// One sentence per disagreement between URL, address, SNI and Host. Empty when all name the same site.
pub(super) fn clashes(report: &ProbeReport, hop: &Hop) -> Vec<String> {
    let mut found = Vec::new();
    let Some(target) = target_of(report, hop) else { return found };
    let url_host = target.host().to_string();
    if let Some(peer) = hop.peer {
        let literal_differs = matches!(target.host(), Host::Ip(ip) if *ip != peer.ip());
        if let Some(to) = report.site().connect_to.filter(|_| !is_resolved(hop, &url_host, peer.ip())) {
            found.push(format!("the address {peer} is set by connect_to ({to}), not looked up for {url_host}"));
        } else if literal_differs || peer.port() != target.port() {
            found.push(format!("the address {peer} is not the one in the URL"));
        }
    }
    let tls = hop.tls.as_ref().filter(|tls| !tls.server_name.is_empty());
    if let Some(tls) = tls.filter(|tls| !same_host(&tls.server_name, &url_host)) {
        found.push(format!("the name to verify is {}, the URL's host is {url_host}", tls.server_name));
    }
    let host = host_of(&hop.host_header);
    match hop.name_clash() {
        Some(clash @ (NameClash::Differ { .. } | NameClash::NoSni { .. })) => found.push(clash.to_string()),
        _ if tls.is_none() && !host.is_empty() && !same_host(host, &url_host) => {
            found.push(format!("the Host header says {host}, the URL's host is {url_host}"));
        }
        _ => {}
    }
    found
}

/// Whether the lookup of the URL's own name gave this address.
fn is_resolved(hop: &Hop, url_host: &str, ip: IpAddr) -> bool {
    hop.lookup.as_ref().is_some_and(|lookup| same_host(&lookup.host, url_host) && lookup.addresses.contains(&ip))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn agreement_is_silent() {
        let report = fixture::success();
        assert_eq!(clashes(&report, &report.hops[0]), Vec::<String>::new());
    }

    #[test]
    fn every_disagreement_is_named() {
        let mut report = fixture::success();
        report.job.site.connect_to = Some("203.0.113.7".parse().unwrap());
        let hop = &mut report.hops[0];
        hop.peer = Some("203.0.113.7:443".parse().unwrap());
        hop.lookup = None;
        hop.host_header = "other.example:8443".into();
        let tls = hop.tls.as_mut().unwrap();
        (tls.server_name, tls.sni) = ("third.example".into(), Some("fourth.example".into()));
        let found = clashes(&report, &report.hops[0]).join("\n");
        assert!(found.contains("203.0.113.7:443 is set by connect_to (203.0.113.7)"), "{found}");
        assert!(found.contains("the name to verify is third.example, the URL's host is www.example.com"), "{found}");
        assert!(found.contains("the SNI is fourth.example, the Host header says other.example"), "{found}");
    }
}
