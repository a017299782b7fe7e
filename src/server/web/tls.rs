//! TLS of our own port: the settings in, rustls's out, with certificates, key and CA read.

use super::verifier::Verifier;
use super::{FileMark, WebError};
use crate::model::{CipherSuite, ClientCertPolicy, Curve, SecretText, TextSource, TlsVersion, WebTls};
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};
use std::path::Path;
use std::sync::Arc;
use zeroize::Zeroizing;

const BLOCK: &str = "tls_server_config";

/// The settings for every handshake. What was read is noted in `files`; all faults at once.
pub(super) fn server_config(
    tls: &WebTls,
    http2: bool,
    files: &mut Vec<FileMark>,
) -> Result<ServerConfig, Vec<WebError>> {
    let provider = Arc::new(provider(tls));
    let mut reader = Reader { files, errors: Vec::new() };
    let identity = reader.identity(tls, &provider);
    let verifier = reader.verifier(tls, &provider);
    let (Some(identity), Some(verifier)) = (identity, verifier) else { return Err(reader.errors) };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(tls.min_version, tls.max_version))
        .map_err(|error| vec![WebError { path: BLOCK.into(), problem: error.to_string() }])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.ignore_client_order = tls.prefer_server_cipher_suites;
    config.alpn_protocols = if http2 { vec![b"h2".into(), b"http/1.1".into()] } else { vec![b"http/1.1".into()] };
    Ok(config)
}

fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    let speaks = [(TlsVersion::Tls13, &version::TLS13), (TlsVersion::Tls12, &version::TLS12)];
    speaks.into_iter().filter(|(v, _)| (min..=max).contains(v)).map(|(_, supported)| supported).collect()
}

/// The suites and key exchanges that are asked for. Where no suite of TLS 1.3 is named they are all spoken: in the
/// programs that this file format comes from, the list is about TLS 1.2.
fn provider(tls: &WebTls) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let chosen = &tls.cipher_suites;
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let of_version =
            |suite: SupportedCipherSuite| (suite.version() == &version::TLS13) == (version == TlsVersion::Tls13);
        let wanted: Vec<_> = chosen.iter().filter(|s| s.version() == version).map(|&s| suite(s)).collect();
        if !wanted.is_empty() || (version == TlsVersion::Tls12 && !chosen.is_empty()) {
            provider.cipher_suites.retain(|&suite| !of_version(suite));
            provider.cipher_suites.extend(wanted);
        }
    }
    if !tls.curve_preferences.is_empty() {
        provider.kx_groups = tls.curve_preferences.iter().map(|&curve| group(curve)).collect();
    }
    provider
}

fn suite(suite: CipherSuite) -> SupportedCipherSuite {
    match suite {
        CipherSuite::Aes128Gcm => cipher_suite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::Aes256Gcm => cipher_suite::TLS13_AES_256_GCM_SHA384,
        CipherSuite::ChaCha20Poly1305 => cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdsaAes128Gcm => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdsaAes256Gcm => cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdsaChaCha20Poly1305 => cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::RsaAes128Gcm => cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::RsaAes256Gcm => cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::RsaChaCha20Poly1305 => cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    }
}

fn group(curve: Curve) -> &'static dyn SupportedKxGroup {
    match curve {
        Curve::CurveP256 => kx_group::SECP256R1,
        Curve::CurveP384 => kx_group::SECP384R1,
        Curve::X25519 => kx_group::X25519,
        Curve::X25519MLKEM768 => kx_group::X25519MLKEM768,
    }
}

/// Reads what the settings name, and collects what is wrong.
struct Reader<'a> {
    files: &'a mut Vec<FileMark>,
    errors: Vec<WebError>,
}

impl Reader<'_> {
    fn identity(&mut self, tls: &WebTls, provider: &CryptoProvider) -> Option<CertifiedKey> {
        let chain = self.certificates("cert", &tls.cert);
        let (key_name, pem) = match &tls.key {
            SecretText::Inline(pem) => ("key", Zeroizing::new(pem.expose().as_bytes().to_vec())),
            SecretText::File(path) => ("key_file", Zeroizing::new(self.read("key_file", path)?)),
        };
        // The error's text could quote the key; its kind is enough.
        let Ok(key) = PrivateKeyDer::from_pem_slice(&pem) else {
            let problem = "holds no private key in PEM form (PKCS#8, PKCS#1 or SEC1, not encrypted)";
            return self.fail(key_name, problem.to_owned());
        };
        match CertifiedKey::from_der(chain?, key, provider) {
            Ok(identity) => Some(identity),
            Err(error) => self.fail(key_name, format!("cannot be used with the certificate: {error}")),
        }
    }

    fn verifier(&mut self, tls: &WebTls, provider: &Arc<CryptoProvider>) -> Option<Arc<dyn ClientCertVerifier>> {
        let policy = tls.client_auth;
        if policy == ClientCertPolicy::NoClientCert {
            return Some(Arc::new(NoClientAuth));
        }
        let chain = match &tls.client_ca {
            Some(ca) => Some(self.chain_verifier(ca, provider)?),
            None => None,
        };
        let algorithms = provider.signature_verification_algorithms;
        Some(Arc::new(Verifier { policy, chain, allowed_sans: tls.client_allowed_sans.clone(), algorithms }))
    }

    fn chain_verifier(
        &mut self,
        ca: &TextSource,
        provider: &Arc<CryptoProvider>,
    ) -> Option<Arc<dyn ClientCertVerifier>> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates("client_ca", ca)? {
            if let Err(error) = roots.add(certificate) {
                return self.fail("client_ca", format!("holds a certificate that cannot sign: {error}"));
            }
        }
        match WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build() {
            Ok(verifier) => Some(verifier),
            Err(error) => self.fail("client_ca", error.to_string()),
        }
    }

    fn certificates(&mut self, name: &str, source: &TextSource) -> Option<Vec<CertificateDer<'static>>> {
        let (name, pem) = match source {
            TextSource::Inline(pem) => (name.to_owned(), pem.clone().into_bytes()),
            TextSource::File(path) => {
                let name = format!("{name}_file");
                let pem = self.read(&name, path)?;
                (name, pem)
            }
        };
        match CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>() {
            Ok(certificates) if !certificates.is_empty() => Some(certificates),
            Ok(_) => self.fail(&name, "holds no certificate in PEM form".to_owned()),
            Err(error) => self.fail(&name, format!("is not a PEM text: {error}")),
        }
    }

    fn read(&mut self, name: &str, path: &Path) -> Option<Vec<u8>> {
        match std::fs::read(path) {
            Ok(content) => {
                self.files.push(FileMark::new(path, &content));
                Some(content)
            }
            Err(error) => self.fail(name, format!("cannot read `{}`: {error}", path.display())),
        }
    }

    fn fail<T>(&mut self, name: &str, problem: String) -> Option<T> {
        self.errors.push(WebError { path: format!("{BLOCK}.{name}"), problem });
        None
    }
}
