//! Reads what a server answers to a hello: in go the bytes so far, out comes the reply once it is known. Pure.
//!
//! Tolerant where real servers are sloppy, bounded everywhere: whatever the bytes, it ends and it does not panic.

use crate::model::TlsVersion;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const HELLO_REQUEST: u8 = 0;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const SERVER_HELLO_DONE: u8 = 14;
const CERTIFICATE_STATUS: u8 = 22;

/// The largest record with the allowance for old encryption (RFC 5246 section 6.2.3).
const MAX_RECORD: usize = (1 << 14) + 2048;
/// The most bytes that are read of one answer.
pub(crate) const MAX_ANSWER: usize = 128 * 1024;
/// The most certificates that are kept of one answer.
const MAX_CERTIFICATES: usize = 16;
/// The random number that marks a HelloRetryRequest (RFC 8446 section 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];
/// How a random number ends that warns of a downgrade; the last byte is 1 or 0.
const DOWNGRADE: &[u8] = b"DOWNGRD";

/// How far to read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Until {
    /// To the end of the `ServerHello`.
    Hello,
    /// Up to TLS 1.2, to the end of the server's first flight, which is in the clear.
    Flight,
}

/// How a connection ended that gave no complete answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// The server closed it.
    Closed,
    /// The server reset it.
    Reset,
    /// The server said nothing more for as long as we wait.
    Stalled,
}

/// What a server answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Reply {
    /// A `ServerHello` or a `HelloRetryRequest`, and what followed in the clear.
    Hello(Box<ServerHello>),
    /// An alert, by its description.
    Alert(u8),
    /// No answer; `begun` when some bytes of one came.
    Ended {
        /// How.
        how: End,
        /// Whether an answer had begun.
        begun: bool,
    },
    /// Bytes that are not TLS.
    NotTls,
    /// TLS records with something in them that cannot be an answer.
    Garbage(&'static str),
    /// The connection for this hello did not come about, in words.
    Unreached(String),
}

/// A `ServerHello`, and what followed it in the clear.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct ServerHello {
    /// The version it means, by the wire's number: that of `supported_versions` if it is there, else the old field.
    pub(crate) version: u16,
    /// The chosen suite.
    pub(crate) suite: u16,
    /// Whether it is a `HelloRetryRequest`.
    pub(crate) retry: bool,
    /// The group of `key_share`, or, up to TLS 1.2, the curve of the `ServerKeyExchange`.
    pub(crate) group: Option<u16>,
    /// Whether the random number warns of a downgrade.
    pub(crate) sentinel: bool,
    /// The certificates, leaf first.
    pub(crate) chain: Vec<Vec<u8>>,
    /// Whether an OCSP staple came.
    pub(crate) stapled: bool,
    /// Whether a client certificate was asked for; `None` when the flight was not read to its end.
    pub(crate) client_cert_requested: Option<bool>,
}

impl ServerHello {
    /// The version, if it has a name.
    pub(crate) fn known_version(&self) -> Option<TlsVersion> {
        use TlsVersion as V;
        [V::Ssl30, V::Tls10, V::Tls11, V::Tls12, V::Tls13]
            .into_iter()
            .find(|v| super::hello::number(*v) == self.version)
    }
}

/// The reply in `bytes`, if they hold one; `None` asks for more bytes.
#[cfg(any(test, fuzzing))]
pub(crate) fn read(bytes: &[u8], until: Until) -> Option<Reply> {
    Reader::new(until).push(bytes)
}

const CLOSE_NOTIFY: u8 = 0;
const WARNING: u8 = 1;

/// An answer being read. Its work is linear in the bytes, however small the pieces they come in.
#[derive(Debug)]
pub(crate) struct Reader {
    until: Until,
    hello: Option<ServerHello>,
    /// The last alert that ends nothing.
    warning: Option<u8>,
    /// Bytes that are no whole record yet.
    rest: Vec<u8>,
    /// Handshake bytes of the records so far that are no whole message yet.
    pending: Vec<u8>,
    /// Bytes so far.
    total: usize,
}

enum Step {
    More,
    Done,
    Fault(Reply),
}

impl Reader {
    /// Begins to read an answer.
    pub(crate) fn new(until: Until) -> Self {
        Self { until, hello: None, warning: None, rest: Vec::new(), pending: Vec::new(), total: 0 }
    }

    /// Takes further bytes; the reply, once it is known.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<Reply> {
        self.total += bytes.len();
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend(bytes);
        let mut left = &rest[..];
        let step = self.records(&mut left);
        let used = rest.len() - left.len();
        rest.drain(..used);
        self.rest = rest;
        let fault = match step {
            Step::More if self.total < MAX_ANSWER => return None,
            Step::More | Step::Done => Reply::Garbage("an endless answer"),
            Step::Fault(reply) => reply,
        };
        Some(self.hello().unwrap_or(fault))
    }

    /// The reply of a connection that ended while more bytes were wanted.
    pub(crate) fn end(&mut self, how: End) -> Reply {
        let silent = self.rest.is_empty() && self.pending.is_empty();
        self.hello().unwrap_or(match self.warning {
            Some(description) if description != CLOSE_NOTIFY => Reply::Alert(description),
            _ => Reply::Ended { how, begun: !silent },
        })
    }

    fn hello(&mut self) -> Option<Reply> {
        self.hello.take().map(|hello| Reply::Hello(Box::new(hello)))
    }

    /// Takes whole records off `bytes`.
    fn records(&mut self, bytes: &mut &[u8]) -> Step {
        while let Some(&kind) = bytes.first() {
            if !(CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind) {
                return Step::Fault(Reply::NotTls);
            }
            // Some servers get the version of an alert's record wrong.
            if kind != ALERT && bytes.get(1).is_some_and(|major| *major != 3) {
                return Step::Fault(Reply::NotTls);
            }
            let Some((header, after)) = bytes.split_first_chunk::<5>() else { return Step::More };
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if length > MAX_RECORD {
                return Step::Fault(Reply::Garbage("a record that is too long"));
            }
            let Some((content, after)) = after.split_at_checked(length) else { return Step::More };
            *bytes = after;
            match self.record(kind, content) {
                Step::More => {}
                end => return end,
            }
        }
        Step::More
    }

    fn record(&mut self, kind: u8, content: &[u8]) -> Step {
        match (kind, content) {
            (ALERT, _) if self.hello.is_some() => Step::Done,
            (ALERT, [WARNING, description]) => {
                self.warning = Some(*description);
                Step::More
            }
            (ALERT, [_, description]) => Step::Fault(Reply::Alert(*description)),
            (ALERT, _) => Step::Fault(Reply::Garbage("an alert of another length than two")),
            (HANDSHAKE, _) => {
                self.pending.extend(content);
                self.messages()
            }
            _ if self.hello.is_some() => Step::Done,
            _ => Step::Fault(Reply::Garbage("another record in place of an answer")),
        }
    }

    /// Takes whole messages off the pending bytes.
    fn messages(&mut self) -> Step {
        let mut pending = std::mem::take(&mut self.pending);
        let mut rest = &pending[..];
        while let Some((&[kind, a, b, c], after)) = rest.split_first_chunk::<4>() {
            let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if length > MAX_ANSWER {
                return Step::Fault(Reply::Garbage("a message that is too long"));
            }
            let Some((body, after)) = after.split_at_checked(length) else { break };
            rest = after;
            match self.message(kind, body) {
                Step::More => {}
                end => return end,
            }
        }
        let used = pending.len() - rest.len();
        pending.drain(..used);
        self.pending = pending;
        Step::More
    }

    fn message(&mut self, kind: u8, body: &[u8]) -> Step {
        let Some(hello) = &mut self.hello else {
            return match (kind, server_hello(body)) {
                (HELLO_REQUEST, _) => Step::More,
                (SERVER_HELLO, Some(hello)) => {
                    let clear = hello.version <= 0x0303 && !hello.retry;
                    self.hello = Some(hello);
                    if self.until == Until::Flight && clear { Step::More } else { Step::Done }
                }
                (SERVER_HELLO, None) => Step::Fault(Reply::Garbage("a ServerHello that cannot be read")),
                _ => Step::Fault(Reply::Garbage("another message in place of the ServerHello")),
            };
        };
        match kind {
            CERTIFICATE => hello.chain = certificates(body),
            CERTIFICATE_STATUS => hello.stapled = true,
            SERVER_KEY_EXCHANGE => hello.group = named_curve(hello.suite, body),
            CERTIFICATE_REQUEST => hello.client_cert_requested = Some(true),
            SERVER_HELLO_DONE => {
                hello.client_cert_requested.get_or_insert(false);
                return Step::Done;
            }
            _ => {}
        }
        Step::More
    }
}

fn server_hello(body: &[u8]) -> Option<ServerHello> {
    let mut fields = Fields(body);
    let legacy_version = fields.u16()?;
    let random = fields.take(32)?;
    fields.list8()?;
    let suite = fields.u16()?;
    fields.take(1)?;
    let mut hello = ServerHello {
        version: legacy_version,
        suite,
        retry: random == RETRY,
        sentinel: random[24..31] == *DOWNGRADE && random[31] <= 1,
        ..ServerHello::default()
    };
    if fields.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Fields(fields.list16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let mut content = Fields(extensions.list16()?);
        match kind {
            43 => hello.version = content.u16()?,
            51 => hello.group = Some(content.u16()?),
            _ => {}
        }
    }
    Some(hello)
}

/// The list of a `Certificate` message up to TLS 1.2; what cannot be read ends it.
fn certificates(body: &[u8]) -> Vec<Vec<u8>> {
    let mut list = Fields(Fields(body).list24().unwrap_or_default());
    std::iter::from_fn(|| list.list24()).take(MAX_CERTIFICATES).map(<[u8]>::to_vec).collect()
}

/// The curve of an ECDHE `ServerKeyExchange` (RFC 8422 section 5.4).
fn named_curve(suite: u16, body: &[u8]) -> Option<u16> {
    const NAMED_CURVE: u8 = 3;
    match body {
        [NAMED_CURVE, a, b, ..] if super::suites::is_ecdhe(suite) => Some(u16::from_be_bytes([*a, *b])),
        _ => None,
    }
}

/// Fields taken off the front of a message; `None` when it is too short.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(length)?;
        self.0 = tail;
        Some(head)
    }

    fn number(&mut self, length: usize) -> Option<usize> {
        Some(self.take(length)?.iter().fold(0, |all, byte| all << 8 | usize::from(*byte)))
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }

    fn list8(&mut self) -> Option<&'a [u8]> {
        let length = self.number(1)?;
        self.take(length)
    }

    fn list16(&mut self) -> Option<&'a [u8]> {
        let length = self.number(2)?;
        self.take(length)
    }

    fn list24(&mut self) -> Option<&'a [u8]> {
        let length = self.number(3)?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[kind, 3, 3], &length[..], content].concat()
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[kind], &length[1..], body].concat()
    }

    /// What a connection that ends after `bytes` amounts to.
    fn ended(bytes: &[u8], until: Until, how: End) -> Reply {
        let mut reader = Reader::new(until);
        reader.push(bytes).unwrap_or_else(|| reader.end(how))
    }

    /// The body of a `ServerHello`: an empty session id, one suite, extensions.
    fn body(version: u16, random: [u8; 32], suite: u16, extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [&version.to_be_bytes()[..], &random, &[0], &suite.to_be_bytes(), &[0]].concat();
        let all: Vec<u8> = extensions
            .iter()
            .flat_map(|(kind, content)| {
                let length = u16::try_from(content.len()).unwrap().to_be_bytes();
                [&kind.to_be_bytes()[..], &length, content].concat()
            })
            .collect();
        if !extensions.is_empty() {
            body.extend(u16::try_from(all.len()).unwrap().to_be_bytes());
            body.extend(all);
        }
        body
    }

    fn plain_hello(version: u16) -> Vec<u8> {
        message(SERVER_HELLO, &body(version, [1; 32], 0xc02f, &[]))
    }

    fn retry() -> Vec<u8> {
        record(HANDSHAKE, &message(SERVER_HELLO, &body(0x0303, RETRY, 0x1301, &[(43, &[3, 4]), (51, &[0x11, 0xec])])))
    }

    /// A whole flight of TLS 1.2: two certificates, a staple, P-256, a request for a client certificate.
    fn flight() -> Vec<Vec<u8>> {
        vec![
            plain_hello(0x0303),
            message(CERTIFICATE, b"\x00\x00\x09\x00\x00\x03abc\x00\x00\x00"),
            message(CERTIFICATE_STATUS, b"\x01\x00\x00\x01x"),
            message(SERVER_KEY_EXCHANGE, &[3, 0, 0x17, 1, 4]),
            message(CERTIFICATE_REQUEST, &[1, 1, 0, 0]),
            message(SERVER_HELLO_DONE, &[]),
        ]
    }

    fn hello(reply: Option<Reply>) -> ServerHello {
        match reply {
            Some(Reply::Hello(hello)) => *hello,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn supported_versions_decides_and_a_retry_is_a_hello() {
        let found = hello(read(&retry(), Until::Flight));
        assert_eq!((found.version, found.retry, found.group), (0x0304, true, Some(0x11ec)));
        assert_eq!(found.known_version(), Some(TlsVersion::Tls13));
        let old = hello(read(&record(HANDSHAKE, &plain_hello(0x0301)), Until::Hello));
        assert_eq!((old.known_version(), old.retry), (Some(TlsVersion::Tls10), false));
        let unheard_of = hello(read(&record(HANDSHAKE, &plain_hello(0x0309)), Until::Hello));
        assert_eq!(unheard_of.known_version(), None);
    }

    #[test]
    fn the_end_of_the_random_number_may_warn_of_a_downgrade() {
        for (end, warns) in
            [(*b"DOWNGRD\x01", true), (*b"DOWNGRD\x00", true), (*b"DOWNGRD\x02", false), (*b"downgrd\x01", false)]
        {
            let mut random = [1; 32];
            random[24..].copy_from_slice(&end);
            let bytes = record(HANDSHAKE, &message(SERVER_HELLO, &body(0x0303, random, 0xc02f, &[])));
            assert_eq!(hello(read(&bytes, Until::Hello)).sentinel, warns, "{end:?}");
        }
    }

    #[test]
    fn a_flight_is_read_however_it_is_cut_into_records() {
        let messages = flight().concat();
        let one_record = record(HANDSHAKE, &messages);
        let one_each: Vec<u8> = flight().iter().flat_map(|message| record(HANDSHAKE, message)).collect();
        let tiny: Vec<u8> = messages.chunks(3).flat_map(|piece| record(HANDSHAKE, piece)).collect();
        for bytes in [one_record, one_each, tiny] {
            let found = hello(read(&bytes, Until::Flight));
            assert_eq!(found.chain, [b"abc".to_vec(), Vec::new()]);
            assert!(found.stapled);
            assert_eq!((found.group, found.client_cert_requested), (Some(0x17), Some(true)));
            let mut reader = Reader::new(Until::Flight);
            let (last, all_but_last) = bytes.split_last().unwrap();
            assert!(all_but_last.iter().all(|byte| reader.push(&[*byte]).is_none()));
            assert_eq!(hello(reader.push(&[*last])), found);
        }
    }

    #[test]
    fn a_flight_that_breaks_off_still_tells_what_came() {
        let bytes = record(HANDSHAKE, &flight()[..2].concat());
        let found = ended(&bytes, Until::Flight, End::Closed);
        assert!(
            matches!(&found, Reply::Hello(hello) if hello.chain.len() == 2 && hello.client_cert_requested.is_none())
        );
        let with_alert = [bytes, record(ALERT, &[2, 40])].concat();
        assert_eq!(read(&with_alert, Until::Flight), Some(found));
    }

    #[test]
    fn only_a_fatal_alert_ends_the_reading() {
        assert_eq!(read(&record(ALERT, &[2, 70]), Until::Hello), Some(Reply::Alert(70)));
        let warned = [record(ALERT, &[1, 112]), record(HANDSHAKE, &plain_hello(0x0303))].concat();
        assert_eq!(hello(read(&warned, Until::Hello)).version, 0x0303);
        let refused = [record(ALERT, &[1, 112]), record(ALERT, &[2, 40])].concat();
        assert_eq!(read(&refused, Until::Hello), Some(Reply::Alert(40)));
        let left_alone = record(ALERT, &[1, 70]);
        assert_eq!(read(&left_alone, Until::Hello), None);
        assert_eq!(ended(&left_alone, Until::Hello, End::Closed), Reply::Alert(70));
        let bye = ended(&record(ALERT, &[1, CLOSE_NOTIFY]), Until::Hello, End::Closed);
        assert_eq!(bye, Reply::Ended { how: End::Closed, begun: false });
    }

    #[test]
    fn an_alert_may_have_a_wrong_record_version() {
        for version in [[0, 0], [3, 0], [3, 4]] {
            let bytes = [ALERT, version[0], version[1], 0, 2, 2, 70];
            assert_eq!(read(&bytes, Until::Hello), Some(Reply::Alert(70)));
        }
    }

    #[test]
    fn what_is_not_tls_is_told_by_its_first_bytes() {
        for bytes in [&b"HTTP/1.1 400"[..], b"SSH-2.0", b"220 mail", b"\x80\x40\x04\x00\x01", b"\x00", b"\x16\x02"] {
            assert_eq!(read(bytes, Until::Hello), Some(Reply::NotTls), "{bytes:?}");
        }
        assert_eq!(read(b"\x16", Until::Hello), None);
    }

    #[test]
    fn what_cannot_be_an_answer_is_garbage() {
        let long = [HANDSHAKE, 3, 3, 0xff, 0xff];
        let message_too_long = record(HANDSHAKE, &[SERVER_HELLO, 0xff, 0, 0]);
        let certificate_first = record(HANDSHAKE, &message(CERTIFICATE, &[0, 0, 0]));
        let short = record(HANDSHAKE, &message(SERVER_HELLO, &[3, 3, 1]));
        let bad_extension = record(HANDSHAKE, &message(SERVER_HELLO, &body(0x0303, [1; 32], 0xc02f, &[(43, &[3])])));
        for bytes in [&long[..], &message_too_long, &certificate_first, &short, &bad_extension, &record(23, b"data")] {
            assert!(matches!(read(bytes, Until::Hello), Some(Reply::Garbage(_))), "{bytes:?}");
        }
        let endless = record(HANDSHAKE, &[]).repeat(MAX_ANSWER / 5 + 1);
        assert!(matches!(read(&endless, Until::Hello), Some(Reply::Garbage(_))));
    }

    #[test]
    fn half_an_answer_is_none() {
        let bytes = retry();
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut], Until::Hello), None);
            let expected = Reply::Ended { how: End::Reset, begun: cut > 0 };
            assert_eq!(ended(&bytes[..cut], Until::Hello, End::Reset), expected);
        }
    }

    /// Numbers that are the same on every run (xorshift).
    fn noise(state: &mut u64) -> usize {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        usize::try_from(*state >> 33).unwrap()
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let seeds = [retry(), record(HANDSHAKE, &flight().concat()), record(ALERT, &[2, 70])];
        let mut state = 0x9e37_79b9_7f4a_7c15;
        for round in 0..20_000 {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..=noise(&mut state) % 4 {
                let at = noise(&mut state) % bytes.len();
                bytes[at] ^= 1 << (noise(&mut state) % 8);
            }
            bytes.truncate(noise(&mut state) % (bytes.len() + 1));
            for until in [Until::Hello, Until::Flight] {
                ended(&bytes, until, End::Closed);
            }
        }
    }
}
