//! The texts of versions, from memory or from the world.

use std::collections::HashMap;
use std::sync::Arc;

use durhai_core::{Site, Version};
use durhai_engine::{Bundle, source_line};
use durhai_world::{World, WorldError};
use parking_lot::Mutex;

use crate::error::Unready;

/// Texts kept in memory, at most.
const TEXTS: usize = 256;

/// Has the world keep the texts of a version.
pub(crate) fn put(world: &dyn World, version: &Version, bundle: &Bundle) -> Result<(), WorldError> {
    if world.program(version)?.is_none() {
        world.put_program(version, &serde_json::to_vec(bundle).expect("texts are JSON"))?;
    }
    Ok(())
}

#[derive(Default)]
pub(crate) struct Texts(Mutex<HashMap<Version, Arc<Bundle>>>);

impl Texts {
    /// The texts of a version.
    pub fn bundle(&self, world: &dyn World, version: &Version) -> Result<Arc<Bundle>, Unready> {
        if let Some(bundle) = self.0.lock().get(version) {
            return Ok(bundle.clone());
        }
        let short = version.short();
        let missing = || Unready::Wrong(format!("the text of version {short} is not in the store"));
        let bytes = world.program(version)?.ok_or_else(missing)?;
        let bundle: Bundle = serde_json::from_slice(&bytes)
            .map_err(|error| Unready::Wrong(format!("the stored text of version {short} is damaged: {error}")))?;
        Ok(self.keep(version.clone(), bundle))
    }

    /// The same, if they are in memory.
    pub fn known(&self, version: &Version) -> Option<Arc<Bundle>> {
        self.0.lock().get(version).cloned()
    }

    /// The line of a script that a site like `18:5` or `lib/money:3:9` names; empty if it cannot be had. Without a world only
    /// texts in memory count.
    pub fn source_line(&self, world: Option<&dyn World>, version: &Version, site: &str) -> String {
        let Some(site) = Site::parse(site) else { return String::new() };
        let bundle = match world {
            Some(world) => self.bundle(world, version).ok(),
            None => self.known(version),
        };
        let Some(bundle) = bundle else { return String::new() };
        let text = match &site.file {
            None => Some(bundle.source.as_str()),
            Some(file) => match file.trim_end_matches(".rhai") {
                main if main == bundle.name => Some(bundle.source.as_str()),
                module => bundle.modules.get(module).map(String::as_str),
            },
        };
        text.map(|text| source_line(text, site.line).trim().to_owned()).unwrap_or_default()
    }

    /// Keeps the texts of a version in memory no longer.
    pub fn forget(&self, version: &Version) {
        self.0.lock().remove(version);
    }

    pub fn keep(&self, version: Version, bundle: Bundle) -> Arc<Bundle> {
        let bundle = Arc::new(bundle);
        let mut texts = self.0.lock();
        if texts.len() >= TEXTS {
            texts.clear();
        }
        texts.insert(version, bundle.clone());
        bundle
    }
}
