//! Reports for a person: in goes a [`ProbeReport`], out comes text (or JSON) that says what happened, why, and what
//! to do.
//!
//! Pure: no I/O, no clock, no metric names. Whatever a peer supplied is made harmless before it is shown.

mod chain;
mod curl;
mod debug;
mod fan;
mod human;
mod json;
mod names;
mod proxy;
mod remedy;
mod resolver;
mod scan;
mod text;
mod time;

pub use curl::curl;
pub use debug::{LogFormat, certificate_change, debug};
pub use fan::{fan, fan_json};
pub use human::human;
pub use json::json;
pub use remedy::remedy;
pub use text::visible;
pub use time::{days_left, rfc3339, unix_seconds, utc};

use crate::model::ProbeReport;

/// The one line that says it all: `ok`, or `FAILED` with phase and reason, then what was probed and how long it took.
pub fn verdict_line(report: &ProbeReport) -> String {
    let verdict = report.failure.as_ref().map_or("ok".into(), |f| format!("FAILED {}: {}", f.phase, f.reason));
    let target = report.job.shown_target();
    format!("{verdict}  {}  module {}, {}", visible(&target), report.module.name, text::millis(report.elapsed))
}

#[cfg(test)]
mod fixture;
