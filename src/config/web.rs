//! The web config file (`--web.config.file`), in the format of Prometheus' exporter-toolkit: YAML in, model out.
//!
//! Reads like the main config: unknown keys are refused and one run reports every problem. No certificate is opened here.

use super::error::{ConfigErrors, Findings};
use super::raw::Masked;
use super::{lower, read, tree};
use crate::model::WebConfig;
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// A valid web config.
#[derive(Debug)]
pub struct WebFile {
    /// What it says.
    pub config: WebConfig,
    lines: tree::Lines,
}

impl WebFile {
    /// The line of `path`, such as `tls_server_config.cert_file`, or of the nearest enclosing place.
    pub fn line_of(&self, path: &str) -> Option<usize> {
        self.lines.line_of(path)
    }
}

/// Reads the web config in `text`; `file` names it in errors, and relative paths start at its folder.
pub fn parse_web(text: &str, file: &Path) -> Result<WebFile, ConfigErrors> {
    let mut findings = Findings::default();
    let mut lines = tree::Lines::default();
    let tree = tree::parse(text, &mut findings);
    let raw = tree.and_then(|tree| {
        lines = tree::Lines::of(&tree);
        if tree.is_null() { None } else { read::read::<RawWeb>(tree, &mut findings) }
    });
    // An empty file is valid and protects nothing, as in exporter-toolkit.
    let config = lower::web(&raw.unwrap_or_default(), file.parent().unwrap_or(Path::new("")), &mut findings);
    if findings.is_empty() {
        return Ok(WebFile { config, lines });
    }
    let errors = findings.into_errors(|path| lines.line_of(path));
    Err(ConfigErrors { file: file.display().to_string(), errors })
}

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWeb {
    pub(super) tls_server_config: Option<RawWebTls>,
    pub(super) http_server_config: Option<RawWebHttp>,
    pub(super) basic_auth_users: Option<BTreeMap<String, Masked>>,
    pub(super) rate_limit: Option<RawRateLimit>,
}

/// The `tls_server_config` block.
#[derive(Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebTls {
    pub(super) cert: Option<String>,
    pub(super) cert_file: Option<String>,
    pub(super) key: Option<Masked>,
    pub(super) key_file: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) client_ca_file: Option<String>,
    pub(super) client_auth_type: Option<String>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
    pub(super) min_version: Option<String>,
    pub(super) max_version: Option<String>,
    pub(super) cipher_suites: Option<Vec<String>>,
    pub(super) prefer_server_cipher_suites: Option<bool>,
    pub(super) curve_preferences: Option<Vec<String>>,
}

/// The `http_server_config` block.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWebHttp {
    pub(super) http2: Option<bool>,
    pub(super) headers: Option<BTreeMap<String, String>>,
}

/// The `rate_limit` block.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRateLimit {
    pub(super) interval: Option<String>,
    pub(super) burst: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::super::tests::files;
    use super::*;
    use std::fs;

    const CANARY: &str = "hunter2";

    #[test]
    fn every_shipped_and_every_good_web_config_loads() {
        let mut paths = files("tests/configs/web/good");
        paths.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/web-config.yml"));
        for path in paths {
            let web = parse_web(&fs::read_to_string(&path).unwrap(), &path).unwrap_or_else(|e| panic!("{e}"));
            assert!(!format!("{web:?}").contains(CANARY), "{web:?}");
        }
    }

    /// Each bad file has its messages beside it, in a file that ends in `.err`.
    #[test]
    fn every_bad_web_config_is_refused_with_the_messages_beside_it() {
        for path in files("tests/configs/web/bad") {
            let name = Path::new(path.file_name().unwrap());
            let found = parse_web(&fs::read_to_string(&path).unwrap(), name).err();
            let found = found.unwrap_or_else(|| panic!("{} loads", name.display())).to_string();
            let expected = fs::read_to_string(path.with_extension("err")).unwrap_or_default();
            assert_eq!(found.trim_end(), expected.trim_end(), "\n{} says now:\n{found}\n", name.display());
            assert!(!found.contains(CANARY), "{found}");
        }
    }

    #[test]
    fn defaults_are_those_of_exporter_toolkit_and_paths_start_at_the_file() {
        let text = "tls_server_config: {cert_file: a.crt, key_file: /k/a.key}";
        let web = parse_web(text, Path::new("/etc/web/web.yml")).unwrap();
        assert!(web.config.http2 && web.config.users.is_empty() && web.config.rate_limit.is_none());
        let shown = format!("{:?}", web.config.tls.unwrap());
        for part in [
            "cert: File(\"/etc/web/a.crt\"), key: File(\"/k/a.key\"), client_auth: NoClientCert",
            "min_version: Tls12, max_version: Tls13, cipher_suites: [], prefer_server_cipher_suites: true",
        ] {
            assert!(shown.contains(part), "{shown}");
        }
        for open in ["", "{}", "tls_server_config:\n", "tls_server_config: {}"] {
            assert!(parse_web(open, Path::new("f")).unwrap().config.tls.is_none(), "{open}");
        }
    }

    #[test]
    fn the_reference_explains_every_key() {
        let reference = include_str!("../../docs/web-config.md");
        let fields = include_str!("web.rs").lines().filter_map(|line| line.trim().strip_prefix("pub(super) "));
        let keys: Vec<_> = fields.filter_map(|field| field.split_once(": Option<")).map(|(key, _)| key).collect();
        assert_eq!(keys.len(), 21);
        for key in keys {
            assert!(reference.contains(&format!("`{key}`")), "docs/web-config.md does not explain `{key}`");
        }
    }
}
