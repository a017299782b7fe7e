//! MySQL's and MariaDB's SSL request: the server's handshake packet is answered with one that asks for TLS and says no
//! more (`HandshakeV10` and `SSLRequest` of its protocol).

use super::{
    StartTlsError,
    talk::{MAX_PIECE, Talk, shown},
};

const HANDSHAKE_V10: u8 = 10;
const ERROR: u8 = 0xff;
/// Between the end of the server's version and its capabilities: thread id, half a nonce, a filler.
const TO_CAPABILITIES: usize = 4 + 8 + 1;
const CLIENT_PROTOCOL_41: u32 = 0x200;
const CLIENT_SSL: u32 = 0x800;
const CLIENT_SECURE_CONNECTION: u32 = 0x8000;
/// The longest packet we would take.
const MAX_PACKET: u32 = 16 * 1024 * 1024;
/// `utf8mb4_general_ci`, which every server that knows utf8mb4 has.
const CHARSET_UTF8MB4: u8 = 45;

pub(super) async fn start(talk: &mut Talk) -> Result<(), StartTlsError> {
    let [low, middle, high, sequence] = talk.peek().await?;
    let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
    if length == 0 || length > MAX_PIECE {
        return Err(talk.garbage());
    }
    talk.take(4).await?;
    let packet = talk.take(length).await?;
    match packet.first() {
        Some(&ERROR) => return Err(error(talk, &packet)),
        Some(&HANDSHAKE_V10) => {}
        _ => return Err(talk.refused(&packet)),
    }
    match capabilities(&packet) {
        None => Err(talk.refused(&packet)),
        Some(capabilities) if u32::from(capabilities) & CLIENT_SSL == 0 => Err(talk.refusal("does not offer TLS")),
        Some(_) => talk.ask(&ssl_request(sequence.wrapping_add(1)), "the start of TLS").await,
    }
}

/// The lower half of the server's capabilities.
fn capabilities(handshake: &[u8]) -> Option<u16> {
    let version_end = handshake.iter().position(|&byte| byte == 0)?;
    let (_, rest) = handshake.split_at_checked(version_end + 1 + TO_CAPABILITIES)?;
    rest.first_chunk().map(|&bytes| u16::from_le_bytes(bytes))
}

fn ssl_request(sequence: u8) -> Vec<u8> {
    let capabilities = CLIENT_PROTOCOL_41 | CLIENT_SSL | CLIENT_SECURE_CONNECTION;
    let mut packet = vec![32, 0, 0, sequence];
    packet.extend(capabilities.to_le_bytes());
    packet.extend(MAX_PACKET.to_le_bytes());
    packet.push(CHARSET_UTF8MB4);
    packet.resize(4 + 32, 0);
    packet
}

/// An error in place of the handshake, as when this host is blocked: its number, mostly an SQL state, and its text.
fn error(talk: &Talk, packet: &[u8]) -> StartTlsError {
    let Some((&[_, low, high], text)) = packet.split_first_chunk() else { return talk.refused(packet) };
    let number = u16::from_le_bytes([low, high]);
    let text = text.strip_prefix(b"#").and_then(|state| state.get(5..)).unwrap_or(text);
    talk.refusal(&format!("is error {number}: `{}`", shown(text)))
}
