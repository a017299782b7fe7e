//! Real clients against a server behind a web config: what each of them gets.

use super::super::harness::{module, world};
use super::super::{Front, Options, router, serve};
use super::{Setup, Web};
use crate::lab::ca::{Authority, Cert, Identity};
use crate::model::{
    CipherSuite, ClientCertPolicy, Curve, RateLimit, Secret, SecretText, TextSource, TlsVersion, WebConfig, WebTls,
};
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, Version, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const NAME: &str = "web.localhost";

/// A server, its files, and the CA that signed its certificate.
struct Server {
    address: SocketAddr,
    ca: Authority,
    folder: TempDir,
    config: Arc<Mutex<WebConfig>>,
    _running: JoinSet<()>,
}

struct Answer {
    status: StatusCode,
    version: Version,
    headers: HeaderMap,
    leaf: Option<CertificateDer<'static>>,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

impl Server {
    /// Serves what `config` says; its TLS settings, if any, name `server.crt` and `server.key` of the server's folder.
    async fn start(config: impl FnOnce(&Path, &Authority) -> WebConfig) -> Self {
        let (ca, folder) = (Authority::new(), TempDir::new().unwrap());
        write(folder.path(), &ca.identity(Cert::Good, NAME));
        let file = folder.path().join("web.yml");
        std::fs::write(&file, "1").unwrap();
        let config = Arc::new(Mutex::new(config(folder.path(), &ca)));
        let source = Arc::clone(&config);
        let load = move || {
            let text = std::fs::read(&file).unwrap();
            let setup = Setup::new(&source.lock().unwrap()).map_err(|errors| format!("{errors:?}"))?;
            Ok(setup.read_from(&file, &text))
        };
        let web = Arc::new(Web::new(load().unwrap(), Duration::ZERO, Box::new(load)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let front = Front::new(router(world(&[module("cert")], Options::default()).state), Some(web));
        let mut running = JoinSet::new();
        running.spawn(serve(listener, front, std::future::pending(), Duration::ZERO));
        Self { address, ca, folder, config, _running: running }
    }

    /// As if somebody edited the web config file.
    fn edit(&self, edit: impl FnOnce(&mut WebConfig)) {
        let file = self.folder.path().join("web.yml");
        edit(&mut self.config.lock().unwrap());
        let before = std::fs::read_to_string(&file).unwrap();
        std::fs::write(file, before + "1").unwrap();
    }

    async fn tcp(&self) -> TcpStream {
        TcpSocket::new_v4().unwrap().connect(self.address).await.unwrap()
    }

    /// A client that trusts the server's CA, shows `identity` if asked, and offers `alpn`.
    async fn tls(&self, identity: Option<Identity>, alpn: &[&[u8]]) -> Outcome<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.root().clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match identity {
            Some(Identity { chain, key }) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        Ok(connector.connect(ServerName::try_from(NAME)?, self.tcp().await).await?)
    }

    /// GETs the health over TLS.
    async fn health(&self, identity: Option<Identity>, alpn: &[&[u8]]) -> Outcome<Answer> {
        let stream = self.tls(identity, alpn).await?;
        let (_, session) = stream.get_ref();
        let leaf = session.peer_certificates().and_then(<[_]>::first).cloned().map(CertificateDer::into_owned);
        let http2 = session.alpn_protocol() == Some(b"h2");
        let request = Request::get(format!("https://{NAME}/-/healthy")).header(header::HOST, NAME);
        let request = request.body(Body::empty())?;
        let mut driver = JoinSet::new();
        let response = if http2 {
            let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            driver.spawn(async { drop(connection.await) });
            sender.send_request(request).await?
        } else {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            driver.spawn(async { drop(connection.await) });
            sender.send_request(request).await?
        };
        let (head, body) = response.into_parts();
        body.collect().await?;
        Ok(Answer { status: head.status, version: head.version, headers: head.headers, leaf })
    }

    /// Asks by plain HTTP, with this pair of name and password.
    async fn ask(&self, method: Method, path: &str, login: Option<&str>) -> Answer {
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.tcp().await)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async { drop(connection.await) });
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, NAME);
        if let Some(login) = login {
            request = request.header(header::AUTHORIZATION, format!("Basic {}", BASE64_STANDARD.encode(login)));
        }
        let response = sender.send_request(request.body(Body::empty()).unwrap()).await.unwrap();
        let (head, body) = response.into_parts();
        body.collect().await.unwrap();
        Answer { status: head.status, version: head.version, headers: head.headers, leaf: None }
    }

    async fn status(&self, path: &str, login: Option<&str>) -> u16 {
        self.ask(Method::GET, path, login).await.status.as_u16()
    }
}

/// Puts an identity where the server's TLS settings look for it.
fn write(folder: &Path, identity: &Identity) {
    std::fs::write(folder.join("server.crt"), cert_pem(identity)).unwrap();
    std::fs::write(folder.join("server.key"), pem("PRIVATE KEY", identity.key.secret_der())).unwrap();
}

fn cert_pem(identity: &Identity) -> String {
    identity.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", BASE64_STANDARD.encode(der))
}

fn tls(folder: &Path) -> WebTls {
    WebTls {
        cert: TextSource::File(folder.join("server.crt")),
        key: SecretText::File(folder.join("server.key")),
        client_auth: ClientCertPolicy::NoClientCert,
        client_ca: None,
        client_allowed_sans: Vec::new(),
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls13,
        cipher_suites: Vec::new(),
        prefer_server_cipher_suites: true,
        curve_preferences: Vec::new(),
    }
}

fn with_tls(tls: WebTls) -> WebConfig {
    WebConfig { tls: Some(tls), http2: true, ..WebConfig::default() }
}

fn with_users(users: &[(&str, &str)]) -> WebConfig {
    let hash = |password: &str| Secret::new(bcrypt::hash_with_salt(password, 4, [3; 16]).unwrap().to_string());
    let users = users.iter().map(|(name, password)| ((*name).to_owned(), hash(password))).collect();
    WebConfig { users, ..WebConfig::default() }
}

fn client(ca: &Authority) -> Identity {
    let (cert, key) = ca.client_pem();
    let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
    Identity { chain, key: PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap() }
}

#[tokio::test]
async fn a_wrong_password_is_refused_on_every_path() {
    let server = Server::start(|_, _| WebConfig {
        headers: vec![(header::X_FRAME_OPTIONS, "deny".parse().unwrap())],
        ..with_users(&[("alice", "secret")])
    })
    .await;
    let paths = [
        "/",
        "/probe?target=x",
        "/metrics",
        "/config",
        "/logs?id=0",
        "/-/healthy",
        "/-/ready",
        "/-/reload",
        "/nope",
        "//",
    ];
    for path in paths {
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT] {
            for login in [None, Some("alice:wrong"), Some("alice:"), Some("mallory:secret")] {
                let answer = server.ask(method.clone(), path, login).await;
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} {login:?}");
                assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
                assert_eq!(answer.headers[header::X_FRAME_OPTIONS], "deny", "{method} {path}");
            }
            let answer = server.ask(method.clone(), path, Some("alice:secret")).await;
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            assert_eq!(answer.headers[header::X_FRAME_OPTIONS], "deny", "{method} {path}");
        }
    }
    assert_eq!(server.status("/nope", Some("alice:secret")).await, 404);
    assert_eq!(server.status("/-/healthy", Some("alice:secret")).await, 200);
}

#[tokio::test]
async fn client_certificates_are_asked_for_as_the_policy_says() {
    use ClientCertPolicy::{
        NoClientCert, RequestClientCert, RequireAndVerifyClientCert, RequireAnyClientCert, VerifyClientCertIfGiven,
    };
    // Without a certificate, with one of a stranger, with one of the CA.
    for (policy, expected) in [
        (NoClientCert, [true, true, true]),
        (RequestClientCert, [true, true, true]),
        (RequireAnyClientCert, [false, true, true]),
        (VerifyClientCertIfGiven, [true, false, true]),
        (RequireAndVerifyClientCert, [false, false, true]),
    ] {
        let server = Server::start(|folder, ca| {
            let client_ca = policy.verifies().then(|| TextSource::Inline(ca.root_pem()));
            with_tls(WebTls { client_auth: policy, client_ca, ..tls(folder) })
        })
        .await;
        let identities = [None, Some(client(&Authority::new())), Some(client(&server.ca))];
        for (identity, admitted) in identities.into_iter().zip(expected) {
            let shown = identity.is_some();
            let answer = server.health(identity, &[]).await;
            assert_eq!(answer.is_ok(), admitted, "{policy:?} {shown} {:?}", answer.err());
        }
    }
}

#[tokio::test]
async fn a_client_needs_one_of_the_allowed_names() {
    for (allowed, admitted) in
        [("client.example", true), ("127.0.0.1", true), ("other.example", false), ("*.example", false)]
    {
        let server = Server::start(|folder, _| {
            let client_allowed_sans = vec!["nobody.example".to_owned(), allowed.to_owned()];
            let client_auth = ClientCertPolicy::RequireAnyClientCert;
            with_tls(WebTls { client_auth, client_allowed_sans, ..tls(folder) })
        })
        .await;
        let named = server.ca.identity(Cert::Good, "client.example");
        assert_eq!(server.health(Some(named), &[]).await.is_ok(), admitted, "{allowed}");
        assert!(server.health(Some(client(&server.ca)), &[]).await.is_err(), "{allowed}: a certificate without names");
    }
}

#[tokio::test]
async fn http2_is_spoken_unless_it_is_switched_off() {
    for (http2, version) in [(true, Version::HTTP_2), (false, Version::HTTP_11)] {
        let server = Server::start(|folder, _| WebConfig {
            http2,
            headers: vec![(header::STRICT_TRANSPORT_SECURITY, "max-age=1".parse().unwrap())],
            ..with_tls(tls(folder))
        })
        .await;
        let answer = server.health(None, &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!((answer.status, answer.version), (StatusCode::OK, version));
        assert_eq!(answer.headers[header::STRICT_TRANSPORT_SECURITY], "max-age=1");
        assert_eq!(server.health(None, &[]).await.unwrap().version, Version::HTTP_11);
    }
}

#[tokio::test]
async fn versions_suites_and_groups_are_those_of_the_config() {
    let server = Server::start(|folder, _| {
        with_tls(WebTls {
            max_version: TlsVersion::Tls12,
            cipher_suites: vec![CipherSuite::EcdsaChaCha20Poly1305],
            curve_preferences: vec![Curve::CurveP384],
            ..tls(folder)
        })
    })
    .await;
    let stream = server.tls(None, &[]).await.unwrap();
    let (_, session) = stream.get_ref();
    assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
    let suite = session.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256);
    assert_eq!(session.negotiated_key_exchange_group().unwrap().name(), rustls::NamedGroup::secp384r1);
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_the_next_client_once_its_key_is_there() {
    let server = Server::start(|folder, _| with_tls(tls(folder))).await;
    let leaf = async || server.health(None, &[]).await.unwrap().leaf.unwrap();
    let first = leaf().await;
    let next = server.ca.identity(Cert::Good, NAME);
    // The certificate alone: its key is still the one before.
    std::fs::write(server.folder.path().join("server.crt"), cert_pem(&next)).unwrap();
    assert_eq!(leaf().await, first);
    assert_eq!(leaf().await, first);
    write(server.folder.path(), &next);
    assert_eq!(leaf().await, next.chain[0]);
    std::fs::remove_file(server.folder.path().join("server.key")).unwrap();
    assert_eq!(leaf().await, next.chain[0]);
}

#[tokio::test]
async fn users_change_while_the_server_runs_but_protection_is_never_taken_away() {
    let server = Server::start(|_, _| with_users(&[("alice", "secret")])).await;
    assert_eq!(server.status("/-/healthy", Some("alice:secret")).await, 200);
    server.edit(|config| *config = with_users(&[("alice", "changed"), ("bob", "secret")]));
    assert_eq!(server.status("/-/healthy", Some("alice:secret")).await, 401);
    assert_eq!(server.status("/-/healthy", Some("alice:changed")).await, 200);
    assert_eq!(server.status("/-/healthy", Some("bob:secret")).await, 200);
    // As a file that is just being written may look.
    server.edit(|config| *config = WebConfig::default());
    assert_eq!(server.status("/-/healthy", None).await, 401);
    assert_eq!(server.status("/-/healthy", Some("bob:secret")).await, 200);
}

#[tokio::test]
async fn a_file_that_appears_later_is_found() {
    let server = Server::start(|folder, _| with_tls(tls(folder))).await;
    let before = server.health(None, &[]).await.unwrap().leaf;
    let folder = server.folder.path().join("new");
    server.edit(|config| *config = with_tls(tls(&folder)));
    assert_eq!(server.health(None, &[]).await.unwrap().leaf, before);
    let next = server.ca.identity(Cert::Good, NAME);
    std::fs::create_dir(&folder).unwrap();
    write(&folder, &next);
    assert_eq!(server.health(None, &[]).await.unwrap().leaf.as_ref(), next.chain.first());
}

#[tokio::test]
async fn a_client_that_stalls_in_the_handshake_keeps_nobody_waiting() {
    let server = Server::start(|folder, _| with_tls(tls(folder))).await;
    let silent = server.tcp().await;
    let mut half = server.tcp().await;
    half.write_all(&[0x16, 3, 1]).await.unwrap();
    assert_eq!(server.health(None, &[]).await.unwrap().status, StatusCode::OK);
    drop((silent, half));
}

#[tokio::test]
async fn a_client_without_tls_is_told_so() {
    let server = Server::start(|folder, _| with_tls(tls(folder))).await;
    let mut tcp = server.tcp().await;
    tcp.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.ends_with("this port speaks HTTPS\n"), "{answer}");
}

#[tokio::test]
async fn more_requests_than_the_limit_are_answered_with_429() {
    let limit = RateLimit { interval: Duration::from_secs(3600), burst: 3 };
    let server = Server::start(|_, _| WebConfig { rate_limit: Some(limit), ..with_users(&[("a", "b")]) }).await;
    for expected in [200, 200] {
        assert_eq!(server.status("/-/healthy", Some("a:b")).await, expected);
    }
    assert_eq!(server.status("/-/healthy", None).await, 401);
    for path in ["/-/healthy", "/nope"] {
        assert_eq!(server.status(path, Some("a:b")).await, 429, "{path}");
    }
    // Another change of the file does not fill the bucket.
    server.edit(|config| config.users = with_users(&[("c", "d")]).users);
    assert_eq!(server.status("/-/healthy", Some("c:d")).await, 429);
}

#[test]
fn every_file_that_cannot_be_used_is_told_at_once() {
    let tls = WebTls {
        client_auth: ClientCertPolicy::RequireAndVerifyClientCert,
        client_ca: Some(TextSource::Inline("hunter2".to_owned())),
        key: SecretText::Inline(Secret::new("hunter2")),
        ..tls(&PathBuf::from("/nowhere"))
    };
    let errors = Setup::new(&with_tls(tls)).unwrap_err();
    let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(
        paths,
        ["tls_server_config.cert_file", "tls_server_config.key", "tls_server_config.client_ca"],
        "{errors:?}"
    );
    assert!(errors[0].problem.contains("/nowhere/server.crt"), "{errors:?}");
    assert!(!format!("{errors:?}").contains("hunter2"), "{errors:?}");
}
