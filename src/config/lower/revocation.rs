//! The `revocation` block of `tls_config`.

use super::super::error::{At, Findings, wrong};
use super::super::raw::RawRevocation;
use super::super::value;
use super::{each, optional};
use crate::model::RevocationPolicy;
use std::{path::PathBuf, time::Duration};

/// Shorter ages would ask the CA with every probe.
const SHORTEST_AGE: Duration = Duration::from_secs(60);

/// The policy of the block at `at`.
pub(super) fn block(raw: &RawRevocation, at: &At, findings: &mut Findings) -> RevocationPolicy {
    let default = RevocationPolicy::default();
    let mut online = |key: &str, text: Option<&String>| optional(findings, &at.key(key), text, value::online);
    let (ocsp, crl) = (online("ocsp", raw.ocsp.as_ref()), online("crl", raw.crl.as_ref()));
    let age = at.key("max_age");
    let max_age = optional(findings, &age, raw.max_age.as_ref(), value::duration);
    if max_age.is_some_and(|age| age < SHORTEST_AGE) {
        findings.add(&age, wrong("answers would be kept for less than a minute", "write 1m or more"));
    }
    let crl_files = each(findings, &at.key("crl_files"), raw.crl_files.as_ref(), |path| {
        if path.is_empty() { Err(wrong("an empty path", "name a file, or remove the entry")) } else { Ok(path.into()) }
    });
    RevocationPolicy {
        require_staple: raw.require_staple.unwrap_or_default(),
        ocsp: ocsp.unwrap_or_default(),
        crl: crl.unwrap_or_default(),
        crl_files: crl_files.into_iter().collect::<Vec<PathBuf>>(),
        max_age: max_age.unwrap_or(default.max_age),
        allow_private: raw.allow_private.unwrap_or_default(),
    }
}
