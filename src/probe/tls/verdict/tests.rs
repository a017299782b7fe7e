//! Verdicts on chains made for the purpose, and on the lab's servers as the engine sees them.

use super::{Evidence, Roots, facts};
use crate::config;
use crate::engine::{Engine, EngineOptions, Limits};
use crate::lab::{Expected, Lab};
use crate::model::{Certificate, CheckResult, HandshakeKind, Job, ModuleName, ProbeReport, Reason, TlsFacts, Verdict};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    KeyPair, NameConstraints,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::time::{Duration, SystemTime};

type Der = CertificateDer<'static>;
type Ca = CertifiedIssuer<'static, KeyPair>;

const NAME: &str = "www.example.com";
const DAY: i64 = 86_400;
/// When the tests take place: 2026-01-02.
const NOW: i64 = 1_767_312_000;

// === making certificates ===

/// Parameters with this common name, valid from `from` to `to` days from now.
fn params(common_name: &str, (from, to): (i64, i64)) -> CertificateParams {
    let at = |days: i64| SystemTime::UNIX_EPOCH + Duration::from_secs((NOW + days * DAY).unsigned_abs());
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = at(from).into();
    params.not_after = at(to).into();
    params
}

fn ca_params(common_name: &str, days: (i64, i64)) -> CertificateParams {
    let mut params = params(common_name, days);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn leaf_params(days: (i64, i64)) -> CertificateParams {
    let mut params = params("leaf", days);
    params.subject_alt_names = CertificateParams::new([NAME.to_owned()]).unwrap().subject_alt_names;
    params
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn root_of(days: (i64, i64)) -> Ca {
    CertifiedIssuer::self_signed(ca_params("root", days), key()).unwrap()
}

fn root() -> Ca {
    root_of((-1000, 1000))
}

fn below(issuer: &Ca, common_name: &str, days: (i64, i64)) -> Ca {
    CertifiedIssuer::signed_by(ca_params(common_name, days), key(), issuer).unwrap()
}

fn leaf(issuer: &Ca, days: (i64, i64)) -> Der {
    leaf_params(days).signed_by(&key(), issuer).unwrap().into()
}

const GOOD: (i64, i64) = (-10, 20);

// === judging them ===

fn judge_for(name: &str, chain: &[Der], trusted: &[&Der]) -> Verdict {
    let facts: Vec<Certificate> = chain.iter().map(|der| facts::read_or_mark(der)).collect();
    Evidence {
        presented: chain,
        facts: &facts,
        roots: &Roots::of(trusted.iter().map(|der| (*der).clone()).collect()),
        name: &ServerName::try_from(name).unwrap(),
        now: UnixTime::since_unix_epoch(Duration::from_secs(NOW.unsigned_abs())),
        algorithms: webpki::ALL_VERIFICATION_ALGS,
    }
    .judge()
}

fn judge(chain: &[Der], trusted: &[&Der]) -> Verdict {
    judge_for(NAME, chain, trusted)
}

fn reason(check: &CheckResult) -> Option<Reason> {
    check.as_ref().err().map(|(reason, _)| *reason)
}

/// The reasons of validity, chain and name; `None` is fine. Whether a path holds must not contradict them.
#[track_caller]
fn reasons(verdict: &Verdict) -> [Option<Reason>; 3] {
    let found = [&verdict.validity, &verdict.chain, &verdict.name].map(reason);
    assert_eq!(verdict.paths.is_some(), found[0].is_none() && found[1].is_none(), "{verdict:?}");
    found
}

const FINE: [Option<Reason>; 3] = [None; 3];

fn chain_fault(reason: Reason) -> [Option<Reason>; 3] {
    [None, Some(reason), None]
}

// === chains ===

#[test]
fn chains_of_every_length_hold_in_any_order_with_repetitions_and_roots() {
    let root = root();
    for length in 1..=5 {
        let mut issuers = Vec::<Ca>::new();
        for level in 1..length {
            let next = below(issuers.last().unwrap_or(&root), &format!("level {level}"), GOOD);
            issuers.push(next);
        }
        let leaf = leaf(issuers.last().unwrap_or(&root), GOOD);
        let up: Vec<Der> = issuers.iter().rev().map(|issuer| issuer.der().clone()).collect();
        let down: Vec<Der> = up.iter().rev().cloned().collect();
        let with_root = [up.clone(), vec![root.der().clone()]].concat();
        let twice = [up.clone(), vec![leaf.clone()], down.clone()].concat();
        for rest in [up, down, with_root, twice] {
            let verdict = judge(&[vec![leaf.clone()], rest.clone()].concat(), &[root.der()]);
            assert_eq!(reasons(&verdict), FINE, "{length} with {} more", rest.len());
        }
    }
}

#[test]
fn the_last_path_that_dies_counts_with_its_root() {
    let (short, long) = (root_of((-1000, 5)), root());
    let cross = below(&short, "cross-signed", (-100, 100));
    let other = ca_params("cross-signed", (-100, 10)).signed_by(cross.key(), &long).unwrap().der().clone();
    let leaf = leaf(&cross, GOOD);
    let other_root = CertifiedIssuer::self_signed(ca_params("another root", (-1000, 7)), key()).unwrap();
    let third = ca_params("cross-signed", (-100, 100)).signed_by(cross.key(), &other_root).unwrap().der().clone();
    let expiry = |chain: &[Der], trusted: &[&Der]| judge(chain, trusted).paths.map(|paths| (paths.expiry - NOW) / DAY);
    let both = [leaf.clone(), cross.der().clone(), other.clone()];
    assert_eq!(expiry(&both[..2], &[short.der(), long.der()]), Some(5), "the root dies first");
    assert_eq!(expiry(&both, &[long.der(), short.der()]), Some(10));
    assert_eq!(expiry(&[leaf.clone(), other, cross.der().clone()], &[short.der(), long.der()]), Some(10));
    assert_eq!(expiry(&[leaf, third], &[other_root.der(), long.der()]), Some(7));
}

#[test]
fn of_two_certificates_of_one_issuer_a_good_one_is_enough() {
    let root = root();
    let good = below(&root, "cross-signed", GOOD);
    let old = ca_params("cross-signed", (-900, -100)).signed_by(good.key(), &root).unwrap().der().clone();
    let leaf = leaf(&good, GOOD);
    for chain in [[leaf.clone(), good.der().clone(), old.clone()], [leaf.clone(), old.clone(), good.der().clone()]] {
        let verdict = judge(&chain, &[root.der()]);
        assert_eq!(reasons(&verdict), FINE);
        assert_eq!(verdict.paths.unwrap().expiry, NOW + 20 * DAY);
        // The old one's dates must not cover up that nobody trusts the root.
        assert_eq!(reasons(&judge(&chain, &[])), chain_fault(Reason::CertUnknownIssuer));
    }
    let verdict = judge(&[leaf, old], &[root.der()]);
    assert_eq!(reasons(&verdict)[0], Some(Reason::CertExpired));
}

#[test]
fn an_expired_chain_is_still_a_chain() {
    let root = root();
    for (days, expected) in [((-20, -1), Reason::CertExpired), ((1, 20), Reason::CertNotYetValid)] {
        let verdict = judge(&[leaf(&root, days)], &[root.der()]);
        assert_eq!(reasons(&verdict), [Some(expected), None, None]);
        assert_eq!(reasons(&judge(&[leaf(&root, days)], &[])), [Some(expected), Some(Reason::CertUnknownIssuer), None]);
    }
    let ended = below(&root, "intermediate", (-100, -1));
    let chain = [leaf(&ended, GOOD), ended.der().clone()];
    let verdict = judge(&chain, &[root.der()]);
    assert_eq!(reasons(&verdict), [Some(Reason::CertExpired), None, None]);
    assert_eq!(verdict.validity.unwrap_err().1, "`CN=intermediate` expired 1 day ago");
    assert_eq!(reasons(&judge(&chain, &[]))[1], Some(Reason::CertUnknownIssuer));
}

#[test]
fn certificates_that_were_never_valid_together_are_no_chain() {
    let root = root();
    let ended = below(&root, "intermediate", (-100, -50));
    let verdict = judge(&[leaf(&ended, GOOD), ended.der().clone()], &[root.der()]);
    assert_eq!(reasons(&verdict), [Some(Reason::CertExpired), Some(Reason::CertExpired), None]);
}

#[test]
fn a_trusted_root_must_be_within_its_dates() {
    for (days, expected, words) in [
        ((-1000, -3), Reason::CertExpired, "the trusted root `CN=root` expired 3 days ago"),
        ((2, 1000), Reason::CertNotYetValid, "the trusted root `CN=root` becomes valid in 2 days"),
    ] {
        let root = root_of(days);
        let verdict = judge(&[leaf(&root, GOOD)], &[root.der()]);
        assert_eq!(reasons(&verdict), [Some(expected), None, None]);
        assert_eq!(verdict.validity.unwrap_err().1, words);
    }
}

#[test]
fn a_root_that_was_reissued_is_as_good_as_its_last_certificate() {
    let new = root();
    let old = ca_params("root", (-2000, -1)).self_signed(new.key()).unwrap().der().clone();
    let chain = [leaf(&new, GOOD), old.clone()];
    for trusted in [[new.der(), &old], [&old, new.der()]] {
        assert_eq!(reasons(&judge(&chain, &trusted)), FINE);
    }
    assert_eq!(reasons(&judge(&chain, &[new.der()])), FINE, "the old root that was sent is not needed");
    assert_eq!(reasons(&judge(&chain, &[&old])), [Some(Reason::CertExpired), None, None]);
}

#[test]
fn a_stray_that_has_ended_changes_nothing() {
    let (root, stray) = (root(), CertifiedIssuer::self_signed(ca_params("old root", (-900, -100)), key()).unwrap());
    let good = leaf(&root, GOOD);
    assert_eq!(reasons(&judge(&[good.clone(), stray.der().clone()], &[root.der()])), FINE);
    let verdict = judge(&[good, stray.der().clone()], &[]);
    assert_eq!(reasons(&verdict), chain_fault(Reason::CertUnknownIssuer));
}

#[test]
fn a_missing_issuer_has_the_name_that_fits() {
    let (root, stranger) = (root(), CertifiedIssuer::self_signed(ca_params("stranger", GOOD), key()).unwrap());
    let intermediate = below(&root, "intermediate", GOOD);
    let cases = [
        (vec![leaf(&intermediate, GOOD)], "the issuer `CN=intermediate` is not trusted"),
        (
            vec![leaf(&stranger, GOOD), stranger.der().clone()],
            "the root `CN=stranger` that the server sent is not trusted",
        ),
        (
            vec![leaf(&root_of((-1, 1)), GOOD)],
            "the trusted certificates named `CN=root` have another key than the issuer",
        ),
    ];
    for (chain, words) in cases {
        let verdict = judge(&chain, &[root.der()]);
        assert_eq!(reasons(&verdict), chain_fault(Reason::CertUnknownIssuer));
        assert_eq!(verdict.chain.unwrap_err().1, words);
    }
}

// === leaves ===

#[test]
fn a_self_signed_leaf_is_good_where_it_is_trusted() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let of = |days| {
            let mut params = leaf_params(days);
            params.is_ca = is_ca;
            params.self_signed(&key()).unwrap().der().clone()
        };
        let (good, old) = (of(GOOD), of((-20, -1)));
        assert_eq!(reasons(&judge(std::slice::from_ref(&good), &[&good])), FINE);
        assert_eq!(reasons(&judge(std::slice::from_ref(&good), &[])), chain_fault(Reason::CertSelfSigned));
        let expired = [Some(Reason::CertExpired), None, None];
        assert_eq!(reasons(&judge(std::slice::from_ref(&old), &[&old])), expired);
        let wrong_name = judge_for("other.example", std::slice::from_ref(&good), &[&good]);
        assert_eq!(reasons(&wrong_name), [None, None, Some(Reason::CertWrongName)]);
        let both = judge_for("other.example", std::slice::from_ref(&old), &[&old]);
        assert_eq!(reasons(&both), [Some(Reason::CertExpired), None, Some(Reason::CertWrongName)]);
    }
}

#[test]
fn a_leaf_that_is_trusted_itself_needs_no_issuer_but_its_purpose() {
    let good = leaf(&root(), GOOD);
    assert_eq!(reasons(&judge(std::slice::from_ref(&good), &[&good])), FINE);
    let mut params = leaf_params(GOOD);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = params.signed_by(&key(), &root()).unwrap().der().clone();
    assert_eq!(reasons(&judge(std::slice::from_ref(&client), &[&client])), chain_fault(Reason::CertWrongPurpose));
}

#[test]
fn rules_of_issuers_are_kept() {
    let root = root();
    let mut client = leaf_params(GOOD);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let client = client.signed_by(&key(), &root).unwrap().der().clone();
    assert_eq!(reasons(&judge(&[client], &[root.der()])), chain_fault(Reason::CertWrongPurpose));

    let mut ca = leaf_params(GOOD);
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = ca.signed_by(&key(), &root).unwrap().der().clone();
    assert_eq!(reasons(&judge(&[ca], &[root.der()])), chain_fault(Reason::CertInvalid));

    let mut narrow = ca_params("narrow", GOOD);
    let only = GeneralSubtree::DnsName("other.example".into());
    narrow.name_constraints = Some(NameConstraints { permitted_subtrees: vec![only], excluded_subtrees: Vec::new() });
    let mut short = ca_params("short", GOOD);
    short.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    for (top, words) in
        [(narrow, "a name constraint"), (short, "fewer intermediates"), (params("no CA", GOOD), "no CA")]
    {
        let top = CertifiedIssuer::signed_by(top, key(), &root).unwrap();
        let middle = below(&top, "middle", GOOD);
        let verdict = judge(&[leaf(&middle, GOOD), middle.der().clone(), top.der().clone()], &[root.der()]);
        assert_eq!(reasons(&verdict), chain_fault(Reason::CertInvalid), "{words}");
        assert!(verdict.chain.as_ref().unwrap_err().1.contains(words), "{verdict:?}");
    }
}

#[test]
fn old_certificates_are_told_apart() {
    fn fixture(name: &str) -> Der {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certs");
        std::fs::read(folder.join(format!("{name}.der"))).unwrap().into()
    }
    let root = fixture("root");
    let cases = [
        (
            "sha1-signature",
            Reason::CertWeak,
            "`CN=sha1-signature.localhost` is signed with sha1WithRSAEncryption",
            None,
        ),
        ("rsa-1024", Reason::CertWeak, "the key of `CN=rsa-1024.localhost` is too short: RSA 1024", None),
        ("x509-v1", Reason::CertMalformed, "it is not an X.509 v3 certificate", Some(Reason::CertWrongName)),
    ];
    for (file, expected, words, name) in cases {
        let leaf = fixture(file);
        let verdict = judge_for(&format!("{file}.localhost"), std::slice::from_ref(&leaf), &[&root]);
        assert_eq!(reasons(&verdict), [None, Some(expected), name], "{file}: {verdict:?}");
        assert!(verdict.chain.as_ref().unwrap_err().1.contains(words), "{verdict:?}");
        let untrusted = judge_for(&format!("{file}.localhost"), std::slice::from_ref(&leaf), &[]);
        assert!(untrusted.chain.is_err(), "{file}");
    }
    let old = fixture("x509-v1");
    let trusted = judge_for("x509-v1.localhost", std::slice::from_ref(&old), &[&old]);
    assert_eq!(reasons(&trusted), [None, None, Some(Reason::CertWrongName)], "its subject is not looked at");
}

#[test]
fn what_is_no_certificate_is_malformed_in_every_check() {
    let root = root();
    let good = leaf(&root, GOOD);
    for garbage in
        [Der::from(vec![]), Der::from(vec![0x30, 0x03, 0x02, 0x01, 0x07]), good[..good.len() - 9].to_vec().into()]
    {
        let verdict = judge(&[garbage.clone(), root.der().clone()], &[root.der()]);
        assert_eq!(reasons(&verdict), [Some(Reason::CertMalformed); 3]);
        assert_eq!(reasons(&judge(&[good.clone(), garbage], &[root.der()])), FINE, "behind a good leaf it is a stray");
    }
    assert_eq!(reasons(&judge(&[], &[root.der()])), [Some(Reason::CertInvalid); 3]);
}

#[test]
fn no_damage_makes_a_good_verdict() {
    let root = root();
    let good = leaf(&root, GOOD);
    for at in 0..good.len() {
        for bit in [0x01, 0x80] {
            let mut damaged = good.to_vec();
            damaged[at] ^= bit;
            let verdict = judge(&[damaged.into()], &[root.der()]);
            assert!(verdict.chain.is_err() && verdict.paths.is_none(), "byte {at}, bit {bit}: {verdict:?}");
        }
        let _ = judge(&[good[..at].to_vec().into(), good.clone()], &[root.der()]);
    }
}

#[test]
fn the_first_reason_is_that_of_the_dates_then_the_chain_then_the_name() {
    let old = leaf(&root(), (-20, -1));
    let all = judge_for("other.example", std::slice::from_ref(&old), &[]);
    let unproven = Verdict { proof: Ok(()), ..all };
    let expected = [Some(Reason::CertExpired), Some(Reason::CertUnknownIssuer), Some(Reason::CertWrongName)];
    assert_eq!(reasons(&unproven), expected);
    assert_eq!(unproven.failure().unwrap().0, Reason::CertExpired);
}

#[test]
fn self_signed_is_more_than_self_issued() {
    let root = root();
    assert!(facts::read(root.der()).is_some_and(|c| c.self_issued && c.self_signed && c.key_bits == Some(256)));
    let rollover = ca_params("root", GOOD).signed_by(&key(), &root).unwrap().der().clone();
    assert!(facts::read(&rollover).is_some_and(|c| c.self_issued && !c.self_signed));
}

// === the lab ===

async fn probe(lab: &Lab, name: &str) -> ProbeReport {
    let config = config::parse(&lab.demo_config(), "lab").unwrap();
    let engine = Engine::new(&config.plan, EngineOptions { max_in_flight: 4, key_log: false }).unwrap();
    let endpoint = lab.endpoint(name);
    let job = Job::new(ModuleName::new(endpoint.module), endpoint.url.as_str());
    let timeout = Duration::from_secs(5);
    let report = engine.run(&job, Limits { timeout, budget: timeout }).await;
    let found = report.failure.as_ref().map_or("success".into(), |f| format!("{}/{}", f.phase, f.reason));
    assert_eq!(found, endpoint.expected.to_string(), "{name}: {:?}", report.failure);
    report
}

fn tls(report: &ProbeReport) -> &TlsFacts {
    report.tls().expect("a handshake was tried")
}

#[tokio::test]
async fn the_labs_certificates_are_found_as_the_catalogue_says() {
    let lab = Lab::start().await.unwrap();
    let about_certificates = |expected: &Expected| match expected {
        Expected::Failure { reason, .. } => reason.starts_with("cert_"),
        Expected::Success => false,
    };
    for endpoint in lab.endpoints().iter().filter(|endpoint| about_certificates(&endpoint.expected)) {
        let report = probe(&lab, endpoint.name).await;
        assert!(tls(&report).completed && !tls(&report).chain.is_empty(), "{}", endpoint.name);
        let proof = &tls(&report).verdict.as_ref().unwrap().proof;
        assert!(proof.is_ok(), "{}: {proof:?}", endpoint.name);
        assert!(lab.requests(endpoint.name).is_empty(), "{}: nothing is sent to a peer that failed", endpoint.name);
    }
}

#[tokio::test]
async fn odd_chains_are_good_and_their_oddity_is_told() {
    let lab = Lab::start().await.unwrap();
    // Length, ordered, duplicates, root sent, unused.
    for (name, expected) in [
        ("good", (2, true, 0, false, 0)),
        ("trusted-self-signed", (1, true, 0, false, 0)),
        ("cross-signed", (3, true, 0, false, 0)),
        ("cross-signed-old-first", (3, true, 0, false, 0)),
        ("root-sent", (3, true, 0, true, 0)),
        ("expired-root-sent", (3, true, 0, true, 1)),
        ("duplicated-chain", (4, true, 2, false, 0)),
        ("long-chain", (5, true, 0, false, 0)),
        ("shuffled-chain", (5, false, 0, false, 0)),
    ] {
        let report = probe(&lab, name).await;
        let notes = crate::model::ChainNotes::of(&tls(&report).chain);
        let found = (tls(&report).chain.len(), notes.ordered, notes.duplicates, notes.root_sent, notes.unused);
        assert_eq!(found, expected, "{name}");
        assert!(tls(&report).verdict.as_ref().unwrap().paths.is_some(), "{name}");
    }
}

#[tokio::test]
async fn handshakes_are_told_by_kind_and_bytes() {
    let lab = Lab::start().await.unwrap();
    for (name, kind, group) in [
        ("good", HandshakeKind::Full, "X25519MLKEM768"),
        ("tls12-only", HandshakeKind::Full, "X25519"),
        ("hello-retry", HandshakeKind::FullWithHelloRetry, "secp384r1"),
        ("wss-ping", HandshakeKind::Full, "X25519MLKEM768"),
        ("cert-good", HandshakeKind::Full, "X25519MLKEM768"),
    ] {
        let report = probe(&lab, name).await;
        let tls = tls(&report);
        assert_eq!((tls.kind, tls.group.as_deref()), (Some(kind), Some(group)), "{name}");
        assert!((800..20_000).contains(&tls.received_bytes), "{name}: {} received", tls.received_bytes);
        assert!((250..10_000).contains(&tls.sent_bytes), "{name}: {} sent", tls.sent_bytes);
    }
    let stalled = probe(&lab, "stalled-handshake").await;
    assert_eq!((tls(&stalled).kind, tls(&stalled).received_bytes), (None, 0));
    assert!(tls(&stalled).sent_bytes > 250, "the hello was sent");
}

#[tokio::test]
async fn timestamps_and_security_headers_are_found() {
    let lab = Lab::start().await.unwrap();
    let report = probe(&lab, "timestamps").await;
    let leaf = &tls(&report).chain[0];
    assert_eq!(leaf.sct_count, 2);
    assert!(leaf.sct_newest.is_some_and(|at| at > leaf.not_before && at < leaf.not_after));

    let report = probe(&lab, "security-headers").await;
    let found = &report.http().unwrap().security_headers;
    assert_eq!(found[..], ["content-security-policy", "strict-transport-security", "x-frame-options"]);
}
