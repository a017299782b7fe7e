//! `edgeprobe healthcheck`: asks a running exporter how it is, for images that have no shell.

use http::{Request, Uri, header::HOST};
use http_body_util::Empty;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{process::ExitCode, time::Duration};
use tokio::net::TcpStream;

/// How long the answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// GETs `url`; a 2xx status is health.
#[expect(clippy::disallowed_methods, reason = "asking ourselves is no probe")]
pub(super) async fn ask(url: &str) -> Result<ExitCode, String> {
    let status = tokio::time::timeout(PATIENCE, get(url)).await;
    let status = status.map_err(|_| format!("{url} did not answer within {} s", PATIENCE.as_secs()))??;
    if (200..300).contains(&status) {
        Ok(ExitCode::SUCCESS)
    } else {
        Err(format!("{url} answered with status {status}"))
    }
}

#[expect(clippy::disallowed_methods, reason = "asking ourselves is no probe")]
async fn get(url: &str) -> Result<u16, String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot ask {url}: {error}");
    let uri: Uri = url.parse().map_err(|error| failed(&error))?;
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).cloned();
    let authority = authority.ok_or_else(|| failed(&"expected a URL such as http://127.0.0.1:9115/-/healthy"))?;
    let address = (authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| failed(&error))?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path).header(HOST, authority.as_str()).body(Empty::<Bytes>::new());
    let answer = sender.send_request(request.map_err(|error| failed(&error))?);
    tokio::select! {
        answer = answer => answer.map(|answer| answer.status().as_u16()).map_err(|error| failed(&error)),
        ended = connection => Err(failed(&ended.err().map_or("the connection ended".to_owned(), |e| e.to_string()))),
    }
}
