//! What can be done with files, for scripts and for built-in steps alike.

use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use durhai::StepError;
use serde::Serialize;

use crate::handle::{self, Folder, Found, Open};
use crate::permissions::{Access, Permissions, Refusal};

/// A longer file is not read: no payload may be longer either.
pub const MAX_READ: u64 = 2 * 1024 * 1024;

/// An entry of a folder.
#[derive(Debug, PartialEq, Serialize)]
pub struct Entry {
    pub name: String,
    /// `file`, `folder`, `link` or `other`.
    pub kind: &'static str,
    /// In bytes.
    pub size: u64,
    /// Unix milliseconds; 0 where the file system does not say.
    pub modified: u64,
}

/// Who writes: decides the name of the temporary file, so that the next attempt finds what a killed one left.
#[derive(Debug, Clone, Copy)]
pub struct Writer<'a> {
    /// The idempotency key of the step.
    pub key: &'a str,
    pub attempt: u32,
}

/// The whole file as text; it must be UTF-8 and at most [`MAX_READ`] bytes long.
pub fn read(permissions: &Permissions, path: &str) -> Result<String, StepError> {
    explain("read", path, || {
        let resolved = permissions.resolve(Access::Read, path)?;
        let file = handle::open(&resolved, Open::Read)?;
        Ok(whole_text(file, MAX_READ)?)
    })
}

/// All that a file holds, as text. One that is too long is cut anywhere, so its length is looked at first.
pub fn whole_text(file: impl Read, most: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("it is longer than {most} bytes, and more is not read");
        return Err(io::Error::new(ErrorKind::FileTooLarge, message));
    }
    String::from_utf8(bytes).map_err(|error| {
        let message = format!("it is no UTF-8 text (byte {})", error.utf8_error().valid_up_to());
        io::Error::new(ErrorKind::InvalidData, message)
    })
}

/// Replaces the file by one with this text, or creates it with the folders it needs: readers see the old text or the
/// new one, and after a power cut too. Gives the number of bytes.
pub fn write(permissions: &Permissions, path: &str, text: &str, writer: Writer<'_>) -> Result<u64, StepError> {
    explain("write", path, || {
        let resolved = permissions.resolve(Access::Write, path)?;
        let (folder, name) = split(&resolved)?;
        let folder = Folder::create(folder)?;
        // A file that is replaced keeps its permissions.
        let mode = match folder.look(name) {
            Ok(found) if found.kind == "folder" => return Err(io::Error::from(ErrorKind::IsADirectory).into()),
            Ok(found) if found.kind == "file" => Some(folder.file(name, Open::Read)?.metadata()?.permissions()),
            Ok(_) => return Err(io::Error::new(ErrorKind::InvalidInput, "it is no plain file").into()),
            Err(_) => None,
        };
        if writer.attempt > 1 {
            // Left by an attempt that was killed, or about to be renamed by one that the host does not wait for any more.
            let _ = folder.remove_file(&temporary(name, writer.key, writer.attempt - 1));
        }
        let temporary = temporary(name, writer.key, writer.attempt);
        let _ = folder.remove_file(&temporary);
        let mut file = folder.file(&temporary, Open::New)?;
        let written = file
            .write_all(text.as_bytes())
            .and_then(|()| mode.map_or(Ok(()), |mode| file.set_permissions(mode)))
            .and_then(|()| file.sync_all())
            .and_then(|()| folder.rename(&temporary, name));
        if written.is_err() {
            let _ = folder.remove_file(&temporary);
        }
        written?;
        folder.sync()?;
        Ok(text.len() as u64)
    })
}

/// Adds text to the end, in one write: lines of concurrent writers do not mix. Creates the file with the folders it
/// needs. Gives the number of bytes added.
pub fn append(permissions: &Permissions, path: &str, text: &str) -> Result<u64, StepError> {
    explain("append to", path, || {
        let resolved = permissions.resolve(Access::Write, path)?;
        let (folder, name) = split(&resolved)?;
        let folder = Folder::create(folder)?;
        let opened = match folder.file(name, Open::Append) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let created = folder.file(name, Open::New);
                folder.sync()?;
                match created {
                    // Another attempt created it at the same time.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => folder.file(name, Open::Append),
                    created => created,
                }
            }
            opened => opened,
        };
        let mut file = opened?;
        let written = file.write(text.as_bytes())?;
        if written < text.len() {
            let message = format!("only {written} of {} bytes could be written: is the disk full?", text.len());
            return Err(io::Error::new(ErrorKind::WriteZero, message).into());
        }
        file.sync_data()?;
        Ok(text.len() as u64)
    })
}

/// The entries of a folder, by name.
pub fn list(permissions: &Permissions, path: &str) -> Result<Vec<Entry>, StepError> {
    explain("list", path, || {
        let resolved = permissions.resolve(Access::Read, path)?;
        let entries = Folder::open(&resolved)?.entries()?.into_iter();
        let mut entries: Vec<_> =
            entries.map(|(name, Found { kind, size, modified })| Entry { name, kind, size, modified }).collect();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    })
}

/// Whether there is a file, a folder or anything else of this name.
pub fn exists(permissions: &Permissions, path: &str) -> Result<bool, StepError> {
    explain("look for", path, || {
        let look = || -> Result<(), Refusal> {
            let resolved = permissions.resolve(Access::Read, path)?;
            match split(&resolved) {
                Ok((folder, name)) => Ok(Folder::open(folder)?.look(name).map(drop)?),
                // The root of all.
                Err(_) => Ok(()),
            }
        };
        match look() {
            Ok(()) => Ok(true),
            Err(Refusal::Io(error)) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(false)
            }
            Err(refusal) => Err(refusal),
        }
    })
}

/// Removes a file, an empty folder, or a link (not what it points to). Gives whether it was there: an attempt that is repeated
/// finds it gone already.
pub fn remove(permissions: &Permissions, path: &str) -> Result<bool, StepError> {
    explain("remove", path, || {
        let resolved = permissions.resolve_entry(Access::Write, path)?;
        let (folder, name) = split(&resolved)?;
        let removed = Folder::open(folder).and_then(|folder| match folder.look(name)?.kind {
            "folder" => folder.remove_folder(name),
            _ => folder.remove_file(name),
        });
        match removed {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    })
}

/// The folder that a file is in, and its name there.
fn split(resolved: &Path) -> io::Result<(&Path, &Path)> {
    match (resolved.parent(), resolved.file_name()) {
        (Some(folder), Some(name)) => Ok((folder, Path::new(name))),
        _ => Err(ErrorKind::IsADirectory.into()),
    }
}

fn temporary(name: &Path, key: &str, attempt: u32) -> PathBuf {
    // Any mixing will do: two steps that write the same file at the same time must not share a name.
    let mixed = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |mixed, byte| (mixed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // File names end at 255 bytes almost everywhere.
    let name: String = name.to_string_lossy().chars().take(40).collect();
    PathBuf::from(format!(".{name}.{mixed:016x}-{attempt}.tmp"))
}

/// Says what failed, and whether another attempt can help.
fn explain<T>(doing: &str, path: &str, work: impl FnOnce() -> Result<T, Refusal>) -> Result<T, StepError> {
    work().map_err(|refusal| match refusal {
        Refusal::Denied(message) => StepError::fatal(message),
        Refusal::Io(error) => {
            let message = format!("cannot {doing} {path}: {error}");
            match error.kind() {
                ErrorKind::NotFound
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::DirectoryNotEmpty
                | ErrorKind::PermissionDenied
                | ErrorKind::InvalidData
                | ErrorKind::InvalidInput
                | ErrorKind::InvalidFilename
                | ErrorKind::FileTooLarge
                | ErrorKind::ReadOnlyFilesystem => StepError::fatal(message),
                _ => StepError::retry(message),
            }
        }
    })
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Refusal::Io(error)
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::permissions::PathGrant;
    use std::fs;
    use std::os::unix::fs::symlink;

    const WRITER: Writer<'static> = Writer { key: "run-1/1", attempt: 1 };

    fn playground() -> (tempfile::TempDir, PathBuf, Permissions) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("in")).unwrap();
        fs::create_dir_all(root.join("out")).unwrap();
        let grant = PathGrant::paths([root.join("in")]).unwrap();
        (folder, root, Permissions { read: grant.clone(), write: grant, ..Permissions::none() })
    }

    fn text(root: &Path, path: &str) -> String {
        root.join(path).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_file_lives_and_dies() {
        let (_folder, root, allowed) = playground();
        let path = text(&root, "in/new/folder/a.txt");
        assert!(!exists(&allowed, &path).unwrap());
        assert_eq!(write(&allowed, &path, "one\n", WRITER).unwrap(), 4);
        assert_eq!(append(&allowed, &path, "two\n").unwrap(), 4);
        assert_eq!(read(&allowed, &path).unwrap(), "one\ntwo\n");
        assert_eq!(write(&allowed, &path, "three", WRITER).unwrap(), 5);
        assert_eq!(append(&allowed, &text(&root, "in/new/b.txt"), "b").unwrap(), 1);
        let names = |path| -> Vec<_> {
            list(&allowed, &text(&root, path)).unwrap().into_iter().map(|e| (e.name, e.kind, e.size)).collect()
        };
        assert_eq!(names("in/new/folder"), [("a.txt".into(), "file", 5)]);
        assert_eq!(names("in/new").iter().map(|e| e.1).collect::<Vec<_>>(), ["file", "folder"]);
        assert!(exists(&allowed, &path).unwrap());
        assert!(remove(&allowed, &path).unwrap());
        assert!(!remove(&allowed, &path).unwrap());
        assert!(remove(&allowed, &text(&root, "in/new/folder")).unwrap());
    }

    #[test]
    fn what_a_killed_attempt_left_is_cleared_by_the_next() {
        let (_folder, root, allowed) = playground();
        let path = text(&root, "in/a.txt");
        fs::write(root.join("in").join(temporary(Path::new("a.txt"), WRITER.key, 1)), "half").unwrap();
        write(&allowed, &path, "whole", Writer { attempt: 2, ..WRITER }).unwrap();
        let names: Vec<_> = list(&allowed, &text(&root, "in")).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["a.txt"]);
    }

    #[test]
    fn nothing_outside_is_touched() {
        let (_folder, root, allowed) = playground();
        fs::write(root.join("out/secret"), "secret").unwrap();
        symlink("../out/secret", root.join("in/link")).unwrap();
        symlink("../out/new", root.join("in/dangling")).unwrap();
        symlink("../out", root.join("in/folder")).unwrap();
        for path in ["out/secret", "in/link", "in/dangling", "in/folder/secret", "in/folder/new/x", "in/../out/new"] {
            let path = text(&root, path);
            let errors = [
                read(&allowed, &path).unwrap_err(),
                write(&allowed, &path, "mine", WRITER).unwrap_err(),
                append(&allowed, &path, "mine").unwrap_err(),
                list(&allowed, &path).unwrap_err(),
            ];
            for error in errors {
                assert!(error.is_fatal(), "{path}: {error}");
            }
        }
        for path in ["out/secret", "in/folder/secret", "in/../out/secret", "out"] {
            assert!(remove(&allowed, &text(&root, path)).unwrap_err().is_fatal(), "{path}");
        }
        // A link inside is inside, wherever it points to.
        assert!(remove(&allowed, &text(&root, "in/link")).unwrap());
        assert!(remove(&allowed, &text(&root, "in/dangling")).unwrap());
        assert_eq!(fs::read_to_string(root.join("out/secret")).unwrap(), "secret");
        assert_eq!(fs::read_dir(root.join("out")).unwrap().count(), 1);
    }

    #[test]
    fn failures_say_what_and_why() {
        let (_folder, root, allowed) = playground();
        fs::write(root.join("in/binary"), [0xff, 0xfe]).unwrap();
        fs::write(root.join("in/long"), vec![b'x'; MAX_READ as usize + 1]).unwrap();
        fs::write(root.join("in/limit"), vec![b'x'; MAX_READ as usize]).unwrap();
        // The last byte that is read is the first of two.
        fs::write(root.join("in/umlauts"), "ü".repeat(MAX_READ as usize)).unwrap();
        for (path, wanted) in [
            ("in/missing", "No such file"),
            ("in", "directory"),
            ("in/binary", "UTF-8"),
            ("in/long", "longer than 2097152 bytes"),
            ("in/umlauts", "longer than 2097152 bytes"),
            ("in/binary/x", "directory"),
        ] {
            let error = read(&allowed, &text(&root, path)).unwrap_err();
            assert!(error.is_fatal() && error.message().contains(wanted), "{path}: {error}");
        }
        assert_eq!(read(&allowed, &text(&root, "in/limit")).unwrap().len() as u64, MAX_READ);
        assert!(write(&allowed, &text(&root, "in"), "", WRITER).unwrap_err().message().contains("directory"));
        assert!(remove(&allowed, &text(&root, "in")).unwrap_err().message().contains("not empty"));
    }
}
