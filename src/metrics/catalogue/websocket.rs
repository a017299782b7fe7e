//! What the `websocket` prober adds.

use super::{Metric, Read, Read::Probe};
use crate::metrics::{Samples, Value};
use crate::model::{ProbeReport, ProberKind, Reason};

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "probe_websocket_status_code",
        "Response HTTP status code",
        Probe(|report, out| put_if_tried(report, out, report.http().map_or(0, |http| http.status))),
    )
    .note("0 when there was no response")
    .absent(NOT_TRIED),
    gauge(
        "probe_websocket_connection_upgraded",
        "Indicates if the websocket connection was successfully upgraded",
        Probe(|report, out| put_if_tried(report, out, report.websocket().is_some_and(|ws| ws.upgraded))),
    )
    .absent(NOT_TRIED),
    gauge(
        "probe_websocket_failed_due_to_regex",
        "Indicates if probe failed due to regex",
        Probe(|report, out| put_if_tried(report, out, super::failed_for(report, &[Reason::MessageMismatch]))),
    )
    .note("The reason is `message_mismatch`")
    .absent(NOT_TRIED),
    gauge("probe_websocket_duration_seconds", "Duration of websocket request by phase", Probe(super::phase_times))
        .labels(&["phase"])
        .absent("the phase was not reached"),
    gauge(
        "probe_websocket_ping_rtt_seconds",
        "Time from a ping to its pong",
        Probe(|report, out| out.put_known(report.websocket().and_then(|ws| ws.ping_rtt))),
    )
    .absent("no ping was asked for, or no pong came"),
    gauge(
        "probe_websocket_subprotocol_info",
        "The subprotocol that the server chose",
        Probe(|report, out| out.info_known(report.websocket().and_then(|ws| ws.subprotocol.as_deref()))),
    )
    .labels(&["subprotocol"])
    .absent("the server chose none"),
    gauge(
        "probe_websocket_close_code",
        "The close code that the server sent",
        Probe(|report, out| out.put_known(report.websocket().and_then(|ws| ws.close_code))),
    )
    .absent("the server sent none"),
    gauge(
        "probe_websocket_close_clean",
        "Whether both sides closed in good order, each with a close frame",
        Probe(|report, out| out.put_known(report.websocket().and_then(|ws| ws.close_clean))),
    )
    .absent("neither side began to close"),
];

const NOT_TRIED: &str = "the target cannot be read";

const fn gauge(name: &'static str, help: &'static str, read: Read) -> Metric {
    Metric::gauge(name, help, read).only(ProberKind::WebSocket)
}

fn put_if_tried(report: &ProbeReport, out: &mut Samples, value: impl Into<Value>) {
    out.put_known(report.last_hop().map(|_| value));
}
