//! From a route to an open wire: which address or which proxy it leads to, and the connection there.
//!
//! In: a hop's route. Out: a wire whose first byte is the target's. What was looked up and dialled is noted in the report at
//! once.

use super::{
    ReadyModule,
    connect::connect,
    proxy::{Errand, Proxies},
    resolve::resolve,
    route::Route,
    run::{Run, failure},
    wire::Wire,
};
use crate::model::{Failure, Host, IpPreference, Lookup, Phase, Reason};
use futures_util::FutureExt;
use std::{
    error::Error,
    fmt,
    net::{IpAddr, SocketAddr},
};

/// Where a route leads: can be gone as often as needed.
#[derive(Clone, Debug)]
pub(super) enum Way {
    /// To this address.
    Direct(SocketAddr),
    /// Through a proxy.
    Proxied(Box<Errand>),
}

/// Works out where `route` leads; looks its name up unless an earlier hop to the same site has done so, or a proxy will do
/// it.
pub(super) async fn find(run: &mut Run, ready: &ReadyModule, route: &mut Route) -> Result<Way, Failure> {
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
    let address = if proxy.wants_address() { Some(look_up(run, ready, route).await?) } else { None };
    let errand = proxy.errand(route, address, run.deadline());
    run.hop().peer = errand.address();
    Ok(Way::Proxied(Box::new(errand)))
}

impl Way {
    /// Connects, as the stages that it takes.
    pub(super) async fn open(&self, run: &mut Run) -> Result<Wire, Failure> {
        match self {
            Self::Direct(address) => run.phase(Phase::Connect, connect(*address)).await,
            // Boxed, so that the direct way does not hold room for it.
            Self::Proxied(errand) => errand.open(run).boxed().await,
        }
    }

    /// Connects once more, within a stage of the caller.
    pub(super) async fn open_again(&self) -> Result<Wire, Box<dyn Error + Send + Sync>> {
        match self {
            Self::Direct(address) => Ok(connect(*address).await?),
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
            Self::Direct(address) => address.fmt(f),
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

/// The address that `route` leads to.
async fn look_up(run: &mut Run, ready: &ReadyModule, route: &mut Route) -> Result<SocketAddr, Failure> {
    let mut address = match route.known_address {
        Some(address) => address,
        None => ask(run, route, preference(run, ready)).await?,
    };
    route.known_address = Some(address);
    address.set_port(route.port);
    admit(run, ready, route, Some(address.ip()))?;
    run.hop().peer = Some(address);
    Ok(address)
}

/// Every address that `route` leads to, of both families.
pub(super) async fn addresses(run: &mut Run, route: &Route) -> Result<Lookup, Failure> {
    ask(run, route, IpPreference::default()).await?;
    Ok(run.hop().lookup.take().expect("a lookup that succeeded was noted"))
}

/// Which addresses are wanted: the job's family, else what the module prefers.
fn preference(run: &Run, ready: &ReadyModule) -> IpPreference {
    let only = |preferred| IpPreference { preferred, fallback: false };
    run.job().family.map_or_else(|| ready.module.prober.ip(), only)
}

async fn ask(run: &mut Run, route: &Route, preference: IpPreference) -> Result<SocketAddr, Failure> {
    let resolved = run.phase(Phase::Resolve, resolve(&route.dial, preference)).await;
    let took = run.hop().times.get(Phase::Resolve).unwrap_or_default();
    let (addresses, chosen) = match &resolved {
        Ok(resolved) => (resolved.addresses.clone(), Some(resolved.chosen.ip())),
        Err(_) => (Vec::new(), None),
    };
    run.hop().lookup = Some(Lookup { host: route.dial.to_string(), addresses, chosen, took });
    Ok(resolved?.chosen)
}
