//! Where attempts of steps wait until the test's thread says how they end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use durhai::{Attempt, RunId, StepContext, StepError, StepHandler, StepId, StepInfo, StepSource, Value};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::clock::TrialClock;
use crate::ledger::{Call, Open};
use crate::pulse::Pulse;

/// How an attempt ends.
#[derive(Debug)]
pub enum Ending {
    Mocked(Result<Value, StepError>),
    /// The step of that name is called, as a host does.
    Real,
}

/// Which steps are what they are in a host; the others are mocked.
#[derive(Default)]
pub struct Cast {
    /// Names, or beginnings with a `*` behind them.
    pub real: BTreeSet<String>,
    pub mocked: BTreeSet<String>,
    pub sources: Vec<Arc<dyn StepSource>>,
}

/// The attempts of one host.
pub struct Stage {
    waiting: Mutex<BTreeMap<(RunId, StepId), Actor>>,
    cast: Arc<Mutex<Cast>>,
    clock: TrialClock,
    pulse: Pulse,
}

struct Actor {
    context: StepContext,
    /// What its time limit is measured with.
    nap: Option<u64>,
    tell: oneshot::Sender<Ending>,
}

impl Stage {
    pub fn new(cast: Arc<Mutex<Cast>>, clock: TrialClock, pulse: Pulse) -> Arc<Self> {
        Arc::new(Stage { waiting: Mutex::default(), cast, clock, pulse })
    }

    pub fn source(self: &Arc<Self>) -> Arc<dyn StepSource> {
        Arc::new(Entrance(self.clone()))
    }

    /// Whether this attempt waits here to be told, and somebody still wants its result.
    pub fn has(&self, call: &Call, open: &Open) -> bool {
        let waiting = self.waiting();
        let Some(actor) = waiting.get(&(call.run.clone(), call.step_id.clone())) else { return false };
        if actor.nap.is_some_and(|nap| !self.clock.count_from(nap, call.at)) {
            return false;
        }
        actor.context.attempt() == open.number && !actor.context.is_cancelled()
    }

    /// Ends the attempt that waits for this call; `false`: there is none.
    pub fn end(&self, run: &RunId, step: &StepId, ending: Ending) -> bool {
        let actor = self.waiting().remove(&(run.clone(), step.clone()));
        actor.is_some_and(|actor| actor.tell.send(ending).is_ok())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(RunId, StepId), Actor>> {
        self.waiting.lock()
    }
}

/// Whether `name` is the pattern, or begins with what stands before the `*` at its end.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

impl Cast {
    /// Whether the step is called as it is in a host.
    pub fn is_real(&self, name: &str) -> bool {
        !self.mocked.iter().any(|pattern| matches(pattern, name)) && self.real.iter().any(|real| matches(real, name))
    }

    pub fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        self.sources.iter().find_map(|source| source.find(name))
    }
}

/// The stage as a source of steps: there is one for every name, as a test may give it a mock later. Only a step that is to
/// be real and is not there is unknown.
struct Entrance(Arc<Stage>);

impl Entrance {
    fn cast(&self) -> MutexGuard<'_, Cast> {
        self.0.cast.lock()
    }
}

impl StepSource for Entrance {
    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        let cast = self.cast();
        if cast.is_real(name) && cast.find(name).is_none() {
            return None;
        }
        Some(Arc::new(Entrance(self.0.clone())))
    }

    fn list(&self) -> Vec<StepInfo> {
        self.cast().sources.iter().flat_map(|source| source.list()).collect()
    }
}

impl StepHandler for Entrance {
    fn call(&self, context: StepContext, input: Value) -> Attempt {
        let stage = self.0.clone();
        let nap = TrialClock::latest_nap();
        Box::pin(async move {
            let key = (context.run_id().clone(), context.step_id().clone());
            let (tell, told) = oneshot::channel();
            stage.waiting().insert(key.clone(), Actor { context: context.clone(), nap, tell });
            stage.pulse.beat();
            let ending = tokio::select! {
                ending = told => ending,
                () = context.cancelled() => {
                    {
                        let mut waiting = stage.waiting();
                        if waiting.get(&key).is_some_and(|actor| actor.context.attempt() == context.attempt()) {
                            waiting.remove(&key);
                        }
                    }
                    stage.pulse.beat();
                    return Err(StepError::fatal("told to stop"));
                }
            };
            match ending {
                Ok(Ending::Mocked(result)) => result,
                Ok(Ending::Real) => {
                    let handler = stage.cast.lock().find(context.name());
                    match handler {
                        Some(handler) => handler.call(context, input).await,
                        None => Err(StepError::retry(format!("there is no step {:?} any more", context.name()))),
                    }
                }
                Err(_) => Err(StepError::fatal("the test is over")),
            }
        })
    }
}
