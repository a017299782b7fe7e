//! YAML in, model out: the config file, its errors, and the active config to print.
//!
//! Four steps: `tree` reads the YAML and keeps its lines, `read` fits it into the types of `raw`, `lower` gives
//! them meaning and fills in the defaults, `show` prints what came of it with secrets masked. No step ends at the first
//! problem, so one run reports them all. No file but the config itself is opened here.

mod error;
mod lower;
mod raw;
mod read;
mod show;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod web;

pub use error::{ConfigError, ConfigErrors};
pub use web::{WebFile, parse_web};

use crate::model::Plan;
use error::{At, Findings, wrong};
use std::{path::Path, sync::Arc};
use tree::Lines;

/// The config that runs when no file is given.
pub const DEFAULT: &str = include_str!("../../config/edgeprobe.yml");

/// A valid config.
#[derive(Debug)]
pub struct Config {
    /// What it asks for.
    pub plan: Plan,
    /// The active config: defaults filled in, secrets masked.
    pub yaml: Arc<str>,
    lines: Lines,
}

impl Config {
    /// The line of `path`, such as `modules.api.http.tls_config.ca_file`, or of the nearest enclosing place.
    pub fn line_of(&self, path: &str) -> Option<usize> {
        self.lines.line_of(path)
    }
}

/// Reads the config in the file at `path`.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| ConfigErrors::unreadable(&file, &error))?;
    parse(&text, &file)
}

/// Reads the config in `text`; `file` names it in errors.
pub fn parse(text: &str, file: &str) -> Result<Config, ConfigErrors> {
    let mut findings = Findings::default();
    let mut lines = Lines::default();
    let config = tree::parse(text, &mut findings).and_then(|tree| {
        lines = Lines::of(&tree);
        if tree.is_null() { None } else { config(tree, &mut findings) }
    });
    if config.is_none() && findings.is_empty() {
        let remedy = "write a `modules:` block, or leave the file out to use the embedded default";
        findings.add(&At::default(), wrong("the file is empty", remedy));
    }
    match config {
        Some(config) if findings.is_empty() => Ok(Config { lines, ..config }),
        _ => Err(ConfigErrors { file: file.to_owned(), errors: findings.into_errors(|path| lines.line_of(path)) }),
    }
}

fn config(tree: tree::Node, findings: &mut Findings) -> Option<Config> {
    let mut raw: raw::RawConfig = read::read(tree, findings)?;
    let plan = lower::config(&mut raw, findings);
    Some(Config { plan, yaml: show::yaml(&raw), lines: Lines::default() })
}
