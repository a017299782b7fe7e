//! One probe under way: the clock, the deadline, and the report being filled.
//!
//! The only place that reads the monotonic clock, cuts a stage off and turns a stage's error into a failure.

use super::ws::Socket;
use crate::model::{Failure, Hop, Job, Module, Phase, ProbeReport, Reason, TokenFacts};
use std::{
    error::Error,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, timeout_at};

/// A stage's error, which knows the reason it stands for.
pub(super) trait StageError: Error {
    /// The word from the closed list.
    fn reason(&self) -> Reason;
}

/// A probe under way.
pub(super) struct Run {
    began: Instant,
    deadline: Instant,
    report: ProbeReport,
    /// Whether a WebSocket is kept open at the end, and the one that is.
    keeps: bool,
    kept: Option<Socket>,
}

impl Run {
    /// Starts the clock. The deadline is `timeout` from now.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub(super) fn start(job: Job, module: Arc<Module>, timeout: Duration) -> Self {
        let began = Instant::now();
        let report = ProbeReport {
            job,
            module,
            started: SystemTime::now(),
            elapsed: Duration::ZERO,
            timeout,
            token: None,
            hops: Vec::new(),
            failure: None,
            attempts: 1,
            retried_after: None,
            retry_suppressed: false,
        };
        Self { began, deadline: began + timeout, report, keeps: false, kept: None }
    }

    /// Runs one stage: times it, cuts it off at the deadline, and names its failure.
    ///
    /// A reason that belongs to another phase moves the failure there: a refused client certificate is TLS's, although
    /// TLS 1.3 tells it only when the response is read.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock and cuts off")]
    pub(super) async fn phase<T, E: StageError>(
        &mut self,
        phase: Phase,
        stage: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let outcome = timeout_at(self.deadline, stage).await;
        self.hop().times.add(phase, start.elapsed());
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failure(phase, &error)),
            Err(_) => Err(Failure::new(phase, Reason::Timeout, "the deadline passed")),
        }
    }

    /// Notes what is known of the token.
    pub(super) fn note_token(&mut self, facts: TokenFacts) {
        self.report.token = Some(Box::new(facts));
    }

    /// Begins another hop.
    pub(super) fn begin_hop(&mut self, hop: Hop) {
        self.report.hops.push(hop);
    }

    /// The hop under way, whose facts are being gathered.
    pub(super) fn hop(&mut self) -> &mut Hop {
        if self.report.hops.is_empty() {
            self.report.hops.push(Hop::default());
        }
        self.report.hops.last_mut().expect("a hop was just made sure of")
    }

    /// What is probed.
    pub(super) fn job(&self) -> &Job {
        &self.report.job
    }

    /// From now on a WebSocket is kept open at the end.
    pub(super) fn keep_socket(&mut self) {
        self.keeps = true;
    }

    /// Whether it is.
    pub(super) fn keeps_socket(&self) -> bool {
        self.keeps
    }

    /// Keeps a socket whose exchange is over.
    pub(super) fn keep(&mut self, socket: Socket) {
        self.kept = Some(socket);
    }

    /// The socket that was kept.
    pub(super) fn kept(&mut self) -> Option<Socket> {
        self.kept.take()
    }

    /// How long the probe has left.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub(super) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// When the probe is cut off.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// When the probe began (wall clock).
    pub(super) fn started(&self) -> SystemTime {
        self.report.started
    }

    /// Tells the time since the probe began, for a stage that times a part of itself.
    pub(super) fn clock(&self) -> impl Fn() -> Duration + use<> {
        let began = self.began;
        move || began.elapsed()
    }

    /// Stops the clock and gives the report.
    pub(super) fn finish(mut self, outcome: Result<(), Failure>) -> ProbeReport {
        self.report.elapsed = self.began.elapsed();
        self.report.failure = outcome.err();
        self.report
    }
}

/// What the clock says, for what is kept from probe to probe.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// The outcome of `future`, or `None` when it took longer than `limit`: for waits that end well either way.
#[expect(clippy::disallowed_methods, reason = "the one place that cuts off")]
pub(super) async fn at_most<T>(limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(limit, future).await.ok()
}

/// The outcome of `future`, or `None` when it was not there by `deadline`.
#[expect(clippy::disallowed_methods, reason = "the one place that cuts off")]
pub(super) async fn until<T>(deadline: Instant, future: impl Future<Output = T>) -> Option<T> {
    timeout_at(deadline, future).await.ok()
}

/// By when a side task has to be done that must not cost the probe its deadline: a third of what is left of it, at most
/// `cap` from now.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub(super) fn share(deadline: Option<Instant>, cap: Duration) -> Instant {
    let now = Instant::now();
    let third = deadline.map(|deadline| deadline.saturating_duration_since(now) / 3);
    now + third.map_or(cap, |third| third.min(cap))
}

/// Names the failure of a stage that ended with `error`.
pub(super) fn failure<E: StageError>(phase: Phase, error: &E) -> Failure {
    let reason = error.reason();
    Failure::new(reason.phase().unwrap_or(phase), reason, chain(error))
}

/// An error and its sources in one line; a source that its parent already quotes is left out.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let words = error.to_string();
        if !text.contains(&words) {
            let _ = write!(text, ": {words}");
        }
        source = error.source();
    }
    text
}
