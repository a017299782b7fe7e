//! The protection of our own port while it runs: a web config in; TLS settings, users, headers and limits out, made
//! anew when one of the files they came from changes.
//!
//! Knows no YAML: whoever starts it says how the config is loaded.

mod auth;
mod guard;
mod limit;
#[cfg(test)]
mod tests;
mod tls;
mod verifier;

pub(super) use guard::guard;

use crate::model::{RateLimit, WebConfig};
use arc_swap::ArcSwap;
use auth::Users;
use axum::http::HeaderMap;
pub(super) use limit::Bucket;
use rustls::ServerConfig;
use sha2::{Digest, Sha256};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The files are looked at when a client comes, but not more often than this.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A setting that cannot be made ready: its place in the web config, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebError {
    /// Such as `tls_server_config.cert_file`.
    pub path: String,
    /// What is wrong.
    pub problem: String,
}

/// A web config with everything it names read.
pub struct Setup {
    tls: Option<Arc<ServerConfig>>,
    asks_for_certificates: bool,
    headers: HeaderMap,
    users: Option<Arc<Users>>,
    rate_limit: Option<RateLimit>,
    bucket: Option<Arc<Bucket>>,
    files: Vec<FileMark>,
}

impl Setup {
    /// Reads the files that `config` names; all faults at once.
    pub fn new(config: &WebConfig) -> Result<Self, Vec<WebError>> {
        let mut files = Vec::new();
        let tls = config.tls.as_ref().map(|tls| tls::server_config(tls, config.http2, &mut files)).transpose()?;
        Ok(Self {
            tls: tls.map(Arc::new),
            asks_for_certificates: config.tls.as_ref().is_some_and(|tls| tls.client_auth.requires()),
            headers: config.headers.iter().cloned().collect(),
            users: Users::new(&config.users).map(Arc::new),
            rate_limit: config.rate_limit,
            bucket: config.rate_limit.map(|limit| Arc::new(Bucket::new(limit))),
            files,
        })
    }

    /// The same, to be made anew also when the file at `path` no longer holds `content`.
    #[must_use]
    pub fn read_from(mut self, path: &Path, content: &[u8]) -> Self {
        self.files.push(FileMark::new(path, content));
        self
    }

    /// Whether connections are encrypted.
    pub fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// What keeps strangers out, each with whether it is on.
    fn protections(&self) -> [(&'static str, bool); 3] {
        [
            ("tls_server_config", self.tls.is_some()),
            ("client_auth_type", self.asks_for_certificates),
            ("basic_auth_users", self.users.is_some()),
        ]
    }

    /// This one, in the place of `before`. A file cut short while it is written must not open the port.
    fn after(mut self, before: &Self) -> Result<Self, String> {
        for ((name, was_on), (_, is_on)) in before.protections().into_iter().zip(self.protections()) {
            if was_on && !is_on {
                return Err(format!("`{name}` is gone; protection is taken away by a restart only"));
            }
        }
        if self.rate_limit == before.rate_limit {
            self.bucket.clone_from(&before.bucket);
        }
        Ok(self)
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("protections", &self.protections()).finish_non_exhaustive()
    }
}

/// A file and what it held.
struct FileMark {
    path: PathBuf,
    digest: [u8; 32],
}

impl FileMark {
    fn new(path: &Path, content: &[u8]) -> Self {
        Self { path: path.to_owned(), digest: Sha256::digest(content).into() }
    }

    fn holds(&self) -> bool {
        std::fs::read(&self.path).is_ok_and(|content| Sha256::digest(content)[..] == self.digest)
    }
}

/// Loads the web config anew, or says why it cannot.
type Loader = Box<dyn Fn() -> Result<Setup, String> + Send + Sync>;

/// The protection in force.
pub struct Web {
    current: ArcSwap<Setup>,
    load: Loader,
    every: Duration,
    looked: Mutex<Option<Instant>>,
    /// What was said last about files that cannot be used.
    complaint: Mutex<Option<String>>,
}

impl Web {
    /// Begins with `setup`. Looks at most once per `every` whether its files changed, and then asks `load`.
    pub fn new(setup: Setup, every: Duration, load: Loader) -> Self {
        let (looked, complaint) = (Mutex::new(None), Mutex::new(None));
        Self { current: ArcSwap::from_pointee(setup), load, every, looked, complaint }
    }

    /// The TLS settings for a new connection; `None` for plain HTTP.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.current.load().tls.clone()
    }

    /// Looks at the files if it is time to. The one who looks waits; others go on with what there is.
    pub(super) async fn refresh(self: &Arc<Self>) {
        if self.is_due() {
            let web = Arc::clone(self);
            if let Err(error) = tokio::task::spawn_blocking(move || web.look()).await {
                tracing::error!(%error, "looking at the web config failed");
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "how often to look at files is no time of a probe")]
    fn is_due(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = looked.is_none_or(|last| now.duration_since(last) >= self.every);
        if due {
            *looked = Some(now);
        }
        due
    }

    /// Takes over changed files if they can be used. If they cannot, they are tried again at every look: what is missing
    /// may be a file that nothing in force names.
    fn look(&self) {
        let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.current.load_full();
        if complaint.is_none() && before.files.iter().all(FileMark::holds) {
            return;
        }
        match (self.load)().and_then(|next| next.after(&before)) {
            Ok(next) => {
                tracing::info!(tls = next.has_tls(), "took over the changed web config");
                self.current.store(Arc::new(next));
                *complaint = None;
            }
            Err(error) => {
                if complaint.as_ref() != Some(&error) {
                    tracing::error!(%error, "the changed web config cannot be used; the one before stays");
                    *complaint = Some(error);
                }
            }
        }
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Web").field(&self.current.load()).finish()
    }
}
