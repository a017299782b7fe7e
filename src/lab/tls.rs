//! The lab's TLS servers: takes a certificate kind and how to speak, gives a stream per connection. A handshake that
//! fails ends with its alert delivered. Knows nothing of what is said inside.

use super::{
    ca::{Authority, Cert, Identity},
    ocsp::{self, Staple},
};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{ResolvesServerCert, ResolvesServerCertUsingSni, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use std::{fmt, sync::Arc};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, sink},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::either::Either;

/// A connection, encrypted or not.
pub(super) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// How a server speaks TLS.
#[derive(Clone, Copy, Debug)]
pub struct Tls {
    /// What it presents.
    pub cert: Cert,
    /// Which versions it speaks.
    pub versions: Versions,
    /// Whether it speaks HTTP/2 besides HTTP/1.1.
    pub h2: bool,
    /// Whether it wants a certificate of the client.
    pub client_cert: ClientCert,
    /// Whether it serves no other SNI than its own names.
    pub strict_sni: bool,
    /// The OCSP response it staples.
    pub staple: Option<Staple>,
    /// Whether it wants a key exchange group that no client guesses (a hello retry in TLS 1.3).
    pub hello_retry: bool,
}

impl Tls {
    /// TLS 1.2 and 1.3, HTTP/1.1, any SNI, no client certificate, no staple.
    pub const fn new(cert: Cert) -> Self {
        Self {
            cert,
            versions: Versions::Both,
            h2: false,
            client_cert: ClientCert::Ignored,
            strict_sni: false,
            staple: None,
            hello_retry: false,
        }
    }
}

/// Whether a server wants a certificate of the client; one that is shown must come from the lab's root.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientCert {
    /// It does not ask.
    Ignored,
    /// It asks, and goes on without one.
    Optional,
    /// It asks, and ends the connection without one.
    Required,
}

/// Which versions a server speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Versions {
    /// TLS 1.2 and 1.3.
    Both,
    /// TLS 1.2.
    Only12,
    /// TLS 1.3.
    Only13,
}

impl Versions {
    fn list(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Both => vec![&TLS13, &TLS12],
            Self::Only12 => vec![&TLS12],
            Self::Only13 => vec![&TLS13],
        }
    }
}

/// A TLS server's settings, ready for use.
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// Settings with a certificate of `ca` for each of `names`; the first is shown to a client that asks for another.
    pub fn new(ca: &Authority, tls: Tls, names: &[String]) -> Self {
        let mut provider = aws_lc_rs::default_provider();
        if tls.hello_retry {
            provider.kx_groups = vec![aws_lc_rs::kx_group::SECP384R1];
        }
        let provider = Arc::new(provider);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&tls.versions.list())
            .expect("the provider speaks TLS 1.2 and 1.3");
        let builder = if tls.client_cert == ClientCert::Ignored {
            builder.with_no_client_auth()
        } else {
            let mut roots = RootCertStore::empty();
            roots.add(ca.root().clone()).expect("the lab's root is a CA");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
            let optional = tls.client_cert == ClientCert::Optional;
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().expect("there is a root"))
        };
        let keys = names.iter().map(|name| {
            let identity = ca.identity(tls.cert, name);
            let staple = tls.staple.map(|kind| ocsp::staple(ca, &identity.chain[0], kind));
            (name.as_str(), CertifiedKey { ocsp: staple, ..certified_key(identity, &provider) })
        });
        let mut config = if tls.strict_sni {
            builder.with_cert_resolver(by_sni(keys))
        } else {
            let (_, key) = keys.into_iter().next().expect("a server has a name");
            builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)))
        };
        config.alpn_protocols = if tls.h2 { vec![b"h2".into(), b"http/1.1".into()] } else { vec![b"http/1.1".into()] };
        Self(Arc::new(config))
    }

    /// Shakes hands. `None` when that failed and the client has been told why.
    async fn accept(&self, tcp: TcpStream) -> Option<TlsStream<TcpStream>> {
        match TlsAcceptor::from(Arc::clone(&self.0)).accept(tcp).into_fallible().await {
            Ok(stream) => Some(stream),
            Err((_, tcp)) => {
                finish(tcp).await;
                None
            }
        }
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

/// The stream to speak on: over TLS when there are settings for it.
pub(super) async fn open(tls: Option<&ServerTls>, tcp: TcpStream) -> Option<Stream> {
    // Answers are written in one go; without this the small ones wait for an acknowledgement.
    tcp.set_nodelay(true).ok()?;
    match tls {
        Some(tls) => tls.accept(tcp).await.map(Either::Right),
        None => Some(Either::Left(tcp)),
    }
}

/// The name the client asked for, if it did.
pub(super) fn sni(stream: &Stream) -> Option<String> {
    match stream {
        Either::Left(_) => None,
        Either::Right(tls) => tls.get_ref().1.server_name().map(str::to_owned),
    }
}

/// Whether HTTP/2 was agreed on.
pub(super) fn is_h2(stream: &Stream) -> bool {
    matches!(stream, Either::Right(tls) if tls.get_ref().1.alpn_protocol() == Some(b"h2"))
}

/// Ends a connection so that all that was written arrives: closing with unread bytes would be a reset.
pub(super) async fn finish(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if stream.shutdown().await.is_ok() {
        drain(stream).await;
    }
}

/// Says nothing until the client goes away.
pub(super) async fn drain(mut stream: impl AsyncRead + Unpin) {
    // However it ends, it is over.
    let _ = tokio::io::copy(&mut stream, &mut sink()).await;
}

fn certified_key(identity: Identity, provider: &CryptoProvider) -> CertifiedKey {
    // Without a look at the certificate: some cannot be read by rustls.
    let key = provider.key_provider.load_private_key(identity.key).expect("the lab's keys are usable");
    CertifiedKey::new(identity.chain, key)
}

fn by_sni<'a>(keys: impl Iterator<Item = (&'a str, CertifiedKey)>) -> Arc<dyn ResolvesServerCert> {
    let mut resolver = ResolvesServerCertUsingSni::new();
    for (name, key) in keys {
        resolver.add(name, key).expect("a strict server's certificates are for its names");
    }
    Arc::new(resolver)
}
