//! Versions of a workflow: which there are, who has them, and their texts.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai_core::Version;
use durhai_engine::Bundle;
use durhai_world::{World, WorldError};

use crate::error::HostError;
use crate::shared::Shared;
use crate::versions::compat::report::CompatReport;
use crate::versions::known::{known, pointed};
use crate::view::{LiveVersion, RunCount, SourceView, VersionView, WorkflowView};

/// See [`Host::versions`](crate::Host::versions).
pub(crate) async fn versions(host: &Arc<Shared>, workflow: &str) -> Result<Vec<VersionView>, HostError> {
    let name = workflow.to_owned();
    let serving = host.versions.serving(workflow).ok().map(|serving| serving.version);
    let views = host
        .store
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

/// See [`Host::source`](crate::Host::source).
pub(crate) async fn source(host: &Arc<Shared>, version: &Version) -> Result<SourceView, HostError> {
    let host = host.clone();
    let (within, wanted) = (host.clone(), version.clone());
    let bundle = host.store.blocking(move |world| Ok(within.versions.bundle(world, &wanted))).await?;
    let bundle = bundle.map_err(|error| error.into_host(HostError::NotFound))?;
    Ok(source_view(version, &bundle))
}

/// See [`Host::version`](crate::Host::version).
pub(crate) async fn version(host: &Arc<Shared>, workflow: &str, text: &str) -> Result<Version, HostError> {
    let all = versions(host, workflow).await?;
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

/// See [`Host::compat_report`](crate::Host::compat_report).
pub(crate) async fn compat_report(host: &Arc<Shared>, workflow: &str) -> Result<Option<CompatReport>, HostError> {
    let key = crate::store::meta::compat_report(workflow);
    let bytes = host.store.blocking(move |world| world.meta(&key)).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// See [`Host::run_counts`](crate::Host::run_counts).
pub(crate) async fn run_counts(host: &Arc<Shared>) -> Result<Vec<RunCount>, HostError> {
    let count = |durhai_world::Count { workflow, version, status, runs }| RunCount { workflow, version, status, runs };
    host.store.blocking(move |world| Ok(world.run_counts()?.into_iter().map(count).collect())).await
}

/// See [`Host::workflow_list`](crate::Host::workflow_list).
pub(crate) async fn workflow_list(host: &Arc<Shared>) -> Result<Vec<WorkflowView>, HostError> {
    let mut all = host.versions.list();
    let host = host.clone();
    let mut live = host.store.blocking(live_versions).await?;
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
