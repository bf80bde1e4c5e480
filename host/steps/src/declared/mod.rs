//! Steps that settings declare: programs and HTTP services.

mod program;
mod service;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use durhai::{StepContext, StepError, StepHandler, StepInfo, StepSource, Value};

use crate::Attempt;
use crate::outside::{Kit, Outside};

/// The steps that settings declare.
#[derive(Debug)]
pub struct DeclaredSteps {
    outside: Outside,
}

/// A step of `durhai.toml`. Trusted: it needs no permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Declared {
    Program(ProgramStep),
    Service(ServiceStep),
}

/// `[steps.resize] command = ["python3", "resize.py"]`: input as JSON on stdin, output as JSON on stdout.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgramStep {
    /// The program and its arguments; never a shell.
    pub command: Vec<String>,
    /// Where it runs. Default: the folder of the settings.
    pub cwd: PathBuf,
    /// Beside the environment of the host.
    pub env: BTreeMap<String, String>,
    /// Variables whose values are secrets, by the secrets' names.
    pub secrets: BTreeMap<String, String>,
    pub description: String,
}

/// `[steps.score] url = "http://127.0.0.1:9000/score"`: input as JSON in a POST, output as JSON in the answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceStep {
    pub url: String,
    pub headers: BTreeMap<String, String>,
    /// Headers whose values are secrets, by the secrets' names.
    pub secrets: BTreeMap<String, String>,
    /// The secret of `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// How long one answer may take. Default: 5 minutes.
    pub timeout: Option<Duration>,
    pub description: String,
}

/// One of them, as it was found.
struct Found {
    kit: Arc<Kit>,
    declared: Declared,
}

impl DeclaredSteps {
    /// Those that the outside has; after [`Outside::replace`] the new ones, from the next attempt on.
    pub fn new(outside: impl Into<Outside>) -> Self {
        DeclaredSteps { outside: outside.into() }
    }
}

impl StepSource for DeclaredSteps {
    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        let kit = self.outside.kit();
        let declared = kit.declared.get(name)?.clone();
        Some(Arc::new(Found { kit, declared }))
    }

    fn knows(&self, name: &str) -> bool {
        self.outside.kit().declared.contains_key(name)
    }

    fn list(&self) -> Vec<StepInfo> {
        let info = |(name, declared): (&String, &Declared)| {
            let (kind, description) = match declared {
                Declared::Program(step) => ("program", &step.description),
                Declared::Service(step) => ("service", &step.description),
            };
            StepInfo { name: name.clone(), kind: kind.into(), description: description.clone() }
        };
        self.outside.kit().declared.iter().map(info).collect()
    }
}

impl StepHandler for Found {
    fn call(&self, context: StepContext, input: Value) -> Attempt {
        let kit = self.kit.clone();
        match self.declared.clone() {
            Declared::Program(step) => Box::pin(program::call(kit, step, context, input)),
            Declared::Service(step) => Box::pin(async move {
                tokio::select! {
                    outcome = step.call(&kit, &context, &input) => outcome,
                    () = context.cancelled() => Err(StepError::retry("stopped: its result was not wanted any more")),
                }
            }),
        }
    }
}
