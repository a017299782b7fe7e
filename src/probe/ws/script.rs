//! The exchange of messages on an upgraded connection: the module's script, a timed ping, a clean close.

use super::{Socket, WsError};
use crate::model::{WebSocketFacts, WebSocketModule, WebSocketStep};
use crate::probe::run::at_most;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

/// What our ping carries, so that only its own pong counts.
const PING: &[u8] = b"edgeprobe";

/// The exchange under way; what it learned stays when it is cut off.
#[derive(Debug)]
pub(in crate::probe) struct Exchange {
    pub(in crate::probe) facts: WebSocketFacts,
    /// Whether it stands still for want of a pong.
    pub(in crate::probe) awaits_pong: bool,
}

impl Exchange {
    /// An exchange on a connection that was upgraded to `subprotocol`.
    pub(in crate::probe) fn new(subprotocol: Option<String>) -> Self {
        Self { facts: WebSocketFacts { upgraded: true, subprotocol, ..WebSocketFacts::default() }, awaits_pong: false }
    }

    /// Runs the module's script, then the ping.
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
        Ok(())
    }

    async fn step(&mut self, socket: &mut Socket, at: usize, step: &WebSocketStep) -> Result<(), WsError> {
        let mut filled_in = None;
        if let Some(pattern) = &step.expect {
            let message = self.receive(socket).await?;
            let captures = pattern.regex().captures(&message).ok_or_else(|| {
                WsError::Message(format!(
                    "message {} does not match query_response[{at}].expect {pattern:?}",
                    self.facts.messages
                ))
            })?;
            filled_in = step.send.as_ref().map(|template| {
                let mut text = Vec::new();
                captures.expand(template.as_bytes(), &mut text);
                String::from_utf8_lossy(&text).into_owned()
            });
        }
        if let Some(text) = filled_in.or_else(|| step.send.clone()) {
            socket.send(Message::text(text)).await?;
        }
        Ok(())
    }

    /// The next text or binary message; pings are answered on the way.
    async fn receive(&mut self, socket: &mut Socket) -> Result<Bytes, WsError> {
        loop {
            match self.next(socket).await? {
                Message::Text(text) => return Ok(text.into()),
                Message::Binary(bytes) => return Ok(bytes),
                _ => {}
            }
        }
    }

    async fn ping(&mut self, socket: &mut Socket, clock: impl Fn() -> Duration) -> Result<(), WsError> {
        self.awaits_pong = true;
        let sent = clock();
        socket.send(Message::Ping(Bytes::from_static(PING))).await?;
        loop {
            if let Message::Pong(payload) = self.next(socket).await?
                && payload == PING
            {
                self.facts.ping_rtt = Some(clock().saturating_sub(sent));
                self.awaits_pong = false;
                return Ok(());
            }
        }
    }

    async fn next(&mut self, socket: &mut Socket) -> Result<Message, WsError> {
        let message = socket.next().await.ok_or(WsError::Closed { code: None })??;
        match &message {
            Message::Close(frame) => {
                self.facts.close_code = frame.as_ref().map(|frame| frame.code.into());
                return Err(WsError::Closed { code: self.facts.close_code });
            }
            Message::Text(_) | Message::Binary(_) => self.facts.messages += 1,
            _ => {}
        }
        Ok(message)
    }

    /// Says goodbye (RFC 6455 section 7.1.1) and listens, at most `patience`, for the answer. Whatever comes of it changes
    /// no verdict: the exchange is over.
    pub(in crate::probe) async fn close(&mut self, socket: &mut Socket, patience: Duration) {
        let goodbye = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let farewell = async {
            socket.close(Some(goodbye)).await?;
            loop {
                self.next(socket).await?;
            }
        };
        let _: Option<Result<(), WsError>> = at_most(patience, farewell).await;
    }
}
