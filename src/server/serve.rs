//! Connections in, answers out, until told to stop: then running requests finish within a grace.

use super::handshake::{self, Opened};
use super::web::{Web, guard};
use axum::{Extension, Router, middleware};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A client has this long to send a request's head, and to send the next one: longer than a usual scrape interval, so
/// that Prometheus keeps its connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// Further clients wait to be accepted until one of these goes.
const MAX_CONNECTIONS: usize = 4096;
/// After an error of accept, such as no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// From where a request came; not known when the client is gone already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client(pub(super) Option<IpAddr>);

/// What clients meet: the endpoints, behind the protection that the web config asks for.
#[derive(Clone, Debug)]
pub struct Front {
    router: Router,
    web: Option<Arc<Web>>,
}

impl Front {
    /// Every path of `router` is protected, also those that do not exist. Without `web` it is open to anybody.
    pub fn new(router: Router, web: Option<Arc<Web>>) -> Self {
        let router = match &web {
            Some(web) => router.layer(middleware::from_fn_with_state(Arc::clone(web), guard)),
            None => router,
        };
        Self { router, web }
    }
}

/// Serves `front` until `shutdown` ends. Then no connection is accepted any more, idle ones close, and requests being
/// served get `grace` to finish; what is left is cut, its probes with it.
pub async fn serve(listener: TcpListener, front: Front, shutdown: impl Future<Output = ()>, grace: Duration) {
    let stop = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, front.clone(), stop.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    stop.cancel();
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = tokio::time::sleep(grace) => {
            tracing::warn!(connections = connections.len(), "cut the requests that did not finish in time");
        }
    }
}

/// One connection. When its client goes, hyper drops the running request, and that ends its probe.
async fn connection(stream: TcpStream, front: Front, stop: CancellationToken) {
    let peer = stream.peer_addr().ok().map(|peer| peer.ip());
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not set TCP_NODELAY");
    }
    let opened = tokio::select! {
        opened = handshake::open(stream, front.web.as_ref()) => opened,
        () = stop.cancelled() => return,
    };
    let Some(Opened { stream, http2 }) = opened else { return };
    let builder = builder(http2);
    let router = front.router.layer(Extension(Client(peer)));
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let result = tokio::select! {
        result = served.as_mut() => result,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a client's connection broke");
    }
}

fn builder(http2: bool) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // A connection of HTTP/2 may be idle, but its client must be there.
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(HEAD_TIMEOUT);
    if http2 { builder.http2_only() } else { builder.http1_only() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;
    use axum::routing::get;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::{Notify, mpsc, oneshot};

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    /// A server whose only answer waits for `gate`, and says by channel when it begins and when it is dropped.
    struct World {
        address: SocketAddr,
        gate: Arc<Notify>,
        events: mpsc::UnboundedReceiver<&'static str>,
        stop: oneshot::Sender<()>,
        server: JoinSet<()>,
    }

    struct Told(mpsc::UnboundedSender<&'static str>);

    impl Drop for Told {
        fn drop(&mut self) {
            let _ = self.0.send("ended");
        }
    }

    async fn world(grace: Duration) -> World {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let gate = Arc::new(Notify::new());
        let (tell, events) = mpsc::unbounded_channel();
        let waiting = Arc::clone(&gate);
        let handler = move || {
            let (told, gate) = (Told(tell.clone()), Arc::clone(&waiting));
            async move {
                told.0.send("began").unwrap();
                gate.notified().await;
                "done"
            }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let mut server = JoinSet::new();
        let shutdown = async { drop(stopped.await) };
        let front = Front::new(Router::new().route("/", get(handler)), None);
        server.spawn(serve(listener, front, shutdown, grace));
        World { address, gate, events, stop, server }
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut stream = connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        stream
    }

    async fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
        tokio::net::TcpSocket::new_v4()?.connect(address).await
    }

    #[tokio::test]
    async fn a_running_request_finishes_before_the_server_ends() {
        let mut world = world(Duration::from_secs(60)).await;
        let mut client = ask(world.address).await;
        let idle = connect(world.address).await.unwrap();
        assert_eq!(world.events.recv().await, Some("began"));
        world.stop.send(()).unwrap();
        world.gate.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        world.server.join_next().await.unwrap().unwrap();
        drop(idle);
        assert!(connect(world.address).await.is_err());
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_cut_after_the_grace() {
        let mut world = world(Duration::from_millis(10)).await;
        let mut client = ask(world.address).await;
        assert_eq!(world.events.recv().await, Some("began"));
        world.stop.send(()).unwrap();
        world.server.join_next().await.unwrap().unwrap();
        assert_eq!(world.events.recv().await, Some("ended"));
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
    }

    #[tokio::test]
    async fn a_client_that_goes_ends_its_request() {
        let mut world = world(Duration::ZERO).await;
        let client = ask(world.address).await;
        assert_eq!(world.events.recv().await, Some("began"));
        drop(client);
        assert_eq!(world.events.recv().await, Some("ended"));
    }

    #[tokio::test]
    async fn a_client_of_http2_that_goes_ends_its_request() {
        let (tell, mut events) = mpsc::unbounded_channel();
        let handler = move || {
            let told = Told(tell.clone());
            async move {
                told.0.send("began").unwrap();
                std::future::pending::<()>().await;
                drop(told);
            }
        };
        let (client, server) = tokio::io::duplex(65536);
        let router = TowerToHyperService::new(Router::new().route("/", get(handler)));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { drop(builder(true).serve_connection(TokioIo::new(server), router).await) });
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client));
        let (mut sender, connection) = handshake.await.unwrap();
        tasks.spawn(async move { drop(connection.await) });
        let request = Request::get("http://localhost/").body(axum::body::Body::empty()).unwrap();
        let answer = tasks.spawn(async move { drop(sender.send_request(request).await) });
        assert_eq!(events.recv().await, Some("began"));
        answer.abort();
        assert_eq!(events.recv().await, Some("ended"));
    }
}
