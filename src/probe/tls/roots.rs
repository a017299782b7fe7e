//! Trusted roots, parsed once per load.

use super::facts;
use crate::model::Certificate;
use rustls_pki_types::{CertificateDer, TrustAnchor, pem::PemObject};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// A set of trusted roots.
#[derive(Debug, Default)]
pub(super) struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    /// A root's dates by its subject and key, as a trust anchor carries none. Of a root that was reissued, those of the
    /// certificate that lasts longest.
    dates: HashMap<(Vec<u8>, Vec<u8>), (i64, i64)>,
    /// Every trusted certificate, to recognise a leaf that is trusted itself.
    ders: HashSet<Vec<u8>>,
}

impl Roots {
    /// The system's store, or the embedded roots where it holds none.
    pub(super) fn system() -> Self {
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::debug!(%error, "part of the system's trust store could not be read");
        }
        let roots = Self::of(loaded.certs);
        if roots.anchors.is_empty() {
            tracing::info!("the system has no trust store; using the embedded roots");
            return Self { anchors: webpki_roots::TLS_SERVER_ROOTS.to_vec(), ..Self::default() };
        }
        roots
    }

    /// All certificates of a PEM text.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("not a PEM text: {error}"))?;
        if certificates.is_empty() {
            return Err("holds no certificate; expected `-----BEGIN CERTIFICATE-----`".into());
        }
        let roots = Self::of(certificates);
        if roots.anchors.is_empty() {
            return Err("none of its certificates could be read".into());
        }
        Ok(roots)
    }

    /// These certificates; those that cannot be read are left out.
    pub(super) fn of(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = Self::default();
        for certificate in certificates {
            let Ok(anchor) = webpki::anchor_from_trusted_cert(&certificate).map(|anchor| anchor.to_owned()) else {
                tracing::debug!("a root certificate that cannot be read is left out");
                continue;
            };
            if let Some(dates) = facts::dates(&certificate) {
                let longest = roots.dates.entry(key_of(&anchor)).or_insert(dates);
                *longest = if dates.1 > longest.1 { dates } else { *longest };
            }
            roots.anchors.push(anchor);
            roots.ders.insert(certificate.to_vec());
        }
        roots
    }

    /// The roots, as path building takes them.
    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// When a root begins and ends, in Unix seconds; `None` where that is not known.
    pub(super) fn dates_of(&self, anchor: &TrustAnchor<'_>) -> Option<(i64, i64)> {
        self.dates.get(&key_of(anchor)).copied()
    }

    /// The trusted certificates of this subject. Reads them all anew: for failures only.
    pub(super) fn named(&self, subject: &str) -> impl Iterator<Item = Certificate> {
        let all = self.ders.iter().filter_map(|der| facts::read(der));
        all.filter(move |certificate| certificate.subject == subject)
    }

    /// Whether this very certificate is trusted.
    pub(super) fn trusts(&self, der: &[u8]) -> bool {
        self.ders.contains(der)
    }
}

fn key_of(anchor: &TrustAnchor<'_>) -> (Vec<u8>, Vec<u8>) {
    (anchor.subject.to_vec(), anchor.subject_public_key_info.to_vec())
}

/// The roots of one load: the system's store is read at most once, however many modules use it.
#[derive(Default)]
pub(crate) struct TrustStores {
    system: Option<Arc<Roots>>,
}

impl TrustStores {
    pub(super) fn system(&mut self) -> Arc<Roots> {
        Arc::clone(self.system.get_or_insert_with(|| Arc::new(Roots::system())))
    }
}
