//! The first moments of a connection: a socket in; a stream to speak HTTP on out, encrypted where the web config says so.

use super::web::Web;
use rustls::ServerConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, sink};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

/// A client has this long from the first byte to the end of the handshake.
const DEADLINE: Duration = Duration::from_secs(10);
/// What a client that speaks plain HTTP to a TLS port reads.
const NOT_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
    this port speaks HTTPS\n";
/// The first byte of every TLS connection (RFC 8446 section 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

/// A connection to serve.
pub(super) struct Opened {
    pub(super) stream: Either<TcpStream, TlsStream<TcpStream>>,
    /// Whether HTTP/2 was agreed on.
    pub(super) http2: bool,
}

/// Makes `tcp` ready. `None` when the handshake failed; the client has been told as far as it listened.
pub(super) async fn open(tcp: TcpStream, web: Option<&Arc<Web>>) -> Option<Opened> {
    let plain = |tcp| Some(Opened { stream: Either::Left(tcp), http2: false });
    let Some(web) = web else { return plain(tcp) };
    web.refresh().await;
    let Some(config) = web.tls() else { return plain(tcp) };
    let peer = tcp.peer_addr().ok();
    let problem = match bounded(accept(tcp, config)).await {
        Ok(Ok(stream)) => {
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            return Some(Opened { stream: Either::Right(stream), http2 });
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not done within {} s", DEADLINE.as_secs()),
    };
    tracing::debug!(?peer, problem, "a client's TLS handshake failed");
    None
}

#[expect(clippy::disallowed_methods, reason = "the patience with our own clients is no stage of a probe")]
async fn bounded<T>(future: impl Future<Output = T>) -> Result<T, tokio::time::error::Elapsed> {
    tokio::time::timeout(DEADLINE, future).await
}

async fn accept(mut tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if tcp.peek(&mut first).await? == 1 && first[0] != HANDSHAKE_RECORD {
        tcp.write_all(NOT_TLS).await?;
        finish(tcp).await?;
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS"));
    }
    match TlsAcceptor::from(config).accept(tcp).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, tcp)) => {
            finish(tcp).await?;
            Err(error)
        }
    }
}

/// Ends a connection so that all that was written arrives: closing with unread bytes would be a reset.
async fn finish(mut tcp: TcpStream) -> io::Result<()> {
    tcp.shutdown().await?;
    tokio::io::copy(&mut tcp, &mut sink()).await.map(drop)
}
