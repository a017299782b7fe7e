//! The `resolver` block of a module or a job.

use super::super::error::{At, Findings, wrong};
use super::super::raw::RawResolver;
use super::super::value;
use super::{each, file, no_duplicates, optional};
use crate::model::{NameServer, ResolverSettings};
use std::time::Duration;

/// More servers than this are not asked in the time that a probe has.
const MAX_SERVERS: usize = 8;
const MAX_ATTEMPTS: i64 = 5;
/// Longer than RFC 8767 section 5 suggests to serve what is stale.
const MAX_STALE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The block at `at`; the system's resolver where there is none.
pub(super) fn settings(raw: Option<&RawResolver>, at: &At, findings: &mut Findings) -> ResolverSettings {
    let default = ResolverSettings::default();
    let Some(raw) = raw else { return default };
    let servers = servers(raw, at, findings);
    if servers.is_empty() {
        refuse_without_servers(raw, at, findings);
    }
    let timeout = optional(findings, &at.key("timeout"), raw.timeout.as_ref(), value::duration);
    let attempts = raw.attempts.unwrap_or(default.attempts.into());
    if !(1..=MAX_ATTEMPTS).contains(&attempts) {
        findings
            .add(&at.key("attempts"), wrong(format!("`{attempts}` attempts"), format!("write 1 to {MAX_ATTEMPTS}")));
    }
    let stale = optional(findings, &at.key("serve_stale"), raw.serve_stale.as_ref(), value::duration);
    if stale.is_some_and(|stale| stale > MAX_STALE) {
        findings.add(&at.key("serve_stale"), wrong("answers older than 7d", "write 7d or less"));
    }
    ResolverSettings {
        servers,
        timeout: timeout.filter(|timeout| !timeout.is_zero()).unwrap_or(default.timeout),
        attempts: u32::try_from(attempts).unwrap_or(default.attempts),
        ca_file: file(raw.ca_file.as_ref()),
        use_hosts_file: raw.use_hosts_file.unwrap_or(default.use_hosts_file),
        cache: raw.cache.unwrap_or(default.cache),
        serve_stale: stale.filter(|stale| !stale.is_zero()),
    }
}

fn servers(raw: &RawResolver, at: &At, findings: &mut Findings) -> Vec<NameServer> {
    let at = at.key("servers");
    let list = raw.servers.as_deref().unwrap_or_default();
    no_duplicates(findings, &at, list);
    if list.len() > MAX_SERVERS {
        findings.add(&at, wrong(format!("more than {MAX_SERVERS} servers"), "keep those that are near"));
    }
    let remedy = "write an address such as 10.0.0.53, \"[2001:db8::53]:5353\", tcp://10.0.0.53 or \
                  tls://10.0.0.53:853#dns.example";
    each(findings, &at, raw.servers.as_ref(), |text| text.parse().map_err(|problem: String| wrong(problem, remedy)))
}

/// The system's resolver has settings of its own, and tells no times that an answer could be kept for.
fn refuse_without_servers(raw: &RawResolver, at: &At, findings: &mut Findings) {
    let given = [
        ("timeout", raw.timeout.is_some()),
        ("attempts", raw.attempts.is_some()),
        ("ca_file", raw.ca_file.is_some()),
        ("use_hosts_file", raw.use_hosts_file.is_some()),
        ("cache", raw.cache == Some(true)),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        findings.add(&at.key(key), wrong(format!("`{key}` does not apply to the system's resolver"), "add `servers`"));
    }
}
