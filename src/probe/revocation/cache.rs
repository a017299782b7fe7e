//! What was fetched, kept by key until its time is over; failures too, so that a dead server is not asked by every probe.
//!
//! Whoever asks first fetches, in its own future; who asks meanwhile waits for that one answer. If the first gives up, the
//! next in line fetches. Knows neither HTTP nor what is kept.

use crate::probe::run::until;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::time::Instant;

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// An answer, how long it holds (Unix seconds), and how much memory it stands for.
#[derive(Clone, Debug)]
pub(super) struct Kept<T> {
    pub(super) value: T,
    pub(super) until: i64,
    pub(super) bytes: usize,
}

/// Answers by key.
#[derive(Debug)]
pub(super) struct Cache<T> {
    limits: Limits,
    places: Mutex<HashMap<String, Place<T>>>,
}

#[derive(Debug)]
struct Place<T> {
    /// Held by whoever fetches.
    gate: Arc<tokio::sync::Mutex<()>>,
    kept: Option<Kept<T>>,
}

impl<T: Clone> Cache<T> {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, places: Mutex::default() }
    }

    /// The answer under `key` if one holds at `now`; else what `fetch` gives, which is then kept. `None` when that was not
    /// there by `deadline`.
    pub(super) async fn get(
        &self,
        (key, now): (&str, i64),
        deadline: Instant,
        fetch: impl Future<Output = Kept<T>>,
    ) -> Option<T> {
        let gate = match self.find(key, now) {
            Ok(value) => return Some(value),
            Err(gate) => gate,
        };
        let _turn = until(deadline, gate.lock()).await?;
        if let Ok(value) = self.find(key, now) {
            return Some(value);
        }
        let kept = fetch.await;
        let value = kept.value.clone();
        self.put(key, kept, now);
        Some(value)
    }

    /// The answer, or the gate to fetch it behind.
    fn find(&self, key: &str, now: i64) -> Result<T, Arc<tokio::sync::Mutex<()>>> {
        let mut places = self.places();
        if let Some(place) = places.get(key) {
            return match &place.kept {
                Some(kept) if kept.until > now => Ok(kept.value.clone()),
                _ => Err(Arc::clone(&place.gate)),
            };
        }
        self.make_room(&mut places, 0, now);
        let gate = Arc::default();
        places.insert(key.to_owned(), Place { gate: Arc::clone(&gate), kept: None });
        Err(gate)
    }

    fn put(&self, key: &str, kept: Kept<T>, now: i64) {
        if kept.bytes > self.limits.bytes {
            return;
        }
        let mut places = self.places();
        let gate = places.remove(key).map(|place| place.gate).unwrap_or_default();
        self.make_room(&mut places, kept.bytes, now);
        places.insert(key.to_owned(), Place { gate, kept: Some(kept) });
    }

    /// Drops what is over, then what will be over first, until one more entry of `bytes` fits.
    fn make_room(&self, places: &mut HashMap<String, Place<T>>, bytes: usize, now: i64) {
        let fits = |places: &HashMap<String, Place<T>>| {
            let held: usize = places.values().filter_map(|place| place.kept.as_ref()).map(|kept| kept.bytes).sum();
            places.len() < self.limits.entries && held + bytes <= self.limits.bytes
        };
        if fits(places) {
            return;
        }
        places.retain(|_, place| match &place.kept {
            Some(kept) => kept.until > now,
            None => Arc::strong_count(&place.gate) > 1,
        });
        while !fits(places) {
            let until = |place: &Place<T>| place.kept.as_ref().map_or(i64::MAX, |kept| kept.until);
            let Some(first) = places.iter().min_by_key(|(_, place)| until(place)).map(|(key, _)| key.clone()) else {
                return;
            };
            places.remove(&first);
        }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<String, Place<T>>> {
        // A panic while it was held cannot leave a map half changed.
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::run::share;
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::Duration,
    };
    use tokio::time::sleep;

    fn soon() -> Instant {
        share(None, Duration::from_secs(60))
    }

    fn kept(value: usize, until: i64) -> Kept<usize> {
        Kept { value, until, bytes: 10 }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_at_once_are_one_request() {
        let cache = Cache::new(Limits { entries: 10, bytes: 100 });
        let asked = AtomicUsize::new(0);
        let fetch = || async {
            sleep(Duration::from_secs(1)).await;
            kept(asked.fetch_add(1, Ordering::Relaxed), 100)
        };
        let all = (0..100).map(|_| cache.get(("a", 0), soon(), fetch()));
        let answers = futures_util::future::join_all(all).await;
        assert!(answers.iter().all(|answer| *answer == Some(0)), "{answers:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        assert_eq!(cache.get(("a", 99), soon(), fetch()).await, Some(0));
        assert_eq!(cache.get(("a", 100), soon(), fetch()).await, Some(1), "its time is over");
        assert_eq!(cache.get(("b", 0), soon(), fetch()).await, Some(2), "another key");
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_in_line_fetches_when_the_first_gives_up() {
        let cache = Cache::new(Limits { entries: 10, bytes: 100 });
        let never = async {
            sleep(Duration::from_secs(3600)).await;
            kept(0, 100)
        };
        let first = until(share(None, Duration::from_secs(1)), cache.get(("a", 0), soon(), never));
        let second = cache.get(("a", 0), soon(), async { kept(2, 100) });
        let impatient = cache.get(("a", 0), share(None, Duration::from_millis(1)), async { kept(3, 100) });
        let (first, second, impatient) = tokio::join!(first, second, impatient);
        assert_eq!((first, second, impatient), (None, Some(2), None));
    }

    #[tokio::test]
    async fn entries_and_bytes_are_bounded() {
        let cache = Cache::new(Limits { entries: 3, bytes: 25 });
        for n in 0..50 {
            let key = n.to_string();
            let until = 100 + i64::try_from(n).unwrap();
            assert_eq!(cache.get((&key, 0), soon(), async { kept(n, until) }).await, Some(n));
            let places = cache.places();
            assert!(places.len() <= 3 && places.values().filter(|p| p.kept.is_some()).count() <= 2, "{n}");
        }
        assert_eq!(cache.get(("49", 0), soon(), async { kept(0, 1) }).await, Some(49), "the last ones stay");
        let huge = Kept { value: 7, until: 100, bytes: 26 };
        assert_eq!(cache.get(("huge", 0), soon(), async { huge }).await, Some(7));
        assert!(cache.places()["huge"].kept.is_none(), "what is larger than all is given, not kept");
    }
}
