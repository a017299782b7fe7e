//! From a route to an open wire: which address it leads to, and the connection there.
//!
//! In: a hop's route. Out: a wire whose first byte is the target's. What was looked up and dialled is noted in the report at
//! once.

use super::{
    ReadyModule,
    connect::{ConnectError, connect},
    resolve::resolve,
    route::Route,
    run::Run,
    wire::Wire,
};
use crate::model::{Failure, Lookup, Phase};
use std::net::SocketAddr;

/// Where a route leads: can be dialled as often as needed.
#[derive(Clone, Debug)]
pub(super) struct Way {
    address: SocketAddr,
}

/// Works out where `route` leads; looks its name up unless an earlier hop to the same site has done so.
pub(super) async fn find(run: &mut Run, ready: &ReadyModule, route: &mut Route) -> Result<Way, Failure> {
    let mut address = match route.known_address {
        Some(address) => address,
        None => look_up(run, ready, route).await?,
    };
    route.known_address = Some(address);
    address.set_port(route.port);
    run.hop().peer = Some(address);
    Ok(Way { address })
}

impl Way {
    /// The address that is dialled.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connects, as the stages that it takes.
    pub(super) async fn open(&self, run: &mut Run) -> Result<Wire, Failure> {
        run.phase(Phase::Connect, connect(self.address)).await
    }

    /// Connects once more, within a stage of the caller.
    pub(super) async fn open_again(&self) -> Result<Wire, ConnectError> {
        connect(self.address).await
    }
}

async fn look_up(run: &mut Run, ready: &ReadyModule, route: &Route) -> Result<SocketAddr, Failure> {
    let resolved = run.phase(Phase::Resolve, resolve(&route.dial, ready.module.prober.ip())).await;
    let took = run.hop().times.get(Phase::Resolve).unwrap_or_default();
    let (addresses, chosen) = match &resolved {
        Ok(resolved) => (resolved.addresses.clone(), Some(resolved.chosen.ip())),
        Err(_) => (Vec::new(), None),
    };
    run.hop().lookup = Some(Lookup { host: route.dial.to_string(), addresses, chosen, took });
    Ok(resolved?.chosen)
}
