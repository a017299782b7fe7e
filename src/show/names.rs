//! A hop's three identities: the address that was dialled, the SNI, the Host header; and where they disagree.

use crate::model::{Hop, Host, ProbeReport, Target};
use std::net::IpAddr;

/// The hop's target, read again from its URL.
pub(super) fn target_of(report: &ProbeReport, hop: &Hop) -> Option<Target> {
    Target::parse(&hop.url, report.module.prober.kind()).ok()
}

/// What the SNI extension said, in words; `None` when no handshake was tried.
pub(super) fn sni_words(hop: &Hop) -> Option<String> {
    let tls = hop.tls.as_ref().filter(|tls| !tls.server_name.is_empty())?;
    Some(if tls.sni_sent {
        tls.server_name.clone()
    } else {
        format!("none ({} is an address, which SNI cannot carry)", tls.server_name)
    })
}

/// One sentence per disagreement between URL, address, SNI and Host. Empty when all name the same site.
pub(super) fn clashes(report: &ProbeReport, hop: &Hop) -> Vec<String> {
    let mut found = Vec::new();
    let Some(target) = target_of(report, hop) else { return found };
    let url_host = target.host().to_string();
    if let Some(peer) = hop.peer {
        let literal_differs = matches!(target.host(), Host::Ip(ip) if *ip != peer.ip());
        if let Some(to) = report.job.site.connect_to.as_ref().filter(|_| !is_resolved(hop, &url_host, peer.ip())) {
            found.push(format!("the address {peer} is set by connect_to ({to}), not looked up for {url_host}"));
        } else if literal_differs || peer.port() != target.port() {
            found.push(format!("the address {peer} is not the one in the URL"));
        }
    }
    let sni = hop.tls.as_ref().map(|tls| tls.server_name.as_str()).filter(|name| !name.is_empty());
    if let Some(sni) = sni.filter(|sni| !same(sni, &url_host)) {
        found.push(format!("the TLS name is {sni}, the URL's host is {url_host}"));
    }
    if hop.host_header.is_empty() {
        return found;
    }
    let host = host_of(&hop.host_header);
    if let Some(sni) = sni.filter(|sni| !same(sni, &host)) {
        found.push(format!("the TLS name is {sni}, the Host header says {host}"));
    } else if sni.is_none() && !same(&host, &url_host) {
        found.push(format!("the Host header says {host}, the URL's host is {url_host}"));
    }
    found
}

/// Whether the lookup of the URL's own name gave this address.
fn is_resolved(hop: &Hop, url_host: &str, ip: IpAddr) -> bool {
    hop.lookup.as_ref().is_some_and(|lookup| same(&lookup.host, url_host) && lookup.addresses.contains(&ip))
}

/// A Host header without its port.
fn host_of(header: &str) -> String {
    header.parse::<http::uri::Authority>().map_or_else(|_| header.to_owned(), |authority| authority.host().to_owned())
}

fn same(a: &str, b: &str) -> bool {
    fn bare(name: &str) -> &str {
        name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.')
    }
    bare(a).eq_ignore_ascii_case(bare(b))
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
        hop.tls.as_mut().unwrap().server_name = "third.example".into();
        let found = clashes(&report, &report.hops[0]).join("\n");
        assert!(found.contains("203.0.113.7:443 is set by connect_to (203.0.113.7)"), "{found}");
        assert!(found.contains("the TLS name is third.example, the URL's host is www.example.com"), "{found}");
        assert!(found.contains("the TLS name is third.example, the Host header says other.example"), "{found}");
    }
}
