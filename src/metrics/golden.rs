//! Whole pages, compared to the letter with the files in `golden/`: OpenMetrics in `.prom`, text in `.txt`.

use super::{CATALOGUE, Read, Row, SeriesFacts, fixtures, render, to_text};
use crate::model::{CertificateWatch, FanReport, HoldEvent, HoldTally, ProbeReport, Reason, SuccessWhen, Tally};
use std::{fmt::Write, fs, path::Path, sync::Arc, time::Duration};

/// Compares `actual` with a file of the repository. Set `UPDATE_GOLDEN=1` to write the file instead.
#[track_caller]
pub(super) fn assert_file(path: &str, actual: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, actual).unwrap();
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let diff = diff(&expected, actual);
    assert!(
        expected == actual,
        "{path} differs (- file, + now):\n{diff}\nIf the change is wanted, run with UPDATE_GOLDEN=1 or paste:\n{actual}"
    );
}

/// The lines that only one of the two has: enough where lines are unique, as they are on a page.
fn diff(expected: &str, actual: &str) -> String {
    let missing = |from: &str, other: &str, sign: char| {
        let other: Vec<_> = other.lines().collect();
        from.lines().enumerate().filter(|(_, line)| !other.contains(line)).fold(String::new(), |mut all, (at, line)| {
            writeln!(all, "{sign} {}: {line}", at + 1).unwrap();
            all
        })
    };
    missing(expected, actual, '-') + &missing(actual, expected, '+')
}

#[track_caller]
fn assert_page(name: &str, rows: &[Row<'_>]) {
    let page = render(rows, None);
    assert_file(&format!("src/metrics/golden/{name}.prom"), &page);
    assert_file(&format!("src/metrics/golden/{name}.txt"), &to_text(&page));
}

#[track_caller]
fn assert_probe(name: &str, report: &ProbeReport) {
    assert_page(name, &[Row { report: Some(report), ..Row::default() }]);
}

#[test]
fn https_after_a_redirect() {
    assert_probe("https_ok", &fixtures::https_ok());
}

#[test]
fn an_expired_certificate_hides_no_fact() {
    assert_probe("expired", &fixtures::expired());
}

#[test]
fn a_name_that_does_not_exist() {
    assert_probe("no_such_name", &fixtures::no_such_name());
}

#[test]
fn a_target_that_cannot_be_read() {
    assert_probe("unreadable", &fixtures::unreadable());
}

#[test]
fn a_site_that_refuses_a_token() {
    assert_probe("token", &fixtures::token());
}

#[test]
fn a_websocket_with_ping_and_subprotocol() {
    assert_probe("wss_ok", &fixtures::wss_ok());
}

#[test]
fn a_refused_upgrade() {
    assert_probe("ws_refused", &fixtures::ws_refused());
}

#[test]
fn an_incomplete_chain_for_another_name() {
    assert_probe("tls_incomplete", &fixtures::tls_incomplete());
}

#[test]
fn a_scan_of_an_old_server() {
    assert_probe("tls_scan", &fixtures::scan());
}

#[test]
fn a_revoked_certificate() {
    assert_probe("revoked", &fixtures::revoked());
}

#[test]
fn a_refusal_of_a_proxy_that_was_given_the_name() {
    assert_probe("proxy_refused", &fixtures::proxy_refused());
}

#[test]
fn scheduled_series_with_totals() {
    let (ok, refused) = (fixtures::https_ok(), fixtures::refused());
    let mut tally = Tally::default();
    for report in [&ok, &ok, &refused, &fixtures::expired()] {
        tally.add(report);
    }
    (tally.skipped, tally.suppressed) = (1, 2);
    let unborn = Tally::default();
    let labels = |instance: &str, edge: Option<&str>| {
        let all = [("job", Some("cdn")), ("instance", Some(instance)), ("module", Some("https_2xx")), ("edge", edge)];
        all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect::<Vec<_>>()
    };
    let mut certificate = CertificateWatch::default();
    certificate.see(&ok);
    let mut renewed = ok.clone();
    let mut chain = renewed.hops[1].tls.as_ref().unwrap().chain.to_vec();
    chain[0].fingerprint_sha256 = "7a".repeat(32);
    renewed.hops[1].tls.as_mut().unwrap().chain = chain.into();
    certificate.see(&renewed);
    let mut hold = HoldTally::default();
    let (lived, idle) = (Duration::from_secs(61), Duration::from_secs(60));
    for event in [HoldEvent::Opened, HoldEvent::Dropped { reason: Reason::Broken, lived, idle }, HoldEvent::Opened] {
        hold.add(event);
    }
    let unseen = CertificateWatch::default();
    let facts = SeriesFacts {
        tally: &tally,
        certificate: &certificate,
        interval: Duration::from_secs(30),
        lag: Duration::from_micros(1_500),
        last_run: Some(fixtures::at(1_793_000_100)),
        hold: Some(&hold),
    };
    let (reported, waiting) = (labels("https://example.com/", Some("192.0.2.7")), labels("https://b.example/", None));
    assert_page(
        "scheduled",
        &[
            Row { labels: &reported, report: Some(&refused), series: Some(facts), ..Row::default() },
            Row {
                labels: &waiting,
                report: None,
                series: Some(SeriesFacts { tally: &unborn, certificate: &unseen, last_run: None, hold: None, ..facts }),
                ..Row::default()
            },
        ],
    );
}

#[test]
fn own_name_servers_and_a_race() {
    assert_probe("resolved_and_raced", &fixtures::resolved_and_raced());
}

#[test]
fn three_edges_of_which_one_differs() {
    let good = fixtures::https_ok();
    let mut other = good.clone();
    let mut chain = other.hops[1].tls.as_ref().unwrap().chain.to_vec();
    chain[0].fingerprint_sha256 = "7a".repeat(32);
    other.hops[1].tls.as_mut().unwrap().chain = chain.into();
    let edges = [("192.0.2.7", good.clone()), ("192.0.2.8", other), ("192.0.2.9", good)];
    let fan = FanReport {
        label: "edge",
        edges: edges.map(|(edge, report)| (edge.to_owned(), Arc::new(report))).into(),
        failed: None,
        left_out: 1,
        success_when: SuccessWhen::All,
    };
    // The roll-ups only: the edges look like any other probe.
    assert_page("edges", &[Row { fan: Some(fan.facts()), ..Row::default() }]);
}

#[test]
fn every_metric_of_a_probe_is_on_some_page() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics/golden");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let pages: String = files
        .filter(|file| file.extension().is_some_and(|e| e == "txt"))
        .fold(String::new(), |all, file| all + &fs::read_to_string(file).unwrap());
    for metric in
        CATALOGUE.iter().filter(|metric| matches!(metric.read, Read::Probe(_) | Read::Series(_) | Read::Fan(_)))
    {
        assert!(pages.contains(&format!("# TYPE {} {}\n", metric.name, metric.kind)), "{} is on no page", metric.name);
    }
}
