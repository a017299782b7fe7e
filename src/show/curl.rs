//! The command that asks the same server the same question: curl, or `openssl s_client` where no HTTP is spoken.
//!
//! Address, SNI and Host are those of the report's last hop. Credentials and the module's own headers are never in it; where a
//! bearer token was shown stands its mask.

use super::{names, proxy, text::shell};
use crate::model::{
    Hop, HttpModule, ProbeReport, Prober, Secret, SecretText, StartTls, Target, TextSource, TlsOptions, TlsVersion,
    WebSocketModule,
};
use http::Method;
use std::net::{IpAddr, SocketAddr};

/// Key of the example handshake in RFC 6455 section 1.3: any key will do for a look by hand.
const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// One line for a POSIX shell that repeats the last hop, or `None` when there is no hop with a readable URL.
pub fn curl(report: &ProbeReport) -> Option<String> {
    let hop = report.last_hop()?;
    let target = names::target_of(report, hop)?;
    let mut words = match &report.module.prober {
        Prober::Tls(_) | Prober::TlsScan(_) => return s_client(report, hop, &target),
        Prober::Http(module) => http_words(module, report),
        Prober::WebSocket(module) => websocket_words(module),
    };
    if target.scheme().is_tls() {
        words.extend(tls_words(report.module.prober.tls()));
    }
    if shows_token(report, &target) {
        words.extend(["-H".into(), format!("Authorization: Bearer {}", Secret::MASK)]);
    }
    words.extend(place_words(report, hop, &target));
    let line: Vec<String> = ["curl".to_owned(), "-v".to_owned()].into_iter().chain(words).map(|w| shell(&w)).collect();
    Some(line.join(" "))
}

/// Whether the last hop was asked with a bearer token, as far as its host tells.
fn shows_token(report: &ProbeReport, last: &Target) -> bool {
    let first = report.hops.first().and_then(|hop| names::target_of(report, hop));
    report.token.is_some() && first.is_some_and(|first| first.same_host(last))
}

fn http_words(module: &HttpModule, report: &ProbeReport) -> Vec<String> {
    let mut words = Vec::new();
    if !module.enable_http2 {
        words.push("--http1.1".into());
    }
    match method(module, report) {
        Method::GET => {}
        Method::HEAD => words.push("--head".into()),
        other => words.extend(["-X".into(), other.to_string()]),
    }
    words
}

/// The last hop's method: 301, 302 and 303 turn all but HEAD into GET, as the probe does (RFC 9110 section 15.4).
fn method(module: &HttpModule, report: &ProbeReport) -> Method {
    let (_, before) = report.hops.split_last().expect("the caller has a last hop");
    let mut statuses = before.iter().filter_map(|hop| hop.http.as_ref()).map(|http| http.status);
    let became_get = module.method != Method::HEAD && statuses.any(|status| matches!(status, 301..=303));
    if became_get { Method::GET } else { module.method.clone() }
}

fn websocket_words(module: &WebSocketModule) -> Vec<String> {
    let mut words = vec!["--http1.1".to_owned()];
    let mut header = |text: String| words.extend(["-H".to_owned(), text]);
    header("Connection: Upgrade".into());
    header("Upgrade: websocket".into());
    header("Sec-WebSocket-Version: 13".into());
    header(format!("Sec-WebSocket-Key: {WEBSOCKET_KEY}"));
    if !module.subprotocols.is_empty() {
        header(format!("Sec-WebSocket-Protocol: {}", module.subprotocols.join(", ")));
    }
    if let Some(origin) = module.origin.as_ref().and_then(|value| value.to_str().ok()) {
        header(format!("Origin: {origin}"));
    }
    words
}

/// Trust, client certificate (by file name only) and versions, where they are not the default.
fn tls_words(tls: &TlsOptions) -> Vec<String> {
    let mut words = Vec::new();
    if tls.insecure_skip_verify {
        words.push("-k".into());
    }
    if let Some(TextSource::File(path)) = &tls.trust.ca {
        words.extend(["--cacert".into(), path.display().to_string()]);
    }
    if let Some(path) = &tls.trust.folder {
        words.extend(["--capath".into(), path.display().to_string()]);
    }
    if let Some(identity) = &tls.identity
        && let (TextSource::File(cert), SecretText::File(key)) = (&identity.cert, &identity.key)
    {
        words.extend(["--cert".into(), cert.display().to_string(), "--key".into(), key.display().to_string()]);
    }
    if tls.min_version != TlsVersion::Tls12 {
        words.push(format!("--tlsv{}", number(tls.min_version)));
    }
    if tls.max_version != TlsVersion::Tls13 {
        words.extend(["--tls-max".into(), number(tls.max_version).into()]);
    }
    words
}

fn number(version: TlsVersion) -> &'static str {
    let name: &'static str = version.into();
    name.trim_start_matches("TLS ")
}

/// The address, the Host header and the URL, so that curl dials, names and asks what the probe did.
///
/// curl takes the SNI from the URL; when the probe's differs from the URL's host, the URL gets the SNI instead, and the
/// Host header is given by hand.
fn place_words(report: &ProbeReport, hop: &Hop, target: &Target) -> Vec<String> {
    let host = bracketed(&target.host().to_string());
    let tls_name = hop.tls.as_ref().map(|tls| bracketed(tls.sni.as_ref().unwrap_or(&tls.server_name)));
    let tls_name = tls_name.filter(|name| !name.is_empty());
    let sni = tls_name.filter(|name| *name != host);
    let url_host = sni.as_ref().unwrap_or(&host);
    let port = target.port();
    let mut words = Vec::new();
    let directly = hop.peer.filter(|_| hop.proxy.is_none());
    if let Some(facts) = &hop.proxy {
        words.extend(proxy::curl_words(facts, report.module.proxy.as_ref(), &format!("{url_host}:{port}")));
    }
    match directly {
        Some(peer) if sni.is_some() && peer.port() == port && is_name(url_host) => {
            words.extend(["--resolve".into(), format!("{url_host}:{port}:{}", address(peer))]);
        }
        Some(peer) if *url_host != address(peer) || peer.port() != port => {
            let to = format!("{url_host}:{port}:{}:{}", address(peer), peer.port());
            words.extend(["--connect-to".into(), to]);
        }
        _ => {}
    }
    let (scheme, default_port) = if target.scheme().is_tls() { ("https", 443) } else { ("http", 80) };
    let authority = if port == default_port { url_host.clone() } else { format!("{url_host}:{port}") };
    if !hop.host_header.is_empty() && !hop.host_header.eq_ignore_ascii_case(&authority) {
        words.extend(["-H".into(), format!("Host: {}", hop.host_header)]);
    }
    if target.path_and_query().contains(['[', ']', '{', '}']) {
        words.push("-g".into()); // or curl takes them for a range of URLs
    }
    words.push(format!("{scheme}://{authority}{}", target.path_and_query()));
    words
}

/// `openssl s_client` with the probe's address and SNI. Its `-connect` takes brackets; of proxies it knows those of plain
/// HTTP.
fn s_client(report: &ProbeReport, hop: &Hop, target: &Target) -> Option<String> {
    let host = target.host().to_string();
    let to = match (&hop.proxy, hop.peer) {
        (Some(facts), _) => facts.asked_for.clone(),
        (None, Some(peer)) => format!("{}:{}", address(peer), peer.port()),
        (None, None) => format!("{}:{}", bracketed(&host), target.port()),
    };
    let through = match &hop.proxy {
        Some(facts) => format!("-proxy {} ", shell(facts.url.strip_prefix("http://")?)),
        None => String::new(),
    };
    let name = hop.tls.as_ref().map(|tls| tls.server_name.clone()).filter(|name| !name.is_empty()).unwrap_or(host);
    let servername = match hop.tls.as_ref().map_or_else(|| is_name(&name).then_some(&name), |tls| tls.sni.as_ref()) {
        Some(sni) => format!("-servername {}", shell(sni)),
        None => "-noservername".to_owned(),
    };
    let verify = if is_name(&name) {
        format!("-verify_hostname {}", shell(&name))
    } else {
        let ip = name.split('%').next().unwrap_or(&name); // without its zone
        format!("-verify_ip {}", shell(ip))
    };
    let first = match report.module.prober.starttls() {
        Some(StartTls::Xmpp) => format!("-starttls xmpp -xmpphost {} ", shell(&name)),
        Some(protocol) => format!("-starttls {protocol} "), // openssl uses the same words
        None => String::new(),
    };
    Some(format!(
        "openssl s_client {first}{through}-connect {} {servername} {verify} -showcerts </dev/null",
        shell(&to)
    ))
}

fn is_name(host: &str) -> bool {
    !host.starts_with('[') && host.parse::<IpAddr>().is_err() && !host.contains('%')
}

/// An address as URLs and curl write it, its zone as a number.
fn address(peer: SocketAddr) -> String {
    match peer {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) if v6.scope_id() != 0 => format!("[{}%{}]", v6.ip(), v6.scope_id()),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::model::{Auth, TlsModule, TokenFacts};

    #[test]
    fn a_plain_https_probe_is_pinned_to_its_address() {
        let line = curl(&fixture::success()).unwrap();
        let expected = "curl -v --connect-to www.example.com:443:192.0.2.7:443 'https://www.example.com/x?q=1'";
        assert_eq!(line, expected);
    }

    #[test]
    fn a_different_sni_becomes_the_url_and_host_is_given_by_hand() {
        let mut report = fixture::success();
        let hop = &mut report.hops[0];
        hop.tls.as_mut().unwrap().sni = Some("edge.example".into());
        hop.peer = Some("[2001:db8::1]:443".parse().unwrap());
        let line = curl(&report).unwrap();
        assert_eq!(
            line,
            "curl -v --resolve 'edge.example:443:[2001:db8::1]' -H 'Host: www.example.com' 'https://edge.example/x?q=1'"
        );
        report.hops[0].peer = Some("192.0.2.7:8443".parse().unwrap());
        assert!(curl(&report).unwrap().contains("--connect-to edge.example:443:192.0.2.7:8443"));
    }

    #[test]
    fn settings_are_repeated_and_secrets_are_not() {
        let mut module = fixture::http_module();
        module.enable_http2 = false;
        module.method = Method::POST;
        module.tls.insecure_skip_verify = true;
        module.tls.max_version = TlsVersion::Tls12;
        let secret = || SecretText::Inline(Secret::new("hunter2"));
        module.auth = Some(Auth::Basic { username: secret(), password: Some(secret()) });
        let mut report = fixture::report("https://u:hunter2@www.example.com/", Prober::Http(Box::new(module)));
        let line = curl(&report).unwrap();
        assert!(line.starts_with("curl -v --http1.1 -X POST -k --tls-max 1.2 --connect-to "), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
        report.hops[0].http.as_mut().unwrap().status = 303;
        report.hops.push(fixture::hop());
        assert!(!curl(&report).unwrap().contains("POST"));
    }

    #[test]
    fn the_mask_stands_where_a_token_was_shown() {
        let mut report = fixture::success();
        report.token = Some(Box::new(TokenFacts::default()));
        assert!(curl(&report).unwrap().starts_with("curl -v -H 'Authorization: Bearer <secret>' --connect-to "));
        report.hops.push(fixture::hop());
        report.hops[1].url = "https://elsewhere.example/".into();
        assert!(!curl(&report).unwrap().contains("Bearer"));
    }

    #[test]
    fn a_websocket_is_an_upgrade_request() {
        let mut report =
            fixture::report("wss://h.example:8443/", Prober::WebSocket(Box::new(fixture::websocket_module())));
        let hop = &mut report.hops[0];
        hop.url = "wss://h.example:8443/chat".into();
        hop.host_header = "h.example:8443".into();
        hop.tls.as_mut().unwrap().sni = Some("h.example".into());
        hop.peer = Some("192.0.2.7:8443".parse().unwrap());
        let line = curl(&report).unwrap();
        assert!(line.contains("-H 'Upgrade: websocket'"), "{line}");
        assert!(line.contains("-H 'Sec-WebSocket-Protocol: chat'"), "{line}");
        assert!(line.ends_with("--connect-to h.example:8443:192.0.2.7:8443 https://h.example:8443/chat"), "{line}");
    }

    #[test]
    fn a_tls_probe_is_s_client() {
        let mut report = fixture::report("www.example.com", Prober::Tls(Box::new(fixture::tls_module())));
        report.hops[0].url = "www.example.com:443".into();
        assert_eq!(
            curl(&report).unwrap(),
            "openssl s_client -connect 192.0.2.7:443 -servername www.example.com -verify_hostname www.example.com \
             -showcerts </dev/null"
        );
    }

    #[test]
    fn starttls_is_spoken_by_s_client_too() {
        for (starttls, expected) in [
            (StartTls::Smtp, "openssl s_client -starttls smtp -connect 192.0.2.7:443 "),
            (
                StartTls::Xmpp,
                "openssl s_client -starttls xmpp -xmpphost www.example.com -connect 192.0.2.7:443 -servername www.e",
            ),
        ] {
            let module = TlsModule { starttls: Some(starttls), ..TlsModule::default() };
            let mut report = fixture::report("www.example.com", Prober::Tls(Box::new(module)));
            report.hops[0].url = "www.example.com:443".into();
            let line = curl(&report).unwrap();
            assert!(line.starts_with(expected), "{line}");
        }
    }

    #[test]
    fn nothing_of_a_hostile_target_reaches_the_shell() {
        let mut report = fixture::success();
        report.hops[0].url = "https://www.example.com/$(reboot)'?{a,b}".into();
        let line = curl(&report).unwrap();
        assert!(line.ends_with(r"'https://www.example.com/$(reboot)'\''?{a,b}'"), "{line}");
        assert!(line.contains(" -g "), "{line}");
    }
}
