//! `durhai check`: what is wrong in scripts, found without running them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use durhai::check::{CheckOptions, Finding, Severity};

use crate::args::{Allow, Check, Globals};
use crate::exit::{Exit, Fail, Outcome};
use crate::note::note;
use crate::output::Out;
use crate::{folder, hosting};

pub fn check(globals: &Globals, args: Check, out: &Out) -> Outcome {
    let mut options = CheckOptions { assume_steps: args.assume_step, ..CheckOptions::default() };
    let mut found = Vec::new();
    let mut files = 0;
    for Part { root, only } in parts(globals, &args.paths)? {
        options.assume_functions = hosting::functions(globals, &root, &args.functions)?;
        let prepared = hosting::prepare(globals, &root, &Allow::default(), &[])?;
        // They are no scripts, and may be right where the host runs.
        prepared.findings.iter().for_each(|finding| note(format!("warning: {finding}")));
        let all = prepared.builder.check(&options)?;
        let wanted = |finding: &Finding| only.as_ref().is_none_or(|only| only.contains(&finding.file));
        files += only.as_ref().map_or_else(|| count(&root), BTreeSet::len);
        // What is printed can be opened from here.
        found.extend(all.into_iter().filter(wanted).map(|mut finding| {
            finding.file = shown(&root, &finding.file);
            finding
        }));
    }
    if out.json {
        out.document(&found);
    } else if args.short {
        found.iter().for_each(|finding| out.line(finding.short()));
    } else {
        print(&found, out);
        note(summary(&found, files));
    }
    let worst = found.iter().map(|finding| finding.severity).max();
    let least = if args.strict { Severity::Warning } else { Severity::Error };
    Ok(if worst.is_some_and(|worst| worst >= least) { Exit::Failed } else { Exit::Done })
}

/// A scripts folder, and which of its files are asked about.
struct Part {
    root: PathBuf,
    only: Option<BTreeSet<String>>,
}

fn parts(globals: &Globals, paths: &[PathBuf]) -> Result<Vec<Part>, Fail> {
    if paths.is_empty() {
        return Ok(vec![Part { root: folder::scripts(globals.scripts.as_deref())?, only: None }]);
    }
    let mut parts: Vec<Part> = Vec::new();
    for path in paths {
        if path.is_dir() {
            parts.push(Part { root: path.clone(), only: None });
            continue;
        }
        let (root, file) = file(path, globals.scripts.as_deref())?;
        match parts.iter_mut().find(|part| part.root == root && part.only.is_some()) {
            Some(part) => part.only.iter_mut().for_each(|only| only.extend([file.clone()])),
            None => parts.push(Part { root, only: Some(BTreeSet::from([file])) }),
        }
    }
    Ok(parts)
}

/// The folder a script belongs to, and its path from there.
fn file(path: &Path, given: Option<&Path>) -> Result<(PathBuf, String), Fail> {
    if !path.is_file() {
        return Err(Fail::not_found(format!("there is no file or folder {}", path.display())));
    }
    if path.extension().is_none_or(|ending| ending != "rhai") {
        return Err(Fail::usage(format!("{} is no script: its name does not end in .rhai", path.display())));
    }
    let unreadable = |error| Fail::usage(format!("{} cannot be read: {error}", path.display()));
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = parent.canonicalize().map_err(unreadable)?;
    let root = match given {
        Some(_) => folder::scripts(given)?.canonicalize().map_err(unreadable)?,
        None => parent.ancestors().find(|folder| folder::is_root(folder)).unwrap_or(&parent).to_path_buf(),
    };
    let whole = parent.join(path.file_name().unwrap_or_default());
    let Ok(inside) = whole.strip_prefix(&root) else {
        return Err(Fail::usage(format!("{} is not in {}", path.display(), root.display())));
    };
    let inside: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
    Ok((root, inside.join("/")))
}

/// A path that leads to the file from the current folder, short where it can be.
fn shown(root: &Path, file: &str) -> String {
    let whole = root.join(file);
    let here = std::env::current_dir().ok();
    let short = here.as_deref().and_then(|here| whole.strip_prefix(here).ok()).unwrap_or(&whole);
    short.strip_prefix(".").unwrap_or(short).display().to_string()
}

fn count(root: &Path) -> usize {
    let entries = root.read_dir().into_iter().flatten().flatten();
    let visible = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    visible
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => count(&entry.path()),
            _ => usize::from(entry.path().extension().is_some_and(|ending| ending == "rhai")),
        })
        .sum()
}

/// Grouped by file.
fn print(found: &[Finding], out: &Out) {
    let mut file = "";
    for finding in found {
        if finding.file != file {
            file = &finding.file;
            out.line(out.colored(1, file));
        }
        let text = finding.to_string();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let code = match finding.severity {
            Severity::Error => 31,
            Severity::Warning => 33,
            Severity::Hint => 36,
        };
        let (front, message) = first.split_once(": ").unwrap_or(("", first));
        out.line(format!("{}: {message}", out.colored(code, front)));
        rest.lines().for_each(|line| out.line(line));
        out.line("");
    }
}

fn summary(found: &[Finding], files: usize) -> String {
    let count = |severity: Severity, noun: &str| {
        let count = found.iter().filter(|finding| finding.severity == severity).count();
        (count > 0).then(|| format!("{count} {noun}{}", if count == 1 { "" } else { "s" }))
    };
    let counts = [count(Severity::Error, "error"), count(Severity::Warning, "warning"), count(Severity::Hint, "hint")];
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    let scripts = format!("{files} {}", if files == 1 { "script" } else { "scripts" });
    if counts.is_empty() { format!("{scripts}: nothing found") } else { format!("{scripts}: {}", counts.join(", ")) }
}
