//! PostgreSQL's `SSLRequest` ("Frontend/Backend Protocol", section "SSL Session Encryption").

use super::{
    StartTlsError,
    talk::{MAX_PIECE, Talk, shown},
};

/// Its length, 8, and the number 80877103 in place of a protocol version.
const SSL_REQUEST: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";

pub(super) async fn start(talk: &mut Talk) -> Result<(), StartTlsError> {
    talk.ask(SSL_REQUEST, "the answer to SSLRequest").await?;
    match talk.peek().await? {
        [b'S'] => talk.take(1).await.map(drop),
        [b'N'] => Err(talk.refusal("is `N`: the server does not offer TLS")),
        [b'E'] => Err(error(talk).await),
        _ => Err(talk.garbage()),
    }
}

/// What an error packet says: a server may be full, or not know the request.
async fn error(talk: &mut Talk) -> StartTlsError {
    let length = match talk.peek().await {
        Ok([_, a, b, c, d]) => u32::from_be_bytes([a, b, c, d]) as usize,
        Err(error) => return error,
    };
    // Servers before 7.4 send a bare text here, whose first letters would be a length of gigabytes.
    if length > MAX_PIECE {
        return talk.garbage();
    }
    match talk.take(1 + length.max(4)).await {
        Ok(packet) => talk.refusal(&format!("is the error `{}`", shown(message(&packet[5..])))),
        Err(error) => error,
    }
}

/// The message among an error's fields: each is a letter and a text that ends with zero.
fn message(fields: &[u8]) -> &[u8] {
    fields.split(|&byte| byte == 0).find_map(|field| field.strip_prefix(b"M")).unwrap_or(fields)
}
