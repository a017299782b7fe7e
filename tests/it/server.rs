//! Our own HTTP from outside: parameters, formats, identity, reload, shutdown.

use crate::world::{
    Exporter, PLENTY, Page, Peer, Program, ask, demo_config, finish, http_module, probe_path, request, site, until,
    with_job,
};
use ::http::StatusCode;
use edgeprobe::lab::{Lab, Seen, ca::Authority, http::Reply};
use flate2::read::GzDecoder;
use std::{fs, io::Read, time::Duration};
use tokio::{io::AsyncReadExt, task::JoinSet};

const OPENMETRICS: &str = "Accept: application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3\r\n";

fn hello(_: &Seen) -> Reply {
    Reply::new(StatusCode::OK, "hello\n")
}

/// What is wrong with a request is told in one line, with blackbox's words and status.
#[tokio::test]
async fn requests_that_cannot_be_probed_are_told_what_is_wrong() {
    let exporter = Exporter::start(&http_module(&Authority::new(), 1, "")).await;
    let timeout = |text: &str| format!("X-Prometheus-Scrape-Timeout-Seconds: {text}\r\n");
    for (path, headers, status, words) in [
        ("/probe", String::new(), 400, "Unknown module \"http_2xx\""),
        ("/probe?module=nope&target=x", String::new(), 400, "Unknown module \"nope\""),
        ("/probe?module=m", String::new(), 400, "Target parameter is missing"),
        ("/probe?module=m&target=", String::new(), 400, "Target parameter is missing"),
        ("/probe?module=m&target=x", timeout("soon"), 500, "\"soon\""),
        ("/probe?module=m&target=x", timeout("-1"), 500, "\"-1\""),
        ("/nowhere", String::new(), 404, "404 page not found"),
        ("/logs?id=99", String::new(), 404, "Probe id not found"),
    ] {
        let answer = ask(exporter.address, "GET", path, &headers).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.text().contains(words) && answer.text().lines().count() == 1, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8", "{path}");
    }
    assert!(exporter.metrics().await.says("blackbox_module_unknown_total", &[], 2.0));
    exporter.stop().await;
}

/// What no prober can use is the probe's verdict, not an error of the request, for every kind of nonsense and every prober
/// (`blackbox_exporter` #106, #121: a panic).
#[tokio::test]
async fn impossible_targets_are_failed_probes() {
    let lab = Lab::start().await.unwrap();
    let exporter = Exporter::start(&demo_config(&lab, PLENTY, PLENTY)).await;
    for module in ["https", "wss", "cert"] {
        for target in ["http://", "https://[::1", "ftp://x/", "\u{0}", "https://a b/", "x:99999", "wss://:1/", "%%%"] {
            let page = Page::parse(exporter.probe(module, target, "").await.text());
            assert_eq!(page.verdict(&[]), "resolve/invalid_target", "{module} {target:?}");
        }
        for target in ["nothing.invalid", "wss://nothing.invalid/", "https://nothing.invalid/"] {
            let page = Page::parse(exporter.probe(module, target, "").await.text());
            assert!(page.verdict(&[]).starts_with("resolve/"), "{module} {target:?}");
        }
    }
    exporter.stop().await;
}

/// A probe is answered before the scrape ends (prometheus #16939, `blackbox_exporter` #400, #491, #868).
#[tokio::test]
async fn the_scrape_timeout_bounds_the_probe() {
    let lab = Lab::start().await.unwrap();
    let exporter = Exporter::start(&demo_config(&lab, PLENTY, PLENTY)).await;
    let path = probe_path("https", &lab.endpoint("stalled-handshake").url, "");
    let answer = ask(exporter.address, "GET", &path, "X-Prometheus-Scrape-Timeout-Seconds: 1.5\r\n").await;
    let page = Page::parse(answer.text());
    assert_eq!(page.verdict(&[]), "tls/timeout");
    assert!(page.says("probe_timeout_seconds", &[], 1.5));
    assert!(page.value("probe_duration_seconds", &[]) < 3.0);
}

#[tokio::test]
async fn a_target_is_decoded_once() {
    let ca = Authority::new();
    let server = site(&ca, &["start"], hello).await;
    let exporter = Exporter::start(&http_module(&ca, PLENTY, "")).await;
    let target = format!("https://start.localhost:{}/a%2Bb?c=d%20e+f&g=%25", server.address().port());
    let page = Page::parse(exporter.probe("m", &target, "").await.text());
    assert_eq!(page.verdict(&[]), "success");
    assert_eq!(server.log().requests()[0].path, "/a%2Bb?c=d%20e+f&g=%25");
}

#[tokio::test]
async fn the_hostname_parameter_names_the_site() {
    let lab = Lab::start().await.unwrap();
    let exporter = Exporter::start(&demo_config(&lab, PLENTY, PLENTY)).await;
    let target = &lab.endpoint("cdn-edge-by-address").url;
    let page = Page::parse(exporter.probe("https", target, "&hostname=cdn-edge.localhost").await.text());
    assert_eq!(page.verdict(&[]), "success");
}

#[tokio::test]
async fn pages_come_in_the_format_and_encoding_asked_for() {
    let lab = Lab::start().await.unwrap();
    let exporter = Exporter::start(&demo_config(&lab, 5, 10)).await;
    exporter.until_ready().await;
    for path in ["/metrics".to_owned(), probe_path("https", &lab.endpoint("expired").url, "")] {
        let text = exporter.get(&path).await;
        assert_eq!(text.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Page::parse(text.text());
        let open = ask(exporter.address, "GET", &path, OPENMETRICS).await;
        assert!(open.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
        assert!(open.text().ends_with("# EOF\n") && open.text().matches("# EOF").count() == 1);
        let packed = ask(exporter.address, "GET", &path, "Accept-Encoding: gzip\r\n").await;
        assert_eq!(packed.header("content-encoding"), "gzip");
        let mut unpacked = String::new();
        GzDecoder::new(&packed.body[..]).read_to_string(&mut unpacked).unwrap();
        Page::parse(&unpacked);
    }
    exporter.stop().await;
}

/// `/metrics` holds each series under its own identity, each sample once, each family in one place (enix #21, #25,
/// uptime-kuma #7125), dates as gauges (cloudprober #192) and no timestamps (ha-sap #298): reading the page checks the rest.
#[tokio::test]
async fn scheduled_series_carry_job_instance_and_module() {
    let lab = Lab::start().await.unwrap();
    let exporter = Exporter::start(&demo_config(&lab, 5, 10)).await;
    exporter.until_ready().await;
    let page = exporter.metrics().await;
    let edges = lab.cdn().addresses().len();
    assert_eq!(page.all("probe_success", &[]).len(), lab.endpoints().len() + edges);
    for endpoint in lab.endpoints() {
        let job = format!("lab-{}", endpoint.module);
        let identity = [("job", job.as_str()), ("instance", &endpoint.url), ("module", endpoint.module)];
        assert_eq!(page.all("probe_success", &identity).len(), 1, "{}", endpoint.name);
    }
    let mut names_of = std::collections::BTreeMap::new();
    for sample in &page.samples {
        // Only the series of a job that fans out have this one.
        let names: Vec<_> = sample.labels.keys().filter(|name| *name != "edge").cloned().collect();
        let before = names_of.entry(sample.name.clone()).or_insert_with(|| names.clone());
        assert_eq!(*before, names, "{} has one set of labels", sample.name);
    }
    for name in ["probe_ssl_earliest_cert_expiry", "probe_ssl_cert_not_after_timestamp_seconds"] {
        assert_eq!(page.types[name], "gauge");
    }
    exporter.stop().await;
}

/// When the client goes, the probe ends and its connection is closed.
#[tokio::test]
async fn a_client_that_goes_away_cancels_its_probe() {
    let lab = Lab::start().await.unwrap();
    let exporter = Exporter::start(&http_module(lab.ca(), PLENTY, "")).await;
    for name in ["stalled-handshake", "stalled-headers", "stalled-body"] {
        let client = request(exporter.address, "GET", &probe_path("m", &lab.endpoint(name).url, ""), "").await;
        until("the target is reached", async || lab.open_connections(name) == 1).await;
        drop(client);
        until("the connection is closed", async || lab.open_connections(name) == 0).await;
    }
    until("no probe is in flight", async || exporter.metrics().await.says("edgeprobe_probes_in_flight", &[], 0.0))
        .await;
}

/// Scrapes are fast while every target stalls (prometheus #16939).
#[tokio::test]
async fn metrics_are_served_while_every_target_stalls() {
    let lab = Lab::start().await.unwrap();
    let stalled = &lab.endpoint("stalled-handshake").url;
    let targets: Vec<String> = (0..100).map(|n| format!("{stalled}{n}")).collect();
    let yaml = with_job(&http_module(lab.ca(), 10, ""), "interval: 10s", &targets);
    let exporter = Exporter::start(&yaml).await;
    until("many stall", async || lab.open_connections("stalled-handshake") > 20).await;
    for _ in 0..5 {
        let began = std::time::Instant::now();
        exporter.metrics().await;
        assert!(began.elapsed() < Duration::from_secs(5), "half of what a stall takes");
    }
}

/// Each trace is that of its own probe (`blackbox_exporter` #1257, #1381, #1438).
#[tokio::test]
async fn each_debug_report_is_of_its_own_probe() {
    let lab = Lab::start().await.unwrap();
    let exporter = Exporter::start(&demo_config(&lab, PLENTY, PLENTY)).await;
    let expired = lab.endpoint("expired").url.clone();
    let mut asked = JoinSet::new();
    for n in 0..20 {
        let module = ["https", "cert"][n % 2];
        let (address, path) = (exporter.address, probe_path(module, &expired, "&debug=true"));
        asked.spawn(async move { (module, ask(address, "GET", &path, "").await) });
    }
    for (module, answer) in asked.join_all().await {
        let (log, _) = answer.text().split_once("\n\n\n").unwrap();
        assert!(log.lines().skip(1).all(|line| line.contains(&format!("module={module} "))), "{log}");
        assert!(answer.text().contains("phase:  tls\nreason: cert_expired"), "{}", answer.text());
    }
    let by_target = format!("/logs?module=cert&target={}", crate::world::encoded(&expired));
    assert!(exporter.get(&by_target).await.text().contains("module=cert "));
}

#[tokio::test]
async fn ready_only_when_every_series_has_a_result() {
    let lab = Lab::start().await.unwrap();
    let targets = [lab.endpoint("good").url.clone(), lab.endpoint("stalled-handshake").url.clone()];
    let exporter = Exporter::start(&with_job(&http_module(lab.ca(), 1, ""), "interval: 1s", &targets)).await;
    until("the stalled one is tried", async || lab.open_connections("stalled-handshake") > 0).await;
    let page = exporter.metrics().await;
    if page.all("probe_success", &[]).len() < 2 {
        let answer = exporter.get("/-/ready").await;
        assert!(answer.status == 200 || answer.text().contains(&targets[1]), "{}", answer.text());
    }
    exporter.until_ready().await;
    assert_eq!(exporter.metrics().await.all("probe_success", &[]).len(), 2);
}

/// Everything is swapped or nothing (`blackbox_exporter` #284, #1478), removed series vanish at once (uptime-kuma #598,
/// #6904), kept ones keep their totals.
#[tokio::test]
async fn a_reload_swaps_everything_or_nothing() {
    let lab = Lab::start().await.unwrap();
    let (good, slow) = (lab.endpoint("good").url.clone(), lab.endpoint("slow").url.clone());
    let yaml = |targets: &[String]| with_job(&http_module(lab.ca(), 2, ""), "interval: 2s", targets);
    let exporter = Exporter::start(&yaml(&[good.clone(), slow.clone()])).await;
    let runs = async || exporter.metrics().await.value("probe_runs_total", &[("instance", &good)]);
    until("there are totals", async || runs().await > 1.5).await;
    exporter.until_ready().await;

    for broken in ["modules: {m: {prober: nonsense}}", "modules: {m: {prober: http, timeout: 1s", "", "jobs: ["] {
        let answer = exporter.reload(broken).await;
        assert_eq!(answer.status, 500, "{broken}");
        assert!(answer.text().contains("edgeprobe.yml"), "{}", answer.text());
        let page = exporter.metrics().await;
        assert!(page.says("edgeprobe_config_last_reload_successful", &[], 0.0), "{broken}");
        assert!(page.says("blackbox_exporter_config_last_reload_successful", &[], 0.0), "{broken}");
        assert_eq!(page.all("probe_success", &[]).len(), 2, "the config before stays");
    }
    fs::remove_file(exporter.config_file()).unwrap();
    assert_eq!(ask(exporter.address, "POST", "/-/reload", "").await.status, 500, "a file that vanished");

    let before = runs().await;
    assert_eq!(exporter.reload(&yaml(std::slice::from_ref(&good))).await.status, 200);
    let page = exporter.metrics().await;
    assert!(page.says("edgeprobe_config_last_reload_successful", &[], 1.0));
    assert!(page.samples.iter().all(|sample| sample.label("instance") != slow), "removed series vanish at once");
    assert!(page.value("probe_runs_total", &[("instance", &good)]) >= before, "kept series keep their totals");
    assert_eq!(ask(exporter.address, "GET", "/-/reload", "").await.status, 405);
}

/// A probe that runs while the config is replaced ends as it began.
#[tokio::test]
async fn a_running_probe_finishes_on_the_config_it_began_with() {
    let lab = Lab::start().await.unwrap();
    let stalled = lab.endpoint("stalled-headers");
    let exporter = Exporter::start(&http_module(lab.ca(), 3, "")).await;
    let running = request(exporter.address, "GET", &probe_path("m", &stalled.url, ""), "").await;
    until("it runs", async || lab.open_connections("stalled-headers") == 1).await;
    assert_eq!(exporter.reload("modules: {other: {prober: tls}}").await.status, 200);
    assert_eq!(exporter.probe("m", "x", "").await.status, 400, "the module is gone");
    assert_eq!(Page::parse(finish(running).await.text()).verdict(&[]), "processing/timeout");
}

/// A reload leaves no task behind (cloudprober #1279, #584): what a removed target held is closed.
#[tokio::test]
async fn removed_targets_are_not_probed_any_more() {
    let ca = Authority::new();
    let peer = Peer::tls(&ca, |mut io| async move {
        let _ = io.read(&mut [0; 1024]).await;
    })
    .await;
    let yaml = |targets: &[String]| with_job(&http_module(&ca, 1, ""), "interval: 1s", targets);
    let exporter = Exporter::start(&yaml(&[peer.url("https")])).await;
    until("it is probed", async || peer.accepted() > 0).await;
    let elsewhere = ["https://nothing.invalid/".to_owned()];
    assert_eq!(exporter.reload(&yaml(&elsewhere)).await.status, 200);
    until("its connection is closed", async || peer.open() == 0).await;
    let before = peer.accepted();
    let runs = async || exporter.metrics().await.value("probe_runs_total", &[("instance", &elsewhere[0])]);
    until("others are probed twice", async || runs().await > 1.5).await;
    assert!(peer.accepted() <= before + 1, "one probe may have been under way");
    exporter.stop().await;
}

#[tokio::test]
async fn sighup_reloads_and_sigterm_lets_a_running_probe_finish() {
    let lab = Lab::start().await.unwrap();
    let mut program = Program::start(&http_module(lab.ca(), 3, ""), &[]).await;
    fs::write(program.config_file(), "modules: {m: {prober: nonsense}}").unwrap();
    program.signal("HUP");
    until("the bad config is told", async || {
        program.metrics().await.says("edgeprobe_config_last_reload_successful", &[], 0.0)
    })
    .await;
    until("the log says it", async || program.log().contains("could not be reloaded")).await;
    let good = http_module(lab.ca(), 3, "").replace("modules: {", "modules: {second: {prober: tls}, ");
    fs::write(program.config_file(), good).unwrap();
    program.signal("HUP");
    until("the good config is active", async || program.get("/config").await.text().contains("second")).await;

    let stalled = lab.endpoint("stalled-handshake");
    let running = request(program.address, "GET", &probe_path("m", &stalled.url, ""), "").await;
    until("it runs", async || lab.open_connections("stalled-handshake") == 1).await;
    program.signal("TERM");
    assert_eq!(Page::parse(finish(running).await.text()).verdict(&[]), "tls/timeout");
    assert_eq!(program.ended().await.code(), Some(0), "{}", program.log());
}

/// SIGTERM during stalled scheduled probes does not hang (telegraf #9310): the grace ends them.
#[tokio::test]
async fn the_grace_ends_what_does_not_end_by_itself() {
    let lab = Lab::start().await.unwrap();
    let targets = [lab.endpoint("stalled-handshake").url.clone()];
    let yaml = with_job(&http_module(lab.ca(), PLENTY, ""), "interval: 5m", &targets);
    let mut program = Program::start(&yaml, &["--web.shutdown-grace=0.2"]).await;
    // The first tick may be minutes away.
    let _running = request(program.address, "GET", &probe_path("m", &targets[0], ""), "").await;
    until("it runs", async || lab.open_connections("stalled-handshake") >= 1).await;
    program.signal("TERM");
    assert_eq!(program.ended().await.code(), Some(0), "{}", program.log());
    until("the connection is closed", async || lab.open_connections("stalled-handshake") == 0).await;
}

/// History is bounded (`blackbox_exporter` #236, #238, #239, #249): old probes go, failures stay longer.
#[tokio::test]
async fn history_forgets() {
    let lab = Lab::start().await.unwrap();
    let program = Program::start(&http_module(lab.ca(), 2, ""), &["--history.limit=3"]).await;
    for _ in 0..8 {
        program.probe("m", &lab.endpoint("good").url).await;
    }
    let mut known = Vec::new();
    for id in 0..8 {
        known.push(program.get(&format!("/logs?id={id}")).await.status == 200);
    }
    assert_eq!(known, [false, false, false, false, false, true, true, true]);
}
