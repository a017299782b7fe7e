//! Whole probes against the lab: what each endpoint's verdict is, and how often the authority is asked for it.

use super::fetch::{Errand, FetchError};
use crate::{
    config,
    engine::{Engine, EngineOptions, Limits},
    lab::{
        Expected, Lab, Listener,
        ca::Cert,
        http::{self, Reply},
        ocsp::Staple,
        tls::{ClientCert, ServerTls, Tls, Versions},
    },
    model::{Job, ModuleName, OcspStatus, Plan, ProbeReport, Reason, TlsFacts, Verdict},
};
use ::http::StatusCode;
use futures_util::future::join_all;
use std::time::Duration;

/// A lab and an engine with its modules, and further ones.
struct World {
    lab: Lab,
    engine: Engine,
}

impl World {
    /// `more` are lines of a `modules` block for the `http` prober: name and `tls_config` without its CA.
    async fn new(more: &[(&str, &str)]) -> Self {
        let lab = Lab::start().await.unwrap();
        let ca = lab.ca_pem().replace('\n', "\\n");
        let module = |(name, tls): &(&str, &str)| {
            format!("  {name}: {{prober: http, http: {{tls_config: {{ca: \"{ca}\", {tls}}}}}}}\n")
        };
        let yaml = format!("modules:\n{}", more.iter().map(module).collect::<Vec<_>>().concat());
        let further = if more.is_empty() { Vec::new() } else { config::parse(&yaml, "test").unwrap().plan.modules };
        let modules = [config::parse(&lab.demo_config(), "demo").unwrap().plan.modules, further].concat();
        let plan = Plan { modules, ..Plan::default() };
        Self { engine: Engine::new(&plan, EngineOptions { max_in_flight: 1_000, key_log: false }).unwrap(), lab }
    }

    async fn probe(&self, module: &str, url: &str) -> ProbeReport {
        // A third of it is what asking may take.
        let limit = Duration::from_secs(9);
        self.probe_within(module, url, limit).await
    }

    async fn probe_within(&self, module: &str, url: &str, limit: Duration) -> ProbeReport {
        let module = ModuleName::new(module);
        let job = Job::new(module, url);
        self.engine.run(&job, Limits { timeout: limit, budget: limit }).await
    }

    /// How often the authority was asked for a path that begins so.
    fn asked(&self, path: &str) -> usize {
        self.lab.pki().log().requests().iter().filter(|seen| seen.path.starts_with(path)).count()
    }

    /// A server of the lab's authority for `localhost` names, and its URL.
    async fn server(&self, tls: Tls) -> (Listener, String) {
        let name = "own.localhost".to_owned();
        let tls = ServerTls::new(self.lab.ca(), tls, std::slice::from_ref(&name));
        let listener = http::serve(Some(tls), |_| Reply::new(StatusCode::OK, "hello\n")).await.unwrap();
        let url = format!("https://{name}:{}/", listener.address().port());
        (listener, url)
    }
}

fn tls(report: &ProbeReport) -> &TlsFacts {
    report.tls().expect("there was a handshake")
}

fn verdict(report: &ProbeReport) -> &Verdict {
    tls(report).verdict.as_ref().expect("a certificate came")
}

fn reason(report: &ProbeReport) -> Option<Reason> {
    report.failure.as_ref().map(|failure| failure.reason)
}

#[tokio::test]
async fn every_endpoint_about_revocation_is_found_to_be_what_it_is() {
    let world = World::new(&[]).await;
    let about = ["staple-", "must-staple", "ocsp-", "crl-", "missing-intermediate-published"];
    let endpoints = world.lab.endpoints().iter().filter(|e| about.iter().any(|prefix| e.name.starts_with(prefix)));
    let endpoints: Vec<_> = endpoints.collect();
    assert!(endpoints.len() > 15);
    let reports = join_all(endpoints.iter().map(|endpoint| world.probe(endpoint.module, &endpoint.url))).await;
    for (endpoint, report) in endpoints.iter().zip(reports) {
        let expected = match endpoint.expected {
            Expected::Success => None,
            Expected::Failure { reason, .. } => Some(reason),
        };
        assert_eq!(reason(&report).map(Reason::as_str), expected, "{}: {:?}", endpoint.name, report.failure);
        let failed_by_it =
            matches!(reason(&report), Some(Reason::CertRevoked | Reason::RevocationUnknown | Reason::StapleMissing));
        let check = &verdict(&report).revocation;
        assert_eq!(matches!(check, Some(Err(_))), failed_by_it, "{}: {check:?}", endpoint.name);
        let good = ["staple-good", "staple-delegated", "must-staple", "ocsp-good", "crl-good"];
        assert_eq!(*check == Some(Ok(())), good.contains(&endpoint.name), "{}: {check:?}", endpoint.name);
    }
}

#[tokio::test]
async fn many_probes_at_once_ask_the_responder_once() {
    let world = World::new(&[]).await;
    let url = &world.lab.endpoint("ocsp-good").url;
    let patient = Duration::from_secs(30);
    let reports = join_all((0..20).map(|_| world.probe_within("https_revocation_hard", url, patient))).await;
    assert!(reports.iter().all(ProbeReport::is_success));
    assert_eq!(world.asked("/ocsp/slow/"), 1);
}

#[tokio::test]
async fn a_dead_responder_costs_a_share_once_and_fails_no_soft_probe() {
    let world = World::new(&[]).await;
    let url = &world.lab.endpoint("ocsp-dead").url;
    let limit = Duration::from_secs(3);
    for _ in 0..10 {
        let report = world.probe_within("https_revocation_soft", url, limit).await;
        assert!(report.is_success(), "{:?}", report.failure);
        assert_eq!(tls(&report).revocation.responder.as_ref().unwrap().status, OcspStatus::Unreachable);
        assert_eq!(verdict(&report).revocation, None);
    }
    assert_eq!(world.asked("/ocsp/dead/"), 1);
}

#[tokio::test]
async fn nothing_private_is_asked_unless_the_module_says_so() {
    let world = World::new(&[
        ("guarded", "revocation: {ocsp: hard, crl: hard}"),
        ("guarded_issuers", "fetch_missing_issuers: true"),
    ])
    .await;
    for (module, endpoint, expected) in [
        ("guarded", "ocsp-good", Reason::RevocationUnknown),
        ("guarded", "crl-good", Reason::RevocationUnknown),
        ("guarded_issuers", "missing-intermediate-published", Reason::CertChainIncomplete),
    ] {
        let report = world.probe(module, &world.lab.endpoint(endpoint).url).await;
        assert_eq!(reason(&report), Some(expected), "{endpoint}: {:?}", report.failure);
        let cause = &report.failure.as_ref().unwrap().cause;
        let refused = cause.contains("127.0.0.1 is not an address of the public Internet");
        assert_eq!(refused, module == "guarded", "{cause}");
    }
    assert_eq!(world.lab.pki().log().requests().len(), 0);
}

#[tokio::test]
async fn nobody_is_asked_about_a_certificate_that_is_refused_anyway() {
    let world = World::new(&[]).await;
    let (_server, url) = world.server(Tls::new(Cert::Responder("/ocsp/good"))).await;
    let other = url.replace("own.localhost", "other.localhost");
    assert_eq!(reason(&world.probe("https_revocation_hard", &other).await), Some(Reason::CertWrongName));
    assert_eq!(world.asked("/"), 0);
    assert_eq!(reason(&world.probe("https_revocation_hard", &url).await), None);
    assert_eq!(world.asked("/"), 1);
}

#[tokio::test]
async fn a_huge_list_is_not_taken() {
    let world = World::new(&[]).await;
    let report = world.probe("https_revocation_hard", &world.lab.endpoint("crl-huge").url).await;
    assert_eq!(reason(&report), Some(Reason::RevocationUnknown));
    let cause = report.failure.unwrap().cause;
    assert!(cause.contains("its answer is larger than 8388608 bytes"), "{cause}");
}

#[tokio::test]
async fn a_fetched_issuer_names_what_is_missing_and_saves_nothing() {
    let world = World::new(&[]).await;
    let report = world.probe("https_fetch_issuers", &world.lab.endpoint("missing-intermediate-published").url).await;
    let cause = &report.failure.as_ref().unwrap().cause;
    assert_eq!(cause, "the server did not send `CN=edgeprobe lab intermediate`, with which the chain is complete");
    assert!(!verdict(&report).chain_complete());
    assert_eq!(world.asked("/issuer.cer"), 1);
    let stranger = world.probe("https_fetch_issuers", &world.lab.endpoint("unknown-ca").url).await;
    assert_eq!(reason(&stranger), Some(Reason::CertUnknownIssuer));
}

#[tokio::test]
async fn a_revoked_staple_is_reported_even_where_the_verdict_is_ignored() {
    let world = World::new(&[("careless", "insecure_skip_verify: true")]).await;
    let report = world.probe("careless", &world.lab.endpoint("staple-revoked").url).await;
    assert!(report.is_success());
    assert!(matches!(verdict(&report).revocation, Some(Err((Reason::CertRevoked, _)))));
    let staple = tls(&report).revocation.staple.as_ref().unwrap();
    assert_eq!((staple.status, staple.reason), (OcspStatus::Revoked, Some("key_compromise")));
}

#[tokio::test]
async fn our_certificate_is_not_shown_to_a_server_whose_own_is_revoked() {
    let world = World::new(&[]).await;
    let (cert, key) = world.lab.client_pem();
    let (cert, key) = (cert.replace('\n', "\\n"), key.replace('\n', "\\n"));
    let yaml = format!(
        "modules: {{mtls: {{prober: http, http: {{tls_config: {{ca: \"{}\", cert: \"{cert}\", key: \"{key}\"}}}}}}}}",
        world.lab.ca_pem().replace('\n', "\\n")
    );
    let engine =
        Engine::new(&config::parse(&yaml, "test").unwrap().plan, EngineOptions { max_in_flight: 1, key_log: false })
            .unwrap();
    let world = World { engine, ..world };
    for versions in [Versions::Only12, Versions::Only13] {
        let revoked =
            Tls { staple: Some(Staple::Revoked), client_cert: ClientCert::Required, versions, ..Tls::new(Cert::Good) };
        let (server, url) = world.server(revoked).await;
        let report = world.probe("mtls", &url).await;
        assert!(!report.is_success());
        assert_eq!(reason(&report), Some(Reason::CertRevoked), "{versions:?}");
        assert!(matches!(verdict(&report).revocation, Some(Err((Reason::CertRevoked, _)))), "{versions:?}");
        assert!(!tls(&report).completed, "{versions:?}: the handshake was stopped before our certificate");
        assert_eq!(server.log().requests().len(), 0);
        let good = Tls { staple: Some(Staple::Good), ..revoked };
        let (_server, url) = world.server(good).await;
        assert_eq!(reason(&world.probe("mtls", &url).await), None, "{versions:?}");
    }
}

#[tokio::test]
async fn fetching_is_bounded_in_every_way() {
    let server = http::serve(None, |seen| match seen.path.as_str() {
        "/file" => Reply::new(StatusCode::OK, "0123456789"),
        "/1" => Reply::redirect("/2"),
        "/2" => Reply::redirect("/3"),
        "/3" => Reply::redirect("/file"),
        "/0" => Reply::redirect("/1"),
        "/tls" => Reply::redirect("https://127.0.0.1/"),
        "/dead" => Reply::new(StatusCode::OK, "").after(Duration::from_secs(3600)),
        _ => Reply::new(StatusCode::NOT_FOUND, "no"),
    })
    .await
    .unwrap();
    let fetch = async |url: &str, max_bytes, allow_private| {
        let errand = Errand { url, post: None, max_bytes, allow_private };
        let patience = Duration::from_secs(if url.ends_with("/dead") { 1 } else { 60 });
        errand.run(crate::probe::run::share(None, patience)).await
    };
    let at = |path: &str| format!("http://127.0.0.1:{}{path}", server.address().port());
    assert_eq!(fetch(&at("/file"), 10, true).await, Ok(b"0123456789".to_vec()));
    assert_eq!(fetch(&at("/file"), 9, true).await, Err(FetchError::TooLarge(9)));
    assert_eq!(fetch(&at("/1"), 10, true).await, Ok(b"0123456789".to_vec()));
    assert_eq!(fetch(&at("/0"), 10, true).await, Err(FetchError::Redirects));
    assert_eq!(fetch(&at("/tls"), 10, true).await, Err(FetchError::NotHttp("https://127.0.0.1/".into())));
    assert_eq!(fetch(&at("/none"), 10, true).await, Err(FetchError::Status(404)));
    assert_eq!(fetch(&at("/dead"), 10, true).await, Err(FetchError::TimedOut));
    let seen = server.log().requests().len();
    assert_eq!(fetch(&at("/file"), 10, false).await, Err(FetchError::Private([127, 0, 0, 1].into())));
    assert_eq!(server.log().requests().len(), seen, "the guard comes before the connection");
    for url in ["ldap://x/", "https://x/", "file:///etc/passwd", "http://", ""] {
        assert!(matches!(fetch(url, 10, true).await, Err(FetchError::NotHttp(_))), "{url}");
    }
}
