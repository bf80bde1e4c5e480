//! Which step a name means.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::steps::step::{StepHandler, StepInfo, StepSource};

/// Every step of a host: those in Rust first, then the sources in the order they were added.
pub(crate) struct Registry {
    pub own: BTreeMap<String, (Arc<dyn StepHandler>, StepInfo)>,
    pub sources: Vec<Arc<dyn StepSource>>,
}

impl Registry {
    pub fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        match self.own.get(name) {
            Some((handler, _)) => Some(handler.clone()),
            None => self.sources.iter().find_map(|source| source.find(name)),
        }
    }

    pub fn knows(&self, name: &str) -> bool {
        self.own.contains_key(name) || self.sources.iter().any(|source| source.knows(name))
    }

    /// By name; a name that two sources have is listed once, as it would be found.
    pub fn list(&self) -> Vec<StepInfo> {
        let mut all: BTreeMap<String, StepInfo> = BTreeMap::new();
        let own = self.own.values().map(|(_, info)| info.clone());
        for info in own.chain(self.sources.iter().flat_map(|source| source.list())) {
            all.entry(info.name.clone()).or_insert(info);
        }
        all.into_values().collect()
    }

    /// What to say when there is no step of that name.
    pub fn unknown(&self, name: &str) -> String {
        let names: Vec<_> = self.list().into_iter().map(|info| info.name).collect();
        unknown("step", name, &names)
    }
}

/// `there is no step "chrage"; did you mean "charge"?`
pub(crate) fn unknown(what: &str, name: &str, names: &[String]) -> String {
    let near = names.iter().map(|known| (strsim::jaro_winkler(known, name), known)).max_by(|a, b| a.0.total_cmp(&b.0));
    match near {
        Some((likeness, near)) if likeness > 0.8 => format!("there is no {what} {name:?}; did you mean {near:?}?"),
        _ if names.is_empty() => format!("there is no {what} {name:?}; there are none at all"),
        _ => {
            let some: Vec<_> = names.iter().take(8).map(String::as_str).collect();
            let more = if names.len() > some.len() { ", …" } else { "" };
            format!("there is no {what} {name:?}; there are: {}{more}", some.join(", "))
        }
    }
}
