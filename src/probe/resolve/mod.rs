//! Names to addresses: a host and what is wanted of it in, the addresses to dial in order out; who was asked and what came
//! of it is noted at once.
//!
//! Asks the system's resolver, or name servers of a module's or job's own. Literals and special-use names need neither.

mod exchange;
mod hosts;
mod memory;
mod servers;
mod system;
#[cfg(test)]
mod tests;

use super::{
    SetupError,
    run::{StageError, share, until},
    tls::{Loading, verifying},
};
use crate::model::{
    DnsAnswer, DnsTransport, Host, IpFamily, IpPreference, IpProtocol, Lookup, ModuleName, Plan, Reason,
    ResolverSettings, RootStore, TextSource, Trust,
};
use hosts::Hosts;
use memory::{Memory, Policy};
use servers::Servers;
use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::pin,
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// Addresses kept of one answer.
const MAX_ADDRESSES: usize = 256;
/// Addresses of one host that are dialled, where it may be more than one.
const MAX_CANDIDATES: usize = 8;
/// How long the other family is waited for when an address is there already: RFC 8305 section 3, "Resolution Delay".
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);
/// How long a new answer is waited for when an old one may stand in: RFC 8767 section 5, "client response timer".
const STALE_PATIENCE: Duration = Duration::from_millis(1_800);

static HOSTS: LazyLock<Hosts> = LazyLock::new(Hosts::of_system);

/// Why a name gave no address.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("`{0}` does not exist")]
    NotFound(String),
    #[error("`{host}` has no {family} address")]
    NoAddress { host: String, family: &'static str },
    #[error("the name server {server} refuses to answer for `{host}`")]
    Refused { host: String, server: String },
    #[error("no name server answered for `{host}`, {server} included")]
    Timeout { host: String, server: String },
    #[error("the resolver could not answer for `{host}`: {cause}")]
    Failed { host: String, cause: String },
}

impl ResolveError {
    fn no_address(host: String, family: Option<IpFamily>) -> Self {
        let family = match family {
            None => "IP",
            Some(IpFamily::V4) => "IPv4",
            Some(IpFamily::V6) => "IPv6",
        };
        Self::NoAddress { host, family }
    }

    /// Whether it is known that there is nothing; the others say that nothing is known.
    fn is_answer(&self) -> bool {
        matches!(self, Self::NotFound(_) | Self::NoAddress { .. })
    }
}

impl StageError for ResolveError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotFound(_) => Reason::NameNotFound,
            Self::NoAddress { .. } => Reason::NoAddress,
            Self::Refused { .. } => Reason::ResolverRefused,
            Self::Timeout { .. } => Reason::ResolverTimeout,
            Self::Failed { .. } => Reason::ResolverFailed,
        }
    }
}

/// What is asked of a source: the addresses of a name, in one family or, without one, in both.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Question {
    name: Arc<str>,
    family: Option<IpFamily>,
}

/// What came of it.
#[derive(Clone, Debug)]
struct Answer {
    /// Their ports are 0; a link-local one has its scope.
    addresses: Result<Vec<SocketAddr>, ResolveError>,
    facts: DnsAnswer,
}

/// What is wanted of a host's addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) preference: IpPreference,
    pub(super) protocol: IpProtocol,
}

/// The resolvers of one load, by their settings.
#[derive(Debug, Default)]
pub(crate) struct Resolvers(HashMap<Arc<ResolverSettings>, Arc<Resolver>>);

impl Resolvers {
    /// Those that `plan` asks for. One whose settings were there `before` keeps what it has learned.
    pub(crate) fn new(plan: &Plan, loading: &mut Loading, before: &Self) -> Result<Self, Vec<SetupError>> {
        let of_modules = plan.modules.iter().map(|module| {
            let place = || format!("modules.{}.resolver", module.name);
            (&module.resolver, &module.name, place())
        });
        let of_series = plan.series.iter().filter_map(|series| {
            let place = format!("jobs.{}.resolver", series.key.get("job"));
            Some((series.job.resolver.as_ref()?, &series.job.module, place))
        });
        let (mut all, mut errors) = (HashMap::new(), Vec::new());
        for (settings, module, place) in of_modules.chain(of_series) {
            if all.contains_key(settings) {
                continue;
            }
            let memory = before.0.get(settings).map(|resolver| Arc::clone(&resolver.memory)).unwrap_or_default();
            match Resolver::new(Arc::clone(settings), memory, loading) {
                Ok(resolver) => drop(all.insert(Arc::clone(settings), Arc::new(resolver))),
                Err(problem) => {
                    errors.push(SetupError { module: module.clone(), path: format!("{place}.ca_file"), problem });
                }
            }
        }
        if errors.is_empty() { Ok(Self(all)) } else { Err(errors) }
    }

    /// The resolver with these settings, which are of the same load.
    pub(super) fn with(&self, settings: &ResolverSettings) -> &Arc<Resolver> {
        self.0.get(settings).expect("a resolver is built for every module and job of a load")
    }
}

/// One way to turn names into addresses, shared by all who have the same settings.
pub(super) struct Resolver {
    settings: Arc<ResolverSettings>,
    /// `None` is the system's resolver.
    servers: Option<Servers>,
    memory: Arc<Memory>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl Resolver {
    fn new(settings: Arc<ResolverSettings>, memory: Arc<Memory>, loading: &mut Loading) -> Result<Self, String> {
        let with_tls = settings.servers.iter().any(|server| matches!(server.transport, DnsTransport::Tls(_)));
        let trust = Trust {
            stores: if settings.ca_file.is_some() { Vec::new() } else { vec![RootStore::SystemOrEmbedded] },
            ca: settings.ca_file.clone().map(TextSource::File),
            folder: None,
        };
        let tls = with_tls.then(|| verifying(&trust, &ModuleName::new("name servers"), loading)).transpose()?;
        let servers = (!settings.servers.is_empty()).then(|| Servers::new(&settings, tls.as_ref()));
        Ok(Self { settings, servers, memory })
    }

    /// Looks `host` up and gives the addresses to dial, at least one, with port 0. What was learned on the way is in
    /// `lookup`, whatever comes of it.
    pub(super) async fn resolve(
        &self,
        host: &Host,
        wanted: Wanted,
        (deadline, lookup): (Instant, &mut Lookup),
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        lookup.host = host.to_string();
        let found = match host {
            Host::Ip(ip) => vec![SocketAddr::new(*ip, 0)],
            Host::Zoned(..) => system::ask(lookup.host.as_str().into()).await.addresses?,
            Host::Name(name) => match special_use(name, wanted.preference) {
                Some(answer) => answer?,
                None => self.look_up(name, wanted, (deadline, lookup)).await?,
            },
        };
        lookup.addresses = found.iter().map(SocketAddr::ip).take(MAX_ADDRESSES).collect();
        lookup.addresses.dedup();
        let candidates = candidates(&found, wanted);
        let first = candidates.first().ok_or_else(|| {
            let IpPreference { preferred, fallback } = wanted.preference;
            ResolveError::no_address(lookup.host.clone(), Some(preferred).filter(|_| !fallback))
        })?;
        lookup.chosen = Some(first.ip());
        Ok(candidates)
    }

    async fn look_up(
        &self,
        name: &str,
        wanted: Wanted,
        (deadline, lookup): (Instant, &mut Lookup),
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let name: Arc<str> = name.trim_end_matches('.').into();
        if self.servers.is_none() {
            let answer = self.answer(Question { name, family: None }, deadline).await;
            // Without anything remembered there is no more to tell than the addresses.
            if self.settings.serve_stale.is_some() {
                note(lookup, &answer);
            }
            return answer.addresses;
        }
        if self.settings.use_hosts_file {
            let found = HOSTS.find(&name);
            if !found.is_empty() {
                note(lookup, &of_hosts_file(&found));
                return Ok(found.into_iter().map(|ip| SocketAddr::new(ip, 0)).collect());
            }
        }
        self.ask_by_family(&name, wanted, (deadline, lookup)).await
    }

    /// Asks for both families at once, or for one where the other will not do.
    async fn ask_by_family(
        &self,
        name: &Arc<str>,
        wanted: Wanted,
        (deadline, lookup): (Instant, &mut Lookup),
    ) -> Result<Vec<SocketAddr>, ResolveError> {
        let IpPreference { preferred, fallback } = wanted.preference;
        let other = if preferred == IpFamily::V4 { IpFamily::V6 } else { IpFamily::V4 };
        let ask = |family| self.answer(Question { name: Arc::clone(name), family: Some(family) }, deadline);
        if !fallback {
            let answer = ask(preferred).await;
            note(lookup, &answer);
            return answer.addresses;
        }
        let (mut asking_first, mut asking_second) = (pin!(ask(preferred)), pin!(ask(other)));
        let (mut first, mut second): (Option<Answer>, Option<Answer>) = (None, None);
        let has_address = |answer: &Option<Answer>| answer.as_ref().is_some_and(|answer| answer.addresses.is_ok());
        while first.is_none() || second.is_none() {
            let either_will_do = wanted.protocol == IpProtocol::Race && has_address(&second);
            tokio::select! {
                answer = &mut asking_first, if first.is_none() => note(lookup, first.insert(answer)),
                answer = &mut asking_second, if second.is_none() => note(lookup, second.insert(answer)),
                () = sleep(RESOLUTION_DELAY), if has_address(&first) || either_will_do => break,
            }
        }
        merge(first.into_iter().chain(second), name)
    }

    /// The answer to one question: remembered, or new, or an old one that stands in.
    async fn answer(&self, question: Question, deadline: Instant) -> Answer {
        let policy = Policy { cache: self.settings.cache, stale: self.settings.serve_stale };
        if let Some(answer) = self.memory.fresh(&question, policy) {
            return answer;
        }
        let last_good = policy.stale.and_then(|_| self.memory.last_good(&question));
        let asking = self.memory.join(question.clone(), policy, || self.ask(question));
        let Some(last_good) = last_good else { return asking.await };
        match until(share(Some(deadline), STALE_PATIENCE), asking).await {
            Some(answer) if answer.addresses.as_ref().err().is_none_or(ResolveError::is_answer) => answer,
            Some(_) | None => last_good,
        }
    }

    fn ask(&self, question: Question) -> impl Future<Output = Answer> + Send + use<> {
        let servers = self.servers.clone();
        async move {
            match servers {
                Some(servers) => servers.ask(question).await,
                None => system::ask(question.name).await,
            }
        }
    }
}

/// Looks `host` up by the system's resolver and chooses one address, for what is fetched beside a probe.
pub(super) async fn by_system(host: &Host, preference: IpPreference, by: Instant) -> Result<SocketAddr, ResolveError> {
    let settings = Arc::default();
    let resolver = Resolver { settings, servers: None, memory: Arc::default() };
    let wanted = Wanted { preference, protocol: IpProtocol::Prefer };
    let candidates = resolver.resolve(host, wanted, (by, &mut Lookup::default())).await?;
    Ok(candidates[0])
}

fn note(lookup: &mut Lookup, answer: &Answer) {
    lookup.dns.get_or_insert_default().answers.push(answer.facts.clone());
}

fn of_hosts_file(found: &[IpAddr]) -> Answer {
    let facts = DnsAnswer {
        family: None,
        server: Some("hosts file".into()),
        code: None,
        alias_of: None,
        addresses: found.len(),
        ttl: None,
        took: Duration::ZERO,
        age: Duration::ZERO,
        stale: false,
    };
    Answer { addresses: Ok(Vec::new()), facts }
}

/// The addresses of both families; without any, what says most about why: that nothing is known, else that the name has
/// none, else that there is no such name.
fn merge(answers: impl Iterator<Item = Answer>, name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for answer in answers {
        match answer.addresses {
            Ok(addresses) => found.extend(addresses),
            Err(error) => errors.push(error),
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    let exists = errors.iter().any(|error| matches!(error, ResolveError::NoAddress { .. }));
    match errors.into_iter().find(|error| !error.is_answer()) {
        Some(unknown) => Err(unknown),
        None if exists => Err(ResolveError::no_address(name.to_owned(), None)),
        None => Err(ResolveError::NotFound(name.to_owned())),
    }
}

/// Names that no resolver has to be asked for: `.localhost` is this machine, `.invalid` is nowhere (RFC 6761 sections 6.3
/// and 6.4). Plain `localhost` is left to the system, whose administrator may have said something else.
fn special_use(name: &str, preference: IpPreference) -> Option<Result<Vec<SocketAddr>, ResolveError>> {
    let name = name.trim_end_matches('.');
    if name.ends_with(".localhost") {
        let only_v6 = preference.preferred == IpFamily::V6 && !preference.fallback;
        let ip: IpAddr = if only_v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        return Some(Ok(vec![SocketAddr::new(ip, 0)]));
    }
    (name.ends_with(".invalid") || name == "invalid").then(|| Err(ResolveError::NotFound(name.to_owned())))
}

/// Whom to dial, in order.
///
/// One address: the first of the preferred family, else, with fallback, the last one of the other (as blackbox chooses). For
/// a race, several: the families in turn, the preferred one first (RFC 8305 section 4).
fn candidates(found: &[SocketAddr], wanted: Wanted) -> Vec<SocketAddr> {
    let IpPreference { preferred, fallback } = wanted.preference;
    let is_preferred = |address: &&SocketAddr| IpFamily::of(address.ip()) == preferred;
    if wanted.protocol != IpProtocol::Race {
        let first = found.iter().find(is_preferred);
        return first.or_else(|| found.last().filter(|_| fallback)).copied().into_iter().collect();
    }
    let (first, second): (Vec<&SocketAddr>, Vec<&SocketAddr>) = found.iter().partition(is_preferred);
    let second: &[&SocketAddr] = if fallback { &second } else { &[] };
    let in_turn = (0..found.len()).flat_map(|at| [first.get(at), second.get(at)]).flatten();
    let mut all: Vec<SocketAddr> = Vec::new();
    for &&address in in_turn {
        if !all.contains(&address) && all.len() < MAX_CANDIDATES {
            all.push(address);
        }
    }
    all
}
