//! The way through a proxy: which one a target wants, how it is reached, what it is asked for and what it says.
//!
//! In: a module's settings, then a route. Out: a wire whose first byte is the target's, or for a forwarded request the
//! proxy's. All of it is the phase `proxy`, the lookup of the proxy's own name included. The proxy is given its own
//! credentials, headers and SNI, and nothing of the module's.

mod connect;
mod environment;
mod forward;
mod socks;

pub(super) use forward::or_refusal;

use super::{
    connect::{ConnectError, connect},
    http::HttpError,
    resolve::{ResolveError, by_system},
    route::Route,
    run::{Run, StageError},
    tls::{Attempt, Loading, TlsError, TlsNames, TlsSetup},
    wire::{Wire, reason_of_io},
};
use crate::model::{
    Failure, Header, Host, IpPreference, ModuleName, NoProxy, Phase, ProxyFacts, ProxyKind, ProxyOptions, ProxySource,
    ProxyUrl, Reason, Scheme, Target, authority, is_loopback,
};
use environment::Environment;
use std::{fmt, io, net::SocketAddr, sync::Arc};
use tokio::time::Instant;

/// What is spoken inside of TLS to an `https` proxy.
const ALPN: &[&[u8]] = &[b"http/1.1"];

/// The proxies of a module, made ready.
#[derive(Debug)]
pub(super) struct Proxies {
    /// For http and ws.
    plain: Option<Arc<Proxy>>,
    /// For https, wss and tls.
    encrypted: Option<Arc<Proxy>>,
    no_proxy: NoProxy,
    /// Whether this machine is reached directly, as Go has it for the environment's proxies.
    spares_loopback: bool,
}

/// A setting that cannot be made ready: which key of the block, and why.
pub(super) struct SetupFault {
    pub(super) key: String,
    pub(super) problem: String,
}

impl Proxies {
    /// Reads the environment or the files that the settings name. All faults at once.
    pub(super) fn new(
        options: &ProxyOptions,
        module: &ModuleName,
        loading: &mut Loading,
    ) -> Result<Self, Vec<SetupFault>> {
        let fault = |key: &str, problem: String| SetupFault { key: key.to_owned(), problem };
        let (from, spares_loopback) = match &options.source {
            ProxySource::Url { proxy, no_proxy } => {
                let no_proxy = no_proxy.clone();
                (Environment { plain: Some(proxy.clone()), encrypted: Some(proxy.clone()), no_proxy }, false)
            }
            ProxySource::Environment => {
                let read = Environment::read(|name| std::env::var(name).ok());
                (read.map_err(|problem| vec![fault("proxy_from_environment", problem)])?, true)
            }
        };
        let kinds: Vec<_> = [&from.plain, &from.encrypted].into_iter().flatten().map(|url| url.kind).collect();
        if !options.headers.is_empty() && kinds.iter().any(|kind| !kind.is_http()) {
            let problem = "a proxy of the environment is SOCKS, which has no headers".to_owned();
            return Err(vec![fault("proxy_connect_header", problem)]);
        }
        let tls = kinds.contains(&ProxyKind::Https).then(|| {
            let settings = options.tls.clone().unwrap_or_default();
            TlsSetup::new((module, &settings), ALPN, loading).map(Arc::new)
        });
        let tls = tls.transpose().map_err(|faults| {
            let faults = faults.into_iter();
            faults.map(|f| fault(&format!("proxy_tls_config.{}", f.key), f.problem)).collect::<Vec<_>>()
        })?;
        let ready = |url: ProxyUrl| Arc::new(Proxy::new(url, options, tls.as_ref()));
        Ok(Self {
            plain: from.plain.map(ready),
            encrypted: from.encrypted.map(ready),
            no_proxy: from.no_proxy,
            spares_loopback,
        })
    }

    /// The proxy that `target` is reached through, if it is not reached directly.
    pub(super) fn of(&self, target: &Target) -> Option<&Arc<Proxy>> {
        let proxy = if target.scheme().is_tls() { &self.encrypted } else { &self.plain };
        let direct = self.spares_loopback && is_loopback(target.host());
        proxy.as_ref().filter(|_| !direct && !self.no_proxy.covers(target.host(), target.port()))
    }

    /// The proxies in words, without credentials: for http and ws, then for https, wss and tls.
    pub(super) fn shown(&self) -> [String; 2] {
        let shown =
            |proxy: &Option<Arc<Proxy>>| proxy.as_ref().map_or("none".to_owned(), |proxy| proxy.url.to_string());
        [shown(&self.plain), shown(&self.encrypted)]
    }
}

/// A proxy, made ready.
pub(super) struct Proxy {
    url: ProxyUrl,
    headers: Vec<Header>,
    tls: Option<Arc<TlsSetup>>,
    /// The name to send to an `https` proxy, and to verify.
    server_name: String,
    resolve_first: bool,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({})", self.url)
    }
}

impl Proxy {
    fn new(url: ProxyUrl, options: &ProxyOptions, tls: Option<&Arc<TlsSetup>>) -> Self {
        let server_name = options.tls.as_ref().and_then(|tls| tls.server_name.clone());
        Self {
            server_name: server_name.unwrap_or_else(|| url.host.to_string()),
            headers: options.headers.clone(),
            tls: tls.filter(|_| url.kind == ProxyKind::Https).cloned(),
            resolve_first: options.resolve_first.unwrap_or(url.kind == ProxyKind::Socks5),
            url,
        }
    }

    /// Whether the proxy is asked for an address, so that the target's name has to be looked up here.
    pub(super) fn wants_address(&self) -> bool {
        self.resolve_first
    }

    /// What it is to be asked for along `route`, whose name leads to `address` if that was looked up.
    pub(super) fn errand(self: &Arc<Self>, route: &Route, address: Option<SocketAddr>, deadline: Instant) -> Errand {
        let target = &route.target;
        // A forwarded request says Host and address in one, so it will do only where both are the URL's own.
        let plain = address.is_none()
            && route.dial == *target.host()
            && route.port == target.port()
            && route.host_header == target.authority();
        Errand {
            host: address.map_or_else(|| route.dial.clone(), |address| Host::Ip(address.ip())),
            port: route.port,
            forward: plain && target.scheme() == Scheme::Http && self.url.kind.is_http(),
            proxy: Arc::clone(self),
            deadline,
        }
    }

    /// Looks the proxy's own name up and connects to it, with TLS where it wants that.
    async fn reach(&self, facts: &mut ProxyFacts, deadline: Instant) -> Result<(Wire, Option<Attempt>), ProxyError> {
        let named = |error| ProxyError::Resolve(self.url.to_string(), error);
        let mut address = by_system(&self.url.host, IpPreference::default(), deadline).await.map_err(named)?;
        address.set_port(self.url.port);
        facts.peer = Some(address);
        let wire = connect(address).await.map_err(|error| ProxyError::Connect(self.url.to_string(), error))?;
        let Some(setup) = &self.tls else { return Ok((wire, None)) };
        let tls = TlsNames::same(self.server_name.clone());
        let unusable = |_| ProxyError::NotProxy(format!("`{}` is not a name that TLS can ask for", self.server_name));
        let seen = Seen { attempt: setup.attempt(&tls).map_err(unusable)?, facts };
        let wire = seen.attempt.handshake(wire, deadline).await.map_err(ProxyError::Tls)?;
        Ok((wire, Some(seen.attempt.clone())))
    }
}

/// A handshake with the proxy, which is noted whatever becomes of it.
struct Seen<'a> {
    attempt: Attempt,
    facts: &'a mut ProxyFacts,
}

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        self.facts.tls = Some(self.attempt.facts());
    }
}

/// What a proxy is to be asked for: can be asked as often as needed.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    proxy: Arc<Proxy>,
    host: Host,
    port: u16,
    /// Whether the request itself goes to the proxy, and no tunnel is made.
    forward: bool,
    deadline: Instant,
}

impl Errand {
    /// What is known before anything was done.
    pub(super) fn facts(&self) -> ProxyFacts {
        ProxyFacts {
            url: self.proxy.url.to_string(),
            kind: self.proxy.url.kind,
            asked_for: authority(&self.host, self.port),
            tunnel: !self.forward,
            resolves: matches!(self.host, Host::Name(_)),
            ..ProxyFacts::default()
        }
    }

    /// The address that the proxy is asked for, if it is not asked for a name.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port)),
            Host::Name(_) | Host::Zoned(..) => None,
        }
    }

    /// Whether the request itself goes to the proxy.
    pub(super) fn forwards(&self) -> bool {
        self.forward
    }

    /// Goes there as a stage of a probe.
    pub(super) async fn open(&self, run: &mut Run) -> Result<Wire, Failure> {
        let mut facts = self.facts();
        let outcome = run.phase(Phase::Proxy, self.go(&mut facts)).await;
        run.hop().proxy = Some(Box::new(facts));
        outcome
    }

    /// Goes there once more, within a stage of the caller.
    pub(super) async fn open_again(&self) -> Result<Wire, ProxyError> {
        self.go(&mut self.facts()).await
    }

    async fn go(&self, facts: &mut ProxyFacts) -> Result<Wire, ProxyError> {
        let (wire, tls) = self.proxy.reach(facts, self.deadline).await?;
        let outcome = match self.proxy.url.kind {
            _ if self.forward => return Ok(wire),
            ProxyKind::Http | ProxyKind::Https => connect::tunnel(wire, self, facts).await,
            ProxyKind::Socks5 | ProxyKind::Socks5h => {
                let credentials = self.proxy.url.credentials.as_ref();
                socks::tunnel(wire, (&self.host, self.port), credentials, facts).await
            }
        };
        // A client certificate that the proxy does not accept is told late.
        outcome.map_err(|error| tls.and_then(|tls| tls.late_refusal()).map_or(error, ProxyError::Tls))
    }
}

impl fmt::Display for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} through {}", authority(&self.host, self.port), self.proxy.url)
    }
}

/// Why the proxy did not let us through.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("cannot look up the proxy {0}")]
    Resolve(String, #[source] ResolveError),
    #[error("cannot reach the proxy {0}")]
    Connect(String, #[source] ConnectError),
    #[error("no TLS with the proxy")]
    Tls(#[source] TlsError),
    #[error("{0}")]
    NotProxy(String),
    #[error("{0}")]
    AuthRequired(String),
    #[error("the proxy refused: {0}")]
    Refused(String),
    #[error("the exchange with the proxy failed")]
    Http(#[from] HttpError),
    #[error("the exchange with the proxy failed")]
    Io(#[from] io::Error),
    #[error("the name is too long for SOCKS")]
    LongName,
}

impl StageError for ProxyError {
    fn reason(&self) -> Reason {
        let found = match self {
            Self::Resolve(_, error) => error.reason(),
            Self::Connect(_, error) => error.reason(),
            Self::Tls(error) => error.reason(),
            Self::NotProxy(_) => Reason::ProxyUnreachable,
            Self::AuthRequired(_) => return Reason::ProxyAuthRequired,
            Self::Refused(_) => return Reason::ProxyRefused,
            Self::Http(error) => error.reason(),
            Self::Io(error) => reason_of_io(error),
            Self::LongName => return Reason::InvalidTarget,
        };
        match found {
            Reason::LocalLimit | Reason::Timeout | Reason::Reset | Reason::Broken | Reason::Internal => found,
            // Other reasons are of phases in which it is the target that fails.
            _ => Reason::ProxyUnreachable,
        }
    }
}
