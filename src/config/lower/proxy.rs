//! The proxy keys, which every prober's block has.

use super::super::error::{At, Findings, Wrong, wrong};
use super::super::raw::{Masked, RawModule, RawTlsConfig};
use super::super::{show, value};
use super::{client, each, tls};
use crate::model::{Header, NoProxy, ProxyKind, ProxyOptions, ProxySource, ProxyUrl, Secret};
use http::{HeaderName, header};
use std::collections::BTreeMap;

/// The keys of one block.
struct Keys<'a> {
    proxy_url: &'a mut Option<String>,
    no_proxy: Option<&'a String>,
    from_environment: Option<bool>,
    connect_header: Option<&'a BTreeMap<String, Vec<Masked>>>,
    tls_config: Option<&'a RawTlsConfig>,
    resolve_before: Option<bool>,
    /// blackbox's opposite of it, which only `http` has.
    skip_resolve: Option<bool>,
}

macro_rules! keys {
    ($raw:expr, $skip_resolve:expr) => {
        Keys {
            proxy_url: &mut $raw.proxy_url,
            no_proxy: $raw.no_proxy.as_ref(),
            from_environment: $raw.proxy_from_environment,
            connect_header: $raw.proxy_connect_header.as_ref(),
            tls_config: $raw.proxy_tls_config.as_ref(),
            resolve_before: $raw.resolve_before_proxy,
            skip_resolve: $skip_resolve,
        }
    };
}

/// The proxy settings in the block of the module's prober.
pub(super) fn of_module(raw: &mut RawModule, at: &At, findings: &mut Findings) -> Option<ProxyOptions> {
    match raw.prober.as_deref()? {
        "http" => raw.http.as_mut().and_then(|raw| {
            let skip = raw.skip_resolve_phase_with_proxy;
            options(&mut keys!(raw, skip), &at.key("http"), findings)
        }),
        "websocket" => {
            let at = at.key("websocket").key("http_config");
            let raw = raw.websocket.as_mut().and_then(|raw| raw.http_config.as_mut());
            raw.and_then(|raw| options(&mut keys!(raw, None), &at, findings))
        }
        "tls" => raw.tls.as_mut().and_then(|raw| options(&mut keys!(raw, None), &at.key("tls"), findings)),
        "tls_scan" => {
            raw.tls_scan.as_mut().and_then(|raw| options(&mut keys!(raw, None), &at.key("tls_scan"), findings))
        }
        _ => None,
    }
}

fn options(keys: &mut Keys<'_>, at: &At, findings: &mut Findings) -> Option<ProxyOptions> {
    let given = keys.proxy_url.as_ref().is_some_and(|url| !url.is_empty());
    let list = keys.no_proxy.filter(|list| !list.is_empty());
    let from_environment = keys.from_environment.unwrap_or_default();
    check_source(at, findings, (given, from_environment, list.is_some()));
    check_resolving(keys, at, findings);
    let no_proxy = list.map(|list| findings.take(&at.key("no_proxy"), no_proxy(list)));
    let proxy = if given { findings.take(&at.key("proxy_url"), url(keys.proxy_url)) } else { None };
    let headers = headers(keys.connect_header, &at.key("proxy_connect_header"), findings, proxy.as_ref());
    let tls = keys.tls_config.map(|raw| tls::config(raw, &at.key("proxy_tls_config"), findings));
    if tls.is_some() && proxy.as_ref().is_some_and(|proxy| proxy.kind != ProxyKind::Https) {
        let problem = "TLS settings for a proxy that is not spoken to over TLS";
        findings.add(&at.key("proxy_tls_config"), wrong(problem, "remove them, or write an https `proxy_url`"));
    }
    if !given && !from_environment {
        refuse_without_proxy(keys, at, findings);
        return None;
    }
    let source = match proxy {
        Some(proxy) => ProxySource::Url { proxy, no_proxy: no_proxy.flatten().unwrap_or_default() },
        None => ProxySource::Environment,
    };
    let resolve_first = keys.resolve_before.or(keys.skip_resolve.map(|skip| !skip));
    Some(ProxyOptions { source, headers, tls, resolve_first })
}

/// The rules of `blackbox_exporter`.
fn check_source(at: &At, findings: &mut Findings, (url, environment, no_proxy): (bool, bool, bool)) {
    if environment && url {
        let problem = "the proxy is set twice, here and in `proxy_url`";
        findings.add(&at.key("proxy_from_environment"), wrong(problem, "keep one of the two"));
    }
    if no_proxy && environment {
        let problem = "`no_proxy` does not count for proxies of the environment";
        findings.add(&at.key("no_proxy"), wrong(problem, "set NO_PROXY in the environment"));
    } else if no_proxy && !url {
        findings.add(&at.key("no_proxy"), wrong("`no_proxy` without `proxy_url`", "add the proxy, or remove the list"));
    }
}

fn check_resolving(keys: &Keys<'_>, at: &At, findings: &mut Findings) {
    if keys.resolve_before.is_some() && keys.skip_resolve.is_some() {
        let problem = "`skip_resolve_phase_with_proxy` says the same, the other way round";
        findings.add(&at.key("resolve_before_proxy"), wrong(problem, "keep one of the two"));
    }
}

fn refuse_without_proxy(keys: &Keys<'_>, at: &At, findings: &mut Findings) {
    let given = [
        ("proxy_connect_header", keys.connect_header.is_some_and(|headers| !headers.is_empty())),
        ("proxy_tls_config", keys.tls_config.is_some()),
        ("resolve_before_proxy", keys.resolve_before.is_some()),
        // `false` asks for what happens anyway.
        ("skip_resolve_phase_with_proxy", keys.skip_resolve == Some(true)),
    ];
    for (key, _) in given.into_iter().filter(|(_, given)| *given) {
        let remedy = "add `proxy_url` or `proxy_from_environment: true`, or remove it";
        findings.add(&at.key(key), wrong(format!("`{key}` without a proxy"), remedy));
    }
}

/// Reads the URL, and leaves in its place what may be shown of it.
fn url(text: &mut Option<String>) -> Result<ProxyUrl, Wrong> {
    let read = text.as_deref().unwrap_or_default().parse::<ProxyUrl>();
    let remedy = "write http, https, socks5 or socks5h, a host and a port, such as http://proxy.example:3128";
    let url = read.map_err(|problem| wrong(problem, remedy))?;
    let user_info = url.credentials.as_ref().map_or("://".into(), |_| format!("://{}@", Secret::MASK));
    *text = Some(url.to_string().replacen("://", &user_info, 1));
    Ok(url)
}

fn no_proxy(list: &str) -> Result<NoProxy, Wrong> {
    match NoProxy::read(list) {
        (rules, wrong) if wrong.is_empty() => Ok(rules),
        (_, unread) => Err(wrong(
            format!(
                "the list has what cannot be read: {}",
                unread.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
            ),
            "write names, addresses, networks such as 10.0.0.0/8, or *, parted by commas",
        )),
    }
}

fn quoted(entry: &str) -> String {
    format!("`{}`", show::target(entry))
}

/// Headers that make up the request to the proxy, which is ours to make.
const REQUEST_HEADERS: [HeaderName; 4] =
    [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING];

fn headers(
    raw: Option<&BTreeMap<String, Vec<Masked>>>,
    at: &At,
    findings: &mut Findings,
    proxy: Option<&ProxyUrl>,
) -> Vec<Header> {
    if proxy.is_some_and(|proxy| !proxy.kind.is_http()) && raw.is_some_and(|raw| !raw.is_empty()) {
        findings.add(at, wrong("SOCKS has no headers", "remove them"));
    }
    let has_credentials = proxy.is_some_and(|proxy| proxy.credentials.is_some());
    let mut headers: Vec<Header> = Vec::new();
    for (text, list) in raw.into_iter().flatten() {
        let at = at.key(text);
        let secrets = each(findings, &at, Some(list), client::secret_value);
        let Some(name) = findings.take(&at, value::header_name(text)) else { continue };
        if REQUEST_HEADERS.contains(&name) {
            findings.add(&at, wrong(format!("`{name}` is set by the request to the proxy itself"), "remove it"));
        }
        if name == header::PROXY_AUTHORIZATION && has_credentials {
            let problem = "credentials for the proxy stand here and in `proxy_url`";
            findings.add(&at, wrong(problem, "keep those that the proxy wants"));
        }
        if headers.iter().any(|header| header.name == name) {
            findings.add(&at, client::twice());
        }
        headers.push(Header { name, values: Vec::new(), secrets });
    }
    headers
}
