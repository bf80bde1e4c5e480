//! What is wrong in a folder of scripts, and what a workflow may do, without running any.

pub(crate) mod assumed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use durhai_engine::SandboxConfig;

pub use self::assumed::{AssumedFunction, StandIn};
use crate::error::HostError;
use crate::runtime::setup::HostSetup;
use crate::text::{MAX_SCRIPT, without_bom};
use crate::versions::scripts;
pub use durhai_engine::check::{Code as FindingCode, Finding, Severity};
pub use durhai_engine::graph::Graph;
pub use durhai_engine::{CALLS, CallDoc};

/// What a check takes for granted.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Steps that another host has: `charge`, or all that begin like `billing.*`.
    pub assume_steps: Vec<String>,
    /// Functions that another host adds to its scripts with `extend_scripts`.
    pub assume_functions: Vec<AssumedFunction>,
}

/// Checks a folder of scripts as a host without steps of its own would: see [`HostBuilder::check`], which knows them.
///
/// # Errors
/// The folder cannot be read.
pub fn check(folder: impl AsRef<Path>, options: &CheckOptions) -> Result<Vec<Finding>, HostError> {
    let setup = HostSetup { folder: Some(folder.as_ref().to_owned()), ..HostSetup::default() };
    check_of(&setup, options)
}

/// See [`HostBuilder::check`](crate::HostBuilder::check).
pub(crate) fn check_of(setup: &HostSetup, options: &CheckOptions) -> Result<Vec<Finding>, HostError> {
    let (mut files, mut found) = (BTreeMap::new(), Vec::new());
    if let Some(folder) = &setup.folder {
        collect(folder, "", folder, &mut files, &mut found)
            .map_err(|error| HostError::NotFound(format!("{}: {error}", folder.display())))?;
    }
    for (name, text) in &setup.texts {
        files.insert(format!("{name}.rhai"), without_bom(text).to_owned());
    }
    let listed = setup.sources.iter().flat_map(|source| source.list()).map(|info| info.name);
    let steps: BTreeSet<String> = setup.steps.keys().cloned().chain(listed).collect();
    let assumed = |name: &str| {
        options.assume_steps.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(front) => name.starts_with(front),
            None => name == pattern,
        })
    };
    let knows =
        |name: &str| steps.contains(name) || assumed(name) || setup.sources.iter().any(|source| source.knows(name));
    let steps: Vec<String> = steps.iter().cloned().collect();
    let mut config = sandbox(setup);
    config.extend.extend(options.assume_functions.iter().cloned().map(AssumedFunction::extension));
    let folder = durhai_engine::check::Folder { files: &files, knows_step: &knows, steps: &steps, workflows: &[] };
    found.extend(durhai_engine::check::check(&folder, &config));
    found.sort_by(|a, b| (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code)));
    Ok(found)
}

/// The graph of the workflow `name`: what it calls, where it branches, repeats and ends. `files` holds its text and those of
/// what it imports, by path (`order.rhai`, `lib/money.rhai`), as [`crate::view::SourceView::files`] does.
///
/// # Errors
/// A text does not parse, or is not there.
pub fn graph(files: &BTreeMap<String, String>, name: &str) -> Result<Graph, HostError> {
    drawn(files, name, &SandboxConfig::default())
}

fn drawn(files: &BTreeMap<String, String>, name: &str, config: &SandboxConfig) -> Result<Graph, HostError> {
    durhai_engine::graph::graph(files, name, config).map_err(|wrong| {
        let all: Vec<_> = wrong.iter().map(ToString::to_string).collect();
        HostError::Script(all.join("\n"))
    })
}

/// See [`HostBuilder::graph`](crate::HostBuilder::graph).
pub(crate) fn graph_of(setup: &HostSetup, name: &str) -> Result<Graph, HostError> {
    let (mut files, mut unreadable) = (BTreeMap::new(), Vec::new());
    if let Some(folder) = &setup.folder {
        collect(folder, "", folder, &mut files, &mut unreadable)
            .map_err(|error| HostError::NotFound(format!("{}: {error}", folder.display())))?;
    }
    files.extend(setup.texts.iter().map(|(name, text)| (format!("{name}.rhai"), text.clone())));
    let file = format!("{name}.rhai");
    if let Some(unreadable) = unreadable.iter().find(|finding| finding.file == file) {
        return Err(HostError::Script(format!("{file}: {}", unreadable.message)));
    }
    if !files.contains_key(&file) {
        let names: Vec<_> = files.keys().map(|path| path.trim_end_matches(".rhai").to_owned()).collect();
        return Err(HostError::NotFound(crate::steps::registry::unknown("workflow", name, &names)));
    }
    drawn(&files, name, &sandbox(setup))
}

fn sandbox(setup: &HostSetup) -> SandboxConfig {
    SandboxConfig { limits: setup.scripts.clone(), extend: setup.extend.clone(), ..SandboxConfig::default() }
}

/// Every script below a folder, by its path from there. What begins with `.` is none of ours. What looks like a script and
/// cannot be read is a finding.
fn collect(
    root: &Path,
    prefix: &str,
    dir: &Path,
    files: &mut BTreeMap<String, String>,
    found: &mut Vec<Finding>,
) -> std::io::Result<()> {
    let real = root.canonicalize()?;
    for entry in std::fs::read_dir(dir)?.flatten() {
        let (name, path) = (entry.file_name(), entry.path());
        let shown = name.to_string_lossy();
        if shown.starts_with('.') {
            continue;
        }
        let host = format!("{prefix}{shown}");
        let script = shown.ends_with(".rhai");
        let mut unreadable = |why: String| found.push(unreadable(&host, why));
        let led_out = entry.file_type().is_ok_and(|kind| kind.is_symlink()).then(|| scripts::leads_out(&real, &path));
        if name.to_str().is_none() {
            if script {
                unreadable("the name of the file is no UTF-8".into());
            }
        } else if let Some(why) = led_out.flatten() {
            if script || path.is_dir() {
                unreadable(why);
            }
        // A linked folder may lead back here.
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if script {
                unreadable("it is a folder, and no file with a text".into());
            } else if let Err(error) = collect(root, &format!("{host}/"), &path, files, found) {
                found.push(self::unreadable(&host, format!("the folder cannot be listed: {error}")));
            }
        } else if script {
            match crate::text::read_text(&path, MAX_SCRIPT) {
                Ok(text) => drop(files.insert(host, text)),
                Err(error) => unreadable(error.to_string()),
            }
        }
    }
    Ok(())
}

fn unreadable(file: &str, why: String) -> Finding {
    Finding {
        severity: Severity::Error,
        code: FindingCode::Syntax,
        file: file.to_owned(),
        line: 0,
        column: 0,
        message: format!("the file cannot be read: {why}"),
        source: String::new(),
        help: None,
    }
}
