//! The connections of a scan: one hello in, one reply out, each on a connection of its own and within its share of the time.

use super::{
    super::{
        dial,
        run::{at_most, chain},
        starttls::upgrade,
        wire::Wire,
    },
    reply::{End, Reader, Reply, Until},
};
use crate::model::StartTls;
use std::{io, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The longest wait for one connection and its answer.
const MAX_WAIT: Duration = Duration::from_secs(3);
/// No connection may take more than this part of the time that is left, so that silence costs the others little.
const SHARE: u32 = 6;
/// The part of the whole time that is kept for the last control hello.
const RESERVE: u32 = 10;
/// After this many silences, doubtful answers are left in doubt: a second hello each would take the time of the rest.
const MAX_SILENCES: u32 = 4;
/// How long the two parts of a split hello are apart: enough for them to arrive apart.
const SPLIT_PAUSE: Duration = Duration::from_millis(30);
/// How long to try to say goodbye.
const FAREWELL: Duration = Duration::from_millis(50);
/// Two warnings: `user_canceled`, `close_notify`.
const GOODBYE: [u8; 14] = [21, 3, 1, 0, 2, 1, 90, 21, 3, 1, 0, 2, 1, 0];

/// The connections of one scan.
pub(in crate::probe) struct Line {
    way: Way,
    /// The connection that is open already, as far as the first byte of TLS.
    first: Option<Wire>,
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    began: Duration,
    end: Duration,
    connections: u32,
    silences: u32,
}

/// How to get to the first byte of TLS.
struct Way {
    dial: dial::Way,
    /// What to speak before TLS, and the name that some protocols want to hear for it.
    starttls: Option<(StartTls, String)>,
}

impl Line {
    /// A line over `first` and further connections the same way, which ends `time` from now on the clock.
    pub(in crate::probe) fn new(
        (dial, first): (dial::Way, Wire),
        clock: impl Fn() -> Duration + Send + Sync + 'static,
        time: Duration,
    ) -> Self {
        let began = clock();
        let end = began + time;
        Self {
            way: Way { dial, starttls: None },
            first: Some(first),
            clock: Box::new(clock),
            began,
            end,
            connections: 0,
            silences: 0,
        }
    }

    /// The same line to a server that switches to TLS on request.
    pub(in crate::probe) fn after(self, starttls: Option<(StartTls, String)>) -> Self {
        Self { way: Way { starttls, ..self.way }, ..self }
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> u32 {
        self.connections
    }

    /// Time since the line was made.
    pub(super) fn elapsed(&self) -> Duration {
        (self.clock)().saturating_sub(self.began)
    }

    /// Whether the server has not yet been silent too often to ask everything twice.
    pub(super) fn has_patience(&self) -> bool {
        self.silences < MAX_SILENCES
    }

    /// Sends a hello and reads the reply, unless only the time for the last control hello is left.
    pub(super) async fn ask(&mut self, hello: &[u8], until: Until) -> Reply {
        if self.left() <= self.end.saturating_sub(self.began) / RESERVE {
            return Reply::Unreached("the time for the scan was used up".into());
        }
        self.exchange(&[hello], until).await
    }

    /// Sends a hello in two parts, the first of which ends at `at`.
    pub(super) async fn ask_split(&mut self, hello: &[u8], at: usize) -> Reply {
        let (head, tail) = hello.split_at(at);
        self.exchange(&[head, tail], Until::Hello).await
    }

    /// Sends the last hello, for which time was kept.
    pub(super) async fn ask_last(&mut self, hello: &[u8]) -> Reply {
        self.exchange(&[hello], Until::Hello).await
    }

    fn left(&self) -> Duration {
        self.end.saturating_sub((self.clock)())
    }

    async fn exchange(&mut self, parts: &[&[u8]], until: Until) -> Reply {
        let wait = (self.left() / SHARE).min(MAX_WAIT);
        self.connections += 1;
        let mut reader = Reader::new(until);
        let mut wire = self.first.take();
        let outcome = at_most(wait, self.way.converse(&mut wire, parts, &mut reader)).await;
        let reply = match outcome {
            Some(reply) => reply,
            None if wire.is_some() => reader.end(End::Stalled),
            None => Reply::Unreached("no connection came about in time".into()),
        };
        if let Some(mut wire) = wire {
            // The server may be gone, or not listen any more.
            let _ = at_most(FAREWELL, wire.write_all(&GOODBYE)).await;
        }
        self.silences += u32::from(matches!(reply, Reply::Ended { how: End::Stalled, .. } | Reply::Unreached(_)));
        reply
    }
}

impl Way {
    /// Connects as far as the first byte of TLS. All connections but the first, which the pipeline makes, come from here.
    async fn dial(&self) -> Result<Wire, String> {
        let wire = self.dial.open_again().await.map_err(|error| chain(error.as_ref()))?;
        match &self.starttls {
            Some((protocol, name)) => upgrade(wire, *protocol, name).await.map_err(|error| chain(&error)),
            None => Ok(wire),
        }
    }

    async fn converse(&self, wire: &mut Option<Wire>, parts: &[&[u8]], reader: &mut Reader) -> Reply {
        if wire.is_none() {
            match self.dial().await {
                Ok(connected) => *wire = Some(connected),
                Err(why) => return Reply::Unreached(why),
            }
        }
        let wire = wire.as_mut().expect("it was just made sure of");
        hold(wire, parts, reader).await
    }
}

/// Sends a hello in its parts and reads the reply.
async fn hold(wire: &mut Wire, parts: &[&[u8]], reader: &mut Reader) -> Reply {
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            tokio::time::sleep(SPLIT_PAUSE).await;
        }
        // A server that does not take the whole hello may have answered it all the same.
        if wire.write_all(part).await.is_err() {
            break;
        }
    }
    let mut buffer = vec![0; 4096];
    loop {
        match wire.read(&mut buffer).await {
            Ok(0) => return reader.end(End::Closed),
            Ok(read) => {
                if let Some(reply) = reader.push(&buffer[..read]) {
                    return reply;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return reader.end(End::Reset),
        }
    }
}
