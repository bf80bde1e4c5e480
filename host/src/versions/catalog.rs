//! Workflows by name: which there are, which version serves, and what is wrong with the others.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use durhai_core::{Value, Version};
use durhai_engine::Bundle;
use durhai_world::{World, WorldError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::broadcast;

use crate::error::Unready;
use crate::steps::registry;
use crate::store::meta;
use crate::versions::candidate::Candidate;
use crate::versions::lifecycle::{Change, Workflow};
use crate::versions::newest::{self, Saved, Serves};
use crate::versions::serving::{Missing, Serving};
use crate::versions::stamp::Stamp;
use crate::versions::texts::{self, Texts};
use crate::versions::{known, scripts};
use crate::view::{Report, WorkflowView};

pub(crate) struct Catalog {
    /// Absolute, so that it is found again whatever was moved in between.
    pub folder: Option<PathBuf>,
    /// Saves are picked up while the host runs.
    pub watched: bool,
    /// Why the folder cannot be looked at, where that is so.
    gone: RwLock<Option<String>>,
    /// Texts that the embedder gave.
    pub own: BTreeMap<String, String>,
    /// Which text serves where hosts have different ones; none in a world that is not shared.
    serves: Option<Serves>,
    /// The folder was looked at: what comes into it from now on is saved while the host runs.
    opened: AtomicBool,
    workflows: RwLock<BTreeMap<String, Workflow>>,
    /// Versions that serve since the host came up, and whose live runs have not been checked.
    unchecked: Mutex<Vec<Candidate>>,
    pub texts: Texts,
    pub reports: broadcast::Sender<Report>,
}

impl Catalog {
    /// `serves`: the world is shared with other hosts.
    pub fn new(
        folder: Option<PathBuf>,
        watched: bool,
        own: impl IntoIterator<Item = (String, String)>,
        serves: Option<Serves>,
    ) -> Self {
        let folder = folder.map(|folder| std::path::absolute(&folder).unwrap_or(folder));
        Catalog {
            watched: watched && folder.is_some(),
            folder,
            gone: RwLock::default(),
            own: own.into_iter().collect(),
            serves,
            opened: AtomicBool::new(false),
            workflows: RwLock::default(),
            unchecked: Mutex::default(),
            texts: Texts::default(),
            reports: broadcast::channel(256).0,
        }
    }

    /// What serves is for all hosts of the world, and may come from another one.
    pub fn is_shared(&self) -> bool {
        matches!(self.serves, Some(Serves::Newest | Serves::TakeOver))
    }

    /// What serves is for this host alone, in a world that has others.
    pub fn is_apart(&self) -> bool {
        self.serves == Some(Serves::HereOnly)
    }

    /// Whether a text that is found now for the first time came with the start of the host, and is no save.
    pub fn is_from_before(&self, workflow: &str) -> bool {
        let starts = self.own.contains_key(workflow) || !self.opened.load(Ordering::SeqCst);
        starts && self.serves != Some(Serves::TakeOver)
    }

    /// The whole folder was looked at.
    pub fn set_opened(&self) {
        self.opened.store(true, Ordering::SeqCst);
    }

    /// The version that a start of this workflow gets; the error says why there is none.
    pub fn serving(&self, workflow: &str) -> Result<Serving, Missing> {
        if let Some(found) = self.workflows.read().get(workflow).and_then(Workflow::for_start) {
            return found;
        }
        Err(Missing::Unknown(registry::unknown("workflow", workflow, &self.names())))
    }

    pub fn list(&self) -> Vec<WorkflowView> {
        let workflows = self.workflows.read();
        let present = workflows.iter().filter(|(_, workflow)| workflow.is_present());
        present
            .map(|(name, workflow)| WorkflowView {
                name: name.clone(),
                version: workflow.serving.as_ref().map(|serving| serving.version.clone()),
                description: workflow.description.clone(),
                error: workflow.error().map(ToOwned::to_owned),
                header: workflow.serving.as_ref().map_or(Value::Null, |serving| serving.header.raw().clone()),
                live: Vec::new(),
                warnings: workflow.findings.clone(),
                behind: workflow.behind(),
            })
            .collect()
    }

    /// Every workflow that can be started, with what its header says.
    pub fn all_serving(&self) -> Vec<(String, Serving)> {
        let workflows = self.workflows.read();
        let present = workflows.iter().filter(|(_, workflow)| workflow.is_present());
        present.filter_map(|(name, workflow)| Some((name.clone(), workflow.serving.clone()?))).collect()
    }

    /// The versions that serve, are being checked, or wait for runs that are in their way.
    pub fn used(&self) -> HashSet<Version> {
        let workflows = self.workflows.read();
        let present = workflows.values().filter(|workflow| workflow.is_present());
        present
            .flat_map(|workflow| {
                let waits = workflow.is_under_way() || workflow.blocking().is_some();
                let waiting = workflow.text.as_ref().filter(|_| waits).map(|text| text.version.clone());
                workflow.serving.as_ref().map(|serving| serving.version.clone()).into_iter().chain(waiting)
            })
            .collect()
    }

    /// Every name that a start could mean.
    pub fn names(&self) -> Vec<String> {
        let workflows = self.workflows.read();
        workflows.iter().filter(|(_, workflow)| workflow.is_present()).map(|(name, _)| name.clone()).collect()
    }

    /// Every name that was ever looked at.
    pub fn known_names(&self) -> Vec<String> {
        self.workflows.read().keys().cloned().collect()
    }

    /// What is known of a workflow at this moment.
    pub fn workflow(&self, name: &str) -> Option<Workflow> {
        self.workflows.read().get(name).cloned()
    }

    /// The texts of a version, from memory or from the world.
    pub fn bundle(&self, world: &dyn World, version: &Version) -> Result<Arc<Bundle>, Unready> {
        self.texts.bundle(world, version)
    }

    /// The line of a script that a site names; empty if it cannot be had. Without a world only texts in memory count.
    pub fn source_line(&self, world: Option<&dyn World>, version: &Version, site: &str) -> String {
        self.texts.source_line(world, version, site)
    }

    /// Something happened to a workflow: its next stage, and what is reported of it, to those who listen and to the caller.
    pub fn apply(&self, name: &str, change: Change) -> Vec<Report> {
        let reports = self.workflows.write().entry(name.to_owned()).or_default().transition(name, change);
        for report in &reports {
            let _ = self.reports.send(report.clone());
        }
        reports
    }

    /// New starts get it from now on, here and, after a restart, everywhere; where hosts share the world, in all of them soon.
    /// `None`: a newer text of another host does, which is followed. `checked`: what the check of live runs said of it comes later.
    pub fn serve(
        &self,
        world: &dyn World,
        candidate: &Candidate,
        checked: bool,
    ) -> Result<Option<Vec<Report>>, WorldError> {
        let Candidate { workflow, version, saved, bundle, header, description, .. } = candidate;
        if self.is_shared() {
            let text = Saved { at: *saved, version: version.clone() };
            if let Some(pointed) = newest::point(world, workflow, &text)? {
                self.apply(workflow, Change::Overtaken { version: version.clone(), pointed });
                return Ok(None);
            }
            // While live runs were checked no run had it: the host that removes texts of no use spares it from now on.
            texts::put(world, version, bundle)?;
        } else if !self.is_apart() && known::pointed(world, workflow)?.as_ref() != Some(version) {
            world.put_meta(&meta::serving(workflow), version.as_str().as_bytes())?;
        }
        let limit = header.concurrency.as_ref().filter(|by| by.key.is_none() && !self.is_apart());
        if let Some(concurrency) = limit {
            world.set_limit(workflow, concurrency.limit)?;
        }
        let serving = Serving { version: version.clone(), header: header.clone() };
        Ok(Some(self.apply(workflow, Change::Serves { serving, description: description.clone(), checked })))
    }

    /// What served when the host was last up still does, until its text was looked at.
    pub fn serve_as_before(&self, name: &str, serving: Serving, description: String) {
        let mut workflows = self.workflows.write();
        let workflow = workflows.entry(name.to_owned()).or_default();
        (workflow.serving, workflow.description) = (Some(serving), description);
    }

    /// What the text of a workflow compiles to, and when that was saved.
    pub fn set_text(&self, name: &str, text: Saved) {
        self.workflows.write().entry(name.to_owned()).or_default().text = Some(text);
    }

    /// The files that were looked at for the stage a workflow is in.
    pub fn set_stamps(&self, name: &str, stamps: Vec<Stamp>) {
        self.workflows.write().entry(name.to_owned()).or_default().stamps = stamps;
    }

    /// The next look reads its files again, whatever their stamps.
    pub fn look_again(&self, name: &str) {
        if let Some(workflow) = self.workflows.write().get_mut(name) {
            workflow.stamps.clear();
        }
    }

    /// Serves, and is to be checked against live runs when the host is up.
    pub fn check_later(&self, candidate: Candidate) {
        self.unchecked.lock().push(candidate);
    }

    /// Versions that serve and were not checked against live runs; each is given out once.
    pub fn take_unchecked(&self) -> Vec<Candidate> {
        std::mem::take(&mut self.unchecked.lock())
    }

    /// Whether versions wait for runs to end.
    pub fn any_refused(&self) -> bool {
        self.workflows.read().values().any(|workflow| workflow.blocking().is_some())
    }

    /// What `check` says about the text that serves, if that is still this version.
    pub fn found(&self, workflow: &str, version: &Version, findings: Vec<String>) {
        if let Some(workflow) = self.workflows.write().get_mut(workflow)
            && workflow.serving.as_ref().is_some_and(|serving| serving.version == *version)
        {
            workflow.findings = findings;
        }
    }

    /// Whether the files of a workflow are those that were looked at last. Costs a look at the stamp of each: it may wait for
    /// the file system, and reads nothing.
    pub fn is_current(&self, name: &str) -> bool {
        let Some(folder) = self.folder.as_ref().filter(|_| self.watched && !self.own.contains_key(name)) else {
            return true;
        };
        let known = self.workflows.read().get(name).map(|known| (known.is_under_way(), known.stamps.clone()));
        match known {
            Some((true, _)) => false,
            Some((false, stamps)) if !stamps.is_empty() => stamps.iter().all(Stamp::is_current),
            _ => scripts::file_of(folder, name).is_none_or(|file| file.symlink_metadata().is_err()),
        }
    }

    /// Whether the folder can be looked at; the report says that this has changed.
    pub fn set_gone(&self, why: Option<String>) -> Option<Report> {
        let folder = self.folder.as_ref()?.display().to_string();
        let mut gone = self.gone.write();
        let report = match (&*gone, &why) {
            (None, Some(error)) => {
                tracing::warn!("{error}; what served before still does");
                Report::FolderGone { folder, error: error.clone() }
            }
            (Some(_), None) => {
                tracing::warn!("the folder {folder} is back");
                Report::FolderBack { folder }
            }
            _ => return None,
        };
        *gone = why;
        drop(gone);
        let _ = self.reports.send(report.clone());
        Some(report)
    }

    /// Why the folder cannot be looked at, where that is so.
    pub fn gone(&self) -> Option<String> {
        self.gone.read().clone()
    }

    /// Keeps the texts of a version in memory no longer.
    pub fn forget(&self, version: &Version) {
        self.texts.forget(version);
    }
}
