//! The trust stores in use, for the status page and the exporter's own metrics.

use super::ModuleName;
use std::time::SystemTime;

/// A set of trusted roots, as it was loaded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustFacts {
    /// `system`, `embedded`, the path of a file or folder, or `module NAME` for roots that stand in the config.
    pub store: String,
    /// The modules that trust it, by name.
    pub modules: Vec<ModuleName>,
    /// How many roots it holds.
    pub certificates: usize,
    /// When the first and the last of its roots end, in Unix seconds; `None` where roots are stored without dates.
    pub ends: Option<(i64, i64)>,
    /// When it was read.
    pub loaded: SystemTime,
}
