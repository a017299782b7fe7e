//! The `websocket` block.

use super::super::error::{At, Findings, Wrong, wrong};
use super::super::raw::{RawHttpConfig, RawStep, RawWebSocket};
use super::super::value;
use super::client::{self, AuthKeys};
use super::{ip, later, no_duplicates, oauth2, tls};
use crate::model::{Auth, WebSocketModule, WebSocketStep};
use http::HeaderName;

/// The headers of the handshake itself (RFC 6455 section 4.1), which the prober sets.
const HANDSHAKE_HEADERS: &[&str] =
    &["upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"];

/// The `websocket` block.
pub(super) fn block(raw: &mut RawWebSocket, at: &At, findings: &mut Findings) -> WebSocketModule {
    let http_config = raw.http_config.get_or_insert_default();
    let config_at = at.key("http_config");
    refuse_ignored(http_config, &config_at, findings);
    let auth = auth(http_config, &config_at, findings);
    let oauth2 = oauth2::block(http_config.oauth2.as_mut(), &config_at, findings);
    let tls = tls::options(http_config.tls_config.as_ref(), &config_at, findings);
    check_subprotocols(raw, at, findings);
    let origin = raw.origin.clone().filter(|origin| !origin.is_empty());
    let refuse = |name: &HeaderName| refused(name, origin.is_some());
    let headers = client::headers(raw.headers.as_ref(), &at.key("headers"), findings, refuse);
    WebSocketModule {
        ip: ip(&mut raw.preferred_ip_protocol, &mut raw.ip_protocol_fallback, at, findings),
        tls,
        auth,
        oauth2,
        headers,
        subprotocols: raw.subprotocols.clone().unwrap_or_default(),
        origin: origin.and_then(|origin| findings.take(&at.key("origin"), value::header_value(&origin))),
        ping: *raw.ping.get_or_insert(false),
        query_response: steps(raw.query_response.as_ref(), &at.key("query_response"), findings),
    }
}

/// Refuses what `blackbox_exporter` accepts here and then ignores.
fn refuse_ignored(raw: &RawHttpConfig, at: &At, findings: &mut Findings) {
    let ignored = [
        ("follow_redirects", raw.follow_redirects, "a WebSocket upgrade does not follow redirects", "remove it"),
        ("enable_http2", raw.enable_http2, "a WebSocket upgrade is HTTP/1.1", "remove it"),
        (
            "http_headers",
            raw.http_headers,
            "a WebSocket upgrade takes its headers elsewhere",
            "use `websocket.headers`",
        ),
    ];
    for (key, given, problem, remedy) in ignored {
        if given.is_some_and(|given| given.0) {
            findings.add(&at.key(key), wrong(problem, remedy));
        }
    }
}

fn auth(raw: &mut RawHttpConfig, at: &At, findings: &mut Findings) -> Option<Auth> {
    let keys = AuthKeys {
        basic_auth: raw.basic_auth.as_ref(),
        authorization: raw.authorization.as_mut(),
        bearer_token: raw.bearer_token.as_ref(),
        bearer_token_file: raw.bearer_token_file.as_ref(),
        oauth2: raw.oauth2.is_some(),
    };
    client::auth(keys, at, findings)
}

fn check_subprotocols(raw: &RawWebSocket, at: &At, findings: &mut Findings) {
    let at = at.key("subprotocols");
    let names = raw.subprotocols.as_deref().unwrap_or_default();
    no_duplicates(findings, &at, names);
    for (i, name) in names.iter().enumerate().filter(|(_, name)| !value::is_token(name)) {
        let problem = format!("`{name}` is not a subprotocol's name");
        findings.add(&at.index(i), wrong(problem, "write one word per entry, such as chat or graphql-ws"));
    }
}

fn refused(name: &HeaderName, has_origin: bool) -> Option<Wrong> {
    match name.as_str() {
        text if HANDSHAKE_HEADERS.contains(&text) => {
            Some(wrong(format!("`{name}` belongs to the handshake, which the prober makes"), "remove it"))
        }
        "sec-websocket-protocol" => {
            Some(wrong("subprotocols are not offered by a header here", "list them in `websocket.subprotocols`"))
        }
        "origin" if has_origin => {
            Some(wrong("the origin is set twice, here and in `origin`", "keep `websocket.origin`"))
        }
        _ => None,
    }
}

fn steps(raw: Option<&Vec<RawStep>>, at: &At, findings: &mut Findings) -> Vec<WebSocketStep> {
    let entries = raw.into_iter().flatten().enumerate();
    entries.map(|(i, raw)| step(raw, &at.index(i), findings)).collect()
}

fn step(raw: &RawStep, at: &At, findings: &mut Findings) -> WebSocketStep {
    let keys = [("expect_bytes", raw.expect_bytes), ("labels", raw.labels), ("starttls", raw.starttls)];
    later(findings, at, &keys);
    let expect = raw.expect.as_ref().and_then(|text| findings.take(&at.key("expect"), value::pattern(text)));
    WebSocketStep { expect, send: raw.send.clone().filter(|text| !text.is_empty()) }
}
