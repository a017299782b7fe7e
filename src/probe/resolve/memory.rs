//! What is remembered of questions: those under way, so that whoever asks the same joins in; answers for as long as they
//! say, where that is wanted; and the last good ones, where they may stand in. Never a failure to get an answer.
//!
//! Questions under way are driven by those who wait for them, and end with the last of them.

use super::{super::run::now, Answer, Question, ResolveError};
use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Questions whose answers are remembered, for each resolver; further ones are not until others have run out.
const MAX_NAMES: usize = 10_000;
/// No answer is remembered for longer, whatever it says.
const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// Nor that there is nothing (RFC 2308 section 5 suggests hours; what somebody has just set up should be seen sooner).
const MAX_NEGATIVE_TTL: Duration = Duration::from_secs(5 * 60);

type Flight = Shared<BoxFuture<'static, Answer>>;

/// How long things are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Whether answers are used again while they are good.
    pub(super) cache: bool,
    /// For how long after its time an answer may stand in.
    pub(super) stale: Option<Duration>,
}

/// The memory of one resolver; outlives reloads that leave its settings as they are.
#[derive(Default)]
pub(super) struct Memory(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    flights: HashMap<Question, WeakShared<BoxFuture<'static, Answer>>>,
    answers: HashMap<Question, Kept>,
}

/// An answer and how long it is good.
struct Kept {
    answer: Answer,
    learned: Instant,
    good_until: Instant,
    gone_at: Instant,
}

impl Kept {
    /// The answer as it is told when it is used again.
    fn again(&self, at: Instant, stale: bool) -> Answer {
        let mut answer = self.answer.clone();
        (answer.facts.age, answer.facts.stale) = (at - self.learned, stale);
        answer
    }
}

impl Memory {
    /// An answer that is still good.
    pub(super) fn fresh(&self, question: &Question, policy: Policy) -> Option<Answer> {
        let at = now();
        let inner = self.lock();
        let kept = inner.answers.get(question).filter(|kept| policy.cache && at < kept.good_until)?;
        Some(kept.again(at, false))
    }

    /// The last answer with addresses, if its time passed not too long ago.
    pub(super) fn last_good(&self, question: &Question) -> Option<Answer> {
        let at = now();
        let inner = self.lock();
        let kept = inner.answers.get(question).filter(|kept| kept.answer.addresses.is_ok() && at < kept.gone_at)?;
        Some(kept.again(at, true))
    }

    /// What `ask` gives, or somebody else's asking of the same that is under way; and remembers it.
    pub(super) async fn join<F>(&self, question: Question, policy: Policy, ask: impl FnOnce() -> F) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let flight = {
            let mut inner = self.lock();
            if let Some(flight) = inner.flights.get(&question).and_then(WeakShared::upgrade) {
                flight
            } else {
                let flight = ask().boxed().shared();
                let weak = flight.downgrade().expect("it was not polled yet");
                inner.flights.insert(question.clone(), weak);
                flight
            }
        };
        let mut waiter = Waiter { memory: self, question, flight: Some(flight) };
        let answer = waiter.flight.as_mut().expect("it was just put there").await;
        self.keep(waiter.question.clone(), &answer, policy);
        answer
    }

    fn keep(&self, question: Question, answer: &Answer, policy: Policy) {
        let negative = match &answer.addresses {
            Ok(_) => false,
            Err(ResolveError::NotFound(_) | ResolveError::NoAddress { .. }) => true,
            Err(_) => return,
        };
        if !policy.cache && policy.stale.is_none() {
            return;
        }
        let most = if negative { MAX_NEGATIVE_TTL } else { MAX_TTL };
        let learned = now();
        let good_until = learned + answer.facts.ttl.unwrap_or_default().min(most);
        let stale = policy.stale.filter(|_| !negative).unwrap_or_default();
        let kept = Kept { answer: answer.clone(), learned, good_until, gone_at: good_until + stale };
        let mut inner = self.lock();
        if inner.answers.len() >= MAX_NAMES && !inner.answers.contains_key(&question) {
            inner.answers.retain(|_, kept| learned < kept.gone_at);
            if inner.answers.len() >= MAX_NAMES {
                return;
            }
        }
        inner.answers.insert(question, kept);
    }

    /// A panic elsewhere cannot leave the maps half changed.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who waits for a question under way; the last of them to go takes it off the list.
struct Waiter<'a> {
    memory: &'a Memory,
    question: Question,
    flight: Option<Flight>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.flight = None;
        let flights = &mut self.memory.lock().flights;
        if flights.get(&self.question).is_some_and(|flight| flight.upgrade().is_none()) {
            flights.remove(&self.question);
        }
    }
}
