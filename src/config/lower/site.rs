//! What a module, a job or a target's labels say about the site: whom to dial, which names to show.

use super::super::error::{At, Findings, Wrong, wrong};
use super::super::show;
use crate::model::{Module, Site, host_of, same_host};

/// The labels of a target that say how to probe it; they are no labels of its series.
pub(super) const PARAMETERS: [(&str, &str); 4] = [
    ("__param_hostname", "hostname"),
    ("__param_connect_to", "connect_to"),
    ("__param_sni", "sni"),
    ("__param_verify_name", "verify_name"),
];

/// The parts of a site given by `keys`, each a key and its text.
pub(super) fn site(keys: &[(&str, Option<&String>)], at: &At, findings: &mut Findings) -> Site {
    let mut site = Site::default();
    for (key, text) in keys {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            findings.take(&at.key(key), set(&mut site, key, text));
        }
    }
    site
}

/// Sets one part.
pub(super) fn set(site: &mut Site, key: &str, text: &str) -> Result<(), Wrong> {
    let remedy = match key {
        "hostname" => "write a host with an optional port, such as www.example.com",
        "connect_to" => "write an address or name with an optional port, such as 203.0.113.7 or \"[2001:db8::1]:8443\"",
        "sni" => "write a DNS name, or none to send no SNI",
        _ => "write a DNS name or an address",
    };
    site.set(key, text).map_err(|problem| match key {
        "connect_to" => wrong(format!("`{}` is not an address to connect to", show::target(text)), remedy),
        _ => wrong(problem, remedy),
    })
}

/// Refuses a module whose `hostname` and Host header name different sites.
pub(super) fn check_host(module: &Module) -> Result<(), Wrong> {
    match (module.site.hostname.as_deref(), module.prober.host_header()) {
        (Some(hostname), Some(header)) if !same_host(host_of(hostname), host_of(header)) => {
            let problem = format!("the host is set twice: `{hostname}` here, `{header}` by the module's Host header");
            Err(wrong(problem, "keep one of the two"))
        }
        _ => Ok(()),
    }
}
