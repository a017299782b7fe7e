//! What the endpoints share: the active configuration, the board, and the exporter's own condition.

use super::limits::{Limiter, Place, client};
use super::prefix::{ExternalUrl, Prefix};
use crate::board::Board;
use crate::engine::Engine;
use crate::model::{Access, Host};
use crate::show::LogFormat;
use arc_swap::ArcSwap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::Level;

/// What stays the same from start to end.
#[derive(Clone, Debug)]
pub struct Options {
    /// The path all endpoints live under.
    pub prefix: Prefix,
    /// Where people reach the exporter; `/` leads there when there is a prefix.
    pub external_url: Option<ExternalUrl>,
    /// Seconds taken off the scrape's timeout.
    pub timeout_offset: f64,
    /// How the log lines of debug reports are written.
    pub log_format: LogFormat,
    /// The least severe level that debug reports show.
    pub prober_level: Level,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            prefix: Prefix::default(),
            external_url: None,
            timeout_offset: 0.5,
            log_format: LogFormat::Logfmt,
            prober_level: Level::INFO,
        }
    }
}

/// What a reload replaces, all of it at once.
pub struct Active {
    /// The modules, ready to run.
    pub engine: Arc<Engine>,
    /// The configuration, secrets masked.
    pub yaml: Arc<str>,
    /// What `/probe` may be asked for.
    pub access: Access,
}

/// Why a probe was not begun.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Refusal {
    /// The target is not among the allowed ones.
    NotAllowed,
    /// The client asks for too much.
    Client,
    /// Too much is asked of the destination.
    Destination,
}

/// A place among the client's probes, where it is known, and one among the destination's.
pub(super) type Places = (Option<Place<IpAddr>>, Place<(Host, u16)>);

/// The accounts of clients and destinations; kept over a reload that does not change the limits.
struct Limits {
    clients: Arc<Limiter<IpAddr>>,
    destinations: Arc<Limiter<(Host, u16)>>,
}

impl Limits {
    fn new(access: &Access) -> Self {
        Self {
            clients: Arc::new(Limiter::new(access.per_client)),
            destinations: Arc::new(Limiter::new(access.per_destination)),
        }
    }

    fn fits(&self, access: &Access) -> bool {
        self.clients.limit() == access.per_client && self.destinations.limit() == access.per_destination
    }
}

/// Somebody asked for a reload, and waits here for its outcome.
pub type ReloadRequest = oneshot::Sender<Result<(), String>>;

/// Everything the endpoints share.
pub struct State {
    pub(super) options: Options,
    pub(super) board: Arc<Board>,
    pub(super) reload: mpsc::Sender<ReloadRequest>,
    active: ArcSwap<Active>,
    last_reload: Mutex<LastReload>,
    unknown_modules: AtomicU64,
    limits: Mutex<Limits>,
    refused: [AtomicU64; 3],
    draining: AtomicBool,
}

/// How the last reload went, and when one last succeeded.
#[derive(Clone, Copy)]
pub(super) struct LastReload {
    /// The config.
    config_ok: bool,
    /// The certificate and key files that the config names, as they are now.
    files_ok: bool,
    pub(super) succeeded_at: SystemTime,
}

impl LastReload {
    fn good() -> Self {
        Self { config_ok: true, files_ok: true, succeeded_at: SystemTime::now() }
    }

    pub(super) fn ok(&self) -> bool {
        self.config_ok && self.files_ok
    }
}

impl State {
    /// The state at start; the first configuration counts as a successful reload.
    pub fn new(active: Active, board: Arc<Board>, reload: mpsc::Sender<ReloadRequest>, options: Options) -> Self {
        Self {
            limits: Mutex::new(Limits::new(&active.access)),
            refused: Default::default(),
            options,
            board,
            reload,
            active: ArcSwap::from_pointee(active),
            last_reload: Mutex::new(LastReload::good()),
            unknown_modules: AtomicU64::new(0),
            draining: AtomicBool::new(false),
        }
    }

    /// Places for one more probe of `destination` that `from` asks for, or who has to wait, and how long.
    #[expect(clippy::disallowed_methods, reason = "rates are counted on the runtime's clock")]
    pub(super) fn admit(&self, from: Option<IpAddr>, destination: (Host, u16)) -> Result<Places, (Refusal, Duration)> {
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let (clients, destinations) = (Arc::clone(&limits.clients), Arc::clone(&limits.destinations));
        drop(limits);
        let now = Instant::now();
        let place = from.map(|from| clients.take(client(from), now)).transpose();
        let place = place.map_err(|wait| (Refusal::Client, wait))?;
        Ok((place, destinations.take(destination, now).map_err(|wait| (Refusal::Destination, wait))?))
    }

    /// Counts a request that was refused.
    pub(super) fn count_refusal(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many requests were refused, by why, as labels say it.
    pub(super) fn refused(&self) -> [(&'static str, u64); 3] {
        let read = |why: Refusal| self.refused[why as usize].load(Ordering::Relaxed);
        [
            ("not_allowed", read(Refusal::NotAllowed)),
            ("client_limit", read(Refusal::Client)),
            ("destination_limit", read(Refusal::Destination)),
        ]
    }

    /// Replaces the configuration; running probes finish on the one they began with. Counts as a successful reload.
    pub fn activate(&self, active: Active) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if !limits.fits(&active.access) {
            *limits = Limits::new(&active.access);
        }
        drop(limits);
        self.active.store(Arc::new(active));
        *self.lock() = LastReload::good();
    }

    /// Replaces the engine by one made from the same configuration and newer certificate files.
    pub fn activate_files(&self, engine: Arc<Engine>) {
        let before = self.active();
        let (yaml, access) = (Arc::clone(&before.yaml), before.access.clone());
        self.active.store(Arc::new(Active { engine, yaml, access }));
        self.lock().files_ok = true;
    }

    /// Notes a successful reload that had nothing to replace.
    pub fn reload_succeeded(&self) {
        let mut last = self.lock();
        last.config_ok = true;
        last.succeeded_at = SystemTime::now();
    }

    /// Notes a failed reload. The configuration stays, and so does the time of the last success.
    pub fn reload_failed(&self) {
        self.lock().config_ok = false;
    }

    /// Notes that changed certificate files are not usable. Those before stay in use.
    pub fn files_failed(&self) {
        self.lock().files_ok = false;
    }

    /// Whether the configuration and the files that it names are in use as they are.
    pub fn last_reload_ok(&self) -> bool {
        self.lock().ok()
    }

    /// From now on `/-/ready` says no, so that nobody sends new work.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn active(&self) -> Arc<Active> {
        self.active.load_full()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn last_reload(&self) -> LastReload {
        *self.lock()
    }

    pub(super) fn count_unknown_module(&self) {
        self.unknown_modules.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn unknown_modules(&self) -> u64 {
        self.unknown_modules.load(Ordering::Relaxed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LastReload> {
        self.last_reload.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
