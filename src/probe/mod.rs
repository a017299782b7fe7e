//! One probe: the only folder that talks to targets.
//!
//! In: a module made ready, a job, a timeout. Out: a report. It does not know that metrics exist.

mod connect;
mod dial;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod guard;
mod http;
mod oauth2;
mod pipeline;
mod proxy;
mod resolve;
mod revocation;
mod route;
mod run;
mod scan;
mod starttls;
mod tls;
mod wire;
mod ws;

pub(crate) use oauth2::Tokens;
pub(crate) use resolve::Resolvers;
pub use tls::Fingerprint;
pub(crate) use tls::{Loading, key_log_of_environment, warm_up};
pub(crate) use ws::held::Held;

use crate::model::{
    Auth, Body, Failure, Header, Host, Job, Lookup, Module, ModuleName, ProbeReport, Prober, SecretText, TextSource,
};
use guard::Guard;
use oauth2::TokenSource;
use proxy::Proxies;
use resolve::Resolver;
use std::{fmt, path::Path, sync::Arc, time::Duration};
use tls::{TlsSetup, TlsSetupError};

/// A setting of a module that cannot be made ready: a file that cannot be read, a text that is no certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SetupError {
    /// Whose setting it is.
    pub module: ModuleName,
    /// The setting's path in the config file, such as `modules.api.http.tls_config.ca_file`.
    pub path: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// A module with everything built that a reload could build: trust roots, keys, TLS configs.
#[derive(Debug)]
pub(crate) struct ReadyModule {
    module: Arc<Module>,
    tls: TlsSetup,
    /// `None` when no proxy is configured.
    proxies: Option<Proxies>,
    token: Option<TokenSource>,
    guard: Arc<Guard>,
    resolvers: Arc<Resolvers>,
}

impl ReadyModule {
    /// Reads the module's files and builds its TLS; all errors at once. Its bearer token, if it wants one, is one of `tokens`.
    pub(crate) fn new(module: Arc<Module>, loading: &mut Loading, tokens: &Tokens) -> Result<Self, Vec<SetupError>> {
        let block = match module.prober {
            Prober::Http(_) => "http",
            Prober::WebSocket(_) => "websocket.http_config",
            Prober::Tls(_) => "tls",
            Prober::TlsScan(_) => "tls_scan",
        };
        let error = |key: &str, problem: String| {
            let path = format!("modules.{}.{block}.{key}", module.name);
            SetupError { module: module.name.clone(), path, problem }
        };
        let mut errors: Vec<SetupError> = files(&module.prober)
            .filter_map(|(key, path)| std::fs::File::open(path).err().map(|e| (key, path, e)))
            .map(|(key, path, cause)| error(key, format!("cannot read `{}`: {cause}", path.display())))
            .collect();
        let offers_http2 = matches!(&module.prober, Prober::Http(http) if http.enable_http2);
        let alpn: &[&[u8]] = if offers_http2 { &[b"h2", b"http/1.1"] } else { &[] };
        let mut note = |block: &str, faults: Vec<TlsSetupError>| {
            errors.extend(faults.into_iter().map(|f| error(&format!("{block}.{}", f.key), f.problem)));
        };
        let tls = TlsSetup::new((&module.name, module.prober.tls()), alpn, loading);
        let tls = tls.map_err(|faults| note("tls_config", faults)).ok();
        let token = TokenSource::new(&module, loading, tokens);
        let token = token.map_err(|faults| note("oauth2.tls_config", faults)).unwrap_or_default();
        let proxies = module.proxy.as_ref().map(|options| Proxies::new(options, &module.name, loading)).transpose();
        let proxies = proxies.map_err(|faults| errors.extend(faults.into_iter().map(|f| error(&f.key, f.problem))));
        match (tls, proxies) {
            (Some(tls), Ok(proxies)) if errors.is_empty() => {
                let (guard, resolvers) = (Arc::clone(&loading.guard), Arc::clone(&loading.resolvers));
                Ok(Self { module, tls, proxies, token, guard, resolvers })
            }
            _ => Err(errors),
        }
    }

    /// The proxies of a module that has some, without credentials: for http and ws, then for https, wss and tls.
    pub(crate) fn proxies_shown(&self) -> Option<[String; 2]> {
        self.proxies.as_ref().map(Proxies::shown)
    }

    /// The module.
    pub(crate) fn module(&self) -> &Arc<Module> {
        &self.module
    }

    /// How the job's names are turned into addresses.
    fn resolver(&self, job: &Job) -> Arc<Resolver> {
        Arc::clone(self.resolvers.with(job.resolver.as_ref().unwrap_or(&self.module.resolver)))
    }

    /// Whom a probe of `job` connects to first; `None` when its target cannot be read.
    pub(crate) fn destination(&self, job: &Job) -> Option<(Host, u16)> {
        pipeline::destination(self, job)
    }

    /// The report of a probe that was not run.
    pub(crate) fn not_run(&self, job: &Job, failure: Failure, timeout: Duration) -> ProbeReport {
        pipeline::not_run(self, job, failure, timeout)
    }

    /// Every address of the host that `job` connects to; where there is none, the report of a probe that failed there.
    pub(crate) async fn addresses(&self, job: &Job, timeout: Duration) -> Result<Lookup, Box<ProbeReport>> {
        pipeline::addresses(self, job, timeout).await
    }

    /// As [`Self::probe`], and keeps the WebSocket that it opened.
    pub(crate) async fn open(&self, job: &Job, timeout: Duration) -> (ProbeReport, Option<Held>) {
        pipeline::open_held(self, job, timeout).await
    }

    /// Probes `job` once, for at most `timeout`.
    pub(crate) async fn probe(&self, job: &Job, timeout: Duration) -> ProbeReport {
        pipeline::probe(self, job, timeout).await
    }
}

/// The files that are read anew for every probe, with their keys in the prober's block: missing ones are told at load.
fn files(prober: &Prober) -> impl Iterator<Item = (&'static str, &Path)> {
    let (auth, headers, body): (_, &[Header], _) = match prober {
        Prober::Http(m) => (m.auth.as_ref(), &m.http_headers, Some(&m.body)),
        Prober::WebSocket(m) => (m.auth.as_ref(), &m.headers, None),
        Prober::Tls(_) | Prober::TlsScan(_) => (None, &[], None),
    };
    let credentials: Vec<(&'static str, &SecretText)> = match auth {
        Some(Auth::Basic { username, password }) => {
            let password = password.as_ref().map(|password| ("basic_auth.password_file", password));
            std::iter::once(("basic_auth.username_file", username)).chain(password).collect()
        }
        Some(Auth::Scheme { credentials, .. }) => vec![("authorization.credentials_file", credentials)],
        None => Vec::new(),
    };
    let client = prober.oauth2().and_then(|oauth2| oauth2.client_secret.as_ref());
    let client = client.map(|secret| ("oauth2.client_secret_file", secret));
    let headers = headers.iter().flat_map(|header| header.secrets.iter().map(|secret| ("http_headers", secret)));
    let secrets = credentials.into_iter().chain(client).chain(headers).filter_map(|(key, secret)| match secret {
        SecretText::File(path) => Some((key, path.as_path())),
        SecretText::Inline(_) => None,
    });
    let body = body.and_then(|body| match body {
        Body::Text(TextSource::File(path)) => Some(("body_file", path.as_path())),
        _ => None,
    });
    secrets.chain(body)
}
