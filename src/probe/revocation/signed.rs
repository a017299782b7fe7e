//! Who issued a certificate, and whether a signature is theirs.
//!
//! In: a chain as sent, the trusted roots. Out: the issuer's name and key, proven by the leaf's own signature.

use super::{Chain, der};
use rustls_pki_types::{CertificateDer, Der, SignatureVerificationAlgorithm, TrustAnchor};
use webpki::EndEntityCert;

/// The algorithms of the TLS library.
pub(crate) type Algorithms<'a> = &'a [&'static dyn SignatureVerificationAlgorithm];

/// Something signed, as certificates, revocation lists and OCSP responses have it: what, how, and the signature.
#[derive(Clone, Copy, Debug)]
pub(super) struct Signed<'a> {
    pub(super) message: &'a [u8],
    /// The algorithm identifier without its outer tag.
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Reads the three fields and leaves what follows.
    pub(super) fn read(fields: &mut der::Reader<'a>) -> Option<Self> {
        let message = fields.whole(der::SEQUENCE)?.whole;
        Some(Self { message, algorithm: fields.take(der::SEQUENCE)?, signature: fields.bits()? })
    }

    /// Whether the holder of this key signed it. `key` is a subject public key info without its outer tag.
    pub(super) fn is_by(&self, key: &[u8], algorithms: Algorithms<'_>) -> bool {
        let mut fields = der::Reader::new(key);
        let Some((kind, key)) = fields.take(der::SEQUENCE).zip(fields.bits()) else { return false };
        let fits = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            algorithm.signature_alg_id().as_ref() == self.algorithm && algorithm.public_key_alg_id().as_ref() == kind
        };
        let mut fitting = algorithms.iter().filter(fits);
        fitting.any(|algorithm| algorithm.verify_signature(key, self.message, self.signature).is_ok())
    }
}

/// The name and key of whoever signed a certificate, both without their outer tags, as trust anchors have them.
#[derive(Clone, Debug)]
pub(super) struct Issuer {
    subject: Vec<u8>,
    key: Vec<u8>,
}

impl Issuer {
    /// The issuer of the leaf, if it is among the certificates or the roots.
    pub(super) fn of_leaf(chain: &Chain<'_>) -> Option<Self> {
        let der = chain.presented.first()?;
        let leaf = EndEntityCert::try_from(der).ok()?;
        let signed = Signed::read(&mut der::Reader::sequence(der)?)?;
        let sent = chain.presented.iter().skip(1).filter_map(|der| EndEntityCert::try_from(der).ok());
        let sent = sent.map(|c| Self { subject: c.subject().to_vec(), key: key_of(&c) });
        let roots = chain.anchors.iter().filter(|anchor| anchor.subject.as_ref() == leaf.issuer());
        let roots =
            roots.map(|a| Self { subject: a.subject.to_vec(), key: a.subject_public_key_info.as_ref().to_vec() });
        sent.chain(roots).find(|issuer| issuer.subject == leaf.issuer() && signed.is_by(&issuer.key, chain.algorithms))
    }

    /// Its name with the outer tag.
    pub(super) fn name(&self) -> Vec<u8> {
        der::write(der::SEQUENCE, &self.subject)
    }

    /// Its subject public key info without the outer tag.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The bits of its public key.
    pub(super) fn key_bits(&self) -> &[u8] {
        let mut fields = der::Reader::new(&self.key);
        fields.take(der::SEQUENCE).and_then(|_| fields.bits()).unwrap_or_default()
    }

    /// Itself as a root, for certificates that it must have signed directly.
    pub(super) fn as_anchor(&self) -> TrustAnchor<'_> {
        TrustAnchor {
            subject: Der::from_slice(&self.subject),
            subject_public_key_info: Der::from_slice(&self.key),
            name_constraints: None,
        }
    }
}

/// The key of a certificate, without its outer tag.
pub(super) fn key_of(certificate: &EndEntityCert<'_>) -> Vec<u8> {
    let whole = certificate.subject_public_key_info();
    der::Reader::new(&whole).take(der::SEQUENCE).unwrap_or_default().to_vec()
}

/// The serial number of a certificate.
pub(super) fn serial_of(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    EndEntityCert::try_from(certificate).ok().map(|c| c.serial().to_vec())
}
