//! The rows of the catalogue that are reached through a proxy, and the proxies: one for each of these modules.

use super::super::{
    Expected,
    ca::{Authority, Cert},
    listener::Listener,
    proxy::{self, CREDENTIALS, Manner, Speaks},
    tls::{ServerTls, Tls},
    ws::Behaviour,
};
use super::{Entry, GOOD, Running, Serves, bound_port, fails, hello};
use std::{collections::BTreeMap, io};

/// The name that `https` proxies have a certificate for.
const PROXY_NAME: &str = "proxy.localhost";

/// The proxies: the module, its proxy's scheme, and what it does. `None` does not even listen.
const PROXIES: &[(&str, &str, Option<Manner>)] = &[
    ("https_connect", "http", Some(Manner::Strict)),
    ("https_connect_tls", "https", Some(Manner::Strict)),
    ("https_connect_auth", "http", Some(Manner::Auth)),
    ("https_socks", "socks5h", Some(Manner::Auth)),
    ("http_forwarded", "http", Some(Manner::Auth)),
    ("wss_connect", "http", Some(Manner::Good)),
    ("cert_socks", "socks5", Some(Manner::Good)),
    ("https_proxy_stranger", "http", Some(Manner::Auth)),
    ("https_proxy_refuses", "http", Some(Manner::Refuses(403))),
    ("https_proxy_silent", "http", Some(Manner::Silent)),
    ("https_proxy_garbage", "http", Some(Manner::Garbage)),
    ("https_proxy_closes", "http", Some(Manner::Closes)),
    ("https_proxy_down", "http", None),
    ("https_socks_refuses", "socks5h", Some(Manner::Refuses(2))),
    ("https_socks_stranger", "socks5h", Some(Manner::Auth)),
];

/// The modules that have no credentials for a proxy that wants some.
const STRANGERS: [&str; 2] = ["https_proxy_stranger", "https_socks_stranger"];

/// The proxies of the modules, running.
#[derive(Debug, Default)]
pub(in crate::lab) struct Proxies {
    urls: BTreeMap<&'static str, String>,
    listeners: BTreeMap<&'static str, Listener>,
    held: Vec<Running>,
}

impl Proxies {
    /// Starts them all.
    pub(in crate::lab) async fn start(ca: &Authority) -> io::Result<Self> {
        let mut proxies = Self::default();
        for &(module, scheme, manner) in PROXIES {
            let port = if let Some(manner) = manner {
                let listener = serve(ca, scheme, manner).await?;
                let port = listener.address().port();
                proxies.listeners.insert(module, listener);
                port
            } else {
                let (socket, address) = bound_port()?;
                proxies.held.push(Running::Port(socket));
                address.port()
            };
            let stranger = manner != Some(Manner::Auth) || STRANGERS.contains(&module);
            let (user, password) = CREDENTIALS;
            let user_info = if stranger { String::new() } else { format!("{user}:{}@", password.replace(' ', "%20")) };
            proxies.urls.insert(module, format!("{scheme}://{user_info}{PROXY_NAME}:{port}"));
        }
        Ok(proxies)
    }

    /// The URL of a module's proxy, credentials included.
    pub(in crate::lab) fn url(&self, module: &str) -> Option<&str> {
        self.urls.get(module).map(String::as_str)
    }

    /// A module's proxy.
    pub(in crate::lab) fn listener(&self, module: &str) -> Option<&Listener> {
        self.listeners.get(module)
    }
}

async fn serve(ca: &Authority, scheme: &str, manner: Manner) -> io::Result<Listener> {
    let strict = Tls { strict_sni: true, ..Tls::new(Cert::Good) };
    let tls = (scheme == "https").then(|| ServerTls::new(ca, strict, &[PROXY_NAME.to_owned()]));
    let speaks = if scheme.starts_with("socks") { Speaks::Socks } else { Speaks::Http };
    proxy::serve(speaks, tls, manner).await
}

const fn site(name: &'static str, module: &'static str, expected: Expected, about: &'static str) -> Entry {
    Entry { name, module, expected, serves: Serves::Https(GOOD, hello), about }
}

/// Every endpoint of the modules that have a proxy.
pub(super) const TABLE: &[Entry] = &[
    site("proxied", "https_connect", Expected::Success, "a site behind a proxy that checks each CONNECT"),
    site("proxied-by-tls", "https_connect_tls", Expected::Success, "a site behind a proxy that speaks TLS itself"),
    site("proxied-auth", "https_connect_auth", Expected::Success, "a site behind a proxy that wants a password"),
    site("proxied-socks", "https_socks", Expected::Success, "a site behind SOCKS 5 with a password"),
    Entry {
        name: "proxied-plain",
        module: "http_forwarded",
        expected: Expected::Success,
        serves: Serves::Http(hello),
        about: "a site without TLS, whose requests go to the proxy",
    },
    Entry {
        name: "proxied-wss",
        module: "wss_connect",
        expected: Expected::Success,
        serves: Serves::Wss(GOOD, Behaviour::Echo),
        about: "a WebSocket behind a proxy",
    },
    Entry {
        name: "proxied-expired",
        module: "cert_socks",
        expected: fails("tls", "cert_expired"),
        serves: Serves::Https(Tls::new(Cert::Expired), hello),
        about: "an expired certificate, seen through SOCKS 5",
    },
    site(
        "proxy-wants-password",
        "https_proxy_stranger",
        fails("proxy", "proxy_auth_required"),
        "behind a proxy whose password is not known",
    ),
    site(
        "proxy-refuses",
        "https_proxy_refuses",
        fails("proxy", "proxy_refused"),
        "behind a proxy that answers every CONNECT with 403",
    ),
    site("proxy-silent", "https_proxy_silent", fails("proxy", "timeout"), "behind a proxy that never answers"),
    site(
        "proxy-garbage",
        "https_proxy_garbage",
        fails("proxy", "proxy_unreachable"),
        "behind a port that speaks something else",
    ),
    site(
        "proxy-closes",
        "https_proxy_closes",
        fails("proxy", "broken"),
        "behind a proxy that closes in place of an answer",
    ),
    site("proxy-down", "https_proxy_down", fails("proxy", "proxy_unreachable"), "behind a proxy that is not there"),
    site(
        "socks-refuses",
        "https_socks_refuses",
        fails("proxy", "proxy_refused"),
        "behind SOCKS 5 whose rules do not allow it",
    ),
    site(
        "socks-wants-password",
        "https_socks_stranger",
        fails("proxy", "proxy_auth_required"),
        "behind SOCKS 5 whose password is not known",
    ),
];
