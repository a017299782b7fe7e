//! The exporter, in this process: a config in, a base address out. Dropping it stops it.

use super::{Answer, Page, ask, encoded, get, until};
use edgeprobe::{
    app::{self, Settings, Source},
    config::ConfigErrors,
    engine::EngineOptions,
    server::Options,
};
use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

/// A running exporter with its config in a file of its own.
pub(crate) struct Exporter {
    pub(crate) address: SocketAddr,
    dir: TempDir,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Result<(), ConfigErrors>>,
}

impl Exporter {
    pub(crate) async fn start(yaml: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("edgeprobe.yml");
        fs::write(&file, yaml).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let settings = Settings {
            source: Source::File(file),
            options: Options { timeout_offset: 0.0, prober_level: tracing::Level::DEBUG, ..Options::default() },
            web_config: None,
            engine: EngineOptions { max_in_flight: 2000, key_log: false },
            history_limit: 100,
            auto_reload: None,
            grace: Duration::from_secs(15),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let running =
            tokio::spawn(async move { app::run(settings, vec![listener], async { drop(stopped.await) }).await });
        let exporter = Self { address, dir, stop: Some(stop), running };
        until("the exporter answers or has ended", async || {
            exporter.running.is_finished() || get(address, "/-/healthy").await.status == 200
        })
        .await;
        exporter
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.path().join("edgeprobe.yml")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        get(self.address, path).await
    }

    /// `GET /probe`; `more` is further parameters, each with its `&`.
    pub(crate) async fn probe(&self, module: &str, target: &str, more: &str) -> Answer {
        self.get(&probe_path(module, target, more)).await
    }

    pub(crate) async fn metrics(&self) -> Page {
        Page::parse(self.get("/metrics").await.text())
    }

    /// Replaces the config and asks for a reload.
    pub(crate) async fn reload(&self, yaml: &str) -> Answer {
        fs::write(self.config_file(), yaml).unwrap();
        ask(self.address, "POST", "/-/reload", "").await
    }

    pub(crate) async fn until_ready(&self) {
        until("every series has a result", async || self.get("/-/ready").await.status == 200).await;
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        (&mut self.running).await.unwrap().unwrap();
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// The path of a probe; `more` is further parameters, each with its `&`.
pub(crate) fn probe_path(module: &str, target: &str, more: &str) -> String {
    format!("/probe?module={}&target={}{more}", encoded(module), encoded(target))
}
