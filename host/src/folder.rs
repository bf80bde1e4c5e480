//! The scripts folder: which files are workflows, and when one changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use durhai_core::Version;
use durhai_engine::{Sandbox, SandboxConfig};
use durhai_world::WorldError;
use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher};
use tokio::sync::oneshot;

use crate::gate;
use crate::inner::Inner;
use crate::view::Report;

/// Editors write a file in several steps; what comes within this time is looked at once.
const SETTLE: Duration = Duration::from_millis(60);

/// Where nothing tells of changes, the folder is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_millis(800);

/// While a version waits for runs to end, this often.
const LOOK_AT_REFUSED: Duration = Duration::from_secs(3);

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
    let mut watch = Watch { inner: inner.clone(), looks, sandbox, replies: Vec::new(), stop: false, again: false };
    // Moves that a host before this one began.
    let mut unmoved: BTreeSet<String> = inner.catalog.all_serving().into_iter().map(|(name, _)| name).collect();
    let mut reports = Vec::new();
    while !watch.stop {
        if !std::mem::take(&mut watch.again) {
            let patience = match polled {
                true => LOOK_AGAIN,
                false if inner.catalog.any_refused() => LOOK_AT_REFUSED,
                false => Duration::MAX,
            };
            if !watch.wait(patience) {
                break;
            }
        }
        match watch.look(&mut reports, &mut unmoved) {
            // Something was saved meanwhile: that is what counts.
            Ok(false) => watch.again = true,
            Ok(true) => {
                if !reports.is_empty() {
                    inner.scheduler.ring();
                }
                let reports = std::mem::take(&mut reports);
                for reply in watch.replies.drain(..) {
                    let _ = reply.send(reports.clone());
                }
            }
            Err(error) => return inner.fail(Arc::new(error)),
        }
    }
}

struct Watch<'a> {
    inner: Arc<Inner>,
    looks: &'a mpsc::Receiver<Look>,
    sandbox: Sandbox,
    /// Those who want to hear what changed.
    replies: Vec<oneshot::Sender<Vec<Report>>>,
    stop: bool,
    /// Something may have changed since the folder was looked at.
    again: bool,
}

impl Watch<'_> {
    /// Sleeps until there is a reason to look; `false`: the host stops.
    fn wait(&mut self, patience: Duration) -> bool {
        let look = match patience {
            Duration::MAX => self.looks.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            patience => self.looks.recv_timeout(patience),
        };
        match look {
            Ok(Look::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return false,
            Ok(Look::Now(reply)) => self.replies.push(reply),
            Ok(Look::Changed) => {
                // Until nothing has come for a moment; a folder that never rests is looked at all the same.
                for _ in 0..10 {
                    match self.looks.recv_timeout(SETTLE) {
                        Ok(Look::Changed) => {}
                        Ok(Look::Now(reply)) => self.replies.push(reply),
                        Ok(Look::Stop) | Err(mpsc::RecvTimeoutError::Disconnected) => return false,
                        Err(mpsc::RecvTimeoutError::Timeout) => break,
                    }
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
        }
        true
    }

    /// Looks at every text and takes what is new through the gate; `false`: a newer save came in between.
    fn look(&mut self, reports: &mut Vec<Report>, unmoved: &mut BTreeSet<String>) -> Result<bool, WorldError> {
        let inner = self.inner.clone();
        let (told, candidates) = inner.catalog.scan(&*inner.world, &self.sandbox, inner.clock.now())?;
        inner.meters.reloaded(&told);
        reports.extend(told);
        for candidate in inner.catalog.take_served().into_iter().chain(candidates) {
            let name = &candidate.workflow;
            match gate::pass(&inner, &candidate, &mut || self.is_outdated(name, &candidate.version))? {
                Some(told) => {
                    inner.meters.reloaded(&told);
                    reports.extend(told);
                }
                None if self.stop || inner.is_stopping() => return Ok(true),
                None => return Ok(false),
            }
            unmoved.insert(name.clone());
        }
        while let Some(name) = unmoved.pop_first() {
            let serving = inner.catalog.serving(&name).ok().map(|serving| serving.version);
            let mut outdated = || serving.as_ref().is_none_or(|version| self.is_outdated(&name, version));
            if gate::resume(&inner, &name, &mut outdated)?.is_none() {
                unmoved.insert(name);
                return Ok(self.stop || inner.is_stopping());
            }
        }
        Ok(true)
    }

    /// Asked while a gate is at work: whether the workflow's text is another one by now, or the host stops.
    fn is_outdated(&mut self, workflow: &str, version: &Version) -> bool {
        let mut changed = false;
        loop {
            match self.looks.try_recv() {
                Ok(Look::Changed) => changed = true,
                Ok(Look::Now(reply)) => {
                    changed = true;
                    self.replies.push(reply);
                }
                Ok(Look::Stop) | Err(mpsc::TryRecvError::Disconnected) => self.stop = true,
                Err(mpsc::TryRecvError::Empty) => break,
            }
            if self.stop {
                return true;
            }
        }
        // What is half written does not compile, and counts when it does.
        self.again |= changed;
        changed && self.inner.catalog.current(&self.sandbox, workflow).is_some_and(|now| now != *version)
    }
}
