//! Reports in, exposition out.
//!
//! Every metric is one entry of the [`CATALOGUE`]: its name, its help and how to read it from a report. A page is built
//! anew for each scrape from the rows it is given, so nothing outlives its target. Knows neither how a probe is done nor
//! how a page is served.

mod catalogue;
#[cfg(test)]
mod docs;
mod exposition;
#[cfg(test)]
mod fixtures;
mod format;
#[cfg(test)]
mod golden;
mod own;
mod samples;

pub use catalogue::{CATALOGUE, Kind, Metric, Read};
pub use exposition::{of_outcome, render, to_text};
pub use format::Format;
pub use own::{Own, Process};
pub use samples::{Samples, Value};

use crate::model::{CertificateWatch, FanFacts, HoldTally, ProbeReport, Tally};
use std::time::{Duration, SystemTime};

/// One probed target on a page, or one edge of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row<'a> {
    /// Labels that every sample of this row starts with; none on `/probe`.
    pub labels: &'a [(String, String)],
    /// What the latest probe found; `None` before the first one.
    pub report: Option<&'a ProbeReport>,
    /// What only a scheduled series has.
    pub series: Option<SeriesFacts<'a>>,
    /// The roll-ups, on the row of a target that fans out.
    pub fan: Option<FanFacts>,
}

/// The running facts of a scheduled series.
#[derive(Clone, Copy, Debug)]
pub struct SeriesFacts<'a> {
    /// Totals of all its runs.
    pub tally: &'a Tally,
    /// The leaf certificates its runs saw.
    pub certificate: &'a CertificateWatch,
    /// How often it runs.
    pub interval: Duration,
    /// How late its latest run started.
    pub lag: Duration,
    /// When its latest finished run began.
    pub last_run: Option<SystemTime>,
    /// Its connections, where it holds them.
    pub hold: Option<&'a HoldTally>,
}
