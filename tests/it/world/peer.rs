//! A peer that does, on each connection, what a test's own function says: for misbehaviour that the lab does not have.

use edgeprobe::lab::ca::{Authority, Cert, Identity};
use rustls::{ServerConfig, crypto::aws_lc_rs, version};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    task::{JoinSet, yield_now},
};
use tokio_rustls::TlsAcceptor;

/// A connection, encrypted or not.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A running peer. Dropping it closes its port and all connections.
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
    _accepting: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Peer {
    /// Does `talk` with each TCP connection.
    pub(crate) async fn tcp<F, T>(talk: F) -> Self
    where
        F: Fn(TcpStream) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, counts) = (listener.local_addr().unwrap(), Arc::new(Counts::default()));
        let (shared, mut accepting) = (Arc::clone(&counts), JoinSet::new());
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    Ok((stream, _)) = listener.accept() => {
                        // A connection that ended before this one began is known to have ended, but not yet counted so.
                        yield_now().await;
                        let (open, talking) = (Open::new(&shared), talk(stream));
                        connections.spawn(async move {
                            talking.await;
                            drop(open);
                        });
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Self { address, counts, _accepting: accepting }
    }

    /// Does `talk` inside of TLS, with a good certificate of `ca` for `peer.localhost`.
    pub(crate) async fn tls<F, T>(ca: &Authority, talk: F) -> Self
    where
        F: Fn(Box<dyn Io>) -> T + Clone + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        Self::tls_as(ca.identity(Cert::Good, "peer.localhost"), talk).await
    }

    /// As [`Peer::tls`], with this certificate.
    pub(crate) async fn tls_as<F, T>(identity: Identity, talk: F) -> Self
    where
        F: Fn(Box<dyn Io>) -> T + Clone + Send + Sync + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(identity.chain, identity.key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::tcp(move |stream| {
            let (acceptor, talk) = (acceptor.clone(), talk.clone());
            async move {
                stream.set_nodelay(true).unwrap();
                if let Ok(stream) = acceptor.accept(stream).await {
                    talk(Box::new(stream)).await;
                }
            }
        })
        .await
    }

    /// Its URL by name.
    pub(crate) fn url(&self, scheme: &str) -> String {
        format!("{scheme}://peer.localhost:{}/", self.address.port())
    }

    /// Connections taken so far.
    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(Ordering::SeqCst)
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }

    /// The most connections that were open at once.
    pub(crate) fn most(&self) -> usize {
        self.counts.most.load(Ordering::SeqCst)
    }
}

/// Counts one connection for as long as it lives.
struct Open(Arc<Counts>);

impl Open {
    fn new(counts: &Arc<Counts>) -> Self {
        counts.accepted.fetch_add(1, Ordering::SeqCst);
        let open = counts.open.fetch_add(1, Ordering::SeqCst) + 1;
        counts.most.fetch_max(open, Ordering::SeqCst);
        Self(Arc::clone(counts))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}
