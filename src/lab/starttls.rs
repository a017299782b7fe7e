//! The lab's servers that begin in the clear and switch to TLS on request: takes a protocol and how to misbehave, gives a
//! server that says just enough for a client to get to TLS. What each says is a table; one small player reads them all.

use super::{
    listener::Listener,
    tls::{self, ServerTls},
};
use std::{borrow::Cow, io};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What a server speaks before TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// RFC 3207.
    Smtp,
    /// RFC 3501 section 6.2.1.
    Imap,
    /// RFC 2595 section 4.
    Pop3,
    /// RFC 4217.
    Ftp,
    /// RFC 4511 section 4.14.
    Ldap,
    /// PostgreSQL's `SSLRequest`.
    Postgres,
    /// MySQL's SSL request packet.
    Mysql,
    /// RFC 6120 section 5.
    Xmpp,
}

impl Protocol {
    /// Every protocol.
    pub const ALL: [Self; 8] =
        [Self::Smtp, Self::Imap, Self::Pop3, Self::Ftp, Self::Ldap, Self::Postgres, Self::Mysql, Self::Xmpp];

    fn script(self) -> &'static Script {
        match self {
            Self::Smtp => &SMTP,
            Self::Imap => &IMAP,
            Self::Pop3 => &POP3,
            Self::Ftp => &FTP,
            Self::Ldap => &LDAP,
            Self::Postgres => &POSTGRES,
            Self::Mysql => &MYSQL,
            Self::Xmpp => &XMPP,
        }
    }
}

/// How a server behaves before TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// As it should.
    Good,
    /// Answers the request for TLS with a refusal.
    Refuses,
    /// Does not offer TLS, where the protocol lets a server say what it offers, and refuses it.
    OffersNot,
    /// Sends more bytes with its last word before TLS, as somebody on the path could.
    Injects,
    /// Says this many things, then nothing more.
    FallsSilentAfter(usize),
    /// Begins its first word and never ends it.
    NeverEnds,
}

/// Starts a server of `protocol`, which speaks TLS as `tls` says once it comes to that.
pub async fn serve(tls: ServerTls, protocol: Protocol, manner: Manner) -> io::Result<Listener> {
    Listener::start(move |tcp, _| {
        let tls = tls.clone();
        async move {
            let player = Player { tcp, script: protocol.script(), manner, said: 0 };
            // A client that goes away in the middle ends the play.
            if let Ok(Some(tcp)) = player.play().await
                && let Some(stream) = tls::open(Some(&tls), tcp).await
            {
                tls::finish(stream).await;
            }
        }
    })
    .await
}

/// What a server of a protocol says.
struct Script {
    /// Where one thing that the client says ends.
    unit: Unit,
    /// Said at once; empty where the client speaks first.
    greeting: &'static [u8],
    /// A word of a request, in any case, and the answer to it.
    answers: &'static [(&'static [u8], &'static [u8])],
    /// The word of the request for TLS.
    request: &'static [u8],
    /// The answer after which TLS begins; empty where the greeting is the permission.
    permission: &'static [u8],
    /// Said in place of the permission.
    refusal: &'static [u8],
    /// The part of what is said that offers TLS, and what stands there otherwise.
    offer: Option<(&'static [u8], &'static [u8])>,
    /// What is said, without end, by a server that never ends.
    endless: &'static [u8],
}

/// How what a client says is cut.
enum Unit {
    Until(u8),
    Bytes(usize),
    /// A BER element with a short length.
    Element,
}

/// In an answer, stands for the first word of the request.
const TAG: &[u8] = b"{tag}";

const SMTP: Script = Script {
    unit: Unit::Until(b'\n'),
    greeting: b"220-lab ESMTP\r\n220 ready\r\n",
    answers: &[(b"EHLO", b"250-lab\r\n250-STARTTLS\r\n250 8BITMIME\r\n"), (b"QUIT", b"221 bye\r\n")],
    request: b"STARTTLS",
    permission: b"220 go ahead\r\n",
    refusal: b"454 4.7.0 TLS is not available\r\n",
    offer: Some((b"250-STARTTLS\r\n", b"")),
    endless: b"220-welcome\r\n",
};

const IMAP: Script = Script {
    unit: Unit::Until(b'\n'),
    greeting: b"* OK [CAPABILITY IMAP4rev1 STARTTLS] lab\r\n",
    answers: &[(b"CAPABILITY", b"* CAPABILITY IMAP4rev1 STARTTLS\r\n{tag} OK done\r\n")],
    request: b"STARTTLS",
    permission: b"{tag} OK begin TLS\r\n",
    refusal: b"{tag} BAD no TLS here\r\n",
    offer: Some((b" STARTTLS", b"")),
    endless: b"* OK and ",
};

const POP3: Script = Script {
    unit: Unit::Until(b'\n'),
    greeting: b"+OK lab\r\n",
    answers: &[(b"CAPA", b"+OK\r\nSTLS\r\n.\r\n")],
    request: b"STLS",
    permission: b"+OK begin TLS\r\n",
    refusal: b"-ERR no TLS here\r\n",
    offer: Some((b"STLS\r\n", b"")),
    endless: b"+OK and ",
};

const FTP: Script = Script {
    unit: Unit::Until(b'\n'),
    greeting: b"220-lab\r\n welcome\r\n220 ready\r\n",
    answers: &[(b"FEAT", b"211-features\r\n AUTH TLS\r\n211 end\r\n")],
    request: b"AUTH TLS",
    permission: b"234 begin TLS\r\n",
    refusal: b"534 no TLS here\r\n",
    offer: Some((b" AUTH TLS\r\n", b"")),
    endless: b"220-welcome\r\n",
};

const LDAP: Script = Script {
    unit: Unit::Element,
    greeting: b"",
    answers: &[],
    request: b"1.3.6.1.4.1.1466.20037",
    permission: b"\x30\x24\x02\x01\x01\x78\x1f\x0a\x01\x00\x04\x00\x04\x00\x8a\x161.3.6.1.4.1.1466.20037",
    refusal: b"\x30\x18\x02\x01\x01\x78\x13\x0a\x01\x02\x04\x00\x04\x0cno TLS here.",
    offer: None,
    endless: b"\x30\x84\x7f\xff\xff\xff",
};

const POSTGRES: Script = Script {
    unit: Unit::Bytes(8),
    greeting: b"",
    answers: &[],
    request: b"\x04\xd2\x16\x2f",
    permission: b"S",
    refusal: b"N",
    offer: None,
    endless: b"EEEE",
};

const MYSQL: Script = Script {
    unit: Unit::Bytes(36),
    greeting: b"\x4d\0\0\0\x0a8.0.0-lab\0\x01\0\0\x0012345678\0\xff\xff\xff\x02\0\xff\xdf\x15\
        \0\0\0\0\0\0\0\0\0\x00123456789012\0caching_sha2_password\0",
    answers: &[],
    request: b"\x20\0\0\x01",
    permission: b"",
    refusal: b"\x1e\0\0\0\xff\x6a\x04#HY000your host may not in.",
    offer: Some((b"\0\xff\xff\xff\x02", b"\0\xff\xf7\xff\x02")),
    endless: b"\xff\xff\xff\0\x0a",
};

const XMPP: Script = Script {
    unit: Unit::Until(b'>'),
    greeting: b"",
    answers: &[(
        b"<stream:stream",
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' \
          id='lab' from='lab' version='1.0'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'>\
          <required/></starttls><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>\
          </mechanisms></stream:features>",
    )],
    request: b"<starttls",
    permission: b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
    refusal: b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>",
    offer: Some((b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>", b"")),
    endless: b"<stream:stream ",
};

/// One connection before TLS.
struct Player {
    tcp: TcpStream,
    script: &'static Script,
    manner: Manner,
    /// How many things were said.
    said: usize,
}

impl Player {
    /// Plays to the beginning of TLS, and gives the connection for it; `None` if it does not come to that.
    async fn play(mut self) -> io::Result<Option<TcpStream>> {
        self.tcp.set_nodelay(true)?;
        let script = self.script;
        let greeting_permits = script.permission.is_empty();
        if greeting_permits && self.manner == Manner::Refuses {
            return self.refuse(b"").await;
        }
        self.say(script.greeting, b"", greeting_permits).await?;
        loop {
            let request = self.listen().await?;
            if contains(&request, script.request) {
                if matches!(self.manner, Manner::Refuses | Manner::OffersNot) {
                    return self.refuse(&request).await;
                }
                self.say(script.permission, &request, true).await?;
                return Ok(Some(self.tcp));
            }
            if let Some((_, answer)) = script.answers.iter().find(|(word, _)| contains(&request, word)) {
                self.say(answer, &request, false).await?;
            }
        }
    }

    async fn refuse(mut self, request: &[u8]) -> io::Result<Option<TcpStream>> {
        self.say(self.script.refusal, request, false).await?;
        tls::finish(self.tcp).await;
        Ok(None)
    }

    async fn say(&mut self, text: &[u8], request: &[u8], is_last: bool) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        match self.manner {
            Manner::FallsSilentAfter(limit) if self.said == limit => {
                tls::drain(&mut self.tcp).await;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Manner::NeverEnds => loop {
                self.tcp.write_all(self.script.endless).await?;
            },
            _ => self.said += 1,
        }
        let tag = request.split(|&byte| byte == b' ').next().unwrap_or_default();
        let mut text = replaced(text, TAG, tag);
        if let (Manner::OffersNot, Some((offer, otherwise))) = (self.manner, self.script.offer) {
            text = replaced(&text, offer, otherwise).into_owned().into();
        }
        if self.manner == Manner::Injects && is_last {
            text.to_mut().extend(b"injected\r\n");
        }
        self.tcp.write_all(&text).await
    }

    /// Reads one thing that the client says, and no byte more: TLS may follow at once.
    async fn listen(&mut self) -> io::Result<Vec<u8>> {
        let mut heard = Vec::new();
        loop {
            heard.push(self.tcp.read_u8().await?);
            let is_whole = match self.script.unit {
                Unit::Until(end) => heard.ends_with(&[end]),
                Unit::Bytes(count) => heard.len() == count,
                Unit::Element => heard.get(1).is_some_and(|&length| heard.len() == 2 + usize::from(length)),
            };
            if is_whole {
                return Ok(heard);
            }
        }
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word))
}

/// `text` with the first `from` replaced.
fn replaced<'a>(text: &'a [u8], from: &[u8], to: &[u8]) -> Cow<'a, [u8]> {
    match text.windows(from.len()).position(|window| window == from) {
        Some(at) => [&text[..at], to, &text[at + from.len()..]].concat().into(),
        None => text.into(),
    }
}
