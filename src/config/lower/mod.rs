//! Raw config in, model out: what the file means. Checks every value and writes the defaults it uses into the raw
//! config.
//!
//! Each function takes its block and its place, reports every problem it finds, and returns what is right; what it
//! returns beside a problem is never used, because a config with problems is refused.

mod access;
mod client;
mod http;
mod job;
mod oauth2;
mod proxy;
mod resolver;
mod revocation;
mod site;
mod tls;
mod tls_scan;
mod web;
mod websocket;

use super::error::{At, Findings, Wrong, nearest, wrong};
use super::raw::{Later, RawConfig, RawModule};
use super::{show, value};
use crate::model::{IpPreference, IpProtocol, Module, ModuleName, Pattern, Plan, Prober, ProberKind};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};
pub(super) use web::web;

/// The probers of later work.
const LATER_PROBERS: &[&str] = &["tcp", "dns", "icmp", "grpc", "unix"];
const PROBERS: &[&str] = &["http", "websocket", "tls", "tls_scan"];

/// What the jobs need to know of a module.
struct Outline {
    /// `None` when the prober is not a known one.
    kind: Option<ProberKind>,
    timeout: Option<Duration>,
    ip_protocol: IpProtocol,
}

/// What `raw` asks for.
pub(super) fn config(raw: &mut RawConfig, findings: &mut Findings) -> Plan {
    let mut modules = Vec::new();
    let mut outlines = BTreeMap::new();
    for (name, raw) in raw.modules.get_or_insert_default() {
        let (outline, module) = module(name, raw, findings);
        outlines.insert(name.clone(), outline);
        modules.extend(module.map(Arc::new));
    }
    let series = raw.jobs.as_mut().map(|jobs| job::jobs(jobs, &outlines, findings)).unwrap_or_default();
    let access = access::access(raw.access.as_mut(), &outlines, findings);
    Plan { modules, series, access }
}

fn module(name: &str, raw: &mut RawModule, findings: &mut Findings) -> (Outline, Option<Module>) {
    let at = At::default().key("modules").key(name);
    if name.is_empty() {
        findings.add(&at, wrong("a module without a name", "give it one"));
    }
    let timeout = optional(findings, &at.key("timeout"), raw.timeout.as_ref(), value::duration);
    let timeout = timeout.filter(|timeout| !timeout.is_zero());
    let protocol = raw.ip_protocol.get_or_insert_with(|| IpProtocol::default().to_string());
    let ip_protocol = findings.take(&at.key("ip_protocol"), value::ip_protocol(protocol)).unwrap_or_default();
    let prober = prober(raw, &at, findings);
    let proxy = proxy::of_module(raw, &at, findings);
    let outline = Outline { kind: prober.as_ref().map(Prober::kind), timeout, ip_protocol };
    let keys = [
        ("hostname", raw.hostname.as_ref()),
        ("connect_to", raw.connect_to.as_ref()),
        ("sni", raw.sni.as_ref()),
        ("verify_name", raw.verify_name.as_ref()),
    ];
    let site = site::site(&keys, &at, findings);
    let resolver = Arc::new(resolver::settings(raw.resolver.as_ref(), &at.key("resolver"), findings));
    let credentials_for = access::credentials_for(raw.credentials_for.as_ref(), &at, findings);
    let module = prober.map(|prober| Module {
        timeout,
        site,
        ip_protocol,
        proxy,
        credentials_for,
        resolver,
        ..Module::new(ModuleName::new(name), prober, show::yaml(raw))
    });
    if let Some(module) = &module {
        findings.take(&at.key("hostname"), site::check_host(module));
    }
    (outline, module)
}

fn prober(raw: &mut RawModule, at: &At, findings: &mut Findings) -> Option<Prober> {
    let name = raw.prober.clone().unwrap_or_default();
    stray_blocks(raw, &name, at, findings);
    match name.as_str() {
        "http" => {
            Some(Prober::Http(Box::new(http::block(raw.http.get_or_insert_default(), &at.key("http"), findings))))
        }
        "websocket" => {
            let block = raw.websocket.get_or_insert_default();
            Some(Prober::WebSocket(Box::new(websocket::block(block, &at.key("websocket"), findings))))
        }
        "tls" => Some(Prober::Tls(Box::new(tls::block(raw.tls.get_or_insert_default(), &at.key("tls"), findings)))),
        "tls_scan" => {
            let block = raw.tls_scan.get_or_insert_default();
            Some(Prober::TlsScan(Box::new(tls_scan::block(block, &at.key("tls_scan"), findings))))
        }
        _ => {
            findings.add(&at.key("prober"), not_a_prober(&name));
            None
        }
    }
}

fn not_a_prober(name: &str) -> Wrong {
    if name.is_empty() {
        return wrong("no prober", "write `prober: http`, `websocket`, `tls` or `tls_scan`");
    }
    if LATER_PROBERS.contains(&name) {
        return wrong(format!("prober `{name}` is not supported yet"), "write http, websocket, tls or tls_scan");
    }
    let remedy = nearest(name, PROBERS.iter().copied())
        .map_or_else(|| "write http, websocket, tls or tls_scan".to_owned(), |near| format!("did you mean `{near}`?"));
    wrong(format!("`{name}` is not a prober"), remedy)
}

/// Refuses the blocks of other probers: they would be ignored.
fn stray_blocks(raw: &RawModule, prober: &str, at: &At, findings: &mut Findings) {
    let known = [
        ("http", raw.http.is_some()),
        ("websocket", raw.websocket.is_some()),
        ("tls", raw.tls.is_some()),
        ("tls_scan", raw.tls_scan.is_some()),
    ];
    for (block, given) in known {
        if given && PROBERS.contains(&prober) && block != prober {
            let problem = format!("a `{block}` block in a module whose prober is `{prober}` would be ignored");
            findings.add(&at.key(block), wrong(problem, format!("remove it, or write `prober: {block}`")));
        }
    }
    let blocks = [raw.tcp, raw.dns, raw.icmp, raw.grpc, raw.unix];
    for (block, given) in LATER_PROBERS.iter().zip(blocks) {
        if *block != prober {
            later(findings, at, &[(block, given)]);
        }
    }
}

/// Refuses each key of `keys`, places under `at`, that asks for later work.
fn later(findings: &mut Findings, at: &At, keys: &[(&str, Option<Later>)]) {
    for (key, given) in keys {
        if given.is_some_and(|later| later.0) {
            findings.add(&at.key(key), value::later(&format!("`{key}`")));
        }
    }
}

/// The value of a text, if given and not empty.
fn optional<T>(
    findings: &mut Findings,
    at: &At,
    text: Option<&String>,
    read: impl FnOnce(&str) -> Result<T, Wrong>,
) -> Option<T> {
    let text = text.filter(|text| !text.is_empty())?;
    findings.take(at, read(text))
}

/// A duration; `default` is written in when none is given.
fn duration_or(findings: &mut Findings, at: &At, text: &mut Option<String>, default: &str) -> Option<Duration> {
    let text = text.get_or_insert_with(|| default.to_owned());
    findings.take(at, value::duration(text))
}

/// A path, if given and not empty.
fn file(path: Option<&String>) -> Option<PathBuf> {
    path.filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// `preferred_ip_protocol` and `ip_protocol_fallback`.
fn ip(protocol: &mut Option<String>, fallback: &mut Option<bool>, at: &At, findings: &mut Findings) -> IpPreference {
    let default = IpPreference::default();
    let protocol = protocol.get_or_insert_with(|| "ip6".to_owned());
    let preferred = findings.take(&at.key("preferred_ip_protocol"), value::ip_family(protocol));
    IpPreference {
        preferred: preferred.unwrap_or(default.preferred),
        fallback: *fallback.get_or_insert(default.fallback),
    }
}

/// Every entry of a list, each through `read` and reported by its own place.
fn each<I, T>(
    findings: &mut Findings,
    at: &At,
    list: Option<&Vec<I>>,
    read: impl Fn(&I) -> Result<T, Wrong>,
) -> Vec<T> {
    let entries = list.into_iter().flatten().enumerate();
    entries.filter_map(|(i, entry)| findings.take(&at.index(i), read(entry))).collect()
}

/// A list of regular expressions.
fn patterns(findings: &mut Findings, at: &At, list: Option<&Vec<String>>) -> Vec<Pattern> {
    each(findings, at, list, |text| value::pattern(text))
}

/// Refuses the second of two equal entries.
fn no_duplicates(findings: &mut Findings, at: &At, list: &[String]) {
    for (i, entry) in list.iter().enumerate() {
        if list[..i].contains(entry) {
            let shown = show::target(entry);
            findings.add(&at.index(i), wrong(format!("`{shown}` stands here a second time"), "keep one of the two"));
        }
    }
}
