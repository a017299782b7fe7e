//! The latest report and the running totals of each scheduled series, and a bounded history of probes on demand.
//!
//! Reports go in, copies of them come out; nothing is computed from them but the totals. Knows neither who runs the
//! probes nor who shows them.

use crate::model::{
    CertificateWatch, Failure, FanFacts, FanReport, HoldEvent, HoldTally, ProbeReport, Series, SeriesKey, Tally,
};
use std::{
    collections::{BTreeMap, VecDeque},
    iter, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// Where finished probes are kept. Shared by whoever runs probes and whoever shows them.
#[derive(Debug)]
pub struct Board {
    state: Mutex<State>,
}

/// What the board knows of one scheduled series.
#[derive(Clone, Debug)]
pub struct SeriesRow {
    /// Its identity.
    pub key: SeriesKey,
    /// How often it runs.
    pub interval: Duration,
    /// Its latest report; `None` before the first.
    pub report: Option<Arc<ProbeReport>>,
    /// Totals of all its runs.
    pub tally: Tally,
    /// The leaf certificates its runs saw, which outlive a run that saw none.
    pub certificate: CertificateWatch,
    /// How late its latest run started.
    pub lag: Duration,
    /// When its latest finished run began.
    pub last_run: Option<SystemTime>,
    /// When the run began whose verdict differed from the one before.
    pub last_change: Option<SystemTime>,
    /// The roll-ups of its latest run, where it fans out.
    pub fan: Option<FanFacts>,
    /// Its connections, where it holds them.
    pub hold: Option<HoldTally>,
}

/// How a report compares with the same series' report before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// There was none before.
    First,
    /// The verdict is the same.
    Same,
    /// It succeeded and now fails.
    Failed,
    /// It failed and now succeeds.
    Recovered,
    /// It still fails, in another phase or for another reason.
    Reason,
}

impl Board {
    /// An empty board that remembers `history_limit` probes on demand, and as many failed ones besides.
    pub fn new(history_limit: usize) -> Self {
        let history = History { limit: history_limit, ..History::default() };
        Self { state: Mutex::new(State { rows: BTreeMap::new(), history }) }
    }

    /// Makes `series` the scheduled ones: new ones are added, gone ones are dropped at once, kept ones keep their totals.
    pub fn sync(&self, series: &[Series]) {
        let wanted: BTreeMap<_, _> = series.iter().map(|series| (&series.key, series)).collect();
        let mut state = self.lock();
        state.rows.retain(|key, rows| wanted.get(key).is_some_and(|series| series.fan.is_some() == rows.fans_out));
        for (key, series) in wanted {
            let new = || Rows { whole: SeriesRow::new(key.clone()), fans_out: series.fan.is_some(), edges: Vec::new() };
            let rows = state.rows.entry(key.clone()).or_insert_with(new);
            rows.all_mut().for_each(|row| row.interval = series.interval);
        }
    }

    /// Takes the report of a scheduled run that started `lag` late. `None`: the series is gone, the report was dropped.
    pub fn put(&self, key: &SeriesKey, report: Arc<ProbeReport>, lag: Duration) -> Option<Change> {
        self.lock().rows.get_mut(key).map(|rows| rows.whole.put(report, lag))
    }

    /// Takes the reports of a scheduled fan-out that started `lag` late, and tells how each compares with the one before, in
    /// the order of [`FanReport::reports`]; nothing when the series is gone.
    ///
    /// Edges that are not among them vanish. Where the lookup failed, all of them keep their totals and nothing else.
    pub fn put_fan(&self, key: &SeriesKey, fan: &FanReport, lag: Duration) -> Vec<Change> {
        let mut state = self.lock();
        let Some(rows) = state.rows.get_mut(key) else { return Vec::new() };
        rows.whole.fan = Some(fan.facts());
        rows.whole.lag = lag;
        if let Some(failed) = &fan.failed {
            rows.edges.iter_mut().for_each(|row| row.report = None);
            return vec![rows.whole.put(Arc::clone(failed), lag)];
        }
        rows.whole.report = None;
        rows.whole.last_run = fan.reports().map(|report| report.started).min().or(rows.whole.last_run);
        let mut before = mem::take(&mut rows.edges);
        let mut changes = Vec::new();
        for (edge, report) in &fan.edges {
            let key = key.with(fan.label, edge);
            let kept = before.iter().position(|row| row.key == key).map(|at| before.swap_remove(at));
            let new = || SeriesRow { interval: rows.whole.interval, ..SeriesRow::new(key.clone()) };
            let mut row = kept.unwrap_or_else(new);
            changes.push(row.put(Arc::clone(report), lag));
            rows.edges.push(row);
        }
        changes
    }

    /// Counts what happened to a connection that the series holds.
    pub fn hold(&self, key: &SeriesKey, event: HoldEvent) {
        if let Some(rows) = self.lock().rows.get_mut(key) {
            rows.whole.hold.get_or_insert_default().add(event);
        }
    }

    /// Counts runs that were due but left out.
    pub fn skipped(&self, key: &SeriesKey, ticks: u64) {
        if let Some(rows) = self.lock().rows.get_mut(key) {
            rows.whole.tally.skipped += ticks;
        }
    }

    /// All scheduled series, by key; those that fan out are followed by their edges.
    pub fn rows(&self) -> Vec<SeriesRow> {
        self.lock().rows.values().flat_map(Rows::all).cloned().collect()
    }

    /// Whether every scheduled series has its first report; true when there are none.
    pub fn all_reported(&self) -> bool {
        self.lock().rows.values().all(|rows| rows.whole.last_run.is_some())
    }

    /// Adds the report of a probe on demand to the history and returns its id there.
    pub fn remember(&self, report: Arc<ProbeReport>) -> u64 {
        self.lock().history.add(report)
    }

    /// The remembered probes on demand: preserved failures first, then the latest results, each oldest first.
    pub fn history(&self) -> Vec<(u64, Arc<ProbeReport>)> {
        self.lock().history.iter().cloned().collect()
    }

    /// One remembered probe on demand.
    pub fn by_id(&self, id: u64) -> Option<Arc<ProbeReport>> {
        let state = self.lock();
        state.history.iter().find(|(at, _)| *at == id).map(|(_, report)| Arc::clone(report))
    }

    /// The oldest remembered probe of `target`, as written or as shown; else a scheduled series' latest.
    pub fn by_target(&self, target: &str, module: Option<&str>) -> Option<Arc<ProbeReport>> {
        let state = self.lock();
        let remembered = state.history.iter().map(|(_, report)| report);
        let scheduled = state.rows.values().flat_map(Rows::all).filter_map(|row| row.report.as_ref());
        remembered.chain(scheduled).find(|report| is_of(report, target, module)).cloned()
    }

    /// A panic elsewhere while the lock was held cannot leave the state half changed in a way that matters.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_of(report: &ProbeReport, target: &str, module: Option<&str>) -> bool {
    let job = &report.job;
    (*job.target == *target || job.shown_target() == target) && module.is_none_or(|name| job.module.as_str() == name)
}

impl SeriesRow {
    fn new(key: SeriesKey) -> Self {
        Self {
            key,
            interval: Duration::ZERO,
            report: None,
            tally: Tally::default(),
            certificate: CertificateWatch::default(),
            lag: Duration::ZERO,
            last_run: None,
            last_change: None,
            fan: None,
            hold: None,
        }
    }

    fn put(&mut self, report: Arc<ProbeReport>, lag: Duration) -> Change {
        let change = Change::between(self.report.as_deref(), &report);
        if change != Change::Same {
            self.last_change = Some(report.started);
        }
        self.tally.add(&report);
        self.certificate.see(&report);
        self.lag = lag;
        self.last_run = Some(report.started);
        self.report = Some(report);
        change
    }
}

/// A scheduled series, and its edges where it fans out.
#[derive(Debug)]
struct Rows {
    whole: SeriesRow,
    fans_out: bool,
    edges: Vec<SeriesRow>,
}

impl Rows {
    fn all(&self) -> impl Iterator<Item = &SeriesRow> {
        iter::once(&self.whole).chain(&self.edges)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut SeriesRow> {
        iter::once(&mut self.whole).chain(&mut self.edges)
    }
}

impl Change {
    fn between(before: Option<&ProbeReport>, now: &ProbeReport) -> Self {
        let Some(before) = before else { return Self::First };
        let what = |failure: &Failure| (failure.phase, failure.reason);
        match (before.failure.as_ref().map(what), now.failure.as_ref().map(what)) {
            (None, Some(_)) => Self::Failed,
            (Some(_), None) => Self::Recovered,
            (before, now) if before != now => Self::Reason,
            _ => Self::Same,
        }
    }
}

#[derive(Debug)]
struct State {
    rows: BTreeMap<SeriesKey, Rows>,
    history: History,
}

/// Two lists, so that a failure among many successes is still there when somebody comes to look.
#[derive(Debug, Default)]
struct History {
    limit: usize,
    next_id: u64,
    failures: VecDeque<(u64, Arc<ProbeReport>)>,
    results: VecDeque<(u64, Arc<ProbeReport>)>,
}

impl History {
    fn add(&mut self, report: Arc<ProbeReport>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.results.push_back((id, report));
        let oldest = if self.results.len() > self.limit { self.results.pop_front() } else { None };
        if let Some(oldest) = oldest.filter(|(_, report)| !report.is_success()) {
            self.failures.push_back(oldest);
            if self.failures.len() > self.limit {
                self.failures.pop_front();
            }
        }
        id
    }

    fn iter(&self) -> impl Iterator<Item = &(u64, Arc<ProbeReport>)> {
        self.failures.iter().chain(&self.results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Certificate, CertificateChange, FanOut, Hop, Job, Module, ModuleName, Over, Phase, Prober, Reason, SuccessWhen,
        TlsFacts,
    };

    const TARGET: &str = "https://user:pw@example.com/";

    fn report(module: &str, failure: Option<(Phase, Reason)>) -> Arc<ProbeReport> {
        let name = ModuleName::new(module);
        let prober = Prober::Tls(Box::default());
        Arc::new(ProbeReport {
            job: job(module),
            module: Arc::new(Module::new(name, prober, "")),
            started: SystemTime::UNIX_EPOCH + Duration::from_secs(5),
            elapsed: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            token: None,
            hops: Vec::new(),
            failure: failure.map(|(phase, reason)| Failure::new(phase, reason, "")),
            attempts: 1,
            retried_after: None,
            retry_suppressed: false,
        })
    }

    fn job(module: &str) -> Job {
        let module = ModuleName::new(module);
        Job::new(module, TARGET)
    }

    fn ok() -> Arc<ProbeReport> {
        report("m", None)
    }

    fn bad() -> Arc<ProbeReport> {
        report("m", Some((Phase::Connect, Reason::Refused)))
    }

    fn key(instance: &str) -> SeriesKey {
        SeriesKey([("job".into(), "j".into()), ("instance".into(), instance.into())].into())
    }

    fn series(instance: &str, seconds: u64) -> Series {
        Series { key: key(instance), job: job("m"), interval: Duration::from_secs(seconds), fan: None, hold: None }
    }

    fn ids(board: &Board) -> Vec<u64> {
        board.history().into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn sync_drops_what_is_gone_and_keeps_the_totals_of_what_stays() {
        let board = Board::new(0);
        board.sync(&[series("b", 30), series("a", 30)]);
        assert_eq!(board.put(&key("a"), bad(), Duration::from_millis(3)), Some(Change::First));
        board.skipped(&key("a"), 2);
        board.skipped(&key("unknown"), 2);

        board.sync(&[series("c", 30), series("a", 60)]);
        let rows = board.rows();
        assert_eq!(rows.iter().map(|row| row.key.get("instance")).collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!((rows[0].tally.runs, rows[0].tally.skipped, rows[0].interval.as_secs()), (1, 2, 60));
        assert_eq!(rows[0].lag, Duration::from_millis(3));
        assert_eq!(rows[0].last_run, Some(bad().started));
        assert!(rows[1].report.is_none() && rows[1].last_run.is_none());

        board.sync(&[]);
        board.sync(&[series("a", 30)]);
        assert_eq!(board.rows()[0].tally.runs, 0, "a series that comes back starts anew");
    }

    fn fan(edges: &[(&str, Arc<ProbeReport>)], failed: Option<Arc<ProbeReport>>) -> FanReport {
        let edges = edges.iter().map(|(edge, report)| ((*edge).to_owned(), Arc::clone(report))).collect();
        FanReport { label: "edge", edges, failed, left_out: 0, success_when: SuccessWhen::All }
    }

    /// Each row: its edge (`-` for the whole), whether it has a report, its runs.
    fn shown(board: &Board) -> Vec<(String, bool, u64)> {
        let edge =
            |row: &SeriesRow| Some(row.key.get("edge")).filter(|edge| !edge.is_empty()).unwrap_or("-").to_owned();
        board.rows().iter().map(|row| (edge(row), row.report.is_some(), row.tally.runs)).collect()
    }

    fn fanned_out(interval: u64) -> Series {
        let over = Over::Addresses;
        Series { fan: Some(FanOut { over, success_when: SuccessWhen::All }), ..series("a", interval) }
    }

    #[test]
    fn edges_come_and_go_and_those_that_stay_keep_their_totals() {
        let board = Board::new(0);
        board.sync(&[fanned_out(30)]);
        assert!(!board.all_reported());
        let lag = Duration::ZERO;
        assert_eq!(board.put_fan(&key("a"), &fan(&[("x", ok()), ("y", bad())], None), lag), [Change::First; 2]);
        assert!(board.all_reported());
        let row = |edge: &str, reported, runs| (edge.to_owned(), reported, runs);
        assert_eq!(shown(&board), [row("-", false, 0), row("x", true, 1), row("y", true, 1)]);
        let facts = board.rows()[0].fan.unwrap();
        assert_eq!((facts.edges, facts.failing, facts.success), (2, 1, false));

        let now = fan(&[("y", ok()), ("z", ok())], None);
        assert_eq!(board.put_fan(&key("a"), &now, lag), [Change::Recovered, Change::First]);
        assert_eq!(shown(&board), [row("-", false, 0), row("y", true, 2), row("z", true, 1)], "x vanished");

        let failed = report("m", Some((Phase::Resolve, Reason::NameNotFound)));
        assert_eq!(board.put_fan(&key("a"), &fan(&[], Some(failed)), lag), [Change::First]);
        assert_eq!(shown(&board), [row("-", true, 1), row("y", false, 2), row("z", false, 1)], "no stale results");
        board.put_fan(&key("a"), &now, lag);
        assert_eq!(shown(&board), [row("-", false, 1), row("y", true, 3), row("z", true, 2)]);

        board.sync(&[fanned_out(60)]);
        assert!(board.rows().iter().all(|row| row.interval.as_secs() == 60));
        board.sync(&[series("a", 60)]);
        assert_eq!(shown(&board), [row("-", false, 0)], "a series that fans out no more starts anew");
        assert!(board.put_fan(&key("b"), &now, lag).is_empty());
    }

    #[test]
    fn a_late_report_of_a_gone_series_is_dropped() {
        let board = Board::new(0);
        board.sync(&[series("a", 30)]);
        board.sync(&[]);
        assert_eq!(board.put(&key("a"), ok(), Duration::ZERO), None);
        assert!(board.rows().is_empty());
    }

    #[test]
    fn changes_are_told_from_repetitions() {
        let board = Board::new(0);
        board.sync(&[series("a", 30)]);
        let late = report("m", Some((Phase::Tls, Reason::Timeout)));
        let later = report("m", Some((Phase::Connect, Reason::Timeout)));
        let steps = [
            (ok(), Change::First),
            (ok(), Change::Same),
            (bad(), Change::Failed),
            (bad(), Change::Same),
            (late, Change::Reason),
            (later, Change::Reason),
            (ok(), Change::Recovered),
        ];
        for (report, expected) in steps {
            assert_eq!(board.put(&key("a"), report, Duration::ZERO), Some(expected));
        }
    }

    #[test]
    fn the_time_of_the_last_change_stays_while_the_verdict_does() {
        let board = Board::new(0);
        board.sync(&[series("a", 30)]);
        board.put(&key("a"), bad(), Duration::ZERO);
        let later = ProbeReport { started: bad().started + Duration::from_secs(30), ..ProbeReport::clone(&bad()) };
        board.put(&key("a"), Arc::new(later.clone()), Duration::ZERO);
        let row = board.rows().remove(0);
        assert_eq!((row.last_change, row.last_run), (Some(bad().started), Some(later.started)));
    }

    /// A run whose leaf certificate has this fingerprint; without one, the run saw none.
    fn run(server_name: &str, fingerprint: Option<&str>, at: u64) -> Arc<ProbeReport> {
        let leaf = fingerprint.map(|f| Certificate { fingerprint_sha256: f.into(), ..Certificate::default() });
        let chain = leaf.into_iter().collect();
        let tls = TlsFacts { server_name: server_name.into(), chain, ..TlsFacts::default() };
        let hops = vec![Hop { tls: Some(tls), ..Hop::default() }];
        let started = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        Arc::new(ProbeReport { started, hops, ..ProbeReport::clone(&ok()) })
    }

    #[test]
    fn a_replaced_certificate_is_counted_and_survives_failures() {
        let board = Board::new(0);
        board.sync(&[series("a", 30)]);
        let seen = |report: Arc<ProbeReport>| {
            board.put(&key("a"), report, Duration::ZERO);
            board.rows().remove(0).certificate
        };
        assert!(!seen(bad()).has_seen());
        for first in [run("x", Some("11"), 1), run("x", None, 2), bad(), run("x", Some("11"), 3)] {
            let watch = seen(first);
            assert_eq!((watch.has_seen(), watch.changes, watch.last), (true, 0, None));
        }
        assert_eq!(seen(run("y", Some("22"), 4)).changes, 0, "another name has another certificate");
        let change = CertificateChange {
            server_name: "x".into(),
            previous: "11".into(),
            current: "33".into(),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(5),
        };
        for report in [run("x", Some("33"), 5), run("x", None, 6), run("x", Some("33"), 7)] {
            let watch = seen(report);
            assert_eq!((watch.changes, watch.last), (1, Some(change.clone())));
        }
        for number in 0..40 {
            seen(run(&format!("name-{number}"), Some("44"), 8));
        }
        assert_eq!(seen(run("x", Some("55"), 9)).changes, 2);
        assert_eq!(seen(run("name-39", Some("66"), 9)).changes, 2, "the names remembered are bounded");
    }

    #[test]
    fn all_have_reported_once_each_has() {
        let board = Board::new(0);
        assert!(board.all_reported());
        board.sync(&[series("a", 30), series("b", 30)]);
        board.put(&key("a"), ok(), Duration::ZERO);
        assert!(!board.all_reported());
        board.put(&key("b"), bad(), Duration::ZERO);
        assert!(board.all_reported());
    }

    #[test]
    fn failures_that_fall_out_of_the_history_are_kept_a_while_longer() {
        let board = Board::new(2);
        let probes = [bad(), ok(), bad(), ok()];
        assert_eq!(probes.map(|report| board.remember(report)), [0, 1, 2, 3]);
        assert_eq!(ids(&board), [0, 2, 3]);
        for report in [ok(), ok(), bad(), ok(), ok()] {
            board.remember(report);
        }
        assert_eq!(ids(&board), [2, 6, 7, 8], "each list holds two");
        assert!(board.by_id(6).is_some_and(|report| !report.is_success()));
        assert!(board.by_id(0).is_none() && board.by_id(9).is_none());
    }

    #[test]
    fn a_history_without_room_still_counts() {
        let board = Board::new(0);
        assert_eq!([bad(), ok()].map(|report| board.remember(report)), [0, 1]);
        assert!(board.history().is_empty());
    }

    #[test]
    fn a_target_is_found_as_written_and_as_shown_oldest_first() {
        let board = Board::new(2);
        board.sync(&[series("a", 30)]);
        let scheduled = ok();
        board.put(&key("a"), Arc::clone(&scheduled), Duration::ZERO);
        assert!(Arc::ptr_eq(&board.by_target(TARGET, None).unwrap(), &scheduled));

        let (old, new) = (bad(), report("other", None));
        board.remember(Arc::clone(&old));
        board.remember(Arc::clone(&new));
        for target in [TARGET, "https://user:xxxxx@example.com/"] {
            assert!(Arc::ptr_eq(&board.by_target(target, None).unwrap(), &old));
            assert!(Arc::ptr_eq(&board.by_target(target, Some("other")).unwrap(), &new));
        }
        assert!(board.by_target(TARGET, Some("third")).is_none());
        assert!(board.by_target("https://example.com/", None).is_none());
    }
}
