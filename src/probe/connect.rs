//! Addresses to one open socket: a single attempt, as blackbox makes, so that one address is measured; or a race of several
//! (RFC 8305), whose losers are closed.

use super::{
    run::StageError,
    wire::{Wire, reason_of_io},
};
use crate::model::{Dial, DialOutcome, Reason};
use futures_util::stream::{FuturesUnordered, StreamExt};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::sleep};

/// How long an attempt has before the next one begins beside it: RFC 8305 section 5, "Connection Attempt Delay".
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

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

/// Connects to the first of `candidates` (at least one) that answers. Each begins a little after the one before, at once
/// when that has failed. The attempts are noted in `dials` as they go. When all fail, the error is the first one's.
pub(super) async fn race(candidates: &[SocketAddr], dials: &mut Vec<Dial>) -> Result<(SocketAddr, Wire), ConnectError> {
    let (mut waiting, mut running) = (candidates.iter().copied(), FuturesUnordered::new());
    let mut failures: Vec<(SocketAddr, ConnectError)> = Vec::new();
    loop {
        if let Some(address) = waiting.next() {
            dials.push(Dial { address, outcome: DialOutcome::GivenUp });
            running.push(async move { (address, connect(address).await) });
        }
        let ended = tokio::select! {
            Some(ended) = running.next() => ended,
            () = sleep(ATTEMPT_DELAY), if waiting.len() > 0 => continue,
        };
        let (address, outcome) = ended;
        let dial = dials.iter_mut().find(|dial| dial.address == address).expect("it was noted when it began");
        match outcome {
            Ok(wire) => {
                dial.outcome = DialOutcome::Won;
                return Ok((address, wire));
            }
            Err(error) => {
                dial.outcome = DialOutcome::Failed(error.reason(), error.source.to_string());
                failures.push((address, error));
            }
        }
        if running.is_empty() && waiting.len() == 0 {
            let first = failures.iter().position(|(address, _)| *address == candidates[0]).unwrap_or_default();
            return Err(failures.swap_remove(first).1);
        }
    }
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
