//! The lab, seen by clients that are not edgeprobe's: what the catalogue promises is what is on the wire.

use super::{Endpoint, Expected, Lab};
use futures_util::{SinkExt, StreamExt};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use std::{collections::HashSet, io, net::Ipv4Addr, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};
use url::Url;

/// A client that trusts the lab and may show a certificate.
struct Client<'a> {
    lab: &'a Lab,
    identity: bool,
}

impl Client<'_> {
    fn url(&self, name: &str) -> Url {
        self.lab.endpoint(name).url.parse().unwrap()
    }

    async fn tcp(&self, name: &str) -> io::Result<TcpStream> {
        let port = self.url(name).port().unwrap();
        TcpSocket::new_v4()?.connect((Ipv4Addr::LOCALHOST, port).into()).await
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.lab.ca_pem().as_bytes()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        if !self.identity {
            return builder.with_no_client_auth();
        }
        let (cert, key) = self.lab.client_pem();
        let cert = CertificateDer::from_pem_slice(cert.as_bytes()).unwrap();
        builder.with_client_auth_cert(vec![cert], PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
    }

    async fn tls(&self, name: &str) -> io::Result<TlsStream<TcpStream>> {
        let host = ServerName::try_from(self.url(name).host_str().unwrap().to_owned()).unwrap();
        TlsConnector::from(Arc::new(self.config())).connect(host, self.tcp(name).await?).await
    }

    /// The whole answer to a GET, or the error that ended it.
    async fn get(&self, name: &str) -> io::Result<String> {
        let (url, mut stream) = (self.url(name), self.tls(name).await?);
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    async fn websocket(
        &self,
        name: &str,
        subprotocol: Option<&str>,
    ) -> Result<WebSocketStream<TlsStream<TcpStream>>, tungstenite::Error> {
        let mut request = self.lab.endpoint(name).url.as_str().into_client_request()?;
        if let Some(offer) = subprotocol {
            request.headers_mut().insert("sec-websocket-protocol", offer.parse().unwrap());
        }
        Ok(client_async(request, self.tls(name).await?).await?.0)
    }
}

/// Waits until `done`; a test that waits in vain fails, after a minute.
async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..12_000 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn every_name_is_its_own_and_the_label_of_its_url() {
    let lab = Lab::start().await.unwrap();
    let mut names = HashSet::new();
    for Endpoint { name, url, about, .. } in lab.endpoints() {
        assert!(names.insert(*name), "{name} twice");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "{name}");
        assert!(!about.is_empty(), "{name}");
        let host = url.parse::<Url>().unwrap().host_str().unwrap().to_owned();
        assert!(
            host == format!("{name}.localhost") || ["cdn-edge-by-address", "no-such-name"].contains(name),
            "{name}: {url}"
        );
    }
}

#[tokio::test]
async fn handshakes_end_as_the_catalogue_says() {
    let lab = Lab::start().await.unwrap();
    let client = Client { lab: &lab, identity: false };
    for (name, error) in [
        ("expired", "certificate expired"),
        ("not-yet-valid", "not valid yet"),
        ("wrong-name", "not valid for name"),
        ("expired-wrong-name", "certificate expired"),
        ("self-signed", "UnknownIssuer"),
        ("unknown-ca", "UnknownIssuer"),
        ("missing-intermediate", "UnknownIssuer"),
        ("client-cert-tls12", "alert: CertificateRequired"),
        ("unrecognized-name", "alert: UnrecognisedName"),
        ("version-too-old", "alert: ProtocolVersion"),
        ("no-shared-cipher", "alert: HandshakeFailure"),
        ("tls-alert", "alert: InternalError"),
        ("not-tls", "corrupt message"),
        ("reset-in-handshake", "reset"),
        ("closed-in-handshake", "eof"),
        ("refused", "refused"),
        ("wss-expired", "certificate expired"),
        ("cert-expired", "certificate expired"),
    ] {
        let found = client.tls(name).await.map(|_| ()).unwrap_err().to_string();
        assert!(found.contains(error), "{name}: {found}");
    }
    for name in ["client-cert", "cert-client-cert"] {
        let found = client.get(name).await.unwrap_err().to_string();
        assert!(found.contains("alert: CertificateRequired"), "{name}: {found}");
    }
    assert!(lab.requests("client-cert").is_empty());
}

#[tokio::test]
async fn a_client_with_its_certificate_gets_in() {
    let lab = Lab::start().await.unwrap();
    let client = Client { lab: &lab, identity: true };
    for name in ["client-cert", "client-cert-tls12", "cert-client-cert"] {
        assert!(client.get(name).await.unwrap().ends_with("hello\n"), "{name}");
    }
}

#[tokio::test]
async fn sites_answer_as_the_catalogue_says() {
    let lab = Lab::start().await.unwrap();
    let client = Client { lab: &lab, identity: false };
    for (name, start, end) in [
        ("good", "HTTP/1.1 200", "\r\n\r\nhello\n"),
        ("good-h2", "HTTP/1.1 200", "\r\n\r\nhello\n"),
        ("slow", "HTTP/1.1 200", "\r\n\r\nhello\n"),
        ("tls12-only", "HTTP/1.1 200", "\r\n\r\nhello\n"),
        ("expires-soon", "HTTP/1.1 200", "\r\n\r\nhello\n"),
        ("wrong-status", "HTTP/1.1 503", "not now\n"),
        ("truncated-body", "HTTP/1.1 200", "half of it"),
        ("garbage", "\0", "\r\n\r\n"),
        ("bad-gzip", "HTTP/1.1 200", "hello\n"),
        ("redirect-loop", "HTTP/1.1 302", "over there\n"),
        ("cdn-edge", "HTTP/1.1 200", "hello\n"),
        ("cdn-edge-by-address", "HTTP/1.1 403", "no such site on this edge\n"),
        ("wss-refused", "HTTP/1.1 403", "no WebSocket here\n"),
    ] {
        let answer = client.get(name).await.unwrap();
        assert!(answer.starts_with(start) && answer.ends_with(end), "{name}: {answer:?}");
    }
    assert!(client.get("redirect-bad").await.unwrap().contains("location: http://[bad\r\n"));
    let chain = client.get("redirect-chain").await.unwrap();
    assert!(chain.contains("location: https://redirect-chain-2.localhost:"), "{chain}");
    assert!(client.get("big-body").await.unwrap().len() > 8 * 1024 * 1024);

    let [named, by_address] = &lab.requests("cdn-edge")[..] else { panic!("two requests to the edge") };
    assert_eq!((named.sni.as_deref(), named.host_name()), (Some("cdn-edge.localhost"), "cdn-edge.localhost"));
    assert_eq!((by_address.sni.as_deref(), by_address.host_name()), (None, "127.0.0.1"));
}

#[tokio::test]
async fn http2_is_spoken_to_those_who_offer_it() {
    let lab = Lab::start().await.unwrap();
    let client = Client { lab: &lab, identity: false };
    let mut config = client.config();
    config.alpn_protocols = vec![b"h2".into()];
    let host = ServerName::try_from("good-h2.localhost").unwrap();
    let tcp = client.tcp("good-h2").await.unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(host, tcp).await.unwrap();
    let io = hyper_util::rt::TokioIo::new(stream);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
    let url = lab.endpoint("good-h2").url.as_str();
    let request = http::Request::get(url).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let response = tokio::select! {
        response = sender.send_request(request) => response.unwrap(),
        _ = connection => panic!("the connection ended before the response"),
    };
    assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
    assert_eq!(format!("https://{}/", lab.requests("good-h2")[0].host), url);
}

#[tokio::test]
async fn websocket_peers_behave_as_the_catalogue_says() {
    let lab = Lab::start().await.unwrap();
    let client = Client { lab: &lab, identity: false };

    let mut echo = client.websocket("wss-echo", Some("chat")).await.unwrap();
    echo.send(Message::text("hello")).await.unwrap();
    assert_eq!(echo.next().await.unwrap().unwrap(), Message::text("hello"));

    let mut ping = client.websocket("wss-ping", None).await.unwrap();
    ping.send(Message::Ping("now".into())).await.unwrap();
    assert_eq!(ping.next().await.unwrap().unwrap(), Message::Pong("now".into()));

    let mut closes = client.websocket("wss-closes", None).await.unwrap();
    let Some(Ok(Message::Close(Some(frame)))) = closes.next().await else { panic!("a close frame") };
    assert_eq!(frame.code, CloseCode::Again);

    for (name, error) in [("wss-bad-accept", "Sec-WebSocket-Accept"), ("wss-wrong-subprotocol", "SubProtocol")] {
        let found = client.websocket(name, Some("chat")).await.map(|_| ()).unwrap_err().to_string();
        assert!(found.contains(error), "{name}: {found}");
    }
    assert!(client.websocket("wss-silent", None).await.is_ok());
    assert!(lab.requests("wss-silent")[0].headers.contains_key("sec-websocket-key"));
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stalled_connect_is_still_pending_when_a_later_one_is_done() {
    let lab = Lab::start().await.unwrap();
    let client = Client { lab: &lab, identity: false };
    let mut stalled = pin!(client.tcp("stalled-connect"));
    tokio::select! {
        biased;
        connected = &mut stalled => panic!("connected to {connected:?}"),
        _ = client.get("good") => {}
    }
}

#[tokio::test]
async fn a_stalled_peer_holds_nothing_once_its_client_is_gone() {
    let lab = Lab::start().await.unwrap();
    let client = Client { lab: &lab, identity: false };
    let tcp = client.tcp("stalled-handshake").await.unwrap();
    let (mut headers, mut body) =
        (client.tls("stalled-headers").await.unwrap(), client.tls("stalled-body").await.unwrap());
    let silent = client.websocket("wss-silent", None).await.unwrap();
    for stream in [&mut headers, &mut body] {
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        stream.read_u8().await.unwrap();
    }
    let names = ["stalled-handshake", "stalled-headers", "stalled-body", "wss-silent"];
    until("all are connected", async || names.iter().all(|name| lab.open_connections(name) == 1)).await;
    drop((tcp, headers, body, silent));
    until("all are gone", async || names.iter().all(|name| lab.open_connections(name) == 0)).await;
}

#[tokio::test]
async fn dropping_the_lab_closes_ports_and_connections() {
    let lab = Lab::start().await.unwrap();
    let client = Client { lab: &lab, identity: false };
    let mut open = client.tls("stalled-body").await.unwrap();
    let ports = ["good", "wss-echo", "stalled-handshake"].map(|name| client.url(name).port().unwrap());
    drop(lab);
    let ended = open.read_u8().await.unwrap_err();
    assert!(matches!(ended.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset), "{ended}");
    for port in ports {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        until("the port is closed", async || TcpSocket::new_v4().unwrap().connect(address).await.is_err()).await;
    }
}

#[tokio::test]
async fn the_demo_configuration_is_yaml_with_a_job_for_every_endpoint() {
    let lab = Lab::start().await.unwrap();
    let config: serde_yaml::Value = serde_yaml::from_str(&lab.demo_config()).unwrap();
    let mut seen = 0;
    for job in config["jobs"].as_sequence().unwrap() {
        let module = &job["modules"][0];
        if job["job_name"] == "lab-cdn" {
            let edges = lab.cdn().addresses().map(|edge| edge.to_string());
            assert!(
                edges
                    .iter()
                    .zip(job["connect_to"].as_sequence().unwrap())
                    .all(|(edge, listed)| *listed == edge.as_str())
            );
            continue;
        }
        assert_eq!(job["job_name"].as_str().unwrap(), format!("lab-{}", module.as_str().unwrap()));
        assert!(config["modules"].get(module).is_some(), "{module:?}");
        for group in job["static_configs"].as_sequence().unwrap() {
            let endpoint = lab.endpoint(group["labels"]["endpoint"].as_str().unwrap());
            assert_eq!(Some(endpoint.module), module.as_str());
            assert_eq!(group["targets"][0], endpoint.url.as_str());
            assert_eq!(group["labels"]["expected"], endpoint.expected.to_string());
            seen += 1;
        }
    }
    assert_eq!(seen, lab.endpoints().len());
    for (module, tls) in [("https", "http"), ("http", "http"), ("https_gzip", "http"), ("cert", "tls")] {
        assert_eq!(config["modules"][module][tls]["tls_config"]["ca"], lab.ca_pem(), "{module}");
    }
    for module in ["wss", "wss_chat"] {
        assert_eq!(config["modules"][module]["websocket"]["http_config"]["tls_config"]["ca"], lab.ca_pem());
    }
    assert_eq!(lab.endpoint("good").expected, Expected::Success);
}
