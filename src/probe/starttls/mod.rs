//! STARTTLS: a wire on which a server speaks its own protocol goes in, the same wire just before the TLS handshake comes
//! out. Says just enough of each protocol for that, in the clear and within bounds; knows nothing of TLS.

mod ldap;
mod lines;
mod mysql;
mod postgres;
mod talk;
#[cfg(test)]
mod tests;
mod xmpp;

use super::{
    run::StageError,
    wire::{Wire, reason_of_io},
};
use crate::model::{Reason, StartTls};
use std::io;
use talk::Talk;

/// Why the server did not come to speak TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum StartTlsError {
    #[error("{0}")]
    Refused(String),
    #[error("{protocol}: the connection ended before {awaited} was complete")]
    Ended { protocol: StartTls, awaited: &'static str },
    #[error("{protocol}: the connection failed before {awaited} was complete")]
    Failed { protocol: StartTls, awaited: &'static str, source: io::Error },
}

impl StageError for StartTlsError {
    fn reason(&self) -> Reason {
        match self {
            Self::Refused(_) => Reason::StarttlsRefused,
            Self::Ended { .. } => Reason::Broken,
            Self::Failed { source, .. } => reason_of_io(source),
        }
    }
}

/// Asks the server to switch to TLS. `name` is the TLS name, a DNS name or an address: some protocols want to hear it
/// earlier.
///
/// Bytes that come before they were asked for, or after the permission to start, are refused: whoever sits on the path
/// could have put them there, and a client that took them for the server's would be deceived.
pub(super) async fn upgrade(wire: Wire, protocol: StartTls, name: &str) -> Result<Wire, StartTlsError> {
    let mut talk = Talk::new(wire, protocol);
    match protocol {
        StartTls::Smtp => lines::smtp(&mut talk).await,
        StartTls::Imap => lines::imap(&mut talk).await,
        StartTls::Pop3 => lines::pop3(&mut talk).await,
        StartTls::Ftp => lines::ftp(&mut talk).await,
        StartTls::Ldap => ldap::start(&mut talk).await,
        StartTls::Postgres => postgres::start(&mut talk).await,
        StartTls::Mysql => mysql::start(&mut talk).await,
        StartTls::Xmpp => xmpp::start(&mut talk, name).await,
    }?;
    talk.finish()
}
