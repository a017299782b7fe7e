//! The lab's WebSocket peers: takes how to behave after the upgrade request, does that over TLS. Each upgrade request is
//! logged. Knows nothing of the endpoints it is used for.

use super::{
    Seen,
    listener::{Listener, Log},
    oauth2,
    tls::{self, ServerTls, Stream},
};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, StatusCode, header};
use std::io;
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async_with_config,
    tungstenite::{
        handshake::server::{ErrorResponse, Request, Response},
        protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// What a WebSocket peer does with an upgrade request and after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Behaviour {
    /// Sends every message back; takes the subprotocol `chat`.
    Echo,
    /// As [`Behaviour::Echo`], but refuses who does not name one site by SNI and Host.
    EchoOnSite,
    /// Answers the upgrade with an accept key that does not fit.
    BadAccept,
    /// Chooses a subprotocol that nobody offered.
    WrongSubprotocol,
    /// Upgrades, then never speaks: not even a pong.
    Silent,
    /// Echoes, but only those who show a token of the lab; others are answered with 401.
    Protected,
    /// Upgrades, then says at once to try again later (close code 1013).
    Closes,
}

/// Starts a peer, over TLS when there are settings for it.
pub async fn serve(tls: Option<ServerTls>, behaviour: Behaviour) -> io::Result<Listener> {
    Listener::start(move |tcp, log| {
        let tls = tls.clone();
        async move {
            if let Some(stream) = tls::open(tls.as_ref(), tcp).await {
                converse(stream, &log, behaviour).await;
            }
        }
    })
    .await
}

async fn converse(stream: Stream, log: &Log, behaviour: Behaviour) {
    let sni = tls::sni(&stream);
    #[expect(clippy::result_large_err, reason = "the error type is tungstenite's")]
    let upgrade = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let seen = Seen::of(sni.as_deref(), request);
        let on_site = seen.sni.as_deref() == Some(seen.host_name());
        log.add(seen);
        let refused = match behaviour {
            Behaviour::EchoOnSite if !on_site => Some(StatusCode::FORBIDDEN),
            Behaviour::Protected if !oauth2::is_authorized(request.headers()) => Some(StatusCode::UNAUTHORIZED),
            _ => None,
        };
        if let Some(status) = refused {
            let mut refusal = ErrorResponse::new(None);
            *refusal.status_mut() = status;
            return Err(refusal);
        }
        alter(behaviour, request, &mut response);
        Ok(response)
    };
    // The default buffer is 128 KiB per connection, far more than a probe sends.
    let config = WebSocketConfig::default().read_buffer_size(4096);
    // A client that asks for no upgrade, or goes away, is no news to a peer that misbehaves on purpose.
    if let Ok(socket) = accept_hdr_async_with_config(stream, upgrade, Some(config)).await {
        speak(socket, behaviour).await;
    }
}

fn alter(behaviour: Behaviour, request: &Request, response: &mut Response) {
    let (name, value) = match behaviour {
        Behaviour::BadAccept => (header::SEC_WEBSOCKET_ACCEPT, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
        Behaviour::WrongSubprotocol => (header::SEC_WEBSOCKET_PROTOCOL, "telnet"),
        Behaviour::Echo if offers_chat(request) => (header::SEC_WEBSOCKET_PROTOCOL, "chat"),
        _ => return,
    };
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

fn offers_chat(request: &Request) -> bool {
    let offers = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    offers.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).any(|offer| offer.trim() == "chat")
}

async fn speak(mut socket: WebSocketStream<Stream>, behaviour: Behaviour) {
    match behaviour {
        Behaviour::Silent => return tls::drain(socket.get_mut()).await,
        Behaviour::Closes => {
            let frame = CloseFrame { code: CloseCode::Again, reason: "try again later".into() };
            if socket.close(Some(frame)).await.is_err() {
                return;
            }
        }
        _ => {}
    }
    // Reading answers pings and the client's close frame, too.
    while let Some(Ok(message)) = socket.next().await {
        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
            return;
        }
    }
}
