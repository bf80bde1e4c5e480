//! Which files and folders may be touched.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// What `--allow-read` or `--allow-write` grants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PathGrant {
    #[default]
    Nothing,
    /// All but `/proc`, `/sys` and `/dev`, which must be named.
    Everything,
    /// These files, and these folders with all that is in them: absolute, without links.
    Paths(Vec<PathBuf>),
}

impl PathGrant {
    /// From the value of a flag: none is everything, else paths separated by commas. Relative paths start at the
    /// current folder; links are followed once, now: what a granted link points to later is not granted.
    pub fn parse(value: Option<&str>) -> io::Result<Self> {
        match value {
            None => Ok(PathGrant::Everything),
            Some(list) => PathGrant::paths(list.split(',').filter(|path| !path.is_empty())),
        }
    }

    /// These paths, resolved like those of [`parse`](Self::parse).
    pub fn paths<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> io::Result<Self> {
        let resolved = paths.into_iter().map(|path| {
            let path = path.as_ref();
            resolve(path).map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        });
        resolved.collect::<io::Result<_>>().map(PathGrant::Paths)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: PathGrant) -> Self {
        match (self, other) {
            (PathGrant::Everything, _) | (_, PathGrant::Everything) => PathGrant::Everything,
            (PathGrant::Nothing, grant) | (grant, PathGrant::Nothing) => grant,
            (PathGrant::Paths(mut paths), PathGrant::Paths(more)) => {
                paths.extend(more);
                PathGrant::Paths(paths)
            }
        }
    }

    /// `resolved` must be absolute and without links. Compared by whole names, byte by byte: on a file system that
    /// ignores case a name that is written differently is refused, unless its canonical form is the granted one.
    pub(super) fn covers(&self, resolved: &Path) -> bool {
        match self {
            PathGrant::Nothing => false,
            PathGrant::Everything => kernel_root(resolved).is_none(),
            PathGrant::Paths(paths) => paths.iter().any(|granted| {
                resolved.starts_with(granted) && kernel_root(resolved).is_none_or(|root| granted.starts_with(root))
            }),
        }
    }
}

/// What the kernel shows of processes and devices: the environment and the memory of this very host too. Only a grant that
/// names something in there covers it.
fn kernel_root(resolved: &Path) -> Option<&'static Path> {
    ["/proc", "/sys", "/dev"].map(Path::new).into_iter().find(|root| resolved.starts_with(root))
}

/// Absolute, links followed, `..` gone. Of a path that does not exist the longest part that exists is resolved and the
/// rest appended, if it is plain names; a link that points nowhere is an error, because creating through it would
/// create what it points to.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    if path.as_os_str().is_empty() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the path is empty"));
    }
    let absolute = std::env::current_dir()?.join(path);
    let mut rest = Vec::new();
    let mut exists = absolute.as_path();
    loop {
        match exists.canonicalize() {
            Ok(mut resolved) => {
                resolved.extend(rest.iter().rev());
                return Ok(resolved);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if exists.symlink_metadata().is_ok() {
                    let message = format!("{} is a link that points nowhere", exists.display());
                    return Err(io::Error::new(ErrorKind::NotFound, message));
                }
                // `parent` drops `.` and keeps `..`, whose meaning depends on what stands before it.
                let Some(Component::Normal(name)) = exists.components().next_back() else {
                    let message = format!("{} does not exist, so `..` leads nowhere", path.display());
                    return Err(io::Error::new(ErrorKind::NotFound, message));
                };
                rest.push(name);
                exists = exists.parent().unwrap_or(Path::new("/"));
            }
            Err(error) => return Err(error),
        }
    }
}

/// The longest part of a path that can be resolved.
pub(super) fn existing_part(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from("/"));
    absolute.ancestors().find_map(|part| part.canonicalize().ok()).unwrap_or_else(|| PathBuf::from("/"))
}
