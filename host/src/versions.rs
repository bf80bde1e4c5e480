//! Versions of a workflow: which there are, who has them, and their texts.

use std::collections::BTreeMap;

use durhai_core::{Millis, Version};
use durhai_engine::Bundle;
use durhai_world::{World, WorldError};
use serde::{Deserialize, Serialize};

use crate::catalog;
use crate::error::HostError;
use crate::host::Host;
use crate::view::{LiveVersion, RunCount, SourceView, VersionView, WorkflowView};

/// A version in the list that is kept for its workflow.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    version: Version,
    first_seen: Millis,
}

impl Host {
    /// Every version of a workflow whose text is in the store or that a run has; the one seen last comes first.
    ///
    /// [`HostError::NotFound`] if there is none.
    pub async fn versions(&self, workflow: &str) -> Result<Vec<VersionView>, HostError> {
        let inner = self.inner()?.clone();
        let name = workflow.to_owned();
        let serving = inner.catalog.serving(workflow).ok().map(|serving| serving.version);
        let views = inner
            .blocking(move |world| {
                let serving = match serving {
                    Some(serving) => Some(serving),
                    None => pointed(world, &name)?,
                };
                let mut found: BTreeMap<Version, VersionView> = BTreeMap::new();
                let empty = |version: &Version, first_seen| VersionView {
                    version: version.clone(),
                    first_seen,
                    serving: serving.as_ref() == Some(version),
                    live: 0,
                    runs: 0,
                    bytes: 0,
                };
                for known in known(world, &name)? {
                    found.insert(known.version.clone(), empty(&known.version, Some(known.first_seen)));
                }
                for count in world.run_counts()?.into_iter().filter(|count| count.workflow == name) {
                    let view = found.entry(count.version.clone()).or_insert_with(|| empty(&count.version, None));
                    view.runs += count.runs;
                    view.live += if count.status.is_terminal() { 0 } else { count.runs };
                }
                for view in found.values_mut() {
                    view.bytes = world.program(&view.version)?.map_or(0, |bytes| bytes.len() as u64);
                }
                let mut views: Vec<_> = found.into_values().filter(|view| view.bytes > 0 || view.runs > 0).collect();
                views.sort_by_key(|view| std::cmp::Reverse((view.first_seen, view.serving)));
                Ok(views)
            })
            .await?;
        match views.is_empty() {
            true => Err(HostError::NotFound(format!("no version of a workflow {workflow:?} is in this store"))),
            false => Ok(views),
        }
    }

    /// The texts of a version, by file: the workflow's own, and all it imports.
    ///
    /// [`HostError::NotFound`] if they are not in the store.
    pub async fn source(&self, version: &Version) -> Result<SourceView, HostError> {
        let inner = self.inner()?.clone();
        let (within, wanted) = (inner.clone(), version.clone());
        let bundle = inner.blocking(move |world| Ok(within.catalog.bundle(world, &wanted))).await?;
        let bundle = bundle.map_err(|error| error.into_host(HostError::NotFound))?;
        Ok(source_view(version, &bundle))
    }

    /// The version of a workflow that people mean by `serving`, or by the first digits of its digest (at least four).
    ///
    /// [`HostError::NotFound`] with what there is; [`HostError::Invalid`] if several begin like that.
    pub async fn version(&self, workflow: &str, text: &str) -> Result<Version, HostError> {
        let all = self.versions(workflow).await?;
        let list = |views: Vec<&VersionView>| {
            let list: Vec<_> = views.iter().map(|view| view.version.short().to_owned()).collect();
            list.join(", ")
        };
        if text == "serving" {
            let serving = all.iter().find(|view| view.serving).map(|view| view.version.clone());
            return serving.ok_or_else(|| HostError::NotFound(format!("no version of {workflow:?} serves")));
        }
        let fits: Vec<_> = all.iter().filter(|view| view.version.as_str().starts_with(text)).collect();
        match fits.as_slice() {
            _ if text.len() < 4 => {
                Err(HostError::Invalid(format!("{text:?} is too short for a version: give four digits or more")))
            }
            [one] => Ok(one.version.clone()),
            [] => Err(HostError::NotFound(format!(
                "the workflow {workflow:?} has no version {text}; there are {}",
                list(all.iter().collect())
            ))),
            _ => Err(HostError::Invalid(format!("several versions begin with {text}: {}", list(fits)))),
        }
    }

    /// The last report of the gate for a workflow, of whatever host on this world.
    pub async fn gate_report(&self, workflow: &str) -> Result<Option<crate::GateReport>, HostError> {
        let key = crate::gate::report_key(workflow);
        let bytes = self.inner()?.blocking(move |world| world.meta(&key)).await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    /// How many runs there are, by workflow, version and status. It takes no longer where there are many.
    pub async fn run_counts(&self) -> Result<Vec<RunCount>, HostError> {
        let count =
            |durhai_world::Count { workflow, version, status, runs }| RunCount { workflow, version, status, runs };
        self.inner()?.blocking(move |world| Ok(world.run_counts()?.into_iter().map(count).collect())).await
    }

    /// [`workflows`](Host::workflows) with the live runs of each version.
    pub async fn workflow_list(&self) -> Result<Vec<WorkflowView>, HostError> {
        let mut all = self.workflows();
        let inner = self.inner()?.clone();
        let mut live = inner.blocking(live_versions).await?;
        for view in &mut all {
            let versions = live.remove(&view.name).unwrap_or_default();
            view.live = versions
                .into_iter()
                .map(|(version, runs)| LiveVersion { serving: view.version.as_ref() == Some(&version), version, runs })
                .collect();
            view.live.sort_by_key(|live| (!live.serving, std::cmp::Reverse(live.runs)));
        }
        Ok(all)
    }
}

/// Live runs by workflow and version.
fn live_versions(world: &dyn World) -> Result<BTreeMap<String, BTreeMap<Version, u64>>, WorldError> {
    let mut found: BTreeMap<String, BTreeMap<Version, u64>> = BTreeMap::new();
    for count in world.run_counts()?.into_iter().filter(|count| !count.status.is_terminal()) {
        *found.entry(count.workflow).or_default().entry(count.version).or_default() += count.runs;
    }
    Ok(found)
}

fn source_view(version: &Version, bundle: &Bundle) -> SourceView {
    let file = |path: &str| match path.starts_with("std/") {
        true => path.to_owned(),
        false => format!("{path}.rhai"),
    };
    let mut files: BTreeMap<String, String> =
        bundle.modules.iter().map(|(path, text)| (file(path), text.clone())).collect();
    files.insert(file(&bundle.name), bundle.source.clone());
    SourceView { version: version.clone(), workflow: bundle.name.clone(), files }
}

/// What served last, in whatever host.
pub(crate) fn pointed(world: &dyn World, workflow: &str) -> Result<Option<Version>, WorldError> {
    let bytes = world.meta(&catalog::pointer(workflow))?;
    Ok(bytes.map(|bytes| Version::from_digest(&String::from_utf8_lossy(&bytes))))
}

fn key(workflow: &str) -> String {
    format!("versions/{workflow}")
}

fn known(world: &dyn World, workflow: &str) -> Result<Vec<Known>, WorldError> {
    let bytes = world.meta(&key(workflow))?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

/// Remembers when a version was seen first; forgets those whose texts are gone.
pub(crate) fn note(world: &dyn World, now: Millis, workflow: &str, version: &Version) -> Result<(), WorldError> {
    let all = known(world, workflow)?;
    if all.iter().any(|known| known.version == *version) {
        return Ok(());
    }
    let mut kept = Vec::with_capacity(all.len() + 1);
    for known in all {
        if world.program(&known.version)?.is_some() {
            kept.push(known);
        }
    }
    kept.push(Known { version: version.clone(), first_seen: now });
    world.put_meta(&key(workflow), &serde_json::to_vec(&kept).expect("a list is JSON"))
}
