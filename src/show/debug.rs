//! The debug report: `blackbox_exporter`'s three parts, then the failure, the chain and the command to repeat it.
//!
//! The log lines are not recorded while probing; they are told from the report's facts, at the times it kept.

use super::{chain, curl, names, remedy, resolver, rfc3339, scan, text::is_hidden, unix_seconds};
use crate::model::{
    Answer, CertificateChange, Hop, HttpFacts, Phase, ProbeReport, ProxyFacts, ScanFacts, TlsFacts, TokenFacts,
    WebSocketFacts,
};
use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime};
use strum::EnumString;
use tracing::Level;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, EnumString, Eq, PartialEq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum LogFormat {
    /// `key=value` pairs.
    #[default]
    Logfmt,
    /// One JSON object per line.
    Json,
}

/// The report that `/probe?debug=true` and `/logs` serve. Log lines below `level` are left out.
pub fn debug(report: &ProbeReport, metrics_text: &str, format: LogFormat, level: Level) -> String {
    let mut out = String::from("Logs for the probe:\n");
    for line in story(report).iter().filter(|line| line.level <= level) {
        out.push_str(&line.render(report, format));
    }
    section(&mut out, "Metrics that would have been returned:", metrics_text);
    section(&mut out, "Module configuration:", &report.module.yaml);
    if let Some(failure) = &report.failure {
        let advice = remedy(report).unwrap_or_default();
        let cause = super::visible(&failure.cause);
        let text =
            format!("phase:  {}\nreason: {}\ncause:  {cause}\nremedy: {advice}\n", failure.phase, failure.reason);
        section(&mut out, "Failure:", &text);
    }
    if let Some(tls) = report.tls().filter(|tls| !tls.chain.is_empty()) {
        section(&mut out, "Certificate chain:", &chain::chain_lines(tls, unix_seconds(report.started), ""));
    }
    if let Some(command) = curl(report) {
        section(&mut out, "Repeat it with:", &command);
    }
    out
}

/// What `/logs` adds to the debug report of a series whose leaf certificate was replaced.
pub fn certificate_change(change: &CertificateChange) -> String {
    let mut out = String::new();
    section(&mut out, "Certificate change:", &chain::change_text(change));
    out
}

/// Three blank lines, a title, and a text that ends with a newline.
fn section(out: &mut String, title: &str, text: &str) {
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    write!(out, "\n\n\n{title}\n{text}{end}").expect("a String takes everything");
}

/// One log line.
struct Line {
    level: Level,
    at: SystemTime,
    msg: &'static str,
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn with(mut self, name: &'static str, value: impl Display) -> Self {
        self.fields.push((name, value.to_string()));
        self
    }

    fn with_some(self, name: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn render(&self, report: &ProbeReport, format: LogFormat) -> String {
        let time = rfc3339(self.at);
        let target = report.job.shown_target();
        let known = [("module", report.module.name.as_str()), ("target", &target)];
        let fields = known.into_iter().chain(self.fields.iter().map(|(name, value)| (*name, value.as_str())));
        match format {
            LogFormat::Logfmt => {
                let start = format!("time={time} level={} msg={}", self.level, quoted(self.msg, true));
                fields.fold(start, |line, (name, value)| format!("{line} {name}={}", quoted(value, false))) + "\n"
            }
            LogFormat::Json => {
                let start = format!("{{\"time\":\"{time}\",\"level\":\"{}\",\"msg\":{}", self.level, string(self.msg));
                fields.fold(start, |line, (name, value)| format!("{line},\"{name}\":{}", string(value))) + "}\n"
            }
        }
    }
}

/// A logfmt value: in quotes when it must be.
fn quoted(value: &str, always: bool) -> String {
    let plain = |c: char| !c.is_whitespace() && !is_hidden(c) && !"=\"\\".contains(c);
    if !always && !value.is_empty() && value.chars().all(plain) { value.to_owned() } else { string(value) }
}

/// A JSON string, also of what JSON would let through but a terminal would not.
fn string(value: &str) -> String {
    let json = serde_json::Value::from(value).to_string();
    if !json.contains(is_hidden) {
        return json;
    }
    json.chars().map(|c| if is_hidden(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect()
}

/// The lines being told, and where on the clock the telling is.
struct Story {
    lines: Vec<Line>,
    now: SystemTime,
}

impl Story {
    fn say(&mut self, level: Level, msg: &'static str, fields: impl FnOnce(Line) -> Line) {
        self.lines.push(fields(Line { level, at: self.now, msg, fields: Vec::new() }));
    }

    fn pass(&mut self, hop: &Hop, phase: Phase) {
        self.now += hop.times.get(phase).unwrap_or_default();
    }
}

/// What happened, in order. Facts are at info; announcements and passed checks at debug.
fn story(report: &ProbeReport) -> Vec<Line> {
    let mut story = Story { lines: Vec::new(), now: report.started };
    let site = report.site();
    story.say(Level::INFO, "Beginning probe", |line| {
        line.with("prober", report.module.prober.kind())
            .with("timeout_seconds", report.timeout.as_secs_f64())
            .with_some("hostname", site.hostname.as_deref())
            .with_some("connect_to", site.connect_to.as_ref())
            .with_some("sni", site.sni.as_ref())
            .with_some("verify_name", site.verify_name.as_deref())
    });
    if let Some(first) = &report.retried_after {
        story.say(Level::WARN, "First attempt failed, trying again", |line| {
            line.with("phase", first.phase).with("reason", first.reason).with("cause", &first.cause)
        });
        let last_attempt: Duration = report.times().iter().map(|(_, took)| took).sum();
        story.now += report.elapsed.saturating_sub(last_attempt);
    }
    if let Some((token, hop)) = report.token.as_deref().zip(report.hops.first()) {
        tell_token(&mut story, token, hop);
    }
    for hop in &report.hops {
        tell_hop(&mut story, report, hop);
    }
    if let Some(hint) = names::hint(report) {
        story.say(Level::WARN, "Hint", |line| line.with("hint", hint));
    }
    story.now = report.started + report.elapsed;
    if report.retry_suppressed {
        story.say(Level::WARN, "Retry left out, the destination had too many of late", |line| line);
    }
    let seconds = report.elapsed.as_secs_f64();
    match &report.failure {
        None => story.say(Level::INFO, "Probe succeeded", |line| line.with("duration_seconds", seconds)),
        Some(failure) => story.say(Level::ERROR, "Probe failed", |line| {
            line.with("phase", failure.phase)
                .with("reason", failure.reason)
                .with("cause", &failure.cause)
                .with("duration_seconds", seconds)
        }),
    }
    story.lines
}

/// The token itself is never told.
fn tell_token(story: &mut Story, token: &TokenFacts, hop: &Hop) {
    story.say(Level::DEBUG, "Getting bearer token", |line| line.with("endpoint", &token.endpoint));
    story.pass(hop, Phase::Token);
    let (level, msg) = match token.expires {
        Some(_) => (Level::INFO, "Got bearer token"),
        None => (Level::WARN, "Got no bearer token"),
    };
    story.say(level, msg, |line| {
        line.with("endpoint", &token.endpoint)
            .with("fetched", token.fetched)
            .with_some("status_code", token.status)
            .with_some("expires", token.expires.map(rfc3339))
    });
}

fn tell_hop(story: &mut Story, report: &ProbeReport, hop: &Hop) {
    tell_path(story, hop);
    if let Some(protocol) = report.module.prober.starttls().filter(|_| hop.times.get(Phase::Tls).is_some()) {
        story.say(Level::DEBUG, "Asking the server to switch to TLS", |line| line.with("protocol", protocol));
    }
    if let Some(scan) = &hop.scan {
        story.say(Level::DEBUG, "Starting TLS scan", |line| line.with_some("sni", names::sni_words(hop)));
        story.pass(hop, Phase::Tls);
        tell_scan(story, scan);
    } else if let Some(tls) = &hop.tls {
        story.say(Level::DEBUG, "Starting TLS handshake", |line| line.with_some("sni", names::sni_words(hop)));
        story.pass(hop, Phase::Tls);
        tell_tls(story, tls);
    }
    for clash in names::clashes(report, hop) {
        story.say(Level::INFO, "Address, SNI and Host are not one site's", |line| line.with("detail", clash));
    }
    if !hop.host_header.is_empty() && hop.times.get(Phase::Processing).is_some() {
        story.say(Level::DEBUG, "Making request", |line| line.with("url", &hop.url).with("host", &hop.host_header));
    }
    story.pass(hop, Phase::Processing);
    if let Some(http) = &hop.http {
        tell_response(story, http);
    }
    story.pass(hop, Phase::Transfer);
    if let Some(websocket) = &hop.websocket {
        tell_websocket(story, websocket);
    }
}

fn tell_path(story: &mut Story, hop: &Hop) {
    if let Some(lookup) = &hop.lookup {
        story.say(Level::DEBUG, "Resolving target address", |line| line.with("host", &lookup.host));
        story.pass(hop, Phase::Resolve);
        let addresses: Vec<String> = lookup.addresses.iter().map(ToString::to_string).collect();
        story.say(Level::INFO, "Resolved target address", |line| {
            line.with("host", &lookup.host)
                .with_some("ip", lookup.chosen)
                .with("addresses", addresses.join(","))
                .with("duration_seconds", lookup.took.as_secs_f64())
        });
        for answer in lookup.dns.iter().flat_map(|dns| &dns.answers) {
            story.say(Level::INFO, "Resolver answer", |line| line.with("detail", resolver::answer(answer)));
        }
    } else {
        story.pass(hop, Phase::Resolve);
    }
    for dial in &hop.race {
        story.say(Level::INFO, "Dialled", |line| line.with("detail", resolver::dial(dial)));
    }
    if let Some(proxy) = &hop.proxy {
        story.pass(hop, Phase::Proxy);
        tell_proxy(story, proxy);
        return;
    }
    let Some(peer) = hop.peer else { return };
    story.say(Level::DEBUG, "Dialling", |line| line.with("address", peer));
    story.pass(hop, Phase::Connect);
    if [Phase::Tls, Phase::Processing].iter().any(|&next| hop.times.get(next).is_some()) {
        story.say(Level::INFO, "Connected", |line| {
            line.with("address", peer)
                .with_some("duration_seconds", hop.times.get(Phase::Connect).map(|took| took.as_secs_f64()))
        });
    }
}

fn tell_proxy(story: &mut Story, proxy: &ProxyFacts) {
    story.say(Level::INFO, "Asked the proxy", |line| {
        line.with("proxy", &proxy.url)
            .with_some("address", proxy.peer)
            .with("asked_for", &proxy.asked_for)
            .with("tunnel", proxy.tunnel)
            .with_some("status", proxy.status)
            .with_some("challenge", proxy.challenge.as_ref())
            .with_some("tls", proxy.tls.as_ref().and_then(|tls| tls.version))
    });
}

fn tell_tls(story: &mut Story, tls: &TlsFacts) {
    let (level, msg) =
        if tls.completed { (Level::INFO, "TLS handshake done") } else { (Level::WARN, "TLS handshake not completed") };
    story.say(level, msg, |line| {
        line.with_some("version", tls.version)
            .with_some("cipher", tls.cipher.as_ref())
            .with_some("group", tls.group.as_ref())
            .with_some("alpn", tls.alpn.as_ref())
            .with("certificates", tls.chain.len())
    });
    for (source, words) in chain::revocation(&tls.revocation) {
        story.say(Level::INFO, "Revocation information", |line| line.with("source", source).with("detail", words));
    }
    let Some(verdict) = &tls.verdict else { return };
    for (name, check) in chain::checks(verdict) {
        match check {
            Ok(()) => story.say(Level::DEBUG, "Certificate check passed", |line| line.with("check", name)),
            Err((reason, cause)) => story.say(Level::WARN, "Certificate check failed", |line| {
                line.with("check", name).with("reason", reason).with("cause", cause).with("ignored", verdict.ignored)
            }),
        }
    }
}

fn tell_scan(story: &mut Story, found: &ScanFacts) {
    for (kind, name, finding) in scan::findings(found) {
        story.say(Level::DEBUG, "Scan finding", |line| {
            line.with(kind, name)
                .with("accepted", finding.answer)
                .with("confidence", finding.confidence)
                .with("cause", &finding.why)
        });
    }
    let count = |answer| scan::findings(found).filter(|(.., finding)| finding.answer == answer).count();
    story.say(Level::INFO, "TLS scan done", |line| {
        line.with("connections", found.connections)
            .with("accepted", count(Answer::Yes))
            .with("refused", count(Answer::No))
            .with("unknown", count(Answer::Unknown))
            .with_some("big_hello", found.big_hello)
            .with_some("downgrade_protected", found.downgrade_protected)
            .with_some("client_cert_requested", found.client_cert_requested)
    });
}

fn tell_response(story: &mut Story, http: &HttpFacts) {
    let version = format!("HTTP/{:.1}", http.version);
    story.say(Level::INFO, "Received HTTP response", |line| {
        line.with("status_code", http.status)
            .with("version", version)
            .with_some("content_length", http.content_length)
            .with("body_bytes", http.body_length)
    });
    if let Some(location) = &http.redirect {
        story.say(Level::INFO, "Received redirect", |line| line.with("location", location));
    }
}

fn tell_websocket(story: &mut Story, websocket: &WebSocketFacts) {
    story.say(Level::INFO, "WebSocket exchange", |line| {
        line.with("upgraded", websocket.upgraded)
            .with_some("subprotocol", websocket.subprotocol.as_ref())
            .with_some("ping_rtt_seconds", websocket.ping_rtt.map(|rtt| rtt.as_secs_f64()))
            .with("messages", websocket.messages)
            .with_some("close_code", websocket.close_code)
            .with_some("close_words", Some(&websocket.close_words).filter(|words| !words.is_empty()))
            .with_some("close_clean", websocket.close_clean)
            .with_some("refusal_body", websocket.refusal.as_ref())
    });
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::model::Reason;

    #[test]
    fn the_layout_is_blackbox_exporters_with_our_sections_after_it() {
        let report = fixture::failed(Phase::Processing, Reason::Status);
        let text = debug(&report, "probe_success 0\n", LogFormat::Logfmt, Level::ERROR);
        let expected = "\
Logs for the probe:
time=2026-01-02T00:00:00.100Z level=ERROR msg=\"Probe failed\" module=site \
target=\"https://user:xxxxx@www.example.com/x?q=1\" phase=processing reason=status cause=\"what was\\nfound\" \
duration_seconds=0.1



Metrics that would have been returned:
probe_success 0



Module configuration:
prober: http



Failure:
phase:  processing
reason: status
cause:  what was\\nfound
remedy: correct the target's path, or list 200 in the module's valid_status_codes



Certificate chain:
leaf  CN=www.example.com
      issuer  CN=Example CA
      names   www.example.com, *.example.org
      valid   2025-12-23 00:00:00 UTC to 2026-01-22 00:00:00 UTC: 20 days left, 33 % of its life used
      key     ECDSA P-256, signed with ecdsa-with-SHA256



Repeat it with:
curl -v --connect-to www.example.com:443:192.0.2.7:443 'https://www.example.com/x?q=1'
";
        assert_eq!(text, expected);
    }

    #[test]
    fn lines_carry_the_accumulated_times() {
        let text = debug(&fixture::success(), "", LogFormat::Logfmt, Level::INFO);
        let steps: Vec<&str> = text.lines().filter(|line| line.starts_with("time=")).collect();
        let expected = [
            ("00.000Z", "Beginning probe"),
            ("00.010Z", "Resolved target address"),
            ("00.030Z", "Connected"),
            ("00.070Z", "TLS handshake done"),
            ("00.100Z", "Received HTTP response"),
            ("00.100Z", "Probe succeeded"),
        ];
        assert_eq!(steps.len(), expected.len(), "{text}");
        for (step, (time, msg)) in steps.iter().zip(expected) {
            assert!(step.contains(time) && step.contains(msg), "{step}");
        }
        let all = debug(&fixture::success(), "", LogFormat::Logfmt, Level::DEBUG);
        assert!(all.contains("msg=\"Certificate check passed\"") && all.contains("check=name"), "{all}");
    }

    #[test]
    fn json_lines_are_json_and_hide_nothing() {
        let mut report = fixture::failed(Phase::Transfer, Reason::Closed);
        report.failure.as_mut().unwrap().cause = "say \"bye\"\u{9b}31m".into();
        let text = debug(&report, "", LogFormat::Json, Level::DEBUG);
        for line in text.lines().filter(|line| line.starts_with('{')) {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(value["module"], "site");
        }
        assert!(text.contains("\\u009b") && !text.contains('\u{9b}'));
        assert!(!text.contains("hunter2"));
    }
}
