//! One address to one open socket: a single attempt, as blackbox makes, so that one address is measured.

use super::{
    run::StageError,
    wire::{Wire, reason_of_io},
};
use crate::model::Reason;
use std::{io, net::SocketAddr};
use tokio::net::TcpStream;

/// The connection did not come about.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address}")]
pub(super) struct ConnectError {
    address: SocketAddr,
    source: io::Error,
}

/// Connects to `address`.
#[expect(clippy::disallowed_methods, reason = "the one place that dials")]
pub(super) async fn connect(address: SocketAddr) -> Result<Wire, ConnectError> {
    let stream = TcpStream::connect(address).await.map_err(|source| ConnectError { address, source })?;
    // Delayed small writes would be timed as the peer's slowness. Failure to set it only makes the times worse.
    let _ = stream.set_nodelay(true);
    Ok(Box::new(stream))
}

impl StageError for ConnectError {
    fn reason(&self) -> Reason {
        use io::ErrorKind as Kind;
        /// `EMFILE` and `ENFILE` have no stable kind in the standard library.
        const NO_FILES: [i32; 2] = [24, 23];
        if self.source.raw_os_error().is_some_and(|code| NO_FILES.contains(&code)) {
            return Reason::LocalLimit;
        }
        match self.source.kind() {
            Kind::ConnectionRefused => Reason::Refused,
            Kind::AddrNotAvailable | Kind::AddrInUse | Kind::OutOfMemory => Reason::LocalLimit,
            Kind::PermissionDenied => Reason::AddressDenied,
            Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown | Kind::InvalidInput => {
                Reason::Unreachable
            }
            _ => reason_of_io(&self.source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dial_error_has_its_reason() {
        let reason = |source: io::Error| ConnectError { address: "192.0.2.1:443".parse().unwrap(), source }.reason();
        for (code, expected) in [
            (111, Reason::Refused),
            (101, Reason::Unreachable),
            (113, Reason::Unreachable),
            (24, Reason::LocalLimit),
            (99, Reason::LocalLimit),
            (1, Reason::AddressDenied),
            (13, Reason::AddressDenied),
            (104, Reason::Reset),
            (110, Reason::Timeout),
        ] {
            assert_eq!(reason(io::Error::from_raw_os_error(code)), expected, "errno {code}");
        }
    }
}
