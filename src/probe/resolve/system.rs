//! The system's resolver, off the runtime's threads: a name in, an answer for both families out.
//!
//! `getaddrinfo` cannot be cancelled: a probe that gives up leaves its lookup behind, which keeps its thread until the
//! system answers. So lookups are bounded, whoever asks for a name that is being looked up joins in, and a dead name holds
//! one thread however often it is probed.

use super::{super::run::now, Answer, ResolveError};
use crate::model::DnsAnswer;
use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, watch};

/// Lookups that may be under way at once, abandoned ones included.
const MAX_LOOKUPS: usize = 128;

static SYSTEM: LazyLock<Arc<System>> = LazyLock::new(|| Arc::new(System::new(getaddrinfo)));

/// How a name is looked up, on a thread that may block.
type Lookup = fn(&str) -> Result<Vec<SocketAddr>, ResolveError>;

/// What a lookup under way will give.
type Coming = watch::Receiver<Option<Answer>>;

/// Asks the system's resolver, of which the process has one.
pub(super) async fn ask(name: Arc<str>) -> Answer {
    SYSTEM.ask(name).await
}

struct System {
    lookup: Lookup,
    slots: Arc<Semaphore>,
    under_way: Mutex<HashMap<Arc<str>, Coming>>,
}

impl System {
    fn new(lookup: Lookup) -> Self {
        Self { lookup, slots: Arc::new(Semaphore::new(MAX_LOOKUPS)), under_way: Mutex::default() }
    }

    async fn ask(self: &Arc<Self>, name: Arc<str>) -> Answer {
        let mut coming = match self.joined(&name) {
            Some(coming) => coming,
            None => self.begin(&name).await,
        };
        let answer = coming.wait_for(Option::is_some).await.ok().and_then(|answer| answer.clone());
        answer.unwrap_or_else(|| {
            let cause = "the lookup ended without an answer".to_owned();
            Answer::of_system(Err(ResolveError::Failed { host: name.to_string(), cause }), Duration::ZERO)
        })
    }

    /// A lookup of the same name that is under way.
    fn joined(&self, name: &str) -> Option<Coming> {
        self.under_way().get(name).cloned()
    }

    /// Starts a lookup once there is a slot, unless somebody else did while this one waited.
    async fn begin(self: &Arc<Self>, name: &Arc<str>) -> Coming {
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
        let (sender, coming) = watch::channel(None);
        let mut under_way = self.under_way();
        if let Some(coming) = under_way.get(name) {
            return coming.clone();
        }
        under_way.insert(Arc::clone(name), coming.clone());
        let (system, name) = (Arc::clone(self), Arc::clone(name));
        tokio::task::spawn_blocking(move || {
            let _slot = slot;
            let done = Done { system: &system, name: &name };
            let began = now();
            let found = (system.lookup)(&name);
            drop(done);
            sender.send_replace(Some(Answer::of_system(found, began.elapsed())));
        });
        coming
    }

    /// A panic elsewhere cannot leave the map half changed.
    fn under_way(&self) -> MutexGuard<'_, HashMap<Arc<str>, Coming>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a lookup off the list when it ends, be it by a panic.
struct Done<'a> {
    system: &'a System,
    name: &'a str,
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.system.under_way().remove(self.name);
    }
}

impl Answer {
    fn of_system(addresses: Result<Vec<SocketAddr>, ResolveError>, took: Duration) -> Self {
        let facts = DnsAnswer {
            family: None,
            server: Some("system".into()),
            code: None,
            alias_of: None,
            addresses: addresses.as_ref().map_or(0, Vec::len),
            ttl: None,
            took,
            age: Duration::ZERO,
            stale: false,
        };
        Self { addresses, facts }
    }
}

fn getaddrinfo(name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    let hints = AddrInfoHints { socktype: dns_lookup::SockType::Stream.into(), ..AddrInfoHints::default() };
    let found = dns_lookup::getaddrinfo(Some(name), None, Some(hints)).map_err(|error| classify(name, error))?;
    Ok(found.filter_map(Result::ok).map(|info| info.sockaddr).collect())
}

fn classify(host: &str, error: LookupError) -> ResolveError {
    let host = host.to_owned();
    match error.kind() {
        LookupErrorKind::NoName => ResolveError::NotFound(host),
        LookupErrorKind::NoData => ResolveError::no_address(host, None),
        _ => ResolveError::Failed { host, cause: std::io::Error::from(error).to_string() },
    }
}
