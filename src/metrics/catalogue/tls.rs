//! What the `tls` prober adds, and what any prober learns from a handshake, whether or not it was believed.

use super::{Metric, Read::Probe};
use crate::metrics::Samples;
use crate::model::{Certificate, ChainNotes, OcspFacts, ProbeReport, ProberKind, RevocationFacts, TlsFacts, Verdict};

pub(super) const PROBER: &[Metric] =
    &[Metric::gauge("probe_tls_duration_seconds", "Duration of the TLS probe by phase", Probe(super::phase_times))
        .only(ProberKind::Tls)
        .labels(&["phase"])
        .absent("the phase was not reached")];

pub(super) const FACTS: &[Metric] = &[
    Metric::gauge(
        "probe_tls_sni_host_mismatch",
        "Whether the server answered 403, 404 or 421 while SNI and Host did not name one site",
        Probe(|report, out| out.put_known(sni_host_mismatch(report))),
    )
    .note("They name different sites, there was no SNI, or both have only an address")
    .absent("no response came over TLS"),
    Metric::gauge(
        "probe_ssl_earliest_cert_expiry",
        "Returns last SSL chain expiry in unixtime",
        Probe(earliest_expiry),
    )
    .note("The earliest end among the certificates that the server sent, whether or not they were believed")
    .absent(NO_READABLE),
    Metric::gauge(
        "probe_ssl_last_chain_expiry_timestamp_seconds",
        "Returns last SSL chain expiry in timestamp",
        Probe(last_chain_expiry),
    )
    .note("When the last path to a trusted root dies, roots included")
    .absent("no path to a trusted root was found"),
    Metric::gauge("probe_ssl_last_chain_info", "Contains SSL leaf certificate information", Probe(leaf_info))
        .note("`subjectalternative` has the DNS names, joined by commas")
        .labels(&["fingerprint_sha256", "subject", "issuer", "subjectalternative", "serialnumber"])
        .absent(NO_READABLE),
    Metric::gauge(
        "probe_tls_version_info",
        "Returns the TLS version used or NaN when unknown",
        Probe(|report, out| out.info_known(report.tls().and_then(|tls| tls.version).map(Into::into))),
    )
    .labels(&["version"])
    .absent(NOT_NEGOTIATED),
    Metric::gauge(
        "probe_tls_cipher_info",
        "Returns the TLS cipher negotiated during handshake",
        Probe(|report, out| out.info_known(report.tls().and_then(|tls| tls.cipher.as_deref()))),
    )
    .labels(&["cipher"])
    .absent(NOT_NEGOTIATED),
    Metric::gauge(
        "probe_tls_handshake_completed",
        "Whether the TLS handshake came to its end, apart from the verdict on the certificate",
        Probe(|report, out| out.put_known(report.tls().filter(|_| report.scan().is_none()).map(|tls| tls.completed))),
    )
    .absent(NO_HANDSHAKE),
    Metric::gauge(
        "probe_tls_verified",
        "Whether the certificate passed each check: its dates, its chain to a trusted root, its name, its revocation",
        Probe(verified),
    )
    .note(
        "`check` is `validity`, `chain`, `name`, where it is known or had to be `revocation`, and where the module has \
         pins `pin`; none stops the next",
    )
    .labels(&["check"])
    .absent(NO_CERTIFICATE),
    Metric::gauge(
        "probe_ssl_cert_not_after_timestamp_seconds",
        "When each certificate that the server sent expires",
        Probe(|report, out| per_certificate(report, out, |cert| Some(cert.not_after))),
    )
    .note("`position` is `leaf`, then 1, 2 and so on in the server's order")
    .labels(&["position"])
    .absent(NO_READABLE),
    Metric::gauge(
        "probe_ssl_cert_not_before_timestamp_seconds",
        "When each certificate that the server sent becomes valid",
        Probe(|report, out| per_certificate(report, out, |cert| Some(cert.not_before))),
    )
    .labels(&["position"])
    .absent(NO_READABLE),
    Metric::gauge(
        "probe_ssl_chain_complete",
        "Whether the server sent every intermediate certificate that clients need",
        Probe(|report, out| out.put_known(verdict(report).map(Verdict::chain_complete))),
    )
    .absent(NO_CERTIFICATE),
    Metric::gauge(
        "probe_tls_key_exchange_info",
        "The negotiated key exchange group",
        Probe(|report, out| out.info_known(report.tls().and_then(|tls| tls.group.as_deref()))),
    )
    .labels(&["group"])
    .absent(NOT_NEGOTIATED),
    Metric::gauge(
        "probe_tls_alpn_info",
        "The protocol negotiated by ALPN",
        Probe(|report, out| out.info_known(report.tls().and_then(|tls| tls.alpn.as_deref()))),
    )
    .labels(&["protocol"])
    .absent("none was negotiated"),
    Metric::gauge(
        "probe_tls_ocsp_stapled",
        "Whether the server stapled an OCSP response",
        Probe(|report, out| out.put_known(report.tls().and_then(ocsp_stapled))),
    )
    .absent("the leaf certificate names no OCSP responder and nothing was stapled"),
    Metric::gauge(
        "probe_tls_ocsp_response_info",
        "What each OCSP response for the leaf certificate is worth",
        Probe(|report, out| responses(report).for_each(|(source, facts)| out.info(&[source, facts.status.as_str()]))),
    )
    .note("`source` is `staple` or `responder`; `status` is `good`, `revoked` or `unknown` where the response is believed, else what is wrong with it")
    .labels(&["source", "status"])
    .absent(NO_RESPONSE),
    Metric::gauge(
        "probe_tls_ocsp_this_update_timestamp_seconds",
        "When the status in an OCSP response was known to be right",
        Probe(|report, out| ocsp_time(report, out, |facts| facts.this_update)),
    )
    .labels(&["source"])
    .absent(NO_RESPONSE),
    Metric::gauge(
        "probe_tls_ocsp_next_update_timestamp_seconds",
        "When a newer OCSP response should be there",
        Probe(|report, out| ocsp_time(report, out, |facts| facts.next_update)),
    )
    .labels(&["source"])
    .absent("no OCSP response for the leaf certificate could be read, or it does not tell"),
    Metric::gauge(
        "probe_tls_ocsp_revoked_timestamp_seconds",
        "Since when the leaf certificate is revoked, as an OCSP response says",
        Probe(|report, out| ocsp_time(report, out, |facts| facts.revoked_at)),
    )
    .labels(&["source"])
    .absent("no OCSP response says that it is revoked"),
    Metric::gauge(
        "probe_tls_must_staple",
        "Whether the leaf certificate demands a stapled OCSP response",
        Probe(|report, out| out.put_known(report.tls().filter(|tls| !tls.chain.is_empty()).map(|tls| tls.revocation.must_staple))),
    )
    .absent(NO_CERTIFICATE),
    Metric::gauge(
        "probe_tls_crl_next_update_timestamp_seconds",
        "When the revocation list that covers the leaf certificate will be replaced",
        Probe(|report, out| out.put_known(revocation(report).and_then(|facts| facts.crl.as_ref()?.next_update))),
    )
    .absent("no revocation list was consulted, or none covers it"),
    Metric::gauge(
        "probe_tls_client_cert_requested",
        "Whether the server asked for a client certificate",
        Probe(|report, out| out.put_known(report.tls().and_then(|tls| tls.client_cert_requested))),
    )
    .absent("the handshake ended before the server could ask"),
    Metric::gauge(
        "probe_tls_client_cert_not_after_timestamp_seconds",
        "When our own client certificate expires",
        Probe(|report, out| out.put_known(report.tls().and_then(|tls| tls.client_cert_not_after))),
    )
    .absent("the module has no client certificate, or no handshake was begun"),
    Metric::gauge(
        "probe_tls_handshake_kind_info",
        "How the TLS handshake went",
        Probe(|report, out| out.info_known(report.tls().and_then(|tls| tls.kind).map(Into::into))),
    )
    .note("`full`, or `full_with_hello_retry` when the server asked for another key exchange group first")
    .labels(&["kind"])
    .absent(NOT_NEGOTIATED),
    Metric::gauge(
        "probe_tls_handshake_received_bytes",
        "Bytes received until the TLS handshake ended",
        Probe(|report, out| out.put_known(report.tls().map(|tls| tls.received_bytes))),
    )
    .note("Also when it failed; session tickets that came along are among them")
    .absent(NO_HANDSHAKE),
    Metric::gauge(
        "probe_tls_handshake_sent_bytes",
        "Bytes sent until the TLS handshake ended",
        Probe(|report, out| out.put_known(report.tls().map(|tls| tls.sent_bytes))),
    )
    .absent(NO_HANDSHAKE),
    Metric::gauge("probe_ssl_certificate_info", "The certificates that the server sent", Probe(certificate_info))
        .note("The first five only; `position` as above")
        .labels(&["position", "subject", "issuer", "serialnumber", "fingerprint_sha256", "key", "signature_algorithm"])
        .absent(NO_READABLE),
    Metric::gauge(
        "probe_ssl_key_size",
        "Size of the key of each certificate that the server sent, in bits",
        Probe(|report, out| per_certificate(report, out, |cert| cert.key_bits.map(i64::from))),
    )
    .labels(&["position"])
    .absent("the server sent no certificate, or its kind of key has no size that is known"),
    Metric::gauge(
        "probe_ssl_chain_length",
        "How many certificates the server sent",
        Probe(|report, out| out.put_known(notes(report).map(|_| chain(report).len()))),
    )
    .note("Of more than 16, only the first 16 are counted and looked at")
    .absent(NO_CERTIFICATE),
    Metric::gauge(
        "probe_ssl_chain_ordered",
        "Whether each certificate came after one that it certifies",
        Probe(|report, out| out.put_known(notes(report).map(|notes| notes.ordered))),
    )
    .absent(NO_CERTIFICATE),
    Metric::gauge(
        "probe_ssl_chain_duplicates",
        "Certificates that were sent again",
        Probe(|report, out| out.put_known(notes(report).map(|notes| notes.duplicates))),
    )
    .absent(NO_CERTIFICATE),
    Metric::gauge(
        "probe_ssl_chain_root_sent",
        "Whether the server sent a root certificate, which clients have themselves",
        Probe(|report, out| out.put_known(notes(report).map(|notes| notes.root_sent))),
    )
    .note("A leaf that is its own issuer does not count")
    .absent(NO_CERTIFICATE),
    Metric::gauge(
        "probe_ssl_chain_unused",
        "Certificates sent that certify no other one of the chain",
        Probe(|report, out| out.put_known(notes(report).map(|notes| notes.unused))),
    )
    .absent(NO_CERTIFICATE),
    Metric::gauge(
        "probe_ssl_scts",
        "Signed certificate timestamps in the leaf certificate",
        Probe(|report, out| out.put_known(readable_leaf(report).map(|leaf| leaf.sct_count))),
    )
    .note("Certificate transparency (RFC 6962); those sent by other ways are not counted")
    .absent(NO_READABLE),
    Metric::gauge(
        "probe_ssl_sct_newest_timestamp_seconds",
        "The newest signed certificate timestamp in the leaf certificate",
        Probe(|report, out| out.put_known(readable_leaf(report).and_then(|leaf| leaf.sct_newest))),
    )
    .absent("the leaf certificate has none"),
];

/// Certificates whose names become labels.
const NAMED: usize = 5;
const NO_READABLE: &str = "the server sent no certificate that can be read";
const NO_HANDSHAKE: &str = "no handshake was begun; a scan completes none";
const NOT_NEGOTIATED: &str = "the handshake did not get that far";
const NO_CERTIFICATE: &str = "the server sent no certificate";
const NO_RESPONSE: &str = "no OCSP response came, stapled or from the responder";

fn sni_host_mismatch(report: &ProbeReport) -> Option<bool> {
    let hop = report.last_hop().filter(|hop| hop.tls.is_some() && hop.http.is_some())?;
    Some(hop.refused_for_names().is_some())
}

fn revocation(report: &ProbeReport) -> Option<&RevocationFacts> {
    report.tls().map(|tls| &tls.revocation)
}

fn responses(report: &ProbeReport) -> impl Iterator<Item = (&'static str, &OcspFacts)> {
    revocation(report).into_iter().flat_map(RevocationFacts::responses)
}

fn ocsp_time(report: &ProbeReport, out: &mut Samples, read: fn(&OcspFacts) -> Option<i64>) {
    for (source, time) in responses(report).filter_map(|(source, facts)| Some((source, read(facts)?))) {
        out.put_with(&[source], time);
    }
}

fn chain(report: &ProbeReport) -> &[Certificate] {
    report.tls().map_or(&[], |tls| &tls.chain)
}

fn verdict(report: &ProbeReport) -> Option<&Verdict> {
    report.tls().and_then(|tls| tls.verdict.as_ref())
}

fn earliest_expiry(report: &ProbeReport, out: &mut Samples) {
    out.put_known(readable(report).map(|(_, cert)| cert.not_after).min());
}

fn last_chain_expiry(report: &ProbeReport, out: &mut Samples) {
    out.put_known(verdict(report).and_then(|verdict| verdict.paths).map(|paths| paths.expiry));
}

fn leaf_info(report: &ProbeReport, out: &mut Samples) {
    if let Some(leaf) = readable_leaf(report) {
        let names = leaf.dns_names.join(",");
        out.info(&[&leaf.fingerprint_sha256, &leaf.subject, &leaf.issuer, &names, &leaf.serial]);
    }
}

fn verified(report: &ProbeReport, out: &mut Samples) {
    if let Some(verdict) = verdict(report) {
        out.put_with(&["validity"], verdict.validity.is_ok());
        out.put_with(&["chain"], verdict.chain.is_ok());
        out.put_with(&["name"], verdict.name.is_ok());
        if let Some(revocation) = &verdict.revocation {
            out.put_with(&["revocation"], revocation.is_ok());
        }
        if let Some(pin) = &verdict.pin {
            out.put_with(&["pin"], pin.is_ok());
        }
    }
}

/// One sample per certificate.
fn per_certificate(report: &ProbeReport, out: &mut Samples, read: fn(&Certificate) -> Option<i64>) {
    for (position, value) in readable(report).filter_map(|(position, cert)| Some((position, read(cert)?))) {
        out.put_with(&[&position], value);
    }
}

/// The certificates that could be read and their positions: `leaf`, then 1, 2 and so on, in the server's order.
fn readable(report: &ProbeReport) -> impl Iterator<Item = (String, &Certificate)> {
    let position = |at: usize| if at == 0 { "leaf".to_owned() } else { at.to_string() };
    let all = chain(report).iter().enumerate().filter(|(_, cert)| !cert.unreadable);
    all.map(move |(at, cert)| (position(at), cert))
}

fn readable_leaf(report: &ProbeReport) -> Option<&Certificate> {
    chain(report).first().filter(|leaf| !leaf.unreadable)
}

fn certificate_info(report: &ProbeReport, out: &mut Samples) {
    for (position, cert) in readable(report).take(NAMED) {
        let names = [&cert.subject, &cert.issuer, &cert.serial, &cert.fingerprint_sha256];
        out.info(&[&position, names[0], names[1], names[2], names[3], &cert.key, &cert.signature_algorithm]);
    }
}

/// What is odd about the chain, if there is one.
fn notes(report: &ProbeReport) -> Option<ChainNotes> {
    Some(chain(report)).filter(|chain| !chain.is_empty()).map(ChainNotes::of)
}

/// `None` where no staple is due, so that an alert on its absence stays silent.
fn ocsp_stapled(tls: &TlsFacts) -> Option<bool> {
    let due = tls.chain.first().is_some_and(|leaf| leaf.names_responder);
    (due || tls.ocsp_stapled).then_some(tls.ocsp_stapled)
}
