//! `host.json` in the data folder: who serves it, and where.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::Fail;

/// What the file says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostFile {
    pub pid: u32,
    /// Where this machine reaches it.
    pub address: SocketAddr,
    /// What its `/healthz` answers: another server may have got the port since.
    pub instance: String,
    /// Where its token is, if it wants one that lies in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// A `durhai run`: it answers, but runs nothing beside its own run.
    #[serde(default)]
    pub passing: bool,
    /// It ends, and answers no more; the store is free as soon as its steps have ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stopping: bool,
    /// The token that `durhai run` made for itself; the file can be read by its owner only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

/// The file while it is there; removed when this is dropped.
#[derive(Debug)]
pub struct Published {
    path: PathBuf,
    file: HostFile,
}

impl HostFile {
    /// For a server that listens on `listen`.
    pub fn new(listen: SocketAddr) -> Result<Self, Fail> {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let address = SocketAddr::new(ip, listen.port());
        Ok(HostFile {
            pid: std::process::id(),
            address,
            instance: random()?,
            passing: false,
            stopping: false,
            token_file: None,
            token: None,
        })
    }

    /// What the data folder says, if it says something.
    pub fn read(data: &Path) -> Option<HostFile> {
        serde_json::from_slice(&std::fs::read(data.join("host.json")).ok()?).ok()
    }

    /// Writes it, in place of one that a killed host left.
    pub fn publish(self, data: &Path) -> Result<Published, Fail> {
        let path = data.join("host.json");
        // Of a host whose store is elsewhere, it is all that is in this folder.
        let made = std::fs::create_dir_all(data);
        made.and_then(|()| self.write(&path))
            .map_err(|error| Fail::unreachable(format!("{} cannot be written: {error}", path.display())))?;
        Ok(Published { path, file: self })
    }

    fn write(&self, path: &Path) -> std::io::Result<()> {
        let draft = path.with_file_name(format!("host.json.{}", self.pid));
        write_private(&draft, &serde_json::to_vec(self).expect("plain fields are always JSON"))?;
        std::fs::rename(&draft, path)
    }

    /// The process is there, as far as one can tell: a killed one leaves its file behind.
    pub fn is_alive(&self) -> bool {
        let processes = Path::new("/proc");
        !processes.join("self").exists() || processes.join(self.pid.to_string()).exists()
    }
}

impl Published {
    /// From now on it answers no more; a command that wants the store waits for its end.
    pub fn stopping(&mut self) {
        if self.is_ours() {
            let file = HostFile { stopping: true, ..self.file.clone() };
            // Without it others wait shorter.
            if file.write(&self.path).is_ok() {
                self.file = file;
            }
        }
    }

    /// Another host may have taken the folder over.
    fn is_ours(&self) -> bool {
        self.path.parent().and_then(HostFile::read).is_some_and(|file| file == self.file)
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        if self.is_ours() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// 128 random bits in hexadecimal.
pub fn random() -> Result<String, Fail> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Fail::unreachable(format!("the machine gives no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_there_while_the_host_is() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(HostFile::read(dir.path()), None);
        let file = HostFile::new("0.0.0.0:77".parse().expect("an address")).expect("random");
        assert_eq!(file.address.to_string(), "127.0.0.1:77");
        let mut published = file.clone().publish(dir.path()).expect("written");
        assert!(file.is_alive());
        assert_eq!(HostFile::read(dir.path()), Some(file));
        published.stopping();
        assert!(HostFile::read(dir.path()).is_some_and(|file| file.stopping));
        drop(published);
        assert_eq!(HostFile::read(dir.path()), None);
        assert_eq!(dir.path().read_dir().expect("a folder").count(), 0);
    }

    #[test]
    fn the_file_of_a_successor_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let make = || HostFile::new("127.0.0.1:77".parse().expect("an address")).expect("random");
        let first = make().publish(dir.path()).expect("written");
        let second = make().publish(dir.path()).expect("written");
        drop(first);
        assert!(HostFile::read(dir.path()).is_some());
        drop(second);
        assert!(HostFile::read(dir.path()).is_none());
    }
}
