//! A fan-out for a person: a line per edge, so that the odd one out is seen, then each edge's own page.

use super::{chain, human, json, text::millis, text::visible, unix_seconds, utc};
use crate::model::{FanReport, ProbeReport};
use serde_json::{Value, json as object};
use std::fmt::Write as _;

/// Hex digits of a fingerprint that are enough to tell two apart.
const FINGERPRINT: usize = 16;

/// What happened at each edge.
pub fn fan(report: &FanReport) -> String {
    let facts = report.facts();
    let verdict = if facts.success { "ok" } else { "FAILED" };
    let mut out = format!("{verdict}  {} of {} edges succeeded", facts.edges - facts.failing, facts.edges);
    let _ = write!(out, " (success when: {})", report.success_when.as_str());
    if facts.certificates > 1 {
        let _ = write!(out, ", {} different certificates", facts.certificates);
    }
    if facts.left_out > 0 {
        let _ = write!(out, ", {} addresses left out", facts.left_out);
    }
    out.push_str("\n\n");
    let width = report.edges.iter().map(|(edge, _)| edge.len()).max().unwrap_or(0);
    for (edge, report) in &report.edges {
        let _ = writeln!(out, "  {edge:width$}  {}", line(report));
    }
    for (edge, report) in &report.edges {
        let _ = write!(out, "\n=== {edge}\n{}", human(report));
    }
    report.failed.iter().fold(out, |out, failed| out + &human(failed))
}

/// Verdict, time and certificate in one line.
fn line(report: &ProbeReport) -> String {
    let verdict = report.failure.as_ref().map_or("ok".into(), |f| format!("FAILED {}: {}", f.phase, f.reason));
    let leaf = report.tls().and_then(|tls| tls.chain.first()).filter(|leaf| !leaf.unreadable);
    let certificate = leaf.map_or_else(
        || "no certificate".to_owned(),
        |leaf| {
            let left = chain::remaining(leaf, unix_seconds(report.started));
            let fingerprint = leaf.fingerprint_sha256.get(..FINGERPRINT).unwrap_or_default();
            format!("certificate {fingerprint} until {} ({left})", &utc(leaf.not_after)[..10])
        },
    );
    format!("{verdict}, {}, {}", millis(report.elapsed), visible(&certificate))
}

/// The same as JSON: the roll-ups, and the whole report of each edge.
pub fn fan_json(report: &FanReport) -> Value {
    let facts = report.facts();
    object!({
        "success": facts.success,
        "success_when": report.success_when.as_str(),
        "edges_failing": facts.failing,
        "edges_left_out": facts.left_out,
        "certificates_distinct": facts.certificates,
        "failed": report.failed.as_deref().map(json),
        "edges": report.edges.iter().map(|(edge, found)| object!({report.label: edge, "report": json(found)})).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::model::{Phase, Reason, SuccessWhen};
    use std::sync::Arc;

    #[test]
    fn the_odd_one_out_is_seen() {
        let failed = fixture::failed(Phase::Connect, Reason::Refused);
        let edges = [("192.0.2.7", fixture::success()), ("2001:db8::1", failed)];
        let report = FanReport {
            label: "edge",
            edges: edges.map(|(edge, report)| (edge.to_owned(), Arc::new(report))).into(),
            failed: None,
            left_out: 1,
            success_when: SuccessWhen::Quorum,
        };
        let shown = fan(&report);
        assert!(
            shown.starts_with("FAILED  1 of 2 edges succeeded (success when: quorum), 1 addresses left out\n"),
            "{shown}"
        );
        assert!(
            shown.contains("\n  192.0.2.7    ok, ") && shown.contains("\n  2001:db8::1  FAILED connect: refused, ")
        );
        assert!(shown.contains("\n=== 2001:db8::1\nFAILED connect: refused"), "{shown}");
        let json = fan_json(&report);
        assert_eq!((&json["success"], &json["edges"][1]["edge"]), (&false.into(), &"2001:db8::1".into()));
        assert_eq!(json["edges"][1]["report"]["failure"]["reason"], "refused");
    }
}
