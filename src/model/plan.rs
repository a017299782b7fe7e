//! What a config asks for: how to probe, and what to probe on a schedule.

use super::{Access, Module, Series};
use std::sync::Arc;

/// Everything that an engine and a schedule are made of; replaced as a whole by a reload.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The modules, by name.
    pub modules: Vec<Arc<Module>>,
    /// What the scheduler runs, in file order.
    pub series: Vec<Series>,
    /// Who may ask for what, and where no probe connects.
    pub access: Access,
}
