//! Steps that wait until the test says how they end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use durhai::{Attempt, RunId, StepContext, StepError, StepHandler, StepId, StepInfo, StepSource, Value};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use crate::clock::SimClock;
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
    /// As the step of that name ends which [`StepNames::real`] gives.
    Real,
}

/// Which steps there are.
pub trait StepNames: Send + Sync {
    fn has(&self, name: &str) -> bool;

    fn list(&self) -> Vec<StepInfo>;

    /// The step that [`Ending::Real`] calls.
    fn real(&self, _name: &str) -> Option<Arc<dyn StepHandler>> {
        None
    }
}

/// One for every name that does not begin with `no_`.
struct AnyName;

impl StepNames for AnyName {
    fn has(&self, name: &str) -> bool {
        !name.starts_with("no_")
    }

    fn list(&self) -> Vec<StepInfo> {
        vec![StepInfo { name: "anything".into(), kind: "test".into(), description: String::new() }]
    }
}

/// Stand-ins for steps, each attempt of which waits for its [`Ending`]. One `StepDoubles` for each host: with the host its
/// attempts are gone.
pub struct StepDoubles {
    waiting: Mutex<BTreeMap<(RunId, StepId), Waiting>>,
    names: Arc<dyn StepNames>,
    pulse: Pulse,
    begun: Mutex<Vec<(String, u32)>>,
}

/// An attempt that waits.
#[derive(Debug, Clone, Copy)]
pub struct WaitingAttempt {
    pub number: u32,
    /// The host wants no result any more.
    pub cancelled: bool,
    /// What its time limit is measured with, on a clock [with naps](SimClock::with_naps).
    pub nap: Option<u64>,
}

struct Waiting {
    context: StepContext,
    nap: Option<u64>,
    input: Value,
    end: oneshot::Sender<Ending>,
}

impl StepDoubles {
    /// For every name that does not begin with `no_`.
    pub fn new(pulse: Pulse) -> Arc<Self> {
        Self::named(Arc::new(AnyName), pulse)
    }

    pub fn named(names: Arc<dyn StepNames>, pulse: Pulse) -> Arc<Self> {
        Arc::new(StepDoubles { waiting: Mutex::default(), names, pulse, begun: Mutex::default() })
    }

    /// For [`HostBuilder::steps`](durhai::HostBuilder::steps).
    pub fn source(self: &Arc<Self>) -> Arc<dyn StepSource> {
        Arc::new(Source(self.clone()))
    }

    /// Whether an attempt of this call waits: its idempotency key (`RUN/STEP`), or a step id for a call of any run.
    pub fn has(&self, call: &str) -> bool {
        find(&self.waiting(), call).is_some()
    }

    /// The attempt of this call that waits.
    pub fn attempt(&self, run: &RunId, step: &StepId) -> Option<WaitingAttempt> {
        self.waiting().get(&(run.clone(), step.clone())).map(|waiting| WaitingAttempt {
            number: waiting.context.attempt(),
            cancelled: waiting.context.is_cancelled(),
            nap: waiting.nap,
        })
    }

    /// Ends the attempt of this call. `None`: the default, the input or else the step's name as output. `false`: there
    /// is none.
    pub fn end(&self, call: &str, ending: Option<Ending>) -> bool {
        let mut waiting = self.waiting();
        let Some(key) = find(&waiting, call) else { return false };
        if let Some(Ending::Log(text)) = &ending {
            return waiting.get(&key).map(|one| one.context.log("info", text)).is_some();
        }
        let Some(one) = waiting.remove(&key) else { return false };
        let output = if one.input.is_null() { Value::from(one.context.name()) } else { one.input };
        one.end.send(ending.unwrap_or(Ending::Ok(output))).is_ok()
    }

    /// Ends the attempt of this call of this run; `false`: there is none.
    pub fn end_attempt(&self, run: &RunId, step: &StepId, ending: Ending) -> bool {
        let waiting = self.waiting().remove(&(run.clone(), step.clone()));
        waiting.is_some_and(|waiting| waiting.end.send(ending).is_ok())
    }

    /// Every attempt that was begun: idempotency key and number.
    pub fn begun(&self) -> Vec<(String, u32)> {
        self.begun.lock().clone()
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<(RunId, StepId), Waiting>> {
        self.waiting.lock()
    }
}

fn find(waiting: &BTreeMap<(RunId, StepId), Waiting>, call: &str) -> Option<(RunId, StepId)> {
    let matching = waiting.iter().filter(|((_, step), one)| match call.contains('/') {
        true => one.context.idempotency_key() == call,
        false => step.as_str() == call,
    });
    matching.min_by_key(|(_, one)| one.context.idempotency_key()).map(|(key, _)| key.clone())
}

struct Source(Arc<StepDoubles>);

impl StepSource for Source {
    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        self.0.names.has(name).then(|| Arc::new(Double(self.0.clone())) as Arc<dyn StepHandler>)
    }

    fn list(&self) -> Vec<StepInfo> {
        self.0.names.list()
    }
}

struct Double(Arc<StepDoubles>);

impl StepHandler for Double {
    fn call(&self, context: StepContext, input: Value) -> Attempt {
        let doubles = self.0.clone();
        let nap = SimClock::latest_nap();
        Box::pin(async move {
            let key = (context.run_id().clone(), context.step_id().clone());
            let begun = (context.idempotency_key(), context.attempt());
            doubles.begun.lock().push(begun);
            let (end, ended) = oneshot::channel();
            doubles.waiting().insert(key.clone(), Waiting { context: context.clone(), nap, input: input.clone(), end });
            doubles.pulse.beat();
            let ending = tokio::select! {
                ending = ended => ending,
                () = context.cancelled() => {
                    {
                        let mut waiting = doubles.waiting();
                        if waiting.get(&key).is_some_and(|one| one.context.attempt() == context.attempt()) {
                            waiting.remove(&key);
                        }
                    }
                    doubles.pulse.beat();
                    return Err(StepError::fatal("told to stop"));
                }
            };
            match ending {
                Ok(Ending::Ok(output)) => Ok(output),
                Ok(Ending::Error(error)) => Err(error),
                Ok(Ending::After(wait)) => Err(StepError::retry("later").retry_after(wait)),
                Ok(Ending::Panic) => panic!("as the test wants"),
                Ok(Ending::Real) => match doubles.names.real(context.name()) {
                    Some(step) => step.call(context, input).await,
                    None => Err(StepError::retry(format!("there is no step {:?} any more", context.name()))),
                },
                Ok(Ending::Log(_)) | Err(_) => Err(StepError::fatal("the test is over")),
            }
        })
    }
}
