//! Name servers of a module's or job's own: one question in one family in, an answer out.
//!
//! Names are asked for as they are: no search list, no dots counted. Servers are asked one after the other, in order. The
//! first that knows decides, NXDOMAIN included; one that refuses or fails hands on to the next, and only those that said
//! nothing are asked once more. Each question has a socket of its own; nothing is kept open.

use super::{
    super::{connect::connect, run::at_most, run::chain, run::now},
    Answer, Question, ResolveError, exchange,
    exchange::{MAX_DATAGRAM, by_stream},
};
use crate::model::{DnsAnswer, DnsTransport, IpFamily, NameServer, ResolverSettings};
use hickory_proto::{
    op::{Edns, Message, Query, ResponseCode},
    rr::{Name, RData, RecordType},
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio_rustls::TlsConnector;

/// Aliases followed inside of one answer.
const MAX_ALIASES: usize = 16;

/// The servers of one resolver.
#[derive(Clone)]
pub(super) struct Servers {
    in_order: Arc<[Server]>,
    timeout: Duration,
    attempts: u32,
}

struct Server {
    settings: NameServer,
    shown: Arc<str>,
    /// For a server that speaks TLS.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Why a server gave no answer that can be used.
enum Fault {
    /// It said this.
    Code(ResponseCode),
    /// It could not be asked, or what it said makes no sense.
    Unusable(String),
    /// It said nothing in its time.
    Silent,
}

impl Servers {
    /// The servers of `settings`, those with TLS to be verified as `tls` says.
    pub(super) fn new(settings: &ResolverSettings, tls: Option<&Arc<ClientConfig>>) -> Self {
        let server = |server: &NameServer| {
            let name = match &server.transport {
                DnsTransport::Tls(Some(name)) => ServerName::try_from(name.to_string()).ok(),
                DnsTransport::Tls(None) => Some(server.address.ip().into()),
                DnsTransport::Udp | DnsTransport::Tcp => None,
            };
            let tls = tls.map(|config| TlsConnector::from(Arc::clone(config))).zip(name);
            Server { settings: server.clone(), shown: server.to_string().into(), tls }
        };
        Self {
            in_order: settings.servers.iter().map(server).collect(),
            timeout: settings.timeout,
            attempts: settings.attempts,
        }
    }

    /// Asks, for at most the time of all servers and attempts together.
    pub(super) async fn ask(self, question: Question) -> Answer {
        let began = now();
        let (outcome, server, code) = match message(&question) {
            Some(message) => self.ask_in_turn(&question, &message).await,
            None => (Err(ResolveError::NotFound(question.name.to_string())), None, None),
        };
        let records = outcome.unwrap_or_else(Records::failed);
        let facts = DnsAnswer {
            family: question.family,
            server,
            code: code.map(mnemonic),
            alias_of: records.alias_of,
            addresses: records.addresses.as_ref().map_or(0, Vec::len),
            ttl: records.ttl,
            took: began.elapsed(),
            age: Duration::ZERO,
            stale: false,
        };
        Answer { addresses: records.addresses, facts }
    }

    async fn ask_in_turn(
        &self,
        question: &Question,
        message: &Message,
    ) -> (Result<Records, ResolveError>, Option<Arc<str>>, Option<ResponseCode>) {
        let mut silent: Vec<&Server> = self.in_order.iter().collect();
        let mut worst: Option<(Fault, &Server)> = None;
        for _ in 0..self.attempts {
            for server in std::mem::take(&mut silent) {
                let fault = match at_most(self.timeout, server.ask(message)).await {
                    Some(Ok(answer)) => match read(&answer, question) {
                        Ok(records) => {
                            return (Ok(records), Some(Arc::clone(&server.shown)), Some(answer.response_code));
                        }
                        Err(fault) => fault,
                    },
                    Some(Err(error)) => Fault::Unusable(chain(&error)),
                    None => Fault::Silent,
                };
                if matches!(fault, Fault::Silent) {
                    silent.push(server);
                }
                if worst.as_ref().is_none_or(|(before, _)| fault.tells_more_than(before)) {
                    worst = Some((fault, server));
                }
            }
        }
        let (fault, server) = worst.expect("there is a server, and it is asked");
        let (server, host) = (&server.shown, question.name.to_string());
        match fault {
            Fault::Silent => (Err(ResolveError::Timeout { host, server: server.to_string() }), None, None),
            Fault::Unusable(cause) => {
                let cause = format!("{server}: {cause}");
                (Err(ResolveError::Failed { host, cause }), None, None)
            }
            Fault::Code(code @ ResponseCode::Refused) => {
                (Err(ResolveError::Refused { host, server: server.to_string() }), Some(Arc::clone(server)), Some(code))
            }
            Fault::Code(code) => {
                let cause = format!("{server} says {}", mnemonic(code));
                (Err(ResolveError::Failed { host, cause }), Some(Arc::clone(server)), Some(code))
            }
        }
    }
}

impl Fault {
    fn tells_more_than(&self, other: &Self) -> bool {
        let rank = |fault: &Self| match fault {
            Self::Silent => 0,
            Self::Unusable(_) => 1,
            Self::Code(_) => 2,
        };
        rank(self) > rank(other)
    }
}

impl Server {
    async fn ask(&self, question: &Message) -> io::Result<Message> {
        let address = self.settings.address;
        if self.settings.transport == DnsTransport::Udp {
            let answer = exchange::by_udp(address, question).await?;
            if !answer.truncation {
                return Ok(answer);
            }
        }
        let wire = connect(address).await.map_err(io::Error::other)?;
        let answer = match &self.tls {
            Some((connector, name)) => by_stream(connector.connect(name.clone(), wire).await?, question).await?,
            None => by_stream(wire, question).await?,
        };
        if answer.truncation { Err(io::Error::other("its answer is cut short by TCP, too")) } else { Ok(answer) }
    }
}

/// What an answer's records say.
struct Records {
    addresses: Result<Vec<SocketAddr>, ResolveError>,
    alias_of: Option<Arc<str>>,
    ttl: Option<Duration>,
}

impl Records {
    fn failed(error: ResolveError) -> Self {
        Self { addresses: Err(error), alias_of: None, ttl: None }
    }
}

fn message(question: &Question) -> Option<Message> {
    let kind = match question.family {
        Some(IpFamily::V6) => RecordType::AAAA,
        _ => RecordType::A,
    };
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(absolute(&question.name)?, kind));
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_DATAGRAM);
    message.edns = Some(edns);
    Some(message)
}

/// `None` when the text is no name, such as one with an empty label.
fn absolute(name: &str) -> Option<Name> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// What `answer` says to `question`: the addresses at the end of the aliases (RFC 1034 section 3.6.2), or that there is none.
fn read(answer: &Message, question: &Question) -> Result<Records, Fault> {
    let code = answer.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(Fault::Code(code));
    }
    let asked = answer.queries.first().map(|query| query.name().clone()).unwrap_or_default();
    let (mut owner, mut ttl, mut aliases) = (&asked, u32::MAX, 0);
    while let Some((record, target)) = answer.answers.iter().find_map(|record| match &record.data {
        RData::CNAME(alias) if record.name == *owner => Some((record, &alias.0)),
        _ => None,
    }) {
        (owner, ttl, aliases) = (target, ttl.min(record.ttl), aliases + 1);
        if aliases > MAX_ALIASES {
            return Err(Fault::Unusable(format!("more than {MAX_ALIASES} aliases, or a loop of them")));
        }
    }
    let alias_of = (aliases > 0).then(|| owner.to_string().into());
    let mut addresses = Vec::new();
    for record in answer.answers.iter().filter(|record| record.name == *owner) {
        let ip: IpAddr = match (&record.data, question.family) {
            (RData::A(a), Some(IpFamily::V4)) => a.0.into(),
            (RData::AAAA(aaaa), Some(IpFamily::V6)) => aaaa.0.into(),
            _ => continue,
        };
        ttl = ttl.min(record.ttl);
        addresses.push(SocketAddr::new(ip, 0));
    }
    if !addresses.is_empty() {
        return Ok(Records { addresses: Ok(addresses), alias_of, ttl: Some(seconds(ttl)) });
    }
    let host = question.name.to_string();
    let none = match code {
        ResponseCode::NXDomain => ResolveError::NotFound(host),
        _ => ResolveError::no_address(host, question.family),
    };
    Ok(Records { addresses: Err(none), alias_of, ttl: negative_ttl(answer).map(seconds) })
}

/// How long it may be remembered that there is nothing (RFC 2308 section 5).
fn negative_ttl(answer: &Message) -> Option<u32> {
    answer.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
        _ => None,
    })
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

/// The code as tools such as dig print it.
fn mnemonic(code: ResponseCode) -> Arc<str> {
    match code {
        ResponseCode::NoError => "NOERROR".into(),
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        ResponseCode::NotAuth => "NOTAUTH".into(),
        other => format!("RCODE{}", u16::from(other)).into(),
    }
}
