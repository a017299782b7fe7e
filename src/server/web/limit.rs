//! How many requests are answered: a bucket of tokens that fills with time. Knows no request.

use crate::model::RateLimit;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A bucket that is full at first. Instead of its tokens it keeps the moment from which on it is full.
#[derive(Debug)]
pub(in crate::server) struct Bucket {
    interval: Duration,
    /// How long it takes to fill.
    depth: Duration,
    full_at: Mutex<Option<Instant>>,
}

impl Bucket {
    /// A full bucket.
    pub(in crate::server) fn new(limit: RateLimit) -> Self {
        let depth = limit.interval.saturating_mul(limit.burst);
        Self { interval: limit.interval, depth, full_at: Mutex::new(None) }
    }

    /// Takes a token, if there is one at `now`.
    pub(in crate::server) fn take(&self, now: Instant) -> bool {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = full_at.map_or(now, |at| at.max(now)) + self.interval;
        let has_one = next.duration_since(now) <= self.depth;
        if has_one {
            *full_at = Some(next);
        }
        has_one
    }

    /// Whether it has all its tokens at `now`.
    pub(in crate::server) fn is_full(&self, now: Instant) -> bool {
        self.full_at.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|at| at <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn after_the_burst_tokens_come_one_by_one_and_never_more_than_the_burst() {
        let bucket = Bucket::new(RateLimit { interval: Duration::from_secs(10), burst: 3 });
        let start = Instant::now();
        let taken = |seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            std::iter::from_fn(|| bucket.take(now).then_some(())).count()
        };
        for (seconds, tokens) in [(0, 3), (9, 0), (10, 1), (19, 0), (35, 2), (40, 1), (1_000, 3)] {
            assert_eq!(taken(seconds), tokens, "after {seconds} s");
        }
    }
}
