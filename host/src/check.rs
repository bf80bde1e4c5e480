//! What is wrong in a folder of scripts, and what a workflow may do, without running any.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use durhai_engine::SandboxConfig;
pub use durhai_engine::check::{Code, Finding, Severity};
pub use durhai_engine::graph::Graph;

use crate::builder::HostBuilder;
use crate::error::HostError;
use crate::folder::inside;

/// What a check takes for granted.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// Steps that another host has: `charge`, or all that begin like `billing.*`.
    pub assume_steps: Vec<String>,
}

/// Checks a folder of scripts as a host without steps of its own would: see [`HostBuilder::check`], which knows them.
///
/// # Errors
/// The folder cannot be read.
pub fn check(folder: impl AsRef<Path>, options: &CheckOptions) -> Result<Vec<Finding>, HostError> {
    HostBuilder::default().workflows(folder.as_ref()).check(options)
}

impl HostBuilder {
    /// Looks at every script of the folder (workflows, modules, steps, tests) and at those given by text, and says what is
    /// wrong: by file, then by place. Nothing is run, and nothing written. Steps and extensions are those that this
    /// host would have. It takes about a second for a thousand files, so do not call it on an async thread.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn check(&self, options: &CheckOptions) -> Result<Vec<Finding>, HostError> {
        let (mut files, mut found) = (BTreeMap::new(), Vec::new());
        if let Some(folder) = &self.folder {
            collect(folder, "", folder, &mut files, &mut found)
                .map_err(|error| HostError::NotFound(format!("{}: {error}", folder.display())))?;
        }
        for (name, text) in &self.texts {
            files.insert(format!("{name}.rhai"), text.clone());
        }
        let listed = self.sources.iter().flat_map(|source| source.list()).map(|info| info.name);
        let steps: BTreeSet<String> = self.steps.keys().cloned().chain(listed).collect();
        let assumed = |name: &str| {
            options.assume_steps.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(front) => name.starts_with(front),
                None => name == pattern,
            })
        };
        let knows =
            |name: &str| steps.contains(name) || assumed(name) || self.sources.iter().any(|source| source.knows(name));
        let steps: Vec<String> = steps.iter().cloned().collect();
        let config = self.sandbox();
        let folder = durhai_engine::check::Folder { files: &files, knows_step: &knows, steps: &steps, workflows: &[] };
        found.extend(durhai_engine::check::check(&folder, &config));
        found.sort_by(|a, b| (&a.file, a.line, a.column, a.code).cmp(&(&b.file, b.line, b.column, b.code)));
        Ok(found)
    }
}

/// The graph of the workflow `name`: what it calls, where it branches, repeats and ends. `files` holds its text and those of
/// what it imports, by path (`order.rhai`, `lib/money.rhai`), as [`crate::SourceView::files`] does.
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

impl HostBuilder {
    /// The graph of a workflow of the folder, or of one given by text, see [`graph`].
    ///
    /// # Errors
    /// There is no such workflow, or a text does not parse.
    pub fn graph(&self, name: &str) -> Result<Graph, HostError> {
        let (mut files, mut unreadable) = (BTreeMap::new(), Vec::new());
        if let Some(folder) = &self.folder {
            collect(folder, "", folder, &mut files, &mut unreadable)
                .map_err(|error| HostError::NotFound(format!("{}: {error}", folder.display())))?;
        }
        files.extend(self.texts.iter().map(|(name, text)| (format!("{name}.rhai"), text.clone())));
        if !files.contains_key(&format!("{name}.rhai")) {
            let names: Vec<_> = files.keys().map(|path| path.trim_end_matches(".rhai").to_owned()).collect();
            return Err(HostError::NotFound(crate::registry::unknown("workflow", name, &names)));
        }
        drawn(&files, name, &self.sandbox())
    }

    fn sandbox(&self) -> SandboxConfig {
        SandboxConfig { limits: self.scripts.clone(), extend: self.extend.clone() }
    }
}

/// Every script below a folder, by its path from there. What begins with `.` is none of ours.
fn collect(
    root: &Path,
    prefix: &str,
    dir: &Path,
    files: &mut BTreeMap<String, String>,
    found: &mut Vec<Finding>,
) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)?.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = entry.path();
        if name.starts_with('.') || !inside(root, &path) {
            continue;
        }
        let inner = format!("{prefix}{name}");
        // A linked folder may lead back here.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // One that cannot be read holds nothing that could be checked.
            let _ = collect(root, &format!("{inner}/"), &path, files, found);
        } else if name.ends_with(".rhai") {
            match std::fs::read_to_string(&path) {
                Ok(text) => drop(files.insert(inner, text)),
                Err(error) => found.push(Finding {
                    severity: Severity::Error,
                    code: Code::Syntax,
                    file: inner,
                    line: 0,
                    column: 0,
                    message: format!("the file cannot be read: {error}"),
                    source: String::new(),
                    help: None,
                }),
            }
        }
    }
    Ok(())
}
