//! One stream type for every stage after the connection: TCP, TLS, an upgraded connection, or a pipe in a test.

use std::io;
use tokio::io::{AsyncRead, AsyncWrite};

/// What a stage can read from and write to.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection. Dropping it closes it.
pub(super) type Wire = Box<dyn Io>;

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
