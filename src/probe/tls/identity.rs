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
        let pem = files.read(path).map_err(|error| TlsSetupError {
            key,
            problem: format!("cannot read `{}`: {error}", path.display()),
        })?;
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
