//! `SSLKEYLOGFILE`: the secrets of every handshake, for Wireshark. Only where the user has allowed it.

use rustls::{KeyLog, KeyLogFile};
use std::{env, fs::OpenOptions, os::unix::fs::OpenOptionsExt as _, sync::Arc};

/// The variable that names the file, as browsers and curl know it.
const VARIABLE: &str = "SSLKEYLOGFILE";

/// Where secrets go; `None` when the environment names no file. Warns, because whoever reads the file can read the probes.
pub(crate) fn key_log_of_environment() -> Option<Arc<dyn KeyLog>> {
    let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
        tracing::warn!("logging TLS secrets is allowed, but {VARIABLE} is not set");
        return None;
    };
    let file = path.to_string_lossy();
    // rustls opens the file too, in the same way, but does not tell us when it cannot.
    if let Err(error) = OpenOptions::new().append(true).create(true).mode(0o600).open(&path) {
        tracing::error!(%file, %error, "the file of {VARIABLE} cannot be written; no TLS secrets are logged");
        return None;
    }
    tracing::warn!(%file, "TLS secrets are logged: whoever reads this file can decrypt the probes");
    Some(Arc::new(KeyLogFile::new()))
}
