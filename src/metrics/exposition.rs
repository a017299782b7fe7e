//! The page: rows and the catalogue in, OpenMetrics 1.0.0 out, and the same page as the older text format 0.0.4.

use super::{CATALOGUE, Kind, Metric, Own, Process, Read, Row, Samples, Value, samples::Sample};
use crate::model::{Outcome, PHASE_BUCKETS, PhaseHistogram};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet, text},
    metrics::MetricType,
    registry::Registry,
};
use std::{collections::HashSet, fmt, sync::Arc};

/// The page as OpenMetrics 1.0.0 text: every metric of `rows`, then the exporter's own if given.
///
/// Families without samples are left out. Of rows with the same labels only the first is shown, as two samples of one
/// series would make the whole page invalid.
pub fn render(rows: &[Row<'_>], own: Option<&Own>) -> String {
    let own = own.map(|own| (own, Process::read()));
    let mut seen = HashSet::new();
    let rows: Vec<_> = rows.iter().filter(|row| seen.insert(row.labels)).collect();
    let labels: Arc<[RowLabels]> = rows.iter().map(|row| row.labels.to_vec()).collect();
    let mut page = String::new();
    // One family at a time, so that a long page is never in memory twice.
    for metric in CATALOGUE {
        let samples = read(metric, &rows, own.as_ref());
        if !samples.is_empty() {
            write_family(&mut page, Family { metric, rows: Arc::clone(&labels), samples });
        }
    }
    text::encode_eof(&mut page).expect(STRING_GROWS);
    page
}

/// The page of what came of one job: each sample of a fan-out has its edge, the roll-ups have none.
pub fn of_outcome(outcome: &Outcome) -> String {
    let fan = match outcome {
        Outcome::One(report) => return render(&[Row { report: Some(report), ..Row::default() }], None),
        Outcome::Fan(fan) => fan,
    };
    let labels: Vec<_> = fan.edges.iter().map(|(edge, _)| [(fan.label.to_owned(), edge.clone())]).collect();
    let edges = fan.edges.iter().zip(&labels);
    let edges = edges.map(|((_, report), labels)| Row { labels, report: Some(report), ..Row::default() });
    let whole = Row { report: fan.failed.as_deref(), fan: Some(fan.facts()), ..Row::default() };
    render(&edges.chain([whole]).collect::<Vec<_>>(), None)
}

type RowLabels = Vec<(String, String)>;

const STRING_GROWS: &str = "writing to a String does not fail";

fn read(metric: &Metric, rows: &[&Row<'_>], own: Option<&(&Own, Process)>) -> Vec<Sample> {
    let mut samples = Samples::default();
    match (metric.read, own) {
        (Read::Own(read), Some((own, _))) => read(own, &mut samples),
        (Read::Process(read), Some((_, process))) => read(process, &mut samples),
        (Read::Own(_) | Read::Process(_), None) => {}
        (Read::Probe(read), _) => each_row(rows, &mut samples, |row, samples| {
            let fits = |prober| metric.prober.is_none_or(|only| only == prober);
            if let Some(report) = row.report.filter(|report| fits(report.module.prober.kind())) {
                read(report, samples);
            }
        }),
        (Read::Series(read), _) => each_row(rows, &mut samples, |row, samples| {
            if let Some(series) = &row.series {
                read(series, samples);
            }
        }),
        (Read::Fan(read), _) => each_row(rows, &mut samples, |row, samples| {
            if let Some(fan) = &row.fan {
                read(fan, samples);
            }
        }),
    }
    samples.into_list()
}

fn each_row(rows: &[&Row<'_>], samples: &mut Samples, read: impl Fn(&Row<'_>, &mut Samples)) {
    for (at, row) in rows.iter().enumerate() {
        samples.set_row(at);
        read(row, samples);
    }
}

fn write_family(page: &mut String, family: Family) {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(family));
    text::encode_registry(page, &registry).expect(STRING_GROWS);
}

/// One metric with all its samples, as the encoder takes it.
#[derive(Debug)]
struct Family {
    metric: &'static Metric,
    rows: Arc<[RowLabels]>,
    samples: Vec<Sample>,
}

impl Collector for Family {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Metric { name, help, kind, labels, read, .. } = self.metric;
        let kind_of_family = match kind {
            Kind::Gauge => MetricType::Gauge,
            Kind::Counter => MetricType::Counter,
            Kind::Histogram => MetricType::Histogram,
        };
        // OpenMetrics names a counter's family without the suffix of its samples.
        let name = name.strip_suffix("_total").unwrap_or(name);
        let mut family = encoder.encode_descriptor(name, help, None, kind_of_family)?;
        for sample in &self.samples {
            let row: &[_] = match read {
                Read::Probe(_) | Read::Series(_) | Read::Fan(_) => &self.rows[sample.row],
                Read::Own(_) | Read::Process(_) => &[],
            };
            let labels = SampleLabels { row, names: labels, values: &sample.labels };
            if labels.is_empty() {
                encode_value(&mut family, *kind, &sample.value)?;
            } else {
                encode_value(&mut family.encode_family(&labels)?, *kind, &sample.value)?;
            }
        }
        Ok(())
    }
}

/// A sample's labels: those of its row, then the metric's own.
struct SampleLabels<'a> {
    row: &'a [(String, String)],
    names: &'a [&'a str],
    values: &'a [String],
}

impl SampleLabels<'_> {
    fn is_empty(&self) -> bool {
        self.row.is_empty() && self.names.is_empty()
    }
}

impl EncodeLabelSet for SampleLabels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        debug_assert_eq!(self.names.len(), self.values.len(), "labels of the catalogue: {:?}", self.names);
        for (name, value) in self.row {
            (name.as_str(), value.as_str()).encode(encoder.encode_label())?;
        }
        for (name, value) in self.names.iter().zip(self.values) {
            (*name, value.as_str()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

fn encode_value(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> fmt::Result {
    match (kind, value) {
        (_, Value::Histogram(histogram)) => encode_histogram(encoder, histogram),
        (Kind::Counter, Value::Count(count)) => encoder.encode_counter::<NoLabelSet, _, f64>(count, None),
        (Kind::Counter, Value::Real(number)) => encoder.encode_counter::<NoLabelSet, _, f64>(number, None),
        (_, Value::Count(count)) => encoder.encode_gauge(count),
        (_, Value::Real(number)) => encoder.encode_gauge(number),
        (_, Value::Whole(number)) => encoder.encode_gauge(number),
    }
}

fn encode_histogram(encoder: &mut MetricEncoder<'_>, histogram: &PhaseHistogram) -> fmt::Result {
    let bounds = PHASE_BUCKETS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(histogram.buckets).collect();
    encoder.encode_histogram::<NoLabelSet>(histogram.sum, histogram.count(), &buckets, None)
}

/// The same page in the text format 0.0.4: counters carry `_total` in their HELP and TYPE too, and there is no end mark.
///
/// Takes what [`render`] makes, where HELP comes right before TYPE.
pub fn to_text(openmetrics: &str) -> String {
    let mut page = String::with_capacity(openmetrics.len());
    let mut help = None;
    for line in openmetrics.split_terminator('\n') {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                page.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            page.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            page.extend([line, "\n"]);
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::fixtures;

    fn labels(instance: &str) -> RowLabels {
        vec![("job".into(), "edge".into()), ("instance".into(), instance.into())]
    }

    #[test]
    fn an_empty_page_is_still_a_page() {
        assert_eq!(render(&[], None), "# EOF\n");
        assert_eq!(to_text("# EOF\n"), "");
    }

    #[test]
    fn label_values_are_escaped_in_both_formats() {
        let report = fixtures::refused();
        let labels = labels("a\\b\"c\nd\re");
        let page = render(&[Row { labels: &labels, report: Some(&report), ..Row::default() }], None);
        let line = "probe_success{job=\"edge\",instance=\"a\\\\b\\\"c\\nd\re\"} 0\n";
        assert!(page.contains(line), "{page}");
        assert!(to_text(&page).contains(line), "{page}");
    }

    #[test]
    fn rows_with_the_same_labels_appear_once() {
        let (report, labels) = (fixtures::https_ok(), labels("https://example.com/"));
        let row = Row { labels: &labels, report: Some(&report), ..Row::default() };
        assert_eq!(render(&[row, row], None), render(&[row], None));
        let nameless = Row { labels: &[], ..row };
        let page = render(&[nameless, row, nameless], None);
        let mut seen = HashSet::new();
        for line in page.lines().filter_map(|line| line.rsplit_once(' ').map(|(series, _)| series)) {
            assert!(seen.insert(line), "twice: {line}");
        }
    }

    #[test]
    fn each_family_has_one_block() {
        let (ok, refused, labels) = (fixtures::https_ok(), fixtures::refused(), labels("b"));
        let rows = [
            Row { report: Some(&ok), ..Row::default() },
            Row { labels: &labels, report: Some(&refused), ..Row::default() },
        ];
        let page = render(&rows, Some(&fixtures::own()));
        let mut seen = HashSet::new();
        for name in page.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            assert!(seen.insert(name), "twice: {name}");
        }
        let success: Vec<_> = page.lines().skip_while(|line| !line.starts_with("probe_success")).take(2).collect();
        assert_eq!(success, ["probe_success 1", "probe_success{job=\"edge\",instance=\"b\"} 0"]);
    }

    #[test]
    fn the_exporters_own_metrics_carry_no_row_labels() {
        let (report, labels) = (fixtures::https_ok(), labels("a"));
        let rows = [Row { labels: &labels, report: Some(&report), ..Row::default() }];
        let page = render(&rows, Some(&fixtures::own()));
        for line in [
            "edgeprobe_config_last_reload_successful 0\n",
            "edgeprobe_config_last_reload_success_timestamp_seconds 1793000000.0\n",
            "blackbox_exporter_config_last_reload_successful 0\n",
            "# TYPE blackbox_module_unknown counter\nblackbox_module_unknown_total 3\n",
            "edgeprobe_probes_in_flight 2\n",
            "edgeprobe_probes_total{module=\"https_2xx\"} 40\n",
            "edgeprobe_probe_failures_total{module=\"https_2xx\"} 4\n",
            "edgeprobe_scheduled_series 7\n",
        ] {
            assert!(page.contains(line), "{line} is not in\n{page}");
        }
        assert!(!render(&rows, None).contains("edgeprobe_"), "own metrics on a probe's page");
    }

    #[test]
    fn text_names_counters_in_full_and_keeps_everything_else() {
        let openmetrics = "# HELP a Some help.\n# TYPE a counter\n# UNIT a b\na_total{x=\"# HELP y\"} 1\n\
                           # HELP b Other # help\n# TYPE b gauge\nb 1.5\n# EOF\n";
        let expected = "# HELP a_total Some help.\n# TYPE a_total counter\na_total{x=\"# HELP y\"} 1\n\
                        # HELP b Other # help\n# TYPE b gauge\nb 1.5\n";
        assert_eq!(to_text(openmetrics), expected);
    }
}
