//! A WebSocket that outlives the probe that opened it: watched until something happens to it, pinged on demand, closed in
//! good order. Whoever holds it drives it; dropping it closes the socket.

use super::{Socket, WsError, script::Exchange};
use crate::model::{Failure, Hop, Job, Module, Phase, PhaseTimes, ProbeReport, WebSocketFacts};
use crate::probe::run::{Run, at_most, failure, now};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a server may take to answer our close.
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);

/// A connection that is kept.
pub(crate) struct Held {
    socket: Socket,
    job: Job,
    module: Arc<Module>,
    /// The hop that opened it, which each ping's report shows again.
    hop: Hop,
    opened: Instant,
    heard: Instant,
}

impl Held {
    /// Keeps the socket of a probe that succeeded.
    pub(in crate::probe) fn new(socket: Socket, report: &ProbeReport) -> Option<Self> {
        let hop = report.hops.last()?.clone();
        let (opened, job, module) = (now(), report.job.clone(), Arc::clone(&report.module));
        Some(Self { socket, job, module, hop, opened, heard: opened })
    }

    /// How long it has lived.
    pub(crate) fn lived(&self) -> Duration {
        self.opened.elapsed()
    }

    /// For how long nothing has come from the server.
    pub(crate) fn idle(&self) -> Duration {
        self.heard.elapsed()
    }

    /// Until the connection has ended; why. What comes meanwhile is read, answered where it is a ping, and dropped. May be
    /// dropped and begun again.
    pub(crate) async fn lost(&mut self) -> Failure {
        loop {
            match self.socket.next().await {
                Ok(_) => self.heard = now(),
                Err(error) => return failure(Phase::Transfer, &error),
            }
        }
    }

    /// Pings, for at most `timeout`: a report like that of the probe that opened it, with this round trip.
    pub(crate) async fn ping(&mut self, timeout: Duration) -> ProbeReport {
        let mut run = Run::start(self.job.clone(), Arc::clone(&self.module), timeout);
        run.begin_hop(Hop { times: PhaseTimes::default(), ..self.hop.clone() });
        self.socket.renew();
        let before = self.hop.websocket.clone().unwrap_or_default();
        let mut exchange = Exchange::new(before.subprotocol);
        let clock = run.clock();
        let outcome = run.phase(Phase::Transfer, exchange.ping(&mut self.socket, clock)).await;
        if outcome.is_ok() {
            self.heard = now();
        }
        let facts = WebSocketFacts { messages: before.messages + exchange.facts.messages, ..exchange.facts.clone() };
        run.hop().websocket = Some(facts);
        run.finish(outcome.map_err(|failed| exchange.name_wait(failed)))
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self) {
        // Whatever comes of it: it is over.
        let _: Option<Result<(), WsError>> = at_most(CLOSE_PATIENCE, self.socket.close()).await;
    }
}
