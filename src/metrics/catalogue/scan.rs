//! What the `tls_scan` prober adds: each thing a server can accept as 1 or 0, or else as unknown.

use super::{Metric, Read, Read::Probe};
use crate::metrics::Samples;
use crate::model::{Answer, Finding, ProbeReport, ProberKind, ScanFacts};

pub(super) const METRICS: &[Metric] = &[
    gauge(
        "probe_tls_version_accepted",
        "Whether the server accepts the protocol version",
        Probe(|report, out| accepted(findings(report, |scan| &scan.versions), out)),
    )
    .note("`SSL 3.0` is asked for without a name, so it is the default host that answers")
    .labels(&["version"])
    .absent(UNKNOWN),
    gauge(
        "probe_tls_version_unknown",
        "Whether the scan could not tell if the protocol version is accepted",
        Probe(|report, out| unknown(findings(report, |scan| &scan.versions), out)),
    )
    .labels(&["version"])
    .absent(NO_SCAN),
    gauge(
        "probe_tls_cipher_class_accepted",
        "Whether the server accepts a cipher suite of the class in TLS 1.2 or older",
        Probe(|report, out| accepted(findings(report, |scan| &scan.classes), out)),
    )
    .note("`class` is `forward_secret_aead`, `forward_secret_cbc`, `static_rsa`, `3des`, `rc4_des` or, with `include_weak`, `null_anonymous_export`")
    .labels(&["class"])
    .absent(UNKNOWN),
    gauge(
        "probe_tls_cipher_class_unknown",
        "Whether the scan could not tell if the cipher class is accepted",
        Probe(|report, out| unknown(findings(report, |scan| &scan.classes), out)),
    )
    .labels(&["class"])
    .absent(NO_SCAN),
    gauge(
        "probe_tls_group_accepted",
        "Whether the server accepts the key exchange group",
        Probe(|report, out| accepted(findings(report, |scan| &scan.groups), out)),
    )
    .note("In TLS 1.3 if the server accepts it, else in its newest version")
    .labels(&["group"])
    .absent(UNKNOWN),
    gauge(
        "probe_tls_group_unknown",
        "Whether the scan could not tell if the key exchange group is accepted",
        Probe(|report, out| unknown(findings(report, |scan| &scan.groups), out)),
    )
    .labels(&["group"])
    .absent(NO_SCAN),
    gauge("probe_tls_cipher_accepted_info", "The cipher suites that the server accepts", Probe(ciphers))
        .labels(&["version", "cipher"])
        .absent("`list_ciphers` is not set, or nothing was accepted"),
    gauge(
        "probe_tls_scan_big_hello_info",
        "What becomes of a hello that does not fit into one packet",
        Probe(|report, out| out.info_known(report.scan().and_then(|scan| scan.big_hello).map(Into::into))),
    )
    .note("`result` is `ok`, `size_intolerant`, `split_intolerant`, `group_intolerant` or `unknown`")
    .labels(&["result"])
    .absent("the server does not answer a hello of TLS 1.3 and 1.2"),
    gauge(
        "probe_tls_scan_downgrade_protected",
        "Whether answers in an older version warn of TLS 1.3",
        Probe(|report, out| out.put_known(report.scan().and_then(|scan| scan.downgrade_protected))),
    )
    .absent("the server does not accept both TLS 1.3 and an older version"),
    gauge(
        "probe_tls_scan_client_cert_requested",
        "Whether the server asks for a client certificate in TLS 1.2 or older",
        Probe(|report, out| out.put_known(report.scan().and_then(|scan| scan.client_cert_requested))),
    )
    .absent("only TLS 1.3 is accepted, which hides it"),
    gauge(
        "probe_tls_scan_chain_unauthenticated_info",
        "The version in whose handshake the certificates were seen, without proof that the server holds their key",
        Probe(|report, out| {
            out.info_known(report.scan().and_then(|scan| scan.chain_version).map(Into::into));
        }),
    )
    .labels(&["version"])
    .absent("only TLS 1.3 is accepted, which hides the certificates"),
    gauge(
        "probe_tls_scan_connections",
        "Connections that the scan made",
        Probe(|report, out| out.put_known(report.scan().map(|scan| scan.connections))),
    )
    .absent(NO_SCAN),
    gauge("probe_tls_scan_duration_seconds", "Duration of the TLS scan by phase", Probe(super::phase_times))
        .labels(&["phase"])
        .absent("the phase was not reached"),
];

const UNKNOWN: &str = "it is unknown, or there was no scan";
const NO_SCAN: &str = "there was no scan: the failure says why";

const fn gauge(name: &'static str, help: &'static str, read: Read) -> Metric {
    Metric::gauge(name, help, read).only(ProberKind::TlsScan)
}

fn findings<K>(report: &ProbeReport, of: fn(&ScanFacts) -> &Vec<(K, Finding)>) -> &[(K, Finding)] {
    report.scan().map_or(&[], |scan| of(scan))
}

fn accepted<K: Copy + Into<&'static str>>(findings: &[(K, Finding)], out: &mut Samples) {
    for (of, finding) in findings.iter().filter(|(_, finding)| finding.answer != Answer::Unknown) {
        out.put_with(&[(*of).into()], finding.answer == Answer::Yes);
    }
}

fn unknown<K: Copy + Into<&'static str>>(findings: &[(K, Finding)], out: &mut Samples) {
    for (of, finding) in findings {
        out.put_with(&[(*of).into()], finding.answer == Answer::Unknown);
    }
}

fn ciphers(report: &ProbeReport, out: &mut Samples) {
    let list = report.scan().and_then(|scan| scan.ciphers.as_ref());
    for (version, cipher) in list.iter().flat_map(|list| &list.accepted) {
        out.info(&[version.into(), cipher]);
    }
}
