//! LDAP's StartTLS operation (RFC 4511 section 4.14), with just the BER that takes.

use super::{
    StartTlsError,
    talk::{Talk, shown},
};

/// Message 1, an extended request with the OID 1.3.6.1.4.1.1466.20037.
const REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const ENUMERATED: u8 = 0x0a;
const OCTET_STRING: u8 = 0x04;
const EXTENDED_RESPONSE: u8 = 0x78;

pub(super) async fn start(talk: &mut Talk) -> Result<(), StartTlsError> {
    talk.ask(REQUEST, "the answer to StartTLS").await?;
    let message = message(talk).await?;
    let Some(outcome) = outcome(&message) else { return Err(talk.refused(&message)) };
    match outcome {
        Outcome { id: [1], code: 0, .. } => Ok(()),
        Outcome { code, diagnostic, .. } => {
            Err(talk.refusal(&format!("is result code {code}: `{}`", shown(diagnostic))))
        }
    }
}

/// The content of the next message.
async fn message(talk: &mut Talk) -> Result<Vec<u8>, StartTlsError> {
    let [tag, first] = talk.peek().await?;
    let length_bytes = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
    if tag != SEQUENCE || first == 0x80 || length_bytes > 4 {
        return Err(talk.garbage());
    }
    let header = talk.take(2 + length_bytes).await?;
    let length = if length_bytes == 0 { usize::from(first) } else { big_endian(&header[2..]) };
    talk.take(length).await
}

struct Outcome<'a> {
    /// The number of the request; 0 where the server says unasked that it disconnects.
    id: &'a [u8],
    code: usize,
    diagnostic: &'a [u8],
}

/// Reads an extended response.
fn outcome(message: &[u8]) -> Option<Outcome<'_>> {
    let (id, rest) = element(message, INTEGER)?;
    let (response, _) = element(rest, EXTENDED_RESPONSE)?;
    let (code, rest) = element(response, ENUMERATED)?;
    let (_, rest) = element(rest, OCTET_STRING)?;
    let (diagnostic, _) = element(rest, OCTET_STRING)?;
    (1..=4).contains(&code.len()).then(|| Outcome { id, code: big_endian(code), diagnostic })
}

/// The content of the element with this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = bytes.split_first_chunk()?;
    if found != tag {
        return None;
    }
    if first < 0x80 {
        return rest.split_at_checked(usize::from(first));
    }
    let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f)).filter(|(length, _)| length.len() <= 4)?;
    rest.split_at_checked(big_endian(length))
}

/// A number of at most four bytes.
fn big_endian(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, &byte| number << 8 | usize::from(byte))
}
