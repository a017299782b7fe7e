//! Scans of the lab's servers, over loopback: what is found is what each was set up to accept.

use super::suites;
use crate::config::parse;
use crate::engine::{Engine, EngineOptions, Limits};
use crate::lab::{Expected, Lab, old};
use crate::model::{
    Answer, BigHello, CipherClass, Confidence, Finding, Job, ModuleName, Phase, ProbeReport, Reason, ScanFacts,
    ScanItem, TlsGroup, TlsVersion,
};
use old::{Profile, Refusal};
use std::{net::SocketAddr, time::Duration};

const TIMEOUT: Duration = Duration::from_secs(20);
/// Where a server is silent, which costs a share of this.
const SILENT: Duration = Duration::from_secs(4);

async fn probe(yaml: &str, module: &str, target: &str) -> ProbeReport {
    within(TIMEOUT, yaml, (module, target)).await
}

async fn within(timeout: Duration, yaml: &str, (module, target): (&str, &str)) -> ProbeReport {
    let config = parse(yaml, "test").unwrap_or_else(|errors| panic!("{errors}"));
    let engine = Engine::new(&config.plan, EngineOptions { max_in_flight: 8, key_log: false }).unwrap();
    let job = Job::new(ModuleName::new(module), target);
    engine.run(&job, Limits { timeout, budget: timeout }).await
}

/// Scans a server that accepts `profile`, with these lines in the module's block.
async fn scan(profile: Profile, chain: Vec<Vec<u8>>, lines: &str) -> ProbeReport {
    let server = old::serve(profile, chain).await.unwrap();
    let yaml = format!("modules: {{m: {{prober: tls_scan, tls_scan: {{preferred_ip_protocol: ip4{lines}}}}}}}");
    probe(&yaml, "m", &target(server.address())).await
}

fn target(address: SocketAddr) -> String {
    format!("server.localhost:{}", address.port())
}

fn facts(report: &ProbeReport) -> &ScanFacts {
    report.scan().unwrap_or_else(|| panic!("{:?}", report.failure))
}

/// The findings with this answer, in the order asked.
fn with<K: Copy>(findings: &[(K, Finding)], answer: Answer) -> Vec<K> {
    findings.iter().filter(|(_, finding)| finding.answer == answer).map(|(of, _)| *of).collect()
}

const PLAIN: &str = "modules: {m: {prober: tls_scan, tls_scan: {preferred_ip_protocol: ip4}}}";

const EVERYTHING: Profile = Profile {
    versions: &[0x0300, 0x0301, 0x0302, 0x0303, 0x0304],
    suites: &[0x1301, 0x1303, 0xc02f, 0xc013, 0x002f, 0x000a, 0x0005, 0x0034],
    groups: &[0x11ec, 0x001d, 0x0017],
    ..Profile::EMPTY
};

#[tokio::test]
async fn a_server_that_accepts_everything() {
    let chain = vec![b"no certificate".to_vec()];
    let report = scan(EVERYTHING, chain, ", include_weak: true, list_ciphers: true").await;
    assert!(report.is_success(), "{:?}", report.failure);
    let scan = facts(&report);
    assert_eq!(with(&scan.versions, Answer::Yes), super::VERSIONS);
    let classes = with(&scan.classes, Answer::Yes);
    assert_eq!(classes, suites::classes(true).collect::<Vec<_>>());
    assert_eq!(with(&scan.groups, Answer::Yes), [TlsGroup::X25519MLKEM768, TlsGroup::X25519, TlsGroup::Secp256r1]);
    assert_eq!(with(&scan.groups, Answer::Unknown), []);
    assert_eq!((scan.big_hello, scan.downgrade_protected), (Some(BigHello::Ok), Some(true)));
    assert_eq!(
        (scan.client_cert_requested, scan.chain_version),
        (Some(false), None),
        "what is no certificate is no chain"
    );
    let list = scan.ciphers.as_ref().unwrap();
    let of = |version| list.accepted.iter().filter(|(v, _)| *v == version).map(|(_, name)| *name).collect::<Vec<_>>();
    assert!(list.complete);
    assert_eq!(of(TlsVersion::Tls13), ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"]);
    assert_eq!(of(TlsVersion::Tls12).len(), 6);
    assert_eq!(
        of(TlsVersion::Ssl30),
        [
            "TLS_RSA_WITH_AES_128_CBC_SHA",
            "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
            "TLS_RSA_WITH_RC4_128_SHA",
            "TLS_DH_anon_WITH_AES_128_CBC_SHA"
        ]
    );
}

#[tokio::test]
async fn each_version_alone() {
    for (number, version) in [
        (0x0300, TlsVersion::Ssl30),
        (0x0301, TlsVersion::Tls10),
        (0x0302, TlsVersion::Tls11),
        (0x0303, TlsVersion::Tls12),
        (0x0304, TlsVersion::Tls13),
    ] {
        let versions: &'static [u16] = match number {
            0x0300 => &[0x0300],
            0x0301 => &[0x0301],
            0x0302 => &[0x0302],
            0x0303 => &[0x0303],
            _ => &[0x0304],
        };
        let report = scan(Profile { versions, ..EVERYTHING }, Vec::new(), "").await;
        assert!(report.is_success(), "{version}: {:?}", report.failure);
        let scan = facts(&report);
        assert_eq!(with(&scan.versions, Answer::Yes), [version]);
        assert_eq!(with(&scan.versions, Answer::No).len(), 4, "{version}: {:?}", scan.versions);
        assert_eq!(with(&scan.classes, Answer::Unknown), [], "{version}");
        assert_eq!(with(&scan.groups, Answer::Unknown), [], "{version}: {:?}", scan.groups);
        let hybrid = scan.groups[0].1.answer == Answer::Yes;
        assert_eq!(hybrid, version == TlsVersion::Tls13);
        assert_eq!(scan.downgrade_protected, None);
        let aead = with(&scan.classes, Answer::Yes).contains(&CipherClass::ForwardSecretAead);
        assert_eq!(aead, version == TlsVersion::Tls12, "{version}");
    }
}

/// A server that refuses old versions without a word leaves them unknown; what it accepts is a yes all the same.
#[tokio::test]
async fn silence_resets_closes_and_junk_are_no_answers() {
    for refusal in [Refusal::Close, Refusal::Reset, Refusal::Stall, Refusal::Junk, Refusal::Always(47)] {
        let modern = Profile { versions: &[0x0303, 0x0304], refusal, ..EVERYTHING };
        let server = old::serve(modern, Vec::new()).await.unwrap();
        let yaml = "modules: {m: {prober: tls_scan, tls_scan: {preferred_ip_protocol: ip4, fail_if_accepted: [TLS 1.0], \
                    fail_if_not_accepted: [TLS 1.1]}}}";
        let report = within(SILENT, yaml, ("m", &target(server.address()))).await;
        assert!(report.is_success(), "{refusal:?}: {:?}", report.failure);
        assert!(report.elapsed < SILENT, "{refusal:?}");
        let scan = facts(&report);
        assert_eq!(with(&scan.versions, Answer::Yes), [TlsVersion::Tls13, TlsVersion::Tls12], "{refusal:?}");
        assert_eq!(with(&scan.versions, Answer::No), [], "{refusal:?}");
        assert_eq!(with(&scan.groups, Answer::No), [], "{refusal:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_the_hello_alone_is_a_no_of_medium_confidence() {
    let report =
        scan(Profile { versions: &[0x0303], refusal: Refusal::Always(40), ..EVERYTHING }, Vec::new(), "").await;
    let old = facts(&report).finding(ScanItem::Version(TlsVersion::Tls10)).unwrap();
    assert_eq!((old.answer, old.confidence), (Answer::No, Confidence::Medium), "{}", old.why);
}

#[tokio::test]
async fn large_hellos_are_told_apart_by_what_makes_them_large() {
    let server = old::serve(Profile { longest: 1000, ..EVERYTHING }, Vec::new()).await.unwrap();
    let report = within(SILENT, PLAIN, ("m", &target(server.address()))).await;
    assert_eq!(facts(&report).big_hello, Some(BigHello::SizeIntolerant));
    let report = scan(Profile { longest: 1000, versions: &[0x0301], ..EVERYTHING }, Vec::new(), "").await;
    assert_eq!(facts(&report).big_hello, None);
}

#[tokio::test]
async fn certificates_of_an_old_server_are_facts_without_a_verdict() {
    let lab = Lab::start().await.unwrap();
    let report = probe(&lab.demo_config(), "scan", &lab.endpoint("scan-tls10-only").url).await;
    let tls = report.tls().unwrap();
    assert_eq!((tls.chain.len(), tls.completed, tls.sni.is_some()), (2, false, true));
    assert!(tls.verdict.is_none());
    assert_eq!(tls.chain[0].dns_names, ["scan-tls10-only.localhost"]);
    assert_eq!(facts(&report).chain_version, Some(TlsVersion::Tls10));
    assert_eq!(facts(&report).client_cert_requested, Some(true));
    let cause = &report.failure.as_ref().unwrap().cause;
    assert_eq!(cause, "TLS 1.0 is accepted, TLS 1.3 is not accepted");
}

#[tokio::test]
async fn every_endpoint_of_the_lab_is_scanned_as_its_catalogue_says() {
    let lab = Lab::start().await.unwrap();
    let yaml = lab.demo_config();
    let endpoints: Vec<_> = lab.endpoints().iter().filter(|endpoint| endpoint.module == "scan").collect();
    assert!(endpoints.len() > 15);
    for endpoint in endpoints {
        // Silence takes its share of the time.
        let silent = ["scan-stalled", "scan-size-intolerant"].contains(&endpoint.name);
        let timeout = if silent { SILENT } else { TIMEOUT };
        let report = within(timeout, &yaml, ("scan", &endpoint.url)).await;
        let found = match &report.failure {
            None => Expected::Success,
            Some(failure) => Expected::Failure { phase: failure.phase.as_str(), reason: failure.reason.as_str() },
        };
        assert_eq!(found, endpoint.expected, "{}: {:?}", endpoint.name, report.failure);
    }
}

#[tokio::test]
async fn rustls_is_scanned_without_doubt() {
    let lab = Lab::start().await.unwrap();
    let report = probe(&lab.demo_config(), "scan", &lab.endpoint("scan-good").url).await;
    let scan = facts(&report);
    assert_eq!(with(&scan.versions, Answer::Yes), [TlsVersion::Tls13, TlsVersion::Tls12]);
    assert_eq!(with(&scan.versions, Answer::Unknown), [], "{:?}", scan.versions);
    assert_eq!(with(&scan.classes, Answer::Yes), [CipherClass::ForwardSecretAead]);
    assert_eq!(with(&scan.classes, Answer::Unknown), [], "{:?}", scan.classes);
    let groups = [TlsGroup::X25519MLKEM768, TlsGroup::X25519, TlsGroup::Secp256r1, TlsGroup::Secp384r1];
    let accepted = with(&scan.groups, Answer::Yes);
    assert!(groups.iter().all(|group| accepted.contains(group)), "{:?}", scan.groups);
    assert_eq!(with(&scan.groups, Answer::Unknown), [], "{:?}", scan.groups);
    assert_eq!((scan.big_hello, scan.downgrade_protected), (Some(BigHello::Ok), Some(true)));
}

/// Nothing of a scan is left on the server when it is over.
#[tokio::test]
async fn connections_are_one_after_the_other_and_all_closed() {
    let server = old::serve(EVERYTHING, Vec::new()).await.unwrap();
    let report = probe(PLAIN, "m", &target(server.address())).await;
    assert!((15..40).contains(&facts(&report).connections), "{}", facts(&report).connections);
    for _ in 0..12_000 {
        if server.log().open() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{} connections are still open", server.log().open());
}

#[tokio::test]
async fn names_that_tls_cannot_ask_for_are_refused_and_addresses_go_without() {
    let server = old::serve(EVERYTHING, Vec::new()).await.unwrap();
    let report = probe(PLAIN, "m", &server.address().to_string()).await;
    assert!(report.is_success() && report.tls().unwrap().sni.is_none(), "{:?}", report.failure);
    let report = probe(PLAIN, "m", "under_score.-.localhost").await;
    let failure = report.failure.unwrap();
    assert_eq!((failure.phase, failure.reason), (Phase::Resolve, Reason::InvalidTarget));
}
