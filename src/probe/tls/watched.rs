//! A TLS stream that remembers the alert it ended with.
//!
//! Layers above turn errors into text of their own; HTTP/2 keeps nothing of them. Here the type is still known.

use super::witness::Witness;
use crate::probe::wire::Wire;
use rustls::{AlertDescription, Error as TlsFault};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

/// A verified connection.
pub(super) struct Watched {
    stream: TlsStream<Wire>,
    /// A byte that was read while the handshake settled.
    early: Option<u8>,
    witness: Arc<Witness>,
}

impl Watched {
    pub(super) fn new(stream: TlsStream<Wire>, early: Option<u8>, witness: Arc<Witness>) -> Self {
        Self { stream, early, witness }
    }

    fn note<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &outcome
            && let Some(TlsFault::AlertReceived(alert)) = error.get_ref().and_then(|e| e.downcast_ref())
        {
            self.witness.note_late_alert(*alert);
        }
        outcome
    }
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(byte) = self.early.take()
        {
            buf.put_slice(&[byte]);
            return Poll::Ready(Ok(()));
        }
        let outcome = ready!(Pin::new(&mut self.stream).poll_read(cx, buf));
        Poll::Ready(match self.note(outcome) {
            // A server that closes without `close_notify` at a record's end is common; the layer above knows whether
            // its message was complete.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
            other => other,
        })
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        Poll::Ready(self.note(outcome))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        Poll::Ready(self.note(outcome))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Witness {
    fn note_late_alert(&self, alert: AlertDescription) {
        let _ = self.late_alert.set(alert);
    }

    /// The alert that a connection ended with after its handshake.
    pub(super) fn late_alert(&self) -> Option<AlertDescription> {
        self.late_alert.get().copied()
    }
}
