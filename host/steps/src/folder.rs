//! The files in `steps/`, read again when they change; the last good version serves while a new one is broken.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::program::{self, Program, Stamp};

/// What a folder knows of one step file.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The version that serves.
    pub program: Option<Arc<Program>>,
    /// What is wrong with the text in the folder.
    pub broken: Option<Arc<str>>,
}

/// A scripts folder, by its step files.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    files: Mutex<HashMap<String, Known>>,
}

#[derive(Debug)]
struct Known {
    stamps: Vec<Stamp>,
    found: Found,
}

impl Folder {
    pub fn new(root: PathBuf) -> Self {
        // The path counts, whatever it leads to by then, and from wherever the process was started.
        let root = std::path::absolute(&root).unwrap_or(root);
        Folder { root, files: Mutex::default() }
    }

    /// The step file of a module (`mail` for `steps/mail.rhai`) as it is now. Costs a look at the stamps of the file
    /// and its imports when nothing changed.
    pub fn find(&self, module: &str) -> Option<Found> {
        if !program::is_inside(module) || module.starts_with('_') {
            return None;
        }
        let file = format!("steps/{module}.rhai");
        let mut files = self.files.lock();
        if let Some(known) = files.get(&file)
            && known.stamps.iter().all(Stamp::is_current)
        {
            return Some(known.found.clone());
        }
        if !Stamp::of(self.root.join(&file)).exists() {
            files.remove(&file);
            return None;
        }
        let (loaded, stamps) = program::load(&self.root, &file);
        let found = match loaded {
            Ok(program) => Found { program: Some(Arc::new(program)), broken: None },
            Err(error) => Found {
                program: files.get(&file).and_then(|known| known.found.program.clone()),
                broken: Some(error.into()),
            },
        };
        files.insert(file, Known { stamps, found: found.clone() });
        Some(found)
    }

    /// The version of a module that was found last, without a look at the disk.
    pub fn remembered(&self, module: &str) -> Option<Arc<Program>> {
        let files = self.files.lock();
        files.get(&format!("steps/{module}.rhai")).and_then(|known| known.found.program.clone())
    }

    /// Every module there is now, sorted.
    pub fn modules(&self) -> Vec<String> {
        let mut modules = Vec::new();
        collect(&self.root.join("steps"), "", &mut modules);
        modules.sort();
        modules
    }
}

fn collect(folder: &Path, prefix: &str, modules: &mut Vec<String>) {
    // A folder that cannot be read has no steps; one that is missing is the usual case.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with(['.', '_']) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            collect(&path, &format!("{prefix}{name}/"), modules);
        } else if let Some(stem) = name.strip_suffix(".rhai") {
            modules.push(format!("{prefix}{stem}"));
        }
    }
}
