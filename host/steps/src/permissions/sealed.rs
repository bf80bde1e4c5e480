//! What no grant opens.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

/// Links that lead to links: more than any system follows.
const MOST_LINKS: usize = 64;

/// Whether `resolved` is out of reach because of this entry: a path seals itself and what is below it, a bare name seals
/// every file of that name. Names that differ in the case of letters are the same name to many file systems.
pub fn covers(sealed: &Path, resolved: &Path) -> bool {
    if !sealed.is_absolute() {
        return resolved.file_name().is_some_and(|name| same(name, sealed.as_os_str()));
    }
    let mut parts = resolved.components();
    sealed.components().all(|wanted| parts.next().is_some_and(|part| same(part.as_os_str(), wanted.as_os_str())))
}

/// What has to be sealed so that no step can change what `path` leads to: its end, which need not exist, and each link on
/// the way there, which could be removed and its place be taken.
pub fn seal(path: &Path) -> Vec<PathBuf> {
    let mut sealed = Vec::new();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut todo: VecDeque<PathBuf> = parts(&absolute).collect();
    let mut at = PathBuf::new();
    while let Some(part) = todo.pop_front() {
        match part.components().next() {
            Some(Component::CurDir) | None => {}
            Some(Component::ParentDir) => {
                at.pop();
            }
            // A root takes the place of what was there.
            Some(Component::Prefix(_) | Component::RootDir) => at.push(&part),
            Some(Component::Normal(name)) => {
                let next = at.join(name);
                match next.read_link() {
                    Ok(target) if sealed.len() < MOST_LINKS => {
                        sealed.push(next);
                        parts(&target).collect::<Vec<_>>().into_iter().rev().for_each(|part| todo.push_front(part));
                    }
                    _ => at = next,
                }
            }
        }
    }
    sealed.push(at);
    sealed
}

fn parts(path: &Path) -> impl Iterator<Item = PathBuf> {
    path.components().map(|part| PathBuf::from(part.as_os_str()))
}

fn same(a: &OsStr, b: &OsStr) -> bool {
    a == b || a.to_string_lossy().to_lowercase() == b.to_string_lossy().to_lowercase()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_an_entry_covers() {
        for (sealed, resolved, covered) in [
            ("/a/b", "/a/b", true),
            ("/a/b", "/a/b/c/d", true),
            ("/a/b", "/A/B/c", true),
            ("/a/b", "/a", false),
            ("/a/b", "/a/bc", false),
            ("/a/b", "/x/a/b", false),
            ("durhai.toml", "/a/durhai.toml", true),
            ("durhai.toml", "/durhai.TOML", true),
            ("durhai.toml", "/a/durhai.toml/x", false),
            ("durhai.toml", "/a/my-durhai.toml", false),
        ] {
            assert_eq!(covers(Path::new(sealed), Path::new(resolved)), covered, "{sealed} {resolved}");
        }
    }

    #[test]
    fn every_link_on_the_way_is_sealed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("real/deep")).unwrap();
        fs::write(root.join("real/deep/settings"), "").unwrap();
        for (link, target) in
            [("scripts", "real"), ("real/durhai.toml", "../hop"), ("hop", "real/deep/settings"), ("round", "round")]
        {
            symlink(target, root.join(link)).unwrap();
        }
        for (path, wanted) in [
            ("real/deep/settings", &["real/deep/settings"][..]),
            ("scripts/durhai.toml", &["scripts", "real/durhai.toml", "hop", "real/deep/settings"]),
            ("scripts/deep/../later/new", &["scripts", "real/later/new"]),
            ("none/at/all", &["none/at/all"]),
        ] {
            let wanted: Vec<_> = wanted.iter().map(|path| root.join(path)).collect();
            assert_eq!(seal(&root.join(path)), wanted, "{path}");
        }
        assert!(seal(&root.join("round")).contains(&root.join("round")));
    }
}
