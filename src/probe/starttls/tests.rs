//! Every protocol over a pipe, with servers written down as data and then spoilt in every way; and over TCP, against the
//! lab's.

use super::{StartTlsError, upgrade};
use crate::{
    config,
    engine::{Engine, EngineOptions, Limits},
    lab::{
        Endpoint, Expected, Lab, Listener,
        ca::Cert,
        raw::{self, Step},
        starttls::{self, Manner, Protocol},
        tls::{ServerTls, Tls},
    },
    model::{Job, ModuleName, Phase, ProbeReport, Reason, StartTls},
    probe::run::{StageError, at_most},
};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, copy, duplex, sink};

/// One turn of a server.
#[derive(Clone, Debug, PartialEq)]
enum Turn {
    /// Reads exactly this; anything else fails the test.
    Hears(&'static [u8]),
    /// Says this in one go.
    Says(Vec<u8>),
}

/// How it went.
#[derive(Debug, PartialEq)]
enum Outcome {
    Starts,
    Stalls,
    Fails(Reason, String),
}

fn hears(text: &'static (impl AsRef<[u8]> + ?Sized)) -> Turn {
    Turn::Hears(text.as_ref())
}

fn says(text: impl AsRef<[u8]>) -> Turn {
    Turn::Says(text.as_ref().to_vec())
}

const STARTTLS_XMPP: &[u8] = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const XMPP_HEADER: &[u8] = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
    xmlns:stream='http://etherx.jabber.org/streams' to='h.example' version='1.0'>";
const XMPP_OFFER: &[u8] = b"<?xml version='1.0'?>\n<stream:stream xmlns='jabber:client' id='1' version='1.0' \
    xmlns:stream='http://etherx.jabber.org/streams'><stream:features>\
    <mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>\
    <starttls xmlns=\"urn:ietf:params:xml:ns:xmpp-tls\"><required/></starttls></stream:features>";
const LDAP_REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
const LDAP_GOOD: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0";
const MYSQL_HANDSHAKE: &[u8] = b"\x31\0\0\0\x0a5.7\0\x01\0\0\x0012345678\0\xff\xff\x08\x02\0\xff\xc1\x15\
    \0\0\0\0\0\0\0\0\0\x00123456789012\0";
const MYSQL_REQUEST: &[u8] = b"\x20\0\0\x01\0\x8a\0\0\0\0\0\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// A server of each protocol that does all right.
fn good_servers() -> Vec<(StartTls, Vec<Turn>)> {
    vec![
        (
            StartTls::Smtp,
            vec![
                says("220-mx.example ESMTP\r\n220-no spam\r\n220 please\r\n"),
                hears("EHLO edgeprobe.invalid\r\n"),
                says("250-mx.example\r\n250-SIZE 1000\r\n250-StartTLS\r\n250 8BITMIME\r\n"),
                hears("STARTTLS\r\n"),
                says("220 2.0.0 go ahead\r\n"),
            ],
        ),
        (
            StartTls::Imap,
            vec![
                says("* OK [CAPABILITY IMAP4rev1] ready\r\n"),
                hears("a1 STARTTLS\r\n"),
                says("* OK still here\r\na1 OK begin\r\n"),
            ],
        ),
        (StartTls::Pop3, vec![says("+OK ready <1@h>\r\n"), hears("STLS\r\n"), says("+OK\r\n")]),
        (
            StartTls::Ftp,
            vec![
                says("220-welcome\r\n  to all\r\n2200 files\r\n220 ready\r\n"),
                hears("AUTH TLS\r\n"),
                says("234\r\n"),
            ],
        ),
        (StartTls::Ldap, vec![hears(LDAP_REQUEST), says(LDAP_GOOD)]),
        (StartTls::Postgres, vec![hears(b"\0\0\0\x08\x04\xd2\x16\x2f"), says("S")]),
        (StartTls::Mysql, vec![says(MYSQL_HANDSHAKE), hears(MYSQL_REQUEST)]),
        (
            StartTls::Xmpp,
            vec![
                hears(XMPP_HEADER),
                says(XMPP_OFFER),
                hears(STARTTLS_XMPP),
                says("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'></proceed>"),
            ],
        ),
    ]
}

/// Plays a server to the end of its script. A client that goes away ends the play.
async fn play(mut pipe: DuplexStream, script: &[Turn], stays: bool) {
    for turn in script {
        match turn {
            Turn::Hears(expected) => {
                let mut heard = vec![0; expected.len()];
                if pipe.read_exact(&mut heard).await.is_err() {
                    return;
                }
                assert_eq!(heard.escape_ascii().to_string(), expected.escape_ascii().to_string());
            }
            Turn::Says(text) => {
                if pipe.write_all(text).await.is_err() {
                    return;
                }
            }
        }
    }
    if stays {
        copy(&mut pipe, &mut sink()).await.unwrap();
    }
}

/// Talks to a server over a pipe of this width.
async fn talk(protocol: StartTls, script: &[Turn], (width, stays): (usize, bool)) -> Outcome {
    let (ours, theirs) = duplex(width);
    let client = async {
        let outcome = at_most(Duration::from_secs(60), upgrade(Box::new(ours), protocol, "h.example")).await;
        outcome.map(|outcome| outcome.map(drop))
    };
    match tokio::join!(client, play(theirs, script, stays)).0 {
        None => Outcome::Stalls,
        Some(Ok(())) => Outcome::Starts,
        Some(Err(error)) => Outcome::Fails(error.reason(), error.to_string()),
    }
}

const WIDE: usize = 64 * 1024;

async fn stays(protocol: StartTls, script: &[Turn]) -> Outcome {
    talk(protocol, script, (WIDE, true)).await
}

/// A good server, with the thing it says at one place changed.
struct Spoilt {
    protocol: StartTls,
    script: Vec<Turn>,
    place: usize,
}

/// Every protocol's good server, with each of the things it says changed in turn.
fn spoilt(change: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Spoilt> {
    let mut all = Vec::new();
    for (protocol, script) in good_servers() {
        for (place, turn) in script.iter().enumerate() {
            if let Turn::Says(text) = turn {
                let mut script = script.clone();
                script[place] = Turn::Says(change(text));
                all.push(Spoilt { protocol, script, place });
            }
        }
    }
    all
}

#[track_caller]
fn assert_fails(outcome: Outcome, expected: Reason, words: &str) {
    let Outcome::Fails(reason, text) = outcome else { panic!("{outcome:?} in place of {words}") };
    assert_eq!(reason, expected, "{text}");
    assert!(text.contains(words), "{text}");
}

#[tokio::test(start_paused = true)]
async fn good_servers_come_to_tls_however_their_words_are_cut() {
    for (protocol, script) in good_servers() {
        for width in [1, 7, WIDE] {
            assert_eq!(talk(protocol, &script, (width, true)).await, Outcome::Starts, "{protocol}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_that_nobody_asked_for_are_refused_wherever_they_come() {
    for injected in [&b"x"[..], b"\x16\x03\x03\0\x02\x02\x28", b"220 more\r\n"] {
        for Spoilt { protocol, script, .. } in spoilt(|text| [text, injected].concat()) {
            let words = format!("was followed by {} bytes that were not asked for", injected.len());
            assert_fails(stays(protocol, &script).await, Reason::StarttlsRefused, &words);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_falls_silent_is_left_to_the_deadline_and_one_that_leaves_is_told() {
    for Spoilt { protocol, script, place } in spoilt(|text| text[..text.len() - 1].to_vec()) {
        for said in [&script[..place], &script[..=place]] {
            assert_eq!(stays(protocol, said).await, Outcome::Stalls, "{protocol}");
            let gone = talk(protocol, said, (WIDE, false)).await;
            assert_fails(gone, Reason::Broken, "the connection ended before the ");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_protocol_and_endless_words_are_refused() {
    for Spoilt { protocol, script, .. } in spoilt(|_| b"SSH-2.0-OpenSSH_9.2>\r\n".to_vec()) {
        assert_fails(stays(protocol, &script).await, Reason::StarttlsRefused, "SH-2.0-OpenSSH_9.2>`");
    }
    for endless in [&b"<a"[..], b"\x30\x84\x01\0\0\0"] {
        for Spoilt { protocol, script, .. } in spoilt(|_| endless.repeat(10_000)) {
            assert_fails(stays(protocol, &script).await, Reason::StarttlsRefused, &format!("{protocol}: the "));
        }
    }
    let many = |line: &str| says(line.repeat(1000));
    for (protocol, script) in [
        (StartTls::Smtp, vec![many("220-not yet at the end\r\n")]),
        (StartTls::Ftp, vec![many("220-not yet at the end\r\n")]),
        (StartTls::Imap, vec![says("* OK\r\n"), hears("a1 STARTTLS\r\n"), many("* OK not yet at the end\r\n")]),
        (StartTls::Xmpp, vec![says("<stream><features>"), many("<not yet='the'><end/></not>")]),
    ] {
        assert_fails(stays(protocol, &script).await, Reason::StarttlsRefused, "is not complete within 16384 bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_the_protocols_of_lines_say_what_was_said() {
    let smtp_to_ehlo = || vec![says("220 mx\r\n"), hears("EHLO edgeprobe.invalid\r\n")];
    let smtp_to_starttls = || [smtp_to_ehlo(), vec![says("250 STARTTLS\r\n"), hears("STARTTLS\r\n")]].concat();
    let imap = || vec![says("* ok\r\n"), hears("a1 STARTTLS\r\n")];
    let then = |script: Vec<Turn>, text: &str| [script, vec![says(text)]].concat();
    for (protocol, script, words) in [
        (StartTls::Smtp, vec![says("554-no\r\n")], "smtp: the greeting is `554-no`"),
        (StartTls::Smtp, vec![says("2201 x\r\n")], "the greeting is `2201 x`"),
        (StartTls::Smtp, then(smtp_to_ehlo(), "502 what?\r\n"), "the answer to EHLO is `502 what?`"),
        (StartTls::Smtp, then(smtp_to_ehlo(), "250 mx\r\n"), "the answer to EHLO does not offer STARTTLS"),
        (StartTls::Smtp, then(smtp_to_ehlo(), "250-XSTARTTLS\r\n250 STARTTLSX\r\n"), "does not offer STARTTLS"),
        (StartTls::Smtp, then(smtp_to_starttls(), "454 \x07n\u{f6}\r\n"), r"to STARTTLS is `454 \x07n\xc3\xb6`"),
        (StartTls::Imap, vec![says("* PREAUTH hello\r\n")], "imap: the greeting is `* PREAUTH hello`"),
        (StartTls::Imap, vec![says("* BYE full\r\n")], "the greeting is `* BYE full`"),
        (StartTls::Imap, then(imap(), "a1 NO never\r\n"), "the answer to STARTTLS is `a1 NO never`"),
        (StartTls::Imap, then(imap(), "* OK\r\n* BYE now\r\n"), "the answer to STARTTLS is `* BYE now`"),
        (StartTls::Imap, then(imap(), "a2 OK\r\n"), "the answer to STARTTLS is `a2 OK`"),
        (StartTls::Pop3, vec![says("-ERR busy\r\n")], "pop3: the greeting is `-ERR busy`"),
        (StartTls::Pop3, vec![says("+OKAY\r\n")], "the greeting is `+OKAY`"),
        (StartTls::Pop3, vec![says("+OK\n"), hears("STLS\r\n"), says("-ERR\n")], "the answer to STLS is `-ERR`"),
        (StartTls::Ftp, vec![says("421 full\r\n")], "ftp: the greeting is `421 full`"),
        (StartTls::Ftp, vec![says("220 \n"), hears("AUTH TLS\r\n"), says("534 no\n")], "to AUTH TLS is `534 no`"),
    ] {
        assert_fails(stays(protocol, &script).await, Reason::StarttlsRefused, words);
    }
    let long = [b"554 ", &[b'x'; 1000][..], b"\r\n"].concat();
    assert_fails(stays(StartTls::Smtp, &[says(long)]).await, Reason::StarttlsRefused, "xxx...`");
}

#[tokio::test(start_paused = true)]
async fn refusals_of_the_protocols_of_packets_say_what_was_said() {
    let ldap = |answer: &[u8]| (StartTls::Ldap, vec![hears(LDAP_REQUEST), says(answer)]);
    let postgres = |answer: &str| (StartTls::Postgres, vec![says(answer)]);
    let mysql = |packet: &[u8]| (StartTls::Mysql, vec![says(packet)]);
    let without_ssl: Vec<u8> =
        MYSQL_HANDSHAKE.iter().enumerate().map(|(at, &byte)| if at == 23 { byte & !8 } else { byte }).collect();
    for ((protocol, script), words) in [
        (
            ldap(b"\x30\x10\x02\x01\x01\x78\x0b\x0a\x01\x34\x04\0\x04\x04busy"),
            "ldap: the answer to StartTLS is result code 52: `busy`",
        ),
        (ldap(b"\x30\x0c\x02\x01\0\x78\x07\x0a\x01\0\x04\0\x04\0"), "is result code 0: ``"),
        (ldap(b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\0\x04\0\x04\0"), r"is `\x02\x01\x01a\x07"),
        (ldap(b"\x30\x03\x02\x05\x01"), r"is `\x02\x05\x01`"),
        (ldap(b"\x30\x80"), r"is `0\x80`"),
        (ldap(b"\x30\x85\0\0\0\0\0"), r"is `0\x85\x00"),
        (ldap(b"\x30\x82\x10\x01"), "has a part longer than 4096 bytes"),
        (postgres("N"), "postgres: the answer to SSLRequest is `N`: the server does not offer TLS"),
        (postgres("E\0\0\0\x19SFATAL\0C53300\0Mfull\0\0"), "is the error `full`"),
        (postgres("E\0\0\0\x04"), "is the error ``"),
        (postgres("EFATAL: unsupported protocol\n\0"), "is `EFATAL: unsupported protocol"),
        (mysql(&without_ssl), "mysql: the greeting does not offer TLS"),
        (mysql(b"\x0b\0\0\0\xff\x6a\x04#HY000no"), "the greeting is error 1130: `no`"),
        (mysql(b"\x05\0\0\0\xff\x6a\x04no"), "the greeting is error 1130: `no`"),
        (mysql(b"\x02\0\0\0\xff\x6a"), r"the greeting is `\xffj`"),
        (mysql(b"\x05\0\0\0\x093.2\0"), r"the greeting is `\t3.2\x00`"),
        (mysql(b"\x05\0\0\0\x0a5.7\0"), r"the greeting is `\n5.7\x00`"),
        (mysql(b"\0\0\0\0"), r"the greeting is `\x00\x00\x00\x00`"),
    ] {
        assert_fails(stays(protocol, &script).await, Reason::StarttlsRefused, words);
    }
    let long_form = b"\x30\x84\0\0\0\x10\x02\x01\x01\x78\x84\0\0\0\x07\x0a\x01\0\x04\0\x04\0";
    let (protocol, script) = ldap(long_form);
    assert_eq!(stays(protocol, &script).await, Outcome::Starts);
}

#[tokio::test(start_paused = true)]
async fn refusals_of_xmpp_say_what_was_said() {
    let offer = || vec![hears(XMPP_HEADER), says(XMPP_OFFER), hears(STARTTLS_XMPP)];
    let after_offer = |text: &str| [offer(), vec![says(text)]].concat();
    for (script, words) in [
        (vec![says("220 mx\r\n")], "xmpp: the stream's header is `220 mx`"),
        (vec![says("<html><head>")], "the stream's header is `<html>`"),
        (
            vec![says("<stream:stream><stream:error><host-unknown/></stream:error>")],
            "the list of features is `<stream:error><host-unknown/>`",
        ),
        (vec![says("<stream:stream><stream:features/>")], "the list of features does not offer starttls"),
        (
            vec![says("<stream:stream><stream:features><starttls/></stream:features>")],
            "the list of features does not offer starttls",
        ),
        (after_offer("<failure xmlns='x'/></stream:stream>"), "the answer to starttls is `<failure xmlns='x'/>`"),
        (after_offer("<proceed></x>"), "the answer to starttls is `</x>`"),
    ] {
        assert_fails(stays(StartTls::Xmpp, &script).await, Reason::StarttlsRefused, words);
    }
    assert_eq!(stays(StartTls::Xmpp, &after_offer("<proceed/>")).await, Outcome::Starts);
}

#[test]
fn a_lost_connection_has_the_reason_of_its_error() {
    let failed = |kind: std::io::ErrorKind| StartTlsError::Failed {
        protocol: StartTls::Smtp,
        awaited: "the greeting",
        source: kind.into(),
    };
    assert_eq!(failed(std::io::ErrorKind::ConnectionReset).reason(), Reason::Reset);
    assert_eq!(failed(std::io::ErrorKind::Other).reason(), Reason::Broken);
}

// === over TCP ===

/// The lab, and an engine with the modules of its demo.
struct Bench {
    lab: Lab,
    engine: Engine,
}

impl Bench {
    async fn new() -> Self {
        let lab = Lab::start().await.unwrap();
        let config = config::parse(&lab.demo_config(), "demo").unwrap_or_else(|errors| panic!("{errors}"));
        let engine = Engine::new(&config.plan, EngineOptions { max_in_flight: 100, key_log: false })
            .unwrap_or_else(|errors| panic!("{errors:?}"));
        Self { lab, engine }
    }

    async fn probe(&self, module: &str, target: &str, seconds: u64) -> ProbeReport {
        let module = ModuleName::new(module);
        let job = Job::new(module, target);
        let timeout = Duration::from_secs(seconds);
        self.engine.run(&job, Limits { timeout, budget: timeout }).await
    }

    /// A server of the lab with a good certificate.
    async fn server(&self, protocol: Protocol, manner: Manner) -> Listener {
        let tls = ServerTls::new(self.lab.ca(), Tls::new(Cert::Good), &["mail.localhost".into()]);
        starttls::serve(tls, protocol, manner).await.unwrap()
    }

    /// Probes such a server, as a module of its protocol does.
    async fn verdict(&self, protocol: Protocol, manner: Manner) -> String {
        let server = self.server(protocol, manner).await;
        let module = format!("starttls_{protocol:?}").to_lowercase();
        let seconds = if matches!(manner, Manner::FallsSilentAfter(_)) { 2 } else { 30 };
        verdict(&self.probe(&module, &format!("mail.localhost:{}", server.address().port()), seconds).await)
    }
}

fn verdict(report: &ProbeReport) -> String {
    match &report.failure {
        None => Expected::Success.to_string(),
        Some(failure) => format!("{}/{}", failure.phase, failure.reason),
    }
}

#[tokio::test]
async fn every_endpoint_of_the_lab_is_found_to_be_what_it_is() {
    let bench = Bench::new().await;
    let endpoints = bench.lab.endpoints().iter().filter(|endpoint| endpoint.name.starts_with("starttls-"));
    let probes = endpoints.map(async |Endpoint { name, url, module, expected, .. }| {
        let seconds = if *name == "starttls-silent" { 2 } else { 30 };
        let report = bench.probe(module, url, seconds).await;
        assert_eq!(verdict(&report), expected.to_string(), "{name}: {:?}", report.failure);
        let shook_hands = report.tls().is_some_and(|tls| tls.completed && tls.chain.len() == 2);
        assert_eq!(shook_hands, *expected == Expected::Success || *name == "starttls-expired", "{name}");
        assert!(report.times().get(Phase::Tls).is_some(), "{name}");
    });
    assert_eq!(join_all(probes).await.len(), 14);
}

#[tokio::test]
async fn every_protocol_is_found_to_behave_as_it_does() {
    let bench = Bench::new().await;
    let spoken = |protocol| match protocol {
        Protocol::Smtp => 3,
        Protocol::Imap | Protocol::Pop3 | Protocol::Ftp | Protocol::Xmpp => 2,
        Protocol::Ldap | Protocol::Postgres | Protocol::Mysql => 1,
    };
    let manners = |protocol| {
        let silent = (0..spoken(protocol)).map(|words| (Manner::FallsSilentAfter(words), "tls/timeout"));
        let refused = [Manner::Refuses, Manner::Injects, Manner::NeverEnds].map(|m| (m, "tls/starttls_refused"));
        let offers = !matches!(protocol, Protocol::Ldap | Protocol::Postgres);
        let hidden = offers.then_some((Manner::OffersNot, "tls/starttls_refused"));
        silent.chain(refused).chain(hidden).chain([(Manner::Good, "success")])
    };
    let cases = Protocol::ALL.into_iter().flat_map(|protocol| manners(protocol).map(move |case| (protocol, case)));
    let probes = cases.map(async |(protocol, (manner, expected))| {
        assert_eq!(bench.verdict(protocol, manner).await, expected, "{protocol:?} {manner:?}");
    });
    join_all(probes).await;
}

#[tokio::test]
async fn a_reset_before_tls_is_a_reset() {
    let bench = Bench::new().await;
    let server = raw::serve(None, &[Step::Send(b"220 mx\r\n"), Step::Reset]).await.unwrap();
    let report = bench.probe("starttls_smtp", &format!("mail.localhost:{}", server.address().port()), 30).await;
    assert_eq!(verdict(&report), "tls/reset");
}

#[tokio::test]
async fn a_target_without_a_port_means_the_protocols_own() {
    let bench = Bench::new().await;
    for (module, target, url) in [
        ("starttls_smtp", "nothing.invalid", "nothing.invalid:25"),
        ("starttls_xmpp", "nothing.invalid", "nothing.invalid:5222"),
        ("starttls_smtp", "nothing.invalid:443", "nothing.invalid:443"),
        ("cert", "nothing.invalid", "nothing.invalid:443"),
    ] {
        let report = bench.probe(module, target, 30).await;
        assert_eq!(report.hops[0].url, url);
        assert_eq!(verdict(&report), "resolve/name_not_found");
    }
}
