//! Workflows by name: what is in the folder, which version serves, and the texts of all versions.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use durhai_core::{Millis, Site, Value, Version};
use durhai_engine::header::OnReload;
use durhai_engine::{Bundle, Program, Sandbox, SandboxConfig, diagnostic};
use durhai_world::{World, WorldError};
use parking_lot::{Mutex, RwLock};
use tokio::sync::broadcast;

use crate::error::Unready;
use crate::store::meta;
use crate::versions::candidate::{self, Blocking, Candidate};
use crate::versions::serving::{Missing, Serving};
use crate::versions::stamp::Stamp;
use crate::versions::{known, scripts};
use crate::view::{Report, WorkflowView};

/// Texts kept in memory beside those that serve, at most.
const TEXTS: usize = 256;

pub(crate) struct Catalog {
    /// Absolute, so that it is found again whatever was moved in between.
    pub folder: Option<PathBuf>,
    /// Saves are picked up while the host runs.
    pub watched: bool,
    /// Why the folder cannot be looked at, where that is so.
    gone: RwLock<Option<String>>,
    /// Texts that the embedder gave.
    own: BTreeMap<String, String>,
    entries: RwLock<BTreeMap<String, Entry>>,
    /// Versions that serve since the host came up, and whose live runs have not been looked at.
    served: Mutex<Vec<Candidate>>,
    texts: Mutex<HashMap<Version, Arc<Bundle>>>,
    pub reports: broadcast::Sender<Report>,
}

#[derive(Clone, Default)]
struct Entry {
    /// What new starts get.
    serving: Option<Serving>,
    description: String,
    error: Option<String>,
    /// The text that was looked at last, so that the same one is not looked at twice.
    seen: Option<Seen>,
    /// The files that were looked at for that.
    stamps: Vec<Stamp>,
    /// What `check` finds wrong in the text that serves.
    findings: Vec<String>,
    /// A version of it is on its way through the gate.
    gating: bool,
    /// Whether the file is there: without it nothing starts.
    present: bool,
    /// The text compiles, but these runs stand in its way.
    refused: Option<Vec<Blocking>>,
}

/// What a text came to.
pub(crate) enum Taken {
    Nothing,
    Told(Report),
    /// It has to go through the gate.
    Candidate(Box<Candidate>),
}

/// A workflow's text as it is found.
pub(crate) enum Text {
    /// There is none (any more).
    Gone,
    There(String),
    /// There is one, and this is why nobody can read it.
    Unreadable(String),
}

#[derive(Clone, PartialEq, Eq)]
enum Seen {
    /// It compiled, with what it imports, to this version.
    Good(Version),
    /// It did not, and this was said about it.
    Bad(String),
}

impl Catalog {
    pub fn new(folder: Option<PathBuf>, watched: bool, own: impl IntoIterator<Item = (String, String)>) -> Self {
        let own = own.into_iter().collect();
        let folder = folder.map(|folder| std::path::absolute(&folder).unwrap_or(folder));
        Catalog {
            watched: watched && folder.is_some(),
            folder,
            gone: RwLock::default(),
            own,
            entries: RwLock::default(),
            served: Mutex::default(),
            texts: Mutex::default(),
            reports: broadcast::channel(256).0,
        }
    }

    /// The version that a start of this workflow gets; the error says why there is none.
    pub fn serving(&self, workflow: &str) -> Result<Serving, Missing> {
        let entries = self.entries.read();
        match entries.get(workflow) {
            Some(Entry { serving: Some(serving), present: true, .. }) => Ok(serving.clone()),
            Some(Entry { error: Some(error), present: true, .. }) => Err(Missing::Broken(error.clone())),
            _ => {
                let names: Vec<_> =
                    entries.iter().filter(|(_, entry)| entry.present).map(|(name, _)| name.clone()).collect();
                Err(Missing::Unknown(crate::steps::registry::unknown("workflow", workflow, &names)))
            }
        }
    }

    pub fn list(&self) -> Vec<WorkflowView> {
        let entries = self.entries.read();
        let present = entries.iter().filter(|(_, entry)| entry.present);
        present
            .map(|(name, entry)| WorkflowView {
                name: name.clone(),
                version: entry.serving.as_ref().map(|serving| serving.version.clone()),
                description: entry.description.clone(),
                error: entry.error.clone(),
                header: entry.serving.as_ref().map_or(Value::Null, |serving| serving.header.raw().clone()),
                live: Vec::new(),
                warnings: entry.findings.clone(),
            })
            .collect()
    }

    /// Every workflow that can be started, with what its header says.
    pub fn all_serving(&self) -> Vec<(String, Serving)> {
        let entries = self.entries.read();
        let present = entries.iter().filter(|(_, entry)| entry.present);
        present.filter_map(|(name, entry)| Some((name.clone(), entry.serving.clone()?))).collect()
    }

    /// The texts of a version, from memory or from the world.
    pub fn bundle(&self, world: &dyn World, version: &Version) -> Result<Arc<Bundle>, Unready> {
        if let Some(bundle) = self.texts.lock().get(version) {
            return Ok(bundle.clone());
        }
        let short = version.short();
        let missing = || Unready::Wrong(format!("the text of version {short} is not in the store"));
        let bytes = world.program(version)?.ok_or_else(missing)?;
        let bundle: Bundle = serde_json::from_slice(&bytes)
            .map_err(|error| Unready::Wrong(format!("the stored text of version {short} is damaged: {error}")))?;
        Ok(self.keep(version.clone(), bundle))
    }

    /// The line of a script that a site like `18:5` or `lib/money:3:9` names; empty if it cannot be had.
    pub fn source_line(&self, world: &dyn World, version: &Version, site: &str) -> String {
        let Some(site) = Site::parse(site) else { return String::new() };
        let Ok(bundle) = self.bundle(world, version) else { return String::new() };
        let text = match &site.file {
            None => Some(bundle.source.as_str()),
            Some(file) => match file.trim_end_matches(".rhai") {
                main if main == bundle.name => Some(bundle.source.as_str()),
                module => bundle.modules.get(module).map(String::as_str),
            },
        };
        text.map(|text| diagnostic::source_line(text, site.line).trim().to_owned()).unwrap_or_default()
    }

    /// Takes a workflow's text (or its absence) as it is now, and says what changed by it. A version that compiled and is
    /// another one than serves has to go through the gate; until it is through, the one that serves goes on serving. `stamps`
    /// are those of the files that were looked at so far.
    pub fn take(
        &self,
        world: &dyn World,
        sandbox: &Sandbox,
        now: Millis,
        name: &str,
        (text, mut stamps): (Text, Vec<Stamp>),
    ) -> Result<Taken, WorldError> {
        let before = self.entries.read().get(name).cloned().unwrap_or_default();
        let mut after = before.clone();
        let mut taken = Taken::Nothing;
        let compiled = match text {
            Text::Gone => None,
            Text::There(source) => Some(self.compile(sandbox, name, &source, &mut stamps)),
            Text::Unreadable(why) => Some(Err(why)),
        };
        after.stamps = stamps;
        match compiled {
            None if before.present => {
                after = Entry {
                    serving: after.serving,
                    description: after.description,
                    error: after.error,
                    ..Entry::default()
                };
                taken = Taken::Told(Report::Removed { workflow: name.into() });
            }
            None => {}
            Some(Ok((bundle, program))) => {
                after.present = true;
                let version = bundle.version();
                let same = before.seen.as_ref() == Some(&Seen::Good(version.clone()));
                if same && !self.may_pass(world, &before)? {
                    self.entries.write().insert(name.into(), after);
                    return Ok(Taken::Nothing);
                }
                if world.program(&version)?.is_none() {
                    let bytes = serde_json::to_vec(&bundle).expect("texts are JSON");
                    world.put_program(&version, &bytes)?;
                }
                known::note(world, now, name, &version)?;
                if before.serving.is_none() {
                    self.serve_last(world, sandbox, name, &mut after)?;
                }
                let serving = after.serving.as_ref();
                let mut candidate = Candidate {
                    workflow: name.into(),
                    from: serving.map_or_else(|| version.clone(), |serving| serving.version.clone()),
                    version: version.clone(),
                    bundle: self.keep(version.clone(), bundle),
                    header: program.header().clone(),
                    description: program.description().to_owned(),
                    served: false,
                };
                let gated = candidate.from != version && candidate::any_live(world, name)?;
                after.gating = gated;
                self.entries.write().insert(name.into(), after);
                if gated {
                    // A host that comes up has nothing to wait for where the gate decides over runs only.
                    if before.serving.is_none() && candidate.header.on_reload != OnReload::Refuse {
                        candidate.served = true;
                        candidate::note_upgrade(world, &candidate)?;
                        self.serve(world, &candidate)?;
                        self.served.lock().push(candidate);
                        return Ok(Taken::Nothing);
                    }
                    return Ok(Taken::Candidate(Box::new(candidate)));
                }
                let report = self.serve(world, &candidate)?;
                let _ = self.reports.send(report.clone());
                return Ok(Taken::Told(report));
            }
            Some(Err(error)) => {
                after.present = true;
                after.gating = false;
                if before.serving.is_none() {
                    self.serve_last(world, sandbox, name, &mut after)?;
                }
                after.error = Some(error.clone());
                after.refused = None;
                after.seen = Some(Seen::Bad(error.clone()));
                if before.seen != after.seen {
                    taken = Taken::Told(Report::Broken { workflow: name.into(), error });
                }
            }
        }
        self.entries.write().insert(name.into(), after);
        if let Taken::Told(report) = &taken {
            let _ = self.reports.send(report.clone());
        }
        Ok(taken)
    }

    /// The version that served when the host was last up still does.
    fn serve_last(
        &self,
        world: &dyn World,
        sandbox: &Sandbox,
        name: &str,
        entry: &mut Entry,
    ) -> Result<(), WorldError> {
        let Some(version) = known::pointed(world, name)? else { return Ok(()) };
        let bundle = match self.bundle(world, &version) {
            Ok(bundle) => bundle,
            Err(Unready::World(error)) => return Err(error),
            Err(Unready::Wrong(_)) => return Ok(()),
        };
        if let Ok(program) = sandbox.compile(&bundle) {
            entry.description = program.description().to_owned();
            entry.serving = Some(Serving { version, header: program.header().clone() });
        }
        Ok(())
    }

    /// Whether a version that was refused may be let through now.
    fn may_pass(&self, world: &dyn World, entry: &Entry) -> Result<bool, WorldError> {
        match &entry.refused {
            Some(blocking) => candidate::out_of_the_way(world, blocking),
            None => Ok(false),
        }
    }

    /// New starts get it from now on.
    pub fn serve(&self, world: &dyn World, candidate: &Candidate) -> Result<Report, WorldError> {
        let Candidate { workflow, version, header, description, .. } = candidate;
        let mut after = self.entries.read().get(workflow).cloned().unwrap_or_default();
        if known::pointed(world, workflow)?.as_ref() != Some(version) {
            world.put_meta(&meta::serving(workflow), version.as_str().as_bytes())?;
        }
        if let Some(concurrency) = header.concurrency.as_ref().filter(|by| by.key.is_none()) {
            world.set_limit(workflow, concurrency.limit)?;
        }
        after.serving = Some(Serving { version: version.clone(), header: header.clone() });
        after.description.clone_from(description);
        after.findings.clear();
        after.gating = false;
        after.error = None;
        after.refused = None;
        after.seen = Some(Seen::Good(version.clone()));
        self.entries.write().insert(workflow.clone(), after);
        Ok(Report::Loaded { workflow: workflow.clone(), version: version.clone() })
    }

    /// What serves goes on serving until these runs are out of the way.
    pub fn refuse(&self, candidate: &Candidate, error: String, blocking: Vec<Blocking>) -> Report {
        let Candidate { workflow, version, .. } = candidate;
        if let Some(entry) = self.entries.write().get_mut(workflow) {
            entry.error = Some(error.clone());
            entry.refused = Some(blocking);
            entry.gating = false;
            entry.seen = Some(Seen::Good(version.clone()));
        }
        Report::Broken { workflow: workflow.clone(), error }
    }

    /// Versions that serve without having been at the gate; each is given out once.
    pub fn take_served(&self) -> Vec<Candidate> {
        std::mem::take(&mut self.served.lock())
    }

    /// Whether versions wait for runs to end.
    pub fn any_refused(&self) -> bool {
        self.entries.read().values().any(|entry| entry.refused.is_some())
    }

    /// What `check` says about the text that serves, if that is still this version.
    pub fn found(&self, workflow: &str, version: &Version, findings: Vec<String>) {
        if let Some(entry) = self.entries.write().get_mut(workflow)
            && entry.serving.as_ref().is_some_and(|serving| serving.version == *version)
        {
            entry.findings = findings;
        }
    }

    /// Every name that a start could mean, and those of steps' callers.
    pub fn names(&self) -> Vec<String> {
        let entries = self.entries.read();
        entries.iter().filter(|(_, entry)| entry.present).map(|(name, _)| name.clone()).collect()
    }

    /// The version that a workflow's text has now, if it compiles.
    pub fn current(&self, sandbox: &Sandbox, name: &str) -> Option<Version> {
        let source = match self.own.get(name) {
            Some(source) => source.clone(),
            None => {
                let folder = self.folder.as_ref()?;
                scripts::read_script(folder, &folder.join(format!("{name}.rhai"))).ok()??
            }
        };
        Some(self.compile(sandbox, name, &source, &mut Vec::new()).ok()?.0.version())
    }

    /// Whether the files of a workflow are those that were looked at last. Costs a look at the stamp of each: it may wait for
    /// the file system, and reads nothing.
    pub fn is_current(&self, name: &str) -> bool {
        let Some(folder) = self.folder.as_ref().filter(|_| self.watched && !self.own.contains_key(name)) else {
            return true;
        };
        let entry = self.entries.read().get(name).map(|entry| (entry.gating, entry.stamps.clone()));
        match entry {
            Some((true, _)) => false,
            Some((false, stamps)) if !stamps.is_empty() => stamps.iter().all(Stamp::is_current),
            _ => scripts::file_of(folder, name).is_none_or(|file| file.symlink_metadata().is_err()),
        }
    }

    /// The next look reads its files again, whatever their stamps.
    pub fn look_again(&self, name: &str) {
        if let Some(entry) = self.entries.write().get_mut(name) {
            entry.stamps.clear();
        }
    }

    /// Looks at one workflow of the folder, as `scan` looks at all.
    pub fn look_at(&self, world: &dyn World, sandbox: &Sandbox, now: Millis, name: &str) -> Result<Taken, WorldError> {
        let Some(folder) = self.folder.as_ref().filter(|_| !self.own.contains_key(name)) else {
            return Ok(Taken::Nothing);
        };
        // A folder that is not there says nothing about the workflows in it.
        let Some(file) = scripts::file_of(folder, name).filter(|_| folder.is_dir()) else { return Ok(Taken::Nothing) };
        self.take(world, sandbox, now, name, self.read(&file))
    }

    fn read(&self, file: &Path) -> (Text, Vec<Stamp>) {
        let stamps = vec![Stamp::of(file.to_path_buf())];
        let text = match self.folder.as_ref().map(|folder| scripts::read_script(folder, file)) {
            Some(Ok(Some(text))) => Text::There(text),
            Some(Err(why)) => Text::Unreadable(why),
            Some(Ok(None)) | None => Text::Gone,
        };
        (text, stamps)
    }

    /// Looks at every text: what changed, and which versions have to go through the gate. `between` is called between two of
    /// them; `false` ends it.
    pub fn scan(
        &self,
        world: &dyn World,
        sandbox: &Sandbox,
        now: Millis,
        between: &mut dyn FnMut() -> Result<bool, WorldError>,
    ) -> Result<(Vec<Report>, Vec<Candidate>), WorldError> {
        let (mut reports, mut candidates) = (Vec::new(), Vec::new());
        let mut sort = |taken| match taken {
            Taken::Nothing => {}
            Taken::Told(report) => reports.push(report),
            Taken::Candidate(candidate) => candidates.push(*candidate),
        };
        for (name, source) in &self.own {
            // It never changes: it is looked at until it serves.
            let waits =
                self.entries.read().get(name).is_none_or(|entry| entry.seen.is_none() || entry.refused.is_some());
            if waits {
                sort(self.take(world, sandbox, now, name, (Text::There(source.clone()), Vec::new()))?);
            }
        }
        let Some(folder) = &self.folder else { return Ok((reports, candidates)) };
        let listed = match scripts::workflows(folder) {
            Ok(listed) => listed,
            Err(error) => {
                // A folder that cannot be read says nothing about the workflows in it.
                reports.extend(self.set_gone(Some(format!("the folder {} cannot be read: {error}", folder.display()))));
                return Ok((reports, candidates));
            }
        };
        if let Some(back) = self.set_gone(None) {
            sort(Taken::Told(back));
        }
        let known: Vec<_> = self.entries.read().keys().cloned().collect();
        for gone in
            known.into_iter().filter(|name| !listed.workflows.contains_key(name) && !self.own.contains_key(name))
        {
            let text = match listed.unlisted(&gone) {
                Some(why) => Text::Unreadable(why.clone()),
                None => Text::Gone,
            };
            sort(self.take(world, sandbox, now, &gone, (text, Vec::new()))?);
        }
        for (name, file) in listed.workflows.into_iter().filter(|(name, _)| !self.own.contains_key(name)) {
            if !between()? {
                break;
            }
            if self.is_settled(&name) {
                continue;
            }
            let found = match file {
                Ok(file) => self.read(&file),
                Err(why) => (Text::Unreadable(why), Vec::new()),
            };
            sort(self.take(world, sandbox, now, &name, found)?);
        }
        Ok((reports, candidates))
    }

    /// What was looked at last is what is there, and waits for nothing.
    fn is_settled(&self, name: &str) -> bool {
        let entries = self.entries.read();
        let Some(entry) = entries.get(name).filter(|entry| entry.present && entry.refused.is_none()) else {
            return false;
        };
        let stamps = entry.stamps.clone();
        drop(entries);
        !stamps.is_empty() && stamps.iter().all(Stamp::is_current)
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

    fn compile(
        &self,
        sandbox: &Sandbox,
        name: &str,
        source: &str,
        stamps: &mut Vec<Stamp>,
    ) -> Result<(Bundle, Program), String> {
        let all = |diagnostics: Vec<durhai_engine::Diagnostic>| {
            diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let bundle = scripts::gather(self.folder.as_deref(), name, source, stamps).map_err(all)?;
        let program = sandbox.compile(&bundle).map_err(all)?;
        Ok((bundle, program))
    }

    /// Keeps the texts of a version in memory no longer.
    pub fn forget(&self, version: &Version) {
        self.texts.lock().remove(version);
    }

    fn keep(&self, version: Version, bundle: Bundle) -> Arc<Bundle> {
        let bundle = Arc::new(bundle);
        let mut texts = self.texts.lock();
        if texts.len() >= TEXTS {
            texts.clear();
        }
        texts.insert(version, bundle.clone());
        bundle
    }
}

/// A sandbox only to compile with.
pub(crate) fn sandbox(config: &SandboxConfig) -> Sandbox {
    Sandbox::new(config)
}
