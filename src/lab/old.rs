//! The lab's scripted TLS servers: takes what a server should accept, answers a hello as such a server would, up to the
//! end of its first flight. So there is something to scan that no library speaks any more. Makes no key, decrypts nothing.

use super::{listener::Listener, tls};
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What a server accepts, all by the wire's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Profile {
    /// Versions.
    pub versions: &'static [u16],
    /// Cipher suites, in the server's order.
    pub suites: &'static [u16],
    /// Groups, in the server's order.
    pub groups: &'static [u16],
    /// What it does with a hello that has no version, suite or group in common with it.
    pub refusal: Refusal,
    /// Whether an older version's answer warns of a newer one.
    pub warns: bool,
    /// Whether it asks for a client certificate.
    pub client_cert: bool,
    /// The longest hello it takes; it is silent to longer ones.
    pub longest: usize,
}

/// What a server does instead of an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// Sends `protocol_version` or `handshake_failure`.
    Alert,
    /// Sends this alert, whatever is missing.
    Always(u8),
    /// Closes the connection.
    Close,
    /// Resets it.
    Reset,
    /// Says nothing.
    Stall,
    /// Sends what is no TLS.
    Junk,
}

impl Profile {
    /// Nothing yet.
    pub const EMPTY: Self = Self {
        versions: &[],
        suites: &[],
        groups: &[],
        refusal: Refusal::Alert,
        warns: true,
        client_cert: false,
        longest: usize::MAX,
    };
}

/// Starts a server that accepts `profile` and shows `chain`, leaf first.
pub async fn serve(profile: Profile, chain: Vec<Vec<u8>>) -> io::Result<Listener> {
    Listener::start(move |tcp, _| {
        let chain = chain.clone();
        async move {
            // A client that goes away in the middle ends the connection.
            let _ = answer(tcp, profile, &chain).await;
        }
    })
    .await
}

async fn answer(mut tcp: TcpStream, profile: Profile, chain: &[Vec<u8>]) -> io::Result<()> {
    let mut header = [0; 5];
    tcp.read_exact(&mut header).await?;
    let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    tcp.read_exact(&mut record).await?;
    let alert = |description: u8| vec![21, 3, 1, 0, 2, 2, description];
    if record.len() > profile.longest {
        tls::drain(tcp).await;
        return Ok(());
    }
    let bytes = match Asked::read(&record).map(|asked| profile.choose(&asked)) {
        None => alert(50),
        Some(Ok(choice)) => profile.flight(choice, chain),
        Some(Err(description)) => match profile.refusal {
            Refusal::Alert => alert(description),
            Refusal::Always(description) => alert(description),
            Refusal::Close => Vec::new(),
            Refusal::Reset => return tcp.set_zero_linger(),
            Refusal::Stall => {
                tls::drain(tcp).await;
                return Ok(());
            }
            Refusal::Junk => b"\x00\xff\x00\xff".to_vec(),
        },
    };
    tcp.write_all(&bytes).await?;
    tls::finish(tcp).await;
    Ok(())
}

/// What a hello offers.
#[derive(Debug, Default, Eq, PartialEq)]
struct Asked {
    versions: Vec<u16>,
    suites: Vec<u16>,
    groups: Vec<u16>,
    shares: Vec<u16>,
}

impl Asked {
    /// Reads a `ClientHello` message.
    fn read(message: &[u8]) -> Option<Self> {
        let mut rest = message.get(4..)?;
        let newest = u16s(take(&mut rest, 2)?)[0];
        take(&mut rest, 32)?;
        list(&mut rest, 1)?;
        let suites = u16s(list(&mut rest, 2)?);
        list(&mut rest, 1)?;
        let mut asked = Self { versions: (0x0300..=newest.min(0x0303)).collect(), suites, ..Self::default() };
        let mut extensions = if rest.is_empty() { rest } else { list(&mut rest, 2)? };
        while !extensions.is_empty() {
            let kind = u16s(take(&mut extensions, 2)?)[0];
            let mut content = list(&mut extensions, 2)?;
            match kind {
                10 => asked.groups = u16s(list(&mut content, 2)?),
                43 => asked.versions = u16s(list(&mut content, 1)?),
                51 => {
                    let mut shares = list(&mut content, 2)?;
                    while !shares.is_empty() {
                        asked.shares.push(u16s(take(&mut shares, 2)?)[0]);
                        list(&mut shares, 2)?;
                    }
                }
                _ => {}
            }
        }
        Some(asked)
    }
}

/// What a server answers with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Choice {
    version: u16,
    suite: u16,
    group: Option<u16>,
    /// Whether a key share is missing.
    retry: bool,
}

const TLS13: u16 = 0x0304;

impl Profile {
    /// The best of what both sides have, or the alert that says what is missing.
    fn choose(&self, asked: &Asked) -> Result<Choice, u8> {
        const HANDSHAKE_FAILURE: u8 = 40;
        const PROTOCOL_VERSION: u8 = 70;
        let version = self.versions.iter().copied().filter(|version| asked.versions.contains(version)).max();
        let version = version.ok_or(PROTOCOL_VERSION)?;
        let with_share = self.groups.iter().find(|group| version == TLS13 && asked.shares.contains(group));
        let group = with_share.or_else(|| self.groups.iter().find(|group| asked.groups.contains(group))).copied();
        if version == TLS13 && group.is_none() {
            return Err(HANDSHAKE_FAILURE);
        }
        let fits = |suite: u16| {
            (suite >> 8 == 0x13) == (version == TLS13)
                && (version >= 0x0303 || !needs_tls12(suite))
                && (group.is_some() || !is_ecdhe(suite))
        };
        let common = self.suites.iter().copied().filter(|suite| asked.suites.contains(suite));
        let suite = common.into_iter().find(|suite| fits(*suite)).ok_or(HANDSHAKE_FAILURE)?;
        let group = group.filter(|_| version == TLS13 || is_ecdhe(suite));
        Ok(Choice { version, suite, group, retry: version == TLS13 && with_share.is_none() })
    }

    /// The `ServerHello`, and up to TLS 1.2 what follows it in the clear.
    fn flight(&self, choice: Choice, chain: &[Vec<u8>]) -> Vec<u8> {
        let mut messages = message(2, &self.hello(choice));
        if choice.version < TLS13 {
            let certificates: Vec<u8> = chain.iter().flat_map(|der| counted(3, der)).collect();
            messages.extend(message(11, &counted(3, &certificates)));
            if let Some(group) = choice.group {
                // A point and a signature in outline: nobody looks at them.
                let [a, b] = group.to_be_bytes();
                messages.extend(message(12, &[3, a, b, 1, 4, 4, 1, 0, 0]));
            }
            if self.client_cert {
                messages.extend(message(13, &[1, 1, 0, 2, 4, 1, 0, 0]));
            }
            messages.extend(message(14, &[]));
        }
        let [major, minor] = choice.version.min(0x0303).to_be_bytes();
        messages.chunks(1 << 14).flat_map(|part| [vec![22, major, minor], counted(2, part)].concat()).collect()
    }

    fn hello(&self, choice: Choice) -> Vec<u8> {
        let newest = self.versions.iter().copied().max().unwrap_or_default();
        let mut random = [0x5a; 32];
        if choice.retry {
            random = RETRY;
        } else if self.warns && choice.version < newest && newest >= 0x0303 {
            random[24..].copy_from_slice(if choice.version == 0x0303 { b"DOWNGRD\x01" } else { b"DOWNGRD\x00" });
        }
        let mut hello = choice.version.min(0x0303).to_be_bytes().to_vec();
        hello.extend(random);
        hello.push(0);
        hello.extend(choice.suite.to_be_bytes());
        hello.push(0);
        if choice.version == TLS13 {
            let group = choice.group.unwrap_or_default();
            let share = if choice.retry { Vec::new() } else { counted(2, &vec![4; server_share(group)]) };
            let key_share = [&[0, 51][..], &counted(2, &[&group.to_be_bytes()[..], &share].concat())].concat();
            hello.extend(counted(2, &[&[0, 43, 0, 2, 3, 4][..], &key_share].concat()));
        }
        hello
    }
}

/// The random number of a `HelloRetryRequest`: SHA-256 of the message's name.
const RETRY: [u8; 32] = *b"\xcf\x21\xad\x74\xe5\x9a\x61\x11\xbe\x1d\x8c\x02\x1e\x65\xb8\x91\
    \xc2\xa2\x11\x16\x7a\xbb\x8c\x5e\x07\x9e\x09\xe2\xc8\xa8\x33\x9c";

/// Bytes of a server's key share.
fn server_share(group: u16) -> usize {
    match group {
        0x0017 => 65,
        0x0018 => 97,
        0x0019 => 133,
        0x001e => 56,
        0x11eb => 1153,
        0x11ec => 1120,
        0x11ed => 1665,
        _ => 32,
    }
}

fn is_ecdhe(suite: u16) -> bool {
    matches!(suite, 0xc006..=0xc00a | 0xc010..=0xc014 | 0xc023 | 0xc024 | 0xc027 | 0xc028 | 0xc02b | 0xc02c | 0xc02f)
        || matches!(suite, 0xc030 | 0xcca8 | 0xcca9)
}

fn needs_tls12(suite: u16) -> bool {
    matches!(suite, 0x003b..=0x0040 | 0x0067..=0x006d | 0x009c..=0x00a7 | 0xc023..=0xc032 | 0xcca8..=0xccaa)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [vec![kind], counted(3, body)].concat()
}

/// `content` behind its length in `width` bytes.
fn counted(width: usize, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    [&length[length.len() - width..], content].concat()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

fn list<'a>(rest: &mut &'a [u8], width: usize) -> Option<&'a [u8]> {
    let length = take(rest, width)?.iter().fold(0, |all, byte| all << 8 | usize::from(*byte));
    take(rest, length)
}

fn u16s(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: Profile = Profile {
        versions: &[0x0301, 0x0303, TLS13],
        suites: &[0x1301, 0xc02f, 0xc013, 0x002f],
        groups: &[0x11ec, 0x0017],
        ..Profile::EMPTY
    };

    fn asked(versions: &[u16], suites: &[u16], groups: &[u16]) -> Asked {
        Asked { versions: versions.into(), suites: suites.into(), groups: groups.into(), shares: Vec::new() }
    }

    fn chosen(asked: &Asked) -> Result<(u16, u16, Option<u16>, bool), u8> {
        SERVER.choose(asked).map(|choice| (choice.version, choice.suite, choice.group, choice.retry))
    }

    #[test]
    fn the_best_that_both_have_is_chosen() {
        let old: &[u16] = &[0x0300, 0x0301, 0x0302];
        assert_eq!(chosen(&asked(old, &[0xc02f, 0xc013], &[0x0017])), Ok((0x0301, 0xc013, Some(0x0017), false)));
        assert_eq!(chosen(&asked(old, &[0xc013, 0x002f], &[])), Ok((0x0301, 0x002f, None, false)));
        assert_eq!(chosen(&asked(&[0x0300], &[0x002f], &[])), Err(70));
        assert_eq!(chosen(&asked(old, &[0x000a], &[])), Err(40));
        assert_eq!(chosen(&asked(&[TLS13], &[0x1301], &[0x001d])), Err(40));
        let mut modern = asked(&[TLS13], &[0x1301], &[0x0017, 0x11ec]);
        assert_eq!(chosen(&modern), Ok((TLS13, 0x1301, Some(0x11ec), true)));
        modern.shares = vec![0x0017];
        assert_eq!(chosen(&modern), Ok((TLS13, 0x1301, Some(0x0017), false)));
    }

    #[test]
    fn a_hello_of_another_client_is_read() {
        use rustls::{ClientConfig, ClientConnection, RootCertStore, crypto::aws_lc_rs};
        let config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut client = ClientConnection::new(config.into(), "a.localhost".try_into().unwrap()).unwrap();
        let mut record = Vec::new();
        client.write_tls(&mut record).unwrap();
        let asked = Asked::read(&record[5..]).unwrap();
        assert_eq!(asked.versions, [0x0304, 0x0303]);
        assert!(asked.suites.contains(&0xc02f) && asked.groups.contains(&0x11ec) && asked.shares.contains(&0x001d));
    }
}
