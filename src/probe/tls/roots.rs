//! Trusted roots: each store is read and parsed once per load, however many modules use it.
//!
//! In: a module's trust settings. Out: its roots, and the facts of every store in use.

use super::{facts, files::Files, setup::TlsSetupError};
use crate::model::{Certificate, ModuleName, RootStore, TextSource, Trust, TrustFacts};
use rustls_pki_types::{CertificateDer, TrustAnchor, pem::PemObject};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
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
    /// The certificates of a file: PEM with anything around it, or one in DER.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        /// How every DER certificate, and no PEM text, begins.
        const SEQUENCE: u8 = 0x30;
        let certificates: Vec<CertificateDer<'static>> = if bytes.first() == Some(&SEQUENCE) {
            vec![bytes.to_vec().into()]
        } else {
            let pem = CertificateDer::pem_slice_iter(bytes).collect::<Result<_, _>>();
            pem.map_err(|error| format!("not a PEM text: {error}"))?
        };
        if certificates.is_empty() {
            return Err("holds no certificate; expected `-----BEGIN CERTIFICATE-----`".into());
        }
        let roots = Self::of(certificates);
        if roots.anchors.is_empty() {
            return Err("none of its certificates could be read".into());
        }
        Ok(roots)
    }

    fn embedded() -> Self {
        Self { anchors: webpki_roots::TLS_SERVER_ROOTS.to_vec(), ..Self::default() }
    }

    /// These certificates; those that cannot be read are left out.
    pub(super) fn of(certificates: Vec<CertificateDer<'static>>) -> Self {
        let mut roots = Self::default();
        for certificate in certificates {
            let Ok(anchor) = webpki::anchor_from_trusted_cert(&certificate).map(|anchor| anchor.to_owned()) else {
                tracing::debug!("a root certificate that cannot be read is left out");
                continue;
            };
            if !roots.ders.insert(certificate.to_vec()) {
                continue;
            }
            if let Some(dates) = facts::dates(&certificate) {
                roots.note_dates(key_of(&anchor), dates);
            }
            roots.anchors.push(anchor);
        }
        roots
    }

    /// All roots of several stores, each once.
    fn union<'a>(stores: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        let mut known = HashSet::new();
        for store in stores {
            all.anchors.extend(store.anchors.iter().filter(|anchor| known.insert((*anchor).clone())).cloned());
            store.dates.iter().for_each(|(key, dates)| all.note_dates(key.clone(), *dates));
            all.ders.extend(store.ders.iter().cloned());
        }
        all
    }

    /// Of two roots with one name and key, the one that ends later decides.
    fn note_dates(&mut self, key: (Vec<u8>, Vec<u8>), dates: (i64, i64)) {
        let longest = self.dates.entry(key).or_insert(dates);
        *longest = if dates.1 > longest.1 { dates } else { *longest };
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

/// The stores of one load.
#[derive(Debug, Default)]
pub(crate) struct TrustStores {
    stores: Vec<Store>,
    /// The roots of modules that trust several stores, by the stores' places in the list above.
    unions: BTreeMap<Vec<usize>, Arc<Roots>>,
}

/// One store, as it was read.
#[derive(Debug)]
struct Store {
    origin: Origin,
    roots: Arc<Roots>,
    loaded: SystemTime,
    modules: Vec<ModuleName>,
}

/// Where a store comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Origin {
    System,
    Embedded,
    Inline(String),
    File(PathBuf),
    Folder(PathBuf),
}

impl TrustStores {
    /// Everything that `module` trusts.
    pub(super) fn roots(
        &mut self,
        trust: &Trust,
        module: &ModuleName,
        files: &mut Files,
    ) -> Result<Arc<Roots>, Vec<TlsSetupError>> {
        let (mut places, mut errors) = (Vec::new(), Vec::new());
        for origin in self.origins(trust, files) {
            match self.place(origin, files) {
                Ok(place) => places.push(place),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        for &place in &places {
            let modules = &mut self.stores[place].modules;
            // A module may have two `tls_config` blocks; they are read one after the other.
            if modules.last() != Some(module) {
                modules.push(module.clone());
            }
        }
        let stores = &self.stores;
        let roots = if let [one] = places[..] {
            Arc::clone(&stores[one].roots)
        } else {
            let union = || Roots::union(places.iter().map(|&place| stores[place].roots.as_ref())).into();
            Arc::clone(self.unions.entry(places.clone()).or_insert_with(union))
        };
        if roots.anchors.is_empty() {
            let problem = "no trusted roots: the system's store is empty or cannot be found".into();
            return Err(vec![TlsSetupError { key: "roots", problem }]);
        }
        Ok(roots)
    }

    /// The facts of every store in use.
    pub(crate) fn facts(&self) -> Vec<TrustFacts> {
        self.stores.iter().filter(|store| !store.modules.is_empty()).map(Store::facts).collect()
    }

    /// The places that `trust` names, the fallback decided.
    fn origins(&mut self, trust: &Trust, files: &mut Files) -> Vec<Origin> {
        let ca = trust.ca.iter().map(|source| match source {
            TextSource::Inline(pem) => Origin::Inline(pem.clone()),
            TextSource::File(path) => Origin::File(path.clone()),
        });
        let mut origins: Vec<Origin> = ca.chain(trust.folder.iter().cloned().map(Origin::Folder)).collect();
        for store in &trust.stores {
            origins.push(match store {
                RootStore::Embedded => Origin::Embedded,
                RootStore::SystemOrEmbedded if self.system_is_empty(files) => Origin::Embedded,
                RootStore::System | RootStore::SystemOrEmbedded => Origin::System,
            });
        }
        origins
    }

    fn system_is_empty(&mut self, files: &mut Files) -> bool {
        let known = self.stores.iter().any(|store| store.origin == Origin::System);
        let place = self.place(Origin::System, files);
        let empty = place.is_ok_and(|place| self.stores[place].roots.anchors.is_empty());
        if empty && !known {
            tracing::info!("the system has no trust store; using the embedded roots");
        }
        empty
    }

    /// Where in the list a store is; read now if nobody needed it before.
    fn place(&mut self, origin: Origin, files: &mut Files) -> Result<usize, TlsSetupError> {
        if let Some(place) = self.stores.iter().position(|store| store.origin == origin) {
            return Ok(place);
        }
        let roots = match &origin {
            Origin::System => Roots::of(files.system()),
            Origin::Embedded => Roots::embedded(),
            Origin::Inline(pem) => {
                Roots::from_bytes(pem.as_bytes()).map_err(|problem| TlsSetupError { key: "ca", problem })?
            }
            Origin::File(path) => read(path, files).map_err(|problem| TlsSetupError { key: "ca_file", problem })?,
            Origin::Folder(path) => folder(path, files).map_err(|problem| TlsSetupError { key: "ca_dir", problem })?,
        };
        self.stores.push(Store { origin, roots: roots.into(), loaded: SystemTime::now(), modules: Vec::new() });
        Ok(self.stores.len() - 1)
    }
}

impl Store {
    fn facts(&self) -> TrustFacts {
        let ends = self.roots.dates.values().map(|(_, end)| *end);
        TrustFacts {
            store: match &self.origin {
                Origin::System => "system".into(),
                Origin::Embedded => "embedded".into(),
                Origin::Inline(_) => self.modules.first().map_or_else(String::new, |name| format!("module {name}")),
                Origin::File(path) | Origin::Folder(path) => shown(path),
            },
            modules: self.modules.clone(),
            certificates: self.roots.anchors.len(),
            ends: ends.clone().min().zip(ends.max()),
            loaded: self.loaded,
        }
    }
}

/// A path that cannot be taken for one of the other stores' names.
fn shown(path: &Path) -> String {
    if path.is_absolute() || path.starts_with(".") || path.starts_with("..") {
        path.display().to_string()
    } else {
        Path::new(".").join(path).display().to_string()
    }
}

fn read(path: &Path, files: &mut Files) -> Result<Roots, String> {
    let bytes = files.read(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    Roots::from_bytes(&bytes).map_err(|problem| format!("`{}` {problem}", path.display()))
}

fn folder(path: &Path, files: &mut Files) -> Result<Roots, String> {
    let names = files.list(path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
    if names.is_empty() {
        let wanted = "files that end in .pem, .crt or .cer, or have OpenSSL's hashed names";
        return Err(format!("`{}` holds no certificate file; expected {wanted}", path.display()));
    }
    let stores = names.iter().map(|name| read(name, files)).collect::<Result<Vec<_>, _>>()?;
    Ok(Roots::union(&stores))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::ca::Authority;
    use std::fs;

    fn load(stores: &mut TrustStores, trust: &Trust) -> Result<Arc<Roots>, Vec<TlsSetupError>> {
        stores.roots(trust, &ModuleName::new("m"), &mut Files::default())
    }

    #[track_caller]
    fn problem(trust: &Trust) -> (&'static str, String) {
        let errors = load(&mut TrustStores::default(), trust).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        (errors[0].key, errors[0].problem.clone())
    }

    fn none() -> Trust {
        Trust { stores: Vec::new(), ..Trust::default() }
    }

    fn pem(ca: &Authority) -> TextSource {
        TextSource::Inline(ca.root_pem())
    }

    #[test]
    fn every_place_of_a_module_is_trusted_and_each_store_is_told_once() {
        let (one, two, three) = (Authority::new(), Authority::new(), Authority::new());
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("two.crt"), two.root_pem()).unwrap();
        fs::write(folder.path().join("three.cer"), three.root()).unwrap();
        fs::write(folder.path().join("5ed36f99.0"), three.root_pem()).unwrap();
        fs::write(folder.path().join("two.key"), "not looked at").unwrap();

        let mut stores = TrustStores::default();
        let own = Trust { ca: Some(pem(&one)), folder: Some(folder.path().into()), ..none() };
        let roots = load(&mut stores, &own).unwrap();
        assert_eq!(roots.anchors().len(), 3);
        assert!([&one, &two, &three].iter().all(|ca| roots.trusts(ca.root())));
        let both = Trust { stores: vec![RootStore::Embedded], ..own.clone() };
        let files = &mut Files::default();
        let added = stores.roots(&both, &ModuleName::new("n"), files).unwrap();
        assert_eq!(added.anchors().len(), 3 + webpki_roots::TLS_SERVER_ROOTS.len());
        assert!(added.dates_of(&webpki::anchor_from_trusted_cert(one.root()).unwrap()).is_some());

        let facts = stores.facts();
        let names: Vec<(&str, usize, usize)> =
            facts.iter().map(|f| (f.store.as_str(), f.certificates, f.modules.len())).collect();
        let path = folder.path().display().to_string();
        assert_eq!(names, [("module m", 1, 2), (&path, 2, 2), ("embedded", webpki_roots::TLS_SERVER_ROOTS.len(), 1)]);
        assert!(facts[1].ends.is_some_and(|(first, last)| first <= last) && facts[2].ends.is_none());
        assert!(Arc::ptr_eq(&roots, &load(&mut stores, &own).unwrap()), "a union is made once");
    }

    #[test]
    fn what_cannot_be_trusted_is_told_by_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bad.pem");
        let in_file = Trust { ca: Some(TextSource::File(path.clone())), ..none() };
        let in_folder = Trust { folder: Some(folder.path().into()), ..none() };
        let inline = |text: &str| Trust { ca: Some(TextSource::Inline(text.into())), ..none() };
        assert!(problem(&in_file).1.starts_with("cannot read `"));
        assert!(problem(&in_folder).1.ends_with("or have OpenSSL's hashed names"));
        let half = &Authority::new().root_pem()[..200];
        for (text, words) in [
            ("", "holds no certificate"),
            (half, "not a PEM text"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "none of its certificates"),
        ] {
            fs::write(&path, text).unwrap();
            for (trust, key) in [(&in_file, "ca_file"), (&in_folder, "ca_dir"), (&inline(text), "ca")] {
                let (found, problem) = problem(trust);
                assert_eq!(found, key);
                assert!(problem.contains(words), "{problem}");
                assert_eq!(problem.contains("bad.pem"), key != "ca", "{problem}");
            }
        }
        assert!(problem(&none()).1.starts_with("no trusted roots"));
    }

    #[test]
    fn text_around_certificates_and_line_ends_do_not_matter() {
        let ca = Authority::new();
        let text = format!("Subject: somebody\n# a comment\n{}\ntrailing", ca.root_pem());
        for text in [text.replace('\n', "\r\n"), format!("{text}{}", ca.root_pem()), text] {
            assert_eq!(Roots::from_bytes(text.as_bytes()).unwrap().anchors().len(), 1);
        }
    }

    #[test]
    fn a_file_cannot_pose_as_another_store() {
        assert_eq!(shown(Path::new("system")), "./system");
        assert_eq!(shown(Path::new("/etc/ca.pem")), "/etc/ca.pem");
        assert_eq!(shown(Path::new("../ca.pem")), "../ca.pem");
    }
}
