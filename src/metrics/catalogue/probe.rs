//! What every probe has: the verdict, and the lookup of the target's name.

use super::{Metric, Read::Probe};
use crate::metrics::Samples;
use crate::model::{DnsAnswer, DnsFacts, Failure, ProbeReport};
use std::net::IpAddr;

pub(super) const VERDICT: &[Metric] = &[
    Metric::gauge(
        "probe_success",
        "Displays whether or not the probe was a success",
        Probe(|report, out| out.put(report.is_success())),
    ),
    Metric::gauge(
        "probe_duration_seconds",
        "Returns how long the probe took to complete in seconds",
        Probe(|report, out| out.put(report.elapsed)),
    )
    .note("All attempts and the pauses between them"),
    Metric::gauge(
        "probe_timeout_seconds",
        "Returns how long the probe timeout is in seconds",
        Probe(|report, out| out.put(report.timeout)),
    )
    .note("For one attempt"),
    Metric::gauge(
        "probe_failure_info",
        "Says in which phase and for which reason the probe failed",
        Probe(|report, out| failure_info(report.failure.as_ref(), out)),
    )
    .labels(&["phase", "reason"])
    .absent("the probe succeeded"),
    Metric::gauge(
        "probe_attempts",
        "How many attempts the verdict took",
        Probe(|report, out| out.put(report.attempts)),
    ),
    Metric::gauge(
        "probe_first_attempt_success",
        "Whether the first attempt succeeded, so that no retry was needed",
        Probe(|report, out| out.put(report.first_failure().is_none())),
    ),
    Metric::gauge(
        "probe_first_attempt_failure_info",
        "Says in which phase and for which reason the first attempt failed",
        Probe(|report, out| failure_info(report.first_failure(), out)),
    )
    .note("The same as `probe_failure_info` when there was no retry or it changed nothing")
    .labels(&["phase", "reason"])
    .absent("the first attempt succeeded"),
    Metric::gauge(
        "probe_oauth2_token_fetched",
        "Whether the probe asked the token endpoint; else the bearer token was at hand",
        Probe(|report, out| out.put_known(report.token.as_ref().map(|token| token.fetched))),
    )
    .absent(NO_TOKEN),
    Metric::gauge(
        "probe_oauth2_token_expiry_timestamp_seconds",
        "When the bearer token ends",
        Probe(|report, out| out.put_known(report.token.as_ref().and_then(|token| token.expires))),
    )
    .absent("there was no token, or the module has no `oauth2`"),
];

const NO_TOKEN: &str = "the module has no `oauth2`";

fn failure_info(failure: Option<&Failure>, out: &mut Samples) {
    if let Some(failure) = failure {
        out.info(&[failure.phase.as_str(), failure.reason.as_str()]);
    }
}

pub(super) const RESOLVE: &[Metric] = &[
    Metric::gauge(
        "probe_dns_lookup_time_seconds",
        "Returns the time taken for probe dns lookup in seconds",
        Probe(|report, out| out.put_known(report.lookup().map(|lookup| lookup.took))),
    )
    .absent(NO_LOOKUP),
    Metric::gauge(
        "probe_dns_family_lookup_time_seconds",
        "How long the name servers took for the addresses of one family",
        Probe(|report, out| by_family(report, out, |answer| Some(answer.took.as_secs_f64()))),
    )
    .labels(&["family"])
    .note("An answer that was remembered has the time it took when it was asked for")
    .absent(NO_SERVERS),
    Metric::gauge(
        "probe_dns_answer_ttl_seconds",
        "For how long the name servers' answer says that it is good",
        Probe(|report, out| by_family(report, out, |answer| answer.ttl.map(|ttl| ttl.as_secs_f64()))),
    )
    .labels(&["family"])
    .absent(NO_SERVERS),
    Metric::gauge(
        "probe_dns_answer_age_seconds",
        "How long ago the answer in use was learned, 0 when it was asked for",
        Probe(|report, out| out.put_known(dns(report).map(DnsFacts::age))),
    )
    .absent(NO_SERVERS),
    Metric::gauge(
        "probe_dns_answer_stale",
        "Whether an answer past its time was used because no new one could be had",
        Probe(|report, out| out.put_known(dns(report).map(DnsFacts::is_stale))),
    )
    .absent(NO_SERVERS),
    Metric::gauge(
        "probe_dns_addresses",
        "How many addresses the name has",
        Probe(|report, out| out.put_known(report.lookup().map(|lookup| lookup.addresses.len() as u64))),
    )
    .note("256 at most")
    .absent(NO_LOOKUP),
    Metric::gauge(
        "probe_connect_attempts",
        "How many addresses were dialled until one answered",
        Probe(|report, out| out.put_known(raced(report))),
    )
    .absent("ip_protocol is not race, or there was one address"),
    Metric::gauge(
        "probe_ip_protocol",
        "Specifies whether probe ip protocol is IP4 or IP6",
        Probe(|report, out| out.put_known(report.lookup().map(|lookup| ip_protocol(lookup.chosen)))),
    )
    .note("0 when no address was found")
    .absent(NO_LOOKUP),
    Metric::gauge(
        "probe_ip_addr_hash",
        "Specifies the hash of IP address. It's useful to detect if the IP address changes.",
        Probe(|report, out| out.put_known(report.lookup().map(|lookup| ip_hash(lookup.chosen)))),
    )
    .note("FNV-1a, 32 bits, over its 4 or 16 bytes; 0 when no address was found")
    .absent(NO_LOOKUP),
];

const NO_SERVERS: &str = "no name servers of the module or job were asked";

fn dns(report: &ProbeReport) -> Option<&DnsFacts> {
    report.lookup().and_then(|lookup| lookup.dns.as_deref())
}

fn by_family(report: &ProbeReport, out: &mut Samples, read: fn(&DnsAnswer) -> Option<f64>) {
    for answer in dns(report).iter().flat_map(|dns| &dns.answers) {
        if let (Some(family), Some(value)) = (answer.family, read(answer)) {
            out.put_with(&[family.as_str()], value);
        }
    }
}

fn raced(report: &ProbeReport) -> Option<u64> {
    let dials = report.hops.first().map_or(0, |hop| hop.race.len());
    (dials > 0).then_some(dials as u64)
}

const NO_LOOKUP: &str = "nothing was looked up, as when the target cannot be read, or its name was left to a proxy";

/// 4 or 6; 0 when there is no address.
fn ip_protocol(ip: Option<IpAddr>) -> u32 {
    ip.map_or(0, |ip| if ip.is_ipv4() { 4 } else { 6 })
}

/// FNV-1a (32 bits) over the address' bytes; 0 when there is none.
fn ip_hash(ip: Option<IpAddr>) -> u32 {
    let fnv =
        |bytes: &[u8]| bytes.iter().fold(0x811c_9dc5, |hash: u32, &b| (hash ^ u32::from(b)).wrapping_mul(0x0100_0193));
    match ip {
        Some(IpAddr::V4(ip)) => fnv(&ip.octets()),
        Some(IpAddr::V6(ip)) => fnv(&ip.octets()),
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_hashes_are_those_of_blackbox_exporter() {
        for (ip, hash) in [
            ("127.0.0.1", 3_668_918_509),
            ("8.8.8.8", 2_350_491_669),
            ("1.1.1.1", 357_429_369),
            ("::1", 1_751_717_746),
            ("2001:4860:4860::8888", 2_978_199_130),
        ] {
            assert_eq!(ip_hash(Some(ip.parse().unwrap())), hash, "{ip}");
        }
        assert_eq!(ip_hash(None), 0);
    }
}
