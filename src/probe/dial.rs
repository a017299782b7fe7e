//! From a route to an open wire: which address or which proxy it leads to, and the connection there.
//!
//! In: a hop's route. Out: a wire whose first byte is the target's. What was looked up and dialled is noted in the report at
//! once.

use super::{
    ReadyModule,
    connect::{connect, race},
    proxy::{Errand, Proxies},
    resolve::Wanted,
    route::Route,
    run::{Run, failure},
    wire::Wire,
};
use crate::model::{Failure, Host, IpPreference, IpProtocol, Lookup, Phase, Reason};
use futures_util::FutureExt;
use std::{
    error::Error,
    fmt,
    net::{IpAddr, SocketAddr},
};

/// Where a route leads: can be gone as often as needed.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// To one of these addresses, of which there is at least one; to only one once it has been gone.
    Direct(Vec<SocketAddr>),
    /// Through a proxy.
    Proxied(Box<Errand>),
}

/// Works out where `route` leads; looks its name up unless an earlier hop to the same site has done so, or a proxy will do
/// it.
pub(super) async fn find(run: &mut Run, ready: &ReadyModule, route: &Route) -> Result<Way, Failure> {
    let Some(proxy) = ready.proxies.as_ref().and_then(|proxies: &Proxies| proxies.of(&route.target)) else {
        return look_up(run, ready, route).await.map(Way::Direct);
    };
    if let Host::Ip(ip) = route.dial {
        admit(run, ready, route, Some(ip))?;
    } else {
        admit(run, ready, route, None)?;
    }
    // Noted first, so that a failed lookup does not look like one on the direct way.
    run.hop().proxy = Some(Box::new(proxy.errand(route, None, run.deadline()).facts()));
    let address = if proxy.wants_address() { look_up(run, ready, route).await?.into_iter().next() } else { None };
    let errand = proxy.errand(route, address, run.deadline());
    run.hop().peer = errand.address();
    Ok(Way::Proxied(Box::new(errand)))
}

impl Way {
    /// Connects, as the stages that it takes.
    pub(super) async fn open(&mut self, run: &mut Run) -> Result<Wire, Failure> {
        match self {
            Self::Direct(candidates) => match candidates[..] {
                [address] => run.phase(Phase::Connect, connect(address)).await,
                _ => open_one(run, candidates).await,
            },
            // Boxed, so that the direct way does not hold room for it.
            Self::Proxied(errand) => errand.open(run).boxed().await,
        }
    }

    /// Decides which address is dialled, where that is open, by dialling once.
    pub(super) async fn settle(&mut self, run: &mut Run) -> Result<(), Failure> {
        if matches!(self, Self::Direct(candidates) if candidates.len() > 1) {
            drop(self.open(run).await?);
        }
        Ok(())
    }

    /// The address that is dialled, once that is decided.
    pub(super) fn settled(&self) -> Option<SocketAddr> {
        match self {
            Self::Direct(candidates) => candidates.first().copied().filter(|_| candidates.len() == 1),
            Self::Proxied(_) => None,
        }
    }

    /// Connects once more, within a stage of the caller.
    pub(super) async fn open_again(&self) -> Result<Wire, Box<dyn Error + Send + Sync>> {
        match self {
            Self::Direct(candidates) => Ok(connect(candidates[0]).await?),
            Self::Proxied(errand) => Ok(errand.open_again().boxed().await?),
        }
    }

    /// The proxy that takes the request itself, where no tunnel is made.
    pub(super) fn forwarder(self) -> Option<Errand> {
        match self {
            Self::Proxied(errand) if errand.forwards() => Some(*errand),
            _ => None,
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(candidates) => candidates[0].fmt(f),
            Self::Proxied(errand) => errand.fmt(f),
        }
    }
}

/// Whether the guard and the job's rules let `route` lead to `address`, as far as it is known: a proxy may look it up itself.
fn admit(run: &mut Run, ready: &ReadyModule, route: &Route, address: Option<IpAddr>) -> Result<(), Failure> {
    if let Some(address) = address {
        ready.guard.check(address).map_err(|denied| failure(Phase::Connect, &denied))?;
    }
    let job = run.job();
    let to = (route.target.host(), route.target.port());
    match &job.within {
        Some(rules) if !rules.iter().any(|rule| rule.admits(&job.module, to, address)) => {
            let words = format!("{}:{} is not among the allowed targets of `access`", to.0, to.1);
            Err(Failure::new(Phase::Connect, Reason::AddressDenied, words))
        }
        _ => Ok(()),
    }
}

/// Connects to the one of several addresses that answers first.
async fn open_one(run: &mut Run, candidates: &mut Vec<SocketAddr>) -> Result<Wire, Failure> {
    let mut dials = Vec::new();
    let outcome = run.phase(Phase::Connect, race(candidates, &mut dials)).await;
    run.hop().race = dials;
    let (address, wire) = outcome?;
    *candidates = vec![address];
    run.hop().peer = Some(address);
    if let Some(lookup) = &mut run.hop().lookup {
        lookup.chosen = Some(address.ip());
    }
    Ok(wire)
}

/// The addresses that `route` may lead to, at least one; what must not be dialled is not among them.
async fn look_up(run: &mut Run, ready: &ReadyModule, route: &Route) -> Result<Vec<SocketAddr>, Failure> {
    let mut candidates = match route.known_address {
        Some(address) => vec![address],
        None => ask(run, ready, route, wanted(run, ready)).await?,
    };
    for address in &mut candidates {
        address.set_port(route.port);
    }
    let mut denied = None;
    candidates.retain(|address| match admit(run, ready, route, Some(address.ip())) {
        Ok(()) => true,
        Err(failure) => {
            denied.get_or_insert(failure);
            false
        }
    });
    if let ([], Some(denied)) = (&candidates[..], denied) {
        return Err(denied);
    }
    run.hop().peer = candidates.first().copied();
    Ok(candidates)
}

/// Every address that `route` leads to, of both families.
pub(super) async fn addresses(run: &mut Run, ready: &ReadyModule, route: &Route) -> Result<Lookup, Failure> {
    let wanted = Wanted { preference: IpPreference::default(), protocol: IpProtocol::Prefer };
    ask(run, ready, route, wanted).await?;
    Ok(run.hop().lookup.take().expect("a lookup that succeeded was noted"))
}

/// Which addresses are wanted: the job's family, else what the module prefers.
fn wanted(run: &Run, ready: &ReadyModule) -> Wanted {
    let only = |preferred| IpPreference { preferred, fallback: false };
    let preference = run.job().family.map_or_else(|| ready.module.prober.ip(), only);
    Wanted { preference, protocol: ready.module.ip_protocol }
}

async fn ask(run: &mut Run, ready: &ReadyModule, route: &Route, wanted: Wanted) -> Result<Vec<SocketAddr>, Failure> {
    let mut lookup = Lookup { host: route.dial.to_string(), ..Lookup::default() };
    let deadline = run.deadline();
    let resolver = ready.resolver(run.job());
    let asking = resolver.resolve(&route.dial, wanted, (deadline, &mut lookup));
    let outcome = run.phase(Phase::Resolve, asking).await;
    lookup.took = run.hop().times.get(Phase::Resolve).unwrap_or_default();
    run.hop().lookup = Some(lookup);
    outcome
}
