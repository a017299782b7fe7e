//! A module's TLS settings made ready: roots parsed, client key loaded, the rustls config built once per load.

use super::{
    Attempt,
    roots::{Roots, TrustStores},
    witness::{ClientAuth, Witness},
};
use crate::model::{ClientIdentity, SecretText, TextSource, TlsFacts, TlsOptions, TlsVersion, Trust};
use rustls::{
    ClientConfig, SupportedProtocolVersion,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    sign::CertifiedKey,
    version,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use std::{
    fs,
    path::Path,
    sync::{Arc, LazyLock, Mutex, OnceLock},
};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// Makes the crypto library gather its first random numbers, which costs tens of milliseconds once per process: at start,
/// so that no probe's handshake is timed with it.
pub(crate) fn warm_up() {
    for group in &PROVIDER.kx_groups {
        let _ = group.start();
    }
}

/// A TLS setting that cannot be made ready: which key of the block, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TlsSetupError {
    pub(crate) key: &'static str,
    pub(crate) problem: String,
}

/// A module's TLS, ready for any number of handshakes.
#[derive(Debug)]
pub(crate) struct TlsSetup {
    base: ClientConfig,
    roots: Arc<Roots>,
    identity: Option<Arc<CertifiedKey>>,
    ignore_verdict: bool,
}

impl TlsSetup {
    /// Reads files, parses roots and keys, and offers `alpn` in order. All errors at once.
    pub(crate) fn new(
        options: &TlsOptions,
        alpn: &[&[u8]],
        stores: &mut TrustStores,
    ) -> Result<Self, Vec<TlsSetupError>> {
        let mut errors = Vec::new();
        let roots = match &options.trust {
            Trust::System => Ok(stores.system()),
            Trust::Only(source) => trusted(source).map(Arc::new),
        };
        let roots = roots.map_err(|error| errors.push(error)).unwrap_or_default();
        let identity = options.identity.as_ref().map(client_identity).transpose();
        let identity = identity.map_err(|error| errors.push(error)).unwrap_or_default();
        if !errors.is_empty() {
            return Err(errors);
        }
        let placeholder = witness(&roots, None, options.insecure_skip_verify, TlsFacts::default());
        let mut base = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_protocol_versions(&versions(options.min_version, options.max_version))
            .map_err(|error| {
                vec![TlsSetupError { key: "max_version", problem: format!("no usable TLS version: {error}") }]
            })?
            .dangerous()
            .with_custom_certificate_verifier(placeholder)
            .with_no_client_auth();
        // Every probe is a full handshake: a resumed one would not show a replaced certificate.
        base.resumption = Resumption::disabled();
        base.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Self { base, roots, identity, ignore_verdict: options.insecure_skip_verify })
    }

    /// Prepares one handshake that will ask for, and verify, `server_name`.
    pub(in crate::probe) fn attempt(
        &self,
        server_name: &str,
    ) -> Result<Attempt, rustls_pki_types::InvalidDnsNameError> {
        let name = ServerName::try_from(server_name.to_owned())?;
        let facts = TlsFacts {
            server_name: server_name.to_owned(),
            sni_sent: matches!(name, ServerName::DnsName(_)),
            ..TlsFacts::default()
        };
        let witness = witness(&self.roots, self.identity.clone(), self.ignore_verdict, facts);
        let mut config = self.base.clone();
        config.dangerous().set_certificate_verifier(Arc::clone(&witness) as _);
        config.client_auth_cert_resolver = Arc::new(ClientAuth(Arc::clone(&witness)));
        Ok(Attempt { config: Arc::new(config), name, witness, traffic: Arc::default() })
    }
}

fn witness(
    roots: &Arc<Roots>,
    identity: Option<Arc<CertifiedKey>>,
    ignore_verdict: bool,
    facts: TlsFacts,
) -> Arc<Witness> {
    Arc::new(Witness {
        roots: Arc::clone(roots),
        algorithms: PROVIDER.signature_verification_algorithms,
        identity,
        ignore_verdict,
        seen: Mutex::new(facts),
        late_alert: OnceLock::new(),
    })
}

/// The versions rustls speaks, within the module's limits; older ones it cannot offer at all.
fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    let speaks = [(TlsVersion::Tls12, &version::TLS12), (TlsVersion::Tls13, &version::TLS13)];
    speaks.into_iter().filter(|(v, _)| (min..=max).contains(v)).map(|(_, supported)| supported).collect()
}

fn trusted(source: &TextSource) -> Result<Roots, TlsSetupError> {
    let (key, pem) = match source {
        TextSource::Inline(pem) => ("ca", pem.clone().into_bytes()),
        TextSource::File(path) => ("ca_file", read("ca_file", path)?),
    };
    Roots::from_pem(&pem).map_err(|problem| TlsSetupError { key, problem: place(source, &problem) })
}

fn client_identity(identity: &ClientIdentity) -> Result<Arc<CertifiedKey>, TlsSetupError> {
    let (cert_key, cert_pem) = match &identity.cert {
        TextSource::Inline(pem) => ("cert", pem.clone().into_bytes()),
        TextSource::File(path) => ("cert_file", read("cert_file", path)?),
    };
    let (key_key, key_pem) = match &identity.key {
        SecretText::Inline(pem) => ("key", zeroize::Zeroizing::new(pem.expose().as_bytes().to_vec())),
        SecretText::File(path) => ("key_file", zeroize::Zeroizing::new(read("key_file", path)?)),
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&cert_pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsSetupError { key: cert_key, problem: format!("not a PEM text: {error}") })?;
    if chain.is_empty() {
        return Err(TlsSetupError { key: cert_key, problem: "holds no certificate".into() });
    }
    // The error's text could quote the key; its kind is enough.
    let key = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|_| TlsSetupError {
        key: key_key,
        problem: "holds no private key in PEM form (PKCS#8, PKCS#1 or SEC1, not encrypted)".into(),
    })?;
    CertifiedKey::from_der(chain, key, &PROVIDER).map(Arc::new).map_err(|error| TlsSetupError {
        key: key_key,
        problem: format!("cannot be used with the certificate: {error}"),
    })
}

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsSetupError> {
    fs::read(path).map_err(|error| TlsSetupError { key, problem: format!("cannot read `{}`: {error}", path.display()) })
}

fn place(source: &TextSource, problem: &str) -> String {
    match source {
        TextSource::Inline(_) => problem.to_owned(),
        TextSource::File(path) => format!("`{}` {problem}", path.display()),
    }
}
