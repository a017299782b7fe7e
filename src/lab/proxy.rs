//! The lab's proxies: HTTP (CONNECT and forwarded requests) and SOCKS 5, which make tunnels on this machine or misbehave
//! on cue. Each request is logged before it is answered. Every name is this machine, so that a target may have a name that
//! nobody else knows.

use super::{
    Seen,
    listener::{Listener, Log},
    tls::{self, ServerTls, Stream},
};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpSocket, TcpStream},
};

/// User name and password of the proxies that want them.
pub const CREDENTIALS: (&str, &str) = ("lab", "open sesame");
/// What a client of a strict proxy may send in CONNECT.
const EXPECTED_HEADERS: [HeaderName; 3] = [header::HOST, header::USER_AGENT, header::PROXY_AUTHORIZATION];

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Speaks {
    /// HTTP/1.1.
    Http,
    /// SOCKS 5.
    Socks,
}

/// What a proxy does with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Manner {
    /// Makes the tunnel.
    Good,
    /// Makes it, and sends the target's first bytes in one piece with its answer.
    Eager,
    /// Makes it for [`CREDENTIALS`].
    Auth,
    /// As [`Manner::Good`], unless CONNECT names another Host than it asks for, or carries a header that is not for it.
    Strict,
    /// Refuses, with this status or reply code.
    Refuses(u16),
    /// Says nothing.
    Silent,
    /// Says the first half of a good answer.
    Half,
    /// Answers in no protocol.
    Garbage,
    /// Answers with a head that does not end.
    Endless,
    /// Closes the connection in place of an answer.
    Closes,
}

/// Starts a proxy, inside of TLS when there are settings for it.
pub async fn serve(speaks: Speaks, tls: Option<ServerTls>, manner: Manner) -> io::Result<Listener> {
    Listener::start(move |tcp, log| {
        let tls = tls.clone();
        async move {
            let Some(mut stream) = tls::open(tls.as_ref(), tcp).await else { return };
            // A client that goes away in the middle is no news.
            let _ = match speaks {
                Speaks::Http => http(&mut stream, &log, manner).await,
                Speaks::Socks => socks(&mut stream, &log, manner).await,
            };
            tls::finish(stream).await;
        }
    })
    .await
}

/// What every manner but the good ones does. Whether there is nothing more to do.
async fn misbehave(stream: &mut Stream, manner: Manner, good: &[u8]) -> io::Result<bool> {
    match manner {
        Manner::Silent => {}
        Manner::Half => stream.write_all(&good[..good.len() / 2]).await?,
        Manner::Garbage => stream.write_all(b"\x00\xff\x00\xff nonsense\r\n\r\n").await?,
        Manner::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
            loop {
                stream.write_all(b"x-more: of the same, again and again and again\r\n").await?;
            }
        }
        Manner::Closes => return Ok(true),
        Manner::Good | Manner::Eager | Manner::Auth | Manner::Strict | Manner::Refuses(_) => return Ok(false),
    }
    stream.flush().await?;
    if manner != Manner::Garbage {
        tokio::io::copy(stream, &mut tokio::io::sink()).await?;
    }
    Ok(true)
}

async fn join(stream: &mut Stream, mut target: TcpStream, manner: Manner, answer: &[u8]) -> io::Result<()> {
    let mut answer = answer.to_vec();
    if manner == Manner::Eager {
        target.read_buf(&mut answer).await?;
    }
    stream.write_all(&answer).await?;
    stream.flush().await?;
    copy_bidirectional(stream, &mut target).await.map(drop)
}

async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let ip = host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let socket = if ip.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.connect((ip, port).into()).await
}

// === HTTP ===

const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

async fn http(stream: &mut Stream, log: &Log, manner: Manner) -> io::Result<()> {
    let seen = read_request(stream).await?;
    log.add(seen.clone());
    if misbehave(stream, manner, ESTABLISHED).await? {
        return Ok(());
    }
    match manner {
        Manner::Refuses(status) => {
            return answer(stream, &format!("{status} No"), "x-squid-error: ERR_LAB 0\r\n").await;
        }
        Manner::Auth if !knows_us(&seen) => {
            let challenge = "proxy-authenticate: Basic realm=\"the lab\"\r\n";
            return answer(stream, "407 Proxy Authentication Required", challenge).await;
        }
        Manner::Strict if seen.method == "CONNECT" && !is_strict(&seen) => {
            return answer(stream, "400 Bad Request", "").await;
        }
        _ => {}
    }
    let url = if seen.method == "CONNECT" { format!("http://{}/", seen.path) } else { seen.path.clone() };
    let Ok(url) = url.parse::<url::Url>() else { return answer(stream, "400 Bad Request", "").await };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let Ok(mut target) = dial(host, url.port_or_known_default().unwrap_or(80)).await else {
        return answer(stream, "502 Bad Gateway", "").await;
    };
    if seen.method == "CONNECT" {
        return join(stream, target, manner, ESTABLISHED).await;
    }
    target.write_all(&forwarded(&seen, &url[url::Position::BeforePath..])).await?;
    copy_bidirectional(stream, &mut target).await.map(drop)
}

/// The request as the target is to see it.
fn forwarded(seen: &Seen, path: &str) -> Vec<u8> {
    let mut request = format!("{} {path} HTTP/1.1\r\n", seen.method).into_bytes();
    for (name, value) in seen.headers.iter().filter(|(name, _)| *name != header::PROXY_AUTHORIZATION) {
        request.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    request
}

async fn answer(stream: &mut Stream, status: &str, headers: &str) -> io::Result<()> {
    let text = format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await
}

fn knows_us(seen: &Seen) -> bool {
    let (user, password) = CREDENTIALS;
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    seen.headers.get(header::PROXY_AUTHORIZATION).is_some_and(|value| value.as_bytes() == expected.as_bytes())
}

fn is_strict(seen: &Seen) -> bool {
    seen.host == seen.path && seen.headers.keys().all(|name| EXPECTED_HEADERS.contains(name))
}

/// Reads a request's head. Path is the request target as it stands there.
async fn read_request(stream: &mut Stream) -> io::Result<Seen> {
    const MAX_HEAD: usize = 64 * 1024;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    Ok(Seen { sni: tls::sni(stream), host, method, path, headers })
}

// === SOCKS 5 ===

const GRANTED: &[u8] = &[5, 0, 0, 1, 127, 0, 0, 1, 0, 0];

async fn socks(stream: &mut Stream, log: &Log, manner: Manner) -> io::Result<()> {
    let methods = read_list(stream).await?;
    if misbehave(stream, manner, &[5, 0]).await? {
        return Ok(());
    }
    match manner {
        Manner::Auth if !methods.contains(&2) => return stream.write_all(&[5, 0xff]).await,
        Manner::Auth => {
            stream.write_all(&[5, 2]).await?;
            stream.read_u8().await?;
            let user = read_text(stream).await?;
            let password = read_text(stream).await?;
            let known = (user.as_str(), password.as_str()) == CREDENTIALS;
            stream.write_all(&[1, u8::from(!known)]).await?;
            if !known {
                return Ok(());
            }
        }
        _ => stream.write_all(&[5, 0]).await?,
    }
    let (host, port) = read_destination(stream).await?;
    log.add(Seen { method: "SOCKS".into(), path: format!("{host}:{port}"), host: host.clone(), ..Seen::default() });
    if let Manner::Refuses(reply) = manner {
        let reply = u8::try_from(reply).unwrap_or(1);
        return stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    }
    match dial(&host, port).await {
        Ok(target) => join(stream, target, manner, GRANTED).await,
        Err(_) => stream.write_all(&[5, 5, 0, 1, 0, 0, 0, 0, 0, 0]).await,
    }
}

/// The methods of a greeting.
async fn read_list(stream: &mut Stream) -> io::Result<Vec<u8>> {
    stream.read_u8().await?;
    read_text(stream).await.map(String::into_bytes)
}

/// A text after its length.
async fn read_text(stream: &mut Stream) -> io::Result<String> {
    let mut bytes = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut bytes).await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn read_destination(stream: &mut Stream) -> io::Result<(String, u16)> {
    let mut start = [0; 4];
    stream.read_exact(&mut start).await?;
    let host = match start[3] {
        1 => {
            let mut octets = [0; 4];
            stream.read_exact(&mut octets).await?;
            Ipv4Addr::from(octets).to_string()
        }
        4 => {
            let mut octets = [0; 16];
            stream.read_exact(&mut octets).await?;
            Ipv6Addr::from(octets).to_string()
        }
        _ => read_text(stream).await?,
    };
    Ok((host, stream.read_u16().await?))
}
