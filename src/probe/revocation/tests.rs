//! OCSP responses and revocation lists made by OpenSSL (`tests/fixtures/ocsp`), judged at the time they were made.

use super::{Chain, Checks, crl, leaf, ocsp, signed::Issuer};
use crate::model::{OcspStatus, Reason, RevocationPolicy};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::{path::PathBuf, time::Duration};

/// A minute after all of them were made.
const NOW: u64 = MADE + 60;
const MADE: u64 = 1_795_303_430;
const DAY: u64 = 86_400;

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/ocsp").join(file)
}

fn fixture(kind: &str, file: &str) -> Vec<u8> {
    let path = path(kind).join(file);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn load(policy: &RevocationPolicy) -> Result<Checks, String> {
    Checks::new(policy, |path| std::fs::read(path))
}

/// A leaf and the root that issued it.
struct Pki {
    presented: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl Pki {
    fn new(kind: &str, leaf: &str) -> Self {
        let issuer = CertificateDer::from(fixture(kind, "issuer.crt"));
        let anchors = vec![webpki::anchor_from_trusted_cert(&issuer).unwrap().to_owned()];
        Self { presented: vec![fixture(kind, leaf).into()], anchors }
    }

    fn chain(&self, now: u64) -> Chain<'_> {
        Chain {
            presented: &self.presented,
            anchors: &self.anchors,
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms.all,
            now: UnixTime::since_unix_epoch(Duration::from_secs(now)),
        }
    }
}

fn status(kind: &str, leaf: &str, response: &[u8], now: u64) -> OcspStatus {
    super::response(response, &Pki::new(kind, leaf).chain(now)).status
}

#[test]
fn responses_of_openssl_are_judged_as_what_they_are() {
    use OcspStatus::{BadSignature, Good, NotForThisCertificate, NotYetValid, Revoked, Stale, Unknown};
    let cases = [
        ("good.crt", "good.der", NOW, Good),
        ("good.crt", "sha256.der", NOW, Good),
        ("good.crt", "delegated.der", NOW, Good),
        ("revoked.crt", "revoked.der", NOW, Revoked),
        ("unknown.crt", "unknown.der", NOW, Unknown),
        ("good.crt", "delegated_wrong_purpose.der", NOW, BadSignature),
        ("revoked.crt", "good.der", NOW, NotForThisCertificate),
        ("good.crt", "good.der", NOW + 8 * DAY, Stale),
        ("good.crt", "good.der", NOW - DAY, NotYetValid),
        ("good.crt", "good.der", NOW + 7 * DAY, Good), // within the skew
        ("revoked.crt", "revoked.der", NOW + 8 * DAY, Revoked),
    ];
    for kind in ["rsa", "ec"] {
        for (leaf, response, now, expected) in cases {
            assert_eq!(status(kind, leaf, &fixture(kind, response), now), expected, "{kind} {leaf} {response} {now}");
        }
        let mut turned = fixture(kind, "good.der");
        *turned.last_mut().unwrap() ^= 1;
        assert_eq!(status(kind, "good.crt", &turned, NOW), BadSignature, "{kind}");
    }
    let foreign = status("rsa", "good.crt", &fixture("ec", "good.der"), NOW);
    assert_eq!(foreign, NotForThisCertificate, "the same serial number of another issuer");
}

#[test]
fn times_and_reason_are_read() {
    let facts = super::response(&fixture("ec", "revoked.der"), &Pki::new("ec", "revoked.crt").chain(NOW + 2 * DAY));
    let made = i64::try_from(MADE).unwrap();
    assert_eq!(facts.produced_at, Some(made));
    assert_eq!(facts.next_update.zip(facts.this_update).map(|(next, this)| next - this), Some(7 * 86_400));
    assert_eq!(facts.reason, Some("key_compromise"));
    assert!(facts.revoked_at.is_some_and(|at| (made - 60..=made).contains(&at)), "{facts:?}");
    assert_eq!(facts.problem, "the certificate was revoked 2 days ago (key_compromise), says its issuer");
}

#[test]
fn without_the_issuer_nothing_is_believed() {
    let pki = Pki { anchors: Pki::new("rsa", "good.crt").anchors, ..Pki::new("ec", "revoked.crt") };
    let facts = super::response(&fixture("ec", "revoked.der"), &pki.chain(NOW));
    assert_eq!(facts.status, OcspStatus::IssuerUnknown);
}

#[test]
fn the_request_is_the_one_that_openssl_makes() {
    for kind in ["rsa", "ec"] {
        let pki = Pki::new(kind, "good.crt");
        let issuer = Issuer::of_leaf(&pki.chain(NOW)).unwrap();
        let subject = ocsp::Subject { serial: &[0x10, 0x00], issuer: &issuer };
        assert_eq!(ocsp::request(&subject), fixture(kind, "request.der"), "{kind}");
    }
}

#[test]
fn refusals_and_garbage_are_told_apart() {
    let of = |bytes: &[u8]| super::response(bytes, &Pki::new("ec", "good.crt").chain(NOW));
    assert_eq!(of(&[0x30, 3, 0x0a, 1, 3]).status, OcspStatus::Refused);
    assert_eq!(of(&[0x30, 3, 0x0a, 1, 3]).problem, "the responder asks to try later");
    for garbage in [&b""[..], b"<html>", &[0x30, 3, 0x0a, 1, 0], &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(of(garbage).status, OcspStatus::Malformed, "{garbage:?}");
    }
}

/// Every response, cut and turned at random (with a fixed seed): the status may be anything but believed where bits that
/// are signed changed, and nothing panics.
#[test]
fn no_mutation_is_believed_or_panics() {
    let mut random = fastrand::Rng::with_seed(20_261_121);
    for (leaf, file) in [("good.crt", "good.der"), ("revoked.crt", "revoked.der"), ("good.crt", "delegated.der")] {
        let pki = Pki::new("ec", leaf);
        let original = fixture("ec", file);
        let expected = super::response(&original, &pki.chain(NOW));
        for _ in 0..2_000 {
            let mut bytes = original.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len());
                match random.u8(..4) {
                    0 => bytes[at] ^= 1 << random.u8(..8),
                    1 => bytes[at] = random.u8(..),
                    2 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random.u8(..)),
                }
            }
            let facts = super::response(&bytes, &pki.chain(NOW));
            if matches!(facts.status, OcspStatus::Good | OcspStatus::Revoked | OcspStatus::Unknown) {
                // Only what no signature covers may have changed.
                assert_eq!(facts, expected);
            }
            assert!(crl::read_all(&bytes).is_err());
            leaf::pointers(&bytes);
        }
    }
}

#[test]
fn a_list_answers_for_its_issuers_certificates() {
    let policy = |kind: &str| RevocationPolicy { crl_files: vec![path(kind).join("crl.der")], ..Default::default() };
    for kind in ["rsa", "ec"] {
        let checks = load(&policy(kind)).unwrap();
        let revoked = checks.offline(&Pki::new(kind, "revoked.crt").chain(NOW), &[]);
        let (reason, words) = revoked.check.unwrap().unwrap_err();
        assert_eq!(reason, Reason::CertRevoked);
        assert!(words.contains("(key_compromise), says the issuer's revocation list"), "{words}");
        let good = checks.offline(&Pki::new(kind, "good.crt").chain(NOW), &[]);
        assert_eq!(good.check, Some(Ok(())));
        let days = good.facts.crl.unwrap().next_update.map(|next| (next - i64::try_from(MADE).unwrap()) / 86_400);
        assert_eq!(days, Some(30));
        let outdated = checks.offline(&Pki::new(kind, "good.crt").chain(NOW + 31 * DAY), &[]);
        assert_eq!((outdated.check, outdated.facts.crl.unwrap().problem), (None, "the list is outdated".into()));
        let late = checks.offline(&Pki::new(kind, "revoked.crt").chain(NOW + 31 * DAY), &[]);
        assert!(matches!(late.check, Some(Err((Reason::CertRevoked, _)))), "an outdated list still revokes");
    }
    let foreign = load(&policy("rsa")).unwrap().offline(&Pki::new("ec", "revoked.crt").chain(NOW), &[]);
    assert_eq!(foreign.check, None);
}

#[test]
fn list_files_that_cannot_be_used_are_named() {
    for (file, part) in
        [("no-such.crl", "cannot read"), ("README.md", "holds no revocation list"), ("ec/good.der", "is not a")]
    {
        let policy = RevocationPolicy { crl_files: vec![path(file)], ..Default::default() };
        let problem = load(&policy).unwrap_err();
        assert!(problem.contains(part) && problem.contains(file), "{problem}");
    }
}

#[test]
fn what_a_staple_comes_to_depends_on_whether_one_is_demanded() {
    let free = Checks::default();
    let demanding = load(&RevocationPolicy { require_staple: true, ..Default::default() }).unwrap();
    let (good, revoked) = (Pki::new("ec", "good.crt"), Pki::new("ec", "revoked.crt"));
    let check = |checks: &Checks, pki: &Pki, staple: &[u8], now| {
        let check = checks.offline(&pki.chain(now), staple).check;
        check.map(|check| check.map_err(|(reason, _)| reason))
    };
    let (fine, bad) = (fixture("ec", "good.der"), fixture("ec", "revoked.der"));
    assert_eq!(check(&free, &good, &[], NOW), None);
    assert_eq!(check(&free, &good, &fine, NOW), Some(Ok(())));
    assert_eq!(check(&free, &good, &fine, NOW + 8 * DAY), None, "stale");
    assert_eq!(check(&free, &good, b"garbage", NOW), None);
    assert_eq!(check(&free, &revoked, &bad, NOW), Some(Err(Reason::CertRevoked)), "proof, whatever the policy");
    assert_eq!(check(&demanding, &good, &fine, NOW), Some(Ok(())));
    for staple in [&b""[..], b"garbage", &bad] {
        assert_eq!(check(&demanding, &good, staple, NOW), Some(Err(Reason::StapleMissing)));
    }
    assert_eq!(check(&demanding, &good, &fine, NOW + 8 * DAY), Some(Err(Reason::StapleMissing)));
    assert_eq!(check(&demanding, &revoked, &bad, NOW), Some(Err(Reason::CertRevoked)));
}
