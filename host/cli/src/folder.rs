//! Finding scripts: the folder they belong to, the name they have in it, and names that were probably meant.

use std::path::{Path, PathBuf};

use crate::exit::Fail;

/// A workflow that was named on the command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// The scripts folder.
    pub root: PathBuf,
    /// The workflow's name in it.
    pub name: String,
}

/// The folder that `--scripts` names, or the one that is meant without it.
pub fn scripts(given: Option<&Path>) -> Result<PathBuf, Fail> {
    match given {
        Some(dir) if dir.is_dir() => Ok(dir.into()),
        Some(dir) if dir.exists() => Err(Fail::usage(format!("{} is no folder", dir.display()))),
        Some(dir) => Err(Fail::not_found(format!("there is no folder {}", dir.display()))),
        None if Path::new("scripts").is_dir() => Ok("scripts".into()),
        None => Ok(".".into()),
    }
}

/// A script by its path, or a workflow by its name.
pub fn target(text: &str, given: Option<&Path>) -> Result<Target, Fail> {
    let path = Path::new(text);
    // A link that leads nowhere, or a folder of such a name: the host says what is wrong with it.
    let there = |path: &Path| path.symlink_metadata().is_ok();
    if text.ends_with(".rhai") && there(path) {
        return by_file(path, given);
    }
    if text.ends_with(".rhai") {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let near = near(&name, &workflows(folder));
        let near = near.iter().map(|name| folder.join(format!("{name}.rhai")).display().to_string()).collect();
        return Err(Fail::not_found(format!("there is no file {text}{}", meant(near))));
    }
    let root = scripts(given)?;
    let name = text.trim_matches('/');
    let escapes = name.is_empty() || name.split('/').any(|part| part.is_empty() || part == "..");
    if !escapes && is_workflow(Path::new(name)) && there(&root.join(format!("{name}.rhai"))) {
        return Ok(Target { root, name: name.into() });
    }
    // Something of that name that is no workflow is probably what was meant.
    if path.is_dir() {
        return Err(Fail::usage(format!(
            "{text} is a folder; name a script in it, or host it with `durhai serve {text}`"
        )));
    }
    if path.is_file() {
        return Err(Fail::usage(format!("{text} is no script: its name does not end in .rhai")));
    }
    Err(unknown(text, &root))
}

/// The answer to a name that no workflow in this folder has.
pub fn unknown(name: &str, root: &Path) -> Fail {
    let all = workflows(root);
    let hint = match (near(name, &all), all.is_empty()) {
        (_, true) => format!("; there are no workflows in it: write one with `durhai new {}`", "hello"),
        (near, _) if near.is_empty() => "; `durhai workflows` lists those that are there".into(),
        (near, _) => meant(near),
    };
    Fail::not_found(format!("there is no workflow {name:?} in {}{hint}", root.display()))
}

/// Names among `all` that look like `name`, the likeliest first, at most three.
pub fn near(name: &str, all: &[String]) -> Vec<String> {
    let wanted = name.to_lowercase();
    let mut found: Vec<(usize, &String)> = all
        .iter()
        .filter_map(|known| {
            let lower = known.to_lowercase();
            let last = lower.rsplit('/').next().unwrap_or(&lower).to_string();
            let distance = distance(&wanted, &lower).min(distance(&wanted, &last) + 1);
            let close = distance <= (wanted.chars().count() / 3).max(2);
            let inside = wanted.len() >= 3 && (lower.contains(&wanted) || wanted.contains(&last) && last.len() >= 3);
            (close || inside).then_some((distance, known))
        })
        .collect();
    found.sort();
    found.into_iter().take(3).map(|(_, name)| name.clone()).collect()
}

/// Every workflow in a folder, by the rules of names, whether it compiles or not.
pub fn workflows(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    collect(root, Path::new(""), &mut names);
    names.sort();
    names
}

fn meant(near: Vec<String>) -> String {
    match near.len() {
        0 => String::new(),
        _ => format!("; did you mean {}?", near.join(" or ")),
    }
}

fn by_file(path: &Path, given: Option<&Path>) -> Result<Target, Fail> {
    let absolute = |path: &Path| {
        path.canonicalize().map_err(|error| Fail::usage(format!("{} cannot be read: {error}", path.display())))
    };
    // The folder is resolved, the name is not: a link is a workflow under its own name.
    let folder = absolute(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))?;
    let file = folder.join(path.file_name().unwrap_or_default());
    let root = match given {
        Some(_) => {
            let root = absolute(&scripts(given)?)?;
            if !file.starts_with(&root) {
                return Err(Fail::usage(format!("{} is not in {}", path.display(), root.display())));
            }
            root
        }
        None => folder.ancestors().find(|folder| is_root(folder)).unwrap_or(&folder).to_path_buf(),
    };
    let inside = file.strip_prefix(&root).unwrap_or(&file).with_extension("");
    if !is_workflow(&inside) {
        return Err(Fail::usage(format!(
            "{} is no workflow: `lib/`, `steps/` and names with `_` or `.` in front hold other scripts",
            path.display()
        )));
    }
    let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
    Ok(Target { root, name: parts.join("/") })
}

/// Has what only a scripts folder has. A `lib` without scripts is that of another program.
pub fn is_root(folder: &Path) -> bool {
    folder.join("durhai.toml").is_file() || ["steps", "lib"].iter().any(|name| holds_scripts(&folder.join(name)))
}

fn holds_scripts(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    entries.flatten().any(|entry| entry.path().extension().is_some_and(|ending| ending == "rhai"))
}

/// Whether a path inside the scripts folder, without its ending, names a workflow. `lib/` and `steps/` are special at
/// the top only.
fn is_workflow(inside: &Path) -> bool {
    let hidden = inside.iter().any(|part| part.to_string_lossy().starts_with(['_', '.']));
    let mut parts = inside.iter();
    let top = parts.next().filter(|_| parts.next().is_some());
    let reserved = top.is_some_and(|top| top == "lib" || top == "steps");
    let test = inside.to_string_lossy().ends_with(".test");
    !hidden && !reserved && !test
}

fn collect(root: &Path, below: &Path, names: &mut Vec<String>) {
    let Ok(entries) = root.join(below).read_dir() else { return };
    for entry in entries.flatten() {
        let inside = below.join(entry.file_name());
        let path = entry.path();
        // A linked folder may lead back here.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if is_workflow(&inside.join("x")) {
                collect(root, &inside, names);
            }
        } else if path.extension().is_some_and(|ending| ending == "rhai") && is_workflow(&inside.with_extension("")) {
            let inside = inside.with_extension("");
            let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
            names.push(parts.join("/"));
        }
    }
}

/// How many letters have to be typed anew, added, removed or swapped.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a folder");
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().expect("inside")).expect("a folder");
            std::fs::write(path, "1").expect("a file");
        }
        dir
    }

    #[test]
    fn a_file_belongs_to_the_nearest_folder_that_looks_like_one() {
        for (files, file, root, name) in [
            (&["steps/s.rhai", "billing/invoice.rhai"][..], "billing/invoice.rhai", "", "billing/invoice"),
            (&["lib/l.rhai", "a.rhai"], "a.rhai", "", "a"),
            (&["durhai.toml", "x/y/a.rhai"], "x/y/a.rhai", "", "x/y/a"),
            (&["durhai.toml", "x/steps/s.rhai", "x/a.rhai"], "x/a.rhai", "x", "a"),
            (&["lib/readme.txt", "x/a.rhai"], "x/a.rhai", "x", "a"),
        ] {
            let dir = tree(files);
            let found = target(&dir.path().join(file).display().to_string(), None).expect(file);
            let root = dir.path().join(root).canonicalize().expect("a folder");
            assert_eq!(found, Target { root, name: name.into() });
        }
    }

    #[test]
    fn files_that_are_no_workflows() {
        let dir = tree(&["steps/s.rhai", "_draft.rhai", "a.txt", "billing/.x.rhai"]);
        for file in ["steps/s.rhai", "_draft.rhai", "a.txt", "billing/.x.rhai", "billing"] {
            let error = target(&dir.path().join(file).display().to_string(), None).expect_err(file);
            assert_eq!(error.exit, Exit::Usage, "{error:?}");
        }
    }

    #[test]
    fn a_wrong_name_brings_those_that_are_near() {
        let dir = tree(&["billing/invoice.rhai", "hello.rhai", "steps/hallo.rhai", "_hell.rhai"]);
        assert_eq!(workflows(dir.path()), ["billing/invoice", "hello"]);
        for (wrong, right) in [("helo", "hello"), ("invoice", "billing/invoice"), ("biling/invoice", "billing/invoice")]
        {
            let error = target(wrong, Some(dir.path())).expect_err(wrong);
            assert_eq!(error.exit, Exit::NotFound);
            assert!(error.message.contains(&format!("did you mean {right}?")), "{}", error.message);
        }
        let error = target(&dir.path().join("hullo.rhai").display().to_string(), None).expect_err("no file");
        assert!(error.message.contains("hello.rhai?"), "{}", error.message);
        assert_eq!(target("hello", Some(dir.path())).expect("it is there").name, "hello");
        assert!(target("../hello", Some(dir.path())).is_err());
        assert_eq!(target("hello", Some(dir.path())).expect("it is there").name, "hello");
    }

    #[test]
    fn distances() {
        for (a, b, steps) in [("", "", 0), ("a", "", 1), ("kitten", "sitting", 3), ("ab", "ba", 2)] {
            assert_eq!(distance(a, b), steps, "{a} {b}");
        }
    }
}
