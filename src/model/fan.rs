//! One target over several addresses: which ones, what came of each, and what that makes of the whole.

use super::{ConnectTo, ProbeReport};
use std::{collections::BTreeSet, sync::Arc};
use strum::{IntoStaticStr, VariantArray};

/// Edges probed at most; what a name has beyond them is left out, and counted.
pub const MAX_EDGES: usize = 64;

/// How a probe of one target fans out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FanOut {
    /// Over what.
    pub over: Over,
    /// When the whole counts as a success.
    pub success_when: SuccessWhen,
}

impl FanOut {
    /// What a request asks for: these edges (a single one is no fan-out), all addresses, or one of each family.
    pub fn asked(
        listed: Vec<ConnectTo>,
        all: bool,
        families: bool,
        success_when: SuccessWhen,
    ) -> Result<Option<Self>, String> {
        if all && !listed.is_empty() {
            return Err("all addresses and edges to connect to exclude each other".into());
        }
        let mut each_once: Vec<ConnectTo> = Vec::new();
        for edge in listed {
            if !each_once.contains(&edge) {
                each_once.push(edge);
            }
        }
        let over = match each_once.len() {
            more if more > MAX_EDGES => return Err(format!("{more} edges to connect to, more than {MAX_EDGES}")),
            _ if all => Some(Over::Addresses),
            2.. => Some(Over::Listed(each_once.into())),
            _ => families.then_some(Over::Families),
        };
        Ok(over.map(|over| Self { over, success_when }))
    }
}

/// What a probe fans out over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Over {
    /// Every address of the name, of both families.
    Addresses,
    /// These, whatever the name's addresses are.
    Listed(Arc<[ConnectTo]>),
    /// One address of each family.
    Families,
}

impl Over {
    /// The label that tells the results apart.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Addresses | Self::Listed(_) => "edge",
            Self::Families => "ip_family",
        }
    }
}

/// When a fan-out counts as a success. Without any result it never does.
#[derive(Clone, Copy, Debug, Default, Eq, IntoStaticStr, PartialEq, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum SuccessWhen {
    /// Every edge succeeded.
    #[default]
    All,
    /// At least one did.
    Any,
    /// More than half of them did.
    Quorum,
}

impl SuccessWhen {
    /// The word used in the config and in requests.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The rule of this word.
    pub fn named(word: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|rule| rule.as_str() == word)
    }

    fn holds(self, edges: usize, failing: usize) -> bool {
        let good = edges - failing;
        match self {
            Self::All => edges > 0 && failing == 0,
            Self::Any => good > 0,
            Self::Quorum => good > edges / 2,
        }
    }
}

/// What came of a fan-out.
#[derive(Clone, Debug)]
pub struct FanReport {
    /// The label that tells the edges apart.
    pub label: &'static str,
    /// The value of that label and the report of each edge, in the order they were found.
    pub edges: Vec<(String, Arc<ProbeReport>)>,
    /// Why there are none: the report of the lookup that failed.
    pub failed: Option<Arc<ProbeReport>>,
    /// Addresses beyond the limit, which were not probed.
    pub left_out: usize,
    /// When the whole counts as a success.
    pub success_when: SuccessWhen,
}

/// The roll-ups of a fan-out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FanFacts {
    /// Edges that were probed.
    pub edges: usize,
    /// Those of them that failed.
    pub failing: usize,
    /// Different leaf certificates among those that sent one.
    pub certificates: usize,
    /// Addresses that were not probed.
    pub left_out: usize,
    /// Whether the rule for success holds.
    pub success: bool,
}

impl FanReport {
    /// The roll-ups.
    pub fn facts(&self) -> FanFacts {
        let edges = self.edges.len();
        let failing = self.edges.iter().filter(|(_, report)| !report.is_success()).count();
        let leaves = self.edges.iter().filter_map(|(_, report)| report.tls()?.chain.first());
        let certificates: BTreeSet<&str> = leaves.map(|leaf| leaf.fingerprint_sha256.as_str()).collect();
        FanFacts {
            edges,
            failing,
            certificates: certificates.len(),
            left_out: self.left_out,
            success: self.success_when.holds(edges, failing),
        }
    }

    /// Every report: of each edge, or of what failed before there were any.
    pub fn reports(&self) -> impl Iterator<Item = &Arc<ProbeReport>> {
        self.failed.iter().chain(self.edges.iter().map(|(_, report)| report))
    }
}

/// What came of a job, whether or not it fanned out.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// One probe.
    One(Arc<ProbeReport>),
    /// One per edge.
    Fan(FanReport),
}

impl Outcome {
    /// Every report.
    pub fn reports(&self) -> impl Iterator<Item = &Arc<ProbeReport>> {
        let (one, fan) = match self {
            Self::One(report) => (Some(report), None),
            Self::Fan(fan) => (None, Some(fan.reports())),
        };
        one.into_iter().chain(fan.into_iter().flatten())
    }

    /// Whether it counts as a success.
    pub fn is_success(&self) -> bool {
        match self {
            Self::One(report) => report.is_success(),
            Self::Fan(fan) => fan.facts().success,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_of_success() {
        use SuccessWhen::{All, Any, Quorum};
        for (edges, failing, expected) in [
            (0, 0, [false, false, false]),
            (1, 0, [true, true, true]),
            (1, 1, [false, false, false]),
            (3, 1, [false, true, true]),
            (4, 2, [false, true, false]),
            (3, 2, [false, true, false]),
        ] {
            assert_eq!([All, Any, Quorum].map(|rule| rule.holds(edges, failing)), expected, "{failing} of {edges}");
        }
        assert_eq!(SuccessWhen::named("quorum"), Some(Quorum));
        assert_eq!(SuccessWhen::named("most"), None);
    }
}
