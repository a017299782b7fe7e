//! The lab's stranger chains: certificates that break a rule other than date and name, and chains that are right but sent
//! in an odd way. Takes what is to be odd, gives a chain and a key.

use super::ca::{Authority, Cert, Identity, VALID, authority_information_access, der, issuer_params, key, leaf_params};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, CustomExtension, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, NameConstraints,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::time::{Duration, SystemTime};

/// Old certificates that rcgen cannot make, and who signed them; `tests/fixtures/certs/README.md` tells how.
pub(super) const FIXTURE_ROOT: &[u8] = include_bytes!("../../tests/fixtures/certs/root.der");
const SHA1: (&[u8], &[u8]) = (
    include_bytes!("../../tests/fixtures/certs/sha1-signature.der"),
    include_bytes!("../../tests/fixtures/certs/sha1-signature.key.der"),
);
const VERSION_1: (&[u8], &[u8]) = (
    include_bytes!("../../tests/fixtures/certs/x509-v1.der"),
    include_bytes!("../../tests/fixtures/certs/x509-v1.key.der"),
);

/// The one name of the self-signed certificate that clients of the lab trust.
const TRUSTED_NAME: &str = "trusted-self-signed.localhost";
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A self-signed CA certificate that is a server's, as `openssl req -x509` makes them.
pub(super) fn trusted_leaf() -> (Certificate, KeyPair) {
    let key = key();
    let mut params = leaf_params(Cert::Good, TRUSTED_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages.clear();
    (params.self_signed(&key).expect(VALID), key)
}

impl Authority {
    /// The chain and key of an odd kind; `None` for the others.
    pub(super) fn odd(&self, cert: Cert, name: &str) -> Option<Identity> {
        Some(match cert {
            Cert::Sha1Signature => fixture(SHA1),
            Cert::VersionOne => fixture(VERSION_1),
            Cert::TrustedSelfSigned => {
                let (certificate, key) = &self.trusted_leaf;
                identity(vec![certificate.der().clone()], key)
            }
            Cert::WrongPurpose | Cert::CaAsLeaf | Cert::UnknownCritical | Cert::WithTimestamps => {
                self.odd_leaf(cert, name)
            }
            Cert::NameConstraint | Cert::ExpiredIntermediate => self.odd_intermediate(cert, name),
            Cert::CrossSigned | Cert::CrossSignedExpiredFirst => self.cross_signed(cert, name),
            Cert::RootSent | Cert::ExpiredRootSent | Cert::Duplicated => self.odd_order(cert, name),
            Cert::Long | Cert::Shuffled => self.long(cert, name),
            _ => return None,
        })
    }

    fn odd_leaf(&self, cert: Cert, name: &str) -> Identity {
        let mut params = leaf_params(Cert::Good, name);
        match cert {
            Cert::WrongPurpose => params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            Cert::CaAsLeaf => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
            Cert::UnknownCritical => params.custom_extensions.push(unknown_critical()),
            _ => params.custom_extensions.push(timestamps()),
        }
        let (leaf, key) = signed(params, &self.intermediate);
        identity(vec![leaf, self.intermediate.der().clone()], &key)
    }

    fn odd_intermediate(&self, cert: Cert, name: &str) -> Identity {
        let mut params = issuer_params("edgeprobe lab odd intermediate");
        if cert == Cert::NameConstraint {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("other.example".into())],
                excluded_subtrees: Vec::new(),
            });
        } else {
            params.not_after = (SystemTime::now() - Duration::from_secs(24 * 60 * 60)).into();
        }
        let intermediate = CertifiedIssuer::signed_by(params, key(), &self.root).expect(VALID);
        let (leaf, key) = signed(leaf_params(Cert::Good, name), &intermediate);
        identity(vec![leaf, intermediate.der().clone()], &key)
    }

    /// One issuer with two certificates of which one has ended.
    fn cross_signed(&self, cert: Cert, name: &str) -> Identity {
        let params = || issuer_params("edgeprobe lab cross-signed");
        let good = CertifiedIssuer::signed_by(params(), key(), &self.root).expect(VALID);
        let mut old = params();
        old.not_before = (SystemTime::now() - 3 * YEAR).into();
        old.not_after = (SystemTime::now() - 2 * YEAR).into();
        let old = old.signed_by(good.key(), &self.root).expect(VALID);
        let (leaf, key) = signed(leaf_params(Cert::Good, name), &good);
        let mut chain = vec![leaf, good.der().clone(), old.der().clone()];
        if cert == Cert::CrossSignedExpiredFirst {
            chain.swap(1, 2);
        }
        identity(chain, &key)
    }

    fn odd_order(&self, cert: Cert, name: &str) -> Identity {
        let (leaf, key) = signed(leaf_params(Cert::Good, name), &self.intermediate);
        let intermediate = self.intermediate.der().clone();
        let further = match cert {
            Cert::RootSent => vec![self.root.der().clone()],
            Cert::ExpiredRootSent => {
                let mut params = issuer_params("edgeprobe lab old root");
                params.not_before = (SystemTime::now() - 3 * YEAR).into();
                params.not_after = (SystemTime::now() - 2 * YEAR).into();
                vec![params.self_signed(&super::ca::key()).expect(VALID).der().clone()]
            }
            _ => vec![intermediate.clone(), leaf.clone()],
        };
        identity([vec![leaf, intermediate], further].concat(), &key)
    }

    /// Five certificates, the root not counted.
    fn long(&self, cert: Cert, name: &str) -> Identity {
        let below = |level: u8, issuer: &Issuer<'_, KeyPair>| {
            let params = issuer_params(&format!("edgeprobe lab intermediate, level {level}"));
            CertifiedIssuer::signed_by(params, key(), issuer).expect(VALID)
        };
        let first = below(1, &self.root);
        let second = below(2, &first);
        let third = below(3, &second);
        let fourth = below(4, &third);
        let (leaf, key) = signed(leaf_params(Cert::Good, name), &fourth);
        let mut chain = vec![leaf];
        chain.extend([&fourth, &third, &second, &first].map(|issuer| issuer.der().clone()));
        if cert == Cert::Shuffled {
            chain[1..].reverse();
            chain.swap(2, 3);
        }
        identity(chain, &key)
    }
}

fn signed(mut params: CertificateParams, issuer: &Issuer<'_, KeyPair>) -> (CertificateDer<'static>, KeyPair) {
    let key = key();
    params.custom_extensions.push(authority_information_access(super::ca::CA_ISSUERS, super::ca::ISSUER_LOCATION));
    (params.signed_by(&key, issuer).expect(VALID).into(), key)
}

fn identity(chain: Vec<CertificateDer<'static>>, key: &KeyPair) -> Identity {
    Identity { chain, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
}

fn fixture((certificate, key): (&'static [u8], &'static [u8])) -> Identity {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key));
    Identity { chain: vec![certificate.into()], key }
}

/// An extension of nobody's that must be understood.
fn unknown_critical() -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 32473, 1], der(0x05, &[]));
    extension.set_criticality(true);
    extension
}

/// Two signed certificate timestamps (RFC 6962 section 3.3), of an hour ago and of now; no log has signed them.
fn timestamps() -> CustomExtension {
    let now = SystemTime::now();
    let list: Vec<u8> = [now - Duration::from_secs(3600), now].into_iter().flat_map(timestamp).collect();
    let list = [&[0, u8::try_from(list.len()).expect("two are short")], &list[..]].concat();
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 11129, 2, 4, 2], der(0x04, &list))
}

fn timestamp(at: SystemTime) -> Vec<u8> {
    const VERSION: [u8; 1] = [0];
    const LOG: [u8; 32] = [7; 32];
    const NO_EXTENSIONS: [u8; 2] = [0, 0];
    const ECDSA_SHA256: [u8; 2] = [4, 3];
    const SIGNATURE: [u8; 10] = [0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    let millis = at.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs() * 1000).to_be_bytes();
    let content = [&VERSION[..], &LOG, &millis, &NO_EXTENSIONS, &ECDSA_SHA256, &SIGNATURE].concat();
    [&[0, u8::try_from(content.len()).expect("one is short")], &content[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::*;

    /// Each certificate as `subject <- issuer`, without what all names begin with.
    fn links(chain: &[CertificateDer<'_>]) -> Vec<String> {
        let short = |name: &X509Name<'_>| name.to_string().replace("CN=edgeprobe lab ", "").replace("CN=", "");
        let parsed = chain.iter().map(|der| X509Certificate::from_der(der).unwrap().1);
        parsed.map(|c| format!("{} <- {}", short(c.subject()), short(c.issuer()))).collect()
    }

    #[test]
    fn chains_are_odd_as_they_say() {
        let ca = Authority::new();
        let level = |n: u8| format!("intermediate, level {n}");
        let (leaf, intermediate) = ("a.localhost <- intermediate", "intermediate <- root");
        let up = |n: u8| format!("{} <- {}", level(n), if n == 1 { "root".into() } else { level(n - 1) });
        let long = |order: [u8; 4]| {
            let issuers = order.map(up);
            [vec![format!("a.localhost <- {}", level(4))], issuers.to_vec()].concat()
        };
        let cross = ["a.localhost <- cross-signed", "cross-signed <- root", "cross-signed <- root"];
        for (cert, expected) in [
            (Cert::RootSent, [leaf, intermediate, "root <- root"].map(String::from).to_vec()),
            (Cert::ExpiredRootSent, [leaf, intermediate, "old root <- old root"].map(String::from).to_vec()),
            (Cert::Duplicated, [leaf, intermediate, intermediate, leaf].map(String::from).to_vec()),
            (Cert::Long, long([4, 3, 2, 1])),
            (Cert::Shuffled, long([1, 3, 2, 4])),
            (Cert::CrossSigned, cross.map(String::from).to_vec()),
            (Cert::CrossSignedExpiredFirst, cross.map(String::from).to_vec()),
            (Cert::Sha1Signature, vec!["sha1-signature.localhost <- edgeprobe fixture root".into()]),
            (Cert::VersionOne, vec!["x509-v1.localhost <- edgeprobe fixture root".into()]),
            (Cert::TrustedSelfSigned, vec!["trusted-self-signed.localhost <- trusted-self-signed.localhost".into()]),
        ] {
            assert_eq!(links(&ca.identity(cert, "a.localhost").chain), expected, "{cert:?}");
        }
    }

    #[test]
    fn timestamps_are_two_and_readable() {
        let chain = Authority::new().identity(Cert::WithTimestamps, "a.localhost").chain;
        let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
        let lists = leaf.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SCT(list) => Some(list.len()),
            _ => None,
        });
        assert_eq!(lists.collect::<Vec<_>>(), [2]);
    }
}
