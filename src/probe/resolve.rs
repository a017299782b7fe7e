//! Names to addresses: the system's resolver, off the runtime's threads, and never more than a bounded number at once.
//!
//! `getaddrinfo` cannot be cancelled: a probe that gives up leaves its lookup behind, which keeps its slot until the
//! system answers. So the slots are bounded; literals and special-use names need none.

use super::run::StageError;
use crate::model::{Host, IpFamily, IpPreference, Reason};
use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, LazyLock},
};
use tokio::sync::Semaphore;

/// Lookups that may be under way at once, abandoned ones included.
const MAX_LOOKUPS: usize = 128;
/// Addresses kept of one answer.
const MAX_ADDRESSES: usize = 256;

static SLOTS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(MAX_LOOKUPS)));

/// Why a name gave no address.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("`{0}` does not exist")]
    NotFound(String),
    #[error("`{host}` has no {family} address")]
    NoAddress { host: String, family: &'static str },
    #[error("the resolver could not answer for `{host}`")]
    Failed { host: String, source: io::Error },
}

impl StageError for ResolveError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotFound(_) => Reason::NameNotFound,
            Self::NoAddress { .. } => Reason::NoAddress,
            Self::Failed { .. } => Reason::ResolverFailed,
        }
    }
}

/// Every address of a host, and the one to probe.
#[derive(Debug)]
pub(super) struct Resolved {
    /// In the resolver's order.
    pub(super) addresses: Vec<IpAddr>,
    /// The chosen one, with the scope of a link-local address; its port is the caller's to set.
    pub(super) chosen: SocketAddr,
}

/// Looks `host` up and chooses by `preference`: the first address of the preferred family, else, with fallback, the last
/// one of the other (as blackbox chooses).
pub(super) async fn resolve(host: &Host, preference: IpPreference) -> Result<Resolved, ResolveError> {
    let name = host.to_string();
    let found = match host {
        Host::Ip(ip) => vec![SocketAddr::new(*ip, 0)],
        Host::Name(name) => match special_use(name, preference) {
            Some(answer) => answer?,
            None => ask_system(name.clone()).await?,
        },
        Host::Zoned(..) => ask_system(name.clone()).await?,
    };
    let chosen = choose(&found, preference).ok_or_else(|| match preference.preferred {
        _ if preference.fallback => ResolveError::NotFound(name.clone()),
        IpFamily::V4 => ResolveError::NoAddress { host: name.clone(), family: "IPv4" },
        IpFamily::V6 => ResolveError::NoAddress { host: name.clone(), family: "IPv6" },
    })?;
    let mut addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).take(MAX_ADDRESSES).collect();
    addresses.dedup();
    Ok(Resolved { addresses, chosen })
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

fn choose(found: &[SocketAddr], preference: IpPreference) -> Option<SocketAddr> {
    let preferred = |address: &&SocketAddr| address.is_ipv6() == (preference.preferred == IpFamily::V6);
    let first = found.iter().find(preferred);
    first.or_else(|| found.last().filter(|_| preference.fallback)).copied()
}

async fn ask_system(name: String) -> Result<Vec<SocketAddr>, ResolveError> {
    let slot = Arc::clone(&SLOTS).acquire_owned().await.expect("the semaphore is never closed");
    let asked = name.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        getaddrinfo(&asked)
    });
    match answer.await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(classify(name, error)),
        Err(panic) => Err(ResolveError::Failed { host: name, source: io::Error::other(panic) }),
    }
}

fn getaddrinfo(name: &str) -> Result<Vec<SocketAddr>, LookupError> {
    let hints = AddrInfoHints { socktype: dns_lookup::SockType::Stream.into(), ..AddrInfoHints::default() };
    Ok(dns_lookup::getaddrinfo(Some(name), None, Some(hints))?
        .filter_map(Result::ok)
        .map(|info| info.sockaddr)
        .collect())
}

fn classify(host: String, error: LookupError) -> ResolveError {
    match error.kind() {
        LookupErrorKind::NoName => ResolveError::NotFound(host),
        LookupErrorKind::NoData => ResolveError::NoAddress { host, family: "IP" },
        _ => ResolveError::Failed { host, source: error.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(preferred: IpFamily, fallback: bool) -> IpPreference {
        IpPreference { preferred, fallback }
    }

    #[test]
    fn chooses_like_blackbox_in_every_mode_on_every_kind_of_host() {
        use IpFamily::{V4, V6};
        let (a4, b4): (SocketAddr, SocketAddr) = ("192.0.2.1:0".parse().unwrap(), "192.0.2.2:0".parse().unwrap());
        let (a6, b6): (SocketAddr, SocketAddr) =
            ("[2001:db8::1]:0".parse().unwrap(), "[2001:db8::2]:0".parse().unwrap());
        let both = [a4, a6, b4, b6];
        let cases: [(&[SocketAddr], IpFamily, bool, Option<SocketAddr>); 9] = [
            (&both, V4, true, Some(a4)),
            (&both, V6, true, Some(a6)),
            (&both, V4, false, Some(a4)),
            (&both, V6, false, Some(a6)),
            (&[a4, b4], V6, true, Some(b4)),
            (&[a4, b4], V6, false, None),
            (&[a6, b6], V4, true, Some(b6)),
            (&[a6, b6], V4, false, None),
            (&[], V4, true, None),
        ];
        for (found, preferred, fallback, expected) in cases {
            assert_eq!(choose(found, preference(preferred, fallback)), expected, "{found:?} {preferred:?} {fallback}");
        }
    }

    #[tokio::test]
    async fn literals_and_special_use_names_need_no_resolver() {
        let v4 = preference(IpFamily::V4, true);
        let site = resolve(&Host::Name("shop.localhost".into()), v4).await.unwrap();
        assert_eq!(site.chosen.ip(), IpAddr::from(Ipv4Addr::LOCALHOST));
        let v6 = resolve(&Host::Name("shop.localhost".into()), preference(IpFamily::V6, false)).await.unwrap();
        assert_eq!(v6.chosen.ip(), IpAddr::from(Ipv6Addr::LOCALHOST));
        let nowhere = resolve(&Host::Name("shop.invalid".into()), v4).await.unwrap_err();
        assert_eq!(nowhere.reason(), Reason::NameNotFound);
        let literal = resolve(&Host::Ip("192.0.2.7".parse().unwrap()), preference(IpFamily::V6, false)).await;
        assert_eq!(literal.unwrap_err().reason(), Reason::NoAddress);
    }
}
