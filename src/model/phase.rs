//! The steps of a probe, and how long each took.

use std::{fmt, time::Duration};
use strum::{IntoStaticStr, VariantArray};

/// One step of a probe. The words are `blackbox_exporter`'s `phase` label values, plus `token` and `proxy`.
#[derive(Clone, Copy, Debug, Eq, Hash, IntoStaticStr, Ord, PartialEq, PartialOrd, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// Asking for an OAuth 2.0 token, before anything of the target's own.
    Token,
    /// Reading the target and turning its name into addresses.
    Resolve,
    /// Opening the TCP connection.
    Connect,
    /// Reaching a proxy, from its name to its TLS, and asking it for a tunnel.
    Proxy,
    /// The TLS handshake and the verdict on the certificate.
    Tls,
    /// From the first byte of the request to the end of the response's headers (or of the WebSocket upgrade).
    Processing,
    /// Reading the body, or exchanging WebSocket messages.
    Transfer,
}

impl Phase {
    /// Every phase, in the order they run.
    pub const ALL: &'static [Self] = Self::VARIANTS;

    /// The word used in metrics, logs, pages and docs.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How long each phase took; a phase that was not reached has no time, which differs from a time of zero.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PhaseTimes([Option<Duration>; Phase::ALL.len()]);

impl PhaseTimes {
    /// The time spent in `phase`, or `None` when it was not reached.
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        self.0[phase as usize]
    }

    /// Adds to the time spent in `phase`.
    pub fn add(&mut self, phase: Phase, took: Duration) {
        let slot = &mut self.0[phase as usize];
        *slot = Some(slot.unwrap_or_default() + took);
    }

    /// Adds every phase of `other`, as when the hops of a redirect chain are summed.
    pub fn add_all(&mut self, other: &Self) {
        for (phase, took) in other.iter() {
            self.add(phase, took);
        }
    }

    /// The phases that were reached, in order, with their times.
    pub fn iter(&self) -> impl Iterator<Item = (Phase, Duration)> + '_ {
        Phase::ALL.iter().filter_map(|&phase| Some((phase, self.get(phase)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_over_hops_and_keeps_unreached_phases_absent() {
        let mut total = PhaseTimes::default();
        let mut hop = PhaseTimes::default();
        hop.add(Phase::Connect, Duration::from_millis(3));
        total.add_all(&hop);
        total.add_all(&hop);
        assert_eq!(total.get(Phase::Connect), Some(Duration::from_millis(6)));
        assert_eq!(total.get(Phase::Tls), None);
        assert_eq!(total.iter().count(), 1);
    }
}
