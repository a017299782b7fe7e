//! The presented certificates and the verdict on them, as indented lines.

use super::{text::visible, time::days_left, time::utc};
use crate::model::{Certificate, CertificateChange, ChainNotes, CheckResult, RevocationFacts, TlsFacts, Verdict};
use std::fmt::Write as _;

/// More names of one certificate are counted, not listed.
const NAMES_SHOWN: usize = 12;

/// Every certificate, leaf first, each line behind `indent`. `now` is in Unix seconds.
pub(super) fn chain_lines(tls: &TlsFacts, now: i64, indent: &str) -> String {
    let mut out = String::new();
    for (position, certificate) in tls.chain.iter().enumerate() {
        let label = if position == 0 { "leaf".to_owned() } else { position.to_string() };
        if certificate.unreadable {
            line(&mut out, indent, &format!("{label:<5} (not a certificate that can be read)"));
            continue;
        }
        let title = match (certificate.self_signed, certificate.self_issued) {
            (true, _) => " (self-signed)",
            (false, true) => " (self-issued)",
            (false, false) => "",
        };
        line(&mut out, indent, &format!("{label:<5} {}{title}", or_none(&certificate.subject)));
        line(&mut out, indent, &format!("      issuer  {}", or_none(&certificate.issuer)));
        if let Some(names) = names(certificate) {
            line(&mut out, indent, &format!("      names   {names}"));
        }
        line(&mut out, indent, &format!("      valid   {}", validity(certificate, now)));
        let signature = &certificate.signature_algorithm;
        line(
            &mut out,
            indent,
            &format!("      key     {}, signed with {}", visible(&certificate.key), visible(signature)),
        );
        if !certificate.spki_sha256.is_empty() {
            line(&mut out, indent, &format!("      pin     sha256/{}", certificate.spki_sha256));
        }
        if let Some(newest) = certificate.sct_newest {
            line(&mut out, indent, &format!("      SCTs    {}, the newest of {}", certificate.sct_count, utc(newest)));
        }
    }
    for note in notes(&ChainNotes::of(&tls.chain)) {
        line(&mut out, indent, &format!("note  {note}"));
    }
    out
}

/// What is odd about the chain, and what to do about it. None of it makes the chain invalid.
fn notes(notes: &ChainNotes) -> Vec<String> {
    let (ChainNotes { duplicates, unused, .. }, mut all) = (notes, Vec::new());
    if !notes.ordered {
        all.push("the order is wrong: put each certificate right after the one that it certifies".to_owned());
    }
    if *duplicates > 0 {
        all.push(format!("{duplicates} of them are sent twice: remove the repetitions from the server's chain"));
    }
    if notes.root_sent {
        all.push("a root is sent: leave it out, clients use their own".into());
    }
    if *unused > 0 {
        all.push(format!("{unused} of them certify no other one: leave them out"));
    }
    all
}

/// The latest replacement of a series' leaf certificate, as a person wants it told.
pub(super) fn change_text(change: &CertificateChange) -> String {
    let CertificateChange { server_name, previous, current, at } = change;
    let (server_name, at) = (visible(server_name), utc(super::unix_seconds(*at)));
    format!("name:     {server_name}\nseen at:  {at}\nprevious: {previous}\ncurrent:  {current}\n")
}

/// Every check that was made, each fine or with its reason.
pub(super) fn verdict_lines(verdict: &Verdict, indent: &str) -> String {
    let mut out = String::new();
    let width = checks(verdict).map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, check) in checks(verdict) {
        let outcome = check.as_ref().err().map_or("ok".into(), |(reason, why)| format!("{reason}: {}", visible(why)));
        line(&mut out, indent, &format!("{name:<width$}  {outcome}"));
    }
    if verdict.failure().is_some() && verdict.refusal().is_none() {
        line(&mut out, indent, "          (ignored: the module has insecure_skip_verify)");
    }
    out
}

/// The checks that were made, by name, in the documented order.
pub(super) fn checks(verdict: &Verdict) -> impl Iterator<Item = (&'static str, &CheckResult)> {
    let always = [
        ("proof", &verdict.proof),
        ("validity", &verdict.validity),
        ("chain", &verdict.chain),
        ("name", &verdict.name),
    ];
    let on_request = [("revocation", verdict.revocation.as_ref()), ("pin", verdict.pin.as_ref())];
    always.into_iter().chain(on_request.into_iter().filter_map(|(name, check)| Some((name, check?))))
}

/// What was learned about revocation: one line per source, each with its name.
pub(super) fn revocation(facts: &RevocationFacts) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if facts.must_staple {
        lines.push(("must-staple", "the certificate demands a stapled OCSP response".to_owned()));
    }
    for (source, response) in facts.responses() {
        let name = if source == "staple" { "OCSP staple" } else { "OCSP responder" };
        let from = response.this_update.map(|from| format!(", from {}", utc(from)));
        let to = response.next_update.map(|to| format!(" to {}", utc(to)));
        let problem = Some(format!(": {}", response.problem)).filter(|_| !response.problem.is_empty());
        let parts = [Some(response.status.as_str().to_owned()), from, to, problem];
        lines.push((name, parts.into_iter().flatten().collect()));
    }
    if let Some(crl) = &facts.crl {
        let words = match crl.next_update {
            Some(next) => format!("covers the certificate, next one due {}", utc(next)),
            None => format!("no answer: {}", crl.problem),
        };
        lines.push(("CRL", words));
    }
    lines
}

/// The names a certificate is for, or `None` when it has none.
pub(super) fn names(certificate: &Certificate) -> Option<String> {
    let total = certificate.dns_names.len() + certificate.ip_addresses.len();
    let addresses = certificate.ip_addresses.iter().map(ToString::to_string);
    let shown: Vec<String> = certificate.dns_names.iter().cloned().chain(addresses).take(NAMES_SHOWN).collect();
    let more = if total > shown.len() { format!(" and {} more", total - shown.len()) } else { String::new() };
    (total > 0).then(|| format!("{}{more}", visible(&shown.join(", "))))
}

/// `29 days left`, `expired 3 days ago`, `not valid for another 4 days`.
pub(super) fn remaining(certificate: &Certificate, now: i64) -> String {
    let left = days_left(certificate.not_after, now);
    if certificate.not_before > now {
        format!("not valid for another {}", days(days_left(certificate.not_before, now) + 1))
    } else if left < 0 {
        // Counted from the end on, so that 25 hours after it is 1 day ago.
        format!("expired {} ago", days(days_left(now, certificate.not_after)))
    } else {
        format!("{} left", days(left))
    }
}

/// When our own client certificate ends.
pub(super) fn own_certificate(not_after: i64, now: i64) -> String {
    let own = Certificate { not_before: i64::MIN, not_after, ..Certificate::default() };
    format!("ours ends on {}: {}", utc(not_after), remaining(&own, now))
}

fn validity(certificate: &Certificate, now: i64) -> String {
    let (from, to) = (utc(certificate.not_before), utc(certificate.not_after));
    let used =
        share_used(certificate, now).map(|percent| format!(", {percent} % of its life used")).unwrap_or_default();
    format!("{from} to {to}: {}{used}", remaining(certificate, now))
}

/// How much of its life a certificate has behind it, in whole percent; `None` before and after.
fn share_used(certificate: &Certificate, now: i64) -> Option<i64> {
    let (from, to) = (certificate.not_before, certificate.not_after);
    let (used, life) = (now.checked_sub(from)?, to.checked_sub(from)?);
    (life > 0 && (0..=life).contains(&used)).then(|| used.saturating_mul(100) / life)
}

fn days(count: i64) -> String {
    match count {
        0 => "less than a day".into(),
        1 => "1 day".into(),
        count => format!("{count} days"),
    }
}

fn or_none(name: &str) -> std::borrow::Cow<'_, str> {
    if name.is_empty() { "(empty)".into() } else { visible(name) }
}

fn line(out: &mut String, indent: &str, text: &str) {
    writeln!(out, "{indent}{text}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn oddities_of_the_chain_are_told_with_their_remedy() {
        let leaf = Certificate { sct_count: 2, sct_newest: Some(fixture::NOW), ..fixture::certificate() };
        let root = Certificate {
            subject: "CN=Example CA".into(),
            issuer: "CN=Example CA".into(),
            fingerprint_sha256: "07".into(),
            self_issued: true,
            self_signed: true,
            ..fixture::certificate()
        };
        let unreadable = Certificate { unreadable: true, fingerprint_sha256: "08".into(), ..Certificate::default() };
        let chain = vec![leaf, root.clone(), root, unreadable].into();
        let lines = chain_lines(&TlsFacts { chain, ..TlsFacts::default() }, fixture::NOW, "");
        for part in [
            "2026-01-22 00:00:00 UTC: 20 days left, 33 % of its life used\n",
            "      SCTs    2, the newest of 2026-01-02 00:00:00 UTC\n",
            "1     CN=Example CA (self-signed)\n",
            "3     (not a certificate that can be read)\n",
            "note  1 of them are sent twice",
            "note  a root is sent",
            "note  1 of them certify no other one",
        ] {
            assert!(lines.contains(part), "{part} is missing in:\n{lines}");
        }
        assert!(!lines.contains("order"), "{lines}");
    }

    #[test]
    fn dates_at_the_edges_have_no_share() {
        let of =
            |from, to, now| share_used(&Certificate { not_before: from, not_after: to, ..Certificate::default() }, now);
        assert_eq!(of(0, 100, 50), Some(50));
        assert_eq!((of(0, 100, -1), of(0, 100, 101), of(7, 7, 7), of(9, 7, 8)), (None, None, None, None));
        assert_eq!(of(i64::MIN, i64::MAX, 0), None);
    }
}
