//! Builds everything from a config, runs until told to stop, and reloads by swapping.
//!
//! In: where the config is, bound listeners, a shutdown. Out: nothing, or why it could not start. Start and reload go
//! through the same `load`.

use crate::board::Board;
use crate::config::{self, Config, ConfigError, ConfigErrors};
use crate::engine::{Engine, EngineOptions, Fingerprint, Limits, SetupError};
use crate::metrics;
use crate::model::{FanOut, Job, MAX_EDGES, Outcome, Plan};
use crate::schedule::Schedule;
use crate::server::{self, Active, Front, LOOK_EVERY, Options, ReloadRequest, Setup, State, Web, WebError};
use sha2::{Digest, Sha256};
use std::{
    mem,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

#[cfg(test)]
mod tests;

/// How often to look whether CA, certificate or key files changed. A change is acted on when two looks agree on it, so
/// that a file is not taken while it is being written.
const LOOK_AT_FILES: Duration = Duration::from_secs(15);
/// The timeout of a single probe whose module sets none.
const SINGLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the config is.
#[derive(Clone, Debug)]
pub enum Source {
    /// In this file.
    File(PathBuf),
    /// In the program; the name appears in errors.
    Text {
        /// Such as `the embedded default`.
        name: String,
        /// The YAML.
        text: String,
    },
}

impl Source {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Text { name, .. } => name.clone(),
        }
    }

    fn read(&self) -> Result<String, ConfigErrors> {
        match self {
            Self::File(path) => std::fs::read_to_string(path).map_err(|e| ConfigErrors::unreadable(&self.name(), &e)),
            Self::Text { text, .. } => Ok(text.clone()),
        }
    }
}

/// How the program runs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the config is.
    pub source: Source,
    /// The endpoints' settings.
    pub options: Options,
    /// The file that protects our own port; it is open to anybody if `None`.
    pub web_config: Option<PathBuf>,
    /// The engine's settings.
    pub engine: EngineOptions,
    /// Probes remembered for people.
    pub history_limit: usize,
    /// How often to look whether the config changed; never if `None`.
    pub auto_reload: Option<Duration>,
    /// What running requests and probes get after the shutdown.
    pub grace: Duration,
}

/// A config with everything it names read and built.
struct Loaded {
    engine: Engine,
    config: Config,
    digest: [u8; 32],
}

/// Reads a config and everything it names; all faults at once.
pub fn check(source: &Source) -> Result<(), ConfigErrors> {
    load(source, |plan| Engine::new(plan, EngineOptions { max_in_flight: 1, key_log: false })).map(drop)
}

/// Makes an engine of a plan: a first one, or the successor of another.
trait Make: FnOnce(&Plan) -> Result<Engine, Vec<SetupError>> {}

impl<F: FnOnce(&Plan) -> Result<Engine, Vec<SetupError>>> Make for F {}

fn load(source: &Source, make: impl Make) -> Result<Loaded, ConfigErrors> {
    let text = source.read()?;
    let config = config::parse(&text, &source.name())?;
    let engine = build(source, &config, make)?;
    Ok(Loaded { engine, config, digest: Sha256::digest(text.as_bytes()).into() })
}

/// The config's engine; reads every file that the config names.
fn build(source: &Source, config: &Config, make: impl Make) -> Result<Engine, ConfigErrors> {
    make(&config.plan).map_err(|errors| {
        let located = |error: SetupError| ConfigError {
            line: config.line_of(&error.path),
            path: error.path,
            problem: error.problem,
            remedy: String::new(),
        };
        ConfigErrors { file: source.name(), errors: errors.into_iter().map(located).collect() }
    })
}

/// Reads a web config and the certificates it names; all faults at once.
pub fn check_web(path: &Path) -> Result<(), ConfigErrors> {
    load_web(path).map(drop)
}

fn load_web(path: &Path) -> Result<Setup, ConfigErrors> {
    let file = path.display().to_string();
    let remedy = "check the path and its permissions, or leave the flag out to serve plain HTTP to anybody";
    let text = std::fs::read_to_string(path).map_err(|e| ConfigErrors::unreadable_file(&file, &e, remedy))?;
    let web = config::parse_web(&text, path)?;
    let located = |error: WebError| ConfigError {
        line: web.line_of(&error.path),
        path: error.path,
        problem: error.problem,
        remedy: "check the file and its permissions".to_owned(),
    };
    let setup = Setup::new(&web.config);
    let setup = setup.map_err(|errors| ConfigErrors { file, errors: errors.into_iter().map(located).collect() })?;
    Ok(setup.read_from(path, text.as_bytes()))
}

fn start_web(path: PathBuf) -> Result<Arc<Web>, ConfigErrors> {
    let setup = load_web(&path)?;
    tracing::info!(config = %path.display(), tls = setup.has_tls(), "loaded the web config");
    let load = move || load_web(&path).map_err(|errors| errors.to_string());
    Ok(Arc::new(Web::new(setup, LOOK_EVERY, Box::new(load))))
}

/// Probes once, as the scheduler would, and without a server.
pub async fn probe_once(
    source: &Source,
    key_log: bool,
    job: impl FnOnce(&Engine) -> Result<(Job, Option<FanOut>), String>,
) -> Result<Outcome, String> {
    let options = EngineOptions { max_in_flight: MAX_EDGES, key_log };
    let loaded = load(source, |plan| Engine::new(plan, options)).map_err(|errors| errors.to_string())?;
    let (job, fan) = job(&loaded.engine)?;
    let module = loaded.engine.module(job.module.as_str()).expect("the job was made from this engine");
    let timeout = module.timeout.unwrap_or(SINGLE_TIMEOUT);
    Ok(loaded.engine.carry_out(&job, fan.as_ref(), Limits { timeout, budget: timeout }).await)
}

/// The metrics of what came of a probe, in text format 0.0.4.
pub fn metrics_text(outcome: &Outcome) -> String {
    metrics::to_text(&metrics::of_outcome(outcome))
}

/// Runs until `shutdown` ends. The listeners are bound already: whoever starts us knows the addresses, and a port in use
/// was told before anything else began.
pub async fn run(
    settings: Settings,
    listeners: Vec<TcpListener>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ConfigErrors> {
    // First of all: a SIGHUP that nobody hears ends the process.
    let mut hangup =
        signal(SignalKind::hangup()).inspect_err(|error| tracing::warn!(%error, "SIGHUP cannot be heard")).ok();
    let web = settings.web_config.map(start_web).transpose()?;
    let loaded = load(&settings.source, |plan| Engine::new(plan, settings.engine))?;
    let (reload, requests) = mpsc::channel(1);
    let board = Arc::new(Board::new(settings.history_limit));
    let mut reloader = Reloader::new(settings.source, loaded, board, |active, board| {
        State::new(active, board, reload, settings.options)
    });
    let state = Arc::clone(&reloader.state);

    let stop = CancellationToken::new();
    let mut servers = JoinSet::new();
    for listener in listeners {
        let front = Front::new(server::router(Arc::clone(&state)), web.clone());
        servers.spawn(server::serve(listener, front, stop.clone().cancelled_owned(), settings.grace));
    }
    tokio::select! {
        () = shutdown => {}
        () = reloader.answer(requests, &mut hangup, settings.auto_reload) => {}
    }
    tracing::info!("shutting down; running probes get {} s", settings.grace.as_secs_f64());
    state.drain();
    stop.cancel();
    let probes_done = at_most(settings.grace, reloader.schedule.stop());
    let servers_done = async { while servers.join_next().await.is_some() {} };
    tokio::join!(probes_done, servers_done);
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "the grace of a shutdown is no stage of a probe")]
async fn at_most(limit: Duration, future: impl Future<Output = ()>) {
    if tokio::time::timeout(limit, future).await.is_err() {
        tracing::warn!("cut the probes that did not finish in time");
    }
}

/// Swaps everything or nothing, one reload at a time, whoever asks.
struct Reloader {
    source: Source,
    config: Config,
    digest: [u8; 32],
    files: FileWatch,
    engine: Arc<Engine>,
    schedule: Schedule,
    state: Arc<State>,
}

impl Reloader {
    /// Starts the schedule of what was loaded.
    fn new(
        source: Source,
        Loaded { engine, config, digest }: Loaded,
        board: Arc<Board>,
        state: impl FnOnce(Active, Arc<Board>) -> State,
    ) -> Self {
        let engine = Arc::new(engine);
        let mut schedule = Schedule::new(Arc::clone(&board));
        schedule.apply(&engine, &config.plan.series);
        let access = config.plan.access.clone();
        let active = Active { engine: Arc::clone(&engine), yaml: Arc::clone(&config.yaml), access };
        let state = Arc::new(state(active, board));
        let (modules, series) = (config.plan.modules.len(), config.plan.series.len());
        tracing::info!(config = %source.name(), modules, series, "loaded the config");
        log_proxies(&engine);
        Self { files: FileWatch::of(&engine), source, config, digest, engine, schedule, state }
    }

    /// Answers reloads by HTTP, by SIGHUP and by the clock; ends only when dropped.
    async fn answer(
        &mut self,
        mut requests: mpsc::Receiver<ReloadRequest>,
        hangup: &mut Option<Signal>,
        auto: Option<Duration>,
    ) {
        let (mut config_clock, mut file_clock) = (auto.map(clock), clock(LOOK_AT_FILES));
        loop {
            tokio::select! {
                Some(asker) = requests.recv() => {
                    // Whoever asked may be gone; the reload stands all the same.
                    let _ = asker.send(self.reload(true).map_err(|errors| errors.to_string()));
                }
                () = hung_up(hangup) => drop(self.reload(true)),
                () = ticked(&mut config_clock) => drop(self.reload(false)),
                _ = file_clock.tick() => self.look_at_files().await,
            }
        }
    }

    /// Reloads; an unchanged file that was only looked at by the clock counts as a success, silently.
    fn reload(&mut self, asked: bool) -> Result<(), ConfigErrors> {
        if !asked && self.unchanged() {
            self.state.reload_succeeded();
            return Ok(());
        }
        match load(&self.source, |plan| self.engine.successor(plan)) {
            Ok(loaded) => {
                self.swap(loaded);
                Ok(())
            }
            Err(errors) => {
                // First of all: whoever sees the metric looks for the reason in the log.
                tracing::error!(%errors, "the config could not be reloaded; the one before stays");
                self.state.reload_failed();
                Err(errors)
            }
        }
    }

    fn unchanged(&self) -> bool {
        self.source.read().is_ok_and(|text| Sha256::digest(text.as_bytes())[..] == self.digest)
    }

    fn swap(&mut self, Loaded { engine, config, digest }: Loaded) {
        let (modules, series) = (config.plan.modules.len(), config.plan.series.len());
        self.config = config;
        self.digest = digest;
        self.engage(engine);
        let yaml = Arc::clone(&self.config.yaml);
        let access = self.config.plan.access.clone();
        self.state.activate(Active { engine: Arc::clone(&self.engine), yaml, access });
        tracing::info!(config = %self.source.name(), modules, series, "reloaded the config");
        log_proxies(&self.engine);
    }

    /// Takes up changed CA, certificate and key files; those before stay when the new ones are not usable.
    async fn look_at_files(&mut self) {
        let engine = Arc::clone(&self.engine);
        let Ok(now) = spawn_blocking(move || engine.fingerprint_now()).await else { return };
        if !self.files.is_due(now) {
            return;
        }
        match build(&self.source, &self.config, |plan| self.engine.successor(plan)) {
            Ok(engine) => {
                self.engage(engine);
                self.state.activate_files(Arc::clone(&self.engine));
                tracing::info!(config = %self.source.name(), "took up changed certificate files");
            }
            Err(errors) => {
                tracing::error!(%errors, "changed certificate files are not usable; those before stay");
                self.state.files_failed();
            }
        }
    }

    fn engage(&mut self, engine: Engine) {
        self.engine = Arc::new(engine);
        self.files = FileWatch::of(&self.engine);
        self.schedule.apply(&self.engine, &self.config.plan.series);
    }
}

/// Says which proxy each module will use: one that silently is not used looks like an outage of all targets.
fn log_proxies(engine: &Engine) {
    for (module, [plain, encrypted]) in engine.proxies() {
        tracing::info!(%module, %plain, %encrypted, "probes go through a proxy");
    }
}

/// Whether the files that an engine was made from changed and came to rest.
struct FileWatch {
    seen: Fingerprint,
    tried: Fingerprint,
}

impl FileWatch {
    fn of(engine: &Engine) -> Self {
        let loaded = engine.fingerprint();
        Self { seen: loaded, tried: loaded }
    }

    /// Whether `now` is the same as at the last look, and not what was tried before.
    fn is_due(&mut self, now: Fingerprint) -> bool {
        let rests = mem::replace(&mut self.seen, now) == now;
        rests && mem::replace(&mut self.tried, now) != now
    }
}

fn clock(every: Duration) -> Interval {
    let mut clock = interval(every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock.reset();
    clock
}

async fn hung_up(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

async fn ticked(clock: &mut Option<Interval>) {
    match clock {
        Some(clock) => drop(clock.tick().await),
        None => std::future::pending().await,
    }
}
