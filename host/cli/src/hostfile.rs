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
        let draft = data.join(format!("host.json.{}", self.pid));
        write_private(&draft, &serde_json::to_vec(&self).expect("plain fields are always JSON"))
            .and_then(|()| std::fs::rename(&draft, &path))
            .map_err(|error| Fail::unreachable(format!("{} cannot be written: {error}", path.display())))?;
        Ok(Published { path, file: self })
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // Another host may have taken the folder over.
        let ours = self.path.parent().and_then(HostFile::read).is_some_and(|file| file == self.file);
        if ours {
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
        let published = file.clone().publish(dir.path()).expect("written");
        assert_eq!(HostFile::read(dir.path()), Some(file));
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
