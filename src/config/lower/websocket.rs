//! The `websocket` block.

use super::super::error::{At, Findings, Wrong, wrong};
use super::super::raw::{RawHttpConfig, RawStep, RawWebSocket};
use super::super::value;
use super::client::{self, AuthKeys};
use super::{ip, later, no_duplicates, oauth2, tls};
use crate::model::{Auth, Expectation, Outgoing, WebSocketModule, WebSocketStep};
use http::HeaderName;

/// The headers of the handshake itself (RFC 6455 section 4.1), which the prober sets.
const HANDSHAKE_HEADERS: &[&str] =
    &["upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions"];

/// The close codes that a server can send (RFC 6455 section 7.4, and those registered since).
const CLOSE_CODES: [std::ops::RangeInclusive<i64>; 3] = [1000..=1003, 1007..=1014, 3000..=4999];
const DEFAULT_MESSAGE_SIZE: &str = "1MiB";

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
        subprotocol_required: subprotocol_required(raw, at, findings),
        origin: origin.and_then(|origin| findings.take(&at.key("origin"), value::header_value(&origin))),
        ping: *raw.ping.get_or_insert(false),
        query_response: steps(raw.query_response.as_ref(), &at.key("query_response"), findings),
        expect_close: raw.expect_close.and_then(|code| findings.take(&at.key("expect_close"), close_code(code))),
        max_message_size: max_message_size(raw, at, findings),
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

fn subprotocol_required(raw: &mut RawWebSocket, at: &At, findings: &mut Findings) -> bool {
    let none_offered = raw.subprotocols.as_ref().is_none_or(Vec::is_empty);
    if none_offered && raw.subprotocol_required.is_some() {
        let problem = "there are no `subprotocols` to choose from";
        findings.add(&at.key("subprotocol_required"), wrong(problem, "list them, or remove this"));
    }
    if none_offered {
        return true;
    }
    *raw.subprotocol_required.get_or_insert(true)
}

fn close_code(code: i64) -> Result<u16, Wrong> {
    let sent = CLOSE_CODES.iter().any(|range| range.contains(&code));
    u16::try_from(code).ok().filter(|_| sent).ok_or_else(|| {
        wrong(format!("no server sends the close code {code}"), "write 1000 to 1003, 1007 to 1014, or 3000 to 4999")
    })
}

fn max_message_size(raw: &mut RawWebSocket, at: &At, findings: &mut Findings) -> usize {
    const MOST: usize = WebSocketModule::MAX_MESSAGE_SIZE;
    let text = raw.max_message_size.get_or_insert_with(|| DEFAULT_MESSAGE_SIZE.to_owned());
    let size = value::size(text).and_then(|size| {
        let size = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= MOST);
        size.ok_or_else(|| wrong(format!("`{text}` is not between 1B and 16MiB"), "write a size in between"))
    });
    findings.take(&at.key("max_message_size"), size).unwrap_or_default()
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
    later(findings, at, &[("labels", raw.labels)]);
    if raw.starttls.is_some_and(|given| given.0) {
        findings.add(&at.key("starttls"), wrong("a WebSocket does not switch to TLS", "probe a wss:// target"));
    }
    let expect = expectation(raw, at, findings);
    let skip = raw.skip.and_then(|skip| findings.take(&at.key("skip"), skip_count(skip, expect.as_ref())));
    WebSocketStep { skip: skip.unwrap_or_default(), send: outgoing(raw, at, findings), expect }
}

fn expectation(raw: &RawStep, at: &At, findings: &mut Findings) -> Option<Expectation> {
    let given = [("expect", &raw.expect), ("expect_bytes", &raw.expect_bytes), ("expect_hex", &raw.expect_hex)];
    let (key, text) = only_one(&given, at, findings)?;
    let read = match key {
        "expect" => value::pattern(text).map(Expectation::Pattern),
        "expect_bytes" => Ok(Expectation::Payload(text.clone().into_bytes())),
        _ => value::bytes(text).map(Expectation::Binary),
    };
    findings.take(&at.key(key), read)
}

fn outgoing(raw: &RawStep, at: &At, findings: &mut Findings) -> Option<Outgoing> {
    let (key, text) = only_one(&[("send", &raw.send), ("send_hex", &raw.send_hex)], at, findings)?;
    let read = match key {
        "send" => Ok(Outgoing::Text(text.clone())),
        _ => value::bytes(text).map(Outgoing::Binary),
    };
    findings.take(&at.key(key), read)
}

/// The first key with a text; says so when there are more.
fn only_one<'a>(
    given: &[(&'static str, &'a Option<String>)],
    at: &At,
    findings: &mut Findings,
) -> Option<(&'static str, &'a String)> {
    let mut given = given.iter().filter_map(|(key, text)| Some((*key, text.as_ref().filter(|text| !text.is_empty())?)));
    let first = given.next()?;
    for (key, _) in given {
        let problem = format!("`{}` is set, too", first.0);
        findings.add(&at.key(key), wrong(problem, "keep one, and make a step of its own for the other"));
    }
    Some(first)
}

fn skip_count(skip: i64, expect: Option<&Expectation>) -> Result<u32, Wrong> {
    const MOST: u32 = WebSocketModule::MAX_SKIP;
    let count = u32::try_from(skip).ok().filter(|count| *count <= MOST);
    let count = count.ok_or_else(|| wrong(format!("`{skip}` messages to skip"), format!("write 0 to {MOST}")))?;
    match expect {
        None if count > 0 => Err(wrong("nothing is expected here", "add `expect`, or remove this")),
        _ => Ok(count),
    }
}
