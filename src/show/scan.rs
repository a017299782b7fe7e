//! What a scan found, as a table for a person and as JSON.

use super::text::visible;
use crate::model::{Answer, Finding, ScanFacts, TlsVersion};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// The scan as lines, each behind `indent`: versions, classes and groups with yes, no or unknown and why.
pub(super) fn lines(scan: &ScanFacts, indent: &str) -> String {
    let mut out = String::new();
    let mut line = |text: &str| writeln!(out, "{indent}{text}").expect("a String takes everything");
    let mut table = |title: &str, rows: Vec<(&str, &Finding)>| {
        if rows.is_empty() {
            return;
        }
        line(title);
        for (name, finding) in rows {
            line(&format!("  {name:<21}  {:<7}  {}", finding.answer, visible(&reason(finding))));
        }
    };
    table("versions", rows(&scan.versions));
    table("cipher classes, TLS 1.2 and older", rows(&scan.classes));
    table("groups", rows(&scan.groups));
    if let Some(list) = &scan.ciphers {
        line(if list.complete { "cipher suites" } else { "cipher suites (the server broke off: there may be more)" });
        for (version, cipher) in &list.accepted {
            line(&format!("  {version}  {cipher}"));
        }
    }
    for (name, value) in remarks(scan) {
        line(&format!("{name:<21}  {value}"));
    }
    out
}

/// The scan as JSON: names as keys.
pub(super) fn json(scan: &ScanFacts) -> Value {
    let table = |rows: Vec<(&str, &Finding)>| -> Value {
        let entry = |(name, finding): (&str, &Finding)| {
            let answer: &str = finding.answer.into();
            let confidence: &str = finding.confidence.into();
            (name.to_owned(), json!({"answer": answer, "confidence": confidence, "why": finding.why}))
        };
        rows.into_iter().map(entry).collect::<Map<_, _>>().into()
    };
    let suite = |(version, cipher): &(TlsVersion, &str)| json!({"version": version.to_string(), "cipher": cipher});
    json!({
        "versions": table(rows(&scan.versions)),
        "cipher_classes": table(rows(&scan.classes)),
        "groups": table(rows(&scan.groups)),
        "ciphers": scan.ciphers.as_ref().map(|list| list.accepted.iter().map(suite).collect::<Vec<_>>()),
        "ciphers_complete": scan.ciphers.as_ref().map(|list| list.complete),
        "big_hello": scan.big_hello.map(|result| result.to_string()),
        "downgrade_protected": scan.downgrade_protected,
        "client_cert_requested": scan.client_cert_requested,
        "chain_seen_in": scan.chain_version.map(|version| version.to_string()),
        "connections": scan.connections,
        "duration_seconds": scan.took.as_secs_f64(),
    })
}

/// Every finding by its kind and name.
pub(super) fn findings(scan: &ScanFacts) -> impl Iterator<Item = (&'static str, &str, &Finding)> {
    let of = |kind| move |(name, finding)| (kind, name, finding);
    let versions = rows(&scan.versions).into_iter().map(of("version"));
    let classes = rows(&scan.classes).into_iter().map(of("cipher_class"));
    versions.chain(classes).chain(rows(&scan.groups).into_iter().map(of("group")))
}

fn rows<K: Copy + Into<&'static str>>(findings: &[(K, Finding)]) -> Vec<(&'static str, &Finding)> {
    findings.iter().map(|(of, finding)| ((*of).into(), finding)).collect()
}

fn reason(finding: &Finding) -> String {
    match finding.answer {
        Answer::No => format!("{} ({} confidence)", finding.why, finding.confidence),
        _ => finding.why.clone(),
    }
}

fn remarks(scan: &ScanFacts) -> Vec<(&'static str, String)> {
    let yes_no = |known: bool| if known { "yes" } else { "no" }.to_owned();
    let mut remarks = Vec::new();
    remarks.extend(scan.big_hello.map(|result| ("large hello", result.to_string())));
    remarks.extend(scan.downgrade_protected.map(|known| ("downgrade protection", yes_no(known))));
    remarks.extend(scan.client_cert_requested.map(|known| ("asks for client cert", yes_no(known))));
    remarks.push(("connections", scan.connections.to_string()));
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BigHello, CipherClass, CipherList, Confidence, TlsGroup};

    fn scan() -> ScanFacts {
        let finding = |answer, confidence, why: &str| Finding { answer, confidence, why: why.into() };
        ScanFacts {
            versions: vec![
                (TlsVersion::Tls13, finding(Answer::Yes, Confidence::High, "it chose TLS_AES_128_GCM_SHA256")),
                (TlsVersion::Tls10, finding(Answer::No, Confidence::High, "alert 70 (protocol_version)")),
            ],
            classes: vec![(CipherClass::StaticRsa, Finding::unknown("it reset the connection\x1b without an answer"))],
            groups: vec![(
                TlsGroup::X25519MLKEM768,
                finding(Answer::No, Confidence::Medium, "twice: alert 40 (handshake_failure)"),
            )],
            big_hello: Some(BigHello::Ok),
            downgrade_protected: Some(true),
            ciphers: Some(CipherList {
                accepted: vec![(TlsVersion::Tls13, "TLS_AES_128_GCM_SHA256")],
                complete: false,
            }),
            connections: 21,
            ..ScanFacts::default()
        }
    }

    #[test]
    fn the_table_says_yes_no_or_unknown_and_why() {
        let expected = "\
versions
  TLS 1.3                yes      it chose TLS_AES_128_GCM_SHA256
  TLS 1.0                no       alert 70 (protocol_version) (high confidence)
cipher classes, TLS 1.2 and older
  static_rsa             unknown  it reset the connection\\u001b without an answer
groups
  X25519MLKEM768         no       twice: alert 40 (handshake_failure) (medium confidence)
cipher suites (the server broke off: there may be more)
  TLS 1.3  TLS_AES_128_GCM_SHA256
large hello            ok
downgrade protection   yes
connections            21
";
        assert_eq!(lines(&scan(), ""), expected);
    }

    #[test]
    fn json_has_every_finding_by_name() {
        let value = json(&scan());
        assert_eq!(value["versions"]["TLS 1.0"]["answer"], "no");
        assert_eq!(value["cipher_classes"]["static_rsa"]["answer"], "unknown");
        assert_eq!(value["groups"]["X25519MLKEM768"]["confidence"], "medium");
        assert_eq!(value["ciphers"][0]["cipher"], "TLS_AES_128_GCM_SHA256");
        assert_eq!((&value["ciphers_complete"], &value["big_hello"]), (&false.into(), &"ok".into()));
        assert_eq!(findings(&scan()).count(), 4);
    }
}
