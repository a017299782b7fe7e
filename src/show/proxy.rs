//! The proxy on the way: in words, as JSON, and as arguments of curl. Its credentials are known to none of them.

use super::chain;
use crate::model::{ProxyFacts, ProxyOptions, SecretText, TextSource, TlsFacts, Verdict};
use serde_json::{Value, json};

/// Named values for a person.
pub(super) fn fields(proxy: &ProxyFacts) -> Vec<(&'static str, String)> {
    let at = proxy.peer.map(|peer| format!(" at {peer}")).unwrap_or_default();
    let asked = if proxy.tunnel { "asked for a tunnel to" } else { "given the request for" };
    let name = if proxy.resolves { ", whose name it looks up" } else { "" };
    let mut fields = vec![("proxy", format!("{}{at}, {asked} {}{name}", proxy.url, proxy.asked_for))];
    if let Some(status) = proxy.status {
        let what = if proxy.kind.is_http() { "status" } else { "reply" };
        let challenge = proxy.challenge.as_ref().map(|challenge| format!(", wants {challenge}")).unwrap_or_default();
        fields.push(("answered", format!("{what} {status}{challenge}")));
    }
    if let Some(tls) = &proxy.tls {
        fields.push(("its TLS", tls_words(tls)));
    }
    fields
}

/// Version and verdict of the handshake with the proxy.
fn tls_words(tls: &TlsFacts) -> String {
    let version = tls.version.map(|version| format!("{version}, ")).unwrap_or_default();
    let verdict = tls.verdict.as_ref().map_or_else(|| "no certificate".to_owned(), verdict_words);
    format!("{version}as {}: {verdict}", tls.server_name)
}

fn verdict_words(verdict: &Verdict) -> String {
    let faults = chain::checks(verdict).filter_map(|(_, check)| check.as_ref().err());
    let faults: Vec<String> = faults.map(|(reason, words)| format!("{reason} ({words})")).collect();
    if faults.is_empty() { "certificate ok".into() } else { faults.join(", ") }
}

/// Everything about it; header values stay out.
pub(super) fn json(proxy: &ProxyFacts, tls: impl Fn(&TlsFacts) -> Value) -> Value {
    json!({
        "url": proxy.url,
        "kind": proxy.kind.to_string(),
        "peer": proxy.peer,
        "asked_for": proxy.asked_for,
        "tunnel": proxy.tunnel,
        "resolves": proxy.resolves,
        "status": proxy.status,
        "headers": proxy.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "challenge": proxy.challenge,
        "tls": proxy.tls.as_ref().map(tls),
    })
}

/// The arguments that send curl through the proxy to what it was asked for; `own` is host and port of the URL.
pub(super) fn curl_words(proxy: &ProxyFacts, options: Option<&ProxyOptions>, own: &str) -> Vec<String> {
    let mut words = vec!["--proxy".to_owned(), proxy.url.clone()];
    let tls = options.and_then(|options| options.tls.as_ref()).filter(|_| proxy.url.starts_with("https:"));
    if let Some(tls) = tls {
        if tls.insecure_skip_verify {
            words.push("--proxy-insecure".into());
        }
        if let Some(TextSource::File(path)) = &tls.trust.ca {
            words.extend(["--proxy-cacert".into(), path.display().to_string()]);
        }
        if let Some(identity) = &tls.identity
            && let (TextSource::File(cert), SecretText::File(key)) = (&identity.cert, &identity.key)
        {
            let [cert, key] = [cert, key].map(|path| path.display().to_string());
            words.extend(["--proxy-cert".into(), cert, "--proxy-key".into(), key]);
        }
    }
    if proxy.tunnel && proxy.kind.is_http() {
        words.push("--proxytunnel".into());
    }
    if proxy.asked_for != own {
        words.extend(["--connect-to".into(), format!("{own}:{}", proxy.asked_for)]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::super::{curl, debug::LogFormat, fixture, human, json};
    use super::*;
    use crate::model::{Phase, PhaseTimes, ProbeReport, Prober, ProxyKind, Reason};
    use std::time::Duration;

    fn proxied() -> ProbeReport {
        let mut report = fixture::success();
        let hop = &mut report.hops[0];
        (hop.peer, hop.lookup) = (None, None);
        hop.times = PhaseTimes::default();
        hop.times.add(Phase::Proxy, Duration::from_millis(60));
        hop.proxy = Some(Box::new(ProxyFacts {
            url: "https://proxy.example:3129".into(),
            kind: ProxyKind::Https,
            peer: Some("192.0.2.8:3129".parse().unwrap()),
            asked_for: "www.example.com:443".into(),
            tunnel: true,
            resolves: true,
            status: Some(407),
            headers: vec![("x-secret".into(), "hunter2".into())],
            challenge: Some("Basic realm=\"a\u{1b}b\"".into()),
            tls: hop.tls.clone(),
        }));
        report
    }

    #[test]
    fn a_person_sees_the_proxy_apart_from_the_target() {
        let page = human(&proxied());
        let expected = "  address    left to the proxy
  proxy      https://proxy.example:3129 at 192.0.2.8:3129, asked for a tunnel to www.example.com:443, whose name it looks up
  answered   status 407, wants Basic realm=\"a\\u001bb\"
  its TLS    TLS 1.3, as www.example.com: certificate ok
";
        assert!(page.contains(expected), "{page}");
        let value = json(&proxied());
        assert_eq!(value["hops"][0]["proxy"]["tls"]["version"], "TLS 1.3");
        assert!(!value.to_string().contains("hunter2"));
        let text = super::super::debug(&proxied(), "", LogFormat::Logfmt, tracing::Level::INFO);
        assert!(text.contains("00.060Z level=INFO msg=\"Asked the proxy\""), "{text}");
    }

    #[test]
    fn the_command_goes_through_the_proxy_to_the_same_place() {
        let mut report = proxied();
        let line = curl(&report).unwrap();
        let expected = "curl -v --proxy https://proxy.example:3129 --proxytunnel 'https://www.example.com/x?q=1'";
        assert_eq!(line, expected);
        let proxy = report.hops[0].proxy.as_mut().unwrap();
        (proxy.url, proxy.kind) = ("socks5://proxy.example:1080".into(), ProxyKind::Socks5);
        proxy.asked_for = "[2001:db8::1]:8443".into();
        let line = curl(&report).unwrap();
        let expected =
            "--proxy socks5://proxy.example:1080 --connect-to 'www.example.com:443:[2001:db8::1]:8443' 'https:";
        assert!(line.contains(expected), "{line}");
    }

    #[test]
    fn openssl_knows_http_proxies_only() {
        let mut report = fixture::report("www.example.com", Prober::Tls(Box::new(fixture::tls_module())));
        report.hops = proxied().hops;
        report.hops[0].url = "www.example.com:443".into();
        assert_eq!(curl(&report), None);
        let proxy = report.hops[0].proxy.as_mut().unwrap();
        (proxy.url, proxy.kind) = ("http://proxy.example:3128".into(), ProxyKind::Http);
        let line = curl(&report).unwrap();
        assert!(line.starts_with("openssl s_client -proxy proxy.example:3128 -connect www.example.com:443 "), "{line}");
    }

    #[test]
    fn a_bad_certificate_of_the_proxy_is_named() {
        let mut report = proxied();
        let tls = report.hops[0].proxy.as_mut().unwrap().tls.as_mut().unwrap();
        tls.verdict.as_mut().unwrap().name = Err((Reason::CertWrongName, "for another".into()));
        assert!(human(&report).contains("its TLS    TLS 1.3, as www.example.com: cert_wrong_name (for another)"));
    }
}
