//! A client certificate and its key, from PEM texts in any of their forms.
//!
//! In: where the texts are. Out: what a handshake shows, or what is wrong, without a word of the key.

use super::{facts, files::Files, setup::TlsSetupError};
use crate::model::{ClientIdentity, SecretText, TextSource};
use rustls::{
    Error, InconsistentKeys,
    crypto::CryptoProvider,
    sign::{CertifiedKey, SigningKey},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{path::Path, sync::Arc};
use zeroize::Zeroizing;

/// What we show to a server that asks.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) key: Arc<CertifiedKey>,
    /// When the certificate ends, in Unix seconds.
    pub(super) not_after: Option<i64>,
}

/// One of the two texts, with its place for errors.
struct Text<'a> {
    key: &'static str,
    file: Option<&'a Path>,
    pem: Zeroizing<Vec<u8>>,
}

impl Identity {
    /// Reads the certificate and its key, which may stand in one file, and sees that they belong together.
    pub(super) fn load(
        from: &ClientIdentity,
        files: &mut Files,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsSetupError> {
        let cert = match &from.cert {
            TextSource::Inline(pem) => Text::inline("cert", pem),
            TextSource::File(path) => Text::file("cert_file", path, files)?,
        };
        let key = match &from.key {
            SecretText::Inline(pem) => Text::inline("key", pem.expose()),
            SecretText::File(path) => Text::file("key_file", path, files)?,
        };
        let chain = cert.certificates()?;
        let leaf = facts::read(&chain[0]).ok_or_else(|| cert.wrong("its first certificate cannot be read"))?;
        let keys = key.private_keys()?;
        let key = fitting(&chain, keys, provider).map_err(|misfit| match misfit {
            Misfit::Certificate(error) => cert.wrong(&format!("its first certificate cannot be used: {error}")),
            Misfit::Kind => key.wrong("its private key is of a kind that is not supported (RSA, ECDSA, Ed25519 are)"),
            Misfit::Other => {
                let whose = format!("it is not the key of the client certificate `{}`", leaf.subject);
                key.wrong(&format!("{whose}, the first one in `{}`", cert.key))
            }
        })?;
        Ok(Self { key: key.into(), not_after: Some(leaf.not_after) })
    }
}

/// Why no key will do.
enum Misfit {
    /// The certificate is at fault.
    Certificate(Error),
    /// No key is of a kind that we can sign with.
    Kind,
    /// The keys are another certificate's.
    Other,
}

/// The chain with the first key that belongs to it.
fn fitting(
    chain: &[CertificateDer<'static>],
    keys: Vec<PrivateKeyDer<'static>>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Misfit> {
    let usable: Vec<Arc<dyn SigningKey>> =
        keys.into_iter().filter_map(|key| provider.key_provider.load_private_key(key).ok()).collect();
    if usable.is_empty() {
        return Err(Misfit::Kind);
    }
    for key in usable {
        let certified = CertifiedKey::new(chain.to_vec(), key);
        match certified.keys_match() {
            Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => return Ok(certified),
            Err(Error::InconsistentKeys(_)) => {}
            Err(error) => return Err(Misfit::Certificate(error)),
        }
    }
    Err(Misfit::Other)
}

impl<'a> Text<'a> {
    fn inline(key: &'static str, pem: &str) -> Self {
        Self { key, file: None, pem: Zeroizing::new(pem.as_bytes().to_vec()) }
    }

    fn file(key: &'static str, path: &'a Path, files: &mut Files) -> Result<Self, TlsSetupError> {
        let pem = files
            .read(path)
            .map_err(|error| TlsSetupError { key, problem: format!("cannot read `{}`: {error}", path.display()) })?;
        Ok(Self { key, file: Some(path), pem })
    }

    fn wrong(&self, problem: &str) -> TlsSetupError {
        let place = self.file.map_or_else(String::new, |path| format!("`{}`: ", path.display()));
        TlsSetupError { key: self.key, problem: format!("{place}{problem}") }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
        // Broken sections are errors of the certificates only where no key stands among them: an encrypted one counts as
        // broken, and the key's own error says it better.
        let sections: Vec<_> = CertificateDer::pem_slice_iter(&self.pem).collect();
        if let Some(Err(error)) = sections.iter().find(|section| section.is_err())
            && !self.is_encrypted()
        {
            return Err(self.wrong(&format!("not a PEM text: {}", without_content(error))));
        }
        let chain: Vec<_> = sections.into_iter().flatten().collect();
        if chain.is_empty() {
            return Err(self.wrong("holds no certificate; expected `-----BEGIN CERTIFICATE-----`"));
        }
        Ok(chain)
    }

    /// Every key that is not encrypted.
    fn private_keys(&self) -> Result<Vec<PrivateKeyDer<'static>>, TlsSetupError> {
        let keys: Vec<_> = PrivateKeyDer::pem_slice_iter(&self.pem).flatten().collect();
        if !keys.is_empty() {
            return Ok(keys);
        }
        Err(self.wrong(if self.is_encrypted() {
            "its private key is encrypted, and there is nobody to ask for the password; decrypt it with \
             `openssl pkey -in KEY -out NEW` and keep the new file readable for edgeprobe only"
        } else {
            "holds no private key in PEM form; expected `-----BEGIN PRIVATE KEY-----` (PKCS#8), \
             `-----BEGIN RSA PRIVATE KEY-----` (PKCS#1) or `-----BEGIN EC PRIVATE KEY-----` (SEC1)"
        }))
    }

    /// By PKCS#8, or by the headers that older tools write (RFC 1421).
    fn is_encrypted(&self) -> bool {
        let text = String::from_utf8_lossy(&self.pem);
        text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
    }
}

/// An error's kind: its text could quote a line of a key.
fn without_content(error: &rustls_pki_types::pem::Error) -> &'static str {
    use rustls_pki_types::pem::Error as Pem;
    match error {
        Pem::MissingSectionEnd { .. } => "a section has no end line",
        Pem::IllegalSectionStart { .. } => "a section's first line is malformed",
        Pem::Base64Decode(_) => "a section is not Base64",
        _ => "a section cannot be read",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Secret;
    use rustls::crypto::aws_lc_rs;
    use std::{fs, path::PathBuf};

    fn fixture(name: &str) -> String {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/probe/tls/fixtures").join(name);
        fs::read_to_string(path).unwrap()
    }

    fn load(cert: &str, key: &str) -> Result<Identity, TlsSetupError> {
        let identity = ClientIdentity {
            cert: TextSource::Inline(cert.into()),
            key: SecretText::Inline(Secret::new(key.to_owned())),
        };
        Identity::load(&identity, &mut Files::default(), &aws_lc_rs::default_provider())
    }

    #[track_caller]
    fn problem(cert: &str, key: &str) -> (&'static str, String) {
        let error = load(cert, key).unwrap_err();
        for line in key.lines().filter(|line| line.len() > 40 && !line.contains("-----")) {
            assert!(!error.problem.contains(line), "a line of the key is shown: {}", error.problem);
        }
        (error.key, error.problem)
    }

    #[test]
    fn keys_are_read_in_every_form() {
        for (cert, key) in [
            ("rsa.crt", "rsa.pkcs8.key"),
            ("rsa.crt", "rsa.pkcs1.key"),
            ("ec.crt", "ec.pkcs8.key"),
            ("ec.crt", "ec.sec1.key"),
            ("ed25519.crt", "ed25519.pkcs8.key"),
        ] {
            let (cert, key) = (fixture(cert), fixture(key));
            assert!(load(&cert, &key).is_ok_and(|identity| identity.not_after > Some(4_000_000_000)), "{key}");
            let windows = key.replace('\n', "\r\n");
            assert!(load(&cert.replace('\n', "\r\n"), &windows).is_ok(), "CRLF: {key}");
            let talkative = format!("Bag Attributes\n    friendlyName: x\n{key}\n");
            assert!(load(&format!("subject=CN = x\n{cert}"), &talkative).is_ok(), "leading text: {key}");
            for both in [format!("{cert}{key}"), format!("{key}{cert}")] {
                assert!(load(&both, &both).is_ok(), "one file: {key}");
            }
        }
    }

    #[test]
    fn of_several_keys_and_certificates_the_fitting_key_and_the_whole_chain_are_taken() {
        let keys = ["rsa.pkcs8.key", "secp256k1.sec1.key", "ec.sec1.key"].map(fixture).concat();
        let identity = load(&["ec.crt", "rsa.crt"].map(fixture).concat(), &keys).unwrap();
        assert_eq!(identity.key.cert.len(), 2);
    }

    #[test]
    fn encrypted_keys_are_told_as_such() {
        for key in ["rsa.encrypted.key", "rsa.rfc1421.key"].map(fixture) {
            let cert = fixture("rsa.crt");
            for cert in [cert.clone(), format!("{key}{cert}")] {
                let (place, problem) = problem(&cert, &key);
                assert_eq!(place, "key");
                assert!(problem.starts_with("its private key is encrypted"), "{problem}");
            }
        }
    }

    #[test]
    fn what_does_not_belong_together_or_cannot_be_used_is_told_by_its_key() {
        let half = |name: &str| fixture(name)[..150].to_owned();
        let not_a_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned();
        for (cert, key, place, words) in [
            (
                fixture("ec.crt"),
                fixture("rsa.pkcs8.key"),
                "key",
                "it is not the key of the client certificate `CN=ec client`",
            ),
            (fixture("secp256k1.crt"), fixture("secp256k1.sec1.key"), "key", "a kind that is not supported"),
            (fixture("ec.crt"), fixture("ec.crt"), "key", "holds no private key in PEM form"),
            (fixture("ec.crt"), half("ec.pkcs8.key"), "key", "holds no private key in PEM form"),
            (fixture("ec.sec1.key"), fixture("ec.sec1.key"), "cert", "holds no certificate"),
            (half("ec.crt"), fixture("ec.sec1.key"), "cert", "a section has no end line"),
            (not_a_certificate, fixture("ec.sec1.key"), "cert", "its first certificate cannot be read"),
        ] {
            let (found, problem) = problem(&cert, &key);
            assert!(found == place && problem.contains(words), "{found}: {problem}");
        }
    }

    #[test]
    fn files_are_named_in_errors() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("a.crt"), folder.path().join("a.key"));
        let identity = ClientIdentity { cert: TextSource::File(cert.clone()), key: SecretText::File(key.clone()) };
        let load = || Identity::load(&identity, &mut Files::default(), &aws_lc_rs::default_provider());
        let error = load().unwrap_err();
        assert!(error.key == "cert_file" && error.problem.contains("a.crt"), "{error:?}");
        fs::write(&cert, fixture("ec.crt")).unwrap();
        let error = load().unwrap_err();
        assert!(error.key == "key_file" && error.problem.contains("a.key"), "{error:?}");
        fs::write(&key, fixture("rsa.pkcs1.key")).unwrap();
        let error = load().unwrap_err();
        assert!(
            error.key == "key_file" && error.problem.starts_with('`') && error.problem.contains("a.key"),
            "{error:?}"
        );
        fs::write(&key, fixture("ec.sec1.key")).unwrap();
        assert!(load().is_ok());
    }
}
