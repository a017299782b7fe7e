//! Writes `docs/metrics.md` and `docs/reasons.md` from the catalogue and the list of reasons, and fails when they differ.

use super::{CATALOGUE, Metric, catalogue::FAMILIES, golden::assert_file};
use crate::model::{Phase, Reason};
use std::fmt::Write;

#[test]
fn the_page_of_metrics_is_the_catalogue() {
    let mut page = METRICS_INTRO.to_owned();
    for (title, metrics) in FAMILIES {
        write!(page, "\n## {title}\n\n{METRICS_HEAD}").unwrap();
        metrics.iter().for_each(|metric| page.push_str(&metric_line(metric)));
    }
    assert!(CATALOGUE.iter().all(|metric| page.contains(&format!("| `{}` |", metric.name))));
    assert_file("docs/metrics.md", &page);
}

const METRICS_INTRO: &str = "\
# Metrics

This page is generated from `src/metrics/catalogue`; a test compares the two.

`/probe` answers with the metrics of one probe and no labels beyond those below. `/metrics` has the same for every
scheduled series, each sample led by the labels `job`, `instance` (the target), `module`, `edge` (only when the job dials
given addresses) and the job's own. Scrape it with `honor_labels: true`.

Both are served as OpenMetrics 1.0.0 and as text 0.0.4, whichever the Accept header likes better. Timestamps are Unix
seconds, durations are seconds. What is not known has no sample, except where `blackbox_exporter` has a 0 that dashboards
rely on; the table says where. The metrics' own label values are cut at 4096 bytes.

`probe_http_*` and `probe_websocket_*` are there only when that prober was used. The last column says when a metric is
missing besides that.

The words of `phase` and `reason` are explained in [reasons.md](reasons.md).
";

const METRICS_HEAD: &str = "\
| metric | type | labels | meaning | absent when |
| --- | --- | --- | --- | --- |
";

fn metric_line(metric: &Metric) -> String {
    let Metric { name, help, note, kind, absent, .. } = metric;
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let meaning = [help.trim_end_matches('.'), note].join(". ");
    let meaning = meaning.trim_end_matches(". ");
    let absent = if absent.is_empty() { "never" } else { absent };
    format!("| `{name}` | {kind} | {} | {meaning} | {absent} |\n", labels.join(", "))
}

#[test]
fn the_page_of_reasons_is_the_list_of_reasons() {
    let mut page = REASONS_INTRO.to_owned();
    for phase in Phase::ALL.iter().map(|&phase| Some(phase)).chain([None]) {
        let title = phase.map_or("any phase", Phase::as_str);
        write!(page, "\n## {title}\n\n{REASONS_HEAD}").unwrap();
        let reasons = Reason::ALL.iter().filter(|reason| reason.phase() == phase);
        reasons.for_each(|&reason| page.push_str(&reason_line(reason)));
    }
    assert!(Reason::ALL.iter().all(|reason| page.contains(&format!("| `{reason}` |"))));
    assert_file("docs/reasons.md", &page);
}

const REASONS_INTRO: &str = "\
# Reasons

This page is generated from `src/model/failure.rs`; a test compares the two.

A failed probe has exactly one phase and one reason. The same two words stand in `probe_failure_info`, in the log line, on
the pages and in what `edgeprobe probe` prints. The list is closed: a new reason comes with a new version. A job's `retry`
tries again after the reasons marked so, or after those that its `on` lists.
";

const REASONS_HEAD: &str = "\
| reason | meaning | retried |
| --- | --- | --- |
";

fn reason_line(reason: Reason) -> String {
    let retried = if reason.is_transient() { "yes" } else { "" };
    format!("| `{reason}` | {} | {retried} |\n", reason.explain())
}
