//! Where runs live, as `--store` says it.

use std::convert::Infallible;
use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::str::FromStr;

use crate::args::Globals;
use crate::exit::Fail;

/// One of the worlds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAddress {
    /// A store on this machine, in this folder.
    Sled(PathBuf),
    /// As long as the process lives.
    Memory,
    /// A PostgreSQL database, at this URL.
    Postgres(String),
    /// None that there is, and what begins it. The whole of it may have a password in it, so nobody must print it: that is why reading it
    /// does not fail at once.
    Unknown(String),
}

impl FromStr for StoreAddress {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':').unwrap_or((text, "")) {
            ("sled", path) if !path.is_empty() => StoreAddress::Sled(path.into()),
            ("memory", "") => StoreAddress::Memory,
            ("postgres" | "postgresql", rest) if rest.starts_with("//") => StoreAddress::Postgres(text.into()),
            (scheme, _) => StoreAddress::Unknown(scheme.into()),
        })
    }
}

impl StoreAddress {
    /// That there is such a store.
    pub fn known(&self) -> Result<(), Fail> {
        match self {
            StoreAddress::Unknown(scheme) => Err(Fail::usage(format!(
                "found a store that begins with {scheme:?}, expected sled:PATH, memory: or postgres://USER@HOST:PORT/DATABASE"
            ))),
            _ => Ok(()),
        }
    }
}

impl Display for StoreAddress {
    /// For people and for commands that they copy: no password.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            StoreAddress::Sled(path) => write!(f, "sled:{}", path.display()),
            StoreAddress::Memory => f.write_str("memory:"),
            StoreAddress::Unknown(scheme) => write!(f, "{scheme}:…"),
            StoreAddress::Postgres(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("postgres", ""));
                let (login, place) = rest.rsplit_once('@').map_or((None, rest), |(login, place)| (Some(login), place));
                match login.and_then(|login| login.split(':').next()) {
                    Some(user) => write!(f, "{scheme}://{user}@{place}"),
                    None => write!(f, "{scheme}://{place}"),
                }
            }
        }
    }
}

impl Globals {
    /// The folder of the store on this machine, for all that is about its files.
    pub fn store_path(&self) -> PathBuf {
        match &self.store {
            Some(StoreAddress::Sled(path)) => path.clone(),
            _ => self.data.join("store"),
        }
    }

    /// The URL of a database that hosts share.
    pub fn database(&self) -> Option<&str> {
        match &self.store {
            Some(StoreAddress::Postgres(url)) => Some(url),
            _ => None,
        }
    }

    /// That the store is one that this command can use.
    pub fn check_store(&self, serves: bool) -> Result<(), Fail> {
        match &self.store {
            Some(StoreAddress::Memory) if !serves => Err(Fail::usage(
                "memory: lives and ends with a host: expected sled:PATH or postgres://…, or `durhai serve --store memory:`",
            )),
            Some(store) => store.known(),
            None => Ok(()),
        }
    }

    /// What a command works on.
    pub fn shown_store(&self) -> String {
        match &self.store {
            Some(store) => store.to_string(),
            None => self.store_path().display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_read_and_shown_without_a_password() {
        for (text, shown) in [
            ("sled:a/b", "sled:a/b"),
            ("memory:", "memory:"),
            ("postgres://me:se@cret@db:5432/x?schema=y", "postgres://me@db:5432/x?schema=y"),
            ("postgresql://db/x", "postgresql://db/x"),
        ] {
            assert_eq!(text.parse::<StoreAddress>().unwrap().to_string(), shown);
        }
        for text in ["sled:", "memory:x", "mysql://me:secret@db/x", "postgres:db", "", "x"] {
            let error = text.parse::<StoreAddress>().unwrap().known().unwrap_err().message;
            assert!(error.contains("expected") && !error.contains("secret"), "{text}: {error}");
        }
    }
}
