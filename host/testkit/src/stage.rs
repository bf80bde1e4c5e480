//! Steps that wait until the test says how they end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use durhai::{StepContext, StepError, StepHandler, StepInfo, StepSource, Value};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::pulse::Pulse;

/// How an attempt ends.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    Ok(Value),
    Error(StepError),
    /// It asks for a wait of its own.
    After(Duration),
    Panic,
    /// Writes a line to the run's log and goes on.
    Log(String),
}

/// Gives a step for every name that does not begin with `no_`; each attempt waits on the stage for its [`Ending`]. One
/// stage for each host: with the host its attempts are gone.
pub struct Stage {
    /// By idempotency key, so that runs do not get in each other's way.
    waiting: Mutex<BTreeMap<String, Actor>>,
    pulse: Pulse,
    entrances: Mutex<Vec<(String, u32)>>,
}

struct Actor {
    context: StepContext,
    name: String,
    input: Value,
    tell: oneshot::Sender<Ending>,
}

impl Stage {
    pub fn new(pulse: Pulse) -> Arc<Self> {
        Arc::new(Stage { waiting: Mutex::default(), pulse, entrances: Mutex::default() })
    }

    /// Whether an attempt of this call waits here: `RUN/STEP`, or a step id for a call of whatever run.
    pub fn has(&self, step_id: &str) -> bool {
        key(&self.lock(), step_id).is_some()
    }

    /// Ends the attempt of this call. `None`: the default, the input or else the step's name as output. `false`: there
    /// is none.
    pub fn end(&self, step_id: &str, ending: Option<Ending>) -> bool {
        let mut waiting = self.lock();
        let Some(key) = key(&waiting, step_id) else { return false };
        if let Some(Ending::Log(text)) = &ending {
            return waiting.get(&key).map(|actor| actor.context.log("info", text)).is_some();
        }
        let Some(actor) = waiting.remove(&key) else { return false };
        let output = if actor.input.is_null() { Value::from(actor.name) } else { actor.input };
        actor.tell.send(ending.unwrap_or(Ending::Ok(output))).is_ok()
    }

    /// Every attempt that came here: `RUN/STEP` and number.
    pub fn entrances(&self) -> Vec<(String, u32)> {
        self.entrances.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Actor>> {
        self.waiting.lock()
    }
}

fn key(waiting: &BTreeMap<String, Actor>, step_id: &str) -> Option<String> {
    if step_id.contains('/') {
        return waiting.contains_key(step_id).then(|| step_id.to_owned());
    }
    waiting.iter().find(|(_, actor)| actor.context.step_id().as_str() == step_id).map(|(key, _)| key.clone())
}

/// The stage as a source of steps.
struct Entrance(Arc<Stage>);

impl Stage {
    pub fn source(self: &Arc<Self>) -> Arc<dyn StepSource> {
        Arc::new(Entrance(self.clone()))
    }
}

impl StepSource for Entrance {
    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        (!name.starts_with("no_")).then(|| Arc::new(Entrance(self.0.clone())) as Arc<dyn StepHandler>)
    }

    fn list(&self) -> Vec<StepInfo> {
        vec![StepInfo { name: "anything".into(), kind: "test".into(), description: String::new() }]
    }
}

impl StepHandler for Entrance {
    fn call(&self, context: StepContext, input: Value) -> durhai::Attempt {
        let stage = self.0.clone();
        Box::pin(async move {
            let key = context.idempotency_key();
            stage.entrances.lock().push((key.clone(), context.attempt()));
            let (tell, told) = oneshot::channel();
            let actor = Actor { context: context.clone(), name: context.name().into(), input, tell };
            stage.lock().insert(key.clone(), actor);
            stage.pulse.beat();
            let ending = tokio::select! {
                ending = told => ending,
                () = context.cancelled() => {
                    let mut waiting = stage.lock();
                    if waiting.get(&key).is_some_and(|actor| actor.context.attempt() == context.attempt()) {
                        waiting.remove(&key);
                    }
                    return Err(StepError::fatal("told to stop"));
                }
            };
            match ending {
                Ok(Ending::Ok(output)) => Ok(output),
                Ok(Ending::Error(error)) => Err(error),
                Ok(Ending::After(wait)) => Err(StepError::retry("later").retry_after(wait)),
                Ok(Ending::Panic) => panic!("as the test wants"),
                Ok(Ending::Log(_)) | Err(_) => Err(StepError::fatal("the stage is gone")),
            }
        })
    }
}
