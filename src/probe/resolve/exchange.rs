//! One question to one name server, over a socket that is closed with it: by UDP, or over a stream.
//!
//! What does not answer the very question that was asked is passed over, as if it had not come (RFC 5452 section 9.1).

use hickory_proto::op::{Message, MessageType};
use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::UdpSocket,
};

/// The longest answer taken by UDP, which servers are told: larger packets may be lost in parts (DNS flag day 2020).
pub(super) const MAX_DATAGRAM: u16 = 1232;
/// Messages on one stream that may answer something else before it is given up.
const MAX_STRANGERS: usize = 16;

/// Asks by UDP. A server that does not listen is an error at once; one that says nothing is waited for.
pub(super) async fn by_udp(server: SocketAddr, question: &Message) -> io::Result<Message> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    // A connected socket takes packets of this address and port only, and hears when nobody listens there.
    socket.connect(server).await?;
    socket.send(&encoded(question)?).await?;
    let mut buffer = [0; MAX_DATAGRAM as usize];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // What cannot be read may be forged, too.
        if let Some(answer) = Message::from_vec(&buffer[..length]).ok().filter(|answer| answers(question, answer)) {
            return Ok(answer);
        }
    }
}

/// Asks over a stream: each message has its length before it (RFC 1035 section 4.2.2).
pub(super) async fn by_stream<S>(mut stream: S, question: &Message) -> io::Result<Message>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let message = encoded(question)?;
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    // In one piece: some servers want the length and the message in one segment.
    stream.write_all(&[&length.to_be_bytes(), message.as_slice()].concat()).await?;
    stream.flush().await?;
    for _ in 0..MAX_STRANGERS {
        let mut message = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut message).await?;
        let answer = Message::from_vec(&message).map_err(io::Error::other)?;
        if answers(question, &answer) {
            return Ok(answer);
        }
    }
    Err(io::Error::other("the server answers other questions only"))
}

fn encoded(question: &Message) -> io::Result<Vec<u8>> {
    question.to_vec().map_err(io::Error::other)
}

fn answers(question: &Message, answer: &Message) -> bool {
    answer.message_type == MessageType::Response && answer.id == question.id && answer.queries == question.queries
}
