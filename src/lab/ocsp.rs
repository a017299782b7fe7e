//! The lab's OCSP responses (RFC 6960): takes a certificate or a request and what to say of it, gives DER signed by the
//! lab's intermediate. Knows nothing of servers.

use super::ca::Authority;
use rcgen::{ExtendedKeyUsagePurpose, KeyPair, SigningKey};
use rustls_pki_types::CertificateDer;
use sha1::{Digest, Sha1};
use std::time::{Duration, SystemTime};
use x509_parser::{parse_x509_certificate, prelude::ASN1Time};

/// A response that a server staples.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Staple {
    /// The certificate is good.
    Good,
    /// It is good, says a responder to whom the issuer delegated that.
    Delegated,
    /// It was revoked yesterday, because its key was stolen.
    Revoked,
    /// The issuer does not know it.
    Unknown,
    /// It was good until yesterday.
    Stale,
    /// Another certificate is good.
    OtherCertificate,
    /// It is good, says a stranger.
    BadSignature,
    /// Nothing that can be read.
    Malformed,
}

/// What a response says of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Status {
    Good,
    Revoked,
    Unknown,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const VALID: &str = "the lab's certificates and keys are valid";

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
const INTEGER: u8 = 0x02;
const SHA1_ALGORITHM: &[u8] = &[0x30, 9, 6, 5, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 5, 0];
const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const BASIC_RESPONSE: &[u8] = &[6, 9, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];

/// The response of this kind for `leaf`, a certificate of the lab's intermediate.
pub(super) fn staple(ca: &Authority, leaf: &CertificateDer<'_>, kind: Staple) -> Vec<u8> {
    let (_, certificate) = parse_x509_certificate(leaf).expect(VALID);
    let serial = certificate.raw_serial();
    let id = cert_id(ca, if kind == Staple::OtherCertificate { &[1] } else { serial });
    let issuer = ca.intermediate_key();
    match kind {
        Staple::Good | Staple::OtherCertificate => respond(issuer, &single(&id, Status::Good, 1), &[]),
        Staple::Revoked => respond(issuer, &single(&id, Status::Revoked, 1), &[]),
        Staple::Unknown => respond(issuer, &single(&id, Status::Unknown, 1), &[]),
        Staple::Stale => respond(issuer, &single(&id, Status::Good, -1), &[]),
        Staple::BadSignature => respond(&new_key(), &single(&id, Status::Good, 1), &[]),
        Staple::Delegated => {
            let (certificate, key) = ca.issue("edgeprobe lab responder", ExtendedKeyUsagePurpose::OcspSigning);
            respond(&key, &single(&id, Status::Good, 1), &certificate)
        }
        Staple::Malformed => b"no response".to_vec(),
    }
}

/// The responder's answer to a request: of `status`, for a day to come. `None` when the request cannot be read.
pub(super) fn answer(key: &KeyPair, request: &[u8], status: Status) -> Option<Vec<u8>> {
    // OCSPRequest, TBSRequest, the list of requests, the first of them: four sequences around the certificate's name.
    let mut id = request;
    for _ in 0..4 {
        id = id.get(2..).filter(|_| id[0] == SEQUENCE && id[1] < 0x80)?;
    }
    let length = usize::from(*id.get(1).filter(|length| **length < 0x80)?);
    Some(respond(key, &single(id.get(..2 + length)?, status, 1), &[]))
}

/// A key of its own.
pub(super) fn new_key() -> KeyPair {
    KeyPair::generate().expect("P-256 is supported")
}

fn cert_id(ca: &Authority, serial: &[u8]) -> Vec<u8> {
    let (_, issuer) = parse_x509_certificate(ca.intermediate()).expect(VALID);
    let key = &issuer.public_key().subject_public_key.data;
    let hash = |bytes: &[u8]| der(OCTET_STRING, &Sha1::digest(bytes));
    let parts = [SHA1_ALGORITHM.to_vec(), hash(issuer.subject().as_raw()), hash(key), der(INTEGER, serial)];
    der(SEQUENCE, &parts.concat())
}

/// A single response that ends `days` from now; it began three days before that.
fn single(id: &[u8], status: Status, days: i32) -> Vec<u8> {
    let now = SystemTime::now();
    let end = if days < 0 { now - DAY * days.unsigned_abs() } else { now + DAY * days.unsigned_abs() };
    let status = match status {
        Status::Good => der(0x80, &[]),
        Status::Revoked => der(0xa1, &[time(now - DAY), der(0xa0, &[0x0a, 1, 1])].concat()),
        Status::Unknown => der(0x82, &[]),
    };
    der(SEQUENCE, &[id.to_vec(), status, time(end - 3 * DAY), der(0xa0, &time(end))].concat())
}

/// A whole response with one single response in it.
fn respond(key: &KeyPair, single: &[u8], certificate: &[u8]) -> Vec<u8> {
    let by_key = der(0xa2, &der(OCTET_STRING, &Sha1::digest(key.public_key_raw())));
    let data = der(SEQUENCE, &[by_key, time(SystemTime::now()), der(SEQUENCE, single)].concat());
    let signature = key.sign(&data).expect(VALID);
    let signature = der(0x03, &[&[0], &signature[..]].concat());
    let certificates = if certificate.is_empty() { Vec::new() } else { der(0xa0, &der(SEQUENCE, certificate)) };
    let basic = der(SEQUENCE, &[data, ECDSA_SHA256.to_vec(), signature, certificates].concat());
    let typed = der(SEQUENCE, &[BASIC_RESPONSE.to_vec(), der(OCTET_STRING, &basic)].concat());
    der(SEQUENCE, &[vec![0x0a, 1, 0], der(0xa0, &typed)].concat())
}

/// A generalized time.
fn time(at: SystemTime) -> Vec<u8> {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let at = ASN1Time::from_timestamp(i64::try_from(seconds).unwrap_or(0)).expect("the clock is right").to_datetime();
    let (date, hour, minute, second) = (at.date(), at.hour(), at.minute(), at.second());
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    der(0x18, format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z").as_bytes())
}

/// One DER value of less than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("the lab's responses are small").to_be_bytes();
    let header = match length {
        [0, short @ 0..=0x7f] => vec![tag, short],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [header, content.to_vec()].concat()
}
