//! Doors for the fuzzer to the readers of what strangers send, and the replay of what it found as ordinary tests.
//!
//! A door takes any bytes and must return: no panic, no hang, no unbounded memory.

/// One presented certificate.
pub fn certificate(data: &[u8]) {
    crate::probe::fuzzing::certificate(data);
}

/// The first bytes of a server's answer to a scan's hello.
pub fn hello(data: &[u8]) {
    crate::probe::fuzzing::hello(data);
}

/// One OCSP response.
pub fn ocsp(data: &[u8]) {
    crate::probe::fuzzing::ocsp(data);
}

/// One config file.
pub fn config(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        drop(crate::config::parse(text, "fuzz.yml"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A corpus folder's name, and its door.
    type Door = (&'static str, fn(&[u8]));

    const DOORS: &[Door] = &[("certificate", certificate), ("config", config), ("hello", hello), ("ocsp", ocsp)];

    #[test]
    fn every_corpus_is_taken_without_harm() {
        for (name, door) in DOORS {
            let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!files.is_empty(), "{} holds nothing to replay", folder.display());
            for file in files {
                door(&std::fs::read(&file).unwrap());
            }
        }
    }
}
