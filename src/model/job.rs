//! One probe to run, and the series that the scheduler runs again and again.

use super::{FanOut, IpFamily, ModuleName, Reason, ResolverSettings, Site, TargetRule, mask_credentials};
use std::{borrow::Cow, fmt, net::IpAddr, sync::Arc, time::Duration};

/// Label names that a job's own labels must not use, because the exporter's metrics do.
pub const RESERVED_LABELS: &[&str] = &[
    "job",
    "instance",
    "module",
    "edge",
    "family",
    "phase",
    "reason",
    "check",
    "position",
    "version",
    "cipher",
    "group",
    "protocol",
    "class",
    "result",
    "subprotocol",
    "fingerprint_sha256",
    "subject",
    "issuer",
    "subjectalternative",
    "serialnumber",
    "source",
    "status",
    "key",
    "signature_algorithm",
    "kind",
    "header",
    "le",
    "quantile",
    "ip_family",
];

/// One probe: which module, which target. `/probe`, the scheduler and the command line all make one of these.
#[derive(Clone)]
pub struct Job {
    /// The module that says how to probe.
    pub module: ModuleName,
    /// The target as the user wrote it. May hold credentials: show it through [`Job::shown_target`] only.
    pub target: Arc<str>,
    /// What is said about the site apart from the target; wins over what the module says.
    pub site: Site,
    /// Only targets that one of these admits, redirects included; any if `None`.
    pub within: Option<Arc<[TargetRule]>>,
    /// The address to dial, one of those that the name was found to have; looked up if `None`.
    pub address: Option<IpAddr>,
    /// Only addresses of this family; those the module prefers if `None`.
    pub family: Option<IpFamily>,
    /// How names are turned into addresses, in place of what the module says.
    pub resolver: Option<Arc<ResolverSettings>>,
    /// When to try again.
    pub retry: Retry,
}

impl Job {
    /// One attempt at `target`, with what the module says about the site.
    pub fn new(module: ModuleName, target: impl Into<Arc<str>>) -> Self {
        Self {
            module,
            target: target.into(),
            site: Site::default(),
            within: None,
            address: None,
            family: None,
            resolver: None,
            retry: Retry::NONE,
        }
    }

    /// Whom it dials, where that is not left to the target's name.
    pub fn edge(&self) -> Option<String> {
        let listed = || self.site.connect_to.as_ref().map(ToString::to_string);
        self.address.map(|ip| ip.to_string()).or_else(listed)
    }

    /// The target as it may be shown: its password, if any, masked.
    pub fn shown_target(&self) -> Cow<'_, str> {
        mask_credentials(&self.target)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("module", &self.module)
            .field("target", &self.shown_target())
            .field("site", &self.site)
            .field("within", &self.within)
            .field("address", &self.address)
            .field("family", &self.family)
            .field("resolver", &self.resolver)
            .field("retry", &self.retry)
            .finish()
    }
}

/// When a failed probe is tried again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Retry {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// The pause before the second attempt; doubles with each further one.
    pub backoff: Duration,
    /// The pause never exceeds this.
    pub max_backoff: Duration,
    /// Failures of these reasons; `None` means the transient ones ([`Reason::is_transient`]).
    pub on: Option<Arc<[Reason]>>,
    /// Retries per hundred first attempts that this job adds to what its destinations may get.
    pub budget_percent: u32,
}

impl Retry {
    /// One attempt: no retry.
    pub const NONE: Self =
        Self { attempts: 1, backoff: Duration::ZERO, max_backoff: Duration::ZERO, on: None, budget_percent: 0 };

    /// Whether a failure of this reason is tried again.
    pub fn is_for(&self, reason: Reason) -> bool {
        self.on.as_ref().map_or_else(|| reason.is_transient(), |on| on.contains(&reason))
    }
}

/// What tells one scheduled series from another: its labels on `/metrics`, in order.
///
/// `job`, `instance` and `module` come first, then `edge` when the job fans out, then the user's own by name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SeriesKey(pub Arc<[(String, String)]>);

impl SeriesKey {
    /// The labels.
    pub fn labels(&self) -> &[(String, String)] {
        &self.0
    }

    /// The same series' part that `label` tells apart: after the labels that every series has.
    #[must_use]
    pub fn with(&self, label: &str, value: &str) -> Self {
        let at = self.0.iter().position(|(name, _)| name == "module").map_or(self.0.len(), |at| at + 1);
        let (first, rest) = self.0.split_at(at);
        let own = [(label.to_owned(), value.to_owned())];
        Self(first.iter().cloned().chain(own).chain(rest.iter().cloned()).collect())
    }

    /// The value of one label, or an empty text.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
    }
}

/// One probe that the scheduler repeats.
#[derive(Clone, Debug)]
pub struct Series {
    /// Its identity.
    pub key: SeriesKey,
    /// What to run.
    pub job: Job,
    /// How often.
    pub interval: Duration,
    /// Over which addresses; one of them if `None`.
    pub fan: Option<FanOut>,
    /// For how long a WebSocket is kept open, to be pinged at each run; not at all if `None`.
    pub hold: Option<Duration>,
}
