//! The lab's scripted peers: takes a list of steps, plays it on each connection, byte by byte as written, over TLS or
//! not. Knows no protocol but where a TLS record and a request head end.

use super::{
    listener::Listener,
    tls::{self, ServerTls, Stream},
};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::either::Either;

/// One step of a script. The connection is closed in good order after the last one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Reads one TLS record, as the client's hello is.
    ReadHello,
    /// Reads up to the empty line that ends a request's head.
    ReadRequest,
    /// Sends these bytes.
    Send(&'static [u8]),
    /// Says nothing more until the client goes away.
    Stall,
    /// Drops the connection with a TCP reset.
    Reset,
}

/// A fatal TLS alert in a record of its own (RFC 8446 section 6).
pub const fn alert(description: u8) -> [u8; 7] {
    const ALERT: u8 = 21;
    const FATAL: u8 = 2;
    [ALERT, 3, 3, 0, 2, FATAL, description]
}

/// Starts a peer that plays `script` on each connection, after the TLS handshake when there are settings for it.
pub async fn serve(tls: Option<ServerTls>, script: &'static [Step]) -> io::Result<Listener> {
    Listener::start(move |tcp, _| {
        let tls = tls.clone();
        async move {
            if let Some(stream) = tls::open(tls.as_ref(), tcp).await {
                // A client that goes away in the middle ends the play.
                let _ = play(stream, script).await;
            }
        }
    })
    .await
}

async fn play(mut stream: Stream, script: &[Step]) -> io::Result<()> {
    for step in script {
        match step {
            Step::ReadHello => read_record(&mut stream).await?,
            Step::ReadRequest => read_head(&mut stream).await?,
            Step::Send(bytes) => {
                stream.write_all(bytes).await?;
                stream.flush().await?;
            }
            Step::Stall => {
                tls::drain(stream).await;
                return Ok(());
            }
            Step::Reset => {
                return match &stream {
                    Either::Left(tcp) => tcp.set_zero_linger(),
                    Either::Right(tls) => tls.get_ref().0.set_zero_linger(),
                };
            }
        }
    }
    tls::finish(stream).await;
    Ok(())
}

async fn read_record(stream: &mut Stream) -> io::Result<()> {
    let mut header = [0; 5];
    stream.read_exact(&mut header).await?;
    let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut record).await?;
    Ok(())
}

async fn read_head(stream: &mut Stream) -> io::Result<()> {
    let mut last = [0; 4];
    while last != *b"\r\n\r\n" {
        last.rotate_left(1);
        last[3] = stream.read_u8().await?;
    }
    Ok(())
}
