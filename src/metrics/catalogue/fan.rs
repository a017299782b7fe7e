//! The roll-ups of a fan-out: what its edges are, taken together.

use super::{Metric, Read::Fan};
use crate::metrics::Samples;
use crate::model::FanFacts;

pub(super) const METRICS: &[Metric] = &[
    rollup("probe_edges", "How many edges were probed", |fan, out| out.put(fan.edges as u64))
        .note("0 when the lookup of the addresses failed"),
    rollup("probe_edges_failing", "How many of the edges failed", |fan, out| out.put(fan.failing as u64)),
    rollup("probe_edges_success", "Whether as many edges succeeded as success_when asks for", |fan, out| {
        out.put(fan.success);
    }),
    rollup("probe_edges_left_out", "How many addresses were not probed because there were too many", |fan, out| {
        out.put(fan.left_out as u64);
    }),
    rollup("probe_edge_certificates_distinct", "How many different leaf certificates the edges sent", |fan, out| {
        out.put(fan.certificates as u64);
    }),
];

const fn rollup(name: &'static str, help: &'static str, read: fn(&FanFacts, &mut Samples)) -> Metric {
    Metric::gauge(name, help, Fan(read)).absent("the probe does not fan out")
}
