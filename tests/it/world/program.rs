//! The program itself: run to its end for what it prints, or kept running on a port of its own.

use super::{Answer, Page, get, probe_path, until};
use std::{
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// How a run ended and what it printed.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_edgeprobe"))
}

/// Runs the program to its end.
pub(crate) async fn edgeprobe(arguments: &[&str]) -> Output {
    edgeprobe_with(&[], arguments).await
}

/// As [`edgeprobe`], with these variables in its environment.
pub(crate) async fn edgeprobe_with(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = command();
    command.args(arguments).envs(environment.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// `edgeprobe serve`, running. Dropping it kills it.
pub(crate) struct Program {
    pub(crate) address: SocketAddr,
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<thread::JoinHandle<()>>,
    dir: TempDir,
}

impl Program {
    /// Starts it with this config on a free port, its own debug log on.
    pub(crate) async fn start(yaml: &str, flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("edgeprobe.yml");
        fs::write(&file, yaml).unwrap();
        let mut child = command()
            .args(["--web.listen-address=127.0.0.1:0", "--log.level=debug", "--log.prober=debug", "--timeout-offset=0"])
            .arg("--config.file")
            .arg(&file)
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (told, address) = mpsc::channel();
        let written = Arc::clone(&log);
        let reader = thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let address = line.split_once(" address=").map(|(_, address)| address.to_owned());
                writeln!(written.lock().unwrap(), "{line}").unwrap();
                if let Some(address) = address.filter(|_| line.contains("msg=listening")) {
                    told.send(address).unwrap();
                }
            }
        });
        let reader = Some(reader);
        let waited = tokio::task::spawn_blocking(move || address.recv_timeout(Duration::from_secs(20)));
        let Ok(address) = waited.await.unwrap() else { panic!("it does not listen: {}", log.lock().unwrap()) };
        let mut program = Self { address: address.parse().unwrap(), child, log, reader, dir };
        until("the config is loaded", async || {
            let ended = program.child.try_wait().unwrap();
            assert_eq!(ended, None, "{}", program.log());
            program.log().contains("loaded the config")
        })
        .await;
        program
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.dir.path().join("edgeprobe.yml")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        get(self.address, path).await
    }

    /// The page of `GET /probe`.
    pub(crate) async fn probe(&self, module: &str, target: &str) -> Page {
        Page::parse(self.get(&probe_path(module, target, "")).await.text())
    }

    pub(crate) async fn metrics(&self) -> Page {
        Page::parse(self.get("/metrics").await.text())
    }

    /// Tells it to end; everything that it logged.
    pub(crate) async fn whole_log(mut self) -> String {
        self.signal("TERM");
        self.ended().await;
        // Nobody writes any more, so the thread comes to the end.
        self.reader.take().unwrap().join().unwrap();
        self.log()
    }

    /// What it logged so far, as far as it was read: the newest lines may still be on their way.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends it a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status();
        assert!(status.unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let mut status = None;
        until("the program ends", async || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        status.unwrap()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How many file descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).unwrap().count()
    }

    /// The most memory it ever held, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.memory_of("VmHWM:")
    }

    /// The memory it holds, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        self.memory_of("VmRSS:")
    }

    fn memory_of(&self, field: &str) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn proc(&self, what: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(what)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
