//! One stream type for every stage after the connection: TCP, TLS, an upgraded connection, or a pipe in a test.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What a stage can read from and write to.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection. Dropping it closes it.
pub(super) type Wire = Box<dyn Io>;

/// Bytes that went over a connection, each way.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
}

impl Traffic {
    /// Bytes received and sent so far.
    pub(super) fn so_far(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }
}

/// A connection whose bytes are counted.
pub(super) struct Counted {
    wire: Wire,
    traffic: Arc<Traffic>,
}

impl Counted {
    /// Counts the bytes of `wire` from now on.
    pub(super) fn new(wire: Wire, traffic: Arc<Traffic>) -> Self {
        Self { wire, traffic }
    }

    fn sent(&self, outcome: io::Result<usize>) -> Poll<io::Result<usize>> {
        if let Ok(bytes) = outcome {
            self.traffic.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        Poll::Ready(outcome)
    }
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let outcome = ready!(Pin::new(&mut self.wire).poll_read(cx, buf));
        self.traffic.received.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(outcome)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.wire).poll_write(cx, buf));
        self.sent(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.wire).poll_write_vectored(cx, bufs));
        self.sent(outcome)
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

/// The reason an I/O error stands for, in any phase after the connection was made.
pub(super) fn reason_of_io(error: &io::Error) -> crate::model::Reason {
    use crate::model::Reason;
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Reason::Reset,
        Kind::TimedOut => Reason::Timeout,
        _ => Reason::Broken,
    }
}
