//! The scripts folder: which files are workflows, and what stands in them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use durhai_engine::{Bundle, Diagnostic};

use crate::text::{MAX_SCRIPT, read_text};
use crate::versions::stamp::Stamp;

/// What a folder holds.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// The file of each workflow by its name, or why there is none that could be read.
    pub workflows: BTreeMap<String, Result<PathBuf, String>>,
    /// Folders whose files cannot be listed, as they begin the names of workflows (`billing/`), with the reason.
    pub unlisted: BTreeMap<String, String>,
}

impl Listed {
    /// A folder of which nothing is known. It is shown where its workflows would be.
    fn leave_out(&mut self, prefix: &str, why: String) {
        self.workflows.entry(prefix.trim_end_matches('/').to_owned()).or_insert_with(|| Err(why.clone()));
        self.unlisted.insert(prefix.to_owned(), why);
    }

    /// Why nothing is known of a workflow that was there before.
    pub fn unlisted(&self, workflow: &str) -> Option<&String> {
        self.unlisted.iter().find(|(prefix, _)| workflow.starts_with(prefix.as_str())).map(|(_, why)| why)
    }
}

/// Every workflow below a folder, by name. Files and folders whose name begins with `_` or `.`, and the folders `lib`
/// and `steps` at the top, hold none; a `.test.rhai` file is a test. What looks like one and cannot be read is listed with the
/// reason: nothing is passed over in silence.
pub(crate) fn workflows(folder: &Path) -> io::Result<Listed> {
    let root = folder.canonicalize()?;
    let mut listed = Listed::default();
    let mut open = vec![(folder.to_path_buf(), String::new())];
    while let Some((dir, prefix)) = open.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if prefix.is_empty() => return Err(error),
            Err(error) => {
                listed.leave_out(&prefix, format!("the folder {} cannot be listed: {error}", dir.display()));
                continue;
            }
            Ok(entries) => entries,
        };
        for entry in entries.flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            let Some(text) = name.to_str() else {
                let shown = name.to_string_lossy();
                if let Some(stem) = shown.strip_suffix(".rhai").filter(|_| !shown.starts_with(['_', '.'])) {
                    let why = format!("{}: the name of the file is no UTF-8", path.display());
                    listed.workflows.insert(format!("{prefix}{stem}"), Err(why));
                }
                continue;
            };
            if text.starts_with(['_', '.']) {
                continue;
            }
            let special = prefix.is_empty() && ["lib", "steps"].contains(&text);
            let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let is_dir = if linked { path.is_dir() } else { entry.file_type().is_ok_and(|kind| kind.is_dir()) };
            let stem = text.strip_suffix(".rhai").filter(|stem| !stem.ends_with(".test") && !stem.is_empty());
            let led_out = linked.then(|| leads_out(&root, &path)).flatten();
            match (is_dir, stem, led_out) {
                (true, None, None) if !(special || linked && leads_back(&path, &dir)) => {
                    open.push((path, format!("{prefix}{text}/")));
                }
                (true, None, Some(why)) if !special => listed.leave_out(&format!("{prefix}{text}/"), why),
                (true, None, _) => {}
                (_, Some(stem), Some(why)) => {
                    listed.workflows.insert(format!("{prefix}{stem}"), Err(why));
                }
                (true, Some(stem), None) => {
                    let why = format!("{}: it is a folder, and no file with a text", path.display());
                    listed.workflows.insert(format!("{prefix}{stem}"), Err(why));
                }
                (false, Some(stem), None) => {
                    listed.workflows.insert(format!("{prefix}{stem}"), Ok(path));
                }
                (false, None, _) => {}
            }
        }
    }
    Ok(listed)
}

/// The file of one workflow, where there may be one: `None` if no workflow can have this name.
pub(crate) fn file_of(folder: &Path, workflow: &str) -> Option<PathBuf> {
    let plain = |part: &str| !part.is_empty() && !part.starts_with(['_', '.']) && !part.contains(['\\', '\0']);
    let reserved = ["lib/", "steps/"].iter().any(|front| workflow.starts_with(front));
    let named = workflow.split('/').all(plain) && !reserved && !workflow.ends_with(".test");
    named.then(|| folder.join(format!("{workflow}.rhai")))
}

/// The text of a script of the folder; the error names the file, and why it cannot be read. `Ok(None)`: it is not there.
pub(crate) fn read_script(folder: &Path, file: &Path) -> Result<Option<String>, String> {
    if file.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(None);
    }
    let named = |error: io::Error| format!("{}: {error}", file.display());
    let root = folder.canonicalize().map_err(named)?;
    if let Some(why) = leads_out(&root, file) {
        return Err(why);
    }
    match read_text(file, MAX_SCRIPT) {
        Ok(text) => Ok(Some(text)),
        // It went meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(named(error)),
    }
}

/// A text with all it imports from a folder, and the stamps of the files that were looked at for it.
pub(crate) fn gather(
    folder: Option<&Path>,
    name: &str,
    source: &str,
    stamps: &mut Vec<Stamp>,
) -> Result<Bundle, Vec<Diagnostic>> {
    let mut unreadable = BTreeMap::new();
    let mut read = |path: &str| {
        let file = folder?.join(format!("{path}.rhai"));
        stamps.push(Stamp::of(file.clone()));
        read_script(folder?, &file).unwrap_or_else(|why| {
            unreadable.insert(path.to_owned(), why);
            None
        })
    };
    let gathered = Bundle::gather(name, source, &mut read);
    gathered.map_err(|mut wrong| {
        for (path, why) in unreadable {
            let missing = format!("there is no module {path:?}");
            for diagnostic in wrong.iter_mut().filter(|diagnostic| diagnostic.message == missing) {
                diagnostic.message = format!("the module {path:?} cannot be read: {why}");
                diagnostic.help = None;
            }
        }
        wrong
    })
}

/// Why a path leads to nothing inside a folder (`root`, resolved), if that is so.
pub(crate) fn leads_out(root: &Path, path: &Path) -> Option<String> {
    match path.canonicalize() {
        Ok(real) if real.starts_with(root) => None,
        Ok(real) => Some(format!(
            "{}: it leads out of the scripts folder, to {}; texts are read from the folder only",
            path.display(),
            real.display()
        )),
        Err(error) => Some(match std::fs::read_link(path) {
            Ok(target) => format!("{}: it is a link to {}: {error}", path.display(), target.display()),
            Err(_) => format!("{}: {error}", path.display()),
        }),
    }
}

/// A linked folder that contains the one it is in.
fn leads_back(link: &Path, dir: &Path) -> bool {
    match (link.canonicalize(), dir.canonicalize()) {
        (Ok(target), Ok(dir)) => dir.starts_with(target),
        _ => true,
    }
}
