//! Which steps of a test are what they are in a host; the others are mocked.

use std::collections::BTreeSet;
use std::sync::Arc;

use durhai::{StepHandler, StepInfo, StepSource};
use durhai_testkit::StepNames;
use parking_lot::{Mutex, MutexGuard};

/// What a test says of its steps. There is one for every name, as a test may give it a mock later; only a step that is to
/// be real and is not there is unknown.
#[derive(Default)]
pub struct RealSteps(Mutex<Choice>);

#[derive(Default)]
pub struct Choice {
    /// Names, or beginnings with a `*` behind them.
    pub real: BTreeSet<String>,
    pub mocked: BTreeSet<String>,
    pub sources: Vec<Arc<dyn StepSource>>,
}

impl RealSteps {
    pub fn new(sources: Vec<Arc<dyn StepSource>>) -> Self {
        RealSteps(Mutex::new(Choice { sources, ..Choice::default() }))
    }

    pub fn choice(&self) -> MutexGuard<'_, Choice> {
        self.0.lock()
    }
}

impl Choice {
    /// Whether the step is called as it is in a host.
    pub fn is_real(&self, name: &str) -> bool {
        !self.mocked.iter().any(|pattern| matches(pattern, name)) && self.real.iter().any(|real| matches(real, name))
    }

    pub fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        self.sources.iter().find_map(|source| source.find(name))
    }
}

impl StepNames for RealSteps {
    fn has(&self, name: &str) -> bool {
        let choice = self.choice();
        !choice.is_real(name) || choice.find(name).is_some()
    }

    fn list(&self) -> Vec<StepInfo> {
        self.choice().sources.iter().flat_map(|source| source.list()).collect()
    }

    fn real(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        self.choice().find(name)
    }
}

/// Whether `name` is the pattern, or begins with what stands before the `*` at its end.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}
