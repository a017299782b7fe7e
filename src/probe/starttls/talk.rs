//! A bounded conversation in the clear: requests out, lines and packets in. Knows no protocol, but that the server speaks
//! only when it is asked.

use super::StartTlsError;
use crate::model::StartTls;
use crate::probe::wire::Wire;
use bytes::BufMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Most bytes that a server may send before TLS.
const MAX_PLAINTEXT: usize = 16 * 1024;
/// Most bytes of one line, tag or packet.
pub(super) const MAX_PIECE: usize = 4 * 1024;
/// Most bytes of an answer that an error shows.
const MAX_SHOWN: usize = 200;

/// One side of the conversation: ours.
pub(super) struct Talk {
    wire: Wire,
    protocol: StartTls,
    unread: Vec<u8>,
    /// Bytes the server may still send.
    allowance: usize,
    /// What the server is to say now, in words.
    awaited: &'static str,
}

impl Talk {
    /// A conversation in which the server speaks first; [`Talk::ask`] makes it the client.
    pub(super) fn new(wire: Wire, protocol: StartTls) -> Self {
        Self { wire, protocol, unread: Vec::new(), allowance: MAX_PLAINTEXT, awaited: "the greeting" }
    }

    /// Sends a request and names what is to come next.
    pub(super) async fn ask(&mut self, request: &[u8], awaited: &'static str) -> Result<(), StartTlsError> {
        self.nothing_unread()?;
        self.awaited = awaited;
        let sent = async {
            self.wire.write_all(request).await?;
            self.wire.flush().await
        };
        sent.await.map_err(|source| StartTlsError::Failed { protocol: self.protocol, awaited, source })
    }

    /// Names what is to come next where nothing has to be asked for it.
    pub(super) fn expect(&mut self, awaited: &'static str) {
        self.awaited = awaited;
    }

    /// The next bytes, which stay unread.
    pub(super) async fn peek<const N: usize>(&mut self) -> Result<[u8; N], StartTlsError> {
        loop {
            if let Some(bytes) = self.unread.first_chunk() {
                return Ok(*bytes);
            }
            self.read_more().await?;
        }
    }

    /// The next `count` bytes.
    pub(super) async fn take(&mut self, count: usize) -> Result<Vec<u8>, StartTlsError> {
        if count > MAX_PIECE {
            return Err(self.too_long());
        }
        while self.unread.len() < count {
            self.read_more().await?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    /// All bytes up to and with `end`.
    pub(super) async fn take_until(&mut self, end: u8) -> Result<Vec<u8>, StartTlsError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.unread[searched..].iter().position(|&byte| byte == end) {
                return self.take(searched + at + 1).await;
            }
            searched = self.unread.len();
            if searched > MAX_PIECE {
                return Err(self.too_long());
            }
            self.read_more().await?;
        }
    }

    /// The server said `said`, and that is not what lets us go on.
    pub(super) fn refused(&self, said: &[u8]) -> StartTlsError {
        self.refusal(&format!("is `{}`", shown(said)))
    }

    /// What the server began to say cannot be what was awaited.
    pub(super) fn garbage(&self) -> StartTlsError {
        self.refused(&self.unread)
    }

    /// Refuses with words that tell of what was awaited.
    pub(super) fn refusal(&self, words: &str) -> StartTlsError {
        StartTlsError::Refused(format!("{}: {} {words}", self.protocol, self.awaited))
    }

    /// The wire, on which TLS may begin.
    pub(super) fn finish(self) -> Result<Wire, StartTlsError> {
        self.nothing_unread()?;
        Ok(self.wire)
    }

    fn nothing_unread(&self) -> Result<(), StartTlsError> {
        if self.unread.is_empty() {
            return Ok(());
        }
        let (count, said) = (self.unread.len(), shown(&self.unread));
        Err(self.refusal(&format!("was followed by {count} bytes that were not asked for: `{said}`")))
    }

    fn too_long(&self) -> StartTlsError {
        self.refusal(&format!("has a part longer than {MAX_PIECE} bytes: `{}`", shown(&self.unread)))
    }

    async fn read_more(&mut self) -> Result<(), StartTlsError> {
        let (protocol, awaited) = (self.protocol, self.awaited);
        if self.allowance == 0 {
            return Err(self.refusal(&format!("is not complete within {MAX_PLAINTEXT} bytes before TLS")));
        }
        self.unread.reserve(MAX_PIECE);
        let read = self.wire.read_buf(&mut (&mut self.unread).limit(self.allowance)).await;
        match read.map_err(|source| StartTlsError::Failed { protocol, awaited, source })? {
            0 => Err(StartTlsError::Ended { protocol, awaited }),
            count => {
                self.allowance -= count;
                Ok(())
            }
        }
    }
}

/// What a server said, as an error may show it: no line end, nothing but printable ASCII, not too long.
pub(super) fn shown(said: &[u8]) -> String {
    let said = said.trim_ascii_end();
    let mut text = String::new();
    for &byte in &said[..said.len().min(MAX_SHOWN)] {
        match byte {
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.extend(byte.escape_ascii().map(char::from)),
        }
    }
    if said.len() > MAX_SHOWN { text + "..." } else { text }
}
