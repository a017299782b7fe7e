//! The catalogue: every metric, once, with its name, its help and how to read it.
//!
//! The page, the docs and the tests all go through it. Names and help texts that `blackbox_exporter` has too are its
//! own to the letter, because dashboards and alerts rely on them.

mod fan;
mod http;
mod probe;
mod proxy;
mod scan;
mod series;
mod tls;
mod websocket;

use super::{Own, Process, Samples, SeriesFacts, own};
use crate::model::{FanFacts, ProbeReport, ProberKind, Reason};

/// One metric: what it is called, what it means and where its samples come from.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// The name, with `_total` when it is a counter.
    pub name: &'static str,
    /// The HELP text: one line, no backslash or quote, as the encoder does not escape it.
    pub help: &'static str,
    /// What the HELP text leaves open, for the docs; may be empty.
    pub note: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its own labels, which follow those of the row.
    pub labels: &'static [&'static str],
    /// The prober that has it; `None` when every one may.
    pub prober: Option<ProberKind>,
    /// When it is missing from a page of its scope, in words; empty means never.
    pub absent: &'static str,
    /// Its scope, and how its samples are read there.
    pub read: Read,
}

/// A metric's type.
#[derive(Clone, Copy, Debug, Eq, PartialEq, strum::Display)]
#[strum(serialize_all = "lowercase")]
pub enum Kind {
    /// A value that may go up and down.
    Gauge,
    /// A value that only grows.
    Counter,
    /// A distribution over [`crate::model::PHASE_BUCKETS`].
    Histogram,
}

/// Where a metric is read from, which says on which pages it can be.
#[derive(Clone, Copy, Debug)]
pub enum Read {
    /// The report of one probe: on `/probe`, and on `/metrics` for each scheduled series.
    Probe(fn(&ProbeReport, &mut Samples)),
    /// The running facts of a scheduled series: on `/metrics` only.
    Series(fn(&SeriesFacts<'_>, &mut Samples)),
    /// The roll-ups of a target that fans out: on the pages of its reports.
    Fan(fn(&FanFacts, &mut Samples)),
    /// The exporter: on `/metrics` only.
    Own(fn(&Own, &mut Samples)),
    /// The exporter's process, where the system tells: on `/metrics` only.
    Process(fn(&Process, &mut Samples)),
}

impl Metric {
    pub(super) const fn gauge(name: &'static str, help: &'static str, read: Read) -> Self {
        Self { name, help, note: "", kind: Kind::Gauge, labels: &[], prober: None, absent: "", read }
    }

    pub(super) const fn counter(name: &'static str, help: &'static str, read: Read) -> Self {
        Self { kind: Kind::Counter, ..Self::gauge(name, help, read) }
    }

    const fn histogram(name: &'static str, help: &'static str, read: Read) -> Self {
        Self { kind: Kind::Histogram, ..Self::gauge(name, help, read) }
    }

    const fn only(self, prober: ProberKind) -> Self {
        Self { prober: Some(prober), ..self }
    }

    pub(super) const fn labels(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }

    pub(super) const fn note(self, note: &'static str) -> Self {
        Self { note, ..self }
    }

    pub(super) const fn absent(self, absent: &'static str) -> Self {
        Self { absent, ..self }
    }
}

/// The metrics by what they are about, in the order of the page and of the docs.
pub(super) const FAMILIES: &[(&str, &[Metric])] = &[
    ("Every probe", probe::VERDICT),
    ("Name resolution", probe::RESOLVE),
    ("A target over several addresses", fan::METRICS),
    ("Proxies", proxy::METRICS),
    ("Prober `http`", http::METRICS),
    ("Prober `websocket`", websocket::METRICS),
    ("Prober `tls`", tls::PROBER),
    ("Prober `tls_scan`", scan::METRICS),
    ("TLS, whichever the prober", tls::FACTS),
    ("Scheduled series", series::METRICS),
    ("The exporter itself", own::METRICS),
];

/// Every metric.
pub const CATALOGUE: &[Metric] = &joined::<{ count() }>();

const fn count() -> usize {
    let (mut family, mut count) = (0, 0);
    while family < FAMILIES.len() {
        count += FAMILIES[family].1.len();
        family += 1;
    }
    count
}

/// Iterators and `concat` do not run in constants; loops do.
const fn joined<const N: usize>() -> [Metric; N] {
    let mut all = [FAMILIES[0].1[0]; N];
    let (mut family, mut filled) = (0, 0);
    while family < FAMILIES.len() {
        let metrics = FAMILIES[family].1;
        let mut at = 0;
        while at < metrics.len() {
            all[filled] = metrics[at];
            filled += 1;
            at += 1;
        }
        family += 1;
    }
    all
}

/// The phases that were reached, each with its time summed over the hops.
fn phase_times(report: &ProbeReport, out: &mut Samples) {
    for (phase, took) in report.times().iter() {
        out.put_with(&[phase.as_str()], took);
    }
}

fn failed_for(report: &ProbeReport, reasons: &[Reason]) -> bool {
    report.failure.as_ref().is_some_and(|failure| reasons.contains(&failure.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RESERVED_LABELS;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_lower_case_and_end_as_their_type_asks() {
        let mut seen = BTreeSet::new();
        for metric in CATALOGUE {
            let name = metric.name;
            assert!(seen.insert(name.strip_suffix("_total").unwrap_or(name)), "{name} is there twice");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == Kind::Counter, "{name}");
            for suffix in ["_count", "_sum", "_bucket", "_created"] {
                assert!(!name.ends_with(suffix), "{name} looks like a part of a histogram");
            }
        }
    }

    #[test]
    fn help_texts_need_no_escaping() {
        for metric in CATALOGUE {
            assert!(!metric.help.is_empty(), "{}", metric.name);
            assert!(!metric.help.contains(['\n', '\\', '"']), "{}", metric.name);
        }
    }

    #[test]
    fn labels_cannot_clash_with_those_of_a_job() {
        for metric in CATALOGUE.iter().filter(|m| matches!(m.read, Read::Probe(_) | Read::Series(_) | Read::Fan(_))) {
            for label in metric.labels {
                assert!(RESERVED_LABELS.contains(label), "{}: `{label}` is not reserved", metric.name);
            }
        }
    }
}
