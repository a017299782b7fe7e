//! A WebSocket that a job keeps open: what became of its connections.

use super::Reason;
use std::{collections::BTreeMap, time::Duration};

/// What happened to a held connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HoldEvent {
    /// A probe opened it.
    Opened,
    /// It was kept as long as wanted, or until a reload, and closed by us.
    Completed {
        /// How long it had lived.
        lived: Duration,
    },
    /// It ended otherwise.
    Dropped {
        /// Why.
        reason: Reason,
        /// How long it had lived.
        lived: Duration,
        /// For how long nothing had come from the server: what idle connections are cut off after.
        idle: Duration,
    },
}

/// The connections of one series so far. They survive a reload that keeps the series.
#[derive(Clone, Debug, Default)]
pub struct HoldTally {
    /// Whether one is open.
    pub up: bool,
    /// How many were opened.
    pub opened: u64,
    /// How many were closed by us.
    pub completed: u64,
    /// How many ended otherwise, by why.
    pub dropped: BTreeMap<Reason, u64>,
    /// How long the last one that ended had lived.
    pub last_lifetime: Option<Duration>,
    /// For how long nothing had come when the last one was dropped.
    pub last_idle: Option<Duration>,
}

impl HoldTally {
    /// Counts what happened.
    pub fn add(&mut self, event: HoldEvent) {
        self.up = event == HoldEvent::Opened;
        match event {
            HoldEvent::Opened => self.opened += 1,
            HoldEvent::Completed { lived } => {
                self.completed += 1;
                self.last_lifetime = Some(lived);
            }
            HoldEvent::Dropped { reason, lived, idle } => {
                *self.dropped.entry(reason).or_default() += 1;
                (self.last_lifetime, self.last_idle) = (Some(lived), Some(idle));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_counted_once_and_the_last_end_is_remembered() {
        let (short, long) = (Duration::from_secs(3), Duration::from_secs(60));
        let mut tally = HoldTally::default();
        tally.add(HoldEvent::Opened);
        assert!(tally.up);
        tally.add(HoldEvent::Dropped { reason: Reason::Broken, lived: long, idle: short });
        tally.add(HoldEvent::Opened);
        tally.add(HoldEvent::Completed { lived: short });
        assert_eq!((tally.up, tally.opened, tally.completed, tally.dropped[&Reason::Broken]), (false, 2, 1, 1));
        assert_eq!((tally.last_lifetime, tally.last_idle), (Some(short), Some(short)));
    }
}
