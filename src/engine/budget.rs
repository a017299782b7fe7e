//! How many retries a destination may get, so that an outage is not answered with several times the load.
//!
//! Each destination has an account. Every first attempt pays a share of a retry in, every retry takes one out, and what is
//! left drifts back to a small floor within minutes: gRPC's retry throttling and Finagle's retry budget are made alike. In:
//! destinations and the time. Out: yes or no. Knows neither jobs nor probes.

use crate::model::Host;
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Whom a job connects to first: host or address, and port.
pub(super) type Destination = (Host, u16);

/// Retries that every destination has, and gets again within about [`FADING`]: a lone target can always be tried again.
const FLOOR: f64 = 10.0;
/// What was paid in or taken out counts for about so long (it falls to 1/e): the account is about the last minute.
const FADING: Duration = Duration::from_secs(60);
/// Accounts kept. With more destinations than this, those that come last share one.
const MAX_ACCOUNTS: usize = 10_000;

/// The accounts of all destinations, over all jobs. Handed on from engine to engine.
#[derive(Debug, Default)]
pub(super) struct Budgets(Mutex<Accounts>);

#[derive(Debug, Default)]
struct Accounts {
    /// `None` is the account of all that found no room.
    by_destination: HashMap<Option<Destination>, Account>,
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    balance: f64,
    at: Instant,
}

impl Budgets {
    /// Notes a first attempt, which pays in `percent` of a retry.
    pub(super) fn pay_in(&self, destination: &Destination, percent: u32, now: Instant) {
        self.lock().account(destination, now).balance += f64::from(percent) / 100.0;
    }

    /// Takes a retry out. False when there is none left.
    pub(super) fn take(&self, destination: &Destination, now: Instant) -> bool {
        let mut accounts = self.lock();
        let account = accounts.account(destination, now);
        let enough = account.balance >= 1.0;
        account.balance -= f64::from(u8::from(enough));
        enough
    }

    /// A panic while it was held cannot leave a number half changed.
    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    /// The destination's account as it stands at `now`.
    fn account(&mut self, destination: &Destination, now: Instant) -> &mut Account {
        let mut key = Some(destination.clone());
        if !self.by_destination.contains_key(&key) {
            self.sweep(now);
            key = key.filter(|_| self.by_destination.len() < MAX_ACCOUNTS);
        }
        let account = self.by_destination.entry(key).or_insert(Account { balance: FLOOR, at: now });
        account.settle(now);
        account
    }

    /// Forgets accounts that are back at the floor, as a new one is. Not more often than they can change.
    fn sweep(&mut self, now: Instant) {
        let recently = self.swept.is_some_and(|at| now.saturating_duration_since(at) < FADING);
        if self.by_destination.len() >= MAX_ACCOUNTS && !recently {
            self.swept = Some(now);
            self.by_destination.retain(|_, account| {
                account.settle(now);
                (account.balance - FLOOR).abs() > 0.5
            });
        }
    }
}

impl Account {
    fn settle(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.balance = FLOOR + (self.balance - FLOOR) * (-passed / FADING.as_secs_f64()).exp();
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: usize) -> Destination {
        (Host::Name(format!("host-{n}.example")), 443)
    }

    #[expect(clippy::disallowed_methods, reason = "there is no other way to an `Instant`")]
    fn some_time() -> Instant {
        Instant::now()
    }

    fn taken(budgets: &Budgets, destination: &Destination, now: Instant) -> usize {
        (0..1000).take_while(|_| budgets.take(destination, now)).count()
    }

    #[test]
    fn a_lone_target_has_the_floor_and_gets_it_again() {
        let (budgets, began) = (Budgets::default(), some_time());
        assert_eq!(taken(&budgets, &host(1), began), 10);
        assert_eq!(taken(&budgets, &host(2), began), 10, "each destination has its own");
        assert_eq!(taken(&budgets, &(Host::Name("host-1.example".into()), 80), began), 10, "and each port");
        let later: usize = (1..=10).map(|minute| taken(&budgets, &host(1), began + FADING * minute)).sum();
        assert!((60..=100).contains(&later), "{later} in ten minutes");
        assert_eq!(taken(&budgets, &host(1), began + FADING * 60), 10, "never more than the floor");
    }

    /// A thousand series that all fail, every 30 seconds, for ten minutes.
    #[test]
    fn an_outage_gets_a_tenth_of_retries_and_a_few() {
        let (budgets, began) = (Budgets::default(), some_time());
        let (mut firsts, mut retries) = (0, 0);
        for round in 0..20 {
            let now = began + Duration::from_secs(30) * round;
            for _ in 0..1000 {
                budgets.pay_in(&host(1), 10, now);
                firsts += 1;
                retries += usize::from(budgets.take(&host(1), now));
            }
        }
        assert!(retries > firsts / 20, "{retries} of {firsts}");
        assert!(retries <= firsts / 10 + 10 * 11, "{retries} of {firsts}");
    }

    /// What was saved up in a good week is not spent in a bad minute.
    #[test]
    fn what_was_paid_in_fades() {
        let (budgets, began) = (Budgets::default(), some_time());
        for second in 0..100_000 {
            budgets.pay_in(&host(1), 10, began + Duration::from_secs(second));
        }
        let saved = taken(&budgets, &host(1), began + Duration::from_secs(100_000));
        assert!((12..=16).contains(&saved), "{saved}: a tenth of the last minute, and the floor");
    }

    #[test]
    fn accounts_are_bounded_and_idle_ones_are_forgotten() {
        let (budgets, began) = (Budgets::default(), some_time());
        for n in 0..2 * MAX_ACCOUNTS {
            while budgets.take(&host(n), began) {}
        }
        assert_eq!(budgets.lock().by_destination.len(), MAX_ACCOUNTS + 1);
        assert!(!budgets.take(&host(MAX_ACCOUNTS * 3), began), "those without room share one account");
        let later = began + FADING * 10;
        assert!(budgets.take(&host(MAX_ACCOUNTS * 3), later));
        assert_eq!(budgets.lock().by_destination.len(), 1);
    }
}
