//! The client side of TLS, from the config to the verdict, against the lab's servers.

use crate::config;
use crate::engine::{Engine, EngineOptions, Limits};
use crate::lab::{
    Listener,
    ca::{Authority, Cert},
    http::{self, Reply},
    tls::{ClientCert, ServerTls, Tls, Versions},
    ws::{self, Behaviour},
};
use crate::model::{Job, ModuleName, Plan, ProbeReport};
use crate::probe::{Loading, ReadyModule, Resolvers, Tokens};
use ::http::StatusCode;
use rustls::KeyLog;
use std::{
    fmt::Write,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

const NAME: &str = "server.localhost";
const PROBERS: [&str; 3] = ["http", "websocket", "tls"];
const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), budget: Duration::from_secs(20) };

async fn server(ca: &Authority, tls: Tls, prober: &str) -> Listener {
    let tls = Some(ServerTls::new(ca, tls, &[NAME.to_owned()]));
    match prober {
        "websocket" => ws::serve(tls, Behaviour::Echo).await,
        _ => http::serve(tls, |_| Reply::new(StatusCode::OK, "hello\n")).await,
    }
    .unwrap()
}

/// A module of this prober; `settings` are keys of `tls_config` with their values.
fn engine(prober: &str, settings: &[(&str, &str)]) -> Engine {
    let mut tls = String::new();
    for (key, value) in settings {
        let quoted = serde_json::to_string(value).unwrap();
        let value = if value.starts_with('[') || *value == "true" { value } else { quoted.as_str() };
        write!(tls, "{key}: {value}, ").unwrap();
    }
    let tls = format!("tls_config: {{{tls}}}");
    let block = if prober == "websocket" { format!("http_config: {{{tls}}}") } else { tls };
    let text = format!("modules: {{m: {{prober: {prober}, {prober}: {{{block}}}}}}}");
    let config = config::parse(&text, "test").unwrap_or_else(|errors| panic!("{errors}"));
    Engine::new(&config.plan, EngineOptions { max_in_flight: 1, key_log: false }).unwrap()
}

async fn probe(engine: &Engine, prober: &str, server: &Listener) -> ProbeReport {
    let scheme = if prober == "websocket" { "wss" } else { "https" };
    let target = format!("{scheme}://{NAME}:{}/", server.address().port());
    let module = ModuleName::new("m");
    let job = Job::new(module, target);
    engine.run(&job, LIMITS).await
}

fn verdict(report: &ProbeReport) -> &'static str {
    report.failure.as_ref().map_or("success", |failure| failure.reason.as_str())
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_or_refused_is_told_by_every_prober_in_both_versions() {
    let ca = Authority::new();
    let (good, stranger, root) = (ca.client_pem(), ca.stranger_client_pem(), ca.root_pem());
    for versions in [Versions::Only12, Versions::Only13] {
        for (wants, shows, expected) in [
            (ClientCert::Ignored, None, "success"),
            (ClientCert::Ignored, Some(&stranger), "success"),
            (ClientCert::Optional, None, "success"),
            (ClientCert::Optional, Some(&good), "success"),
            (ClientCert::Optional, Some(&stranger), "client_cert_rejected"),
            (ClientCert::Required, None, "client_cert_required"),
            (ClientCert::Required, Some(&good), "success"),
            (ClientCert::Required, Some(&stranger), "client_cert_rejected"),
        ] {
            let tls = Tls { versions, client_cert: wants, ..Tls::new(Cert::Good) };
            for prober in PROBERS {
                let server = server(&ca, tls, prober).await;
                let mut settings = vec![("ca", root.as_str())];
                settings.extend(shows.iter().flat_map(|(cert, key)| [("cert", cert.as_str()), ("key", key.as_str())]));
                let report = probe(&engine(prober, &settings), prober, &server).await;
                let case = format!("{prober} {versions:?} {wants:?} shows {}", shows.is_some());
                assert_eq!(verdict(&report), expected, "{case}: {:?}", report.failure);
                let facts = report.tls().unwrap();
                assert_eq!(facts.client_cert_requested, Some(wants != ClientCert::Ignored), "{case}");
                assert_eq!(facts.client_cert_not_after.is_some(), shows.is_some(), "{case}");
                // The server is known whatever it thinks of us.
                assert_eq!(facts.chain.len(), 2, "{case}");
                assert!(facts.verdict.as_ref().unwrap().failure().is_none(), "{case}");
                if expected != "success" {
                    assert_eq!(report.failure.unwrap().phase.as_str(), "tls", "{case}");
                    assert!(server.log().requests().is_empty(), "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn version_limits_that_leave_nothing_in_common_are_told() {
    let ca = Authority::new();
    let root = ca.root_pem();
    for (versions, min, max, expected) in [
        (Versions::Only12, "TLS13", "TLS13", "version_unsupported"),
        (Versions::Only13, "TLS12", "TLS12", "version_unsupported"),
        (Versions::Only12, "TLS10", "TLS12", "success"),
        (Versions::Both, "TLS12", "TLS12", "success"),
        (Versions::Both, "TLS13", "TLS13", "success"),
    ] {
        for prober in PROBERS {
            let server = server(&ca, Tls { versions, ..Tls::new(Cert::Good) }, prober).await;
            let engine = engine(prober, &[("ca", &root), ("min_version", min), ("max_version", max)]);
            let report = probe(&engine, prober, &server).await;
            assert_eq!(verdict(&report), expected, "{prober} {versions:?} {min} to {max}: {:?}", report.failure);
            if expected == "success" && versions == Versions::Both {
                let digits = report.tls().unwrap().version.unwrap().to_string().replace(['.', ' '], "");
                assert_eq!(digits, max);
            }
        }
    }
}

#[tokio::test]
async fn a_pin_may_be_any_key_of_the_verified_path() {
    let ca = Authority::new();
    let server = server(&ca, Tls::new(Cert::Good), "tls").await;
    let root = ca.root_pem();
    let run = async |settings: &[(&str, &str)]| probe(&engine("tls", settings), "tls", &server).await;
    let leaf = run(&[("ca", &root)]).await.tls().unwrap().chain[0].spki_sha256.clone();
    let leaf = format!("sha256/{leaf}");
    for (pins, expected) in [
        (vec![leaf.clone()], "success"),
        (vec![ca.intermediate_pin()], "success"),
        (vec![ca.root_pin()], "success"),
        (vec![ca.stranger_pin(), leaf.clone()], "success"),
        (vec![ca.stranger_pin()], "cert_pin_mismatch"),
    ] {
        let report = run(&[("ca", &root), ("pins", &format!("[{}]", pins.join(",")))]).await;
        assert_eq!(verdict(&report), expected, "{pins:?}: {:?}", report.failure);
        let pin = report.tls().unwrap().verdict.as_ref().unwrap().pin.as_ref().unwrap();
        assert_eq!(pin.is_ok(), expected == "success");
        if let Some(failure) = &report.failure {
            assert!(failure.cause.contains(&leaf), "{}", failure.cause);
        }
    }
}

#[tokio::test]
async fn pins_count_where_verification_is_skipped_and_then_only_the_leaf_does() {
    let ca = Authority::new();
    let server = server(&ca, Tls::new(Cert::UnknownCa), "http").await;
    let run = async |settings: &[(&str, &str)]| {
        let skip = [&[("insecure_skip_verify", "true")], settings].concat();
        probe(&engine("http", &skip), "http", &server).await
    };
    let report = run(&[]).await;
    assert_eq!(verdict(&report), "success");
    let leaf = format!("[sha256/{}]", report.tls().unwrap().chain[0].spki_sha256);
    assert_eq!(verdict(&run(&[("pins", &leaf)]).await), "success");
    // It was sent along, but nothing proves that it belongs to the leaf.
    let sent_along = format!("[{}]", ca.stranger_pin());
    let requests = server.log().requests().len();
    assert_eq!(verdict(&run(&[("pins", &sent_along)]).await), "cert_pin_mismatch");
    assert_eq!(server.log().requests().len(), requests, "nothing is sent to a server without the pinned key");
}

#[tokio::test]
async fn dates_and_pins_are_checked_apart() {
    let ca = Authority::new();
    let server = server(&ca, Tls::new(Cert::Expired), "tls").await;
    for (pin, fits) in [(ca.intermediate_pin(), true), (ca.root_pin(), true), (ca.stranger_pin(), false)] {
        let engine = engine("tls", &[("ca", &ca.root_pem()), ("pins", &format!("[{pin}]"))]);
        let report = probe(&engine, "tls", &server).await;
        assert_eq!(verdict(&report), "cert_expired");
        assert_eq!(report.tls().unwrap().verdict.as_ref().unwrap().pin.as_ref().unwrap().is_ok(), fits);
    }
}

#[tokio::test]
async fn a_client_certificate_is_not_shown_to_a_server_that_is_refused() {
    let ca = Authority::new();
    let (cert, key) = ca.client_pem();
    let (good, other) = (format!("[{}]", ca.root_pin()), format!("[{}]", ca.stranger_pin()));
    for versions in [Versions::Only12, Versions::Only13] {
        for (kind, pins, expected) in [
            (Cert::Good, &other, "cert_pin_mismatch"),
            (Cert::Expired, &good, "cert_expired"),
            (Cert::WrongName, &good, "cert_wrong_name"),
            (Cert::UnknownCa, &good, "cert_unknown_issuer"),
        ] {
            let tls = Tls { versions, client_cert: ClientCert::Required, ..Tls::new(kind) };
            let server = server(&ca, tls, "http").await;
            let engine = engine("http", &[("ca", &ca.root_pem()), ("cert", &cert), ("key", &key), ("pins", pins)]);
            let report = probe(&engine, "http", &server).await;
            assert_eq!(verdict(&report), expected, "{:?}", report.failure);
            assert!(!report.tls().unwrap().completed, "the handshake ends before our certificate is sent");
        }
    }
}

#[tokio::test]
async fn own_roots_may_stand_beside_others() {
    let ca = Authority::new();
    let server = server(&ca, Tls::new(Cert::Good), "tls").await;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(ca.root_pem().as_bytes()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.crt"), ca.root_pem()).unwrap();
    let (file, folder) = (file.path().to_str().unwrap(), folder.path().to_str().unwrap());
    for (settings, expected) in [
        (&[("ca_file", file)][..], "success"),
        (&[("ca_dir", folder)], "success"),
        (&[("ca_file", file), ("ca_dir", folder), ("roots", "[embedded]")], "success"),
        (&[("ca_file", file), ("roots", "[system, embedded]")], "success"),
        (&[("roots", "[embedded]")], "cert_unknown_issuer"),
        (&[], "cert_unknown_issuer"),
    ] {
        let report = probe(&engine("tls", settings), "tls", &server).await;
        assert!(
            verdict(&report) == expected || (verdict(&report) == "cert_chain_incomplete" && settings.is_empty()),
            "{settings:?}: {:?}",
            report.failure
        );
    }
}

/// Counts the secrets it is told.
#[derive(Debug, Default)]
struct Told(AtomicUsize);

impl KeyLog for Told {
    fn log(&self, _: &str, _: &[u8], _: &[u8]) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn secrets_are_logged_where_that_is_allowed() {
    let ca = Authority::new();
    for (versions, secrets) in [(Versions::Only12, 1), (Versions::Only13, 5)] {
        let server = server(&ca, Tls { versions, ..Tls::new(Cert::Good) }, "tls").await;
        let told = Arc::new(Told::default());
        let mut loading = Loading { key_log: Some(Arc::clone(&told) as _), ..Loading::default() };
        let module = engine("tls", &[("ca", &ca.root_pem())]).module("m").map(Arc::clone).unwrap();
        let plan = Plan { modules: vec![Arc::clone(&module)], ..Plan::default() };
        loading.resolvers = Arc::new(Resolvers::new(&plan, &mut loading, &Resolvers::default()).unwrap());
        let ready = ReadyModule::new(module, &mut loading, &Tokens::default()).unwrap();
        let target = format!("{NAME}:{}", server.address().port());
        let module = ModuleName::new("m");
        let job = Job::new(module, target);
        assert!(ready.probe(&job, LIMITS.timeout).await.is_success());
        assert_eq!(told.0.load(Ordering::Relaxed), secrets, "{versions:?}");
    }
}
