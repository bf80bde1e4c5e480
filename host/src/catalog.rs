//! Workflows by name: what is in the folder, which version serves, and the texts of all versions.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use durhai_core::{Site, Value, Version};
use durhai_engine::{Bundle, Header, Program, Sandbox, SandboxConfig, diagnostic};
use durhai_world::{World, WorldError};
use tokio::sync::broadcast;

use crate::folder;
use crate::view::{Report, WorkflowView};

/// Texts kept in memory beside those that serve, at most.
const TEXTS: usize = 256;

pub(crate) struct Catalog {
    pub folder: Option<PathBuf>,
    entries: RwLock<BTreeMap<String, Entry>>,
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
    /// Whether the file is there: without it nothing starts.
    present: bool,
}

/// The version of a workflow that new starts get.
#[derive(Clone)]
pub(crate) struct Serving {
    pub version: Version,
    pub header: Arc<Header>,
}

#[derive(Clone, PartialEq, Eq)]
enum Seen {
    /// It compiled, with what it imports, to this version.
    Good(Version),
    /// It did not, and this was said about it.
    Bad(String),
}

impl Catalog {
    pub fn new(folder: Option<PathBuf>) -> Self {
        Catalog { folder, entries: RwLock::default(), texts: Mutex::default(), reports: broadcast::channel(256).0 }
    }

    /// The version that a start of this workflow gets; the error says why there is none.
    pub fn serving(&self, workflow: &str) -> Result<Serving, Missing> {
        let entries = self.entries.read().expect("not poisoned");
        match entries.get(workflow) {
            Some(Entry { serving: Some(serving), present: true, .. }) => Ok(serving.clone()),
            Some(Entry { error: Some(error), present: true, .. }) => Err(Missing::Broken(error.clone())),
            _ => {
                let names: Vec<_> =
                    entries.iter().filter(|(_, entry)| entry.present).map(|(name, _)| name.clone()).collect();
                Err(Missing::Unknown(crate::registry::unknown("workflow", workflow, &names)))
            }
        }
    }

    pub fn list(&self) -> Vec<WorkflowView> {
        let entries = self.entries.read().expect("not poisoned");
        let present = entries.iter().filter(|(_, entry)| entry.present);
        present
            .map(|(name, entry)| WorkflowView {
                name: name.clone(),
                version: entry.serving.as_ref().map(|serving| serving.version.clone()),
                description: entry.description.clone(),
                error: entry.error.clone(),
                header: entry.serving.as_ref().map_or(Value::Null, |serving| serving.header.raw().clone()),
            })
            .collect()
    }

    /// Every workflow that can be started, with what its header says.
    pub fn all_serving(&self) -> Vec<(String, Serving)> {
        let entries = self.entries.read().expect("not poisoned");
        let present = entries.iter().filter(|(_, entry)| entry.present);
        present.filter_map(|(name, entry)| Some((name.clone(), entry.serving.clone()?))).collect()
    }

    /// The texts of a version, from memory or from the world. The error is a reason to park a run.
    pub fn bundle(&self, world: &dyn World, version: &Version) -> Result<Arc<Bundle>, String> {
        if let Some(bundle) = self.texts.lock().expect("not poisoned").get(version) {
            return Ok(bundle.clone());
        }
        let bytes = world
            .program(version)
            .map_err(|error| error.to_string())?
            .ok_or_else(|| format!("the text of version {} is not in the store", version.short()))?;
        let bundle: Bundle = serde_json::from_slice(&bytes)
            .map_err(|error| format!("the stored text of version {} is damaged: {error}", version.short()))?;
        Ok(self.keep(version.clone(), bundle))
    }

    /// The line of a script that a site like `18:5` or `lib/money:3:9` names; empty if it cannot be had.
    pub fn source_line(&self, world: &dyn World, version: &Version, site: &str) -> String {
        let Some(site) = Site::parse(site) else { return String::new() };
        let Ok(bundle) = self.bundle(world, version) else { return String::new() };
        let text = match &site.file {
            None => Some(bundle.source.as_str()),
            Some(file) => bundle.modules.get(file.trim_end_matches(".rhai")).map(String::as_str),
        };
        text.map(|text| diagnostic::source_line(text, site.line).trim().to_owned()).unwrap_or_default()
    }

    /// Takes a workflow's text (or its absence) as it is now, and says what changed by it.
    pub fn take(
        &self,
        world: &dyn World,
        sandbox: &Sandbox,
        name: &str,
        source: Option<String>,
    ) -> Result<Option<Report>, WorldError> {
        let before = self.entries.read().expect("not poisoned").get(name).cloned().unwrap_or_default();
        let mut after = before.clone();
        let report = match source {
            None if before.present => {
                after.present = false;
                after.seen = None;
                Some(Report::Removed { workflow: name.into() })
            }
            None => None,
            Some(source) => {
                after.present = true;
                match self.compile(sandbox, name, source) {
                    Ok((bundle, program)) => {
                        let version = bundle.version();
                        let header = program.header().clone();
                        after.description = program.description().to_owned();
                        after.error = None;
                        after.seen = Some(Seen::Good(version.clone()));
                        (before.seen != after.seen)
                            .then(|| -> Result<_, WorldError> {
                                let bytes = serde_json::to_vec(&bundle).expect("texts are JSON");
                                if world.program(&version)?.is_none() {
                                    world.put_program(&version, &bytes)?;
                                }
                                if before.serving.as_ref().is_none_or(|serving| serving.version != version) {
                                    world.put_meta(&pointer(name), version.as_str().as_bytes())?;
                                }
                                if let Some(concurrency) = header.concurrency.as_ref().filter(|by| by.key.is_none()) {
                                    world.set_limit(name, concurrency.limit)?;
                                }
                                self.keep(version.clone(), bundle);
                                after.serving = Some(Serving { version: version.clone(), header });
                                Ok(Report::Loaded { workflow: name.into(), version })
                            })
                            .transpose()?
                    }
                    Err(error) => {
                        if before.serving.is_none()
                            && let Some(bytes) = world.meta(&pointer(name))?
                        {
                            // The version that served when the host was last up still does.
                            let version = Version::from_digest(&String::from_utf8_lossy(&bytes));
                            let program = self.bundle(world, &version).map(|bundle| sandbox.compile(&bundle));
                            if let Ok(Ok(program)) = program {
                                after.description = program.description().to_owned();
                                after.serving = Some(Serving { version, header: program.header().clone() });
                            }
                        }
                        after.error = Some(error.clone());
                        after.seen = Some(Seen::Bad(error.clone()));
                        (before.seen != after.seen).then(|| Report::Broken { workflow: name.into(), error })
                    }
                }
            }
        };
        self.entries.write().expect("not poisoned").insert(name.into(), after);
        if let Some(report) = &report {
            let _ = self.reports.send(report.clone());
        }
        Ok(report)
    }

    /// Looks at the whole folder.
    pub fn scan(&self, world: &dyn World, sandbox: &Sandbox) -> Result<Vec<Report>, WorldError> {
        let Some(folder) = &self.folder else { return Ok(Vec::new()) };
        let found = match folder::workflows(folder) {
            Ok(found) => found,
            Err(error) => {
                // A folder that cannot be read says nothing about the workflows in it.
                let error = format!("{}: {error}", folder.display());
                return Ok(vec![Report::Broken { workflow: String::new(), error }]);
            }
        };
        let mut reports = Vec::new();
        let known: Vec<_> = self.entries.read().expect("not poisoned").keys().cloned().collect();
        for gone in known.into_iter().filter(|name| !found.contains_key(name)) {
            reports.extend(self.take(world, sandbox, &gone, None)?);
        }
        for (name, path) in found {
            match std::fs::read_to_string(&path) {
                Ok(source) => reports.extend(self.take(world, sandbox, &name, Some(source))?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    let error = format!("{}: {error}", path.display());
                    reports.push(Report::Broken { workflow: name, error });
                }
            }
        }
        Ok(reports)
    }

    fn compile(&self, sandbox: &Sandbox, name: &str, source: String) -> Result<(Bundle, Program), String> {
        let folder = self.folder.clone();
        let mut read = |path: &str| {
            let file = folder.as_ref()?.join(format!("{path}.rhai"));
            folder::inside(folder.as_ref()?, &file).then(|| std::fs::read_to_string(file).ok()).flatten()
        };
        let all = |diagnostics: Vec<durhai_engine::Diagnostic>| {
            diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        let bundle = Bundle::gather(name, &source, &mut read).map_err(all)?;
        let program = sandbox.compile(&bundle).map_err(all)?;
        Ok((bundle, program))
    }

    /// Keeps the texts of a version in memory no longer.
    pub fn forget(&self, version: &Version) {
        self.texts.lock().expect("not poisoned").remove(version);
    }

    fn keep(&self, version: Version, bundle: Bundle) -> Arc<Bundle> {
        let bundle = Arc::new(bundle);
        let mut texts = self.texts.lock().expect("not poisoned");
        if texts.len() >= TEXTS {
            texts.clear();
        }
        texts.insert(version, bundle.clone());
        bundle
    }
}

/// Why nothing can be started.
pub(crate) enum Missing {
    Unknown(String),
    Broken(String),
}

/// Where the world keeps which version of a workflow serves.
pub(crate) fn pointer(workflow: &str) -> String {
    format!("serving/{workflow}")
}

/// A sandbox only to compile with.
pub(crate) fn sandbox(config: &SandboxConfig) -> Sandbox {
    Sandbox::new(config)
}
