//! Jobs: which module probes which target how often, as one series per module and target, which may fan out.

use super::super::error::{At, Findings, Wrong, nearest, wrong};
use super::super::raw::{RawJob, RawRetry, RawStatic};
use super::super::{show, value};
use super::site::{PARAMETERS, set, site};
use super::{Outline, duration_or, each, later, no_duplicates, optional, resolver};
use crate::model::{
    ConnectTo, FanOut, IpProtocol, Job, MAX_EDGES, ModuleName, Over, ProberKind, RESERVED_LABELS, Reason,
    ResolverSettings, Retry, Series, SeriesKey, Site, SuccessWhen, Target,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

/// The label of a target that names its module, in place of the job's.
const MODULE_PARAMETER: &str = "__param_module";
/// Longer, and it is no probe.
const MAX_HOLD: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_INTERVAL: &str = "30s";
/// Targets are not hammered, and a tick stays far above the scheduler's own cost.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// More attempts hide an outage rather than ride out a hiccup.
const MAX_ATTEMPTS: u32 = 10;
const DEFAULT_BACKOFF: &str = "200ms";
const DEFAULT_MAX_BACKOFF: &str = "2s";
const DEFAULT_BUDGET: &str = "10%";

/// The series of all jobs, in file order.
pub(super) fn jobs(raw: &mut [RawJob], modules: &BTreeMap<String, Outline>, findings: &mut Findings) -> Vec<Series> {
    let mut jobs = Jobs { modules, findings, series: Vec::new(), places: HashMap::new() };
    let at = At::default().key("jobs");
    let names: Vec<String> = raw.iter().map(|job| job.job_name.clone().unwrap_or_default()).collect();
    for (i, raw) in raw.iter_mut().enumerate() {
        let at = at.index(i);
        let name_at = at.key("job_name");
        if names[i].is_empty() {
            jobs.findings.add(&name_at, wrong("no job name", "write one: it becomes the label `job`"));
        } else if names[..i].contains(&names[i]) {
            let problem = format!("a second job is named `{}`", names[i]);
            jobs.findings.add(&name_at, wrong(problem, "give each job its own name"));
        }
        plan(raw, &at, &mut jobs).add_to(&mut jobs, &at);
    }
    jobs.series
}

/// What is known and found so far, over all jobs.
struct Jobs<'a> {
    modules: &'a BTreeMap<String, Outline>,
    findings: &'a mut Findings,
    series: Vec<Series>,
    /// Where each series came from.
    places: HashMap<SeriesKey, At>,
}

/// A job whose settings are read.
struct Plan<'a> {
    name: &'a str,
    modules: Vec<(&'a str, ProberKind)>,
    interval: Duration,
    retry: Retry,
    site: Site,
    resolver: Option<Arc<ResolverSettings>>,
    fan: Option<FanOut>,
    hold: Option<Duration>,
    success_when: SuccessWhen,
    statics: &'a [RawStatic],
}

/// A target, and what the labels of its block make of it.
#[derive(Clone, Copy)]
struct Aim<'a> {
    target: &'a str,
    block: &'a Block<'a>,
}

/// What a block of targets says of them all.
struct Block<'a> {
    /// The labels of its series.
    labels: Vec<(String, String)>,
    /// Over what the job says.
    site: Site,
    /// In place of the job's.
    modules: Option<Vec<(&'a str, ProberKind)>>,
}

fn plan<'a>(raw: &'a mut RawJob, at: &At, jobs: &mut Jobs<'_>) -> Plan<'a> {
    later(jobs.findings, at, &[("file_sd_configs", raw.file_sd_configs), ("http_sd_configs", raw.http_sd_configs)]);
    let interval = duration_or(jobs.findings, &at.key("interval"), &mut raw.interval, DEFAULT_INTERVAL);
    if interval.is_some_and(|interval| interval < MIN_INTERVAL) {
        jobs.findings.add(&at.key("interval"), wrong("the interval is shorter than 1s", "write 1s or more"));
    }
    let retry = retry(raw.retry.get_or_insert_default(), &at.key("retry"), jobs.findings);
    let fan = fan(raw, at, jobs.findings);
    let keys =
        [("hostname", raw.hostname.as_ref()), ("sni", raw.sni.as_ref()), ("verify_name", raw.verify_name.as_ref())];
    let site = site(&keys, at, jobs.findings);
    let resolver = raw.resolver.as_ref();
    let resolver = resolver.map(|raw| Arc::new(resolver::settings(Some(raw), &at.key("resolver"), jobs.findings)));
    let hold = optional(jobs.findings, &at.key("hold"), raw.hold.as_ref(), value::duration);
    if let Some(hold) = hold {
        jobs.findings.take(&at.key("hold"), check_hold(hold, interval, (&retry, fan.is_some())));
    }
    check_modules(raw, at, interval, jobs);
    check_has_targets(raw, at, jobs.findings);
    Plan {
        name: raw.job_name.as_deref().unwrap_or_default(),
        modules: usable_modules(raw, jobs.modules),
        interval: interval.unwrap_or_default(),
        retry,
        site,
        resolver,
        success_when: raw.success_when.as_deref().and_then(SuccessWhen::named).unwrap_or_default(),
        fan,
        hold,
        statics: raw.static_configs.as_deref().unwrap_or_default(),
    }
}

/// The job's modules whose prober is known, each once.
fn usable_modules<'a>(raw: &'a RawJob, modules: &BTreeMap<String, Outline>) -> Vec<(&'a str, ProberKind)> {
    let names = raw.modules.as_deref().unwrap_or_default();
    let each_once = names.iter().enumerate().filter(|(i, name)| !names[..*i].contains(name));
    each_once.filter_map(|(_, name)| Some((name.as_str(), modules.get(name)?.kind?))).collect()
}

fn check_has_targets(raw: &RawJob, at: &At, findings: &mut Findings) {
    let blocks = raw.static_configs.as_deref().unwrap_or_default();
    let is_later = [raw.file_sd_configs, raw.http_sd_configs].into_iter().flatten().any(|later| later.0);
    if !is_later && blocks.iter().all(|block| block.targets.as_ref().is_none_or(Vec::is_empty)) {
        let remedy = "list them in `static_configs`, under `targets`";
        findings.add(&at.key("static_configs"), wrong("a job without targets", remedy));
    }
}

/// What the job's probes fan out over, if its own keys say so.
fn fan(raw: &mut RawJob, at: &At, findings: &mut Findings) -> Option<FanOut> {
    let addresses = raw.addresses.get_or_insert_with(|| "one".to_owned()).clone();
    if !["one", "all"].contains(&addresses.as_str()) {
        let problem = format!("`{addresses}` is not a choice of addresses");
        findings.add(&at.key("addresses"), wrong(problem, "write one or all"));
    }
    let listed = listed(raw, at, findings);
    let word = raw.success_when.get_or_insert_with(|| SuccessWhen::default().as_str().to_owned());
    let unknown = || wrong(format!("`{word}` is not a rule of success"), "write all, any or quorum");
    let success_when = SuccessWhen::named(word).ok_or_else(unknown);
    let success_when = findings.take(&at.key("success_when"), success_when).unwrap_or_default();
    let over = match (addresses == "all", listed) {
        (true, Some(_)) => {
            let problem = "`addresses: all` asks for the name's addresses, `connect_to` for others";
            findings.add(&at.key("connect_to"), wrong(problem, "keep one of the two"));
            return None;
        }
        (true, None) => Over::Addresses,
        (false, Some(listed)) => Over::Listed(listed),
        (false, None) => return None,
    };
    Some(FanOut { over, success_when })
}

fn listed(raw: &RawJob, at: &At, findings: &mut Findings) -> Option<Arc<[ConnectTo]>> {
    let at = at.key("connect_to");
    let list = raw.connect_to.as_ref().filter(|list| !list.is_empty())?;
    no_duplicates(findings, &at, list);
    if list.len() > MAX_EDGES {
        let problem = format!("{} edges, more than {MAX_EDGES}", list.len());
        findings.add(&at, wrong(problem, "make it several jobs"));
    }
    let read = |text: &String| {
        text.parse::<ConnectTo>().map_err(|_| {
            let remedy =
                "write an address or name with an optional port, such as 203.0.113.7 or \"[2001:db8::1]:8443\"";
            wrong(format!("`{}` is not an address to connect to", show::target(text)), remedy)
        })
    };
    Some(each(findings, &at, Some(list), read).into())
}

fn retry(raw: &mut RawRetry, at: &At, findings: &mut Findings) -> Retry {
    let attempts = *raw.attempts.get_or_insert(1);
    let read = u32::try_from(attempts).ok().filter(|attempts| (1..=MAX_ATTEMPTS).contains(attempts));
    let refused = || wrong(format!("`{attempts}` attempts"), format!("write 1 (no retry) to {MAX_ATTEMPTS}"));
    let attempts = findings.take(&at.key("attempts"), read.ok_or_else(refused));
    let backoff = duration_or(findings, &at.key("backoff"), &mut raw.backoff, DEFAULT_BACKOFF);
    let max_backoff = duration_or(findings, &at.key("max_backoff"), &mut raw.max_backoff, DEFAULT_MAX_BACKOFF);
    if max_backoff.is_some() && backoff > max_backoff {
        let problem = "the first pause is longer than `max_backoff`";
        findings.add(&at.key("backoff"), wrong(problem, "raise `max_backoff` or lower it"));
    }
    let budget = raw.budget.get_or_insert_with(|| DEFAULT_BUDGET.to_owned());
    let budget = findings.take(&at.key("budget"), value::percent(budget));
    let most = 100 * (MAX_ATTEMPTS - 1);
    if budget.is_some_and(|percent| percent > most) {
        let problem = format!("more than {most}%: no probe is tried again more than {} times", MAX_ATTEMPTS - 1);
        findings.add(&at.key("budget"), wrong(problem, format!("write 0% to {most}%")));
    }
    Retry {
        attempts: attempts.unwrap_or(1),
        backoff: backoff.unwrap_or_default(),
        max_backoff: max_backoff.unwrap_or_default(),
        on: raw.on.as_ref().map(|names| reasons(names, &at.key("on"), findings)),
        budget_percent: budget.unwrap_or_default(),
    }
}

fn reasons(names: &Vec<String>, at: &At, findings: &mut Findings) -> Arc<[Reason]> {
    if names.is_empty() {
        findings.add(at, wrong("no reason at all: nothing would be tried again", "list one, or remove the key"));
    }
    no_duplicates(findings, at, names);
    each(findings, at, Some(names), |name| reason(name)).into()
}

fn reason(name: &str) -> Result<Reason, Wrong> {
    let refused = |why| wrong(format!("`{name}` is never tried again: {why}"), "remove it");
    match Reason::ALL.iter().find(|reason| reason.as_str() == name) {
        Some(Reason::InvalidTarget) => Err(refused("the target stays as it is")),
        Some(Reason::Internal) => Err(refused("a retry would hide a fault of the exporter")),
        Some(reason) => Ok(*reason),
        None => {
            let near = nearest(name, Reason::ALL.iter().map(|reason| reason.as_str()));
            let remedy =
                near.map_or_else(|| "see docs/reasons.md".to_owned(), |near| format!("did you mean `{near}`?"));
            Err(wrong(format!("`{name}` is not a reason"), remedy))
        }
    }
}

/// A held connection is pinged at each run; it is one, and a drop is what is measured.
fn check_hold(hold: Duration, interval: Option<Duration>, (retry, fans_out): (&Retry, bool)) -> Result<(), Wrong> {
    if interval.is_some_and(|interval| hold < interval) || hold > MAX_HOLD {
        return Err(wrong(
            format!("a connection held for {hold:?}"),
            "write the job's interval or longer, 24h at most",
        ));
    }
    if fans_out {
        return Err(wrong(
            "a job that fans out holds no connection",
            "leave out `addresses` and `connect_to`, or `hold`",
        ));
    }
    if retry.attempts > 1 {
        let remedy = "leave out `retry`: the next run opens another connection";
        return Err(wrong("a held connection is not retried", remedy));
    }
    Ok(())
}

fn check_modules(raw: &RawJob, at: &At, interval: Option<Duration>, jobs: &mut Jobs<'_>) {
    let at = at.key("modules");
    let names = raw.modules.as_deref().unwrap_or_default();
    if names.is_empty() {
        jobs.findings.add(&at, wrong("a job without modules", "name at least one, such as [https_2xx]"));
    }
    no_duplicates(jobs.findings, &at, names);
    for (i, name) in names.iter().enumerate() {
        jobs.findings.take(&at.index(i), usable(name, interval, jobs.modules));
    }
}

/// The module of this name, if a job of this interval can use it.
fn usable<'a>(
    name: &str,
    interval: Option<Duration>,
    modules: &'a BTreeMap<String, Outline>,
) -> Result<&'a Outline, Wrong> {
    let outline = modules.get(name).ok_or_else(|| unknown_module(name, modules))?;
    match (outline.timeout, interval) {
        (Some(timeout), Some(interval)) if timeout > interval => {
            let problem =
                format!("the timeout of `{name}`, {timeout:?}, is longer than the job's interval, {interval:?}");
            Err(wrong(problem, "raise the job's `interval` or lower the module's `timeout`"))
        }
        _ => Ok(outline),
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
    fn add_to(&self, jobs: &mut Jobs<'_>, at: &At) {
        for (i, block) in self.statics.iter().enumerate() {
            let at = at.key("static_configs").index(i);
            let said = labels(block, &at.key("labels"), (self.interval, jobs));
            for (j, target) in block.targets.iter().flatten().enumerate() {
                self.add_target(jobs, &at.key("targets").index(j), Aim { target, block: &said });
            }
        }
    }

    fn add_target(&self, jobs: &mut Jobs<'_>, at: &At, aim: Aim<'_>) {
        for &(module, kind) in aim.block.modules.as_ref().unwrap_or(&self.modules) {
            if jobs.findings.take(at, check_target(aim.target, kind, module)).is_none() {
                continue;
            }
            if self.hold.is_some() && kind != ProberKind::WebSocket {
                let problem = format!("`hold` keeps WebSockets, and the prober of `{module}` is `{kind}`");
                jobs.findings.add(at, wrong(problem, "probe it by another job"));
            }
            let fan = jobs.findings.take(at, self.fan(module, aim, jobs.modules));
            let series = self.series(module, aim, fan.flatten());
            if let Some(first) = jobs.places.get(&series.key) {
                jobs.findings.add(at, duplicate(aim.target, module, first));
                continue;
            }
            jobs.places.insert(series.key.clone(), at.clone());
            jobs.series.push(series);
        }
    }

    /// What the probes of one target by one module fan out over: by the job, unless the target's labels say whom to connect
    /// to, or by the module's `ip_protocol`.
    fn fan(&self, module: &str, aim: Aim<'_>, modules: &BTreeMap<String, Outline>) -> Result<Option<FanOut>, Wrong> {
        let of_job = self.fan.clone().filter(|_| aim.block.site.connect_to.is_none());
        let both = modules.get(module).is_some_and(|outline| outline.ip_protocol == IpProtocol::Both);
        match of_job {
            Some(_) if both => {
                let problem =
                    format!("`{module}` has `ip_protocol: both`, and the job fans out over addresses as well");
                Err(wrong(problem, "use another module, or leave out `addresses` and `connect_to`"))
            }
            None if both => Ok(Some(FanOut { over: Over::Families, success_when: self.success_when })),
            fan => Ok(fan),
        }
    }

    fn series(&self, module: &str, aim: Aim<'_>, fan: Option<FanOut>) -> Series {
        let own = [("job", self.name), ("instance", aim.target), ("module", module)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let key = own.into_iter().chain(aim.block.labels.iter().cloned()).collect();
        let site = aim.block.site.or(&self.site);
        let job = Job {
            site,
            resolver: self.resolver.clone(),
            retry: self.retry.clone(),
            ..Job::new(ModuleName::new(module), aim.target)
        };
        Series { key: SeriesKey(key), job, interval: self.interval, fan, hold: self.hold }
    }
}

fn check_target(text: &str, kind: ProberKind, module: &str) -> Result<(), Wrong> {
    let shown = show::target(text);
    let target = Target::parse(text, kind).map_err(|error| {
        let remedy = match kind {
            ProberKind::Http => "write a URL such as https://www.example.com/",
            ProberKind::WebSocket => "write a URL such as wss://www.example.com/socket",
            ProberKind::Tls | ProberKind::TlsScan => "write a host, host:port or https URL",
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

/// Sorts a block's labels: those that Prometheus would turn into parameters of a request say how to probe, as they would
/// there; the others are labels of the series.
fn labels<'a>(block: &'a RawStatic, at: &At, (interval, jobs): (Duration, &mut Jobs<'_>)) -> Block<'a> {
    let mut said = Block { labels: Vec::new(), site: Site::default(), modules: None };
    for (name, value) in block.labels.iter().flatten() {
        let at = at.key(name);
        if name == MODULE_PARAMETER {
            let outline = jobs.findings.take(&at, usable(value, Some(interval), jobs.modules));
            let kind = outline.and_then(|outline| outline.kind);
            said.modules = Some(kind.map(|kind| (value.as_str(), kind)).into_iter().collect());
        } else if let Some((_, key)) = PARAMETERS.iter().find(|(label, _)| label == name) {
            jobs.findings.take(&at, set(&mut said.site, key, value));
        } else {
            jobs.findings.take(&at, check_label(name));
            said.labels.push((name.clone(), value.clone()));
        }
    }
    said
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
        let known: Vec<&str> = PARAMETERS.iter().map(|(label, _)| *label).chain([MODULE_PARAMETER]).collect();
        let problem = format!("`{name}` starts with two underscores, as no label of a series does");
        return Err(wrong(
            problem,
            format!("choose another name, or one that says how to probe: {}", known.join(", ")),
        ));
    }
    if RESERVED_LABELS.contains(&name) {
        return Err(wrong(format!("`{name}` is a label of edgeprobe's own metrics"), "choose another name"));
    }
    Ok(())
}
