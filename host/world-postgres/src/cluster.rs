//! A PostgreSQL server of one's own, in a temporary folder: for tests, and for a bench where no server is given.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with this value, and its data with it.
pub struct Cluster {
    dir: tempfile::TempDir,
    bin: PathBuf,
    port: u16,
    settings: Vec<String>,
    /// PostgreSQL refuses to run as root: then as this user.
    user: Option<(u32, u32)>,
    server: Option<Child>,
}

impl Cluster {
    /// Starts one with its stock settings and these (`name=value`). `None` where PostgreSQL is not installed.
    pub fn start(settings: &[&str]) -> io::Result<Option<Self>> {
        let Some(bin) = bin() else { return Ok(None) };
        let dir = tempfile::Builder::new().prefix("durhai-postgres").tempdir()?;
        let user = belongs_to_root(dir.path())?.then(unprivileged).flatten();
        if let Some((user, group)) = user {
            chown(dir.path(), Some(user), Some(group))?;
        }
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let settings = settings.iter().map(ToString::to_string).collect();
        let mut cluster = Cluster { dir, bin, port, settings, user, server: None };
        let data = cluster.data();
        let made = cluster
            .command("initdb")
            .args(["--auth=trust", "--username=durhai", "--encoding=UTF8", "--no-sync", "--locale=C", "-D"])
            .arg(&data)
            .output()?;
        if !made.status.success() {
            return Err(io::Error::other(format!("initdb: {}", String::from_utf8_lossy(&made.stderr))));
        }
        cluster.begin()?;
        Ok(Some(cluster))
    }

    /// The address of a database of it, over TCP.
    pub fn url(&self, schema: &str) -> String {
        format!("postgres://durhai@127.0.0.1:{}/postgres?schema={schema}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Where programs of the server are.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Lets this user in with a password only, from now on. All others need none.
    pub fn ask_for_passwords(&self, user: &str) -> io::Result<()> {
        let rules = self.data().join("pg_hba.conf");
        let others = fs::read_to_string(&rules)?;
        fs::write(&rules, format!("host all {user} 127.0.0.1/32 scram-sha-256\n{others}"))?;
        let data = self.data();
        let status = self.command("pg_ctl").arg("reload").arg("-D").arg(data).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("pg_ctl reload: {status}"))) }
    }

    /// A folder for what belongs to the server.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts the server, which was killed or stopped.
    pub fn begin(&mut self) -> io::Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.dir.path().join("log"))?;
        let data = self.data();
        // What a server that was killed has left.
        let _ = fs::remove_file(data.join("postmaster.pid"));
        let mut command = self.command("postgres");
        command.arg("-D").arg(&data).arg("-k").arg(self.dir.path());
        command.arg("-p").arg(self.port.to_string()).args(["-c", "listen_addresses=127.0.0.1"]);
        for setting in &self.settings {
            command.arg("-c").arg(setting);
        }
        self.server = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        let began = Instant::now();
        loop {
            let ready =
                self.command("pg_isready").args(["-q", "-h", "127.0.0.1", "-p"]).arg(self.port.to_string()).status()?;
            if ready.success() {
                return Ok(());
            }
            if began.elapsed() > PATIENCE
                || self.server.as_mut().is_none_or(|server| !matches!(server.try_wait(), Ok(None)))
            {
                let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                return Err(io::Error::other(format!("the server did not start:\n{log}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server as a power cut does, without a last word.
    pub fn kill(&mut self) -> io::Result<()> {
        self.stop("immediate")
    }

    /// Ends it in order; connections are cut.
    pub fn stop(&mut self, mode: &str) -> io::Result<()> {
        let data = self.data();
        let status =
            self.command("pg_ctl").args(["stop", "-w", "-m", mode, "-D"]).arg(data).stdout(Stdio::null()).status()?;
        if let Some(mut server) = self.server.take() {
            server.wait()?;
        }
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("pg_ctl stop: {status}"))) }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A program of the server, or another one by its path, as the user whose server it is.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C");
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.server.is_some() {
            let _ = self.stop("immediate");
        }
    }
}

/// Where the programs of the newest version are.
fn bin() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        let version = entry.file_name().to_str().and_then(|name| name.parse().ok()).unwrap_or(0);
        found.push((version, entry.path().join("bin")));
    }
    for dir in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        found.push((0, dir));
    }
    found.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    found.into_iter().map(|(_, dir)| dir).find(|dir| dir.join("initdb").exists() && dir.join("postgres").exists())
}

/// What this process makes belongs to root.
fn belongs_to_root(dir: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    Ok(fs::metadata(dir)?.uid() == 0)
}

/// A user without rights.
fn unprivileged() -> Option<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    of("postgres").or_else(|| of("nobody"))
}
