//! The exchange of messages on an upgraded connection: the module's script, a timed ping, a close in good order.

use super::{Socket, WsError};
use crate::model::{Expectation, Failure, Outgoing, Phase, Reason, WebSocketFacts, WebSocketModule, WebSocketStep};
use crate::probe::run::at_most;
use bytes::Bytes;
use std::{fmt, time::Duration};
use tokio_tungstenite::tungstenite::Message;

/// What our ping carries, so that only its own pong counts.
const PING: &[u8] = b"edgeprobe";

/// The exchange under way; what it learned stays when it is cut off.
#[derive(Debug)]
pub(in crate::probe) struct Exchange {
    pub(in crate::probe) facts: WebSocketFacts,
    awaits: Awaits,
    closed_by_server: bool,
}

/// What an exchange stands still for.
#[derive(Clone, Copy, Debug)]
enum Awaits {
    Nothing,
    /// The message of this step.
    Message(usize),
    Pong,
    Close,
}

impl Exchange {
    /// An exchange on a connection that was upgraded to `subprotocol`.
    pub(in crate::probe) fn new(subprotocol: Option<String>) -> Self {
        let facts = WebSocketFacts { upgraded: true, subprotocol, ..WebSocketFacts::default() };
        Self { facts, awaits: Awaits::Nothing, closed_by_server: false }
    }

    /// Runs the module's script, then the ping, then waits for the close that the module expects.
    pub(in crate::probe) async fn run(
        &mut self,
        socket: &mut Socket,
        module: &WebSocketModule,
        clock: impl Fn() -> Duration,
    ) -> Result<(), WsError> {
        for (at, step) in module.query_response.iter().enumerate() {
            self.step(socket, at, step).await?;
        }
        if module.ping {
            self.ping(socket, clock).await?;
        }
        match module.expect_close {
            Some(code) => self.expect_close(socket, code).await,
            None => Ok(()),
        }
    }

    /// The failure of an exchange that was cut off at the deadline: what it waited for.
    pub(in crate::probe) fn name_wait(&self, failed: Failure) -> Failure {
        let (reason, what) = match self.awaits {
            Awaits::Nothing => return failed,
            _ if failed.reason != Reason::Timeout => return failed,
            Awaits::Message(at) => (Reason::Timeout, format!("no message for query_response[{at}] came")),
            Awaits::Pong => (Reason::PingUnanswered, "no pong came".to_owned()),
            Awaits::Close => (Reason::Timeout, "the server did not close".to_owned()),
        };
        Failure::new(Phase::Transfer, reason, format!("{what} before the deadline"))
    }

    async fn step(&mut self, socket: &mut Socket, at: usize, step: &WebSocketStep) -> Result<(), WsError> {
        let message = match &step.expect {
            Some(expected) => Some(self.expect(socket, at, (expected, step.skip)).await?),
            None => None,
        };
        match &step.send {
            Some(Outgoing::Text(template)) => {
                let text = filled_in(template, step.expect.as_ref().zip(message.as_ref()));
                socket.send(Message::text(text)).await
            }
            Some(Outgoing::Binary(bytes)) => socket.send(Message::binary(bytes.clone())).await,
            None => Ok(()),
        }
    }

    /// Reads messages until one is as expected; at most `skip` others come before it.
    async fn expect(
        &mut self,
        socket: &mut Socket,
        at: usize,
        (expected, skip): (&Expectation, u32),
    ) -> Result<Message, WsError> {
        self.awaits = Awaits::Message(at);
        for _ in 0..=skip {
            let message = self.receive(socket).await?;
            if is(&message, expected) {
                self.awaits = Awaits::Nothing;
                return Ok(message);
            }
        }
        let number = self.facts.messages;
        let skipped = if skip > 0 { format!(", nor do the {skip} before it") } else { String::new() };
        Err(WsError::Message(format!(
            "message {number} does not match query_response[{at}].{}{skipped}",
            Shown(expected)
        )))
    }

    /// The next text or binary message; pings are answered on the way.
    async fn receive(&mut self, socket: &mut Socket) -> Result<Message, WsError> {
        loop {
            let message = self.next(socket).await?;
            if message.is_text() || message.is_binary() {
                return Ok(message);
            }
        }
    }

    pub(super) async fn ping(&mut self, socket: &mut Socket, clock: impl Fn() -> Duration) -> Result<(), WsError> {
        self.awaits = Awaits::Pong;
        let sent = clock();
        socket.send(Message::Ping(Bytes::from_static(PING))).await?;
        loop {
            if let Message::Pong(payload) = self.next(socket).await?
                && payload == PING
            {
                self.facts.ping_rtt = Some(clock().saturating_sub(sent));
                self.awaits = Awaits::Nothing;
                return Ok(());
            }
        }
    }

    async fn expect_close(&mut self, socket: &mut Socket, expected: u16) -> Result<(), WsError> {
        self.awaits = Awaits::Close;
        loop {
            match self.next(socket).await {
                Ok(_) => {}
                Err(WsError::Closed { code: Some(code), .. }) if code == expected => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    async fn next(&mut self, socket: &mut Socket) -> Result<Message, WsError> {
        let outcome = socket.next().await;
        match &outcome {
            Ok(message) => self.facts.messages += u64::from(message.is_text() || message.is_binary()),
            Err(error) => self.note_close(error),
        }
        outcome
    }

    fn note_close(&mut self, error: &WsError) {
        if let WsError::Closed { code, words } = error {
            self.closed_by_server = true;
            self.facts.close_code = *code;
            self.facts.close_words.clone_from(words);
        }
    }

    /// Closes in good order, within `patience`: answers the server's close, or sends ours and listens for the answer.
    /// Whatever comes of it changes no verdict: the exchange is over.
    pub(in crate::probe) async fn close(&mut self, socket: &mut Socket, patience: Duration) {
        let clean = if self.closed_by_server {
            at_most(patience, socket.answer_close()).await.is_some_and(|sent| sent.is_ok())
        } else {
            let outcome = at_most(patience, socket.close()).await.and_then(Result::err);
            if let Some(error) = &outcome {
                self.note_close(error);
            }
            matches!(outcome, Some(WsError::Closed { .. })) && self.closed_by_server
        };
        self.facts.close_clean = Some(clean);
    }
}

/// Whether a message is what was expected.
fn is(message: &Message, expected: &Expectation) -> bool {
    let payload = payload(message);
    match expected {
        Expectation::Pattern(pattern) => pattern.regex().is_match(payload),
        Expectation::Payload(bytes) => payload == bytes,
        Expectation::Binary(bytes) => message.is_binary() && payload == bytes,
    }
}

fn payload(message: &Message) -> &[u8] {
    match message {
        Message::Text(text) => text.as_bytes(),
        Message::Binary(bytes) => bytes,
        _ => &[],
    }
}

/// The template with what the pattern captured; as it stands where there is no pattern.
fn filled_in(template: &str, matched: Option<(&Expectation, &Message)>) -> String {
    let Some((Expectation::Pattern(pattern), message)) = matched else { return template.to_owned() };
    let Some(captures) = pattern.regex().captures(payload(message)) else { return template.to_owned() };
    let mut text = Vec::new();
    captures.expand(template.as_bytes(), &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// An expectation by the key that the config has for it. Payloads are not shown: they may be long, or secret.
struct Shown<'a>(&'a Expectation);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Expectation::Pattern(pattern) => write!(f, "expect {pattern:?}"),
            Expectation::Payload(bytes) => write!(f, "expect_bytes ({} bytes)", bytes.len()),
            Expectation::Binary(bytes) => write!(f, "expect_hex ({} bytes, binary)", bytes.len()),
        }
    }
}
