//! A DNS server that lies on cue: takes what to say of each name, gives a server on a port of 127.0.0.1 that speaks UDP and
//! TCP (RFC 1035), or TLS (RFC 7858), and counts what it was asked. It writes its messages byte by byte, so that they can
//! be as wrong as wanted. A name that nobody set does not exist.

use super::{
    Listener,
    tls::{self, ServerTls, Stream},
};
use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    task::JoinSet,
};

/// The address in every forged answer: whoever is sent there believed a lie.
pub const FORGED: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 66));

/// Stands for every name that is not set itself.
pub const ANY_NAME: &str = "*";

/// A running name server. Dropping it stops it.
pub struct DnsServer {
    listener: Listener,
    zone: Zone,
    _udp: JoinSet<()>,
}

impl DnsServer {
    /// Starts a server that speaks UDP and TCP on one port.
    pub async fn start() -> io::Result<Self> {
        const TRIES: usize = 20;
        let zone = Zone::default();
        for _ in 0..TRIES {
            let listener = serve_streams(None, zone.clone()).await?;
            // Another program may have the same port for UDP.
            if let Ok(socket) = UdpSocket::bind(listener.address()).await {
                let mut udp = JoinSet::new();
                udp.spawn(serve_datagrams(Arc::new(socket), zone.clone()));
                return Ok(Self { listener, zone, _udp: udp });
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Starts a server that speaks nothing but TLS.
    pub async fn start_tls(tls: ServerTls) -> io::Result<Self> {
        let zone = Zone::default();
        Ok(Self { listener: serve_streams(Some(tls), zone.clone()).await?, zone, _udp: JoinSet::new() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Says `answer` of `name` from now on; of every name without one of its own, if `name` is [`ANY_NAME`].
    pub fn set(&self, name: &str, answer: Answer) {
        self.set_turns(name, vec![answer]);
    }

    /// Says these answers of `name` in turn, for A and for AAAA each; the last one stays.
    pub fn set_turns(&self, name: &str, answers: Vec<Answer>) {
        self.zone.entries().answers.insert((name.to_ascii_lowercase(), None), answers.into());
    }

    /// Says `answer` when the AAAA records of `name` are asked for, whatever is said otherwise.
    pub fn set_v6(&self, name: &str, answer: Answer) {
        self.zone.entries().answers.insert((name.to_ascii_lowercase(), Some(AAAA)), vec![answer].into());
    }

    /// How often it was asked about `name`, for A and AAAA together, by any transport; repetitions count.
    pub fn queries(&self, name: &str) -> usize {
        self.zone.entries().queries.get(&name.to_ascii_lowercase()).copied().unwrap_or_default()
    }

    /// How often it was asked at all.
    pub fn all_queries(&self) -> usize {
        self.zone.entries().queries.values().sum()
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.listener.log().open()
    }
}

impl fmt::Debug for DnsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsServer({})", self.address())
    }
}

/// What is said of a name.
#[derive(Clone, Debug)]
pub struct Answer {
    code: u8,
    aliases: Vec<String>,
    addresses: Vec<IpAddr>,
    ttl: u32,
    delay: Duration,
    manner: Manner,
}

/// How an answer is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// As it should be. By UDP, one that does not fit is truncated.
    Plain,
    /// Not at all.
    Silent,
    /// By UDP truncated, by TCP whole.
    Truncated,
    /// By UDP and by TCP truncated.
    AlwaysTruncated,
    /// By UDP, after one with [`FORGED`] and another id.
    AfterForgedId,
    /// By UDP, after one with [`FORGED`] to another question.
    AfterForgedQuestion,
    /// By UDP, after one with [`FORGED`] from another port.
    AfterForgedSource,
    /// Bytes that are no message.
    Garbage,
}

impl Answer {
    /// These addresses, for five minutes.
    pub fn addresses(addresses: &[IpAddr]) -> Self {
        Self { addresses: addresses.to_vec(), ..Self::code(0) }
    }

    /// This address, for five minutes.
    pub fn address(address: impl Into<IpAddr>) -> Self {
        Self::addresses(&[address.into()])
    }

    /// The name exists and has no address.
    pub fn no_data() -> Self {
        Self::code(0)
    }

    /// NXDOMAIN: the name does not exist.
    pub fn not_found() -> Self {
        Self::code(3)
    }

    /// SERVFAIL: the server could not find out.
    pub fn failure() -> Self {
        Self::code(2)
    }

    /// REFUSED: the server does not answer this client or for this name.
    pub fn refused() -> Self {
        Self::code(5)
    }

    /// No answer.
    pub fn silence() -> Self {
        Self::code(0).manner(Manner::Silent)
    }

    /// This response code (RFC 1035 section 4.1.1) and no record.
    pub fn code(code: u8) -> Self {
        Self {
            code,
            aliases: Vec::new(),
            addresses: Vec::new(),
            ttl: 300,
            delay: Duration::ZERO,
            manner: Manner::Plain,
        }
    }

    /// The same, reached through these aliases (CNAME): the addresses are those of the last one.
    #[must_use]
    pub fn by(mut self, aliases: &[&str]) -> Self {
        self.aliases = aliases.iter().map(ToString::to_string).collect();
        self
    }

    /// The same, to be kept for this many seconds, also when it says that there is nothing.
    #[must_use]
    pub fn ttl(mut self, seconds: u32) -> Self {
        self.ttl = seconds;
        self
    }

    /// The same, this much later.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same, given like this.
    #[must_use]
    pub fn manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }
}

/// What is said and what was asked. Clones share it.
#[derive(Clone, Default)]
struct Zone(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    answers: HashMap<(String, Option<u16>), Turns>,
    queries: HashMap<String, usize>,
}

/// Answers in turn, and how often each type was asked for.
struct Turns {
    answers: Vec<Answer>,
    asked: HashMap<u16, usize>,
}

impl From<Vec<Answer>> for Turns {
    fn from(answers: Vec<Answer>) -> Self {
        Self { answers, asked: HashMap::new() }
    }
}

impl Zone {
    /// The answer to `query`, which is counted.
    fn answer(&self, query: &Query) -> Answer {
        let mut entries = self.entries();
        *entries.queries.entry(query.name.clone()).or_default() += 1;
        let places = [query.name.as_str(), ANY_NAME].map(|name| [Some(query.kind), None].map(|kind| (name, kind)));
        for (name, kind) in places.into_iter().flatten() {
            if let Some(turns) = entries.answers.get_mut(&(name.to_owned(), kind)) {
                let turn = turns.asked.entry(query.kind).or_default();
                let answer = turns.answers.get(*turn).or(turns.answers.last()).cloned();
                *turn += 1;
                return answer.unwrap_or_else(Answer::not_found);
            }
        }
        Answer::not_found()
    }

    /// A panic elsewhere cannot leave the entries half written.
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve_datagrams(socket: Arc<UdpSocket>, zone: Zone) {
    let mut waiting = JoinSet::new();
    let mut buffer = [0; MAX_DATAGRAM];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut buffer) => {
                // A client that is gone already may be told of here; the next one is not.
                let Ok((length, client)) = received else { continue };
                let Some(query) = Query::read(&buffer[..length]) else { continue };
                let answer = zone.answer(&query);
                if answer.manner != Manner::Silent {
                    waiting.spawn(reply(Arc::clone(&socket), client, query, answer));
                }
            }
            Some(_) = waiting.join_next() => {}
        }
    }
}

async fn reply(socket: Arc<UdpSocket>, client: SocketAddr, query: Query, answer: Answer) {
    tokio::time::sleep(answer.delay).await;
    let forged = Answer { addresses: vec![FORGED], ..answer.clone() };
    // A client that went away needs no answer.
    let _ = match answer.manner {
        Manner::AfterForgedId => socket.send_to(&query.with_other_id().message(&forged, false), client).await,
        Manner::AfterForgedQuestion => socket.send_to(&query.of_other_name().message(&forged, false), client).await,
        Manner::AfterForgedSource => match UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await {
            Ok(other) => other.send_to(&query.message(&forged, false), client).await,
            Err(error) => Err(error),
        },
        Manner::Garbage => socket.send_to(&query.garbage(), client).await,
        _ => Ok(0),
    };
    let message = query.message(&answer, false);
    let truncate = matches!(answer.manner, Manner::Truncated | Manner::AlwaysTruncated) || message.len() > MAX_DATAGRAM;
    let message = if truncate { query.message(&answer, true) } else { message };
    if answer.manner != Manner::Garbage {
        let _ = socket.send_to(&message, client).await;
    }
}

async fn serve_streams(tls: Option<ServerTls>, zone: Zone) -> io::Result<Listener> {
    Listener::start(move |tcp, _| {
        let (tls, zone) = (tls.clone(), zone.clone());
        async move {
            if let Some(mut stream) = tls::open(tls.as_ref(), tcp).await {
                // A client that goes away ends the conversation.
                let _ = converse(&mut stream, &zone).await;
            }
        }
    })
    .await
}

/// Answers one question after the other, each with its length before it (RFC 1035 section 4.2.2).
async fn converse(stream: &mut Stream, zone: &Zone) -> io::Result<()> {
    loop {
        let mut message = vec![0; stream.read_u16().await?.into()];
        stream.read_exact(&mut message).await?;
        let query = Query::read(&message).ok_or(io::ErrorKind::InvalidData)?;
        let answer = zone.answer(&query);
        if answer.manner == Manner::Silent {
            continue;
        }
        tokio::time::sleep(answer.delay).await;
        let message = match answer.manner {
            Manner::Garbage => query.garbage(),
            manner => query.message(&answer, manner == Manner::AlwaysTruncated),
        };
        let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        stream.write_all(&[&length.to_be_bytes()[..], &message].concat()).await?;
        stream.flush().await?;
    }
}

/// Longer answers are truncated: what servers agreed on (DNS flag day 2020).
const MAX_DATAGRAM: usize = 1232;
const A: u16 = 1;
const CNAME: u16 = 5;
const SOA: u16 = 6;
const AAAA: u16 = 28;
const IN: u16 = 1;
const HEADER: usize = 12;
/// That this is an answer, that recursion was wanted and is offered.
const FLAGS: u16 = 0x8180;
const TRUNCATED: u16 = 0x0200;

/// A question as it came.
#[derive(Clone)]
struct Query {
    id: [u8; 2],
    /// In lower case, without the final dot.
    name: String,
    kind: u16,
}

impl Query {
    fn read(message: &[u8]) -> Option<Self> {
        let (mut labels, mut rest) = (Vec::new(), message.get(HEADER..)?);
        loop {
            let (&length, tail) = rest.split_first()?;
            let (label, tail) = tail.split_at_checked(length.into())?;
            rest = tail;
            if label.is_empty() {
                break;
            }
            labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        }
        let kind = u16::from_be_bytes(*rest.first_chunk()?);
        Some(Self { id: *message.first_chunk()?, name: labels.join("."), kind })
    }

    fn with_other_id(&self) -> Self {
        Self { id: [self.id[0], self.id[1].wrapping_add(1)], ..self.clone() }
    }

    fn of_other_name(&self) -> Self {
        Self { name: format!("other-{}", self.name), ..self.clone() }
    }

    fn garbage(&self) -> Vec<u8> {
        [&self.id[..], &[0xff; 40]].concat()
    }

    /// The message that says `answer`; with `truncate`, the one that says that it is too long.
    fn message(&self, answer: &Answer, truncate: bool) -> Vec<u8> {
        let records = if truncate { Vec::new() } else { self.records(answer) };
        let authority = records.is_empty() && !truncate;
        let flags = FLAGS | u16::from(answer.code) | if truncate { TRUNCATED } else { 0 };
        let count = u16::try_from(records.len()).expect("a test's answer has fewer records");
        let mut message = self.id.to_vec();
        for number in [flags, 1, count, u16::from(authority), 0] {
            message.extend(number.to_be_bytes());
        }
        message.extend(name(&self.name));
        message.extend([self.kind.to_be_bytes(), IN.to_be_bytes()].concat());
        message.extend(records.concat());
        if authority {
            // How long nothing may be remembered: the last number (RFC 2308 section 4).
            let numbers = [1, 3600, 600, 86_400, answer.ttl].map(u32::to_be_bytes).concat();
            message.extend(record("", SOA, answer.ttl, &[&[0, 0], &numbers[..]].concat()));
        }
        message
    }

    fn records(&self, answer: &Answer) -> Vec<Vec<u8>> {
        let (mut owner, mut records) = (self.name.as_str(), Vec::new());
        for alias in &answer.aliases {
            records.push(record(owner, CNAME, answer.ttl, &name(alias)));
            owner = alias;
        }
        for address in &answer.addresses {
            match address {
                IpAddr::V4(ip) if self.kind == A => records.push(record(owner, A, answer.ttl, &ip.octets())),
                IpAddr::V6(ip) if self.kind == AAAA => records.push(record(owner, AAAA, answer.ttl, &ip.octets())),
                _ => {}
            }
        }
        records
    }
}

fn record(owner: &str, kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("a record of the lab is short");
    let mut record = name(owner);
    record.extend([kind.to_be_bytes(), IN.to_be_bytes()].concat());
    record.extend(ttl.to_be_bytes());
    record.extend(length.to_be_bytes());
    record.extend(data);
    record
}

/// A name as labels, uncompressed.
fn name(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in text.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).expect("a test's labels are short"));
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::{
        op::{Message, Query as Question, ResponseCode},
        rr::{Name, RecordType},
    };
    use std::str::FromStr;

    fn question(name: &str, kind: RecordType) -> Message {
        let mut message = Message::query();
        message.add_query(Question::query(Name::from_str(name).unwrap(), kind));
        message
    }

    async fn by_udp(server: &DnsServer, question: &Message) -> Message {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        socket.connect(server.address()).await.unwrap();
        socket.send(&question.to_vec().unwrap()).await.unwrap();
        let mut buffer = [0; 4096];
        let length = socket.recv(&mut buffer).await.unwrap();
        Message::from_vec(&buffer[..length]).unwrap()
    }

    /// Another codec reads what this one writes.
    #[tokio::test]
    async fn answers_are_as_they_were_set() {
        let server = DnsServer::start().await.unwrap();
        let both: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        server.set("a.test", Answer::addresses(&both).by(&["b.test", "c.test"]).ttl(7));
        let answer = by_udp(&server, &question("A.test.", RecordType::AAAA)).await;
        let shown: Vec<String> =
            answer.answers.iter().map(|record| format!("{} {}", record.ttl, record.data)).collect();
        assert_eq!(shown, ["7 b.test.", "7 c.test.", "7 2001:db8::1"]);

        server.set_turns("t.test", vec![Answer::refused(), Answer::failure(), Answer::no_data().ttl(9)]);
        for code in [ResponseCode::Refused, ResponseCode::ServFail, ResponseCode::NoError, ResponseCode::NoError] {
            assert_eq!(by_udp(&server, &question("t.test.", RecordType::A)).await.response_code, code);
        }
        let missing = by_udp(&server, &question("nowhere.test.", RecordType::A)).await;
        assert_eq!((missing.response_code, missing.authorities.len()), (ResponseCode::NXDomain, 1));

        server.set("long.test", Answer::addresses(&[both[0]; 200]));
        assert!(by_udp(&server, &question("long.test.", RecordType::A)).await.truncation);
        assert_eq!((server.queries("T.test"), server.queries("long.test"), server.all_queries()), (4, 1, 7));
    }
}
