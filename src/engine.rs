//! Modules by name, made ready; a permit per probe; retries within a budget; one log line per attempt.
//!
//! In: a job and its limits. Out: a report, always. A reload builds a new engine from the old one; probes under way finish
//! on the engine they began with.

mod budget;
mod fan;
mod hold;

use crate::model::{Failure, Job, Module, ModuleName, Phase, Plan, ProbeReport, Reason, Retry, TrustFacts};
use crate::probe::guard::Guard;
use crate::probe::{Loading, ReadyModule, Resolvers, Tokens, key_log_of_environment, warm_up};
use budget::Budgets;
use futures_util::FutureExt;
use hold::MAX_HELD;
use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

pub use crate::probe::{Fingerprint, SetupError};
pub use hold::HeldSocket;

/// The target of log lines about probes, which have a level of their own (`--log.prober`).
pub const PROBE_LOG: &str = "probe";

/// How long a job may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// One attempt.
    pub timeout: Duration,
    /// All attempts, pauses and waiting for a permit.
    pub budget: Duration,
}

/// What an engine is told once, at start; its successors inherit it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct EngineOptions {
    /// Probes that may run at once.
    pub max_in_flight: usize,
    /// Whether the secrets of handshakes go to the file that `SSLKEYLOGFILE` names.
    pub key_log: bool,
}

/// Everything that probes need and that a reload replaces.
#[derive(Debug)]
pub struct Engine {
    modules: BTreeMap<ModuleName, Entry>,
    loading: Loading,
    permits: Arc<Semaphore>,
    /// Places for connections that are held.
    held: Arc<Semaphore>,
    max_in_flight: usize,
    budgets: Arc<Budgets>,
    tokens: Arc<Tokens>,
}

#[derive(Debug)]
struct Entry {
    ready: ReadyModule,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    probes: AtomicU64,
    failures: AtomicU64,
}

impl Engine {
    /// Makes the modules ready. All errors of all modules at once.
    pub fn new(plan: &Plan, options: EngineOptions) -> Result<Self, Vec<SetupError>> {
        warm_up();
        let max_in_flight = options.max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let key_log = options.key_log.then(key_log_of_environment).flatten();
        let nothing = Self {
            modules: BTreeMap::new(),
            loading: Loading { key_log, ..Loading::default() },
            permits: Arc::new(Semaphore::new(max_in_flight)),
            held: Arc::new(Semaphore::new(MAX_HELD)),
            max_in_flight,
            budgets: Arc::default(),
            tokens: Arc::default(),
        };
        nothing.successor(plan)
    }

    /// A new engine for this plan, with the permits, retry budgets and bearer tokens of this one, the totals of the modules
    /// whose names stay and what the resolvers that stay have learned. Every file is read again.
    pub fn successor(&self, plan: &Plan) -> Result<Self, Vec<SetupError>> {
        let guard = Arc::new(Guard::new(&plan.access));
        let mut loading = Loading { key_log: self.loading.key_log.clone(), guard, ..Loading::default() };
        let (mut ready, mut errors) = (BTreeMap::new(), Vec::new());
        let resolvers =
            Resolvers::new(plan, &mut loading, &self.loading.resolvers).map_err(|faults| errors.extend(faults));
        loading.resolvers = Arc::new(resolvers.unwrap_or_default());
        for module in &plan.modules {
            let counts = self.modules.get(&module.name).map(|entry| Arc::clone(&entry.counts)).unwrap_or_default();
            match ReadyModule::new(Arc::clone(module), &mut loading, &self.tokens) {
                Ok(made) => drop(ready.insert(module.name.clone(), Entry { ready: made, counts })),
                Err(faults) => errors.extend(faults),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self {
            modules: ready,
            loading,
            permits: Arc::clone(&self.permits),
            held: Arc::clone(&self.held),
            max_in_flight: self.max_in_flight,
            budgets: Arc::clone(&self.budgets),
            tokens: Arc::clone(&self.tokens),
        })
    }

    /// The trust stores in use.
    pub fn trust(&self) -> Vec<TrustFacts> {
        self.loading.stores.facts()
    }

    /// Of the CA, certificate and key files that this engine was made from, as they were then.
    pub fn fingerprint(&self) -> Fingerprint {
        self.loading.files.fingerprint()
    }

    /// Of the same files as they are now. Reads them all.
    pub fn fingerprint_now(&self) -> Fingerprint {
        self.loading.files.fingerprint_now()
    }

    /// The module of this name.
    pub fn module(&self, name: &str) -> Option<&Arc<Module>> {
        self.modules.get(name).map(|entry| entry.ready.module())
    }

    /// All modules, by name.
    pub fn modules(&self) -> impl Iterator<Item = &Arc<Module>> {
        self.modules.values().map(|entry| entry.ready.module())
    }

    /// The proxies of the modules that have some, without credentials: for http and ws, then for https, wss and tls.
    pub fn proxies(&self) -> impl Iterator<Item = (&ModuleName, [String; 2])> {
        self.modules.iter().filter_map(|(name, entry)| Some((name, entry.ready.proxies_shown()?)))
    }

    /// Probes that hold a permit now.
    pub fn in_flight(&self) -> usize {
        self.max_in_flight.saturating_sub(self.permits.available_permits())
    }

    /// Finished probes and failed ones of each module since the program started.
    pub fn totals(&self) -> Vec<(ModuleName, u64, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let modules = self.modules.iter();
        modules.map(|(name, e)| (name.clone(), read(&e.counts.probes), read(&e.counts.failures))).collect()
    }

    /// Runs `job`, with retries as it says. Dropping the future cancels the probe and closes its sockets.
    ///
    /// # Panics
    /// If this engine has no module of the job's name: callers take job and engine from one load.
    #[expect(clippy::disallowed_methods, reason = "the budget spans attempts, and the probe's clock is per attempt")]
    pub async fn run(&self, job: &Job, limits: Limits) -> ProbeReport {
        let entry = self.modules.get(&job.module).expect("job and engine come from one load");
        let began = Instant::now();
        let mut cancelled = CancelLog(Some(job));
        let Some(_permit) = self.permit(limits.budget).await else {
            let words = format!("all {} probe slots were taken until the deadline", self.max_in_flight);
            let failure = Failure::new(Phase::Connect, Reason::LocalLimit, words);
            cancelled.0 = None;
            return entry.finish(entry.ready.not_run(job, failure, limits.timeout), began.elapsed());
        };
        let destination = entry.ready.destination(job).filter(|_| job.retry.attempts > 1);
        if let Some(destination) = &destination {
            self.budgets.pay_in(destination, job.retry.budget_percent, began);
        }
        let mut first: Option<ProbeReport> = None;
        for attempt in 1.. {
            let left = limits.budget.saturating_sub(began.elapsed());
            let mut report = entry.attempt(job, limits.timeout.min(left)).await;
            log_attempt(&report, attempt);
            let failed_so = report.failure.as_ref().is_some_and(|failure| job.retry.is_for(failure.reason));
            let left = limits.budget.saturating_sub(began.elapsed());
            // An attempt with less than half its time would only put a timeout in the place of the real reason.
            let has_time = |pause: &Duration| *pause + limits.timeout / 2 <= left;
            if let Some(pause) = pause(&job.retry, attempt).filter(|_| failed_so).filter(has_time) {
                if destination.as_ref().is_none_or(|to| self.budgets.take(to, Instant::now())) {
                    first.get_or_insert(report);
                    sleep(pause).await;
                    continue;
                }
                log_suppressed(job, attempt);
                report.retry_suppressed = true;
            }
            if let Some(first) = first {
                report.started = first.started;
                report.retried_after = first.failure;
            }
            report.attempts = attempt;
            report.timeout = limits.timeout;
            cancelled.0 = None;
            return entry.finish(report, began.elapsed());
        }
        unreachable!("the last attempt has no pause after it")
    }

    #[expect(clippy::disallowed_methods, reason = "waiting for a permit is no stage of a probe")]
    async fn permit(&self, budget: Duration) -> Option<tokio::sync::SemaphorePermit<'_>> {
        tokio::time::timeout(budget, self.permits.acquire()).await.ok()?.ok()
    }
}

impl Entry {
    /// One attempt. A bug in it costs this probe, not the program.
    async fn attempt(&self, job: &Job, timeout: Duration) -> ProbeReport {
        let outcome = AssertUnwindSafe(self.ready.probe(job, timeout)).catch_unwind().await;
        outcome.unwrap_or_else(|_| {
            let failure = Failure::new(Phase::Resolve, Reason::Internal, "the probe panicked; this is a bug");
            self.ready.not_run(job, failure, timeout)
        })
    }

    fn finish(&self, mut report: ProbeReport, elapsed: Duration) -> ProbeReport {
        report.elapsed = elapsed;
        self.counts.probes.fetch_add(1, Ordering::Relaxed);
        if !report.is_success() {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
        }
        report
    }
}

/// The pause after a failed `attempt`, or `None` when it was the last: doubling, capped, and shortened by up to a half at
/// random so that targets that failed together are not tried together.
fn pause(retry: &Retry, attempt: u32) -> Option<Duration> {
    if attempt >= retry.attempts {
        return None;
    }
    let doubled = retry.backoff.saturating_mul(2_u32.saturating_pow(attempt - 1)).min(retry.max_backoff);
    Some(doubled.mul_f64(0.5 + fastrand::f64() / 2.0))
}

fn log_attempt(report: &ProbeReport, attempt: u32) {
    let (module, target, duration) = (&report.job.module, report.job.shown_target(), report.elapsed.as_secs_f64());
    match &report.failure {
        None => tracing::debug!(target: PROBE_LOG, %module, %target, attempt, duration, "probe succeeded"),
        Some(Failure { phase, reason, cause }) => {
            tracing::debug!(target: PROBE_LOG, %module, %target, attempt, duration, %phase, %reason, %cause, "probe failed");
        }
    }
}

fn log_suppressed(job: &Job, attempt: u32) {
    let (module, target) = (&job.module, job.shown_target());
    tracing::debug!(target: PROBE_LOG, %module, %target, attempt, "retry left out: the destination had too many of late");
}

/// The one line about a failed probe.
pub fn log_failure(report: &ProbeReport) {
    if let Some(Failure { phase, reason, cause }) = &report.failure {
        let (module, target, duration) = (&report.job.module, report.job.shown_target(), report.elapsed.as_secs_f64());
        let attempts = report.attempts;
        let edge = report.job.edge();
        tracing::info!(target: PROBE_LOG, %module, %target, edge, attempts, duration, %phase, %reason, %cause, "probe failed");
    }
}

/// Says so when a probe is dropped before its end, as when the scraper went away.
struct CancelLog<'a>(Option<&'a Job>);

impl Drop for CancelLog<'_> {
    fn drop(&mut self) {
        if let Some(job) = self.0 {
            tracing::debug!(target: PROBE_LOG, module = %job.module, target = %job.shown_target(), "probe cancelled");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Prober;

    /// An engine with a module `m`, and a job of it whose target never resolves; that is tried again up to four times.
    fn hopeless() -> (Engine, Plan, Job) {
        let name = ModuleName::new("m");
        let module = Module::new(name.clone(), Prober::Tls(Box::default()), "");
        let plan = Plan { modules: vec![Arc::new(module)], ..Plan::default() };
        let engine = Engine::new(&plan, EngineOptions { max_in_flight: 1000, key_log: false }).unwrap();
        let ms = Duration::from_millis;
        let on = Some([Reason::NameNotFound].into());
        let retry = Retry { attempts: 5, backoff: ms(10), max_backoff: ms(20), on, budget_percent: 10 };
        (engine, plan, Job { retry, ..Job::new(name, "nothing.invalid") })
    }

    /// Runs `job` `times` times at once; gives the attempts of all runs, and how many runs were kept from one more.
    async fn storm(engine: &Engine, job: &Job, times: usize) -> (usize, usize) {
        let limits = Limits { timeout: Duration::from_secs(1), budget: Duration::from_secs(10) };
        let reports = futures_util::future::join_all((0..times).map(|_| engine.run(job, limits))).await;
        let attempts = reports.iter().map(|report| report.attempts as usize).sum();
        (attempts, reports.iter().filter(|report| report.retry_suppressed).count())
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_not_amplified_over_targets_jobs_and_reloads() {
        let (engine, plan, job) = hopeless();
        let (attempts, suppressed) = storm(&engine, &job, 200).await;
        // A tenth of 200, and the floor of 10.
        assert!((229..=230).contains(&attempts), "{attempts}");
        assert!((170..=200).contains(&suppressed), "{suppressed}");

        let other = Job { target: "nothing.invalid:443".into(), ..job.clone() };
        let after_reload = engine.successor(&plan).unwrap();
        assert_eq!(storm(&after_reload, &other, 1).await, (1, 1), "the same destination");
        let elsewhere = Job { target: "nothing.invalid:8443".into(), ..job };
        assert_eq!(storm(&after_reload, &elsewhere, 1).await, (5, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_listed_reasons_are_tried_again() {
        let (engine, _, job) = hopeless();
        for (on, attempts) in [(None, 1), (Some([Reason::Timeout].into()), 1), (job.retry.on.clone(), 5)] {
            let retry = Retry { on, ..job.retry.clone() };
            assert_eq!(storm(&engine, &Job { retry, ..job.clone() }, 1).await, (attempts, 0));
        }
    }

    #[test]
    fn pauses_double_up_to_the_cap_and_end_with_the_attempts() {
        let ms = Duration::from_millis;
        let retry = Retry { attempts: 5, backoff: ms(200), max_backoff: ms(1000), ..Retry::NONE };
        for (attempt, longest) in [(1, 200), (2, 400), (3, 800), (4, 1000)] {
            for _ in 0..100 {
                let pause = pause(&retry, attempt).unwrap();
                assert!(pause >= ms(longest) / 2 && pause <= ms(longest), "after attempt {attempt}: {pause:?}");
            }
        }
        assert_eq!(pause(&retry, 5), None);
        assert_eq!(pause(&Retry::NONE, 1), None);
    }
}
