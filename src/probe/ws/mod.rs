//! WebSocket: the upgrade request and the judgement of its answer (RFC 6455 section 4).
//!
//! The request goes out as any HTTP request does, so that a refusal's status, headers and body are all there; only a good
//! answer hands the connection to the frame layer.

pub(super) mod held;
mod refusal;
pub(super) mod script;
mod socket;

pub(super) use socket::Socket;

use super::{
    http::{
        self as exchange, HttpError,
        request::{OUR_NAME, add_credentials, add_headers, assemble},
    },
    route::Route,
    run::StageError,
    wire::{Wire, reason_of_io},
};
use crate::model::{Auth, HttpFacts, Reason, WebSocketModule};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header, response::Parts};
use http_body_util::Full;
use socket::{Allowance, MAX_BYTES, MAX_MESSAGES, Spent};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{
    Error as FrameError,
    error::ProtocolError,
    handshake::{client::generate_key, derive_accept_key},
    protocol::CloseFrame,
};

/// Why the upgrade or the exchange of messages did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum WsError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the server answered the upgrade with status {0}")]
    Refused(String),
    #[error("{0}")]
    BadAnswer(&'static str),
    #[error("{0}")]
    Subprotocol(String),
    #[error("{0}")]
    Message(String),
    #[error("the server closed the WebSocket{}", told(*code, words))]
    Closed { code: Option<u16>, words: String },
    #[error("the server closed the WebSocket with a code that nobody may send")]
    CloseCode,
    #[error("more than {MAX_MESSAGES} messages, pings and pongs came")]
    Flood,
    #[error("the WebSocket failed")]
    Frames(#[source] Box<FrameError>),
}

/// A close code and the words that came with it.
fn told(code: Option<u16>, words: &str) -> String {
    let code = code.map_or_else(|| " without a code".to_owned(), |code| format!(" with code {code}"));
    if words.is_empty() { code } else { format!("{code}, saying {words:?}") }
}

impl WsError {
    /// What a close frame tells.
    fn from_close(frame: Option<CloseFrame>) -> Self {
        frame.map_or(Self::Closed { code: None, words: String::new() }, |frame| Self::Closed {
            code: Some(frame.code.into()),
            words: frame.reason.as_str().to_owned(),
        })
    }
}

impl From<FrameError> for WsError {
    fn from(error: FrameError) -> Self {
        Self::Frames(Box::new(error))
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
            Self::CloseCode => Reason::ProtocolError,
            Self::Flood => Reason::MessageFlood,
            Self::Frames(error) => match error.as_ref() {
                FrameError::Io(error) if Spent::is_in(error) => Reason::MessageFlood,
                FrameError::Io(error) => reason_of_io(error),
                FrameError::Capacity(_) => Reason::MessageTooLarge,
                FrameError::Protocol(ProtocolError::ResetWithoutClosingHandshake)
                | FrameError::ConnectionClosed
                | FrameError::AlreadyClosed => Reason::Broken,
                _ => Reason::ProtocolError,
            },
        }
    }
}

/// An upgrade under way; what it learned stays when it is cut off.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    /// The answer's head.
    pub(super) head: Option<HttpFacts>,
    /// How the body of a refusal begins.
    pub(super) refusal: Option<String>,
}

impl Upgrade {
    /// Asks for the upgrade and judges the answer: the connection, and the subprotocol that was chosen.
    pub(super) async fn run(
        &mut self,
        wire: Wire,
        (module, auth): (&WebSocketModule, Option<&Auth>),
        (route, deadline): (&Route, Instant),
    ) -> Result<(Socket, Option<String>), WsError> {
        let (request, accept) = request(module, auth, route).await?;
        let secrets = refusal::secrets(request.headers());
        let allowance = Allowance::new(MAX_BYTES);
        let wire = allowance.bound(wire);
        let mut answer = exchange::exchange(wire, false, request).await?;
        self.head = Some(exchange::facts(&answer.head));
        if answer.head.status.as_u16() != 101 {
            self.refusal = refusal::body(&mut answer, &secrets, deadline).await;
            return Err(WsError::Refused(refusal::words(&answer.head)));
        }
        let subprotocol = judge(&answer.head, &accept, module)?;
        let exchange::Exchange { head, body, mut driver } = answer;
        let socket = Socket::take_over((head, body), &mut driver, (module, allowance)).await?;
        Ok((socket, subprotocol))
    }
}

/// The upgrade request along `route`, which shows `auth`, with the accept key that a right answer holds.
async fn request(
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

/// Judges a 101; the chosen subprotocol if it is right.
fn judge(head: &Parts, accept: &str, module: &WebSocketModule) -> Result<Option<String>, WsError> {
    let offered = &module.subprotocols;
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
        None if module.subprotocol_required && !offered.is_empty() => {
            Err(WsError::Subprotocol(format!("the server chose none of the subprotocols {}", offered.join(", "))))
        }
        chosen => Ok(chosen),
    }
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
            let module = WebSocketModule { subprotocols: offered.to_vec(), ..WebSocketModule::default() };
            let judged = judge(&head, "KEY", &module).map_err(|error| error.reason());
            assert_eq!(judged.as_ref().map(Option::as_deref).map_err(|r| *r), expected, "{head:?}");
        }
    }
    #[test]
    fn an_optional_subprotocol_may_be_left_out_but_not_be_another() {
        let module = WebSocketModule {
            subprotocols: vec!["chat".into()],
            subprotocol_required: false,
            ..WebSocketModule::default()
        };
        let good = [("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", "KEY")];
        for (chosen, expected) in [
            (None, Ok(None)),
            (Some("chat"), Ok(Some("chat".to_owned()))),
            (Some("Chat"), Err(Reason::SubprotocolMismatch)),
        ] {
            let headers: Vec<_> =
                good.into_iter().chain(chosen.map(|chosen| ("sec-websocket-protocol", chosen))).collect();
            let judged = judge(&answer(101, &headers), "KEY", &module).map_err(|error| error.reason());
            assert_eq!(judged, expected, "{chosen:?}");
        }
    }
}
