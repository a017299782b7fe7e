//! A tunnel through an HTTP proxy: CONNECT and its answer (RFC 9110 section 9.3.6).

use super::{Errand, Proxy, ProxyError};
use crate::model::{ProxyFacts, authority};
use crate::probe::{
    http::{
        self as exchange, HttpError,
        request::{OUR_NAME, add_headers, basic, sensitive},
    },
    wire::Wire,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header, response::Parts};
use http_body_util::Full;
use hyper_util::rt::TokioIo;

/// Characters kept of a challenge, and of what a proxy says about an error.
const MAX_WORDS: usize = 256;
/// In which proxies say more than their status: RFC 9209, and squid.
const ERROR_HEADERS: [&str; 2] = ["proxy-status", "x-squid-error"];

/// Asks for a tunnel. What the target sent with the answer is the wire's first bytes.
pub(super) async fn tunnel(wire: Wire, errand: &Errand, facts: &mut ProxyFacts) -> Result<Wire, ProxyError> {
    let request = request(errand).await?;
    let exchange::Exchange { head, body, mut driver } = exchange::exchange(wire, false, request).await?;
    facts.status = Some(head.status.as_u16());
    facts.headers = exchange::kept_headers(&head.headers);
    // 401 is a server's word, but tinyproxy says it to a wrong password.
    if [StatusCode::PROXY_AUTHENTICATION_REQUIRED, StatusCode::UNAUTHORIZED].contains(&head.status) {
        facts.challenge = challenge(&head);
        return Err(ProxyError::AuthRequired(auth_words(facts.challenge.as_deref())));
    }
    if !head.status.is_success() {
        return Err(ProxyError::Refused(refusal_words(&head)));
    }
    let upgraded = driver.drive(hyper::upgrade::on(Response::from_parts(head, body))).await;
    Ok(Box::new(TokioIo::new(upgraded.map_err(HttpError::from)?)))
}

async fn request(errand: &Errand) -> Result<Request<Full<Bytes>>, HttpError> {
    let authority = authority(&errand.host, errand.port);
    let unusable = |_| HttpError::Request("the proxy cannot be asked for this host".into());
    let mut headers = HeaderMap::new();
    headers.insert(header::HOST, HeaderValue::from_str(&authority).map_err(unusable)?);
    add_headers(&mut headers, &errand.proxy.headers, true).await?;
    add_credentials(&mut headers, &errand.proxy)?;
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(OUR_NAME));
    let unusable = |_| HttpError::Request("the proxy cannot be asked for this host".into());
    let mut request = Request::connect(authority).body(Full::default()).map_err(unusable)?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Adds what the proxy's URL says about who asks.
pub(super) fn add_credentials(headers: &mut HeaderMap, proxy: &Proxy) -> Result<(), HttpError> {
    if let Some((user, password)) = &proxy.url.credentials {
        headers.insert(header::PROXY_AUTHORIZATION, sensitive(&basic(user, password.expose()))?);
    }
    Ok(())
}

/// How a proxy wants to be shown who asks (RFC 9110 section 11.7.1), as one line of printable characters.
pub(super) fn challenge(head: &Parts) -> Option<String> {
    let said = |name: header::HeaderName| head.headers.get_all(name).iter().map(words).collect::<Vec<_>>();
    let mut lines = said(header::PROXY_AUTHENTICATE);
    if lines.is_empty() {
        lines = said(header::WWW_AUTHENTICATE);
    }
    (!lines.is_empty()).then(|| lines.join(", ").chars().take(MAX_WORDS).collect())
}

pub(super) fn auth_words(challenge: Option<&str>) -> String {
    let wants = challenge.map(|challenge| format!(": {challenge}")).unwrap_or_default();
    format!("the proxy wants credentials, or other ones{wants}")
}

fn refusal_words(head: &Parts) -> String {
    let name = head.status.canonical_reason().map(|name| format!(" ({name})")).unwrap_or_default();
    let more = ERROR_HEADERS.iter().find_map(|name| head.headers.get(*name)).map(words);
    let more = more.map(|more| format!(", {more}")).unwrap_or_default();
    format!("status {}{name}{more}", head.status.as_u16())
}

fn words(value: &HeaderValue) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    text.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}
