//! What a scheduled series adds: totals and distributions over its runs, and how well it keeps its schedule.

use super::{Metric, Read, Read::Series};
use crate::metrics::{Samples, SeriesFacts};
use crate::model::{Phase, Reason};
use std::collections::BTreeMap;

pub(super) const METRICS: &[Metric] = &[
    Metric::counter("probe_runs_total", "Finished runs", Series(|series, out| out.put(series.tally.runs))),
    Metric::counter(
        "probe_failures_total",
        "Failed runs by phase and reason, after all attempts",
        Series(|series, out| by_reason(&series.tally.failures, out)),
    )
    .labels(&["phase", "reason"])
    .absent("no run failed so"),
    Metric::counter(
        "probe_first_attempt_failures_total",
        "Failed first attempts by phase and reason, whether or not a retry succeeded",
        Series(|series, out| by_reason(&series.tally.first_failures, out)),
    )
    .labels(&["phase", "reason"])
    .absent("no first attempt failed so"),
    Metric::counter(
        "probe_retries_total",
        "Attempts beyond the first of each run",
        Series(|series, out| out.put(series.tally.attempts.saturating_sub(series.tally.runs))),
    ),
    Metric::counter(
        "probe_retries_suppressed_total",
        "Retries left out because their destination had too many of late",
        Series(|series, out| out.put(series.tally.suppressed)),
    )
    .note("See `retry.budget`"),
    Metric::counter(
        "probe_redirects_total",
        "Redirects received",
        Series(|series, out| out.put(series.tally.redirects)),
    ),
    Metric::counter(
        "probe_skipped_runs_total",
        "Runs left out because the one before was still going on or the exporter was late",
        Series(|series, out| out.put(series.tally.skipped)),
    ),
    Metric::histogram(
        "probe_phase_duration_seconds",
        "Distribution of the time that each phase took, per run, summed over redirects",
        Series(phases),
    )
    .labels(&["phase"])
    .absent("the phase was never reached"),
    Metric::gauge(
        "probe_last_run_timestamp_seconds",
        "When the latest finished run began",
        Series(|series, out| out.put_known(series.last_run)),
    )
    .absent(NO_RUN),
    Metric::gauge(
        "probe_interval_seconds",
        "Time from one run's start to the next",
        Series(|series, out| out.put(series.interval)),
    ),
    Metric::gauge(
        "probe_schedule_lag_seconds",
        "How long after its due time the latest finished run began",
        Series(|series, out| out.put_known(series.last_run.map(|_| series.lag))),
    )
    .absent(NO_RUN),
    held(
        "probe_websocket_hold_up",
        "Whether the WebSocket that the job holds is open",
        Series(|series, out| out.put_known(series.hold.map(|hold| hold.up))),
    ),
    Metric::counter(
        "probe_websocket_hold_connects_total",
        "WebSockets that were opened to be held",
        Series(|series, out| out.put_known(series.hold.map(|hold| hold.opened))),
    )
    .absent(NO_HOLD),
    Metric::counter(
        "probe_websocket_hold_completed_total",
        "Held WebSockets that were closed by us, their time over or the config reloaded",
        Series(|series, out| out.put_known(series.hold.map(|hold| hold.completed))),
    )
    .absent(NO_HOLD),
    Metric::counter(
        "probe_websocket_hold_drops_total",
        "Held WebSockets that ended otherwise, by why",
        Series(|series, out| {
            for (reason, count) in series.hold.iter().flat_map(|hold| &hold.dropped) {
                out.put_with(&[reason.as_str()], *count);
            }
        }),
    )
    .labels(&["reason"])
    .absent("no connection was dropped so"),
    held(
        "probe_websocket_hold_last_lifetime_seconds",
        "How long the last held WebSocket that ended had lived",
        Series(|series, out| out.put_known(series.hold.and_then(|hold| hold.last_lifetime))),
    ),
    held(
        "probe_websocket_hold_last_idle_seconds",
        "For how long nothing had come from the server when the last held WebSocket was dropped",
        Series(|series, out| out.put_known(series.hold.and_then(|hold| hold.last_idle))),
    ),
    Metric::counter(
        "probe_ssl_certificate_changes_total",
        "How often a server's leaf certificate was replaced by another",
        Series(|series, out| out.put_known(series.certificate.has_seen().then_some(series.certificate.changes))),
    )
    .note("Compared by fingerprint, for each name that was asked for; runs that saw no certificate change nothing")
    .absent(NO_LEAF),
    Metric::gauge(
        "probe_ssl_certificate_last_change_timestamp_seconds",
        "When the run began that first saw the current leaf certificate in place of another",
        Series(|series, out| out.put_known(series.certificate.last.as_ref().map(|change| change.at))),
    )
    .absent("no change was seen yet"),
];

const NO_HOLD: &str = "the job does not hold its connections, or none was opened or ended yet";

const fn held(name: &'static str, help: &'static str, read: Read) -> Metric {
    Metric::gauge(name, help, read).absent(NO_HOLD)
}

const NO_LEAF: &str = "no certificate was seen yet";

const NO_RUN: &str = "the first run has not finished";

fn by_reason(totals: &BTreeMap<(Phase, Reason), u64>, out: &mut Samples) {
    for (&(phase, reason), &total) in totals {
        out.put_with(&[phase.as_str(), reason.as_str()], total);
    }
}

fn phases(series: &SeriesFacts<'_>, out: &mut Samples) {
    for (phase, histogram) in Phase::ALL.iter().zip(&series.tally.phases) {
        if histogram.count() > 0 {
            out.put_with(&[phase.as_str()], histogram);
        }
    }
}
