//! What steps may touch: nothing, unless it was granted.

mod addresses;
mod databases;
mod names;
mod net;
mod paths;
mod programs;
mod sealed;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use databases::SqlGrant;
pub use names::EnvGrant;
pub use net::{HostGrant, NetGrant};
pub use paths::PathGrant;
pub use programs::{ExecGrant, GrantedProgram};

pub(crate) use databases::is_name;
pub(crate) use programs::find;
pub(crate) use sealed::seal;

use paths::{existing_part, resolve};

/// What was granted to steps that come from scripts and to the built-in ones. Steps in Rust are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Files and folders that may be read (`--allow-read`).
    pub read: PathGrant,
    /// Files and folders that may be written, created and removed (`--allow-write`).
    pub write: PathGrant,
    /// Hosts that may be spoken to (`--allow-net`).
    pub net: NetGrant,
    /// Programs that may be run (`--allow-exec`).
    pub exec: ExecGrant,
    /// Variables of the environment that may be read (`--allow-env`).
    pub env: EnvGrant,
    /// Databases that may be used (`--allow-sql`).
    pub sql: SqlGrant,
    /// Files and folders that stay out of reach whatever was granted: absolute, without links; a bare name stands for
    /// every file of that name. What decides over permissions, and what holds secrets, must not be written or read by
    /// those they are meant for.
    pub sealed: Vec<PathBuf>,
    /// Files that may be read but not changed, written in the same way: what trusted steps run, and whom requests trust.
    pub guarded: Vec<PathBuf>,
}

/// Two of the things that can be done with a path need different grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// Why a path cannot be used.
#[derive(Debug)]
pub enum Refusal {
    /// It was not granted. Fatal: another attempt meets the same answer.
    Denied(String),
    Io(io::Error),
}

impl Permissions {
    /// Nothing is allowed.
    pub fn none() -> Self {
        Permissions::default()
    }

    /// Everything is allowed (`-A`).
    pub fn all() -> Self {
        Permissions {
            read: PathGrant::Everything,
            write: PathGrant::Everything,
            net: NetGrant::Everything,
            exec: ExecGrant::Everything,
            env: EnvGrant::Everything,
            sql: SqlGrant::Everything,
            sealed: Vec::new(),
            guarded: Vec::new(),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Permissions) -> Self {
        Permissions {
            read: self.read.and(other.read),
            write: self.write.and(other.write),
            net: self.net.and(other.net),
            exec: self.exec.and(other.exec),
            env: self.env.and(other.env),
            sql: self.sql.and(other.sql),
            sealed: self.sealed.into_iter().chain(other.sealed).collect(),
            guarded: self.guarded.into_iter().chain(other.guarded).collect(),
        }
    }

    /// Resolves `path` for this use: absolute, every link followed. What does not exist yet is resolved as far as it
    /// exists. Refused where the result was not granted, also when it does not exist, so that a script cannot find
    /// out what there is outside.
    pub fn resolve(&self, access: Access, path: &str) -> Result<PathBuf, Refusal> {
        match resolve(Path::new(path)) {
            Ok(resolved) => self.check(access, &resolved, path).map(|()| resolved),
            Err(error) => {
                self.check(access, &existing_part(Path::new(path)), path)?;
                Err(Refusal::Io(error))
            }
        }
    }

    /// The same for an entry of a folder itself: a link at the end of `path` is not followed.
    pub fn resolve_entry(&self, access: Access, path: &str) -> Result<PathBuf, Refusal> {
        let given = Path::new(path);
        let (Some(folder), Some(name)) = (given.parent(), given.file_name()) else {
            return self.resolve(access, path);
        };
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match resolve(folder) {
            Ok(folder) => {
                let resolved = folder.join(name);
                self.check(access, &resolved, path).map(|()| resolved)
            }
            Err(error) => {
                self.check(access, &existing_part(folder), path)?;
                Err(Refusal::Io(error))
            }
        }
    }

    fn check(&self, access: Access, resolved: &Path, path: &str) -> Result<(), Refusal> {
        let (grant, flag, doing) = match access {
            Access::Read => (&self.read, "--allow-read", "reading"),
            Access::Write => (&self.write, "--allow-write", "writing"),
        };
        if let Some(sealed) = self.sealed.iter().find(|sealed| sealed::covers(sealed, resolved)) {
            let sealed = sealed.display();
            return Err(Refusal::Denied(format!("{doing} {path} is not allowed: {sealed} is out of reach for steps")));
        }
        if access == Access::Write {
            let why = |what: &str, file: &Path| {
                Err(Refusal::Denied(format!("{doing} {path} is not allowed: {what} {}", file.display())))
            };
            if let Some(program) = self.exec.guards(resolved) {
                return why("steps may run", program);
            }
            if let Some(file) = self.guarded.iter().find(|file| sealed::covers(file, resolved)) {
                return why("the settings trust", file);
            }
        }
        if grant.covers(resolved) {
            return Ok(());
        }
        let place = resolved.display();
        let asked = if Path::new(path) == resolved { String::new() } else { format!(" (asked for as {path:?})") };
        Err(Refusal::Denied(format!("{doing} {place}{asked} is not allowed: grant it with {flag}={place}")))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Denied(message) => f.write_str(message),
            Refusal::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// `in/` is granted for both, `out/` is not; links lead from one to the other.
    fn playground() -> (tempfile::TempDir, PathBuf, Permissions) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for folder in ["in/sub", "in2", "out/sub"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        for file in ["in/a.txt", "in/sub/b.txt", "in2/c.txt", "out/secret.txt"] {
            fs::write(root.join(file), "text").unwrap();
        }
        for (link, target) in [
            ("in/file-out", "../out/secret.txt"),
            ("in/folder-out", "../out"),
            ("in/nowhere", "../out/new.txt"),
            ("in/inside", "sub/b.txt"),
            ("out/back", "../in"),
            ("granted", "in2"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        let grant = PathGrant::paths([root.join("in"), root.join("granted"), root.join("later/deep")]).unwrap();
        (folder, root, Permissions { read: grant.clone(), write: grant, ..Permissions::none() })
    }

    #[test]
    fn only_what_was_granted_resolves() {
        let (_folder, root, permissions) = playground();
        // Ok: where it leads. Err: a part of the message.
        let table = [
            ("in", Ok("in")),
            ("in/a.txt", Ok("in/a.txt")),
            ("in/./sub/../a.txt", Ok("in/a.txt")),
            ("in/new/deeper/file.txt", Ok("in/new/deeper/file.txt")),
            ("in/inside", Ok("in/sub/b.txt")),
            ("out/back/a.txt", Ok("in/a.txt")),
            ("granted/c.txt", Ok("in2/c.txt")),
            ("in2/c.txt", Ok("in2/c.txt")),
            ("later/deep/x", Ok("later/deep/x")),
            ("", Err("not allowed")),
            ("out", Err("not allowed")),
            ("out/secret.txt", Err("not allowed")),
            ("out/no-such-file", Err("not allowed")),
            ("in/../out/secret.txt", Err("not allowed")),
            ("in/sub/../../out/secret.txt", Err("not allowed")),
            ("in/..", Err("not allowed")),
            ("in/file-out", Err("not allowed")),
            ("in/folder-out/secret.txt", Err("not allowed")),
            ("in/folder-out/sub/new.txt", Err("not allowed")),
            ("in/folder-out/sub/../secret.txt", Err("not allowed")),
            ("in/nowhere", Err("points nowhere")),
            ("in/nowhere/x", Err("points nowhere")),
            ("in/a.txt/x", Err("directory")),
            ("out/secret.txt/x", Err("not allowed")),
            ("out/x/../secret.txt", Err("not allowed")),
            ("in/new/../../out/secret.txt", Err("leads nowhere")),
            ("IN/a.txt", Err("not allowed")),
            ("in-other/a.txt", Err("not allowed")),
            ("later", Err("not allowed")),
            ("../../../../../../../../etc/passwd", Err("not allowed")),
        ];
        for (path, wanted) in table {
            for access in [Access::Read, Access::Write] {
                let given = root.join(path);
                let found = permissions.resolve(access, given.to_str().unwrap());
                match (&found, wanted) {
                    (Ok(found), Ok(wanted)) => assert_eq!(*found, root.join(wanted), "{path}"),
                    (Err(error), Err(wanted)) => assert!(error.to_string().contains(wanted), "{path}: {error}"),
                    _ => panic!("{path}: {found:?}, wanted {wanted:?}"),
                }
            }
        }
    }

    #[test]
    fn a_refusal_names_the_flag() {
        let refused = |access| Permissions::none().resolve(access, "/etc/passwd").unwrap_err().to_string();
        assert_eq!(refused(Access::Read), "reading /etc/passwd is not allowed: grant it with --allow-read=/etc/passwd");
        assert_eq!(
            refused(Access::Write),
            "writing /etc/passwd is not allowed: grant it with --allow-write=/etc/passwd"
        );
    }

    #[test]
    fn one_grant_says_nothing_about_the_other() {
        let (_folder, root, permissions) = playground();
        let only_read = Permissions { read: permissions.read, write: PathGrant::Nothing, ..Permissions::none() };
        let path = root.join("in/a.txt");
        assert!(only_read.resolve(Access::Read, path.to_str().unwrap()).is_ok());
        assert!(only_read.resolve(Access::Write, path.to_str().unwrap()).is_err());
    }

    #[test]
    fn what_the_kernel_shows_must_be_named() {
        let everything = Permissions::all();
        let root = Permissions { read: PathGrant::paths(["/"]).unwrap(), ..Permissions::none() };
        let named = Permissions { read: PathGrant::paths(["/proc/version"]).unwrap(), ..Permissions::none() };
        for path in ["/proc/self/environ", "/proc/version", "/dev/null", "/sys/kernel", "/dev/../proc/version"] {
            for permissions in [&everything, &root] {
                assert!(matches!(permissions.resolve(Access::Read, path), Err(Refusal::Denied(_))), "{path}");
            }
        }
        assert!(named.resolve(Access::Read, "/proc/version").is_ok());
        assert!(named.resolve(Access::Read, "/proc/uptime").is_err());
    }

    #[test]
    fn what_is_sealed_stays_out_of_reach() {
        let (_folder, root, permissions) = playground();
        let sealed = vec![root.join("in/sub"), root.join("in/a.txt"), root.join("in/later.toml")];
        for granted in [permissions, Permissions::all()] {
            let permissions = Permissions { sealed: sealed.clone(), ..granted };
            for path in
                ["in/a.txt", "in/sub", "in/sub/b.txt", "in/sub/new", "in/inside", "out/back/a.txt", "in/later.toml"]
            {
                for access in [Access::Read, Access::Write] {
                    let found = permissions.resolve(access, root.join(path).to_str().unwrap());
                    assert!(
                        matches!(&found, Err(Refusal::Denied(why)) if why.contains("out of reach")),
                        "{path}: {found:?}"
                    );
                }
            }
            assert!(permissions.resolve(Access::Write, root.join("in/a.txt2").to_str().unwrap()).is_ok());
        }
    }

    #[test]
    fn flags() {
        assert_eq!(PathGrant::parse(None).unwrap(), PathGrant::Everything);
        let current = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(
            PathGrant::parse(Some("here,/")).unwrap(),
            PathGrant::Paths(vec![current.join("here"), PathBuf::from("/")])
        );
        assert_eq!(PathGrant::Nothing.and(PathGrant::Paths(vec![])), PathGrant::Paths(vec![]));
        assert_eq!(PathGrant::Everything.and(PathGrant::Paths(vec![])), PathGrant::Everything);
    }
}
