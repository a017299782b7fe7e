//! The scheduler with real sockets: intervals, no overlap, retries, totals. Short intervals, and polls instead of pauses.

use crate::world::{Exporter, Peer, http_module, until, with_job};
use edgeprobe::lab::{Lab, ca::Authority};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// One target never runs twice at once (cloudprober #297), however slow it is; what it misses is counted.
#[tokio::test]
async fn a_slow_target_never_overlaps_itself_and_its_misses_are_counted() {
    let ca = Authority::new();
    let peer = Peer::tls(&ca, |mut io| async move {
        let _ = tokio::io::copy(&mut io, &mut tokio::io::sink()).await;
    })
    .await;
    let yaml = with_job(&http_module(&ca, 2, ""), "interval: 2s", &[peer.url("https")]);
    let exporter = Exporter::start(&yaml).await;
    let value = async |name: &str| exporter.metrics().await.find(name, &[("job", "j")]).unwrap_or_default();
    until("it ran twice", async || value("probe_runs_total").await > 1.5).await;
    assert_eq!(peer.most(), 1, "two probes of one target at once");
    assert!(value("probe_skipped_runs_total").await > 0.5, "a probe as long as its interval misses ticks");
    let page = exporter.metrics().await;
    assert_eq!(page.verdict(&[("job", "j")]), "processing/timeout");
    exporter.stop().await;
}

/// Each run is one tick: as many connections as runs, and about one for each interval that passed.
#[tokio::test]
async fn a_target_runs_once_per_interval() {
    let ca = Authority::new();
    let peer = Peer::tls(&ca, |mut io| async move {
        let _ = io.read(&mut [0; 1024]).await;
        let _ = io.write_all(OK).await;
    })
    .await;
    let yaml = with_job(&http_module(&ca, 2, ""), "interval: 2s", &[peer.url("https")]);
    let exporter = Exporter::start(&yaml).await;
    until("the first run", async || peer.accepted() > 0).await;
    let began = std::time::Instant::now();
    until("three more", async || peer.accepted() >= 4).await;
    assert!(began.elapsed() > Duration::from_secs(4), "{:?} for three intervals", began.elapsed());
    exporter.stop().await;
}

/// A retry mends the verdict; that it was needed, and why, stays visible.
#[tokio::test]
async fn a_retry_keeps_the_first_verdict_and_the_attempts() {
    let ca = Authority::new();
    let turn = Arc::new(AtomicUsize::new(0));
    let peer = Peer::tls(&ca, move |mut io| {
        let turn = turn.fetch_add(1, Ordering::SeqCst);
        async move {
            let _ = io.read(&mut [0; 1024]).await;
            // Every other attempt ends before an answer.
            if turn % 2 == 1 {
                let _ = io.write_all(OK).await;
            }
        }
    })
    .await;
    let settings = "interval: 2s, retry: {attempts: 3, backoff: 10ms, max_backoff: 20ms}";
    let yaml = with_job(&http_module(&ca, 2, ""), settings, &[peer.url("https")]);
    let exporter = Exporter::start(&yaml).await;
    until("it ran twice", async || {
        exporter.metrics().await.find("probe_runs_total", &[("job", "j")]).is_some_and(|runs| runs > 1.5)
    })
    .await;
    let page = exporter.metrics().await;
    let series = [("job", "j")];
    assert_eq!(page.verdict(&series), "success");
    assert!(page.says("probe_attempts", &series, 2.0));
    assert!(page.says("probe_first_attempt_success", &series, 0.0));
    let first = [("job", "j"), ("phase", "processing"), ("reason", "broken")];
    assert!(page.says("probe_first_attempt_failure_info", &first, 1.0), "which flapping it was");
    assert_eq!(page.all("probe_failure_info", &series).len(), 0);
    let runs = page.value("probe_runs_total", &series);
    assert!(page.says("probe_retries_total", &series, runs));
    let broken = [("job", "j"), ("phase", "processing"), ("reason", "broken")];
    assert!(page.says("probe_first_attempt_failures_total", &broken, runs));
    assert!(page.all("probe_failures_total", &series).iter().all(|sample| sample.value < 0.5));
    exporter.stop().await;
}

/// Many targets on one dead host: together they try little more than once each.
#[tokio::test]
async fn an_outage_is_not_answered_with_a_storm_of_retries() {
    let ca = Authority::new();
    let peer = Peer::tls(&ca, |_| async {}).await;
    let targets: Vec<String> = (0..60).map(|n| format!("{}{n}", peer.url("https"))).collect();
    let settings = "interval: 4s, retry: {attempts: 5, backoff: 1ms, max_backoff: 1ms}";
    let exporter = Exporter::start(&with_job(&http_module(&ca, 1, ""), settings, &targets)).await;
    exporter.until_ready().await;
    let page = exporter.metrics().await;
    let total = |name| page.all(name, &[]).iter().map(|sample| sample.value).sum::<f64>();
    let (runs, retries) = (total("probe_runs_total"), total("probe_retries_total"));
    // A tenth of the runs, those under way included, and the floor, which grows back by ten a minute.
    assert!((1.0..=(runs + 60.0) / 10.0 + 20.0).contains(&retries), "{retries} retries in {runs} runs");
    assert!(total("probe_retries_suppressed_total") > 0.5);
    exporter.stop().await;
}

/// What will not change soon is not tried again.
#[tokio::test]
async fn a_lasting_reason_is_not_retried() {
    let lab = Lab::start().await.unwrap();
    let target = lab.endpoint("wrong-status").url.clone();
    let settings = "interval: 2s, retry: {attempts: 5, backoff: 10ms, max_backoff: 20ms}";
    let exporter = Exporter::start(&with_job(&http_module(lab.ca(), 2, ""), settings, &[target])).await;
    exporter.until_ready().await;
    let page = exporter.metrics().await;
    assert_eq!(page.verdict(&[("job", "j")]), "processing/status");
    assert!(page.says("probe_attempts", &[("job", "j")], 1.0));
    exporter.stop().await;
}

/// Stalling targets hold up nobody else (gatus #104, #1016).
#[tokio::test(flavor = "multi_thread")]
async fn thirty_stalling_targets_of_three_hundred_do_not_delay_the_rest() {
    let lab = Lab::start().await.unwrap();
    let (healthy, stalling) = (&lab.endpoint("plain-http").url, &lab.endpoint("stalled-handshake").url);
    let mut targets: Vec<String> = (0..270).map(|n| format!("{healthy}{n}")).collect();
    targets.extend((0..30).map(|n| format!("{stalling}{n}")));
    let exporter = Exporter::start(&with_job(&http_module(lab.ca(), 4, ""), "interval: 6s", &targets)).await;
    exporter.until_ready().await;
    let page = exporter.metrics().await;
    let of_healthy = |name: &str| -> Vec<f64> {
        let samples =
            page.samples.iter().filter(|s| s.name == name && s.label("instance").starts_with(healthy.as_str()));
        samples.map(|sample| sample.value).collect()
    };
    assert_eq!(of_healthy("probe_success"), [1.0; 270]);
    let late = of_healthy("probe_schedule_lag_seconds").into_iter().filter(|lag| *lag > 2.0).count();
    assert!(late <= 2, "{late} of 270 started later than half a stall");
    assert_eq!(page.all("probe_failure_info", &[("phase", "tls"), ("reason", "timeout")]).len(), 30);
    exporter.stop().await;
}

/// One series for each edge, each by its own address, all under the site's name; different certificates do not mix
/// (`blackbox_exporter` #1047).
#[tokio::test]
async fn each_edge_is_a_series_of_its_own() {
    let lab = Lab::start().await.unwrap();
    let port = |name: &str| lab.endpoint(name).url.trim_end_matches('/').rsplit_once(':').unwrap().1.to_owned();
    let edges = [format!("127.0.0.1:{}", port("good")), format!("127.0.0.1:{}", port("expired"))];
    let settings = format!("interval: 2s, connect_to: [\"{}\", \"{}\"]", edges[0], edges[1]);
    let target = "https://good.localhost/".to_owned();
    let yaml = with_job(&http_module(lab.ca(), 2, ""), &settings, std::slice::from_ref(&target));
    let exporter = Exporter::start(&yaml).await;
    exporter.until_ready().await;
    let page = exporter.metrics().await;
    let expiry = |edge: &str| page.value("probe_ssl_earliest_cert_expiry", &[("instance", &target), ("edge", edge)]);
    assert!(expiry(&edges[0]) > expiry(&edges[1]));
    assert_eq!(page.verdict(&[("edge", &edges[0])]), "success");
    assert_eq!(page.verdict(&[("edge", &edges[1])]), "tls/cert_expired");
    exporter.stop().await;
}

/// Totals add up: runs are the histogram's count, failures are the failed runs.
#[tokio::test]
async fn totals_add_up() {
    let lab = Lab::start().await.unwrap();
    let (good, bad) = (lab.endpoint("good").url.clone(), lab.endpoint("expired").url.clone());
    let loops = lab.endpoint("redirect-loop").url.clone();
    let targets = [good.clone(), bad.clone(), loops.clone()];
    let exporter = Exporter::start(&with_job(&http_module(lab.ca(), 3, ""), "interval: 3s", &targets)).await;
    until("each ran twice", async || {
        let page = exporter.metrics().await;
        let runs = page.all("probe_runs_total", &[]);
        runs.len() == 3 && runs.iter().all(|sample| sample.value > 1.5)
    })
    .await;
    let page = exporter.metrics().await;
    for target in &targets {
        let series = [("instance", target.as_str())];
        let runs = page.value("probe_runs_total", &series);
        let connects = page.value("probe_phase_duration_seconds_count", &[("instance", target), ("phase", "connect")]);
        assert!((runs - connects).abs() < 0.1, "{target}: {runs} runs, {connects} connects");
        let failed: f64 = page.all("probe_failures_total", &series).iter().map(|sample| sample.value).sum();
        let expected = if *target == good { 0.0 } else { runs };
        assert!((failed - expected).abs() < 0.1, "{target}: {failed} of {runs}");
        assert!(page.says("probe_interval_seconds", &series, 3.0));
    }
    let loops = [("instance", loops.as_str())];
    assert!(page.says("probe_redirects_total", &loops, 11.0 * page.value("probe_runs_total", &loops)));
    exporter.stop().await;
}
