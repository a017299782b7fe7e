//! Certificate revocation lists (RFC 5280 section 5): bytes in, an answer for one chain out. Signatures, scopes and entries
//! are judged by webpki on a path that it verified.

use super::{
    Chain,
    der::{self, Reader},
    ocsp::reason_name,
    revoked_words,
    signed::{Algorithms, Issuer, Signed, serial_of},
};
use rustls_pki_types::{CertificateRevocationListDer, UnixTime, pem::PemObject};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};

/// A list, read.
#[derive(Debug)]
pub(super) struct Crl {
    list: CertRevocationList<'static>,
    /// In Unix seconds.
    pub(super) next_update: i64,
    /// The bytes it was read from.
    pub(super) size: usize,
}

/// What a list says of a chain.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// A certificate of the path is revoked, in words.
    Revoked(String),
    /// The list covers the leaf, is in force, and does not name it.
    Good,
    /// It says nothing, and why.
    Silent(String),
}

/// The lists of a PEM text, or the one that `bytes` are.
pub(super) fn read_all(bytes: &[u8]) -> Result<Vec<Crl>, String> {
    if bytes.first() == Some(&der::SEQUENCE) {
        return Crl::read(bytes).map(|crl| vec![crl]);
    }
    let lists: Vec<CertificateRevocationListDer<'static>> = CertificateRevocationListDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("is neither DER nor PEM: {error}"))?;
    if lists.is_empty() {
        return Err("holds no revocation list; expected `-----BEGIN X509 CRL-----`, or DER".into());
    }
    lists.iter().map(|der| Crl::read(der)).collect()
}

impl Crl {
    fn read(bytes: &[u8]) -> Result<Self, String> {
        let list = OwnedCertRevocationList::from_der(bytes)
            .map_err(|error| format!("is not a revocation list that can be used: {error:?}"))?;
        let next_update = next_update(bytes).ok_or("does not say when the next list comes")?;
        Ok(Self { list: list.into(), next_update, size: bytes.len() })
    }

    /// What the list says of `chain`. A certificate in an outdated list is revoked all the same.
    pub(super) fn judge(&self, chain: &Chain<'_>) -> Answer {
        let any = (RevocationCheckDepth::Chain, UnknownStatusPolicy::Allow, ExpirationPolicy::Ignore);
        if self.check(chain, any) == Err(Error::CertRevoked) {
            return Answer::Revoked(self.words(chain));
        }
        let leaf = (RevocationCheckDepth::EndEntity, UnknownStatusPolicy::Deny, ExpirationPolicy::Enforce);
        match self.check(chain, leaf) {
            Ok(()) => Answer::Good,
            Err(Error::UnknownRevocationStatus) => Answer::Silent("the list is not about this certificate".into()),
            Err(Error::CrlExpired { .. }) => Answer::Silent("the list is outdated".into()),
            Err(Error::InvalidCrlSignatureForPublicKey) => Answer::Silent("the issuer did not sign the list".into()),
            Err(error) => Answer::Silent(format!("the list cannot be used: {error:?}")),
        }
    }

    fn check(
        &self,
        chain: &Chain<'_>,
        (depth, unknown, expiry): (RevocationCheckDepth, UnknownStatusPolicy, ExpirationPolicy),
    ) -> Result<(), Error> {
        let leaf = chain.presented.first().map_or(Err(Error::BadDer), EndEntityCert::try_from)?;
        let lists = [&self.list];
        let options = RevocationOptionsBuilder::new(&lists).expect("there is one list");
        let options = options.with_depth(depth).with_status_policy(unknown).with_expiration_policy(expiry).build();
        let intermediates = chain.presented.get(1..).unwrap_or_default();
        let usage = KeyUsage::server_auth();
        leaf.verify_for_usage(chain.algorithms, chain.anchors, intermediates, chain.now, usage, Some(options), None)
            .map(drop)
    }

    fn words(&self, chain: &Chain<'_>) -> String {
        let found = chain.presented.iter().enumerate().find_map(|(at, certificate)| {
            let issuer = EndEntityCert::try_from(certificate).ok()?.issuer() == self.list.issuer();
            let entry = self.list.find_serial(&serial_of(certificate)?).ok()??;
            issuer.then_some((at, entry.revocation_date, entry.reason_code))
        });
        let Some((at, date, reason)) = found else { return "a certificate is on the issuer's revocation list".into() };
        let which = if at == 0 { "the certificate" } else { "an intermediate certificate" };
        // The variants' values are the codes of the RFC.
        let reason = reason_name(reason.map_or(0, |reason| reason as u8));
        revoked_words(which, "the issuer's revocation list", (Some(seconds(date)), Some(reason)), chain.now)
    }
}

/// Whether `issuer` signed the list in `bytes`.
pub(super) fn is_signed_by(bytes: &[u8], issuer: &Issuer, algorithms: Algorithms<'_>) -> bool {
    let signed = Reader::sequence(bytes).and_then(|mut fields| Signed::read(&mut fields));
    signed.is_some_and(|signed| signed.is_by(issuer.key(), algorithms))
}

fn next_update(bytes: &[u8]) -> Option<i64> {
    let signed = Signed::read(&mut Reader::sequence(bytes)?)?;
    let mut fields = Reader::sequence(signed.message)?;
    fields.maybe(der::INTEGER); // version
    fields.take(der::SEQUENCE)?; // algorithm
    fields.take(der::SEQUENCE)?; // issuer
    fields.time()?; // this update
    fields.time()
}

fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}
