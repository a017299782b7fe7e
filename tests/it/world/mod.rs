//! What the tests are made of. The rest of the tests reach the program through here, so a change of its API changes one
//! place.

mod client;
mod exporter;
mod page;
mod peer;
mod program;

pub(crate) use client::{Answer, ask, finish, get, request};
pub(crate) use exporter::{Exporter, probe_path};
pub(crate) use page::Page;
pub(crate) use peer::{Io, Peer};
pub(crate) use program::{Output, Program, edgeprobe, edgeprobe_with};

use edgeprobe::{
    config,
    engine::{Engine, EngineOptions, Limits},
    lab::{
        Expected, Lab, Listener, Seen,
        ca::{Authority, Cert},
        http::{self, Reply},
        tls::{ServerTls, Tls},
    },
    metrics,
    model::{Job, ModuleName, ProbeReport},
};
use std::time::{Duration, Instant};

/// Longer than anything takes on a slow machine; only a test that fails waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The timeout, in seconds, of a probe that is not to wait for it. Longer than [`PATIENCE`]: what ends only with it fails
/// the test.
pub(crate) const PLENTY: u64 = 120;

/// Waits until `done`, and fails the test when that takes too long.
pub(crate) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !done().await {
        let waited = began.elapsed();
        assert!(waited < PATIENCE, "waited too long until {what}");
        // Who waits for long asks less often: many tests that ask are load for each other.
        tokio::time::sleep((waited / 20).clamp(Duration::from_millis(5), Duration::from_millis(250))).await;
    }
}

/// `yaml` with the root to trust in place of `@CA@`.
pub(crate) fn trusting(ca_pem: &str, yaml: &str) -> String {
    let quoted = serde_json::to_string(ca_pem).unwrap();
    yaml.replace("@CA@", &quoted)
}

/// One module named `m` of the `http` prober that trusts `ca`, with this timeout in seconds and these further lines (flow
/// style, each with its comma) in its block.
pub(crate) fn http_module(ca: &Authority, timeout: u64, more: &str) -> String {
    let text = format!(
        "modules: {{m: {{prober: http, timeout: {timeout}s, http: {{preferred_ip_protocol: ip4, {more} \
         tls_config: {{ca: @CA@}}}}}}}}\n"
    );
    trusting(&ca.root_pem(), &text)
}

/// As [`http_module`], of the `websocket` prober.
pub(crate) fn websocket_module(ca: &Authority, timeout: u64, more: &str) -> String {
    let text = format!(
        "modules: {{m: {{prober: websocket, timeout: {timeout}s, websocket: {{preferred_ip_protocol: ip4, {more} \
         http_config: {{tls_config: {{ca: @CA@}}}}}}}}}}\n"
    );
    trusting(&ca.root_pem(), &text)
}

/// `modules` with one job named `j` of the module `m` over these targets; `settings` is in flow style.
pub(crate) fn with_job(modules: &str, settings: &str, targets: &[String]) -> String {
    let targets = serde_json::to_string(targets).unwrap();
    format!("{modules}jobs: [{{job_name: j, modules: [m], {settings}, static_configs: [{{targets: {targets}}}]}}]\n")
}

/// Probes without a server: an engine made from a config.
pub(crate) struct Prober(Engine);

impl Prober {
    pub(crate) fn new(yaml: &str) -> Self {
        let config = config::parse(yaml, "test.yml").unwrap_or_else(|errors| panic!("{errors}\n{yaml}"));
        Self(Engine::new(&config.plan, EngineOptions { max_in_flight: 1000, key_log: false }).unwrap())
    }

    /// One attempt, for as long as the module says.
    pub(crate) async fn probe(&self, module: &str, target: &str) -> ProbeReport {
        self.run(&plain_job(module, target)).await
    }

    pub(crate) async fn run(&self, job: &Job) -> ProbeReport {
        let timeout = self.0.module(job.module.as_str()).unwrap().timeout.unwrap();
        self.0.run(job, Limits { timeout, budget: timeout }).await
    }
}

/// A job as `/probe` makes it from module and target.
pub(crate) fn plain_job(module: &str, target: &str) -> Job {
    Job::new(ModuleName::new(module), target)
}

/// `success`, or `phase/reason`: as [`Expected`] prints.
pub(crate) fn verdict(report: &ProbeReport) -> String {
    match &report.failure {
        None => Expected::Success.to_string(),
        Some(failure) => format!("{}/{}", failure.phase, failure.reason),
    }
}

/// Fails the test, with all there is to know, unless the verdict is this.
#[track_caller]
pub(crate) fn assert_verdict(report: &ProbeReport, expected: &str) {
    assert_eq!(verdict(report), expected, "{}: {:?}", report.job.shown_target(), report.failure);
}

/// Fails the test unless the probe waited for its deadline, and for one only.
#[track_caller]
pub(crate) fn assert_waited(report: &ProbeReport) {
    let ProbeReport { elapsed, timeout, .. } = report;
    assert!(elapsed >= timeout && *elapsed < *timeout * 2, "{elapsed:?} of {timeout:?}");
}

/// Fails the test unless the probe ended by itself, long before its deadline.
#[track_caller]
pub(crate) fn assert_did_not_wait(report: &ProbeReport) {
    let ProbeReport { elapsed, timeout, .. } = report;
    assert!(*elapsed < *timeout / 2, "{elapsed:?} of {timeout:?}");
}

/// The metrics of one report, read back.
pub(crate) fn page_of(report: &ProbeReport) -> Page {
    let row = metrics::Row { report: Some(report), ..metrics::Row::default() };
    Page::parse(&metrics::to_text(&metrics::render(&[row], None)))
}

/// A site with a good certificate for each of `labels` under `.localhost`, which serves no other name.
pub(crate) async fn site<H>(ca: &Authority, labels: &[&str], handler: H) -> Listener
where
    H: Fn(&Seen) -> Reply + Send + Sync + 'static,
{
    let names: Vec<String> = labels.iter().map(|label| format!("{label}.localhost")).collect();
    let tls = Tls { strict_sni: true, ..Tls::new(Cert::Good) };
    http::serve(Some(ServerTls::new(ca, tls, &names)), handler).await.unwrap()
}

/// The lab's config with one attempt's timeout and the interval of its jobs changed, both in seconds; scans keep their
/// timeout, which has to fit into the interval.
pub(crate) fn demo_config(lab: &Lab, timeout: u64, interval: u64) -> String {
    lab.demo_config()
        .replace("interval: 10s", &format!("interval: {}s", interval.max(4)))
        .replace("interval: 5s", &format!("interval: {interval}s"))
        .replace("timeout: 2s", &format!("timeout: {timeout}s"))
}

/// A query value, encoded.
pub(crate) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
