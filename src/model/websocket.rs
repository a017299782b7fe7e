//! How to probe a WebSocket server: the `websocket` block, validated.

use super::{Auth, Header, IpPreference, OAuth2, Pattern, TlsOptions};
use http::HeaderValue;

/// The `websocket` block.
#[derive(Clone, Debug)]
pub struct WebSocketModule {
    /// Which address to probe.
    pub ip: IpPreference,
    /// TLS.
    pub tls: TlsOptions,
    /// Credentials.
    pub auth: Option<Auth>,
    /// Credentials that are asked for; not together with `auth`.
    pub oauth2: Option<Box<OAuth2>>,
    /// Further headers of the upgrade request; `Host` sets the Host header.
    pub headers: Vec<Header>,
    /// Subprotocols to offer.
    pub subprotocols: Vec<String>,
    /// Whether the server must choose one of them. It may never choose another.
    pub subprotocol_required: bool,
    /// The Origin header.
    pub origin: Option<HeaderValue>,
    /// Send a ping and time its pong.
    pub ping: bool,
    /// Messages to expect and to send, in order.
    pub query_response: Vec<WebSocketStep>,
    /// The code with which the server has to close after all that.
    pub expect_close: Option<u16>,
    /// Most bytes of one message, its fragments together.
    pub max_message_size: usize,
}

impl WebSocketModule {
    /// Most bytes of one message unless the module says otherwise.
    pub const DEFAULT_MESSAGE_SIZE: usize = 1024 * 1024;
    /// Most bytes of one message that a module can ask for.
    pub const MAX_MESSAGE_SIZE: usize = 16 * 1024 * 1024;
    /// Most messages that one step can skip.
    pub const MAX_SKIP: u32 = 1000;
}

impl Default for WebSocketModule {
    /// Connect only: an upgrade, and a close in good order.
    fn default() -> Self {
        Self {
            ip: IpPreference::default(),
            tls: TlsOptions::default(),
            auth: None,
            oauth2: None,
            headers: Vec::new(),
            subprotocols: Vec::new(),
            subprotocol_required: true,
            origin: None,
            ping: false,
            query_response: Vec::new(),
            expect_close: None,
            max_message_size: Self::DEFAULT_MESSAGE_SIZE,
        }
    }
}

/// One entry of a `query_response`: first expect, then send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebSocketStep {
    /// Read messages until one is this.
    pub expect: Option<Expectation>,
    /// How many others may come before it.
    pub skip: u32,
    /// Then send this.
    pub send: Option<Outgoing>,
}

/// What a message has to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    /// Text or binary, with a payload that matches.
    Pattern(Pattern),
    /// Text or binary, with exactly this payload.
    Payload(Vec<u8>),
    /// Binary, with exactly this payload.
    Binary(Vec<u8>),
}

/// A message to send.
#[derive(Clone, Debug, PartialEq)]
pub enum Outgoing {
    /// Text, with `${1}` standing for what the step's pattern captured.
    Text(String),
    /// Binary.
    Binary(Vec<u8>),
}
