//! Local endpoints that misbehave on purpose: takes nothing, gives servers on free ports of 127.0.0.1 with certificates
//! made at start, and for each what a probe of it should find. `edgeprobe demo` and the tests both use them. Knows
//! nothing of probes.
//!
//! [`Lab`] runs the whole catalogue; [`http`], [`ws`], [`starttls`], [`proxy`], [`raw`], [`old`] and [`dns`] start one server
//! of a kind, for a test's own case.

pub mod ca;
mod catalogue;
pub mod cdn;
mod demo;
pub mod dns;
pub mod http;
mod listener;
pub mod oauth2;
pub mod ocsp;
mod odd;
pub mod old;
pub mod pki;
pub mod proxy;
pub mod raw;
pub mod starttls;
pub mod tls;
pub mod ws;

#[cfg(test)]
mod tests;

pub use listener::{Listener, Log};

use ::http::{HeaderMap, Request, header, uri};
use ca::{Authority, Cert};
use cdn::Cdn;
use std::{collections::BTreeMap, fmt, io};

/// Every endpoint, running. Dropping it stops them all, open connections included.
#[derive(Debug)]
pub struct Lab {
    ca: Authority,
    ca_pem: String,
    client_pem: (String, String),
    endpoints: Vec<Endpoint>,
    logs: BTreeMap<&'static str, Log>,
    pki: Listener,
    proxies: catalogue::Proxies,
    cdn: Cdn,
    auth: Listener,
    untrusted_auth: Listener,
    _running: Vec<catalogue::Running>,
}

impl Lab {
    /// Makes the certificates and starts every endpoint.
    pub async fn start() -> io::Result<Self> {
        let mut ca = Authority::new();
        let pki = pki::serve(&ca).await?;
        ca.publish_at(pki.address());
        let auth = oauth2::serve(&ca, Cert::Good).await?;
        let untrusted_auth = oauth2::serve(&ca, Cert::Expired).await?;
        let started = catalogue::start(&ca).await?;
        let proxies = catalogue::Proxies::start(&ca).await?;
        let cdn = Cdn::start(&ca).await?;
        Ok(Self {
            ca_pem: ca.trusted_pem(),
            client_pem: ca.client_pem(),
            ca,
            endpoints: started.endpoints,
            logs: started.logs,
            pki,
            cdn,
            proxies,
            auth,
            untrusted_auth,
            _running: started.running,
        })
    }

    /// Every endpoint, in the order of the catalogue.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoint of this name.
    ///
    /// # Panics
    /// When the catalogue has none: the names are fixed.
    #[track_caller]
    pub fn endpoint(&self, name: &str) -> &Endpoint {
        let found = self.endpoints.iter().find(|endpoint| endpoint.name == name);
        found.unwrap_or_else(|| panic!("the lab has no endpoint `{name}`"))
    }

    /// The last requests that reached this endpoint's server, oldest first, at most [`Log::LIMIT`]. Scripted peers, which
    /// do not understand what they read, log none.
    ///
    /// # Panics
    /// As [`Lab::endpoint`] does.
    #[track_caller]
    pub fn requests(&self, name: &str) -> Vec<Seen> {
        self.log(name).map(Log::requests).unwrap_or_default()
    }

    /// How many connections to this endpoint's server are open.
    ///
    /// # Panics
    /// As [`Lab::endpoint`] does.
    #[track_caller]
    pub fn open_connections(&self, name: &str) -> usize {
        self.log(name).map_or(0, Log::open)
    }

    /// A misspelled name must not look like an endpoint that received nothing.
    #[track_caller]
    fn log(&self, name: &str) -> Option<&Log> {
        self.logs.get(self.endpoint(name).name)
    }

    /// The edges that serve one site.
    pub fn cdn(&self) -> &Cdn {
        &self.cdn
    }

    /// The authority's responder, lists and certificates.
    pub fn pki(&self) -> &Listener {
        &self.pki
    }

    /// The proxy of a module of [`Lab::demo_config`]: what it was asked for.
    ///
    /// # Panics
    /// When the module has none that listens: the names are fixed.
    #[track_caller]
    pub fn proxy(&self, module: &str) -> &Listener {
        self.proxies.listener(module).unwrap_or_else(|| panic!("the lab's module `{module}` has no proxy"))
    }

    /// The authorization server.
    pub fn auth(&self) -> &Listener {
        &self.auth
    }

    /// The same with a certificate that ended yesterday.
    pub fn untrusted_auth(&self) -> &Listener {
        &self.untrusted_auth
    }

    /// Signs certificates for a test's own servers.
    pub fn ca(&self) -> &Authority {
        &self.ca
    }

    /// What to trust, as PEM; the root is the first.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A client certificate that the lab's servers accept, and its key: both PEM.
    pub fn client_pem(&self) -> (&str, &str) {
        (&self.client_pem.0, &self.client_pem.1)
    }

    /// A complete configuration of edgeprobe, as YAML: modules that trust the lab, and a job over all endpoints for each.
    pub fn demo_config(&self) -> String {
        demo::config(self)
    }
}

/// A server to probe, and what a probe should find.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name in the catalogue and, but for a few, the host label of its URL.
    pub name: &'static str,
    /// The target to probe.
    pub url: String,
    /// The module of [`Lab::demo_config`] to probe it with.
    pub module: &'static str,
    /// What it does, in words.
    pub about: &'static str,
    /// The verdict to expect.
    pub expected: Expected,
}

/// The verdict of a probe, as it should be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expected {
    /// The probe succeeds.
    Success,
    /// It fails like this.
    Failure {
        /// In this phase.
        phase: &'static str,
        /// For this reason.
        reason: &'static str,
    },
}

impl fmt::Display for Expected {
    /// `success`, or `phase/reason`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Success => f.write_str("success"),
            Self::Failure { phase, reason } => write!(f, "{phase}/{reason}"),
        }
    }
}

/// A request, as a server received it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The name asked for in the TLS handshake.
    pub sni: Option<String>,
    /// The Host header, or the authority of HTTP/2.
    pub host: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
}

impl Seen {
    fn of<B>(sni: Option<&str>, request: &Request<B>) -> Self {
        let authority = request.uri().authority().map(uri::Authority::as_str);
        let host = || request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        Self {
            sni: sni.map(str::to_owned),
            host: authority.or_else(host).unwrap_or_default().to_owned(),
            method: request.method().to_string(),
            path: request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned(),
            headers: request.headers().clone(),
        }
    }

    /// The Host without its port.
    pub fn host_name(&self) -> &str {
        self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name)
    }
}
