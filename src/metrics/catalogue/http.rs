//! What the `http` prober adds. As in `blackbox_exporter`, most of it is 0 when there was no response.

use super::{Metric, Read, Read::Probe};
use crate::metrics::Samples;
use crate::model::{Hsts, HttpFacts, ProbeReport, Prober, ProberKind, Reason, SECURITY_HEADERS};

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "probe_http_status_code",
        "Response HTTP status code",
        Probe(|report, out| out.put(report.http().map_or(0, |http| http.status))),
    )
    .note(ZERO),
    gauge(
        "probe_http_content_length",
        "Length of http content response",
        Probe(|report, out| out.put(report.http().map_or(0, content_length))),
    )
    .note("As sent, before decompression; -1 when the response does not tell, 0 when there was none"),
    gauge(
        "probe_http_uncompressed_body_length",
        "Length of uncompressed response body",
        Probe(|report, out| out.put(report.http().map_or(0, |http| http.body_length))),
    )
    .note("As far as it was read"),
    gauge("probe_http_redirects", "The number of redirects", Probe(|report, out| out.put(report.redirects())))
        .note("Received, the one that was not followed included"),
    gauge(
        "probe_http_ssl",
        "Indicates if SSL was used for the final redirect",
        Probe(|report, out| out.put(came_over_tls(report))),
    )
    .note(ZERO),
    gauge(
        "probe_http_version",
        "Returns the version of HTTP of the probe response",
        Probe(|report, out| out.put(report.http().map_or(0.0, |http| http.version))),
    )
    .note(ZERO),
    gauge("probe_failed_due_to_regex", "Indicates if probe failed due to regex", Probe(failed_due_to_regex))
        .note("The reason is `header_mismatch` or `body_mismatch`"),
    gauge(
        "probe_http_duration_seconds",
        "Duration of http request by phase, summed over all redirects",
        Probe(super::phase_times),
    )
    .labels(&["phase"])
    .absent("the phase was not reached"),
    gauge(
        "probe_http_last_modified_timestamp_seconds",
        "Returns the Last-Modified HTTP response header in unixtime",
        Probe(|report, out| out.put_known(report.http().and_then(|http| http.last_modified))),
    )
    .absent("there is no Last-Modified header, or it is not a date"),
    gauge(
        "probe_http_hsts_max_age_seconds",
        "The max-age of the Strict-Transport-Security response header",
        Probe(|report, out| out.put_known(hsts(report).map(|hsts| hsts.max_age))),
    )
    .absent(NO_HSTS),
    gauge(
        "probe_http_hsts_include_subdomains",
        "Whether the Strict-Transport-Security response header has includeSubDomains",
        Probe(|report, out| out.put_known(hsts(report).map(|hsts| hsts.include_subdomains))),
    )
    .absent(NO_HSTS),
    gauge(
        "probe_http_hsts_preload",
        "Whether the Strict-Transport-Security response header has preload",
        Probe(|report, out| out.put_known(hsts(report).map(|hsts| hsts.preload))),
    )
    .absent(NO_HSTS),
    gauge(
        "probe_http_security_header_present",
        "Whether the response has each of the headers that make browsers careful",
        Probe(security_headers),
    )
    .labels(&["header"])
    .absent("the module does not say `report_security_headers`, or there was no response"),
];

const NO_HSTS: &str = "there is no Strict-Transport-Security header, or it is not valid";

const ZERO: &str = "0 when there was no response";

const fn gauge(name: &'static str, help: &'static str, read: Read) -> Metric {
    Metric::gauge(name, help, read).only(ProberKind::Http)
}

/// -1 when a response came without telling.
fn content_length(http: &HttpFacts) -> i64 {
    http.content_length.map_or(-1, |length| i64::try_from(length).unwrap_or(i64::MAX))
}

fn came_over_tls(report: &ProbeReport) -> bool {
    report.last_hop().is_some_and(|hop| hop.http.is_some() && hop.tls.is_some())
}

fn hsts(report: &ProbeReport) -> Option<Hsts> {
    report.http().and_then(|http| http.hsts)
}

fn security_headers(report: &ProbeReport, out: &mut Samples) {
    let wanted = matches!(&report.module.prober, Prober::Http(module) if module.report_security_headers);
    let Some(http) = report.http().filter(|_| wanted) else { return };
    for header in SECURITY_HEADERS {
        out.put_with(&[header], http.security_headers.contains(&header));
    }
}

fn failed_due_to_regex(report: &ProbeReport, out: &mut Samples) {
    out.put(super::failed_for(report, &[Reason::HeaderMismatch, Reason::BodyMismatch]));
}
