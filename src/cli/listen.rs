//! Addresses to listen on, as Go programs spell them, and sockets handed over by systemd.

use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Binds every address; the first that cannot be bound ends it, by name.
pub(super) async fn bind(addresses: &[String]) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        let listener = bind_one(address).await.map_err(|error| format!("cannot listen on `{address}`: {error}"))?;
        listeners.push(listener);
    }
    Ok(listeners)
}

async fn bind_one(address: &str) -> Result<TcpListener, String> {
    if address.starts_with("vsock://") {
        return Err("vsock is not supported; use host:port".into());
    }
    let Some(port) = address.strip_prefix(':') else {
        return TcpListener::bind(address).await.map_err(|error| error.to_string());
    };
    let port: u16 = port.parse().map_err(|_| "expected a port after the colon".to_owned())?;
    // Every address of both families, where the machine has IPv6; else of IPv4.
    match TcpListener::bind(SocketAddr::from(([0_u16; 8], port))).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error.to_string()),
        Err(_) => TcpListener::bind(SocketAddr::from(([0_u8; 4], port))).await.map_err(|error| error.to_string()),
    }
}

/// The sockets that systemd passed on (`LISTEN_FDS`).
pub(super) fn from_systemd() -> Result<Vec<TcpListener>, String> {
    let failed = |error: std::io::Error| format!("--web.systemd-socket: {error}");
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for at in 0..passed.len() {
        if let Some(listener) = passed.take_tcp_listener(at).map_err(failed)? {
            listener.set_nonblocking(true).map_err(failed)?;
            listeners.push(TcpListener::from_std(listener).map_err(failed)?);
        }
    }
    if listeners.is_empty() {
        return Err("--web.systemd-socket: systemd passed no TCP socket (LISTEN_FDS)".into());
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_in_use_and_nonsense_are_told_by_address() {
        let taken = bind(&["127.0.0.1:0".to_owned()]).await.unwrap().remove(0);
        let port = taken.local_addr().unwrap().port();
        for (address, part) in [
            (format!("127.0.0.1:{port}"), "in use"),
            (":x".to_owned(), "port"),
            ("vsock://:9".to_owned(), "not supported"),
            ("nonsense".to_owned(), "nonsense"),
        ] {
            let error = bind(std::slice::from_ref(&address)).await.unwrap_err();
            assert!(error.contains(&address) && error.contains(part), "{error}");
        }
    }

    #[tokio::test]
    async fn a_bare_port_means_every_address() {
        let all = bind(&[":0".to_owned()]).await.unwrap().remove(0);
        assert!(all.local_addr().unwrap().ip().is_unspecified());
    }
}
