//! The whole report as JSON with stable keys: seconds and Unix times as numbers, absent facts as null, no secrets.

use super::{chain, curl, names, proxy, remedy, scan, unix_seconds};
use crate::model::{
    Certificate, ChainNotes, Dial, DialOutcome, DnsAnswer, Failure, Hop, HttpFacts, IpFamily, OcspFacts, PhaseTimes,
    ProbeReport, RevocationFacts, Site, TlsFacts, TokenFacts, Verdict, WebSocketFacts,
};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Everything the probe found.
pub fn json(report: &ProbeReport) -> Value {
    json!({
        "target": report.job.shown_target(),
        "module": report.module.name.as_str(),
        "prober": report.module.prober.kind().to_string(),
        "starttls": report.module.prober.starttls().map(|protocol| protocol.to_string()),
        "site": site(&report.site()),
        "success": report.is_success(),
        "failure": report.failure.as_ref().map(failure),
        "remedy": remedy(report),
        "hint": names::hint(report),
        "attempts": report.attempts,
        "retry_suppressed": report.retry_suppressed,
        "first_attempt_failure": report.first_failure().map(failure),
        "started": unix_seconds(report.started),
        "duration_seconds": seconds(report.elapsed),
        "timeout_seconds": seconds(report.timeout),
        "phases": phases(&report.times()),
        "token": report.token.as_deref().map(token),
        "redirects": report.redirects(),
        "hops": report.hops.iter().map(hop).collect::<Vec<_>>(),
        "repeat_with": curl(report),
    })
}

fn site(site: &Site) -> Value {
    json!({
        "hostname": site.hostname.as_deref(),
        "connect_to": site.connect_to.as_ref().map(ToString::to_string),
        "sni": site.sni.as_ref().map(ToString::to_string),
        "verify_name": site.verify_name.as_deref(),
    })
}

fn failure(failure: &Failure) -> Value {
    json!({"phase": failure.phase.as_str(), "reason": failure.reason.as_str(), "cause": failure.cause})
}

fn phases(times: &PhaseTimes) -> Value {
    times.iter().map(|(phase, took)| (phase.to_string(), seconds(took))).collect::<Map<_, _>>().into()
}

fn hop(hop: &Hop) -> Value {
    json!({
        "url": hop.url,
        "host_header": Some(&hop.host_header).filter(|host| !host.is_empty()),
        "phases": phases(&hop.times),
        "lookup": hop.lookup.as_ref().map(|lookup| json!({
            "host": lookup.host,
            "addresses": lookup.addresses,
            "chosen": lookup.chosen,
            "duration_seconds": seconds(lookup.took),
            "answers": lookup.dns.as_ref().map(|dns| dns.answers.iter().map(dns_answer).collect::<Vec<_>>()),
        })),
        "dialled": hop.race.iter().map(dial).collect::<Vec<_>>(),
        "peer": hop.peer,
        "proxy": hop.proxy.as_deref().map(|facts| proxy::json(facts, tls)),
        "tls": hop.tls.as_ref().map(tls),
        "http": hop.http.as_ref().map(http),
        "websocket": hop.websocket.as_ref().map(websocket),
        "scan": hop.scan.as_deref().map(scan::json),
    })
}

fn token(token: &TokenFacts) -> Value {
    json!({
        "endpoint": token.endpoint,
        "fetched": token.fetched,
        "status": token.status,
        "expires": token.expires.map(unix_seconds),
    })
}

fn dns_answer(answer: &DnsAnswer) -> Value {
    json!({
        "family": answer.family.map(IpFamily::as_str),
        "server": answer.server.as_deref(),
        "code": answer.code.as_deref(),
        "alias_of": answer.alias_of.as_deref(),
        "addresses": answer.addresses,
        "ttl_seconds": answer.ttl.map(seconds),
        "duration_seconds": seconds(answer.took),
        "age_seconds": seconds(answer.age),
        "stale": answer.stale,
    })
}

fn dial(dial: &Dial) -> Value {
    let (outcome, reason) = match &dial.outcome {
        DialOutcome::Won => ("won", None),
        DialOutcome::Failed(reason, _) => ("failed", Some(reason.as_str())),
        DialOutcome::GivenUp => ("given up", None),
    };
    json!({"address": dial.address, "outcome": outcome, "reason": reason})
}

fn tls(tls: &TlsFacts) -> Value {
    json!({
        "server_name": tls.server_name,
        "sni": tls.sni,
        "completed": tls.completed,
        "version": tls.version.map(|version| version.to_string()),
        "cipher": tls.cipher,
        "group": tls.group,
        "alpn": tls.alpn,
        "client_cert_requested": tls.client_cert_requested,
        "client_cert_not_after": tls.client_cert_not_after,
        "ocsp_stapled": tls.ocsp_stapled,
        "revocation": revocation(&tls.revocation),
        "handshake_kind": tls.kind.map(|kind| kind.to_string()),
        "handshake_received_bytes": tls.received_bytes,
        "handshake_sent_bytes": tls.sent_bytes,
        "verdict": tls.verdict.as_ref().map(verdict),
        "chain_notes": (!tls.chain.is_empty()).then(|| notes(&ChainNotes::of(&tls.chain))),
        "chain": tls.chain.iter().map(certificate).collect::<Vec<_>>(),
    })
}

fn revocation(facts: &RevocationFacts) -> Value {
    let response = |facts: &OcspFacts| {
        json!({
            "status": facts.status.as_str(),
            "produced_at": facts.produced_at,
            "this_update": facts.this_update,
            "next_update": facts.next_update,
            "revoked_at": facts.revoked_at,
            "reason": facts.reason,
            "problem": facts.problem,
        })
    };
    json!({
        "must_staple": facts.must_staple,
        "staple": facts.staple.as_ref().map(response),
        "responder": facts.responder.as_ref().map(response),
        "crl": facts.crl.as_ref().map(|crl| json!({
            "answered": crl.answered,
            "next_update": crl.next_update,
            "problem": crl.problem,
        })),
    })
}

fn verdict(verdict: &Verdict) -> Value {
    let mut all = Map::new();
    for (name, check) in chain::checks(verdict) {
        let failed = check.as_ref().err();
        let outcome = json!({
            "ok": failed.is_none(),
            "reason": failed.map(|(reason, _)| reason.as_str()),
            "cause": failed.map(|(_, cause)| cause),
        });
        all.insert(name.into(), outcome);
    }
    all.insert("ignored".into(), verdict.ignored.into());
    all.insert("last_path_expiry".into(), verdict.paths.map(|paths| paths.expiry).into());
    all.into()
}

fn notes(notes: &ChainNotes) -> Value {
    json!({
        "ordered": notes.ordered,
        "duplicates": notes.duplicates,
        "root_sent": notes.root_sent,
        "unused": notes.unused,
    })
}

fn certificate(certificate: &Certificate) -> Value {
    json!({
        "subject": certificate.subject,
        "issuer": certificate.issuer,
        "serial": certificate.serial,
        "fingerprint_sha256": certificate.fingerprint_sha256,
        "spki_sha256": certificate.spki_sha256,
        "not_before": certificate.not_before,
        "not_after": certificate.not_after,
        "dns_names": certificate.dns_names,
        "ip_addresses": certificate.ip_addresses,
        "key": certificate.key,
        "key_bits": certificate.key_bits,
        "signature_algorithm": certificate.signature_algorithm,
        "self_issued": certificate.self_issued,
        "self_signed": certificate.self_signed,
        "is_ca": certificate.is_ca,
        "sct_count": certificate.sct_count,
        "sct_newest": certificate.sct_newest,
        "unreadable": certificate.unreadable,
    })
}

/// Header values stay out: a response may set cookies.
fn http(http: &HttpFacts) -> Value {
    json!({
        "status": http.status,
        "version": http.version,
        "headers": http.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "content_length": http.content_length,
        "body_length": http.body_length,
        "last_modified": http.last_modified,
        "hsts": http.hsts.map(|hsts| json!({
            "max_age": hsts.max_age, "include_subdomains": hsts.include_subdomains, "preload": hsts.preload,
        })),
        "security_headers": http.security_headers,
        "redirect": http.redirect,
    })
}

fn websocket(websocket: &WebSocketFacts) -> Value {
    json!({
        "upgraded": websocket.upgraded,
        "subprotocol": websocket.subprotocol,
        "ping_rtt_seconds": websocket.ping_rtt.map(seconds),
        "close_code": websocket.close_code,
        "close_words": Some(&websocket.close_words).filter(|words| !words.is_empty()),
        "close_clean": websocket.close_clean,
        "messages": websocket.messages,
        "refusal_body": websocket.refusal,
    })
}

fn seconds(took: Duration) -> Value {
    took.as_secs_f64().into()
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::model::{Phase, Reason};

    #[test]
    fn facts_are_complete_and_secrets_are_not_there() {
        let value = json(&fixture::failed(Phase::Processing, Reason::Status));
        assert_eq!(value["success"], false);
        assert_eq!(value["failure"]["reason"], "status");
        assert_eq!(value["target"], "https://user:xxxxx@www.example.com/x?q=1");
        assert_eq!(value["phases"]["tls"], 0.04);
        assert_eq!(value["hops"][0]["peer"], "192.0.2.7:443");
        assert_eq!(value["hops"][0]["tls"]["chain"][0]["dns_names"][1], "*.example.org");
        assert_eq!(value["hops"][0]["tls"]["verdict"]["name"]["ok"], true);
        assert_eq!(value["started"], fixture::NOW);
        assert!(!value.to_string().contains("hunter2"));
    }
}
