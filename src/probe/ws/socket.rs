//! A WebSocket whose peer cannot keep us busy for ever: frames in and out, each message bounded by the frame layer, all
//! together by an allowance of messages and bytes. Knows no script.

use super::WsError;
use crate::model::WebSocketModule;
use crate::probe::{
    http::{Driver, HttpError},
    wire::Wire,
};
use futures_util::{SinkExt, StreamExt};
use http::response::Parts;
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as FrameError, Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// Messages, pings and pongs read in one go: of a probe, or of a held connection between two pings.
pub(super) const MAX_MESSAGES: u32 = 10_000;
/// Bytes read in one go, framing and empty fragments included.
pub(super) const MAX_BYTES: u64 = 64 * 1024 * 1024;
/// The read buffer is allocated at once; targets mostly send little.
const READ_BUFFER: usize = 4 * 1024;
/// What tungstenite puts in place of a close code that nobody may send.
const FORBIDDEN_CODE: (CloseCode, &str) = (CloseCode::Protocol, "Protocol violation");

/// An upgraded connection. Dropping it closes the socket.
pub(in crate::probe) struct Socket {
    frames: WebSocketStream<TokioIo<Upgraded>>,
    messages_left: u32,
    allowance: Allowance,
}

impl Socket {
    /// Takes over the connection of a good answer.
    pub(super) async fn take_over(
        (head, body): (Parts, Incoming),
        driver: &mut Driver,
        (module, allowance): (&WebSocketModule, Allowance),
    ) -> Result<Self, WsError> {
        let response = http::Response::from_parts(head, body);
        let upgraded = driver.drive(hyper::upgrade::on(response)).await.map_err(HttpError::from)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(0)
            .max_message_size(Some(module.max_message_size))
            .max_frame_size(Some(module.max_message_size));
        let frames = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await;
        Ok(Self { frames, messages_left: MAX_MESSAGES, allowance })
    }

    /// Lets as much come again as at first.
    pub(super) fn renew(&mut self) {
        self.messages_left = MAX_MESSAGES;
        self.allowance.refill(MAX_BYTES);
    }

    /// The next message, control frames included. A close frame is an error that tells its code.
    pub(super) async fn next(&mut self) -> Result<Message, WsError> {
        let message =
            self.frames.next().await.ok_or_else(|| WsError::Frames(Box::new(FrameError::ConnectionClosed)))??;
        self.messages_left = self.messages_left.checked_sub(1).ok_or(WsError::Flood)?;
        match message {
            Message::Close(Some(frame)) if (frame.code, frame.reason.as_str()) == FORBIDDEN_CODE => {
                Err(WsError::CloseCode)
            }
            Message::Close(frame) => Err(WsError::from_close(frame)),
            message => Ok(message),
        }
    }

    /// Sends a message, at once.
    pub(super) async fn send(&mut self, message: Message) -> Result<(), WsError> {
        Ok(self.frames.send(message).await?)
    }

    /// Says goodbye (RFC 6455 section 7.1.1) and listens until the answer is there.
    pub(super) async fn close(&mut self) -> Result<(), WsError> {
        self.frames.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await?;
        loop {
            self.next().await?;
        }
    }

    /// Sends the answer to the server's close frame, which waits to be sent.
    pub(super) async fn answer_close(&mut self) -> Result<(), WsError> {
        Ok(self.frames.flush().await?)
    }
}

/// How many more bytes may come. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<AtomicU64>);

impl Allowance {
    /// `bytes` in all.
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    /// `wire`, as far as the allowance lasts.
    pub(super) fn bound(&self, wire: Wire) -> Wire {
        Box::new(Bounded { wire, left: self.clone() })
    }

    fn refill(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn spend(&self, bytes: usize) {
        self.0.store(self.left().saturating_sub(bytes as u64), Ordering::Relaxed);
    }
}

/// What reading says when the allowance is spent.
#[derive(Debug)]
pub(super) struct Spent;

impl Spent {
    /// Whether an error of the frame layer means this.
    pub(super) fn is_in(error: &io::Error) -> bool {
        error.get_ref().and_then(|inner| inner.downcast_ref::<Self>()).is_some()
    }
}

impl std::error::Error for Spent {}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {} MiB came", MAX_BYTES / 1024 / 1024)
    }
}

struct Bounded {
    wire: Wire,
    left: Allowance,
}

impl AsyncRead for Bounded {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left.left() == 0 {
            return Poll::Ready(Err(io::Error::other(Spent)));
        }
        let before = buf.filled().len();
        let outcome = ready!(Pin::new(&mut self.wire).poll_read(cx, buf));
        self.left.spend(buf.filled().len() - before);
        Poll::Ready(outcome)
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.wire.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(cx)
    }
}
