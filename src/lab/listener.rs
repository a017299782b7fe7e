//! The one accept loop of the lab: takes what to do with a connection, gives a listener on a port of 127.0.0.1 that the
//! system chose. Dropping it closes the port and every connection. Knows no protocol.

use super::Seen;
use std::{
    collections::VecDeque,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A running server of the lab. Dropping it stops it.
pub struct Listener {
    address: SocketAddr,
    log: Log,
    _accepting: JoinSet<()>,
}

impl Listener {
    /// Starts a server that does `serve` with each connection.
    pub(super) async fn start<F, S>(serve: F) -> io::Result<Self>
    where
        F: Fn(TcpStream, Log) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, log) = (listener.local_addr()?, Log::default());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, serve, log.clone()));
        Ok(Self { address, log, _accepting: accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it received.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({})", self.address)
    }
}

/// How long to wait after a failed accept, which would fail again at once.
const RETRY_ACCEPT: Duration = Duration::from_millis(10);

/// Accepts until it is dropped, and the connections with it: the set aborts what it holds.
async fn accept<F, S>(listener: TcpListener, serve: F, log: Log)
where
    F: Fn(TcpStream, Log) -> S,
    S: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    let (open, serving) = (log.opened(), serve(tcp, log.clone()));
                    connections.spawn(async move {
                        serving.await;
                        drop(open);
                    });
                }
                // Most often the process is out of descriptors: others may give some back.
                Err(_) => tokio::time::sleep(RETRY_ACCEPT).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What a server received: the last requests, and how many connections are open. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Log(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    requests: VecDeque<Seen>,
    open: usize,
}

impl Log {
    /// Older requests are forgotten.
    pub const LIMIT: usize = 100;

    /// The last requests, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.entries().requests.iter().cloned().collect()
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.entries().open
    }

    pub(super) fn add(&self, seen: Seen) {
        let requests = &mut self.entries().requests;
        if requests.len() == Self::LIMIT {
            requests.pop_front();
        }
        requests.push_back(seen);
    }

    fn opened(&self) -> Open {
        self.entries().open += 1;
        Open(self.clone())
    }

    /// A panic elsewhere cannot leave the entries half written.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one connection for as long as it lives.
struct Open(Log);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.entries().open -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_forgets_the_oldest_request() {
        let log = Log::default();
        for n in 0..=Log::LIMIT {
            log.add(Seen { path: format!("/{n}"), ..Seen::default() });
        }
        let requests = log.requests();
        assert_eq!(requests.len(), Log::LIMIT);
        assert_eq!((requests[0].path.as_str(), requests[99].path.as_str()), ("/1", "/100"));
    }
}
