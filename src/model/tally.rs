//! The running totals of one scheduled series.

use super::{Failure, Phase, ProbeReport, Reason};
use std::{collections::BTreeMap, time::Duration};

/// Upper bounds, in seconds, of the phase histograms' buckets; a last one without bound follows.
pub const PHASE_BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// How often a phase took how long.
#[derive(Clone, Copy, Debug, Default)]
pub struct PhaseHistogram {
    /// Runs per bucket (not cumulated); the last counts what exceeds every bound.
    pub buckets: [u64; PHASE_BUCKETS.len() + 1],
    /// The sum of all observations, in seconds.
    pub sum: f64,
}

impl PhaseHistogram {
    /// Counts one observation.
    pub fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let at = PHASE_BUCKETS.iter().position(|&bound| seconds <= bound).unwrap_or(PHASE_BUCKETS.len());
        self.buckets[at] += 1;
        self.sum += seconds;
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Totals since the series was first scheduled. They survive a reload that keeps the series.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Finished runs.
    pub runs: u64,
    /// Attempts of all runs; more than `runs` when retries were needed.
    pub attempts: u64,
    /// Failed runs by the verdict that stood in the end.
    pub failures: BTreeMap<(Phase, Reason), u64>,
    /// Failed first attempts, also of runs that a retry turned into a success.
    pub first_failures: BTreeMap<(Phase, Reason), u64>,
    /// Runs whose further attempt was left out for the sake of the destination.
    pub suppressed: u64,
    /// Redirects received.
    pub redirects: u64,
    /// Ticks skipped because the run before was still going on, or the exporter was late.
    pub skipped: u64,
    /// How long each phase took, per run; phases that were never reached stay empty.
    pub phases: [PhaseHistogram; Phase::ALL.len()],
}

impl Tally {
    /// Counts one finished run.
    pub fn add(&mut self, report: &ProbeReport) {
        let count = |map: &mut BTreeMap<(Phase, Reason), u64>, failure: &Failure| {
            *map.entry((failure.phase, failure.reason)).or_default() += 1;
        };
        self.runs += 1;
        self.attempts += u64::from(report.attempts);
        self.suppressed += u64::from(report.retry_suppressed);
        self.redirects += report.redirects() as u64;
        if let Some(failure) = &report.failure {
            count(&mut self.failures, failure);
        }
        if let Some(failure) = report.first_failure() {
            count(&mut self.first_failures, failure);
        }
        for (phase, took) in report.times().iter() {
            self.phases[phase as usize].observe(took);
        }
    }
}
