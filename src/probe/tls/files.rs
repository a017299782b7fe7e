//! The files of one load: read here, and remembered by their content, so that a later change can be noticed.
//!
//! In: paths. Out: bytes, and a fingerprint of everything that was read. Knows nothing of what is in the files.

use rustls_pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// Larger files are refused: a bundle of every public root is 200 KiB.
const MAX_FILE: u64 = 16 * 1024 * 1024;
/// Folders with more certificate files are refused.
const MAX_FOLDER: usize = 10_000;

/// The content of all files of a load, as one number. Two are equal when nothing changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint([u8; 32]);

/// What a load has read, and the digest of what was there; `None` where it could not be read.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<Place, Option<[u8; 32]>>);

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Place {
    File(PathBuf),
    /// The names of its certificate files; the files are places of their own.
    Folder(PathBuf),
    System,
}

impl Files {
    /// A file's content.
    pub(crate) fn read(&mut self, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
        let content = content(path);
        self.note(Place::File(path.to_owned()), content.as_ref().ok().map(|bytes| digest([bytes.as_slice()])));
        content
    }

    /// The certificate files of a folder, by name: those that end in `.pem`, `.crt` or `.cer`, and those with the names
    /// that `openssl rehash` gives.
    pub(super) fn list(&mut self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let names = names(folder);
        self.note(Place::Folder(folder.to_owned()), names.as_ref().ok().map(|names| digest_of_names(names)));
        names
    }

    /// The certificates of the system's trust store.
    pub(super) fn system(&mut self) -> Vec<CertificateDer<'static>> {
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::debug!(%error, "part of the system's trust store could not be read");
        }
        self.note(Place::System, Some(digest(loaded.certs.iter().map(AsRef::as_ref))));
        loaded.certs
    }

    /// Of what was read.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        let mut all = Sha256::new();
        for (place, digest) in &self.0 {
            all.update(format!("{place:?} {digest:?}\n"));
        }
        Fingerprint(all.finalize().into())
    }

    /// Of what is there now. Reads everything again.
    pub(crate) fn fingerprint_now(&self) -> Fingerprint {
        let mut now = Self::default();
        for place in self.0.keys() {
            // What cannot be read is a part of the fingerprint, too.
            match place {
                Place::File(path) => drop(now.read(path)),
                Place::Folder(path) => drop(now.list(path)),
                Place::System => drop(now.system()),
            }
        }
        now.fingerprint()
    }

    /// The first reading counts: had a file changed between two, the later fingerprint must differ.
    fn note(&mut self, place: Place, digest: Option<[u8; 32]>) {
        self.0.entry(place).or_insert(digest);
    }
}

fn content(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut file = File::open(path)?;
    // At once in the right size: what a growing buffer leaves behind is not wiped.
    let size = file.metadata()?.len().min(MAX_FILE);
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or_default() + 1));
    file.by_ref().take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is larger than 16 MiB"));
    }
    Ok(bytes)
}

fn names(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_certificate_name(&path) && path.is_file() {
            names.push(path);
        }
        if names.len() > MAX_FOLDER {
            return Err(io::Error::other("it holds more than 10000 certificate files"));
        }
    }
    names.sort();
    Ok(names)
}

fn is_certificate_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    let is_hash = stem.len() == 8 && stem.bytes().all(|b| b.is_ascii_hexdigit());
    let is_number = !ending.is_empty() && ending.bytes().all(|b| b.is_ascii_digit());
    ["pem", "crt", "cer"].iter().any(|known| ending.eq_ignore_ascii_case(known)) || (is_hash && is_number)
}

fn digest_of_names(names: &[PathBuf]) -> [u8; 32] {
    digest(names.iter().map(|name| name.as_os_str().as_encoded_bytes()))
}

fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut all = Sha256::new();
    for part in parts {
        all.update((part.len() as u64).to_be_bytes());
        all.update(part);
    }
    all.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_changes_with_content_and_only_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pem");
        fs::write(&path, "one").unwrap();
        let mut files = Files::default();
        assert_eq!(files.read(&path).unwrap().as_slice(), b"one");
        assert_eq!(files.list(folder.path()).unwrap(), std::slice::from_ref(&path));
        assert!(files.read(&folder.path().join("none")).is_err());
        assert_eq!(files.fingerprint(), files.fingerprint_now());

        fs::write(&path, "one").unwrap();
        assert_eq!(files.fingerprint(), files.fingerprint_now());
        fs::write(&path, "two").unwrap();
        assert_ne!(files.fingerprint(), files.fingerprint_now());
        fs::write(&path, "one").unwrap();
        fs::write(folder.path().join("b.crt"), "").unwrap();
        assert_ne!(files.fingerprint(), files.fingerprint_now(), "a new file in the folder");
        fs::remove_file(folder.path().join("b.crt")).unwrap();
        fs::write(folder.path().join("none"), "now it is there").unwrap();
        assert_ne!(files.fingerprint(), files.fingerprint_now());
        fs::remove_file(folder.path().join("none")).unwrap();
        assert_eq!(files.fingerprint(), files.fingerprint_now());
        fs::remove_file(&path).unwrap();
        assert_ne!(files.fingerprint(), files.fingerprint_now());
    }

    #[test]
    fn a_change_between_two_readings_of_one_load_is_noticed_later() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut files = Files::default();
        files.read(file.path()).unwrap();
        fs::write(file.path(), "changed").unwrap();
        files.read(file.path()).unwrap();
        assert_ne!(files.fingerprint(), files.fingerprint_now());
    }

    #[test]
    fn certificate_files_are_known_by_their_names() {
        for (name, is_one) in [
            ("ca.pem", true),
            ("ca.CRT", true),
            ("ca.cer", true),
            ("5ed36f99.0", true),
            ("5ed36f99.12", true),
            ("5ed36f99.r0", false),
            ("5ed36f9.0", false),
            ("ca.key", false),
            ("README", false),
            (".pem", true),
        ] {
            assert_eq!(is_certificate_name(Path::new(name)), is_one, "{name}");
        }
    }

    #[test]
    fn endless_files_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(MAX_FILE + 1).unwrap();
        let error = Files::default().read(file.path()).unwrap_err();
        assert!(error.to_string().contains("16 MiB"), "{error}");
    }
}
