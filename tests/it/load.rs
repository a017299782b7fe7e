//! Thousands of targets that stall, and what that costs the others: nothing.

use crate::world::{Peer, Program, site, until};
use ::http::StatusCode;
use edgeprobe::lab::{Seen, ca::Authority, http::Reply};
use std::fs;
use tokio::io::{copy, sink};

fn hello(_: &Seen) -> Reply {
    Reply::new(StatusCode::OK, "hello\n")
}

/// 2,000 upgrades that are never answered, and 50 of 1,000 sites that never answer: the other 950 are probed in time, and all that
/// was held is given back.
#[tokio::test]
async fn thousands_that_stall_hold_up_nobody() {
    const STALLED: usize = 2_000;
    const SITES: usize = 1_000;
    const BAD: usize = 50;
    let ca = Authority::new();
    let silent = Peer::tcp(|mut io| async move {
        let _ = copy(&mut io, &mut sink()).await;
    })
    .await;
    let good = site(&ca, &["good"], hello).await;
    let pem = ca.root_pem().replace('\n', "\\n");
    let many = |count: usize, scheme: &str, label: &str, port: u16| {
        (0..count).map(|n| format!("\"{scheme}://{label}-{n}.localhost:{port}/\"")).collect::<Vec<_>>().join(", ")
    };
    let yaml = format!(
        "modules:\n  ws: {{prober: websocket, timeout: 20s, websocket: {{preferred_ip_protocol: ip4}}}}\n  \
         web: {{prober: http, timeout: 10s, hostname: good.localhost, http: {{preferred_ip_protocol: ip4, tls_config: {{ca: \
         \"{pem}\"}}}}}}\njobs:\n- {{job_name: stalled, modules: [ws], interval: 20s, static_configs: [{{targets: [{}]}}]}}\n\
         - {{job_name: web, modules: [web], interval: 20s, static_configs: [{{targets: [{}]}}, {{targets: [{}], labels: \
         {{bad: 'yes'}}}}]}}\n",
        many(STALLED, "ws", "stalled", silent.address.port()),
        many(SITES - BAD, "https", "good", good.address().port()),
        many(BAD, "https", "bad", silent.address.port()),
    );
    let program = Program::start("modules: {m: {prober: tls}}", &["--probe.max-in-flight=4000"]).await;
    let (idle, idle_memory) = (program.descriptors(), program.memory());
    fs::write(program.config_file(), yaml).unwrap();
    program.signal("HUP");
    until("nearly all of them stall at once", async || silent.open() > STALLED * 9 / 10).await;
    until("every good site was probed", async || {
        let page = program.metrics().await;
        let runs = page.all("probe_runs_total", &[("job", "web")]);
        runs.iter().filter(|runs| runs.label("bad").is_empty() && runs.value > 0.5).count() == SITES - BAD
    })
    .await;
    let page = program.metrics().await;
    let is_good = |label: &str| label.is_empty();
    let lags = page.all("probe_schedule_lag_seconds", &[("job", "web")]);
    let worst = lags.iter().filter(|lag| is_good(lag.label("bad"))).map(|lag| lag.value).fold(0.0, f64::max);
    assert!(worst < 1.0, "{worst} s late");
    let verdicts = page.all("probe_success", &[("job", "web")]);
    let failed = verdicts.iter().filter(|verdict| is_good(verdict.label("bad")) && verdict.value < 0.5).count();
    assert_eq!(failed, 0, "of {}", SITES - BAD);
    fs::write(program.config_file(), "modules: {m: {prober: tls}}").unwrap();
    program.signal("HUP");
    until("all is given back", async || silent.open() == 0 && program.descriptors() <= idle + 20).await;
    let held = program.memory().saturating_sub(idle_memory);
    assert!(held < 200 * 1024, "{held} KiB more than before");
}
