//! How the presented certificates hang together, read off their names; and how a leaf changes over time.
//!
//! In: the certificates as sent. Out: what is odd about their order, and which certificate issued which. No signature is
//! checked here: that is the verdict's.

use super::{Certificate, ProbeReport};
use std::{collections::BTreeMap, time::SystemTime};

/// What a client may stumble over, or need not have been sent, in a presented chain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChainNotes {
    /// Whether each certificate comes after one that it certifies (RFC 5246 section 7.4.2), strays and repetitions aside.
    pub ordered: bool,
    /// Certificates that had been sent before in the same chain.
    pub duplicates: usize,
    /// Whether a root came along: clients have their own.
    pub root_sent: bool,
    /// Certificates that certify no other one of the chain.
    pub unused: usize,
}

impl ChainNotes {
    /// Of a chain as sent, leaf first.
    pub fn of(chain: &[Certificate]) -> Self {
        let is_repeated = |at: usize| chain[..at].iter().any(|c| c.fingerprint_sha256 == chain[at].fingerprint_sha256);
        let repeated: Vec<bool> = (0..chain.len()).map(is_repeated).collect();
        let used = issuers(chain);
        let once = (1..chain.len()).filter(|&at| !repeated[at]);
        let (linked, strays): (Vec<usize>, Vec<usize>) = once.partition(|at| used.contains(at));
        let follows = |at: &usize| chain[..*at].iter().any(|below| is_issued_by(below, &chain[*at]));
        Self {
            ordered: linked.iter().all(follows),
            duplicates: repeated.iter().filter(|&&repeated| repeated).count(),
            root_sent: chain.iter().skip(1).any(|c| c.self_signed),
            unused: strays.len(),
        }
    }
}

/// The positions of all certificates that the leaf's issuer, its issuer and so on may be, in the order they are found; the
/// leaf itself is not among them.
pub fn issuers(chain: &[Certificate]) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    let mut below: Vec<usize> = (0..chain.len().min(1)).collect();
    while let Some(at) = below.pop() {
        for (issuer, candidate) in chain.iter().enumerate().skip(1) {
            if is_issued_by(&chain[at], candidate) && !found.contains(&issuer) {
                found.push(issuer);
                below.insert(0, issuer);
            }
        }
    }
    found
}

/// Whether `issuer` may be the issuer of `certificate`, by their names. A root is its own and nobody else's certificate is
/// above it.
fn is_issued_by(certificate: &Certificate, issuer: &Certificate) -> bool {
    !certificate.unreadable
        && !issuer.unreadable
        && !certificate.self_signed
        && certificate.issuer == issuer.subject
        && certificate.fingerprint_sha256 != issuer.fingerprint_sha256
}

/// The leaf certificates that a series' servers showed, by name, and how often one was replaced.
#[derive(Clone, Debug, Default)]
pub struct CertificateWatch {
    seen: BTreeMap<String, String>,
    /// How often a name showed another leaf certificate than in an earlier run.
    pub changes: u64,
    /// The latest of these changes.
    pub last: Option<CertificateChange>,
}

/// A leaf certificate took the place of another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateChange {
    /// The name it was shown for.
    pub server_name: String,
    /// SHA-256 of the one before.
    pub previous: String,
    /// SHA-256 of the new one.
    pub current: String,
    /// When the run began that saw it first.
    pub at: SystemTime,
}

impl CertificateWatch {
    /// Names remembered at most: redirects may lead anywhere.
    const MAX_NAMES: usize = 16;

    /// Takes note of a report's leaf certificates. One that is seen for the first time is no change, and a hop that showed
    /// none leaves what is known as it is.
    pub fn see(&mut self, report: &ProbeReport) {
        for tls in report.hops.iter().filter_map(|hop| hop.tls.as_ref()) {
            let Some(leaf) = tls.chain.first() else { continue };
            let current = leaf.fingerprint_sha256.clone();
            if self.seen.len() >= Self::MAX_NAMES && !self.seen.contains_key(&tls.server_name) {
                continue;
            }
            let previous = self.seen.insert(tls.server_name.clone(), current.clone());
            if let Some(previous) = previous.filter(|previous| *previous != current) {
                self.changes += 1;
                let server_name = tls.server_name.clone();
                self.last = Some(CertificateChange { server_name, previous, current, at: report.started });
            }
        }
    }

    /// Whether any certificate was seen yet.
    pub fn has_seen(&self) -> bool {
        !self.seen.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(subject: &str, issuer: &str) -> Certificate {
        Certificate {
            subject: subject.into(),
            issuer: issuer.into(),
            fingerprint_sha256: format!("{subject} by {issuer}"),
            self_issued: subject == issuer,
            self_signed: subject == issuer,
            ..Certificate::default()
        }
    }

    /// A chain written as `leaf/A A/B B/B`: subject and issuer of each.
    fn chain(text: &str) -> Vec<Certificate> {
        text.split_whitespace().map(|c| c.split_once('/').unwrap()).map(|(s, i)| certificate(s, i)).collect()
    }

    #[test]
    fn oddities_are_told_apart() {
        let notes = |ordered, duplicates, root_sent, unused| ChainNotes { ordered, duplicates, root_sent, unused };
        for (text, expected) in [
            ("", notes(true, 0, false, 0)),
            ("leaf/A", notes(true, 0, false, 0)),
            ("leaf/leaf", notes(true, 0, false, 0)),
            ("leaf/A A/B", notes(true, 0, false, 0)),
            ("leaf/A A/B B/B", notes(true, 0, true, 0)),
            ("leaf/A B/C A/B", notes(false, 0, false, 0)),
            ("leaf/A A/B A/B leaf/A", notes(true, 2, false, 0)),
            ("leaf/A A/B X/Y", notes(true, 0, false, 1)),
            ("leaf/A R/R", notes(true, 0, true, 1)),
            ("leaf/A A/B A/C", notes(true, 0, false, 0)),
            ("leaf/A A/B B/A", notes(true, 0, false, 0)),
            ("leaf/leaf A/B", notes(true, 0, false, 1)),
        ] {
            assert_eq!(ChainNotes::of(&chain(text)), expected, "{text}");
        }
    }

    #[test]
    fn every_issuer_is_found_once_nearest_first() {
        assert_eq!(issuers(&chain("leaf/A B/C A/B A/D D/D C/C X/A")), [2, 3, 1, 4, 5]);
        assert_eq!(issuers(&chain("leaf/A A/B B/A")), [1, 2]);
        assert!(issuers(&[]).is_empty());
    }

    #[test]
    fn what_cannot_be_read_links_to_nothing() {
        let unreadable = || Certificate { unreadable: true, ..Certificate::default() };
        assert!(issuers(&[unreadable(), unreadable()]).is_empty());
    }
}
