//! A tunnel through a SOCKS 5 proxy (RFC 1928), with user name and password where it wants them (RFC 1929).
//!
//! Every read is for a known number of bytes, at most 257, so what follows the last reply is the target's.

use super::{Errand, ProxyError};
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

/// Asks for a tunnel.
pub(super) async fn tunnel(mut wire: Wire, errand: &Errand, facts: &mut ProxyFacts) -> Result<Wire, ProxyError> {
    let request = request(&errand.host, errand.port)?;
    introduce(&mut wire, errand.proxy.url.credentials.as_ref()).await?;
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
