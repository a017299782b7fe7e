//! Every endpoint of the lab, through every door: the engine, `/probe`, the scheduler and the command line. The lab's
//! catalogue says what should be found; nothing here knows a single endpoint's case.

use crate::world::{Exporter, Page, Prober, ask, demo_config, edgeprobe, page_of, probe_path, until, verdict};
use edgeprobe::{
    lab::{Endpoint, Expected, Lab},
    model::{Phase, ProbeReport, ProberKind},
};
use futures_util::{StreamExt, stream};
use std::{collections::BTreeMap, time::Duration};

/// The timeout where a probe waits for it, in seconds.
const TIMEOUT: u64 = 3;
/// The timeout where a probe does not wait for it, in seconds: far more than it takes, though the machine has other work.
const PATIENT: u64 = 12;
/// How far from the timeout a probe may end: what does not wait for it is far below, what does is hardly above.
const SLACK: Duration = Duration::from_secs(1);
/// Probes at once, but for those that only wait: each has its own deadline, and all others' work must not use it up.
const AT_ONCE: usize = 8;

/// What `ask` says of each endpoint. Those that wait come last and all together: nothing then keeps them from ending.
async fn of_each<'a, T>(
    endpoints: impl IntoIterator<Item = &'a Endpoint>,
    ask: impl AsyncFn(&'a Endpoint) -> T,
) -> Vec<(&'a Endpoint, T)> {
    let (waiting, working): (Vec<_>, Vec<_>) = endpoints.into_iter().partition(|endpoint| waits(endpoint));
    let mut all = Vec::new();
    for (endpoints, at_once) in [(working, AT_ONCE), (waiting, usize::MAX)] {
        let asked = stream::iter(endpoints).map(async |endpoint| (endpoint, ask(endpoint).await));
        all.extend(asked.buffer_unordered(at_once).collect::<Vec<_>>().await);
    }
    all
}

async fn probe_all(lab: &Lab, wanted: impl Fn(&Endpoint) -> bool) -> Vec<(&Endpoint, ProbeReport)> {
    let prober = |timeout| Prober::new(&demo_config(lab, timeout, PATIENT));
    let (short, long) = (prober(TIMEOUT), prober(PATIENT));
    of_each(lab.endpoints().iter().filter(|endpoint| wanted(endpoint)), async |endpoint| {
        let prober = if waits(endpoint) { &short } else { &long };
        prober.probe(endpoint.module, &endpoint.url).await
    })
    .await
}

/// Known by the module's name, as the verdict to expect is before there is a report.
fn scans(endpoint: &Endpoint) -> bool {
    endpoint.module.starts_with("scan")
}

fn waits(endpoint: &Endpoint) -> bool {
    !scans(endpoint) && matches!(endpoint.expected, Expected::Failure { reason: "timeout" | "ping_unanswered", .. })
}

#[tokio::test]
async fn every_endpoint_gets_its_verdict_and_keeps_its_facts() {
    let lab = Lab::start().await.unwrap();
    for (endpoint, report) in probe_all(&lab, |_| true).await {
        let name = endpoint.name;
        assert_eq!(verdict(&report), endpoint.expected.to_string(), "{name}: {:?}", report.failure);
        let page = page_of(&report);
        assert_eq!(page.verdict(&[]), endpoint.expected.to_string(), "{name}");
        check_time(endpoint, &report, &page);
        check_phases(endpoint, &report, &page);
        check_certificates(&report, &page);
    }
}

/// The effective timeout is exported (alloy #3021), and only what waits for it takes so long.
fn check_time(endpoint: &Endpoint, report: &ProbeReport, page: &Page) {
    let Endpoint { name, .. } = endpoint;
    if scans(endpoint) {
        // A scan has a timeout of its own, of which silence takes a share.
        assert!(report.elapsed < report.timeout, "{name}: {:?}", report.elapsed);
        return;
    }
    let timeout = Duration::from_secs(if waits(endpoint) { TIMEOUT } else { PATIENT });
    assert!(page.says("probe_timeout_seconds", &[], timeout.as_secs_f64()), "{name}");
    assert!(page.says("probe_duration_seconds", &[], report.elapsed.as_secs_f64()), "{name}");
    if waits(endpoint) {
        assert!(report.elapsed >= timeout && report.elapsed < timeout + SLACK, "{name}: {:?}", report.elapsed);
    } else {
        assert!(report.elapsed + SLACK < timeout, "{name}: {:?}", report.elapsed);
    }
}

/// Phases add up to the whole, and those that were not reached are absent (`blackbox_exporter` #485, #758, #865).
fn check_phases(endpoint: &Endpoint, report: &ProbeReport, page: &Page) {
    let Endpoint { name, .. } = endpoint;
    let times = report.times();
    let sum: Duration = times.iter().map(|(_, took)| took).sum();
    let rest = report.elapsed.checked_sub(sum).unwrap_or_else(|| panic!("{name}: phases take {sum:?}"));
    assert!(rest < SLACK, "{name}: {rest:?} belong to no phase");
    let failed_in = report.failure.as_ref().map(|failure| failure.phase);
    let family = match report.module.prober.kind() {
        ProberKind::Http => "probe_http_duration_seconds",
        ProberKind::WebSocket => "probe_websocket_duration_seconds",
        ProberKind::Tls => "probe_tls_duration_seconds",
        ProberKind::TlsScan => "probe_tls_scan_duration_seconds",
    };
    for &phase in Phase::ALL {
        let exported = page.find(family, &[("phase", phase.as_str())]);
        assert_eq!(exported.is_some(), times.get(phase).is_some(), "{name}: {phase}");
        if failed_in.is_some_and(|failed| phase > failed && failed < Phase::Processing) {
            assert_eq!(exported, None, "{name}: {phase} comes after the failure");
        }
    }
}

/// Whoever showed a certificate has it exported, whatever became of the probe.
fn check_certificates(report: &ProbeReport, page: &Page) {
    let target = &report.job.target;
    let Some(tls) = report.tls() else {
        assert!(page.all("probe_ssl_earliest_cert_expiry", &[]).is_empty(), "{target}");
        return;
    };
    let scanned = report.scan().is_some();
    if !scanned {
        assert_eq!(page.value("probe_tls_handshake_completed", &[]) > 0.5, tls.completed, "{target}");
    }
    assert_eq!(page.all("probe_ssl_cert_not_after_timestamp_seconds", &[]).len(), tls.chain.len(), "{target}");
    let expiry = page.find("probe_ssl_earliest_cert_expiry", &[]);
    assert_eq!(expiry.is_some(), !tls.chain.is_empty(), "{target}");
    if let Some(leaf) = tls.chain.first() {
        assert!(page.says(
            "probe_ssl_cert_not_after_timestamp_seconds",
            &[("position", "leaf")],
            seconds(leaf.not_after)
        ));
        assert_eq!(page.all("probe_tls_verified", &[]).is_empty(), scanned, "{target}");
        assert_eq!(page.all("probe_ssl_last_chain_info", &[("fingerprint_sha256", &leaf.fingerprint_sha256)]).len(), 1);
    }
}

#[expect(clippy::cast_precision_loss, reason = "dates of this century fit")]
fn seconds(unix: i64) -> f64 {
    unix as f64
}

/// The catalogue's certificates are all seen: a server that gets as far as its certificate shows one.
#[tokio::test]
async fn whatever_is_wrong_with_a_certificate_it_is_seen() {
    let lab = Lab::start().await.unwrap();
    let seen: BTreeMap<_, _> = probe_all(&lab, |endpoint| !waits(endpoint))
        .await
        .into_iter()
        .map(|(endpoint, report)| (endpoint.name, report.tls().map_or(0, |tls| tls.chain.len())))
        .collect();
    for name in ["good", "expired", "not-yet-valid", "wrong-name", "expired-wrong-name", "unknown-ca", "client-cert"] {
        assert_eq!(seen[name], 2, "{name}");
    }
    for name in ["client-cert-tls12", "tls12-only", "garbage", "wss-closes"] {
        assert_eq!(seen[name], 2, "{name}");
    }
    for name in ["self-signed", "missing-intermediate"] {
        assert_eq!(seen[name], 1, "{name}");
    }
    for name in ["not-tls", "tls-alert", "refused", "plain-http", "no-such-name"] {
        assert_eq!(seen[name], 0, "{name}");
    }
}

#[tokio::test]
async fn the_three_doors_agree() {
    let lab = Lab::start().await.unwrap();
    check_requests(&lab).await;
    let exporter = Exporter::start(&demo_config(&lab, PATIENT, PATIENT)).await;
    check_schedule(&lab, &exporter).await;
    let file = exporter.config_file();
    for name in ["good", "expired", "wss-echo", "cert-client-cert", "no-such-name"] {
        let Endpoint { url, module, expected, .. } = lab.endpoint(name);
        let output = edgeprobe(&[
            "probe",
            url,
            "--module",
            module,
            "--format",
            "prometheus",
            "--config.file",
            file.to_str().unwrap(),
        ])
        .await;
        assert_eq!(Page::parse(&output.stdout).verdict(&[]), expected.to_string(), "on the command line: {name}");
        assert_eq!(output.code, Some(i32::from(*expected != Expected::Success)), "{name}");
    }
}

/// The door of `/probe`. What the exporter schedules hardly begins in that time.
async fn check_requests(lab: &Lab) {
    let exporter = Exporter::start(&demo_config(lab, PATIENT, 3600)).await;
    let answers = of_each(lab.endpoints(), async |endpoint| {
        let seconds = if waits(endpoint) { TIMEOUT } else { PATIENT };
        let path = probe_path(endpoint.module, &endpoint.url, "");
        ask(exporter.address, "GET", &path, &format!("X-Prometheus-Scrape-Timeout-Seconds: {seconds}\r\n")).await
    });
    for (endpoint, answer) in answers.await {
        assert_eq!(answer.status, 200, "{}: a failed probe is an answer", endpoint.name);
        assert_eq!(Page::parse(answer.text()).verdict(&[]), endpoint.expected.to_string(), "{}", endpoint.name);
    }
}

/// The door of the scheduler. All its series share one thread: what has no time to answer in one round has it in another.
async fn check_schedule(lab: &Lab, exporter: &Exporter) {
    exporter.until_ready().await;
    let mut left: Vec<_> = lab.endpoints().iter().collect();
    until("every scheduled series has its verdict", async || {
        let page = exporter.metrics().await;
        left.retain(|endpoint| {
            let series = [("endpoint", endpoint.name), ("instance", &endpoint.url), ("module", endpoint.module)];
            let found = page.verdict(&series);
            let late = found.ends_with("/timeout") || found.ends_with("/revocation_unknown");
            assert!(late || found == endpoint.expected.to_string(), "scheduled: {}: {found}", endpoint.name);
            found != endpoint.expected.to_string()
        });
        left.is_empty()
    })
    .await;
}

/// A probe is one connection and one handshake (otel #41193, telegraf #12402), and none outlives it (`blackbox_exporter`
/// #100), also when it fails in the middle of a body (#348).
#[tokio::test]
async fn a_probe_is_one_connection_that_does_not_outlive_it() {
    let lab = Lab::start().await.unwrap();
    let prober = Prober::new(&demo_config(&lab, PATIENT, PATIENT));
    for name in ["good", "good-h2", "wrong-status", "big-body", "wss-echo", "wss-ping", "expired", "cert-good"] {
        let endpoint = lab.endpoint(name);
        prober.probe(endpoint.module, &endpoint.url).await;
        until("the connection is closed", async || lab.open_connections(name) == 0).await;
        let unverified_or_no_http = ["expired", "cert-good"].contains(&name);
        assert_eq!(lab.requests(name).len(), usize::from(!unverified_or_no_http), "{name}");
    }
}
