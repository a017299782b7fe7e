//! The endpoints as a client sees them: status, headers, body.

use super::harness::{World, module, world};
use super::{ExternalUrl, Options, Prefix};
use crate::model::{
    Certificate, Failure, Header, Hop, Job, ModuleName, Phase, ProbeReport, Prober, Reason, RootStore, Series,
    SeriesKey, TextSource, TlsFacts, Trust, WebSocketModule,
};
use axum::http::{HeaderValue, Method, StatusCode, header};
use std::io::Read as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

fn plain() -> World {
    world(&[module("cert")], Options::default())
}

fn series(target: &str, edge: &str) -> Series {
    let labels = [("job", "web"), ("instance", target), ("module", "cert"), ("edge", edge)];
    let key = SeriesKey(labels.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect());
    let job = Job::new(ModuleName::new("cert"), target);
    Series { key, job, interval: Duration::from_secs(30), fan: None, hold: None }
}

fn report(job: &Job, failure: Option<Failure>) -> Arc<ProbeReport> {
    Arc::new(ProbeReport {
        job: job.clone(),
        module: module("cert"),
        started: SystemTime::UNIX_EPOCH,
        elapsed: Duration::from_millis(5),
        timeout: Duration::from_secs(5),
        token: None,
        hops: Vec::new(),
        failure,
        attempts: 1,
        retried_after: None,
        retry_suppressed: false,
    })
}

#[tokio::test]
async fn probe_errors_come_in_blackbox_exporters_order() {
    let world = plain();
    let bad_timeout = [("X-Prometheus-Scrape-Timeout-Seconds", "soon")];
    for (path, headers, status, text) in [
        ("/probe", &[][..], 400, "Unknown module \"http_2xx\"\n"),
        ("/probe?module=nope&module=cert", &bad_timeout, 400, "Unknown module \"nope\"\n"),
        (
            "/probe?module=cert",
            &bad_timeout,
            500,
            "Failed to parse timeout from Prometheus header: \"soon\" is not a number of seconds\n",
        ),
        ("/probe?module=cert", &[], 400, "Target parameter is missing\n"),
        ("/probe?module=cert&target=", &[], 400, "Target parameter is missing\n"),
    ] {
        let answer = world.ask(Method::GET, path, headers).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, text), "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    assert!(world.get("/metrics").await.text().contains("blackbox_module_unknown_total 2"));
    assert!(world.board.history().is_empty());
}

#[tokio::test]
async fn a_hostname_must_not_contradict_the_modules_host_header() {
    let mut configured = (*module("site")).clone();
    configured.prober = Prober::WebSocket(Box::new(WebSocketModule {
        headers: vec![Header {
            name: header::HOST,
            values: vec![HeaderValue::from_static("a.example")],
            secrets: Vec::new(),
        }],
        ..WebSocketModule::default()
    }));
    let world = world(&[Arc::new(configured)], Options::default());
    let answer = world.get("/probe?module=site&target=ftp://x&hostname=b.example").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        answer.text(),
        "host header defined both in module configuration (a.example) and with URL-parameter 'hostname' (b.example)\n"
    );
    let same = world.get("/probe?module=site&target=ftp://x&hostname=a.example").await;
    assert_eq!(same.status, StatusCode::OK);
}

#[tokio::test]
async fn a_failed_probe_is_an_answer_and_is_remembered_with_its_target_decoded_once() {
    let world = plain();
    let path = "/probe?module=cert&target=ftp%3A%2F%2Fx%2Fa%252Fb%2Bc&unknown=1";
    let answer = world.ask(Method::POST, path, &[]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.text().contains("probe_success 0"), "{}", answer.text());
    assert!(!answer.text().contains("# EOF"));
    let history = world.board.history();
    assert_eq!(&*history[0].1.job.target, "ftp://x/a%2Fb+c");

    let openmetrics = world.ask(Method::GET, path, &[("Accept", "application/openmetrics-text;version=1.0.0")]).await;
    assert!(openmetrics.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    assert!(openmetrics.text().ends_with("# EOF\n"));
    assert_eq!(openmetrics.header("vary"), "Accept, Accept-Encoding");
}

#[tokio::test]
async fn only_the_word_true_asks_for_the_debug_report() {
    let world = plain();
    let report = world.get("/probe?module=cert&target=ftp://x&debug=true").await;
    assert_eq!(report.header("content-type"), "text/plain; charset=utf-8");
    let parts =
        ["Logs for the probe:\n", "\n\n\nMetrics that would have been returned:\n", "\n\n\nModule configuration:\n"];
    let places: Vec<usize> = parts.iter().map(|part| report.text().find(part).expect(part)).collect();
    assert!(places.is_sorted());
    assert!(report.text().contains("reason: invalid_target"), "{}", report.text());
    for other in ["1", "TRUE"] {
        let answer = world.get(&format!("/probe?module=cert&target=ftp://x&debug={other}")).await;
        assert!(answer.header("content-type").contains("version=0.0.4"));
    }
}

#[tokio::test]
async fn metrics_are_compressed_on_request() {
    let world = plain();
    let plain = world.get("/metrics").await;
    assert_eq!(plain.header("content-encoding"), "");
    assert!(plain.body.len() > 1024);
    let packed = world.ask(Method::GET, "/metrics", &[("Accept-Encoding", "gzip")]).await;
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&packed.body[..]).read_to_string(&mut text).unwrap();
    assert!(text.contains("blackbox_module_unknown_total"));
    let head = world.ask(Method::HEAD, "/metrics", &[]).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
}

#[tokio::test]
async fn logs_follow_blackbox_exporters_rules() {
    let world = plain();
    world.get("/probe?module=cert&target=ftp://x").await;
    for (path, status, text) in [
        ("/logs?id=0&target=a", 400, "Probe id and target can't be defined at the same time\n"),
        ("/logs", 400, "Probe id or target must be defined as http query parameters\n"),
        ("/logs?id=x", 400, "Probe id or target must be defined as http query parameters\n"),
        ("/logs?id=0&module=cert", 400, "Probe module filter only works in conjunction with target parameter\n"),
        ("/logs?id=7", 404, "Probe id not found\n"),
        ("/logs?id=-1", 404, "Probe id not found\n"),
        ("/logs?target=ftp://y", 404, "Probe target not found\n"),
        ("/logs?target=ftp://x&module=other", 404, "Probe target not found\n"),
    ] {
        let answer = world.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (status, text), "{path}");
    }
    for path in ["/logs?id=0", "/logs?target=ftp://x", "/logs?target=ftp://x&module=cert"] {
        let answer = world.get(path).await;
        assert!(answer.text().starts_with("Logs for the probe:\n"), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_series_has_its_own_logs() {
    let world = plain();
    let both = [series("h.example", "192.0.2.1"), series("h.example", "192.0.2.2")];
    world.board.sync(&both);
    let failure = Failure::new(Phase::Connect, Reason::Refused, "nobody at 192.0.2.2");
    world.board.put(&both[1].key, report(&both[1].job, Some(failure)), Duration::ZERO);
    let of = |edge: &str| format!("/logs?job=web&instance=h.example&module=cert&edge={edge}");
    assert!(world.get(&of("192.0.2.2")).await.text().contains("nobody at 192.0.2.2"));
    assert_eq!(world.get(&of("192.0.2.1")).await.status, StatusCode::NOT_FOUND);
    assert!(
        world.get("/").await.text().contains("logs?job=web&amp;instance=h.example&amp;module=cert&amp;edge=192.0.2.2")
    );
}

#[tokio::test]
async fn a_replaced_certificate_is_on_the_page_and_in_the_logs() {
    let world = plain();
    let one = series("h.example", "192.0.2.1");
    world.board.sync(std::slice::from_ref(&one));
    let put = |fingerprint: &str| {
        let leaf = Certificate { fingerprint_sha256: fingerprint.into(), ..Certificate::default() };
        let tls = TlsFacts { server_name: "h.example".into(), chain: [leaf].into(), ..TlsFacts::default() };
        let hops = vec![Hop { tls: Some(tls), ..Hop::default() }];
        let report = Arc::new(ProbeReport { hops, ..ProbeReport::clone(&report(&one.job, None)) });
        world.board.put(&one.key, report, Duration::ZERO);
    };
    let logs = "/logs?job=web&instance=h.example&module=cert&edge=192.0.2.1";
    put("0a");
    assert!(!world.get(logs).await.text().contains("Certificate change:"));
    assert!(!world.get("/").await.text().contains("replaced"));
    assert!(world.get("/metrics").await.text().contains("probe_ssl_certificate_changes_total{job=\"web\""));
    put("0b");
    let text = world.get(logs).await.text().to_owned();
    assert!(text.contains("\n\n\nCertificate change:\nname:     h.example\nseen at:  "), "{text}");
    assert!(text.ends_with("previous: 0a\ncurrent:  0b\n"), "{text}");
    assert!(world.get("/").await.text().contains("title=\"before: SHA-256 0a\">replaced "));
}

#[tokio::test]
async fn ready_waits_for_every_series_and_ends_with_the_drain() {
    let world = plain();
    assert_eq!(world.get("/-/ready").await.text(), "Ready");
    let one = series("h.example", "192.0.2.1");
    world.board.sync(std::slice::from_ref(&one));
    let waiting = world.get("/-/ready").await;
    assert_eq!(waiting.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(waiting.text(), "Not ready: 1 of 1 series have no result yet\n  web h.example cert\n");
    world.board.put(&one.key, report(&one.job, None), Duration::ZERO);
    assert_eq!(world.get("/-/ready").await.status, StatusCode::OK);
    world.state.drain();
    assert_eq!(world.get("/-/ready").await.text(), "Not ready: shutting down\n");
    assert_eq!(world.get("/-/healthy").await.text(), "Healthy");
}

#[tokio::test]
async fn reload_is_a_post_that_tells_its_outcome() {
    let mut world = plain();
    let mut reloads = world.reloads.take().unwrap();
    for method in [Method::GET, Method::PUT] {
        let refused = world.ask(method, "/-/reload", &[]).await;
        assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(refused.header("allow"), "POST");
        assert_eq!(refused.text(), "This endpoint requires a POST request.\n");
    }
    for (outcome, status, text) in
        [(Ok(()), 200, ""), (Err("line 3: bad".to_owned()), 500, "failed to reload config: line 3: bad\n")]
    {
        let (answer, ()) = tokio::join!(world.ask(Method::POST, "/-/reload", &[]), async {
            reloads.recv().await.unwrap().send(outcome).unwrap();
        });
        assert_eq!((answer.status.as_u16(), answer.text()), (status, text));
    }
    drop(reloads);
    let gone = world.ask(Method::POST, "/-/reload", &[]).await;
    assert_eq!(gone.text(), "failed to reload config: the exporter is shutting down\n");
}

#[tokio::test]
async fn unknown_paths_are_404_and_config_is_shown() {
    let world = plain();
    for path in ["/nonexistent", "/probe/", "/favicon.ico", "/-/quit"] {
        let answer = world.get(path).await;
        assert_eq!((answer.status, answer.text()), (StatusCode::NOT_FOUND, "404 page not found\n"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    assert_eq!(world.get("/config").await.text(), "modules: {}\n");
}

#[tokio::test]
async fn with_a_prefix_everything_moves_under_it() {
    let options = Options {
        prefix: Prefix::parse("/bb").unwrap(),
        external_url: Some(ExternalUrl::parse("https://mon.example/bb").unwrap()),
        ..Options::default()
    };
    let world = world(&[], options);
    for (path, status, location) in [
        ("/", 302, "https://mon.example/bb/"),
        ("/bb", 307, "/bb/"),
        ("/bb/", 200, ""),
        ("/bb/metrics", 200, ""),
        ("/bb/-/healthy", 200, ""),
        ("/metrics", 404, ""),
        ("/bb/x/y", 404, ""),
    ] {
        let answer = world.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.header("location")), (status, location), "{path}");
    }
}

#[tokio::test]
async fn the_status_page_puts_failures_first_and_lets_no_markup_through() {
    let world = plain();
    let all = [series("a.example", "1"), series("b<script>", "1"), series("c.example", "1")];
    world.board.sync(&all);
    world.board.put(&all[0].key, report(&all[0].job, None), Duration::ZERO);
    let failure = Failure::new(Phase::Tls, Reason::CertExpired, "<b>\"old\"");
    world.board.put(&all[1].key, report(&all[1].job, Some(failure)), Duration::ZERO);
    let answer = world.get("/").await;
    let page = answer.text();
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'; style-src 'sha256-"));
    assert!(page.contains("3 scheduled series: 1 failing, 1 not yet probed."), "{page}");
    assert!(page.contains("failed tls: cert_expired"));
    assert!(!page.contains("<script>") && !page.contains("<b>"), "{page}");
    let place = |text: &str| page.find(text).unwrap_or_else(|| panic!("{text} is missing"));
    assert!(place("b&lt;script&gt;") < place("c.example") && place("c.example") < place("a.example"));
    assert!(!page.contains("href=\"/"), "links are relative");
}

#[tokio::test]
async fn the_status_page_and_the_metrics_tell_whom_probes_trust() {
    let mut own = (*module("<own>")).clone();
    let Prober::Tls(settings) = &mut own.prober else { panic!("a tls module") };
    let pem = crate::lab::ca::Authority::new().root_pem();
    settings.tls.trust = Trust { stores: vec![RootStore::Embedded], ca: Some(TextSource::Inline(pem)), folder: None };
    let world = world(&[own.into()], Options::default());
    let page = world.get("/").await;
    let row = page.text().lines().find(|line| line.contains("<td>module &lt;own&gt;</td><td>1</td>")).unwrap();
    assert!(row.ends_with("<td>&lt;own&gt;</td></tr>") && !row.contains("not known"), "{row}");
    assert!(page.text().contains("<td>embedded</td>"));
    let metrics = world.get("/metrics").await;
    for line in [
        "edgeprobe_trust_store_certificates{store=\"module <own>\"} 1\n",
        "edgeprobe_trust_store_earliest_expiry_timestamp_seconds{store=\"module <own>\"} ",
    ] {
        assert!(metrics.text().contains(line), "{}", metrics.text());
    }
    assert!(!metrics.text().contains("earliest_expiry_timestamp_seconds{store=\"embedded"));
}
