//! A report as a page of text: verdict, each hop with its times and names, the chain, what is wrong and what to do.

use super::{
    chain, curl, names, proxy, remedy, resolver, scan, text::millis, text::visible, unix_seconds, utc, verdict_line,
};
use crate::model::{
    Failure, HandshakeKind, Hop, HttpFacts, Phase, PhaseTimes, ProbeReport, ScanFacts, TlsFacts, TokenFacts,
    WebSocketFacts,
};
use std::fmt::Write as _;
use std::time::Duration;

/// Characters shown of a refusal's body; `--json` has the rest.
const BODY_SHOWN: usize = 400;
/// Columns of a bar that lasts as long as the whole hop.
const BAR: usize = 40;

/// What happened, for a person at a terminal. No colours; every line ends with a newline.
pub fn human(report: &ProbeReport) -> String {
    let mut out = Lines(verdict_line(report) + "\n");
    if let Some(failure) = &report.failure {
        out.field("why", failure.reason.explain());
        if !repeats(&failure.cause, failure.reason.explain()) {
            out.field("cause", &failure.cause);
        }
    }
    if let Some(advice) = remedy(report) {
        out.field("do", &advice);
    }
    if let Some(hint) = names::hint(report) {
        out.field("hint", &hint);
    }
    attempts(&mut out, report);
    if let Some(token) = &report.token {
        out.field("token", &token_words(token));
    }
    for (index, hop) in report.hops.iter().enumerate() {
        let failed = report.failure.as_ref().filter(|_| index + 1 == report.hops.len());
        hop_page(&mut out, report, (hop, failed));
    }
    if let Some(line) = curl(report) {
        out.push(&format!("\nrepeat it with\n  {line}"));
    }
    out.0
}

/// Whether a cause is its reason's explanation over again.
fn repeats(cause: &str, explanation: &str) -> bool {
    cause.eq_ignore_ascii_case(explanation.trim_end_matches('.'))
}

fn attempts(out: &mut Lines, report: &ProbeReport) {
    if let Some(first) = &report.retried_after {
        let text = format!("{} (the first failed: {}: {})", report.attempts, first.phase, first.reason);
        out.field("attempts", &text);
    }
    if report.retry_suppressed {
        out.field("retry", "left out: the destination had too many of late (`retry.budget`)");
    }
}

/// Where the token comes from and how long it lives; never the token itself.
fn token_words(token: &TokenFacts) -> String {
    let status = token.status.map(|status| format!(", status {status}")).unwrap_or_default();
    let source = match (token.fetched, token.expires) {
        (true, _) => format!("asked of {}{status}", token.endpoint),
        (false, Some(_)) => format!("at hand, from {}", token.endpoint),
        (false, None) => format!("none of {}{status}", token.endpoint),
    };
    let end = token.expires.map(|end| format!(", until {}", utc(unix_seconds(end)))).unwrap_or_default();
    source + &end
}

fn hop_page(out: &mut Lines, report: &ProbeReport, (hop, failed): (&Hop, Option<&Failure>)) {
    out.push(&format!("\n{}", visible(&hop.url)));
    identities(out, report, hop);
    waterfall(out, &hop.times, failed.map(|failure| failure.phase));
    if let Some(http) = &hop.http {
        response(out, http);
    }
    if let Some(websocket) = &hop.websocket {
        exchange(out, websocket);
    }
    let now = unix_seconds(report.started);
    match (&hop.scan, &hop.tls) {
        (Some(found), tls) => scanned(out, found, tls.as_ref().map(|tls| (tls, now))),
        (None, Some(tls)) => handshake(out, tls, now),
        (None, None) => {}
    }
}

/// Address, SNI and Host; and a note for each pair that disagrees.
fn identities(out: &mut Lines, report: &ProbeReport, hop: &Hop) {
    let unknown = if hop.proxy.is_some() { "left to the proxy" } else { "none" };
    let address = hop.peer.map_or_else(|| unknown.into(), |peer| peer.to_string());
    let others = hop.lookup.as_ref().map_or(0, |lookup| lookup.addresses.len().saturating_sub(1));
    let more = if others > 0 { format!(" (one of {} addresses)", others + 1) } else { String::new() };
    out.field("address", &format!("{address}{more}"));
    for answer in hop.lookup.iter().filter_map(|lookup| lookup.dns.as_ref()).flat_map(|dns| &dns.answers) {
        out.field("resolver", &resolver::answer(answer));
    }
    for dial in &hop.race {
        out.field("dialled", &resolver::dial(dial));
    }
    for (name, words) in hop.proxy.as_deref().map(proxy::fields).unwrap_or_default() {
        out.field(name, &words);
    }
    if let Some(protocol) = report.module.prober.starttls() {
        out.field("STARTTLS", &protocol.to_string());
    }
    if let Some(sni) = names::sni_words(hop) {
        out.field("SNI", &sni);
    }
    if !hop.host_header.is_empty() {
        out.field("Host", &hop.host_header);
    }
    for clash in names::clashes(report, hop) {
        out.field("note", &clash);
    }
}

/// One bar per phase, each beginning where the one before ended.
fn waterfall(out: &mut Lines, times: &PhaseTimes, failed: Option<Phase>) {
    let total: Duration = times.iter().map(|(_, took)| took).sum();
    let mut start = Duration::ZERO;
    for (phase, took) in times.iter() {
        let (from, to) = (column(start, total), column(start + took, total));
        let bar = format!("{}{}", " ".repeat(from.min(BAR - 1)), "#".repeat(to.saturating_sub(from).max(1)));
        let mark = if failed == Some(phase) { "  <- failed" } else { "" };
        out.push(&format!("  {phase:<10} {:>10}  |{bar:<BAR$}|{mark}", millis(took)));
        start += took;
    }
}

/// Where a moment of a hop that lasts `total` lies on the bar: 0 to [`BAR`].
fn column(at: Duration, total: Duration) -> usize {
    let whole = total.as_micros().max(1);
    usize::try_from(at.as_micros() * BAR as u128 / whole).unwrap_or(BAR).min(BAR)
}

fn response(out: &mut Lines, http: &HttpFacts) {
    let read = if http.body_length > 0 { format!(", {} bytes read", http.body_length) } else { String::new() };
    let length = http.content_length.map_or(String::new(), |n| format!(", Content-Length {n}"));
    out.field("response", &format!("{} HTTP/{:.1}{read}{length}", http.status, http.version));
    if let Some(location) = &http.redirect {
        out.field("redirect", &format!("to {location}"));
    }
    if let Some(hsts) = http.hsts {
        let subdomains = if hsts.include_subdomains { ", includeSubDomains" } else { "" };
        let preload = if hsts.preload { ", preload" } else { "" };
        out.field("HSTS", &format!("max-age {}{subdomains}{preload}", hsts.max_age));
    }
}

fn exchange(out: &mut Lines, websocket: &WebSocketFacts) {
    let mut parts = vec![if websocket.upgraded { "upgraded".to_owned() } else { "not upgraded".to_owned() }];
    parts.extend(websocket.subprotocol.as_ref().map(|name| format!("subprotocol {name}")));
    parts.extend(websocket.ping_rtt.map(|rtt| format!("ping {}", millis(rtt))));
    parts.extend(match websocket.messages {
        0 => None,
        1 => Some("1 message received".to_owned()),
        many => Some(format!("{many} messages received")),
    });
    parts.extend(websocket.close_code.map(|code| format!("close code {code}")));
    parts.extend(Some(&websocket.close_words).filter(|words| !words.is_empty()).map(|words| format!("\"{words}\"")));
    parts.extend((websocket.close_clean == Some(false)).then(|| "not closed in good order".to_owned()));
    out.field("WebSocket", &parts.join(", "));
    if let Some(body) = &websocket.refusal {
        let start: String = body.chars().take(BODY_SHOWN).collect();
        let more = if start.len() < body.len() { " ..." } else { "" };
        out.field("body", &format!("{start}{more}"));
    }
}

fn handshake(out: &mut Lines, tls: &TlsFacts, now: i64) {
    let mut parts: Vec<String> = tls.version.map(|version| version.to_string()).into_iter().collect();
    parts.extend(tls.cipher.clone());
    parts.extend(tls.group.clone());
    parts.push(tls.alpn.as_ref().map_or("no ALPN".into(), |protocol| format!("ALPN {protocol}")));
    parts.extend((tls.kind == Some(HandshakeKind::FullWithHelloRetry)).then(|| "hello retry".into()));
    parts.push(format!("{} bytes received, {} sent", tls.received_bytes, tls.sent_bytes));
    parts.extend((!tls.completed).then(|| "handshake not completed".into()));
    parts.extend((tls.client_cert_requested == Some(true)).then(|| "client certificate requested".into()));
    parts.extend(tls.ocsp_stapled.then(|| "OCSP staple".into()));
    out.field("TLS", &parts.join(", "));
    if let Some(not_after) = tls.client_cert_not_after {
        out.field("client", &chain::own_certificate(not_after, now));
    }
    if let Some(verdict) = &tls.verdict {
        out.push("  checks");
        out.0.push_str(&chain::verdict_lines(verdict, "    "));
    }
    let revocation = chain::revocation(&tls.revocation);
    if !revocation.is_empty() {
        out.push("  revocation");
        for (source, words) in revocation {
            out.push(&format!("    {source:<14}  {}", visible(&words)));
        }
    }
    if !tls.chain.is_empty() {
        out.push("  chain");
        out.0.push_str(&chain::chain_lines(tls, now, "    "));
    }
}

fn scanned(out: &mut Lines, found: &ScanFacts, tls: Option<(&TlsFacts, i64)>) {
    out.0.push_str(&scan::lines(found, "  "));
    if let (Some(version), Some((tls, now))) = (found.chain_version, tls) {
        out.push(&format!("  chain, seen in {version}; that the server holds its key was not checked"));
        out.0.push_str(&chain::chain_lines(tls, now, "    "));
    }
}

/// The page so far.
struct Lines(String);

impl Lines {
    fn push(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("a String takes everything");
    }

    /// A named value; what a peer may have supplied is made visible here.
    fn field(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.push(&format!("  {name:<10} {}", visible(value)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::model::{CrlFacts, OcspFacts, OcspStatus, Reason, RevocationFacts};

    #[test]
    fn a_success_reads_from_verdict_to_command() {
        let page = human(&fixture::success());
        let expected = "\
ok  https://user:xxxxx@www.example.com/x?q=1  module site, 100.0 ms

https://www.example.com/x?q=1
  address    192.0.2.7:443
  SNI        www.example.com
  Host       www.example.com
  resolve       10.0 ms  |####                                    |
  connect       20.0 ms  |    ########                            |
  tls           40.0 ms  |            ################            |
  processing    30.0 ms  |                            ############|
  response   200 HTTP/2.0, 12 bytes read
  TLS        TLS 1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768, ALPN h2, 3021 bytes received, 1712 sent
  checks
    proof     ok
    validity  ok
    chain     ok
    name      ok
  chain
    leaf  CN=www.example.com
          issuer  CN=Example CA
          names   www.example.com, *.example.org
          valid   2025-12-23 00:00:00 UTC to 2026-01-22 00:00:00 UTC: 20 days left, 33 % of its life used
          key     ECDSA P-256, signed with ecdsa-with-SHA256

repeat it with
  curl -v --connect-to www.example.com:443:192.0.2.7:443 'https://www.example.com/x?q=1'
";
        assert_eq!(page, expected);
    }

    #[test]
    fn a_failure_says_why_where_and_what_to_do() {
        let mut report = fixture::failed(Phase::Tls, Reason::CertExpired);
        let tls = report.hops[0].tls.as_mut().unwrap();
        let verdict = tls.verdict.as_mut().unwrap();
        verdict.validity = Err((Reason::CertExpired, "the leaf ended".into()));
        let mut old = fixture::certificate();
        old.not_after = fixture::NOW - 3 * 86_400;
        tls.chain = vec![old].into();
        let page = human(&report);
        for part in [
            "FAILED tls: cert_expired  https://user:xxxxx@",
            "  why        A certificate of the path is past its last day.\n",
            "  cause      what was\\nfound\n",
            "  do         renew the certificate of \"CN=www.example.com\", which ended on 2025-12-30 00:00:00 UTC\n",
            "################            |  <- failed\n",
            "    validity  cert_expired: the leaf ended\n",
            "expired 3 days ago",
        ] {
            assert!(page.contains(part), "{part} is missing in:\n{page}");
        }
        assert!(!page.contains("hunter2"));
    }

    #[test]
    fn a_token_is_told_by_where_it_comes_from() {
        let mut report = fixture::success();
        let endpoint = "https://auth.example/token".to_owned();
        let mut token = TokenFacts { endpoint, fetched: true, status: Some(200), expires: Some(report.started) };
        let mut line = |token: &TokenFacts| {
            report.token = Some(Box::new(token.clone()));
            human(&report).lines().find(|line| line.starts_with("  token")).unwrap().to_owned()
        };
        let end = "until 2026-01-02 00:00:00 UTC";
        assert_eq!(line(&token), format!("  token      asked of https://auth.example/token, status 200, {end}"));
        token.fetched = false;
        assert_eq!(line(&token), format!("  token      at hand, from https://auth.example/token, {end}"));
        (token.status, token.expires) = (Some(401), None);
        assert_eq!(line(&token), "  token      none of https://auth.example/token, status 401");
    }

    #[test]
    fn what_was_learned_about_revocation_has_a_line_per_source() {
        let mut report = fixture::success();
        let tls = report.hops[0].tls.as_mut().unwrap();
        tls.revocation = RevocationFacts {
            must_staple: true,
            staple: Some(OcspFacts {
                this_update: Some(fixture::NOW - 86_400),
                next_update: Some(fixture::NOW + 86_400),
                ..OcspFacts::nothing(OcspStatus::Good, "")
            }),
            responder: Some(OcspFacts::nothing(OcspStatus::Unreachable, "no answer\n")),
            crl: Some(CrlFacts { problem: "outdated".into(), ..CrlFacts::default() }),
        };
        tls.verdict.as_mut().unwrap().revocation = Some(Ok(()));
        let page = human(&report);
        let expected = "    revocation  ok
  revocation
    must-staple     the certificate demands a stapled OCSP response
    OCSP staple     good, from 2026-01-01 00:00:00 UTC to 2026-01-03 00:00:00 UTC
    OCSP responder  unreachable: no answer\\n
    CRL             no answer: outdated
";
        assert!(page.contains(expected), "{page}");
    }

    #[test]
    fn what_a_peer_sent_cannot_steer_the_terminal() {
        let mut report = fixture::success();
        let http = report.hops[0].http.as_mut().unwrap();
        http.redirect = Some("/\x1b]0;owned\x07".into());
        let mut evil = fixture::certificate();
        evil.subject = "CN=\u{202e}evil\r\n".into();
        evil.dns_names = vec!["\x1b[2J".into()];
        report.hops[0].tls.as_mut().unwrap().chain = vec![evil].into();
        let page = human(&report);
        assert!(page.chars().all(|c| c == '\n' || !super::super::text::is_hidden(c)), "{page:?}");
    }
}
