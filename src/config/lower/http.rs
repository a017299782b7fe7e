//! The `http` block.

use super::super::error::{At, Findings, Wrong, wrong};
use super::super::raw::{RawHeaderMatcher, RawHttp};
use super::super::value;
use super::client::{self, AuthKeys};
use super::tls::{self, text_or_file};
use super::{each, ip, later, oauth2, optional, patterns};
use crate::model::{Body, HeaderMatcher, HttpModule};
use http::{HeaderName, HeaderValue, Method, header};

/// Names that `http_headers` does not take: the client sets them itself. `headers` does.
const RESERVED_HEADERS: &[&str] = &[
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-content-sha256",
];

/// The `http` block.
pub(super) fn block(raw: &mut RawHttp, at: &At, findings: &mut Findings) -> HttpModule {
    refuse_later(raw, at, findings);
    check_tls_wish(raw, at, findings);
    check_compression(raw, at, findings);
    let method = raw.method.get_or_insert_with(|| "GET".to_owned());
    let method = optional(findings, &at.key("method"), Some(method), value::method);
    let limit = optional(findings, &at.key("body_size_limit"), raw.body_size_limit.as_ref(), value::size);
    let codes =
        each(findings, &at.key("valid_status_codes"), raw.valid_status_codes.as_ref(), |&code| value::status(code));
    let versions =
        each(findings, &at.key("valid_http_versions"), raw.valid_http_versions.as_ref(), |v| value::http_version(v));
    let mut bodies = |key: &str, list: Option<&Vec<String>>| patterns(findings, &at.key(key), list);
    let body_matches = bodies("fail_if_body_matches_regexp", raw.fail_if_body_matches_regexp.as_ref());
    let body_not_matches = bodies("fail_if_body_not_matches_regexp", raw.fail_if_body_not_matches_regexp.as_ref());
    let mut matchers = |key: &str, list: Option<&Vec<RawHeaderMatcher>>| matchers(findings, &at.key(key), list);
    let header_matches = matchers("fail_if_header_matches", raw.fail_if_header_matches.as_ref());
    let header_not_matches = matchers("fail_if_header_not_matches", raw.fail_if_header_not_matches.as_ref());
    HttpModule {
        ip: ip(&mut raw.preferred_ip_protocol, &mut raw.ip_protocol_fallback, at, findings),
        valid_status_codes: codes,
        valid_http_versions: versions,
        method: method.unwrap_or(Method::GET),
        headers: plain_headers(raw, at, findings),
        http_headers: client::headers(raw.http_headers.as_ref(), &at.key("http_headers"), findings, reserved),
        body: body(raw, at, findings),
        body_size_limit: limit.flatten(),
        compression: optional(findings, &at.key("compression"), raw.compression.as_ref(), value::compression),
        follow_redirects: follow_redirects(raw),
        fail_if_ssl: raw.fail_if_ssl.unwrap_or_default(),
        fail_if_not_ssl: raw.fail_if_not_ssl.unwrap_or_default(),
        fail_if_body_matches: body_matches,
        fail_if_body_not_matches: body_not_matches,
        fail_if_header_matches: header_matches,
        fail_if_header_not_matches: header_not_matches,
        enable_http2: *raw.enable_http2.get_or_insert(true),
        report_security_headers: raw.report_security_headers.unwrap_or_default(),
        oauth2: oauth2::block(raw.oauth2.as_mut(), at, findings),
        auth: client::auth(auth_keys(raw), at, findings),
        tls: tls::options(raw.tls_config.as_ref(), at, findings),
    }
}

fn refuse_later(raw: &RawHttp, at: &At, findings: &mut Findings) {
    let keys = [
        ("fail_if_body_json_matches_cel", raw.fail_if_body_json_matches_cel),
        ("fail_if_body_json_not_matches_cel", raw.fail_if_body_json_not_matches_cel),
        ("enable_http3", raw.enable_http3),
    ];
    later(findings, at, &keys);
}

fn check_tls_wish(raw: &RawHttp, at: &At, findings: &mut Findings) {
    if raw.fail_if_ssl == Some(true) && raw.fail_if_not_ssl == Some(true) {
        let problem = "`fail_if_ssl` and `fail_if_not_ssl` together fail every probe";
        findings.add(&at.key("fail_if_not_ssl"), wrong(problem, "keep one of the two"));
    }
}

fn check_compression(raw: &RawHttp, at: &At, findings: &mut Findings) {
    let Some(compression) = raw.compression.as_ref().filter(|name| !name.is_empty()) else { return };
    for (name, accepts) in raw.headers.iter().flatten() {
        if name.eq_ignore_ascii_case("accept-encoding") && !value::accepts_encoding(accepts, compression) {
            let problem = format!("the header `{name}: {accepts}` does not let a server answer with `{compression}`");
            findings
                .add(&at.key("compression"), wrong(problem, "name the same compression in both, or remove the header"));
        }
    }
}

fn plain_headers(raw: &RawHttp, at: &At, findings: &mut Findings) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (text, content) in raw.headers.iter().flatten() {
        let at = at.key("headers").key(text);
        let name = findings.take(&at, value::header_name(text));
        let content = findings.take(&at, client::plain_value(text, content));
        let (Some(name), Some(content)) = (name, content) else { continue };
        if name == header::HOST {
            findings.take(&at, host(&content));
        }
        if headers.iter().any(|(other, _)| *other == name) {
            findings.add(&at, client::twice());
        }
        headers.push((name, content));
    }
    headers
}

fn host(content: &HeaderValue) -> Result<(), Wrong> {
    let authority = http::uri::Authority::try_from(content.as_bytes());
    authority.ok().filter(|authority| !authority.as_str().contains('@')).map(drop).ok_or_else(|| {
        wrong("the value of `Host` is not a host", "write a host name, with a port if it is not the scheme's own")
    })
}

fn reserved(name: &HeaderName) -> Option<Wrong> {
    let problem = || format!("`{name}` cannot be set in `http_headers`");
    RESERVED_HEADERS
        .contains(&name.as_str())
        .then(|| wrong(problem(), "set it in `headers`, or by the key made for it"))
}

fn body(raw: &RawHttp, at: &At, findings: &mut Findings) -> Body {
    let source = [raw.body.as_ref(), raw.body_file.as_ref()];
    text_or_file(findings, at, ["body", "body_file"], source).map_or(Body::None, Body::Text)
}

/// The deprecated `no_follow_redirects` wins where it is set, and is shown as the key that replaced it.
fn follow_redirects(raw: &mut RawHttp) -> bool {
    if let Some(no) = raw.no_follow_redirects.take() {
        raw.follow_redirects = Some(!no);
    }
    *raw.follow_redirects.get_or_insert(true)
}

fn matchers(findings: &mut Findings, at: &At, list: Option<&Vec<RawHeaderMatcher>>) -> Vec<HeaderMatcher> {
    let entries = list.into_iter().flatten().enumerate();
    entries.filter_map(|(i, raw)| matcher(findings, &at.index(i), raw)).collect()
}

fn matcher(findings: &mut Findings, at: &At, raw: &RawHeaderMatcher) -> Option<HeaderMatcher> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let header = given(&raw.header).ok_or_else(|| wrong("no header to match", "name one in `header`"));
    let regexp = given(&raw.regexp).ok_or_else(|| wrong("no regular expression", "write one in `regexp`"));
    let header = findings.take(&at.key("header"), header.and_then(|name| value::header_name(&name)));
    let pattern = findings.take(&at.key("regexp"), regexp.and_then(|text| value::pattern(&text)));
    Some(HeaderMatcher { header: header?, pattern: pattern?, allow_missing: raw.allow_missing.unwrap_or_default() })
}

fn auth_keys(raw: &mut RawHttp) -> AuthKeys<'_> {
    AuthKeys {
        basic_auth: raw.basic_auth.as_ref(),
        authorization: raw.authorization.as_mut(),
        bearer_token: raw.bearer_token.as_ref(),
        bearer_token_file: raw.bearer_token_file.as_ref(),
        oauth2: raw.oauth2.is_some(),
    }
}
