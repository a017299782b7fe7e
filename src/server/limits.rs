//! How many probes a client may ask for, and how many may be asked of a destination: so many in a time, so many at once.
//!
//! In: who, and the time. Out: a place that is given back when it is dropped, or how long to wait.

use super::web::Bucket;
use crate::model::Limit;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Accounts kept of each kind. When there are more, those that are idle are forgotten; when none is, newcomers wait.
const MAX_ACCOUNTS: usize = 10_000;
/// What a client should wait that has too many probes under way: about as long as one takes.
const BUSY: Duration = Duration::from_secs(1);

/// The accounts of one kind.
#[derive(Debug)]
pub(super) struct Limiter<K> {
    limit: Limit,
    accounts: Mutex<HashMap<K, Account>>,
}

#[derive(Debug)]
struct Account {
    bucket: Option<Bucket>,
    under_way: u32,
}

/// A probe that is counted until this is dropped.
#[derive(Debug)]
pub(super) struct Place<K: Eq + Hash>(Option<(Arc<Limiter<K>>, K)>);

impl<K: Eq + Hash + Clone> Limiter<K> {
    pub(super) fn new(limit: Limit) -> Self {
        Self { limit, accounts: Mutex::default() }
    }

    pub(super) fn limit(&self) -> Limit {
        self.limit
    }

    /// A place for one more probe of `key`, or how long to wait for one.
    pub(super) fn take(self: &Arc<Self>, key: K, now: Instant) -> Result<Place<K>, Duration> {
        if self.limit == Limit::default() {
            return Ok(Place(None));
        }
        let mut accounts = self.lock();
        if accounts.len() >= MAX_ACCOUNTS && !accounts.contains_key(&key) {
            accounts
                .retain(|_, account| account.under_way > 0 || account.bucket.as_ref().is_some_and(|b| !b.is_full(now)));
            if accounts.len() >= MAX_ACCOUNTS {
                return Err(BUSY);
            }
        }
        let new = || Account { bucket: self.limit.rate.map(Bucket::new), under_way: 0 };
        let account = accounts.entry(key.clone()).or_insert_with(new);
        if self.limit.concurrent.is_some_and(|most| account.under_way >= most) {
            return Err(BUSY);
        }
        if let (Some(bucket), Some(rate)) = (&account.bucket, self.limit.rate)
            && !bucket.take(now)
        {
            return Err(rate.interval);
        }
        account.under_way += 1;
        Ok(Place(Some((Arc::clone(self), key))))
    }

    /// A panic while it was held cannot leave a count half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let Some((limiter, key)) = self.0.take() else { return };
        let mut accounts = limiter.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get_mut(&key) {
            account.under_way -= 1;
        }
    }
}

/// Who a client is: one address of IPv4, or a network of IPv6 as one customer gets it (RFC 6177).
pub(super) fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RateLimit;

    fn limiter(rate: Option<(u64, u32)>, concurrent: Option<u32>) -> Arc<Limiter<u32>> {
        let rate = rate.map(|(seconds, burst)| RateLimit { interval: Duration::from_secs(seconds), burst });
        Arc::new(Limiter::new(Limit { rate, concurrent }))
    }

    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    fn now() -> Instant {
        Instant::now()
    }

    #[test]
    fn places_are_given_back() {
        let limiter = limiter(None, Some(2));
        let (first, _second) = (limiter.take(1, now()).unwrap(), limiter.take(1, now()).unwrap());
        assert_eq!(limiter.take(1, now()).unwrap_err(), BUSY);
        assert!(limiter.take(2, now()).is_ok(), "others are not concerned");
        drop(first);
        assert!(limiter.take(1, now()).is_ok());
    }

    #[test]
    fn a_rate_is_of_each_key_and_comes_back_with_time() {
        let (limiter, start) = (limiter(Some((10, 2)), None), now());
        assert!(limiter.take(1, start).is_ok() && limiter.take(1, start).is_ok());
        assert_eq!(limiter.take(1, start).unwrap_err(), Duration::from_secs(10));
        assert!(limiter.take(2, start).is_ok());
        assert!(limiter.take(1, start + Duration::from_secs(10)).is_ok());
    }

    #[test]
    fn idle_accounts_make_room_and_busy_ones_do_not() {
        let (limiter, start) = (limiter(Some((10, 1)), None), now());
        for key in 0..u32::try_from(MAX_ACCOUNTS).unwrap() {
            drop(limiter.take(key, start).unwrap());
        }
        assert!(limiter.take(1_000_000, start).is_err());
        assert!(limiter.take(1_000_000, start + Duration::from_secs(10)).is_ok());
        assert_eq!(limiter.lock().len(), 1);
    }

    #[test]
    fn clients_of_ipv6_are_networks() {
        let of = |text: &str| client(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!([of("192.0.2.1"), of("::ffff:192.0.2.1")], ["192.0.2.1", "192.0.2.1"]);
    }
}
