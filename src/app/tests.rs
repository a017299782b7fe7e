//! Certificate files that change under a running program.

use super::*;
use crate::lab::{
    Listener,
    ca::{Authority, Cert},
    http::{self, Reply},
    tls::{ClientCert, ServerTls, Tls},
};
use crate::model::ModuleName;
use ::http::StatusCode;
use std::{fs, path::Path};
use tempfile::TempDir;

const LIMITS: Limits = Limits { timeout: Duration::from_secs(20), budget: Duration::from_secs(20) };

/// A program whose module has its CA, certificate and key in files of one folder.
struct World {
    folder: TempDir,
    reloader: Reloader,
}

impl World {
    fn new(ca: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), ca);
        let path = |name: &str| folder.path().join(name).display().to_string();
        let text = format!(
            "modules:\n  m:\n    prober: http\n    http:\n      tls_config:\n        ca_file: {}\n        cert_file: {}\n        key_file: {}\n",
            path("ca.pem"),
            path("client.pem"),
            path("client.key"),
        );
        let source = Source::File(folder.path().join("edgeprobe.yml"));
        fs::write(folder.path().join("edgeprobe.yml"), text).unwrap();
        let options = EngineOptions { max_in_flight: 10, key_log: false };
        let loaded = load(&source, |plan| Engine::new(plan, options)).unwrap();
        let reloader = Reloader::new(source, loaded, Arc::new(Board::new(1)), |active, board| {
            State::new(active, board, mpsc::channel(1).0, Options::default())
        });
        Self { folder, reloader }
    }

    /// Two looks, as the clock would have them.
    async fn look(&mut self) {
        self.reloader.look_at_files().await;
        self.reloader.look_at_files().await;
    }

    async fn probe(&self, server: &Listener) -> String {
        let target = format!("https://server.localhost:{}/", server.address().port());
        let module = ModuleName::new("m");
        let job = Job::new(module, target);
        let report = self.reloader.engine.run(&job, LIMITS).await;
        report.failure.map_or("success".into(), |failure| failure.reason.to_string())
    }

    fn ok(&self) -> bool {
        self.reloader.state.last_reload_ok()
    }
}

fn write(folder: &Path, ca: &Authority) {
    let (cert, key) = ca.client_pem();
    for (name, text) in [("ca.pem", ca.root_pem()), ("client.pem", cert), ("client.key", key)] {
        fs::write(folder.join(name), text).unwrap();
    }
}

async fn server(ca: &Authority) -> Listener {
    let tls = Tls { client_cert: ClientCert::Required, ..Tls::new(Cert::Good) };
    let tls = ServerTls::new(ca, tls, &["server.localhost".to_owned()]);
    http::serve(Some(tls), |_| Reply::new(StatusCode::OK, "hello\n")).await.unwrap()
}

#[tokio::test]
async fn the_next_probe_uses_files_that_were_replaced() {
    let (old, new) = (Authority::new(), Authority::new());
    let (old_server, new_server) = (server(&old).await, server(&new).await);
    let mut world = World::new(&old);
    assert_eq!(world.probe(&old_server).await, "success");
    let before = Arc::clone(&world.reloader.engine);
    world.look().await;
    assert!(Arc::ptr_eq(&before, &world.reloader.engine), "nothing changed, nothing is rebuilt");

    write(world.folder.path(), &new);
    world.reloader.look_at_files().await;
    assert!(Arc::ptr_eq(&before, &world.reloader.engine), "one look is not enough: the files may still be written");
    world.reloader.look_at_files().await;
    assert_eq!(world.probe(&new_server).await, "success");
    assert_ne!(world.probe(&old_server).await, "success");
    assert_eq!(world.reloader.engine.totals()[0].1, 3, "the totals go on");
    assert!(world.ok());
}

#[tokio::test]
async fn a_half_written_file_keeps_those_before_until_it_is_whole() {
    let (old, new) = (Authority::new(), Authority::new());
    let old_server = server(&old).await;
    let mut world = World::new(&old);
    let ca_file = world.folder.path().join("ca.pem");
    for broken in ["", &new.root_pem()[..100]] {
        fs::write(&ca_file, broken).unwrap();
        world.look().await;
        assert_eq!(world.probe(&old_server).await, "success");
        assert!(!world.ok(), "it is told");
    }
    fs::remove_file(&ca_file).unwrap();
    world.look().await;
    assert_eq!(world.probe(&old_server).await, "success");

    fs::write(&ca_file, old.root_pem()).unwrap();
    world.look().await;
    assert!(world.ok(), "the old content is good again");
    write(world.folder.path(), &new);
    world.look().await;
    assert!(world.ok());
    assert_eq!(world.probe(&server(&new).await).await, "success");
}

#[tokio::test]
async fn a_certificate_without_its_new_key_changes_nothing_until_both_are_there() {
    let ca = Authority::new();
    let server = server(&ca).await;
    let mut world = World::new(&ca);
    let (cert, key) = ca.client_pem();
    fs::write(world.folder.path().join("client.pem"), cert).unwrap();
    world.look().await;
    assert!(!world.ok());
    assert_eq!(world.probe(&server).await, "success");
    fs::write(world.folder.path().join("client.key"), key).unwrap();
    world.look().await;
    assert!(world.ok());
    assert_eq!(world.probe(&server).await, "success");
}

#[tokio::test]
async fn good_files_do_not_hide_a_bad_config_and_an_unasked_edit_stays_out() {
    let (old, new) = (Authority::new(), Authority::new());
    let mut world = World::new(&old);
    let file = world.folder.path().join("edgeprobe.yml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, "modules: {m: {prober: nothing}}").unwrap();
    assert!(world.reloader.reload(true).is_err() && !world.ok());
    write(world.folder.path(), &new);
    world.look().await;
    assert_eq!(world.probe(&server(&new).await).await, "success");
    assert!(!world.ok(), "the config is still bad");
    fs::write(&file, text.replace("  m:\n", "  n:\n")).unwrap();
    write(world.folder.path(), &old);
    world.look().await;
    assert!(world.reloader.engine.module("m").is_some(), "the config is read only when that is asked for");
    assert!(world.reloader.reload(true).is_ok() && world.ok());
    assert!(world.reloader.engine.module("n").is_some());
}
