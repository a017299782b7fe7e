//! Tokens by their settings, until they are due for renewal; failures for a moment, so that a refusal is not asked for by
//! every probe.
//!
//! Whoever comes first fetches, in its own future; who comes meanwhile waits for that one answer. If the first gives up, the
//! next in line fetches. A place is kept as long as a module in use has it, so a reload keeps the tokens whose settings
//! stay. Knows neither HTTP nor the clock.

use super::{TokenError, answer::Grant};
use crate::model::Secret;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak, atomic::AtomicBool},
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// A token is renewed so long before its end; a short one when half of its life is over.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// A failed request is not repeated for so long.
const FAILURE_HOLDS: Duration = Duration::from_secs(1);
/// A refused token is replaced once within this time: a target that refuses every token must not have each probe fetch one.
const REPLACE_APART: Duration = Duration::from_secs(60);

/// The tokens of all modules. Bounded by the modules: a place that no module has is gone.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<[u8; 32], Weak<Place>>>);

impl Tokens {
    /// The place of the token with these settings.
    pub(super) fn place(&self, settings: [u8; 32]) -> Arc<Place> {
        // A panic while it was held cannot leave a map half changed.
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, place| place.strong_count() > 0);
        let known = places.get(&settings).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let place = Arc::default();
            places.insert(settings, Arc::downgrade(&place));
            place
        })
    }
}

/// A token that works, as far as its endpoint knows.
pub(super) struct Token {
    pub(super) secret: Secret,
    /// The status of the answer it came with.
    pub(super) status: u16,
    /// Its end.
    pub(super) expires: SystemTime,
    /// From when on it is not used any more.
    due: Instant,
}

impl Token {
    /// The token of an answer to a request that was made at `asked`, by both clocks.
    pub(super) fn new(grant: Grant, status: u16, asked: (Instant, SystemTime)) -> Self {
        let Grant { secret, life } = grant;
        let used = life.saturating_sub(RENEW_BEFORE.min(life / 2));
        Self { secret, status, expires: asked.1 + life, due: asked.0 + used }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token(until {:?})", self.expires)
    }
}

type Outcome = Result<Arc<Token>, TokenError>;

/// Where one token is kept.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Held by whoever fetches.
    kept: tokio::sync::Mutex<Kept>,
    /// Whether the endpoint took the client's credentials in the form, not in the header.
    pub(super) in_form: AtomicBool,
}

#[derive(Debug, Default)]
struct Kept {
    latest: Option<(Outcome, Instant)>,
    replaced: Option<Instant>,
}

impl Place {
    /// The token at hand, or what `fetch` gives, which is then kept.
    pub(super) async fn get<F>(&self, now: impl Fn() -> Instant, fetch: impl FnOnce() -> F) -> Outcome
    where
        F: Future<Output = Result<Token, TokenError>>,
    {
        let mut kept = self.kept.lock().await;
        if let Some((outcome, until)) = &kept.latest
            && now() < *until
        {
            return outcome.clone();
        }
        let outcome = fetch().await.map(Arc::new);
        let until = outcome.as_ref().map_or_else(|_| now() + FAILURE_HOLDS, |token| token.due);
        kept.latest = Some((outcome.clone(), until));
        outcome
    }

    /// Forgets `token`, which a target refused, unless one was forgotten lately.
    pub(super) fn refuse(&self, token: &Arc<Token>, now: Instant) {
        // Whoever holds the lock is fetching another one already.
        let Ok(mut kept) = self.kept.try_lock() else { return };
        let is_latest = matches!(&kept.latest, Some((Ok(latest), _)) if Arc::ptr_eq(latest, token));
        let lately = kept.replaced.is_some_and(|at| now.saturating_duration_since(at) < REPLACE_APART);
        if is_latest && !lately {
            *kept = Kept { latest: None, replaced: Some(now) };
        }
    }
}
