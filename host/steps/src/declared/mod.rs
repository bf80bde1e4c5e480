//! Steps that settings declare: programs and HTTP services.

pub(crate) mod definition;
mod program;
mod service;

use std::sync::Arc;

use durhai::{StepContext, StepError, StepHandler, StepInfo, StepSource, Value};

pub use self::definition::{Declared, ProgramStep, ServiceStep};

use crate::Attempt;
use crate::step_env::{StepEnv, StepEnvHandle};

/// The steps that settings declare.
#[derive(Debug)]
pub struct DeclaredSteps {
    step_env: StepEnvHandle,
}

/// A declared step with the environment it was found in.
struct DeclaredHandler {
    step_env: Arc<StepEnv>,
    declared: Declared,
}

impl DeclaredSteps {
    /// Those of the environment; after [`StepEnvHandle::replace`] the new ones, from the next attempt on.
    pub fn new(step_env: impl Into<StepEnvHandle>) -> Self {
        DeclaredSteps { step_env: step_env.into() }
    }
}

impl StepSource for DeclaredSteps {
    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        let step_env = self.step_env.current();
        let declared = step_env.declared.get(name)?.clone();
        Some(Arc::new(DeclaredHandler { step_env, declared }))
    }

    fn knows(&self, name: &str) -> bool {
        self.step_env.current().declared.contains_key(name)
    }

    fn list(&self) -> Vec<StepInfo> {
        let info = |(name, declared): (&String, &Declared)| {
            let (kind, description) = match declared {
                Declared::Program(step) => ("program", &step.description),
                Declared::Service(step) => ("service", &step.description),
            };
            StepInfo { name: name.clone(), kind: kind.into(), description: description.clone() }
        };
        self.step_env.current().declared.iter().map(info).collect()
    }
}

impl StepHandler for DeclaredHandler {
    fn call(&self, context: StepContext, input: Value) -> Attempt {
        let step_env = self.step_env.clone();
        match self.declared.clone() {
            Declared::Program(step) => Box::pin(program::call(step_env, step, context, input)),
            Declared::Service(step) => Box::pin(async move {
                tokio::select! {
                    outcome = step.call(&step_env, &context, &input) => outcome,
                    () = context.cancelled() => Err(StepError::retry("stopped: its result was not wanted any more")),
                }
            }),
        }
    }
}
