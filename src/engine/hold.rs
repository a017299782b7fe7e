//! Connections that jobs keep open, each with a place of its own beside the permits of probes.

use super::{Engine, Limits, log_attempt};
use crate::model::{Failure, HoldEvent, Job, Phase, ProbeReport, Reason};
use crate::probe::Held;
use std::{sync::Arc, time::Duration};
use tokio::sync::OwnedSemaphorePermit;

/// Connections held at once, over all jobs.
pub(super) const MAX_HELD: usize = 5_000;

/// A connection that is kept. Whoever holds it drives it; dropping it closes the socket.
pub struct HeldSocket {
    connection: Held,
    _place: OwnedSemaphorePermit,
}

impl Engine {
    /// Probes `job` once and keeps the WebSocket that it opened. There is none when the probe failed.
    ///
    /// # Panics
    /// If this engine has no module of the job's name.
    pub async fn open(&self, job: &Job, limits: Limits) -> (ProbeReport, Option<HeldSocket>) {
        let entry = self.modules.get(&job.module).expect("job and engine come from one load");
        let Ok(place) = Arc::clone(&self.held).try_acquire_owned() else {
            let words = format!("{MAX_HELD} WebSockets are held already");
            let failure = Failure::new(Phase::Connect, Reason::LocalLimit, words);
            return (entry.finish(entry.ready.not_run(job, failure, limits.timeout), Duration::ZERO), None);
        };
        let (report, connection) = entry.ready.open(job, limits.timeout.min(limits.budget)).await;
        log_attempt(&report, 1);
        let elapsed = report.elapsed;
        let held = connection.map(|connection| HeldSocket { connection, _place: place });
        (entry.finish(report, elapsed), held)
    }

    /// How many are held now.
    pub fn held(&self) -> usize {
        MAX_HELD - self.held.available_permits()
    }
}

impl HeldSocket {
    /// How long it has lived.
    pub fn lived(&self) -> Duration {
        self.connection.lived()
    }

    /// Until the connection has ended; why. May be dropped and begun again.
    pub async fn lost(&mut self) -> Failure {
        self.connection.lost().await
    }

    /// Pings, for at most `timeout`: a report like that of the probe that opened it, with this round trip.
    pub async fn ping(&mut self, timeout: Duration) -> ProbeReport {
        self.connection.ping(timeout).await
    }

    /// What its end by `failure` means.
    pub fn dropped(&self, failure: &Failure) -> HoldEvent {
        HoldEvent::Dropped { reason: failure.reason, lived: self.lived(), idle: self.connection.idle() }
    }

    /// Says goodbye; what that means.
    pub async fn close(self) -> HoldEvent {
        let lived = self.lived();
        self.connection.close().await;
        HoldEvent::Completed { lived }
    }
}
