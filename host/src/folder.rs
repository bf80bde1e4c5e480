//! The scripts folder: which files are workflows, and when one changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use durhai_engine::SandboxConfig;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::oneshot;

use crate::inner::Inner;
use crate::view::Report;

/// Editors write a file in several steps; what comes within this time is looked at once.
const SETTLE: Duration = Duration::from_millis(60);

/// Where nothing tells of changes, the folder is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_millis(800);

/// Every workflow below a folder, by name. Files and folders whose name begins with `_` or `.`, and the folders `lib`
/// and `steps` at the top, hold none; a `.test.rhai` file is a test.
pub(crate) fn workflows(folder: &Path) -> std::io::Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![(folder.to_path_buf(), String::new())];
    while let Some((dir, prefix)) = open.pop() {
        let entries = match std::fs::read_dir(&dir) {
            Err(error) if prefix.is_empty() => return Err(error),
            entries => entries,
        };
        for entry in entries.into_iter().flatten().flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = entry.path();
            if name.starts_with(['_', '.']) || !inside(folder, &path) {
                continue;
            }
            if path.is_dir() {
                if !(prefix.is_empty() && ["lib", "steps"].contains(&name.as_str())) {
                    open.push((path, format!("{prefix}{name}/")));
                }
            } else if let Some(stem) = name.strip_suffix(".rhai")
                && !stem.ends_with(".test")
            {
                found.insert(format!("{prefix}{stem}"), path);
            }
        }
    }
    Ok(found)
}

/// No link leads out of the folder.
pub(crate) fn inside(folder: &Path, path: &Path) -> bool {
    match (folder.canonicalize(), path.canonicalize()) {
        (Ok(folder), Ok(path)) => path.starts_with(folder),
        _ => false,
    }
}

pub(crate) enum Look {
    /// Something changed, or may have.
    Changed,
    /// Look now and say what changed.
    Now(oneshot::Sender<Vec<Report>>),
    Stop,
}

/// The thread that keeps the catalog true.
pub(crate) fn watch(
    inner: &Arc<Inner>,
    looks: &mpsc::Receiver<Look>,
    tell: mpsc::Sender<Look>,
    config: &SandboxConfig,
    live: bool,
) {
    let sandbox = crate::catalog::sandbox(config);
    let folder = inner.catalog.folder.clone();
    let tell_first = tell.clone();
    let watcher = folder.filter(|_| live).and_then(|folder| {
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Looking at a file is an event too, and would make us look again for ever.
            let looked = event.is_ok_and(|event| {
                event.kind.is_access() && event.kind != EventKind::Access(AccessKind::Close(AccessMode::Write))
            });
            if !looked {
                let _ = tell.send(Look::Changed);
            }
        })
        .ok()?;
        watcher.watch(&folder, RecursiveMode::Recursive).ok()?;
        Some(watcher)
    });
    // What was saved before the watcher was in place.
    let _ = tell_first.send(Look::Changed);
    let polled = live && watcher.is_none() && inner.catalog.folder.is_some();
    loop {
        let look = match polled {
            true => looks.recv_timeout(LOOK_AGAIN),
            false => looks.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        let mut replies = Vec::new();
        match look {
            Ok(Look::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Ok(Look::Now(reply)) => replies.push(reply),
            Ok(Look::Changed) => {
                // Until nothing has come for a moment; a folder that never rests is looked at all the same.
                for _ in 0..10 {
                    match looks.recv_timeout(SETTLE) {
                        Ok(Look::Changed) => {}
                        Ok(Look::Now(reply)) => replies.push(reply),
                        Ok(Look::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
                        Err(mpsc::RecvTimeoutError::Timeout) => break,
                    }
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        match inner.catalog.scan(&*inner.world, &sandbox) {
            Ok(reports) => {
                if !reports.is_empty() {
                    inner.scheduler.ring();
                }
                for reply in replies {
                    let _ = reply.send(reports.clone());
                }
            }
            Err(error) => return inner.fail(Arc::new(error)),
        }
    }
}
