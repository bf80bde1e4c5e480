//! Processes of `durhai serve`, and commands beside them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::proxy::{Network, Proxy};

/// How long a process may take to do what it must.
const PATIENCE: Duration = Duration::from_secs(120);

/// A host that serves, and the network between it and the database.
pub struct Host {
    folder: PathBuf,
    url: String,
    proxy: Proxy,
    /// How often it was started.
    starts: usize,
    lease: Duration,
    number: usize,
    process: Option<Child>,
}

impl Host {
    /// `server`: the port of the database.
    pub fn start(folder: &Path, number: usize, url: &str, server: u16, lease: Duration) -> Self {
        let proxy = Proxy::start(server);
        let url = proxy.url(url, server);
        let mut host = Host { folder: folder.to_owned(), url, proxy, starts: 0, lease, number, process: None };
        host.begin();
        host
    }

    /// As the machine does with one that takes too much.
    pub fn kill_and_start_again(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        self.begin();
    }

    /// As a machine does that sleeps.
    pub fn stop_for(&self, time: Duration) {
        self.signal("-STOP");
        std::thread::sleep(time);
        self.signal("-CONT");
    }

    /// What its effects say of whose they are: another name for each process.
    pub fn name(&self) -> String {
        format!("host{}.{}", self.number, self.starts)
    }

    pub fn network(&self, network: Network) {
        self.proxy.become_(network);
    }

    /// Started again, if it ended by itself while there was no server.
    pub fn is_up(&mut self) {
        if self.process.as_mut().is_none_or(|process| !matches!(process.try_wait(), Ok(None))) {
            self.begin();
        }
    }

    /// What it said, to its end.
    pub fn said(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let from = text.char_indices().rev().nth(4_000).map_or(0, |(at, _)| at);
        format!("host {}: …{}", self.number, &text[from..])
    }

    fn begin(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log");
        let journal = format!("--allow-write={}", self.folder.display());
        let lease = format!("{}ms", self.lease.as_millis());
        let data = format!("data{}", self.number);
        self.starts += 1;
        let args =
            ["serve", "--data", &data, "--listen", "127.0.0.1:0", "--store", &self.url, "--lease", &lease, &journal];
        let process = Command::new(env!("CARGO_BIN_EXE_durhai"))
            .args(args)
            .arg("--allow-env=CHAOS_HOST")
            .env("CHAOS_HOST", self.name())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn();
        self.process = Some(process.expect("it starts"));
    }

    fn signal(&self, signal: &str) {
        if let Some(process) = &self.process {
            let _ = Command::new("kill").args([signal, &process.id().to_string()]).status();
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("host{}.log", self.number))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.signal("-CONT");
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// What a command prints that works on the database. It is typed again while the server is away.
pub fn durhai(folder: &Path, url: &str, args: &[&str]) -> String {
    let began = Instant::now();
    loop {
        match attempt(folder, url, args) {
            Ok(printed) => return printed,
            Err(said) => assert!(began.elapsed() < PATIENCE, "durhai {args:?}: {said}"),
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The same, typed once.
pub fn attempt(folder: &Path, url: &str, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_durhai"));
    let done =
        command.args(["--data", "client", "--store", url]).args(args).current_dir(folder).output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    // A start whose answer was lost is there.
    let there = args[0] == "start" && said.contains("there is a run");
    if done.status.success() || there || (args[0] == "doctor" && done.status.code() == Some(1)) {
        return Ok(String::from_utf8(done.stdout).expect("text"));
    }
    Err(format!("{:?} {said}", done.status))
}
