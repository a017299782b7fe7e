//! WebSocket: the upgrade request and the judgement of its answer (RFC 6455 section 4).
//!
//! The request goes out as any HTTP request does, so that a refusal's status, headers and body are all there; only a good
//! answer hands the connection to the frame layer.

pub(super) mod script;

use super::{
    http::{
        Driver, HttpError,
        request::{OUR_NAME, add_credentials, add_headers, assemble},
    },
    route::Route,
    run::StageError,
    wire::reason_of_io,
};
use crate::model::{Auth, Reason, WebSocketModule};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header, response::Parts};
use http_body_util::Full;
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error as FrameError,
        error::ProtocolError,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

/// Most bytes of one message.
const MAX_MESSAGE: usize = 1024 * 1024;
/// The read buffer is allocated at once; targets mostly send little.
const READ_BUFFER: usize = 4 * 1024;

/// An upgraded connection.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Why the upgrade or the exchange of messages did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum WsError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the server answered the upgrade with status {0}")]
    Refused(u16),
    #[error("{0}")]
    BadAnswer(&'static str),
    #[error("{0}")]
    Subprotocol(String),
    #[error("{0}")]
    Message(String),
    #[error("the server closed the WebSocket{}", code.map(|code| format!(" with code {code}")).unwrap_or_default())]
    Closed { code: Option<u16> },
    #[error("the WebSocket failed")]
    Frames(#[source] Box<FrameError>),
}

impl From<FrameError> for WsError {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::ConnectionClosed | FrameError::AlreadyClosed => Self::Closed { code: None },
            other => Self::Frames(Box::new(other)),
        }
    }
}

impl StageError for WsError {
    fn reason(&self) -> Reason {
        match self {
            Self::Http(error) => error.reason(),
            Self::Refused(_) => Reason::UpgradeRefused,
            Self::BadAnswer(_) => Reason::AcceptMismatch,
            Self::Subprotocol(_) => Reason::SubprotocolMismatch,
            Self::Message(_) => Reason::MessageMismatch,
            Self::Closed { .. } => Reason::Closed,
            Self::Frames(error) => match error.as_ref() {
                FrameError::Io(error) => reason_of_io(error),
                FrameError::Capacity(_) => Reason::BodyTooLarge,
                FrameError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Reason::Broken,
                _ => Reason::ProtocolError,
            },
        }
    }
}

/// The upgrade request along `route`, which shows `auth`, with the accept key that a right answer holds.
pub(super) async fn request(
    module: &WebSocketModule,
    auth: Option<&Auth>,
    route: &Route,
) -> Result<(Request<Full<Bytes>>, String), HttpError> {
    let key = generate_key();
    let mut headers = HeaderMap::new();
    add_headers(&mut headers, &module.headers, true).await?;
    add_credentials(&mut headers, &route.target, auth).await?;
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(OUR_NAME));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    let invalid = |_| HttpError::Request("a header of the upgrade cannot be written".into());
    headers.insert(header::SEC_WEBSOCKET_KEY, HeaderValue::from_str(&key).map_err(invalid)?);
    if !module.subprotocols.is_empty() {
        let offered = HeaderValue::from_str(&module.subprotocols.join(", ")).map_err(invalid)?;
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, offered);
    }
    if let Some(origin) = &module.origin {
        headers.insert(header::ORIGIN, origin.clone());
    }
    let request = assemble(route, Method::GET, headers, false)?.map(|()| Full::default());
    Ok((request, derive_accept_key(key.as_bytes())))
}

/// Judges the answer; the chosen subprotocol if it is right.
pub(super) fn judge(head: &Parts, accept: &str, offered: &[String]) -> Result<Option<String>, WsError> {
    if head.status.as_u16() != 101 {
        return Err(WsError::Refused(head.status.as_u16()));
    }
    if !has_token(head, &header::UPGRADE, "websocket") {
        return Err(WsError::BadAnswer("the answer's Upgrade header does not say `websocket`"));
    }
    if !has_token(head, &header::CONNECTION, "upgrade") {
        return Err(WsError::BadAnswer("the answer's Connection header does not say `Upgrade`"));
    }
    if head.headers.get(header::SEC_WEBSOCKET_ACCEPT).is_none_or(|value| value.as_bytes() != accept.as_bytes()) {
        return Err(WsError::BadAnswer("the answer's Sec-WebSocket-Accept does not fit the key"));
    }
    if head.headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        return Err(WsError::BadAnswer("the server chose an extension that was not offered"));
    }
    let chosen = head.headers.get(header::SEC_WEBSOCKET_PROTOCOL);
    let chosen = chosen.map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_owned());
    match chosen {
        Some(chosen) if !offered.contains(&chosen) => {
            Err(WsError::Subprotocol(format!("the server chose the subprotocol `{chosen}`, which was not offered")))
        }
        None if !offered.is_empty() => {
            Err(WsError::Subprotocol(format!("the server chose none of the subprotocols {}", offered.join(", "))))
        }
        chosen => Ok(chosen),
    }
}

/// Hands the connection of a good answer to the frame layer.
pub(super) async fn upgrade(head: Parts, body: Incoming, driver: &mut Driver) -> Result<Socket, WsError> {
    let response = http::Response::from_parts(head, body);
    let upgraded = driver.drive(hyper::upgrade::on(response)).await.map_err(HttpError::from)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    Ok(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, Some(config)).await)
}

/// Whether a list header (possibly several) has `token`, in any case.
fn has_token(head: &Parts, name: &HeaderName, token: &str) -> bool {
    let lists = head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&str, &str)]) -> Parts {
        let mut builder = http::Response::builder().status(status);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap().into_parts().0
    }

    type Case<'a> = (Parts, &'a [String], Result<Option<&'a str>, Reason>);

    #[test]
    fn judges_every_variant_of_an_answer() {
        const GOOD: [(&str, &str); 3] =
            [("upgrade", "WebSocket"), ("connection", "Upgrade"), ("sec-websocket-accept", "KEY")];
        let with = |more: &[(&'static str, &'static str)]| [&GOOD, more].concat();
        let without = |name: &str| GOOD.into_iter().filter(|(n, _)| *n != name).collect::<Vec<_>>();
        let chat = vec!["chat".to_owned(), "superchat".to_owned()];
        let cases: Vec<Case<'_>> = vec![
            (answer(101, &GOOD), &[], Ok(None)),
            (
                answer(101, &[&without("connection")[..], &[("connection", "keep-alive, upgrade")]].concat()),
                &[],
                Ok(None),
            ),
            (answer(101, &with(&[("connection", "keep-alive")])), &[], Ok(None)),
            (answer(101, &with(&[("sec-websocket-protocol", "chat")])), &chat, Ok(Some("chat"))),
            (answer(200, &GOOD), &[], Err(Reason::UpgradeRefused)),
            (answer(403, &[]), &[], Err(Reason::UpgradeRefused)),
            (answer(101, &without("upgrade")), &[], Err(Reason::AcceptMismatch)),
            (answer(101, &without("connection")), &[], Err(Reason::AcceptMismatch)),
            (answer(101, &without("sec-websocket-accept")), &[], Err(Reason::AcceptMismatch)),
            (
                answer(101, &[&without("sec-websocket-accept")[..], &[("sec-websocket-accept", "OTHER")]].concat()),
                &[],
                Err(Reason::AcceptMismatch),
            ),
            (
                answer(101, &with(&[("sec-websocket-extensions", "permessage-deflate")])),
                &[],
                Err(Reason::AcceptMismatch),
            ),
            (answer(101, &with(&[("sec-websocket-protocol", "chat")])), &[], Err(Reason::SubprotocolMismatch)),
            (answer(101, &with(&[("sec-websocket-protocol", "other")])), &chat, Err(Reason::SubprotocolMismatch)),
            (answer(101, &GOOD), &chat, Err(Reason::SubprotocolMismatch)),
        ];
        for (head, offered, expected) in cases {
            let judged = judge(&head, "KEY", offered).map_err(|error| error.reason());
            assert_eq!(judged.as_ref().map(Option::as_deref).map_err(|r| *r), expected, "{head:?}");
        }
    }
}
