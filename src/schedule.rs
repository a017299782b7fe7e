//! Runs every series again and again: at its own offset within the interval, never twice at once, late ticks counted.
//!
//! In: an engine and the series of a config, again at each reload. Out: reports on the board. One task per series; dropping
//! its sender ends it after the probe it is in.

use crate::board::{Board, Change};
use crate::engine::{Engine, HeldSocket, Limits, PROBE_LOG, log_failure};
use crate::model::{Failure, HoldEvent, Outcome, ProbeReport, Series, SeriesKey};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tokio_util::task::TaskTracker;

/// The timeout of a scheduled probe whose module sets none, unless its interval is shorter.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// What one task has to do; replaced as a whole by a reload.
#[derive(Clone)]
struct Work {
    engine: Arc<Engine>,
    series: Series,
}

/// All tasks.
pub struct Schedule {
    board: Arc<Board>,
    running: HashMap<SeriesKey, watch::Sender<Work>>,
    tasks: TaskTracker,
}

impl Schedule {
    /// A schedule with nothing to do.
    pub fn new(board: Arc<Board>) -> Self {
        Self { board, running: HashMap::new(), tasks: TaskTracker::new() }
    }

    /// Makes the schedule match `series`: new ones start, gone ones end and vanish from the board at once, kept ones go on
    /// in step, on the new engine from their next tick.
    pub fn apply(&mut self, engine: &Arc<Engine>, series: &[Series]) {
        self.board.sync(series);
        let mut before = std::mem::take(&mut self.running);
        for series in series {
            let work = Work { engine: Arc::clone(engine), series: series.clone() };
            let kept = before.remove(&series.key).filter(|sender| sender.send(work.clone()).is_ok());
            let sender = kept.unwrap_or_else(|| {
                let (sender, receiver) = watch::channel(work);
                self.tasks.spawn(repeat(receiver, Arc::clone(&self.board)));
                sender
            });
            self.running.insert(series.key.clone(), sender);
        }
    }

    /// Ends every task and waits until the probes under way are done.
    pub async fn stop(self) {
        drop(self.running);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn repeat(mut work: watch::Receiver<Work>, board: Arc<Board>) {
    let mut interval = work.borrow_and_update().series.interval;
    let mut due = first_tick(&work.borrow().series);
    let mut held: Option<HeldSocket> = None;
    loop {
        tokio::select! {
            biased;
            changed = work.changed() => {
                let key = work.borrow().series.key.clone();
                // The new config may hold another one, or none.
                if let Some(held) = held.take() {
                    board.hold(&key, held.close().await);
                }
                if changed.is_err() {
                    return;
                }
                let series = work.borrow_and_update().series.clone();
                if series.interval != interval {
                    interval = series.interval;
                    due = first_tick(&series);
                }
                continue;
            }
            failure = lost(&mut held) => {
                let key = work.borrow().series.key.clone();
                note_drop(&board, &key, (held.take(), &failure));
                continue;
            }
            () = sleep_until(due) => {}
        }
        let Work { engine, series } = work.borrow().clone();
        let lag = due.elapsed();
        let limits = limits(&engine, &series, lag);
        let outcome = match series.hold {
            None => engine.carry_out(&series.job, series.fan.as_ref(), limits).await,
            Some(time) => Outcome::One(Arc::new(hold(&engine, &board, (&series, time, limits), &mut held).await)),
        };
        record(&board, &series.key, &outcome, lag);
        let missed = missed_ticks(due.elapsed(), interval);
        if missed > 0 {
            board.skipped(&series.key, missed.into());
        }
        due += interval * (missed + 1);
    }
}

/// Until a held connection has ended; for ever when there is none.
async fn lost(held: &mut Option<HeldSocket>) -> Failure {
    match held {
        Some(held) => held.lost().await,
        None => std::future::pending().await,
    }
}

/// One run of a series that holds a connection: pings it, or opens one when there is none or its time is over.
async fn hold(
    engine: &Engine,
    board: &Board,
    (series, time, limits): (&Series, Duration, Limits),
    held: &mut Option<HeldSocket>,
) -> ProbeReport {
    if held.as_ref().is_some_and(|held| held.lived() >= time)
        && let Some(old) = held.take()
    {
        board.hold(&series.key, old.close().await);
    }
    if let Some(open) = held {
        let report = open.ping(limits.timeout).await;
        if let Some(failure) = &report.failure {
            note_drop(board, &series.key, (held.take(), failure));
        }
        return report;
    }
    let (report, opened) = engine.open(&series.job, limits).await;
    if opened.is_some() {
        board.hold(&series.key, HoldEvent::Opened);
    }
    *held = opened;
    report
}

fn note_drop(board: &Board, key: &SeriesKey, (held, failure): (Option<HeldSocket>, &Failure)) {
    let Some(held) = held else { return };
    let (job, target, lived) = (key.get("job"), key.get("instance"), held.lived().as_secs_f64());
    let Failure { reason, cause, .. } = failure;
    tracing::info!(target: PROBE_LOG, job, target, lived, %reason, %cause, "held WebSocket dropped");
    board.hold(key, held.dropped(failure));
}

/// One attempt has the module's timeout; all together end before the next tick.
fn limits(engine: &Engine, series: &Series, lag: Duration) -> Limits {
    let budget = series.interval.saturating_sub(lag).max(series.interval / 2);
    let timeout = engine.module(series.job.module.as_str()).and_then(|module| module.timeout);
    Limits { timeout: timeout.unwrap_or(DEFAULT_TIMEOUT).min(budget), budget }
}

/// Whole intervals that passed since a tick was due: ticks that found the run before still going on.
fn missed_ticks(since_due: Duration, interval: Duration) -> u32 {
    u32::try_from(since_due.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u32::MAX - 1)
}

/// Stores what came of a run and writes the lines that changes of verdict are worth.
fn record(board: &Board, key: &SeriesKey, outcome: &Outcome, lag: Duration) {
    let changes = match outcome {
        Outcome::One(report) => board.put(key, Arc::clone(report), lag).into_iter().collect(),
        Outcome::Fan(fan) => board.put_fan(key, fan, lag),
    };
    for (report, change) in outcome.reports().zip(changes) {
        log_change(report, change);
    }
}

fn log_change(report: &ProbeReport, change: Change) {
    match change {
        Change::First | Change::Failed | Change::Reason => log_failure(report),
        Change::Recovered => {
            let (module, target, edge) = (&report.job.module, report.job.shown_target(), report.job.edge());
            tracing::info!(target: PROBE_LOG, %module, %target, edge, attempts = report.attempts, "probe recovered");
        }
        Change::Same => {}
    }
}

/// The first tick of a series: its own offset within the interval, the same at every start and on every machine.
#[expect(clippy::disallowed_methods, reason = "ticks are counted on the runtime's clock")]
fn first_tick(series: &Series) -> Instant {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Instant::now() + wait(now, series.interval, spread(&series.key))
}

/// From `now` (Unix time) to the next moment that lies `offset` into an interval.
fn wait(now: Duration, interval: Duration, offset: u64) -> Duration {
    let interval = interval.as_nanos().max(1);
    let offset = u128::from(offset) % interval;
    let into = now.as_nanos() % interval;
    let wait = (offset + interval - into) % interval;
    Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX))
}

/// FNV-1a over a series' labels: stable across versions and machines, unlike the standard library's hashers.
fn spread(key: &SeriesKey) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let texts = key.labels().iter().flat_map(|(name, value)| [name.as_bytes(), &[0xff], value.as_bytes(), &[0xfe]]);
    let hash = texts.flatten().fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    // FNV's high bits are the better ones; the offset is taken by remainder, which looks at the low ones.
    hash ^ (hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(instance: &str) -> SeriesKey {
        SeriesKey([("job".to_owned(), "j".to_owned()), ("instance".to_owned(), instance.to_owned())].into())
    }

    #[test]
    fn targets_are_spread_evenly_over_the_interval() {
        let interval = Duration::from_secs(10);
        let mut per_second = [0; 10];
        for i in 0..1000 {
            let key = key(&format!("https://site-{i}.example/"));
            let wait = wait(Duration::ZERO, interval, spread(&key));
            per_second[usize::try_from(wait.as_secs()).unwrap()] += 1;
        }
        assert!(per_second.iter().all(|&n| (60..=140).contains(&n)), "{per_second:?}");
    }

    #[test]
    fn a_restart_keeps_the_offset() {
        let interval = Duration::from_secs(30);
        let offset = spread(&key("https://a.example/"));
        for now in [0, 1, 29, 30, 1_800_000_007] {
            let now = Duration::from_secs(now);
            let tick = now + wait(now, interval, offset);
            assert_eq!(tick.as_nanos() % interval.as_nanos(), u128::from(offset) % interval.as_nanos());
        }
    }

    #[test]
    fn only_whole_missed_intervals_are_skipped() {
        let interval = Duration::from_secs(10);
        for (since_due, missed) in [(0, 0), (9, 0), (10, 1), (19, 1), (35, 3)] {
            assert_eq!(missed_ticks(Duration::from_secs(since_due), interval), missed);
        }
    }
}
