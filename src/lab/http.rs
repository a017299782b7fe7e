//! The lab's sites: takes a function from request to reply, serves it by HTTP/1.1 and, where agreed on, HTTP/2. Each
//! request is logged before it is answered. Knows nothing of the endpoints it is used for.

use super::{
    Seen,
    listener::{Listener, Log},
    tls::{self, ServerTls, Stream},
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    rt::Executor,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use std::{
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use tokio::task::JoinSet;

/// What a site answers, and when.
#[derive(Clone, Debug)]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Payload,
    delay: Duration,
}

impl Reply {
    /// A short text.
    pub fn new(status: StatusCode, text: &'static str) -> Self {
        let body = Payload { chunk: Bytes::from_static(text.as_bytes()), times: 1 };
        let reply = Self { status, headers: HeaderMap::new(), body, delay: Duration::ZERO };
        reply.header(header::CONTENT_TYPE, "text/plain")
    }

    /// Sends the client on.
    pub fn redirect(location: &str) -> Self {
        Self::new(StatusCode::FOUND, "over there\n").header(header::LOCATION, location)
    }

    /// With this header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).expect("the lab's header values are printable"));
        self
    }

    /// With a body that is `chunk` again and again, sent piece by piece.
    #[must_use]
    pub fn body(mut self, chunk: Bytes, times: usize) -> Self {
        self.body = Payload { chunk, times };
        self
    }

    /// Not before this time has passed.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// Starts a site, over TLS when there are settings for it.
pub async fn serve<H>(tls: Option<ServerTls>, handler: H) -> io::Result<Listener>
where
    H: Fn(&Seen) -> Reply + Send + Sync + 'static,
{
    let handler = Arc::new(handler);
    Listener::start(move |tcp, log| {
        let (tls, handler) = (tls.clone(), Arc::clone(&handler));
        async move {
            if let Some(stream) = tls::open(tls.as_ref(), tcp).await {
                converse(stream, &log, handler.as_ref()).await;
            }
        }
    })
    .await
}

async fn converse<H: Fn(&Seen) -> Reply>(stream: Stream, log: &Log, handler: &H) {
    let (sni, h2) = (tls::sni(&stream), tls::is_h2(&stream));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Seen::of(sni.as_deref(), &request);
        let reply = handler(&seen);
        log.add(seen);
        async move {
            if !reply.delay.is_zero() {
                tokio::time::sleep(reply.delay).await;
            }
            let mut response = Response::new(reply.body);
            *response.status_mut() = reply.status;
            *response.headers_mut() = reply.headers;
            Ok::<_, Infallible>(response)
        }
    });
    // A client that goes away is no news to a site that misbehaves on purpose.
    let _ = if h2 {
        http2::Builder::new(Streams::default()).serve_connection(TokioIo::new(stream), service).await
    } else {
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
    };
}

/// The tasks of one HTTP/2 connection; they end with it.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while streams.try_join_next().is_some() {}
        streams.spawn(stream);
    }
}

/// A body of equal chunks, of which one is in memory.
#[derive(Clone, Debug)]
struct Payload {
    chunk: Bytes,
    times: usize,
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.is_end_stream() {
            return Poll::Ready(None);
        }
        self.times -= 1;
        Poll::Ready(Some(Ok(Frame::data(self.chunk.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.times == 0 || self.chunk.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.chunk.len() * self.times) as u64)
    }
}
