//! TLS settings made ready: roots parsed, client key loaded, the rustls config built once per load.

use super::{
    Attempt, TlsNames,
    files::Files,
    identity::Identity,
    memo::Memo,
    roots::{Roots, TrustStores},
    witness::{ClientAuth, Witness},
};
use crate::model::{ModuleName, Pin, TlsFacts, TlsOptions, TlsVersion, Trust};
use crate::probe::{guard::Guard, resolve::Resolvers, revocation::Checks};
use rustls::{
    ClientConfig, KeyLog, RootCertStore, SupportedProtocolVersion,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    version,
};
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use std::{
    net::{IpAddr, Ipv4Addr},
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

/// What the modules of one load share.
#[derive(Debug, Default)]
pub(crate) struct Loading {
    /// Every trust store in use.
    pub(crate) stores: TrustStores,
    /// Every file that was read.
    pub(crate) files: Files,
    /// Where the secrets of handshakes go, if anywhere.
    pub(crate) key_log: Option<Arc<dyn KeyLog>>,
    /// Where no probe connects.
    pub(crate) guard: Arc<Guard>,
    /// How names are turned into addresses.
    pub(crate) resolvers: Arc<Resolvers>,
}

/// A client that verifies its peer as rustls does, for peers that are not the target: what they show is not looked at
/// further. `user` is told among the modules that trust the roots.
pub(in crate::probe) fn verifying(
    trust: &Trust,
    user: &ModuleName,
    loading: &mut Loading,
) -> Result<Arc<ClientConfig>, String> {
    let Loading { stores, files, .. } = loading;
    let faults =
        |faults: Vec<TlsSetupError>| faults.into_iter().map(|fault| fault.problem).collect::<Vec<_>>().join("; ");
    let roots = RootCertStore { roots: stores.roots(trust, user, files).map_err(faults)?.anchors().to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER)).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(Arc::new(config))
}

/// One `tls_config`, ready for any number of handshakes.
#[derive(Debug)]
pub(crate) struct TlsSetup {
    base: ClientConfig,
    trust: Trusted,
    identity: Option<Identity>,
}

/// What a server's certificates are judged by.
#[derive(Clone, Debug)]
pub(super) struct Trusted {
    pub(super) roots: Arc<Roots>,
    /// What these roots have made of chains before.
    pub(super) memo: Arc<Memo>,
    pub(super) pins: Arc<[Pin]>,
    pub(super) checks: Arc<Checks>,
    /// Whether issuers that the server did not send are fetched.
    pub(super) fetch_issuers: bool,
    /// The verdict is exported but stops nothing, unless there are pins.
    pub(super) ignore_verdict: bool,
}

impl TlsSetup {
    /// Reads the files that a `tls_config` of a module names, parses roots and keys, and offers `alpn` in order. All errors
    /// at once.
    pub(crate) fn new(
        (module, options): (&ModuleName, &TlsOptions),
        alpn: &[&[u8]],
        loading: &mut Loading,
    ) -> Result<Self, Vec<TlsSetupError>> {
        let Loading { stores, files, key_log, .. } = loading;
        let mut errors = Vec::new();
        let roots = stores.roots(&options.trust, module, files);
        let roots = roots.map_err(|faults| errors.extend(faults)).unwrap_or_default();
        let identity = options.identity.as_ref().map(|from| Identity::load(from, files, &PROVIDER)).transpose();
        let identity = identity.map_err(|error| errors.push(error)).unwrap_or_default();
        let checks = Checks::new(&options.revocation, |path| files.read(path))
            .map_err(|problem| errors.push(TlsSetupError { key: "revocation.crl_files", problem }))
            .unwrap_or_default();
        if !errors.is_empty() {
            return Err(errors);
        }
        let trust = Trusted {
            roots,
            memo: Arc::default(),
            pins: options.pins.as_slice().into(),
            checks: Arc::new(checks),
            fetch_issuers: options.fetch_missing_issuers,
            ignore_verdict: options.insecure_skip_verify,
        };
        let placeholder = witness(&trust, IpAddr::from(Ipv4Addr::UNSPECIFIED).into(), None, TlsFacts::default());
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
        if let Some(key_log) = key_log {
            base.key_log = Arc::clone(key_log);
        }
        Ok(Self { base, trust, identity })
    }

    /// Prepares one handshake under `names`.
    pub(in crate::probe) fn attempt(&self, names: &TlsNames) -> Result<Attempt, InvalidDnsNameError> {
        let name = ServerName::try_from(names.verify.clone())?;
        let peer = names.sni.as_ref().map(|sni| ServerName::try_from(sni.clone())).transpose()?;
        let sni = names.sni.clone().filter(|_| matches!(peer, Some(ServerName::DnsName(_))));
        let facts = TlsFacts {
            server_name: names.verify.clone(),
            sni,
            client_cert_not_after: self.identity.as_ref().and_then(|identity| identity.not_after),
            ..TlsFacts::default()
        };
        let witness = witness(&self.trust, name.clone(), self.identity.as_ref(), facts);
        let mut config = self.base.clone();
        config.enable_sni = peer.is_some();
        config.dangerous().set_certificate_verifier(Arc::clone(&witness) as _);
        config.client_auth_cert_resolver = Arc::new(ClientAuth(Arc::clone(&witness)));
        Ok(Attempt { config: Arc::new(config), peer: peer.unwrap_or(name), witness, traffic: Arc::default() })
    }
}

fn witness(trust: &Trusted, name: ServerName<'static>, identity: Option<&Identity>, facts: TlsFacts) -> Arc<Witness> {
    Arc::new(Witness {
        trust: trust.clone(),
        name,
        algorithms: PROVIDER.signature_verification_algorithms,
        identity: identity.map(|identity| Arc::clone(&identity.key)),
        seen: Mutex::new(facts),
        stopped: OnceLock::new(),
        late_alert: OnceLock::new(),
    })
}

/// The versions rustls speaks, within the module's limits; older ones it cannot offer at all.
fn versions(min: TlsVersion, max: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    let speaks = [(TlsVersion::Tls12, &version::TLS12), (TlsVersion::Tls13, &version::TLS13)];
    speaks.into_iter().filter(|(v, _)| (min..=max).contains(v)).map(|(_, supported)| supported).collect()
}
