//! Jobs: which module probes which target how often, as one series per module, target and edge.

use super::super::error::{At, Findings, Wrong, nearest, wrong};
use super::super::raw::{RawJob, RawRetry, RawStatic};
use super::super::{show, value};
use super::{Outline, duration_or, each, later, no_duplicates};
use crate::model::{ConnectTo, Job, ModuleName, ProberKind, RESERVED_LABELS, Retry, Series, SeriesKey, Target};
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

const DEFAULT_INTERVAL: &str = "30s";
/// Targets are not hammered, and a tick stays far above the scheduler's own cost.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// More attempts hide an outage rather than ride out a hiccup.
const MAX_ATTEMPTS: u32 = 10;
const DEFAULT_BACKOFF: &str = "200ms";
const DEFAULT_MAX_BACKOFF: &str = "2s";

/// The series of all jobs, in file order.
pub(super) fn jobs(raw: &mut [RawJob], modules: &BTreeMap<String, Outline>, findings: &mut Findings) -> Vec<Series> {
    let at = At::default().key("jobs");
    let names: Vec<String> = raw.iter().map(|job| job.job_name.clone().unwrap_or_default()).collect();
    let mut all = AllSeries::default();
    for (i, raw) in raw.iter_mut().enumerate() {
        let at = at.index(i);
        let name_at = at.key("job_name");
        if names[i].is_empty() {
            findings.add(&name_at, wrong("no job name", "write one: it becomes the label `job`"));
        } else if names[..i].contains(&names[i]) {
            findings
                .add(&name_at, wrong(format!("a second job is named `{}`", names[i]), "give each job its own name"));
        }
        job(raw, &at, modules, findings).add_to(&mut all, findings);
    }
    all.series
}

/// The series so far, and where each came from.
#[derive(Default)]
struct AllSeries {
    series: Vec<Series>,
    places: HashMap<SeriesKey, At>,
}

/// A job whose settings are read.
struct Plan<'a> {
    at: At,
    name: &'a str,
    modules: Vec<(&'a str, Option<ProberKind>)>,
    interval: Duration,
    retry: Retry,
    edges: Vec<Option<ConnectTo>>,
    statics: &'a [RawStatic],
}

fn job<'a>(raw: &'a mut RawJob, at: &At, outlines: &BTreeMap<String, Outline>, findings: &mut Findings) -> Plan<'a> {
    later(findings, at, &[("file_sd_configs", raw.file_sd_configs), ("http_sd_configs", raw.http_sd_configs)]);
    check_addresses(raw, at, findings);
    let interval = duration_or(findings, &at.key("interval"), &mut raw.interval, DEFAULT_INTERVAL);
    if interval < MIN_INTERVAL && value::duration(raw.interval.as_deref().unwrap_or_default()).is_ok() {
        findings.add(&at.key("interval"), wrong("the interval is shorter than 1s", "write 1s or more"));
    }
    let retry = retry(raw.retry.get_or_insert_default(), &at.key("retry"), findings);
    let edges = edges(raw, at, findings);
    check_modules(raw, at, interval, (outlines, findings));
    let given = raw.static_configs.as_deref().unwrap_or_default();
    let is_later = [raw.file_sd_configs, raw.http_sd_configs].into_iter().flatten().any(|later| later.0);
    if !is_later && given.iter().all(|block| block.targets.as_ref().is_none_or(Vec::is_empty)) {
        findings.add(
            &at.key("static_configs"),
            wrong("a job without targets", "list them in `static_configs`, under `targets`"),
        );
    }
    let names = raw.modules.as_deref().unwrap_or_default();
    let modules =
        names.iter().map(|name| (name.as_str(), outlines.get(name).and_then(|outline| outline.kind))).collect();
    let name = raw.job_name.as_deref().unwrap_or_default();
    Plan { at: at.clone(), name, modules, interval, retry, edges, statics: given }
}

fn check_addresses(raw: &mut RawJob, at: &At, findings: &mut Findings) {
    let at = at.key("addresses");
    match raw.addresses.get_or_insert_with(|| "one".to_owned()).as_str() {
        "one" | "" => {}
        "all" => {
            findings.add(&at, wrong("`addresses: all` is not supported yet", "list the addresses in `connect_to`"))
        }
        other => findings.add(&at, wrong(format!("`{other}` is not a choice of addresses"), "write one")),
    }
}

fn edges(raw: &RawJob, at: &At, findings: &mut Findings) -> Vec<Option<ConnectTo>> {
    let at = at.key("connect_to");
    let Some(list) = raw.connect_to.as_ref().filter(|list| !list.is_empty()) else { return vec![None] };
    no_duplicates(findings, &at, list);
    let read = |text: &String| {
        text.parse::<ConnectTo>().map(Some).map_err(|_| {
            let problem = format!("`{}` is not an address to connect to", show::without_user_info(text));
            wrong(
                problem,
                "write an address or name with an optional port, such as 203.0.113.7 or \"[2001:db8::1]:8443\"",
            )
        })
    };
    each(findings, &at, Some(list), read)
}

fn retry(raw: &mut RawRetry, at: &At, findings: &mut Findings) -> Retry {
    let attempts = *raw.attempts.get_or_insert(1);
    let read = u32::try_from(attempts).ok().filter(|attempts| (1..=MAX_ATTEMPTS).contains(attempts));
    let too_many = || wrong(format!("`{attempts}` attempts"), format!("write 1 (no retry) to {MAX_ATTEMPTS}"));
    let retry = Retry {
        attempts: findings.take(&at.key("attempts"), read.ok_or_else(too_many)).unwrap_or(1),
        backoff: duration_or(findings, &at.key("backoff"), &mut raw.backoff, DEFAULT_BACKOFF),
        max_backoff: duration_or(findings, &at.key("max_backoff"), &mut raw.max_backoff, DEFAULT_MAX_BACKOFF),
    };
    if retry.backoff > retry.max_backoff && raw.max_backoff.as_deref().is_some_and(|text| value::duration(text).is_ok())
    {
        findings.add(
            &at.key("backoff"),
            wrong("the first pause is longer than `max_backoff`", "raise `max_backoff` or lower it"),
        );
    }
    retry
}

fn check_modules(
    raw: &RawJob,
    at: &At,
    interval: Duration,
    (outlines, findings): (&BTreeMap<String, Outline>, &mut Findings),
) {
    let at = at.key("modules");
    let names = raw.modules.as_deref().unwrap_or_default();
    if names.is_empty() {
        findings.add(&at, wrong("a job without modules", "name at least one, such as [https_2xx]"));
    }
    no_duplicates(findings, &at, names);
    for (i, name) in names.iter().enumerate() {
        let Some(outline) = outlines.get(name) else {
            findings.add(&at.index(i), unknown_module(name, outlines));
            continue;
        };
        if let Some(timeout) = outline.timeout.filter(|timeout| *timeout > interval && !interval.is_zero()) {
            let problem =
                format!("the timeout of `{name}`, {timeout:?}, is longer than the job's interval, {interval:?}");
            findings.add(&at.index(i), wrong(problem, "raise the job's `interval` or lower the module's `timeout`"));
        }
    }
}

fn unknown_module(name: &str, outlines: &BTreeMap<String, Outline>) -> Wrong {
    let known = || outlines.keys().map(String::as_str);
    let remedy = match nearest(name, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if outlines.is_empty() => "define it under `modules`".to_owned(),
        None => format!("defined here: {}", known().collect::<Vec<_>>().join(", ")),
    };
    wrong(format!("no module is named `{name}`"), remedy)
}

impl Plan<'_> {
    fn add_to(&self, all: &mut AllSeries, findings: &mut Findings) {
        for (i, block) in self.statics.iter().enumerate() {
            let at = self.at.key("static_configs").index(i);
            let labels = labels(block, &at.key("labels"), findings);
            for (j, target) in block.targets.iter().flatten().enumerate() {
                self.add_target(&at.key("targets").index(j), (target, &labels), all, findings);
            }
        }
    }

    fn add_target(
        &self,
        at: &At,
        (target, labels): (&str, &[(String, String)]),
        all: &mut AllSeries,
        findings: &mut Findings,
    ) {
        for (module, kind) in &self.modules {
            let Some(kind) = kind else { continue };
            if findings.take(at, check_target(target, *kind, module)).is_none() {
                continue;
            }
            for edge in &self.edges {
                let series = self.series(module, target, edge.as_ref(), labels);
                match all.places.get(&series.key) {
                    Some(first) => findings.add(at, duplicate(target, module, first)),
                    None => {
                        all.places.insert(series.key.clone(), at.clone());
                        all.series.push(series);
                    }
                }
            }
        }
    }

    fn series(&self, module: &str, target: &str, edge: Option<&ConnectTo>, labels: &[(String, String)]) -> Series {
        let own = [("job", self.name), ("instance", target), ("module", module)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let edge_label = edge.map(|edge| ("edge".to_owned(), edge.to_string()));
        let key = own.into_iter().chain(edge_label).chain(labels.iter().cloned()).collect();
        let job = Job {
            module: ModuleName::new(module),
            target: target.into(),
            hostname: None,
            connect_to: edge.cloned(),
            retry: self.retry,
        };
        Series { key: SeriesKey(key), job, interval: self.interval }
    }
}

fn check_target(text: &str, kind: ProberKind, module: &str) -> Result<(), Wrong> {
    let shown = show::without_user_info(text);
    let target = Target::parse(text, kind).map_err(|error| {
        let remedy = match kind {
            ProberKind::Http => "write a URL such as https://www.example.com/",
            ProberKind::WebSocket => "write a URL such as wss://www.example.com/socket",
            ProberKind::Tls => "write a host, host:port or https URL",
        };
        wrong(format!("`{shown}` is no target for module `{module}`: {error}"), remedy)
    })?;
    if target.credentials().is_some() {
        let problem = format!("`{shown}` holds credentials, which would be shown in the label `instance`");
        return Err(wrong(problem, "remove them from the target and set `basic_auth` in the module"));
    }
    Ok(())
}

fn duplicate(target: &str, module: &str, first: &At) -> Wrong {
    let problem = format!("`{target}` with module `{module}` is the same series as {}", first.as_str());
    wrong(problem, "remove one of the two, or give them different labels")
}

fn labels(block: &RawStatic, at: &At, findings: &mut Findings) -> Vec<(String, String)> {
    for name in block.labels.iter().flat_map(BTreeMap::keys) {
        findings.take(&at.key(name), check_label(name));
    }
    block.labels.clone().unwrap_or_default().into_iter().collect()
}

fn check_label(name: &str) -> Result<(), Wrong> {
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if !starts || !bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err(wrong(
            format!("`{name}` is not a label name"),
            "use letters, digits and underscores, a letter first",
        ));
    }
    if name.starts_with("__") {
        return Err(wrong(
            format!("`{name}` is Prometheus's own: it starts with two underscores"),
            "choose another name",
        ));
    }
    if RESERVED_LABELS.contains(&name) {
        return Err(wrong(format!("`{name}` is a label of edgeprobe's own metrics"), "choose another name"));
    }
    Ok(())
}
