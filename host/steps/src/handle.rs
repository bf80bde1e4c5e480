//! Folders by handle: a path that was resolved and checked is walked name by name, and no link is followed on the way, so
//! that no program can put one in between the look and the use.

use std::fs::File;
use std::io;
use std::path::Path;

pub use platform::Folder;

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    Read,
    /// It must be there.
    Append,
    /// It must not be there. Append to it.
    New,
}

/// What stands in a folder.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// `file`, `folder`, `link` or `other`.
    pub kind: &'static str,
    /// In bytes.
    pub size: u64,
    /// Unix milliseconds; 0 where the file system does not say.
    pub modified: u64,
}

/// Opens a file of a resolved path. Anything but a plain file is an error: a pipe or a device could keep its reader waiting.
pub fn open(resolved: &Path, how: Open) -> io::Result<File> {
    let (Some(folder), Some(name)) = (resolved.parent(), resolved.file_name()) else {
        return Err(io::ErrorKind::IsADirectory.into());
    };
    Folder::open(folder)?.file(Path::new(name), how)
}

fn plain(file: File) -> io::Result<File> {
    match file.metadata()?.file_type() {
        kind if kind.is_file() => Ok(file),
        kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file, but a device, pipe or socket")),
    }
}

#[cfg(unix)]
mod platform {
    use std::fs::File;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::{Component, Path};

    use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};

    use super::{Found, Open, plain};

    /// An open folder.
    #[derive(Debug)]
    pub struct Folder(OwnedFd);

    const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

    /// A folder on the way need not be readable.
    #[cfg(target_os = "linux")]
    const ON_THE_WAY: OFlags = FOLDER.union(OFlags::PATH);
    #[cfg(not(target_os = "linux"))]
    const ON_THE_WAY: OFlags = FOLDER;

    impl Folder {
        /// `resolved` is absolute and has no links in it: one that is there now came later, and is an error.
        pub fn open(resolved: &Path) -> io::Result<Folder> {
            walk(resolved, false)
        }

        /// The same; what is missing is created.
        pub fn create(resolved: &Path) -> io::Result<Folder> {
            walk(resolved, true)
        }

        pub fn file(&self, name: &Path, how: Open) -> io::Result<File> {
            let how = match how {
                Open::Read => OFlags::RDONLY,
                Open::Append => OFlags::WRONLY | OFlags::APPEND,
                Open::New => OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::EXCL,
            };
            // Without waiting: the other end of a pipe may never come.
            let flags = how | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(&self.0, name, flags, Mode::from_raw_mode(0o666)).map_err(linked)?;
            plain(File::from(opened))
        }

        /// Of a link itself, never of what it points to.
        pub fn look(&self, name: &Path) -> io::Result<Found> {
            let stat = rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
            Ok(found(&stat))
        }

        /// Every name with what stands there, in no order.
        pub fn entries(&self) -> io::Result<Vec<(String, Found)>> {
            let mut entries = Vec::new();
            for entry in Dir::read_from(&self.0)? {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_bytes() == b"." || name.to_bytes() == b".." {
                    continue;
                }
                match rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => entries.push((name.to_string_lossy().into_owned(), found(&stat))),
                    // It went meanwhile.
                    Err(rustix::io::Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(entries)
        }

        pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            Ok(rustix::fs::renameat(&self.0, from, &self.0, to)?)
        }

        pub fn remove_file(&self, name: &Path) -> io::Result<()> {
            Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::empty())?)
        }

        pub fn remove_folder(&self, name: &Path) -> io::Result<()> {
            Ok(rustix::fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
        }

        /// The names in it are on disk when this is done.
        pub fn sync(&self) -> io::Result<()> {
            Ok(rustix::fs::fsync(&self.0)?)
        }
    }

    fn walk(resolved: &Path, create: bool) -> io::Result<Folder> {
        let mut at = rustix::fs::openat(CWD, "/", ON_THE_WAY, Mode::empty())?;
        for part in resolved.components() {
            let name = match part {
                Component::RootDir => continue,
                Component::Normal(name) => name,
                _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not resolved")),
            };
            let next = match rustix::fs::openat(&at, name, ON_THE_WAY, Mode::empty()) {
                Err(rustix::io::Errno::NOENT) if create => {
                    match rustix::fs::mkdirat(&at, name, Mode::from_raw_mode(0o777)) {
                        // Another program made it at the same time.
                        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                        Err(error) => return Err(error.into()),
                    }
                    rustix::fs::fsync(rustix::fs::openat(&at, ".", FOLDER, Mode::empty())?)?;
                    rustix::fs::openat(&at, name, ON_THE_WAY, Mode::empty())
                }
                opened => opened,
            };
            at = next.map_err(linked)?;
        }
        match rustix::fs::openat(&at, ".", FOLDER, Mode::empty()) {
            Ok(folder) => Ok(Folder(folder)),
            // Its names cannot be listed; a file in it can be used by a program that knows its name.
            Err(rustix::io::Errno::ACCESS) => Ok(Folder(at)),
            Err(error) => Err(error.into()),
        }
    }

    fn linked(error: rustix::io::Errno) -> io::Error {
        match error {
            rustix::io::Errno::LOOP => io::Error::other("a part of the path was replaced by a link meanwhile"),
            // What opening a socket says, and a pipe for writing without a reader.
            rustix::io::Errno::NXIO => io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file"),
            error => error.into(),
        }
    }

    // The fields have other types on other systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    fn found(stat: &Stat) -> Found {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => "file",
            FileType::Directory => "folder",
            FileType::Symlink => "link",
            _ => "other",
        };
        let modified = (stat.st_mtime as i64).max(0) as u64 * 1_000 + stat.st_mtime_nsec as u64 / 1_000_000;
        Found { kind, size: stat.st_size as u64, modified }
    }
}

/// Elsewhere by path: a program that can put links there at the right moment can lead a step astray.
#[cfg(not(unix))]
mod platform {
    use std::fs::{self, File, Metadata, OpenOptions};
    use std::io;
    use std::path::{Path, PathBuf};
    use std::time::UNIX_EPOCH;

    use super::{Found, Open, plain};

    #[derive(Debug)]
    pub struct Folder(PathBuf);

    impl Folder {
        pub fn open(resolved: &Path) -> io::Result<Folder> {
            match fs::metadata(resolved)?.is_dir() {
                true => Ok(Folder(resolved.to_path_buf())),
                false => Err(io::ErrorKind::NotADirectory.into()),
            }
        }

        pub fn create(resolved: &Path) -> io::Result<Folder> {
            fs::create_dir_all(resolved)?;
            Folder::open(resolved)
        }

        pub fn file(&self, name: &Path, how: Open) -> io::Result<File> {
            let mut options = OpenOptions::new();
            match how {
                Open::Read => options.read(true),
                Open::Append => options.append(true),
                Open::New => options.append(true).create_new(true),
            };
            plain(options.open(self.0.join(name))?)
        }

        pub fn look(&self, name: &Path) -> io::Result<Found> {
            Ok(found(&self.0.join(name).symlink_metadata()?))
        }

        pub fn entries(&self) -> io::Result<Vec<(String, Found)>> {
            let entry = |entry: io::Result<fs::DirEntry>| {
                let entry = entry?;
                Ok((entry.file_name().to_string_lossy().into_owned(), found(&entry.metadata()?)))
            };
            fs::read_dir(&self.0)?.map(entry).collect()
        }

        pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            fs::rename(self.0.join(from), self.0.join(to))
        }

        pub fn remove_file(&self, name: &Path) -> io::Result<()> {
            fs::remove_file(self.0.join(name))
        }

        pub fn remove_folder(&self, name: &Path) -> io::Result<()> {
            fs::remove_dir(self.0.join(name))
        }

        pub fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn found(metadata: &Metadata) -> Found {
        let kind = match metadata.file_type() {
            kind if kind.is_file() => "file",
            kind if kind.is_dir() => "folder",
            kind if kind.is_symlink() => "link",
            _ => "other",
        };
        let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Found { kind, size: metadata.len(), modified: modified.map_or(0, |since| since.as_millis() as u64) }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode};
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    #[test]
    fn no_link_is_followed_however_late_it_came() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("in/sub")).unwrap();
        fs::create_dir_all(root.join("out/sub")).unwrap();
        fs::write(root.join("out/sub/secret"), "secret").unwrap();
        fs::write(root.join("in/sub/file"), "text").unwrap();
        assert!(open(&root.join("in/sub/file"), Open::Read).is_ok());

        // In the place of the file, then in that of its folder.
        fs::remove_file(root.join("in/sub/file")).unwrap();
        symlink(root.join("out/sub/secret"), root.join("in/sub/file")).unwrap();
        for how in [Open::Read, Open::Append, Open::New] {
            assert!(open(&root.join("in/sub/file"), how).is_err(), "{how:?}");
        }
        fs::remove_dir_all(root.join("in/sub")).unwrap();
        symlink(root.join("out/sub"), root.join("in/sub")).unwrap();
        for how in [Open::Read, Open::Append, Open::New] {
            assert!(open(&root.join("in/sub/secret"), how).is_err(), "{how:?}");
            assert!(open(&root.join("in/sub/new"), how).is_err(), "{how:?}");
        }
        assert!(Folder::open(&root.join("in/sub")).is_err());
        assert!(Folder::create(&root.join("in/sub/deeper")).is_err());
        assert_eq!(fs::read_dir(root.join("out/sub")).unwrap().count(), 1);

        // A folder that was opened is the folder that was opened.
        fs::remove_file(root.join("in/sub")).unwrap();
        let opened = Folder::create(&root.join("in/sub")).unwrap();
        fs::rename(root.join("in/sub"), root.join("in/moved")).unwrap();
        symlink(root.join("out/sub"), root.join("in/sub")).unwrap();
        opened.file(Path::new("mine"), Open::New).unwrap();
        assert!(opened.remove_file(Path::new("secret")).is_err());
        assert!(root.join("in/moved/mine").exists() && root.join("out/sub/secret").exists());
    }

    #[test]
    fn what_could_keep_a_reader_waiting_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let _socket = UnixListener::bind(root.join("socket")).unwrap();
        for name in ["pipe", "socket"] {
            for how in [Open::Read, Open::Append] {
                let error = open(&root.join(name), how).unwrap_err();
                assert!(error.to_string().contains("no plain file"), "{name} {how:?}: {error}");
            }
            assert_eq!(Folder::open(&root).unwrap().look(Path::new(name)).unwrap().kind, "other");
        }
        assert_eq!(open(Path::new("/"), Open::Read).unwrap_err().kind(), io::ErrorKind::IsADirectory);
        assert_eq!(open(&root, Open::Read).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }
}
