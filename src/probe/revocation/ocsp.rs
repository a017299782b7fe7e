//! OCSP (RFC 6960): a response's DER to what it says of one certificate, and the request that asks for it. Pure.
//!
//! A response is believed when the certificate's issuer signed it, or a responder to whom the issuer gave a certificate for
//! that purpose. It is never believed because of what it says of itself.

use super::{
    der::{self, Reader},
    signed::{Algorithms, Issuer, Signed, key_of},
};
use crate::model::{OcspFacts, OcspStatus};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};
use webpki::{EndEntityCert, KeyUsage};

/// Clocks may differ by this many seconds.
const SKEW: i64 = 5 * 60;
/// A response that does not say when it ends is taken for this many seconds.
const OPEN_END: i64 = 24 * 60 * 60;
/// Certificates of one response that are tried as its signer.
const MAX_SIGNERS: usize = 4;

const BASIC_RESPONSE: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01];
const OCSP_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x09];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];

/// The certificate that is asked about.
pub(super) struct Subject<'a> {
    pub(super) serial: &'a [u8],
    pub(super) issuer: &'a Issuer,
}

/// What `response` is worth for `subject` at `now`.
pub(super) fn judge(response: &[u8], subject: &Subject<'_>, now: UnixTime, algorithms: Algorithms<'_>) -> OcspFacts {
    let response = match Response::read(response) {
        Ok(response) => response,
        Err(facts) => return facts,
    };
    let Some(single) = response.singles.iter().find(|single| single.id.is_of(subject)) else {
        let words = "it is about other certificates";
        return OcspFacts {
            produced_at: Some(response.produced_at),
            ..OcspFacts::nothing(OcspStatus::NotForThisCertificate, words)
        };
    };
    let mut facts = OcspFacts {
        status: single.status,
        produced_at: Some(response.produced_at),
        this_update: Some(single.this_update),
        next_update: single.next_update,
        revoked_at: single.revoked_at,
        reason: single.reason,
        problem: String::new(),
    };
    if let Err((status, problem)) =
        response.signed_for(subject.issuer, now, algorithms).and_then(|()| in_time(single, now))
    {
        facts.status = status;
        facts.problem = problem.into();
    }
    facts
}

/// Whether the status holds now. A revocation does not end with its response.
fn in_time(single: &Single<'_>, now: UnixTime) -> Result<(), (OcspStatus, &'static str)> {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let end = single.next_update.unwrap_or_else(|| single.this_update.saturating_add(OPEN_END));
    match single.status {
        OcspStatus::Revoked => Ok(()),
        _ if single.this_update > now.saturating_add(SKEW) => {
            Err((OcspStatus::NotYetValid, "its time has not come (thisUpdate)"))
        }
        _ if end < now.saturating_sub(SKEW) => Err((OcspStatus::Stale, "its time has passed (nextUpdate)")),
        _ => Ok(()),
    }
}

/// Asks about `subject`, in the form that responders can prepare answers for (RFC 5019): SHA-1, one certificate, no nonce.
pub(super) fn request(subject: &Subject<'_>) -> Vec<u8> {
    let algorithm = der::write_sequence(&[&der::write(der::OID, SHA1), &der::write(der::NULL, &[])]);
    let id = der::write_sequence(&[
        &algorithm,
        &der::write(der::OCTET_STRING, &Sha1::digest(subject.issuer.name())),
        &der::write(der::OCTET_STRING, &Sha1::digest(subject.issuer.key_bits())),
        &der::write(der::INTEGER, subject.serial),
    ]);
    let list = der::write_sequence(&[&der::write_sequence(&[&id])]);
    der::write_sequence(&[&der::write_sequence(&[&list])])
}

/// A response that could be read.
struct Response<'a> {
    produced_at: i64,
    singles: Vec<Single<'a>>,
    signed: Signed<'a>,
    certificates: Vec<CertificateDer<'a>>,
}

/// What a response says of one certificate.
struct Single<'a> {
    id: CertId<'a>,
    status: OcspStatus,
    revoked_at: Option<i64>,
    reason: Option<&'static str>,
    this_update: i64,
    next_update: Option<i64>,
}

/// How a response names a certificate.
struct CertId<'a> {
    /// The hash's object identifier.
    hash: &'a [u8],
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: &'a [u8],
}

impl<'a> Response<'a> {
    fn read(response: &'a [u8]) -> Result<Self, OcspFacts> {
        let malformed = || OcspFacts::nothing(OcspStatus::Malformed, "it is not an OCSP response");
        let mut outer = Reader::sequence(response).ok_or_else(malformed)?;
        match outer.take(der::ENUMERATED).ok_or_else(malformed)? {
            [0] => {}
            code => return Err(OcspFacts::nothing(OcspStatus::Refused, refusal(code))),
        }
        Self::successful(&mut outer).ok_or_else(malformed)
    }

    fn successful(outer: &mut Reader<'a>) -> Option<Self> {
        let mut typed = Reader::sequence(outer.take(der::constructed(0))?)?;
        if typed.take(der::OID)? != BASIC_RESPONSE {
            return None;
        }
        let mut basic = Reader::sequence(typed.take(der::OCTET_STRING)?)?;
        let signed = Signed::read(&mut basic)?;
        let mut certificates = Vec::new();
        if let Some(certs) = basic.maybe(der::constructed(0)) {
            let mut certs = Reader::sequence(certs)?;
            while let Some(certificate) = certs.any().filter(|_| certificates.len() < MAX_SIGNERS) {
                certificates.push(CertificateDer::from(certificate.whole));
            }
        }
        let mut data = Reader::sequence(signed.message)?;
        data.maybe(der::constructed(0)); // version
        data.any()?; // who responds: the signature tells
        let produced_at = data.time()?;
        let mut list = Reader::new(data.take(der::SEQUENCE)?);
        let mut singles = Vec::new();
        while !list.is_empty() {
            singles.push(Single::read(&mut Reader::new(list.take(der::SEQUENCE)?))?);
        }
        Some(Self { produced_at, singles, signed, certificates })
    }

    /// Whether the issuer, or a responder of its own, signed the response.
    fn signed_for(
        &self,
        issuer: &Issuer,
        now: UnixTime,
        algorithms: Algorithms<'_>,
    ) -> Result<(), (OcspStatus, &'static str)> {
        if self.signed.is_by(issuer.key(), algorithms) {
            return Ok(());
        }
        let anchor = [issuer.as_anchor()];
        let signers = self.certificates.iter().filter_map(|der| EndEntityCert::try_from(der).ok());
        let mut stranger = false;
        for signer in signers.filter(|signer| self.signed.is_by(&key_of(signer), algorithms)) {
            let usage = KeyUsage::required(OCSP_SIGNING);
            if signer.verify_for_usage(algorithms, &anchor, &[], now, usage, None, None).is_ok() {
                return Ok(());
            }
            stranger = true;
        }
        let words = if stranger {
            "its signer has no valid certificate for signing OCSP responses from the issuer"
        } else {
            "neither the issuer nor a responder named in it signed it, or not by an algorithm that is supported"
        };
        Err((OcspStatus::BadSignature, words))
    }
}

impl<'a> Single<'a> {
    fn read(fields: &mut Reader<'a>) -> Option<Self> {
        let mut id = Reader::new(fields.take(der::SEQUENCE)?);
        let id = CertId {
            hash: Reader::new(id.take(der::SEQUENCE)?).take(der::OID)?,
            issuer_name: id.take(der::OCTET_STRING)?,
            issuer_key: id.take(der::OCTET_STRING)?,
            serial: id.take(der::INTEGER)?,
        };
        let status = fields.any()?;
        let (mut revoked_at, mut reason) = (None, None);
        let status = match status.tag {
            tag if tag == der::primitive(0) => OcspStatus::Good,
            tag if tag == der::constructed(1) => {
                let mut revoked = Reader::new(status.content);
                revoked_at = Some(revoked.time()?);
                reason = revoked.maybe(der::constructed(0)).map(reason_of);
                OcspStatus::Revoked
            }
            tag if tag == der::primitive(2) => OcspStatus::Unknown,
            _ => return None,
        };
        let this_update = fields.time()?;
        let next_update = match fields.maybe(der::constructed(0)) {
            Some(time) => Some(Reader::new(time).time()?),
            None => None,
        };
        Some(Self { id, status, revoked_at, reason, this_update, next_update })
    }
}

impl CertId<'_> {
    fn is_of(&self, subject: &Subject<'_>) -> bool {
        let matches = |hash: fn(&[u8]) -> Vec<u8>| {
            hash(&subject.issuer.name()) == self.issuer_name && hash(subject.issuer.key_bits()) == self.issuer_key
        };
        self.serial == subject.serial
            && match self.hash {
                SHA1 => matches(|bytes| Sha1::digest(bytes).to_vec()),
                SHA256 => matches(|bytes| Sha256::digest(bytes).to_vec()),
                SHA384 => matches(|bytes| Sha384::digest(bytes).to_vec()),
                SHA512 => matches(|bytes| Sha512::digest(bytes).to_vec()),
                _ => false,
            }
    }
}

/// What a response status other than success means (RFC 6960 section 4.2.1).
fn refusal(code: &[u8]) -> &'static str {
    match code {
        [1] => "the responder could not read the request",
        [2] => "the responder has an internal error",
        [3] => "the responder asks to try later",
        [5] => "the responder wants signed requests",
        [6] => "the responder does not answer for this certificate",
        _ => "the responder answered with an unknown error",
    }
}

/// The reason in an `ENUMERATED`.
fn reason_of(value: &[u8]) -> &'static str {
    match Reader::new(value).take(der::ENUMERATED) {
        Some([code]) => reason_name(*code),
        _ => reason_name(0),
    }
}

/// A revocation reason's name (RFC 5280 section 5.3.1).
pub(super) fn reason_name(code: u8) -> &'static str {
    match code {
        1 => "key_compromise",
        2 => "ca_compromise",
        3 => "affiliation_changed",
        4 => "superseded",
        5 => "cessation_of_operation",
        6 => "certificate_hold",
        8 => "remove_from_crl",
        9 => "privilege_withdrawn",
        10 => "aa_compromise",
        _ => "unspecified",
    }
}
