//! The catalogue of endpoints: one table of what each is called, does and should be found to be, and the start of all of
//! them. A new endpoint is a new row.

mod odd;
mod protected;
mod proxied;
mod revocation;
mod scan;
mod switching;

pub(super) use proxied::Proxies;

use super::{
    Endpoint, Expected, Listener, Log, Seen,
    ca::{Authority, Cert},
    http::{self, Reply},
    old::{self, Profile},
    raw::{self, Step, alert},
    starttls::{self, Manner, Protocol},
    tls::{ClientCert, ServerTls, Tls, Versions},
    ws::{self, Behaviour},
};
use ::http::{StatusCode, header};
use bytes::Bytes;
use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::net::TcpSocket;
#[cfg(target_os = "linux")]
use tokio::net::{TcpListener, TcpStream};

/// One row: an endpoint before it has a port.
struct Entry {
    name: &'static str,
    module: &'static str,
    expected: Expected,
    serves: Serves,
    about: &'static str,
}

/// What is behind an endpoint.
#[derive(Clone, Copy)]
enum Serves {
    /// A site without TLS.
    Http(fn(&Seen) -> Reply),
    /// A site with TLS.
    Https(Tls, fn(&Seen) -> Reply),
    /// A WebSocket peer with TLS.
    Wss(Tls, Behaviour),
    /// A server that switches to TLS on request.
    StartTls(Tls, Protocol, Manner),
    /// A script, played on the bare connection.
    Script(&'static [Step]),
    /// A script, played inside of TLS.
    TlsScript(&'static [Step]),
    /// A scripted TLS server that accepts this.
    Old(Profile),
    /// The server of an earlier row, its URL with the address in place of the name.
    AddressOf(&'static str),
    /// A port that nobody listens on, and nobody else can take.
    Refused,
    /// A port whose queue of connections is full. Only Linux then drops further ones.
    #[cfg(target_os = "linux")]
    FullQueue,
    /// A name that cannot exist (RFC 6761 section 6.4).
    Nowhere,
}

/// What keeps an endpoint as it is. Dropping it stops the endpoint.
#[derive(Debug)]
#[expect(dead_code, reason = "held, not read")]
pub(super) enum Running {
    /// A server.
    Listener(Listener),
    /// A port, bound and no more.
    Port(TcpSocket),
    /// A listener that never accepts, and the connections that fill its queue.
    #[cfg(target_os = "linux")]
    Queue(TcpListener, [TcpStream; 2]),
}

/// The endpoints with their ports, and what was received there.
#[derive(Default)]
pub(super) struct Started {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) logs: BTreeMap<&'static str, Log>,
    pub(super) running: Vec<Running>,
    addresses: BTreeMap<&'static str, SocketAddr>,
}

/// Starts every endpoint of the table.
pub(super) async fn start(ca: &Authority) -> io::Result<Started> {
    let mut started = Started::default();
    for entry in TABLES.iter().copied().flatten() {
        let url = started.run(entry, ca).await?;
        started.endpoints.push(Endpoint {
            name: entry.name,
            url,
            module: entry.module,
            about: entry.about,
            expected: entry.expected,
        });
    }
    Ok(started)
}

impl Started {
    /// Starts one endpoint and gives its URL.
    async fn run(&mut self, entry: &Entry, ca: &Authority) -> io::Result<String> {
        let tls = |tls| Some(ServerTls::new(ca, tls, &names(entry.name)));
        let listener = match entry.serves {
            Serves::Http(handler) => http::serve(None, handler).await?,
            Serves::Https(with, handler) => http::serve(tls(with), handler).await?,
            Serves::Wss(with, behaviour) => ws::serve(tls(with), behaviour).await?,
            Serves::StartTls(with, protocol, manner) => {
                starttls::serve(ServerTls::new(ca, with, &names(entry.name)), protocol, manner).await?
            }
            Serves::Script(steps) => raw::serve(None, steps).await?,
            Serves::TlsScript(steps) => raw::serve(tls(GOOD), steps).await?,
            Serves::Old(profile) => {
                let chain = ca.identity(Cert::Good, &names(entry.name)[0]).chain;
                old::serve(profile, chain.iter().map(|der| der.to_vec()).collect()).await?
            }
            Serves::AddressOf(name) => {
                self.logs.insert(entry.name, self.logs[name].clone());
                return Ok(format!("https://{}/", self.addresses[name]));
            }
            Serves::Refused => {
                let (socket, address) = bound_port()?;
                self.running.push(Running::Port(socket));
                return Ok(url(entry, address));
            }
            #[cfg(target_os = "linux")]
            Serves::FullQueue => {
                let (queue, address) = full_queue().await?;
                self.running.push(queue);
                return Ok(url(entry, address));
            }
            Serves::Nowhere => return Ok("https://nothing.invalid/".into()),
        };
        let address = listener.address();
        self.logs.insert(entry.name, listener.log().clone());
        self.addresses.insert(entry.name, address);
        self.running.push(Running::Listener(listener));
        Ok(url(entry, address))
    }
}

fn url(entry: &Entry, address: SocketAddr) -> String {
    let scheme = match entry.module {
        module if module == "http" || module.starts_with("http_") => "http",
        module if module.starts_with("wss") => "wss",
        module if module.starts_with("starttls_") => "tls",
        _ => "https",
    };
    format!("{scheme}://{}.localhost:{}/", entry.name, address.port())
}

/// The names a server has certificates for, its own first.
fn names(name: &'static str) -> Vec<String> {
    let labels = if name == CHAIN[0] { &CHAIN[..] } else { &[name] };
    labels.iter().map(|label| format!("{label}.localhost")).collect()
}

fn bound_port() -> io::Result<(TcpSocket, SocketAddr)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Linux queues one connection more than the backlog, then drops every SYN.
#[cfg(target_os = "linux")]
async fn full_queue() -> io::Result<(Running, SocketAddr)> {
    let (socket, address) = bound_port()?;
    let listener = socket.listen(1)?;
    let queued = [TcpSocket::new_v4()?.connect(address).await?, TcpSocket::new_v4()?.connect(address).await?];
    Ok((Running::Queue(listener, queued), address))
}

const fn fails(phase: &'static str, reason: &'static str) -> Expected {
    Expected::Failure { phase, reason }
}

/// Every endpoint.
const TABLES: &[&[Entry]] =
    &[TABLE, switching::TABLE, revocation::TABLE, odd::TABLE, proxied::TABLE, scan::TABLE, protected::TABLE];

/// The host labels that the redirect chain leads over.
const CHAIN: [&str; 3] = ["redirect-chain", "redirect-chain-2", "redirect-chain-3"];

const GOOD: Tls = Tls::new(Cert::Good);
const CLIENT_CERT_13: Tls = Tls { versions: Versions::Only13, client_cert: ClientCert::Required, ..GOOD };
const CLIENT_CERT_12: Tls = Tls { versions: Versions::Only12, ..CLIENT_CERT_13 };
const HALF_A_RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it";

/// The plain endpoints.
const TABLE: &[Entry] = &[
    Entry {
        name: "good",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(GOOD, hello),
        about: "a healthy site",
    },
    Entry {
        name: "good-h2",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls { h2: true, ..GOOD }, hello),
        about: "a healthy site that prefers HTTP/2",
    },
    Entry {
        name: "plain-http",
        module: "http",
        expected: Expected::Success,
        serves: Serves::Http(hello),
        about: "a healthy site without TLS",
    },
    Entry {
        name: "slow",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(GOOD, slow),
        about: "answers after 300 ms",
    },
    Entry {
        name: "tls12-only",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls { versions: Versions::Only12, ..GOOD }, hello),
        about: "speaks TLS 1.2 and nothing newer",
    },
    Entry {
        name: "expires-soon",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls::new(Cert::ExpiresSoon), hello),
        about: "its certificate has three days left",
    },
    Entry {
        name: "expired",
        module: "https",
        expected: fails("tls", "cert_expired"),
        serves: Serves::Https(Tls::new(Cert::Expired), hello),
        about: "its certificate ended yesterday",
    },
    Entry {
        name: "not-yet-valid",
        module: "https",
        expected: fails("tls", "cert_not_yet_valid"),
        serves: Serves::Https(Tls::new(Cert::NotYetValid), hello),
        about: "its certificate starts tomorrow",
    },
    Entry {
        name: "wrong-name",
        module: "https",
        expected: fails("tls", "cert_wrong_name"),
        serves: Serves::Https(Tls::new(Cert::WrongName), hello),
        about: "its certificate is for other.example",
    },
    Entry {
        name: "expired-wrong-name",
        module: "https",
        expected: fails("tls", "cert_expired"),
        serves: Serves::Https(Tls::new(Cert::ExpiredWrongName), hello),
        about: "its certificate ended yesterday and is for other.example",
    },
    Entry {
        name: "self-signed",
        module: "https",
        expected: fails("tls", "cert_self_signed"),
        serves: Serves::Https(Tls::new(Cert::SelfSigned), hello),
        about: "its certificate is signed with its own key",
    },
    Entry {
        name: "unknown-ca",
        module: "https",
        expected: fails("tls", "cert_unknown_issuer"),
        serves: Serves::Https(Tls::new(Cert::UnknownCa), hello),
        about: "its chain ends at a root that nobody trusts",
    },
    Entry {
        name: "missing-intermediate",
        module: "https",
        expected: fails("tls", "cert_chain_incomplete"),
        serves: Serves::Https(Tls::new(Cert::MissingIntermediate), hello),
        about: "sends its certificate without the intermediate",
    },
    Entry {
        name: "client-cert",
        module: "https",
        expected: fails("tls", "client_cert_required"),
        serves: Serves::Https(CLIENT_CERT_13, hello),
        about: "wants a client certificate, in TLS 1.3: says so only after the handshake",
    },
    Entry {
        name: "client-cert-tls12",
        module: "https",
        expected: fails("tls", "client_cert_required"),
        serves: Serves::Https(CLIENT_CERT_12, hello),
        about: "wants a client certificate, in TLS 1.2: says so during the handshake",
    },
    Entry {
        name: "client-cert-optional",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls { client_cert: ClientCert::Optional, ..GOOD }, hello),
        about: "asks for a client certificate, and is content without one",
    },
    Entry {
        name: "mtls-good",
        module: "mtls",
        expected: Expected::Success,
        serves: Serves::Https(CLIENT_CERT_13, hello),
        about: "wants a client certificate, and gets one that it trusts",
    },
    Entry {
        name: "mtls-wrong-identity",
        module: "mtls_stranger",
        expected: fails("tls", "client_cert_rejected"),
        serves: Serves::Https(CLIENT_CERT_13, hello),
        about: "wants a client certificate, in TLS 1.3, and gets one that it does not trust",
    },
    Entry {
        name: "mtls-wrong-identity-tls12",
        module: "mtls_stranger",
        expected: fails("tls", "client_cert_rejected"),
        serves: Serves::Https(CLIENT_CERT_12, hello),
        about: "wants a client certificate, in TLS 1.2, and gets one that it does not trust",
    },
    Entry {
        name: "pinned-key",
        module: "pinned",
        expected: Expected::Success,
        serves: Serves::Https(GOOD, hello),
        about: "a key of its chain is one that the module pins",
    },
    Entry {
        name: "changed-key",
        module: "pinned_other",
        expected: fails("tls", "cert_pin_mismatch"),
        serves: Serves::Https(GOOD, hello),
        about: "no key of its chain is the one that the module pins",
    },
    Entry {
        name: "tls12-refused",
        module: "tls13",
        expected: fails("tls", "version_unsupported"),
        serves: Serves::Https(Tls { versions: Versions::Only12, ..GOOD }, hello),
        about: "speaks TLS 1.2 where the module wants 1.3",
    },
    Entry {
        name: "unrecognized-name",
        module: "https",
        expected: fails("tls", "unrecognized_name"),
        serves: Serves::Script(&[Step::ReadHello, Step::Send(&alert(112))]),
        about: "serves other names only",
    },
    Entry {
        name: "version-too-old",
        module: "https",
        expected: fails("tls", "version_unsupported"),
        serves: Serves::Script(&[Step::ReadHello, Step::Send(&alert(70))]),
        about: "speaks no TLS version that is still in use",
    },
    Entry {
        name: "no-shared-cipher",
        module: "https",
        expected: fails("tls", "no_shared_parameters"),
        serves: Serves::Script(&[Step::ReadHello, Step::Send(&alert(40))]),
        about: "has no cipher suite in common with anybody",
    },
    Entry {
        name: "tls-alert",
        module: "https",
        expected: fails("tls", "tls_alert"),
        serves: Serves::Script(&[Step::ReadHello, Step::Send(&alert(80))]),
        about: "ends each handshake with an internal error",
    },
    Entry {
        name: "not-tls",
        module: "https",
        expected: fails("tls", "not_tls"),
        serves: Serves::Http(hello),
        about: "speaks HTTP without TLS on an https port",
    },
    Entry {
        name: "reset-in-handshake",
        module: "https",
        expected: fails("tls", "reset"),
        serves: Serves::Script(&[Step::ReadHello, Step::Reset]),
        about: "resets the connection after the client's hello",
    },
    Entry {
        name: "closed-in-handshake",
        module: "https",
        expected: fails("tls", "broken"),
        serves: Serves::Script(&[Step::ReadHello]),
        about: "closes the connection after the client's hello",
    },
    Entry {
        name: "refused",
        module: "https",
        expected: fails("connect", "refused"),
        serves: Serves::Refused,
        about: "nobody listens on its port",
    },
    #[cfg(target_os = "linux")]
    Entry {
        name: "stalled-connect",
        module: "https",
        expected: fails("connect", "timeout"),
        serves: Serves::FullQueue,
        about: "its network swallows every connection attempt",
    },
    Entry {
        name: "stalled-handshake",
        module: "https",
        expected: fails("tls", "timeout"),
        serves: Serves::Script(&[Step::Stall]),
        about: "accepts connections and never speaks",
    },
    Entry {
        name: "stalled-headers",
        module: "https",
        expected: fails("processing", "timeout"),
        serves: Serves::TlsScript(&[Step::ReadRequest, Step::Send(b"HTTP/1.1 200 OK\r\nContent-Ty"), Step::Stall]),
        about: "stops in the middle of the response's headers",
    },
    Entry {
        name: "stalled-body",
        module: "https",
        expected: fails("transfer", "timeout"),
        serves: Serves::TlsScript(&[Step::ReadRequest, Step::Send(HALF_A_RESPONSE), Step::Stall]),
        about: "stops in the middle of the response's body",
    },
    Entry {
        name: "truncated-body",
        module: "https",
        expected: fails("transfer", "broken"),
        serves: Serves::TlsScript(&[Step::ReadRequest, Step::Send(HALF_A_RESPONSE)]),
        about: "closes in the middle of the response's body",
    },
    Entry {
        name: "garbage",
        module: "https",
        expected: fails("processing", "protocol_error"),
        serves: Serves::TlsScript(&[Step::ReadRequest, Step::Send(b"\x00\xffthis is not HTTP\r\n\r\n")]),
        about: "answers with something that is not HTTP",
    },
    Entry {
        name: "bad-gzip",
        module: "https_gzip",
        expected: fails("transfer", "body_decode"),
        serves: Serves::Https(GOOD, not_gzip),
        about: "says its body is gzip, and it is not",
    },
    Entry {
        name: "big-body",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(GOOD, big),
        about: "answers with 8 MiB",
    },
    Entry {
        name: "wrong-status",
        module: "https",
        expected: fails("processing", "status"),
        serves: Serves::Https(GOOD, unavailable),
        about: "answers 503",
    },
    Entry {
        name: "redirect-chain",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(Tls { strict_sni: true, ..GOOD }, redirect_chain),
        about: "redirects twice, to other names of its port, which wants SNI and Host to agree",
    },
    Entry {
        name: "redirect-loop",
        module: "https",
        expected: fails("processing", "redirect_limit"),
        serves: Serves::Https(GOOD, redirect_to_itself),
        about: "redirects to itself",
    },
    Entry {
        name: "redirect-bad",
        module: "https",
        expected: fails("processing", "redirect_invalid"),
        serves: Serves::Https(GOOD, redirect_to_nothing),
        about: "redirects to what is no URL",
    },
    Entry {
        name: "cdn-edge",
        module: "https",
        expected: Expected::Success,
        serves: Serves::Https(GOOD, cdn_edge),
        about: "an edge that serves its site to those who send its name as SNI and Host",
    },
    Entry {
        name: "cdn-edge-by-address",
        module: "https",
        expected: fails("processing", "status"),
        serves: Serves::AddressOf("cdn-edge"),
        about: "the same edge, asked by address: it answers 403",
    },
    Entry {
        name: "wss-echo",
        module: "wss_chat",
        expected: Expected::Success,
        serves: Serves::Wss(GOOD, Behaviour::Echo),
        about: "takes the subprotocol chat and sends every message back",
    },
    Entry {
        name: "wss-ping",
        module: "wss",
        expected: Expected::Success,
        serves: Serves::Wss(GOOD, Behaviour::Echo),
        about: "a healthy WebSocket server that answers pings",
    },
    Entry {
        name: "wss-refused",
        module: "wss",
        expected: fails("processing", "upgrade_refused"),
        serves: Serves::Https(GOOD, forbidden),
        about: "answers the upgrade with 403",
    },
    Entry {
        name: "wss-bad-accept",
        module: "wss",
        expected: fails("processing", "accept_mismatch"),
        serves: Serves::Wss(GOOD, Behaviour::BadAccept),
        about: "upgrades with an accept key that does not fit",
    },
    Entry {
        name: "wss-wrong-subprotocol",
        module: "wss_chat",
        expected: fails("processing", "subprotocol_mismatch"),
        serves: Serves::Wss(GOOD, Behaviour::WrongSubprotocol),
        about: "chooses a subprotocol that was not offered",
    },
    Entry {
        name: "wss-silent",
        module: "wss",
        expected: fails("transfer", "ping_unanswered"),
        serves: Serves::Wss(GOOD, Behaviour::Silent),
        about: "upgrades, then never speaks",
    },
    Entry {
        name: "wss-closes",
        module: "wss",
        expected: fails("transfer", "closed"),
        serves: Serves::Wss(GOOD, Behaviour::Closes),
        about: "upgrades, then closes with code 1013",
    },
    Entry {
        name: "wss-expired",
        module: "wss",
        expected: fails("tls", "cert_expired"),
        serves: Serves::Wss(Tls::new(Cert::Expired), Behaviour::Echo),
        about: "a WebSocket server whose certificate ended yesterday",
    },
    Entry {
        name: "wss-client-cert",
        module: "wss",
        expected: fails("tls", "client_cert_required"),
        serves: Serves::Wss(CLIENT_CERT_13, Behaviour::Echo),
        about: "a WebSocket server that wants a client certificate",
    },
    Entry {
        name: "wss-mtls",
        module: "wss_mtls",
        expected: Expected::Success,
        serves: Serves::Wss(CLIENT_CERT_13, Behaviour::Echo),
        about: "a WebSocket server that wants a client certificate, and gets one that it trusts",
    },
    Entry {
        name: "cert-good",
        module: "cert",
        expected: Expected::Success,
        serves: Serves::Https(GOOD, hello),
        about: "a healthy TLS server",
    },
    Entry {
        name: "cert-expired",
        module: "cert",
        expected: fails("tls", "cert_expired"),
        serves: Serves::Https(Tls::new(Cert::Expired), hello),
        about: "a TLS server whose certificate ended yesterday",
    },
    Entry {
        name: "cert-client-cert",
        module: "cert",
        expected: fails("tls", "client_cert_required"),
        serves: Serves::Https(CLIENT_CERT_13, hello),
        about: "a TLS 1.3 server that wants a client certificate",
    },
    Entry {
        name: "no-such-name",
        module: "https",
        expected: fails("resolve", "name_not_found"),
        serves: Serves::Nowhere,
        about: "a name that cannot exist",
    },
];

fn hello(_: &Seen) -> Reply {
    Reply::new(StatusCode::OK, "hello\n")
}

fn slow(seen: &Seen) -> Reply {
    hello(seen).after(Duration::from_millis(300))
}

fn big(seen: &Seen) -> Reply {
    const CHUNK: &[u8] = &[b'.'; 16 * 1024];
    hello(seen).body(Bytes::from_static(CHUNK), 512)
}

fn not_gzip(seen: &Seen) -> Reply {
    hello(seen).header(header::CONTENT_ENCODING, "gzip")
}

fn unavailable(_: &Seen) -> Reply {
    Reply::new(StatusCode::SERVICE_UNAVAILABLE, "not now\n")
}

fn forbidden(_: &Seen) -> Reply {
    Reply::new(StatusCode::FORBIDDEN, "no WebSocket here\n")
}

fn redirect_to_itself(_: &Seen) -> Reply {
    Reply::redirect("/")
}

fn redirect_to_nothing(_: &Seen) -> Reply {
    Reply::redirect("http://[bad")
}

/// Answers only where SNI and Host agree, and sends each name of the chain on to the next.
fn redirect_chain(seen: &Seen) -> Reply {
    if seen.sni.as_deref() != Some(seen.host_name()) {
        return Reply::new(StatusCode::MISDIRECTED_REQUEST, "SNI and Host differ\n");
    }
    let label = seen.host_name().trim_end_matches(".localhost");
    match CHAIN.iter().skip_while(|&&name| name != label).nth(1) {
        Some(next) => Reply::redirect(&format!("https://{}/", seen.host.replacen(label, next, 1))),
        None => hello(seen),
    }
}

/// Serves one site, and only to those who name it twice.
fn cdn_edge(seen: &Seen) -> Reply {
    const SITE: &str = "cdn-edge.localhost";
    if seen.sni.as_deref() == Some(SITE) && seen.host_name() == SITE {
        hello(seen)
    } else {
        Reply::new(StatusCode::FORBIDDEN, "no such site on this edge\n")
    }
}
