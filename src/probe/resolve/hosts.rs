//! The system's hosts file, for resolvers with servers of their own: a name in, its addresses out (hosts(5)).
//!
//! Read again when it has changed. A file that is not there holds nothing.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read},
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Of a longer file the rest is not looked at.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// A hosts file, as it was when it last changed.
#[derive(Debug)]
pub(super) struct Hosts {
    path: PathBuf,
    read: Mutex<(Option<Stamp>, Arc<Names>)>,
}

type Names = HashMap<String, Vec<IpAddr>>;

/// What differs when a file was changed.
type Stamp = (SystemTime, u64);

impl Hosts {
    /// The system's.
    pub(super) fn of_system() -> Self {
        Self::at("/etc/hosts".into())
    }

    fn at(path: PathBuf) -> Self {
        Self { path, read: Mutex::default() }
    }

    /// The addresses of `name`; empty when the file does not have it.
    pub(super) fn find(&self, name: &str) -> Vec<IpAddr> {
        self.names().get(&name.to_ascii_lowercase()).cloned().unwrap_or_default()
    }

    fn names(&self) -> Arc<Names> {
        let stamp = std::fs::metadata(&self.path).and_then(|about| Ok((about.modified()?, about.len()))).ok();
        // A panic elsewhere cannot leave the pair half changed.
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0 != stamp {
            let text = self.text().unwrap_or_default();
            *read = (stamp, Arc::new(parse(&text)));
        }
        Arc::clone(&read.1)
    }

    fn text(&self) -> io::Result<String> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

fn parse(text: &str) -> Names {
    let mut names = Names::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(ip) = words.next().and_then(|word| word.parse::<IpAddr>().ok()) else { continue };
        for name in words {
            names.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default().push(ip);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn names_and_aliases_are_found_in_any_case_and_changes_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let hosts = Hosts::at(path.clone());
        assert!(hosts.find("shop.test").is_empty(), "a file that is not there");
        fs::write(
            &path,
            "# shop.test\n192.0.2.1 shop.test Www.Shop.test. # 192.0.2.9 x\n::1\tshop.test\nx shop.test\n",
        )
        .unwrap();
        let found = |name: &str| hosts.find(name).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found("SHOP.test"), ["192.0.2.1", "::1"]);
        assert_eq!(found("www.shop.test"), ["192.0.2.1"]);
        assert!(found("x").is_empty() && found("192.0.2.1").is_empty());
        fs::write(&path, "192.0.2.22 shop.test\n").unwrap();
        assert_eq!(found("shop.test"), ["192.0.2.22"]);
        fs::remove_file(&path).unwrap();
        assert!(found("shop.test").is_empty());
    }
}
