//! One target over several addresses: which they are is found once, then each is probed as any other job, all at once and
//! within one budget.

use super::{Engine, Limits};
use crate::model::{ConnectTo, FanOut, FanReport, IpFamily, Job, Lookup, MAX_EDGES, Outcome, Over, ProbeReport, Site};
use futures_util::future::join_all;
use std::{net::IpAddr, sync::Arc};
use tokio::time::Instant;

/// One probe of a fan-out.
struct Edge {
    label: String,
    job: Job,
}

impl Engine {
    /// Runs `job`, over several addresses if `fan` says so.
    ///
    /// # Panics
    /// If this engine has no module of the job's name.
    pub async fn carry_out(&self, job: &Job, fan: Option<&FanOut>, limits: Limits) -> Outcome {
        match fan {
            None => Outcome::One(Arc::new(self.run(job, limits).await)),
            // Boxed: most jobs do not fan out, and none should hold room for it.
            Some(fan) => Outcome::Fan(Box::pin(self.fan_out(job, fan, limits)).await),
        }
    }

    /// Runs `job` over each address that `fan` leads to: each with a permit, a deadline and retries of its own.
    ///
    /// # Panics
    /// If this engine has no module of the job's name.
    #[expect(clippy::disallowed_methods, reason = "the budget spans the lookup and the probes")]
    async fn fan_out(&self, job: &Job, fan: &FanOut, limits: Limits) -> FanReport {
        let began = Instant::now();
        let (mut edges, lookup) = match &fan.over {
            Over::Listed(listed) => (listed.iter().map(|to| listed_edge(job, to)).collect(), None),
            Over::Families => ([IpFamily::V4, IpFamily::V6].map(|family| of_family(job, family)).into(), None),
            Over::Addresses => match self.addresses(job, limits).await {
                Ok(lookup) => (addresses(job, &lookup), Some(lookup)),
                Err(report) => return failed(fan, *report),
            },
        };
        let left_out = edges.len().saturating_sub(MAX_EDGES);
        edges.truncate(MAX_EDGES);
        let limits = Limits { budget: limits.budget.saturating_sub(began.elapsed()), ..limits };
        let lookup = lookup.as_ref();
        let probes = edges.into_iter().map(|edge| async move {
            let mut report = self.run(&edge.job, limits).await;
            if let Some(lookup) = lookup {
                looked_up(&mut report, lookup);
            }
            (edge.label, Arc::new(report))
        });
        let edges = join_all(probes).await;
        FanReport { label: fan.over.label(), edges, failed: None, left_out, success_when: fan.success_when }
    }

    async fn addresses(&self, job: &Job, limits: Limits) -> Result<Lookup, Box<ProbeReport>> {
        let entry = self.modules.get(&job.module).expect("job and engine come from one load");
        let looked_up = entry.ready.addresses(job, limits.timeout.min(limits.budget)).await;
        looked_up.map_err(|report| {
            let elapsed = report.elapsed;
            Box::new(entry.finish(*report, elapsed))
        })
    }
}

fn failed(fan: &FanOut, report: ProbeReport) -> FanReport {
    let failed = Some(Arc::new(report));
    FanReport { label: fan.over.label(), edges: Vec::new(), failed, left_out: 0, success_when: fan.success_when }
}

fn listed_edge(job: &Job, to: &ConnectTo) -> Edge {
    let site = Site { connect_to: Some(to.clone()), ..job.site.clone() };
    Edge { label: to.to_string(), job: Job { site, ..job.clone() } }
}

fn of_family(job: &Job, family: IpFamily) -> Edge {
    Edge { label: family.as_str().to_owned(), job: Job { family: Some(family), ..job.clone() } }
}

/// An edge per address, each once.
fn addresses(job: &Job, lookup: &Lookup) -> Vec<Edge> {
    let mut found: Vec<IpAddr> = Vec::new();
    for ip in &lookup.addresses {
        if !found.contains(ip) {
            found.push(*ip);
        }
    }
    let edge = |ip: IpAddr| Edge { label: ip.to_string(), job: Job { address: Some(ip), ..job.clone() } };
    found.into_iter().map(edge).collect()
}

/// Gives the report the lookup that led to its address, in place of that of the address itself.
fn looked_up(report: &mut ProbeReport, lookup: &Lookup) {
    if let Some(hop) = report.hops.first_mut() {
        let chosen = hop.peer.map(|peer| peer.ip());
        hop.lookup = Some(Lookup { chosen, ..lookup.clone() });
    }
}
