//! Reports built by hand, for the tests: one per kind of outcome. Every number is made up, but plausible.

use super::Own;
use crate::model::{
    Answer, BigHello, Certificate, CipherClass, CipherList, Confidence, CrlFacts, Dial, DialOutcome, DnsAnswer,
    DnsFacts, Failure, Finding, HandshakeKind, Hop, Hsts, HttpFacts, HttpModule, IpFamily, Job, Lookup, Module,
    ModuleName, OcspFacts, OcspStatus, PathFacts, Phase, PhaseTimes, ProbeReport, Prober, ProxyFacts, ProxyOptions,
    ProxySource, Reason, RevocationFacts, ScanFacts, TlsFacts, TlsGroup, TlsModule, TlsVersion, TokenFacts, TrustFacts,
    Verdict, WebSocketFacts, WebSocketModule,
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use strum::VariantArray;

/// A redirect, then 200 over TLS 1.3 with a good chain.
pub(super) fn https_ok() -> ProbeReport {
    let mut first = hop("http://example.com/", &[(Phase::Resolve, 2), (Phase::Connect, 5), (Phase::Processing, 11)]);
    first.http = Some(HttpFacts {
        status: 301,
        version: 1.1,
        redirect: Some("https://example.com/".into()),
        ..HttpFacts::default()
    });
    let mut last = hop("https://example.com/", &all_phases());
    last.tls = Some(tls(good()));
    last.http = Some(HttpFacts {
        status: 200,
        version: 2.0,
        content_length: Some(1256),
        body_length: 1256,
        last_modified: Some(1_571_298_000),
        hsts: Some(Hsts { max_age: 31_536_000, include_subdomains: true, preload: false }),
        security_headers: vec!["strict-transport-security", "x-frame-options"],
        ..HttpFacts::default()
    });
    report("https_2xx", http(), vec![first, last])
}

/// The same by name servers of its own, its addresses raced.
pub(super) fn resolved_and_raced() -> ProbeReport {
    let mut report = https_ok();
    let answer = |family, addresses| DnsAnswer {
        family: Some(family),
        server: Some("10.0.0.53:53".into()),
        code: Some("NOERROR".into()),
        alias_of: None,
        addresses,
        ttl: Some(Duration::from_secs(300)),
        took: Duration::from_millis(2),
        age: Duration::from_secs(12),
        stale: false,
    };
    let dial = |address: &str, outcome| Dial { address: address.parse().unwrap(), outcome };
    let hop = &mut report.hops[0];
    hop.lookup.as_mut().unwrap().dns =
        Some(Box::new(DnsFacts { answers: vec![answer(IpFamily::V6, 1), answer(IpFamily::V4, 1)] }));
    hop.race = vec![
        dial("[2001:db8::7]:443", DialOutcome::Failed(Reason::Unreachable, "no route".into())),
        dial("192.0.2.7:443", DialOutcome::Won),
    ];
    report
}

/// A leaf past its last day: the handshake was finished, no request was sent.
pub(super) fn expired() -> ProbeReport {
    let mut hop = hop("https://expired.example/", &[(Phase::Resolve, 2), (Phase::Connect, 5), (Phase::Tls, 21)]);
    let reason = (Reason::CertExpired, "expired 10 days ago".to_owned());
    let mut tls = tls(Verdict { validity: Err(reason), paths: None, ..good() });
    let mut chain = tls.chain.to_vec();
    chain[0].not_after = 1_792_000_000;
    chain[0].names_responder = true;
    tls.chain = chain.into();
    hop.tls = Some(tls);
    failed(report("https_2xx", http(), vec![hop]), Phase::Tls, Reason::CertExpired)
}

/// The name does not exist.
pub(super) fn no_such_name() -> ProbeReport {
    let mut hop = hop("https://nowhere.example/", &[(Phase::Resolve, 3)]);
    hop.lookup = Some(Lookup {
        host: "nowhere.example".into(),
        addresses: Vec::new(),
        chosen: None,
        took: Duration::from_millis(3),
        dns: None,
    });
    hop.peer = None;
    failed(report("https_2xx", http(), vec![hop]), Phase::Resolve, Reason::NameNotFound)
}

/// The target cannot be read, so there is not even a hop.
pub(super) fn unreadable() -> ProbeReport {
    failed(report("wss", websocket(), Vec::new()), Phase::Resolve, Reason::InvalidTarget)
}

/// Nobody listens; the second attempt did not help.
pub(super) fn refused() -> ProbeReport {
    let hop = hop("https://example.com/", &[(Phase::Resolve, 2), (Phase::Connect, 1)]);
    let mut report = failed(report("https_2xx", http(), vec![hop]), Phase::Connect, Reason::Refused);
    report.attempts = 2;
    report.retried_after = Some(Failure::new(Phase::Connect, Reason::Timeout, ""));
    report
}

/// The token endpoint gave a token, and the site wants another one.
pub(super) fn token() -> ProbeReport {
    let mut hop = hop("http://api.example/", &[(Phase::Token, 4), (Phase::Resolve, 2), (Phase::Connect, 5)]);
    hop.times.add(Phase::Processing, Duration::from_millis(11));
    hop.http = Some(HttpFacts { status: 401, version: 1.1, content_length: Some(0), ..HttpFacts::default() });
    let mut report = failed(report("api", http(), vec![hop]), Phase::Processing, Reason::Status);
    report.token = Some(Box::new(TokenFacts {
        endpoint: "https://auth.example/token".into(),
        fetched: true,
        status: Some(200),
        expires: Some(at(1_793_003_700)),
    }));
    report
}

/// Upgraded, ponged and closed in order.
pub(super) fn wss_ok() -> ProbeReport {
    let mut hop = hop("wss://chat.example/", &all_phases());
    let verdict = Verdict { pin: Some(Ok(())), ..good() };
    hop.tls = Some(TlsFacts {
        alpn: Some("http/1.1".into()),
        client_cert_requested: Some(true),
        client_cert_not_after: Some(1_795_000_000),
        ..tls(verdict)
    });
    hop.http = Some(HttpFacts { status: 101, version: 1.1, ..HttpFacts::default() });
    hop.websocket = Some(WebSocketFacts {
        upgraded: true,
        subprotocol: Some("chat.v2".into()),
        ping_rtt: Some(Duration::from_micros(8_250)),
        close_code: Some(1000),
        close_clean: Some(true),
        messages: 1,
        ..WebSocketFacts::default()
    });
    report("wss", websocket(), vec![hop])
}

/// The server answered 403 to the upgrade.
pub(super) fn ws_refused() -> ProbeReport {
    let mut hop = hop("ws://chat.example/", &[(Phase::Resolve, 2), (Phase::Connect, 5), (Phase::Processing, 11)]);
    hop.http = Some(HttpFacts { status: 403, version: 1.1, content_length: Some(0), ..HttpFacts::default() });
    hop.websocket = Some(WebSocketFacts::default());
    failed(report("wss", websocket(), vec![hop]), Phase::Processing, Reason::UpgradeRefused)
}

/// An incomplete chain for another name, seen by the `tls` prober; TLS 1.2, no ALPN.
pub(super) fn tls_incomplete() -> ProbeReport {
    let mut hop = hop("mail.example:465", &[(Phase::Resolve, 2), (Phase::Connect, 5), (Phase::Tls, 21)]);
    let mut facts = tls(Verdict {
        chain: Err((Reason::CertChainIncomplete, "no issuer of CN=example.com".into())),
        name: Err((Reason::CertWrongName, "for example.com".into())),
        paths: None,
        ..good()
    });
    facts.chain = facts.chain[..1].into();
    facts.version = Some(TlsVersion::Tls12);
    facts.cipher = Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".into());
    facts.group = Some("X25519".into());
    facts.alpn = None;
    hop.tls = Some(facts);
    failed(
        report("cert_expiry", Prober::Tls(Box::new(tls_module())), vec![hop]),
        Phase::Tls,
        Reason::CertChainIncomplete,
    )
}

/// A scan of a server with TLS 1.0 to 1.3 whose answer to SSL 3.0 is unclear.
pub(super) fn scan() -> ProbeReport {
    let mut hop = hop("old.example", &[(Phase::Resolve, 2), (Phase::Connect, 5), (Phase::Tls, 310)]);
    hop.tls = Some(TlsFacts { chain: tls(good()).chain, ..TlsFacts::default() });
    hop.scan = Some(Box::new(ScanFacts {
        versions: TlsVersion::VARIANTS
            .iter()
            .rev()
            .map(|&version| (version, finding(version > TlsVersion::Ssl30)))
            .collect(),
        classes: vec![
            (CipherClass::ForwardSecretAead, finding(true)),
            (CipherClass::StaticRsa, Finding { answer: Answer::No, ..finding(true) }),
            (CipherClass::TripleDes, finding(false)),
        ],
        groups: vec![
            (TlsGroup::X25519MLKEM768, Finding { answer: Answer::No, ..finding(true) }),
            (TlsGroup::Secp256r1, finding(true)),
        ],
        big_hello: Some(BigHello::SizeIntolerant),
        downgrade_protected: Some(true),
        client_cert_requested: Some(false),
        chain_version: Some(TlsVersion::Tls12),
        ciphers: Some(CipherList {
            accepted: vec![
                (TlsVersion::Tls13, "TLS_AES_256_GCM_SHA384"),
                (TlsVersion::Tls12, "TLS_RSA_WITH_AES_128_CBC_SHA"),
            ],
            complete: true,
        }),
        connections: 34,
        took: Duration::from_millis(310),
    }));
    failed(report("tls_version", Prober::TlsScan(Box::default()), vec![hop]), Phase::Tls, Reason::VersionPolicy)
}

fn finding(known: bool) -> Finding {
    if known {
        Finding { answer: Answer::Yes, confidence: Confidence::High, why: "never on a page".into() }
    } else {
        Finding::unknown("never on a page")
    }
}

/// A stapled response says that the leaf is revoked; the issuer's list was consulted, too.
pub(super) fn revoked() -> ProbeReport {
    let mut hop = hop("https://revoked.example/", &[(Phase::Resolve, 2), (Phase::Connect, 5), (Phase::Tls, 21)]);
    let reason = (Reason::CertRevoked, "revoked 3 days ago".to_owned());
    let mut tls = tls(Verdict { revocation: Some(Err(reason)), ..good() });
    tls.ocsp_stapled = true;
    tls.revocation = RevocationFacts {
        must_staple: true,
        staple: Some(OcspFacts {
            this_update: Some(1_792_990_000),
            next_update: Some(1_793_600_000),
            revoked_at: Some(1_792_740_000),
            reason: Some("key_compromise"),
            ..OcspFacts::nothing(OcspStatus::Revoked, "revoked 3 days ago")
        }),
        responder: Some(OcspFacts::nothing(OcspStatus::Unreachable, "it gave no answer in time")),
        crl: Some(CrlFacts { next_update: Some(1_793_700_000), answered: true, problem: String::new() }),
    };
    hop.tls = Some(tls);
    failed(report("https_2xx", http(), vec![hop]), Phase::Tls, Reason::CertRevoked)
}

/// A proxy that was given the name says 403.
pub(super) fn proxy_refused() -> ProbeReport {
    let mut hop = hop("https://example.com/", &[(Phase::Proxy, 9)]);
    (hop.lookup, hop.peer) = (None, None);
    hop.proxy = Some(Box::new(ProxyFacts { status: Some(403), ..ProxyFacts::default() }));
    let report = failed(report("https_2xx", http(), vec![hop]), Phase::Proxy, Reason::ProxyRefused);
    let proxy = ProxyOptions { source: ProxySource::Environment, headers: Vec::new(), tls: None, resolve_first: None };
    let module = Module { proxy: Some(proxy), ..report.module.as_ref().clone() };
    ProbeReport { module: Arc::new(module), ..report }
}

/// The exporter after a failed reload.
pub(super) fn own() -> Own {
    Own {
        reload_ok: false,
        reload_at: Some(at(1_793_000_000)),
        in_flight: 2,
        modules: vec![(ModuleName::new("https_2xx"), 40, 4), (ModuleName::new("wss"), 0, 0)],
        refused: [("not_allowed", 3), ("client_limit", 1), ("destination_limit", 0)],
        held: 4,
        unknown_modules: 3,
        series: 7,
        trust: vec![
            trust("system", 142, Some((1_793_500_000, 2_300_000_000))),
            trust("embedded", 120, None),
            trust("/etc/edgeprobe/ca.pem", 1, Some((1_900_000_000, 1_900_000_000))),
        ],
    }
}

fn trust(store: &str, certificates: usize, ends: Option<(i64, i64)>) -> TrustFacts {
    let modules = vec![ModuleName::new("https_2xx")];
    TrustFacts { store: store.into(), modules, certificates, ends, loaded: at(1_793_000_000) }
}

pub(super) fn at(unix_seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix_seconds)
}

fn report(module: &str, prober: Prober, hops: Vec<Hop>) -> ProbeReport {
    let name = ModuleName::new(module);
    ProbeReport {
        job: Job::new(name.clone(), hops.first().map_or("://", |hop| &hop.url)),
        module: Arc::new(Module::new(name, prober, "")),
        started: at(1_793_000_100),
        elapsed: Duration::from_millis(62),
        timeout: Duration::from_millis(9_500),
        token: None,
        hops,
        failure: None,
        attempts: 1,
        retried_after: None,
        retry_suppressed: false,
    }
}

fn failed(report: ProbeReport, phase: Phase, reason: Reason) -> ProbeReport {
    ProbeReport { failure: Some(Failure::new(phase, reason, "never on a page")), ..report }
}

fn hop(url: &str, times: &[(Phase, u64)]) -> Hop {
    let mut phases = PhaseTimes::default();
    for &(phase, millis) in times {
        phases.add(phase, Duration::from_millis(millis));
    }
    let ip = "192.0.2.7".parse().unwrap();
    Hop {
        url: url.into(),
        host_header: "example.com".into(),
        times: phases,
        lookup: Some(Lookup {
            host: "example.com".into(),
            addresses: vec![ip],
            chosen: Some(ip),
            took: Duration::from_millis(2),
            dns: None,
        }),
        peer: Some((ip, 443).into()),
        ..Hop::default()
    }
}

fn all_phases() -> [(Phase, u64); 5] {
    [(Phase::Resolve, 2), (Phase::Connect, 5), (Phase::Tls, 21), (Phase::Processing, 13), (Phase::Transfer, 4)]
}

fn good() -> Verdict {
    Verdict {
        proof: Ok(()),
        validity: Ok(()),
        chain: Ok(()),
        name: Ok(()),
        revocation: None,
        pin: None,
        paths: Some(PathFacts { expiry: 1_799_000_000 }),
        ignored: false,
    }
}

fn tls(verdict: Verdict) -> TlsFacts {
    TlsFacts {
        server_name: "example.com".into(),
        sni: Some("example.com".into()),
        completed: true,
        version: Some(TlsVersion::Tls13),
        cipher: Some("TLS_AES_256_GCM_SHA384".into()),
        group: Some("X25519MLKEM768".into()),
        alpn: Some("h2".into()),
        client_cert_requested: Some(false),
        client_cert_not_after: None,
        chain: [leaf(), intermediate()].into(),
        ocsp_stapled: false,
        kind: Some(HandshakeKind::Full),
        received_bytes: 3021,
        sent_bytes: 1712,
        verdict: Some(verdict),
        revocation: RevocationFacts::default(),
    }
}

fn leaf() -> Certificate {
    Certificate {
        subject: r"CN=example.com,O=Example\, Inc.".into(),
        issuer: "CN=Example CA 1".into(),
        serial: "0bffbc11".into(),
        fingerprint_sha256: "5ef2f214260ab8f58e55eea42e4ac04b0f171807d8d1185fddd67470e9ab6096".into(),
        not_before: 1_790_000_000,
        not_after: 1_799_000_000,
        dns_names: vec!["example.com".into(), "*.example.com".into()],
        key: "ECDSA P-256".into(),
        key_bits: Some(256),
        signature_algorithm: "ecdsa-with-SHA384".into(),
        sct_count: 2,
        sct_newest: Some(1_790_000_100),
        ..Certificate::default()
    }
}

fn intermediate() -> Certificate {
    Certificate {
        subject: "CN=Example CA 1".into(),
        issuer: "CN=Example Root".into(),
        not_before: 1_700_000_000,
        not_after: 1_850_000_000,
        is_ca: true,
        serial: "0a".into(),
        fingerprint_sha256: "5a8f16fda448d783481cca57a2428d174dad8c60943ceb28f661ae31fd39a5fa".into(),
        key: "RSA 4096".into(),
        key_bits: Some(4096),
        signature_algorithm: "sha256WithRSAEncryption".into(),
        ..Certificate::default()
    }
}

fn http() -> Prober {
    Prober::Http(Box::new(HttpModule { report_security_headers: true, ..HttpModule::default() }))
}

fn websocket() -> Prober {
    Prober::WebSocket(Box::new(WebSocketModule { ping: true, ..WebSocketModule::default() }))
}

fn tls_module() -> TlsModule {
    TlsModule::default()
}
