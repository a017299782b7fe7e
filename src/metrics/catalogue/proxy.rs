//! The proxy on the way, for modules that have one.

use super::{Metric, Read::Probe};
use crate::metrics::Samples;
use crate::model::ProbeReport;

pub(super) const METRICS: &[Metric] = &[
    Metric::gauge("probe_proxy_used", "Whether the last request went through a proxy", Probe(used))
        .note("0 when `no_proxy` or the environment leaves the target out")
        .absent("the module has no proxy settings, or the target cannot be read"),
    Metric::gauge(
        "probe_proxy_status_code",
        "Response code of the proxy itself",
        Probe(|report, out| out.put_known(report.proxy().and_then(|proxy| proxy.status))),
    )
    .note("The status of the answer to CONNECT, 407 to a forwarded request, or the reply code of SOCKS, of which 0 is success")
    .absent("no proxy was used, it did not answer, or it forwarded the request"),
];

fn used(report: &ProbeReport, out: &mut Samples) {
    if report.module.proxy.is_some() && !report.hops.is_empty() {
        out.put(report.proxy().is_some());
    }
}
