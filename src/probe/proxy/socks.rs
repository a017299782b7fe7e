//! A tunnel through a SOCKS 5 proxy (RFC 1928), with user name and password where it wants them (RFC 1929).
//!
//! Every read is for a known number of bytes, at most 257, so what follows the last reply is the target's.

use super::ProxyError;
use crate::model::{Host, ProxyFacts, Secret};
use crate::probe::wire::Wire;
use std::{io, net::IpAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const USERNAME_PASSWORD: u8 = 2;
const NO_ACCEPTABLE_METHODS: u8 = 0xff;
/// The version of the sub-negotiation of RFC 1929.
const PASSWORD_VERSION: u8 = 1;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const DOMAIN_NAME: u8 = 3;
const IPV6: u8 = 4;

/// Asks for a tunnel to a host and its port.
pub(super) async fn tunnel(
    mut wire: Wire,
    (host, port): (&Host, u16),
    credentials: Option<&(String, Secret)>,
    facts: &mut ProxyFacts,
) -> Result<Wire, ProxyError> {
    let request = request(host, port)?;
    introduce(&mut wire, credentials).await?;
    send(&mut wire, &request).await?;
    let [version, reply, _, kind] = read(&mut wire).await?;
    check_version(version, VERSION)?;
    facts.status = Some(reply.into());
    if reply != 0 {
        return Err(ProxyError::Refused(refusal(reply)));
    }
    // The address that the proxy dials from, which is of no use.
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        DOMAIN_NAME => read::<1>(&mut wire).await?[0].into(),
        other => return Err(not_socks(other)),
    };
    wire.read_exact(&mut vec![0; length + 2]).await?;
    Ok(wire)
}

/// Agrees on how to show who asks, and shows it.
async fn introduce(wire: &mut Wire, credentials: Option<&(String, Secret)>) -> Result<(), ProxyError> {
    let methods: &[u8] =
        if credentials.is_some() { &[NO_AUTHENTICATION, USERNAME_PASSWORD] } else { &[NO_AUTHENTICATION] };
    let count = if credentials.is_some() { 2 } else { 1 };
    send(wire, &[&[VERSION, count], methods].concat()).await?;
    let [version, method] = read(wire).await?;
    check_version(version, VERSION)?;
    match (method, credentials) {
        (NO_AUTHENTICATION, _) => Ok(()),
        (USERNAME_PASSWORD, Some((user, password))) => authenticate(wire, user, password).await,
        (NO_ACCEPTABLE_METHODS, None) => {
            Err(ProxyError::AuthRequired("the proxy does not let anybody in without credentials".into()))
        }
        (NO_ACCEPTABLE_METHODS, Some(_)) => {
            Err(ProxyError::AuthRequired("the proxy takes neither a user name with a password nor nothing".into()))
        }
        (other, _) => Err(not_socks(other)),
    }
}

async fn authenticate(wire: &mut Wire, user: &str, password: &Secret) -> Result<(), ProxyError> {
    let mut message = Zeroizing::new(vec![PASSWORD_VERSION]);
    for text in [user, password.expose()] {
        message.push(u8::try_from(text.len()).map_err(|_| ProxyError::LongName)?);
        message.extend(text.as_bytes());
    }
    send(wire, &message).await?;
    let [version, status] = read(wire).await?;
    check_version(version, PASSWORD_VERSION)?;
    if status == 0 {
        return Ok(());
    }
    Err(ProxyError::AuthRequired("the proxy did not accept user name and password".into()))
}

fn request(host: &Host, port: u16) -> Result<Vec<u8>, ProxyError> {
    let mut request = vec![VERSION, CONNECT, 0];
    match host {
        Host::Ip(IpAddr::V4(ip)) => {
            request.push(IPV4);
            request.extend(ip.octets());
        }
        Host::Ip(IpAddr::V6(ip)) | Host::Zoned(ip, _) => {
            request.push(IPV6);
            request.extend(ip.octets());
        }
        Host::Name(name) => {
            request.extend([DOMAIN_NAME, u8::try_from(name.len()).map_err(|_| ProxyError::LongName)?]);
            request.extend(name.as_bytes());
        }
    }
    request.extend(port.to_be_bytes());
    Ok(request)
}

/// The reply codes of RFC 1928 section 6.
fn refusal(reply: u8) -> String {
    let words = match reply {
        1 => "general failure",
        2 => "its rules do not allow it",
        3 => "the target's network is unreachable",
        4 => "the target's host is unreachable, or its name unknown",
        5 => "the target refused the connection",
        6 => "the way to the target took too many hops",
        7 => "it does not make connections",
        8 => "it does not know this type of address",
        _ => "for a reason that the standard does not have",
    };
    format!("{words} (reply {reply})")
}

fn check_version(found: u8, expected: u8) -> Result<(), ProxyError> {
    if found == expected { Ok(()) } else { Err(not_socks(found)) }
}

fn not_socks(byte: u8) -> ProxyError {
    ProxyError::NotProxy(format!("the proxy does not speak SOCKS 5: it answered with the byte {byte:#04x}"))
}

async fn send(wire: &mut Wire, bytes: &[u8]) -> io::Result<()> {
    wire.write_all(bytes).await?;
    wire.flush().await
}

async fn read<const N: usize>(wire: &mut Wire) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    wire.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Reason, probe::run::StageError};

    /// A tunnel through a proxy that first says all of `says`: what it was told, the code of its reply, and either the
    /// first bytes of the tunnel or why there is none.
    async fn through(
        host: Host,
        credentials: Option<(&str, &str)>,
        says: &[u8],
    ) -> (Vec<u8>, Option<u16>, Result<Vec<u8>, Reason>) {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        theirs.write_all(says).await.unwrap();
        theirs.shutdown().await.unwrap();
        let credentials = credentials.map(|(user, password)| (user.to_owned(), Secret::new(password)));
        let mut facts = ProxyFacts::default();
        let outcome = match tunnel(Box::new(ours), (&host, 443), credentials.as_ref(), &mut facts).await {
            Ok(mut wire) => {
                let mut rest = Vec::new();
                wire.read_to_end(&mut rest).await.unwrap();
                Ok(rest)
            }
            Err(error) => Err(error.reason()),
        };
        let mut told = Vec::new();
        theirs.read_to_end(&mut told).await.unwrap();
        (told, facts.status, outcome)
    }

    #[tokio::test]
    async fn every_kind_of_destination_is_asked_for_as_the_standard_writes_it() {
        let ip = |text: &str| Host::Ip(text.parse().unwrap());
        let zoned = Host::Zoned("fe80::1".parse().unwrap(), "eth0".into());
        let mut link_local = vec![4, 0xfe, 0x80];
        link_local.extend([0; 13]);
        link_local.push(1);
        for (host, written) in [
            (ip("192.0.2.7"), vec![1, 192, 0, 2, 7]),
            (ip("::1"), [&[4][..], &[0; 15], &[1]].concat()),
            (zoned, link_local),
            (Host::Name("a.example".into()), b"\x03\x09a.example".to_vec()),
        ] {
            let (told, status, outcome) = through(host, None, b"\x05\x00\x05\x00\x00\x01\0\0\0\0\0\0hello").await;
            assert_eq!(told, [&[5, 1, 0, 5, 1, 0], &written[..], &[1, 187]].concat());
            assert_eq!((status, outcome), (Some(0), Ok(b"hello".to_vec())));
        }
    }

    #[tokio::test]
    async fn what_follows_the_reply_is_the_targets_whatever_address_the_reply_has() {
        let name = || Host::Name("a.example".into());
        for bound in [&b"\x01abcdef"[..], b"\x04abcdefghijklmnopqr", b"\x03\x02abcd", b"\x03\x00ab"] {
            let says = [b"\x05\x00\x05\x00\x00", bound, b"hello"].concat();
            assert_eq!(through(name(), None, &says).await.2, Ok(b"hello".to_vec()), "{bound:?}");
        }
    }

    #[tokio::test]
    async fn user_name_and_password_go_only_where_they_are_asked_for() {
        const GRANTED: &[u8] = b"\x05\x00\x00\x01\0\0\0\0\0\0";
        let name = || Host::Name("a".into());
        let user = Some(("lab", "hunter2"));
        let (told, _, outcome) = through(name(), user, &[b"\x05\x02\x01\x00", GRANTED].concat()).await;
        assert!(told.starts_with(b"\x05\x02\x00\x02\x01\x03lab\x07hunter2\x05\x01"), "{told:?}");
        assert_eq!(outcome, Ok(Vec::new()));
        let (told, _, outcome) = through(name(), user, &[b"\x05\x00", GRANTED].concat()).await;
        assert!(!told.windows(3).any(|bytes| bytes == b"lab"), "{told:?}");
        assert_eq!(outcome, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn every_wrong_answer_has_its_reason() {
        let user = Some(("lab", "hunter2"));
        for (credentials, says, reason) in [
            (None, &b"\x05\xff"[..], Reason::ProxyAuthRequired),
            (user, b"\x05\xff", Reason::ProxyAuthRequired),
            (user, b"\x05\x02\x01\x01", Reason::ProxyAuthRequired),
            (user, b"\x05\x02\x05\x00", Reason::ProxyUnreachable),
            (None, b"\x05\x02", Reason::ProxyUnreachable),
            (None, b"\x05\x01", Reason::ProxyUnreachable),
            (None, b"\x04\x5a", Reason::ProxyUnreachable),
            (None, b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason::ProxyUnreachable),
            (None, b"\x05\x00\x05\x00\x00\x09", Reason::ProxyUnreachable),
            (None, b"\x05\x00\x05\x04\x00\x01\0\0\0\0\0\0", Reason::ProxyRefused),
            (None, b"\x05\x00\x05\x05", Reason::Broken),
            (None, b"\x05", Reason::Broken),
            (None, b"", Reason::Broken),
        ] {
            let (_, _, outcome) = through(Host::Name("a".into()), credentials, says).await;
            assert_eq!(outcome, Err(reason), "{says:?}");
        }
        let long = Host::Name("a".repeat(256));
        assert_eq!(through(long, None, b"").await, (Vec::new(), None, Err(Reason::InvalidTarget)));
    }
}
