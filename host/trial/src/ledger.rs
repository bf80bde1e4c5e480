//! What the log of a run says about its calls of steps.

use std::collections::BTreeMap;
use std::sync::Arc;

use durhai::event::Site;
use durhai::{Event, EventBody, Failure, FailureKind, Millis, RunId, StepId, Value};

/// One attempt of a step, as a test sees it: attempts that only a crash interrupted are the same one.
#[derive(Debug, Clone)]
pub struct Call {
    pub run: RunId,
    pub workflow: Arc<str>,
    pub step_id: StepId,
    /// Where the script makes it.
    pub site: Option<Site>,
    pub name: Arc<str>,
    pub input: Arc<Value>,
    /// 1, and one more for each failure before it.
    pub attempt: u32,
    /// When it began.
    pub at: Millis,
    /// None while it is under way.
    pub result: Option<Result<Value, Failure>>,
}

/// An attempt that is under way.
#[derive(Debug, Clone)]
pub struct Open {
    /// Its place in [`Ledger::calls`].
    pub call: usize,
    /// Its number in the log, those counted that a crash interrupted.
    pub number: u32,
}

/// The log of one run, read as far as it goes.
#[derive(Debug, Default)]
pub struct Ledger {
    pub events: Vec<Event>,
    workflow: Arc<str>,
    pub calls: Vec<Call>,
    pub open: BTreeMap<StepId, Open>,
    steps: BTreeMap<StepId, Step>,
    /// Hooks that are open: call, token, address.
    pub hooks: Vec<(StepId, String, String)>,
}

#[derive(Debug)]
struct Step {
    name: Arc<str>,
    input: Arc<Value>,
    failures: u32,
    /// The attempt that was begun last, if it has not ended.
    running: Option<usize>,
}

impl Ledger {
    /// The sequence number of the last event.
    pub fn last(&self) -> u64 {
        self.events.last().map_or(0, |event| event.seq)
    }

    pub fn read(&mut self, run: &RunId, event: Event) {
        if let EventBody::RunCreated(created) = &event.body {
            self.workflow = created.workflow.as_str().into();
        }
        if let Some(id) = event.step_id.clone() {
            self.of_call(run, id, &event);
        }
        if event.body.is_terminal() {
            self.hooks.clear();
            self.open.clear();
        }
        self.events.push(event);
    }

    fn of_call(&mut self, run: &RunId, id: StepId, event: &Event) {
        match &event.body {
            EventBody::StepStarted { name, input, attempt, .. } => {
                let step = self.steps.entry(id.clone()).or_insert_with(|| Step {
                    name: name.clone(),
                    input: input.clone().unwrap_or_default(),
                    failures: 0,
                    running: None,
                });
                let call = *step.running.get_or_insert_with(|| {
                    self.calls.push(Call {
                        run: run.clone(),
                        workflow: self.workflow.clone(),
                        step_id: id.clone(),
                        site: event.site.clone(),
                        name: step.name.clone(),
                        input: step.input.clone(),
                        attempt: step.failures + 1,
                        at: event.at,
                        result: None,
                    });
                    self.calls.len() - 1
                });
                self.open.insert(id, Open { call, number: *attempt });
            }
            EventBody::StepRetrying { error, .. } => {
                self.open.remove(&id);
                // One that never began, or that a crash interrupted, is made again.
                if error.kind != FailureKind::Interrupted {
                    self.end(&id, Err(error.clone()));
                }
            }
            EventBody::StepCompleted { output } => self.end(&id, Ok(Value::clone(output))),
            EventBody::StepFailed { error } => self.end(&id, Err(error.clone())),
            EventBody::HookOpened { token, url, .. } => self.hooks.push((id, token.clone(), url.clone())),
            EventBody::HookClosed => self.hooks.retain(|(hook, ..)| *hook != id),
            _ => {}
        }
    }

    fn end(&mut self, id: &StepId, result: Result<Value, Failure>) {
        self.open.remove(id);
        let Some(step) = self.steps.get_mut(id) else { return };
        step.failures += u32::from(result.is_err());
        if let Some(call) = step.running.take() {
            self.calls[call].result = Some(result);
        }
    }
}
