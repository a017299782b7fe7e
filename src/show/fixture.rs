//! Reports for the tests of this folder: one HTTPS probe that went well, and the same probe failed.

use crate::model::{
    Certificate, Failure, HandshakeKind, Hop, HttpFacts, HttpModule, Job, Lookup, Module, ModuleName, Phase,
    ProbeReport, Prober, Reason, RevocationFacts, TlsFacts, TlsModule, TlsVersion, Verdict, WebSocketModule,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

const DAY: i64 = 86_400;
/// 2026-01-02 00:00:00 UTC.
pub(super) const NOW: i64 = 1_767_312_000;

pub(super) fn success() -> ProbeReport {
    report("https://user:hunter2@www.example.com/x?q=1", Prober::Http(Box::new(http_module())))
}

pub(super) fn failed(phase: Phase, reason: Reason) -> ProbeReport {
    ProbeReport { failure: Some(Failure::new(phase, reason, "what was\nfound")), ..success() }
}

pub(super) fn report(target: &str, prober: Prober) -> ProbeReport {
    let name = ModuleName::new("site");
    ProbeReport {
        job: Job::new(name.clone(), target),
        module: Arc::new(Module::new(name, prober, "prober: http\n")),
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(NOW.unsigned_abs()),
        elapsed: Duration::from_millis(100),
        timeout: Duration::from_secs(5),
        token: None,
        hops: vec![hop()],
        failure: None,
        attempts: 1,
        retried_after: None,
        retry_suppressed: false,
    }
}

pub(super) fn hop() -> Hop {
    let mut hop = Hop {
        url: "https://www.example.com/x?q=1".into(),
        host_header: "www.example.com".into(),
        lookup: Some(Lookup {
            host: "www.example.com".into(),
            addresses: vec!["192.0.2.7".parse().unwrap()],
            chosen: Some("192.0.2.7".parse().unwrap()),
            took: Duration::from_millis(10),
            dns: None,
        }),
        peer: Some("192.0.2.7:443".parse().unwrap()),
        tls: Some(tls()),
        http: Some(HttpFacts { status: 200, version: 2.0, body_length: 12, ..HttpFacts::default() }),
        ..Hop::default()
    };
    for (phase, took) in [(Phase::Resolve, 10), (Phase::Connect, 20), (Phase::Tls, 40), (Phase::Processing, 30)] {
        hop.times.add(phase, Duration::from_millis(took));
    }
    hop
}

fn tls() -> TlsFacts {
    TlsFacts {
        server_name: "www.example.com".into(),
        sni: Some("www.example.com".into()),
        completed: true,
        version: Some(TlsVersion::Tls13),
        cipher: Some("TLS_AES_128_GCM_SHA256".into()),
        group: Some("X25519MLKEM768".into()),
        alpn: Some("h2".into()),
        client_cert_requested: Some(false),
        client_cert_not_after: None,
        chain: vec![certificate()].into(),
        ocsp_stapled: false,
        kind: Some(HandshakeKind::Full),
        received_bytes: 3021,
        sent_bytes: 1712,
        verdict: Some(Verdict {
            proof: Ok(()),
            validity: Ok(()),
            chain: Ok(()),
            name: Ok(()),
            revocation: None,
            pin: None,
            paths: None,
            ignored: false,
        }),
        revocation: RevocationFacts::default(),
    }
}

pub(super) fn certificate() -> Certificate {
    Certificate {
        subject: "CN=www.example.com".into(),
        issuer: "CN=Example CA".into(),
        serial: "01".into(),
        not_before: NOW - 10 * DAY,
        not_after: NOW + 20 * DAY,
        dns_names: vec!["www.example.com".into(), "*.example.org".into()],
        key: "ECDSA P-256".into(),
        signature_algorithm: "ecdsa-with-SHA256".into(),
        ..Certificate::default()
    }
}

pub(super) fn http_module() -> HttpModule {
    HttpModule::default()
}

pub(super) fn websocket_module() -> WebSocketModule {
    WebSocketModule { subprotocols: vec!["chat".into()], ..WebSocketModule::default() }
}

pub(super) fn tls_module() -> TlsModule {
    TlsModule::default()
}
