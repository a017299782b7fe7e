//! A CDN: three edges that serve one site, of which one still has an old certificate.
//!
//! As real ones do, they answer only those who name the site by SNI and by Host. Each listens on a port of its own, in place
//! of an address of its own, so that any machine can run them.

use super::{
    ca::{Authority, Cert},
    listener::Listener,
    tls::{ServerTls, Tls},
    ws::{self, Behaviour},
};
use std::{io, net::SocketAddr};

/// The site.
pub const CDN_SITE: &str = "cdn.localhost";

/// The running edges.
#[derive(Debug)]
pub struct Cdn {
    edges: [Listener; 3],
}

impl Cdn {
    /// Starts the edges.
    pub async fn start(ca: &Authority) -> io::Result<Self> {
        let settings = |cert| ServerTls::new(ca, Tls::new(cert), &[CDN_SITE.to_owned()]);
        let (renewed, old) = (settings(Cert::Good), settings(Cert::ExpiresSoon));
        let edge = |tls: &ServerTls| ws::serve(Some(tls.clone()), Behaviour::EchoOnSite);
        Ok(Self { edges: [edge(&renewed).await?, edge(&old).await?, edge(&renewed).await?] })
    }

    /// Where each edge listens; the second has the old certificate.
    pub fn addresses(&self) -> [SocketAddr; 3] {
        [0, 1, 2].map(|edge| self.edges[edge].address())
    }
}
