//! `run_workflow`: runs that a run waits for.

use std::sync::Arc;

use crate::event::Created;
use crate::options::ChildOptions;
use crate::replay::call::TaskKey;
use crate::replay::cursor::{Cursor, Stop};
use crate::replay::turn::{Command, StartChild, WaitingFor};
use crate::replay::waits::{Called, Caller, WaitsFor};
use crate::{EventBody, Failure, FailureKind, RunId, SmallMap, StepId, Value};

/// Children that have not ended, so far as their parent knows.
#[derive(Default)]
pub struct Children {
    open: SmallMap<StepId, OpenChild>,
}

struct OpenChild {
    run_id: RunId,
    name: Arc<str>,
    input: Arc<Value>,
    options: ChildOptions,
    task: TaskKey,
    /// This replay asked the world to begin it, or to look after it.
    issued: bool,
    /// Order of asking.
    order: u64,
}

impl Children {
    pub fn call(
        &mut self,
        caller: Caller,
        (name, input, options): (Arc<str>, Value, ChildOptions),
        run: &Created,
        cursor: &mut Cursor,
    ) -> Result<Called, Stop> {
        let Caller { task, id, site } = caller;
        let input = Arc::new(input);
        let run_id = options.id.clone().unwrap_or_else(|| run.run.child(&id));
        let body = EventBody::ChildStarted {
            run_id: run_id.clone(),
            name: name.clone(),
            input: input.clone(),
            label: options.label.clone(),
            detached: false,
        };
        let asked = cursor.ask(Some(&id), Some(&site), body)?;
        let run_id = match asked.recorded {
            Some(EventBody::ChildStarted { run_id, .. }) => run_id,
            _ => run_id,
        };
        let child = OpenChild { run_id, name, input, options, task, issued: asked.new, order: asked.seq };
        if asked.new {
            cursor.commands.push(child.command(&id, false));
        }
        self.open.insert(id.clone(), child);
        Ok(Called::Wait(WaitsFor::Child(id)))
    }

    /// The child has ended: the task that waits for it.
    pub fn ended(&mut self, id: &StepId) -> Option<TaskKey> {
        self.open.remove(id).map(|child| child.task)
    }

    /// The run that was started by this call, if it has not ended.
    pub fn run(&self, id: &StepId) -> Option<&RunId> {
        self.open.get(id).map(|child| &child.run_id)
    }

    /// The run is over and waits for its children no more.
    pub fn end_all(&mut self, end: &EventBody, cursor: &mut Cursor) {
        let (reason, terminate) = match end {
            EventBody::RunFailed { error } if error.kind == FailureKind::Terminated => (error.message.clone(), true),
            EventBody::RunCancelled { reason } => (reason.clone(), false),
            _ => ("the run that waited for this one has ended".into(), false),
        };
        let mut children: Vec<_> = std::mem::take(&mut self.open).into_iter().map(|(_, child)| child).collect();
        children.sort_unstable_by_key(|child| child.order);
        for child in children {
            let reason = reason.clone();
            cursor.commands.push(Command::EndChild { run_id: child.run_id, reason, terminate });
        }
    }

    /// After a crash, or at the beginning of a run that took over a log: every open child must be there.
    pub fn ensure_started(&mut self, cursor: &mut Cursor) {
        let mut open: Vec<_> = self.open.iter_mut().filter(|(_, child)| !child.issued).collect();
        open.sort_unstable_by_key(|(_, child)| child.order);
        for (id, child) in open {
            child.issued = true;
            cursor.commands.push(child.command(id, true));
        }
    }

    /// The child with this name may be there without this run's doing: it is to be looked after anew. `false`: there is none.
    pub fn look_after_again(&mut self, run: &RunId) -> bool {
        let found = self.open.iter_mut().find(|(_, child)| child.run_id == *run);
        found.map(|(_, child)| child.issued = false).is_some()
    }

    /// Children that the other replay of this run looks after are looked after for this one too.
    pub fn share(&mut self, other: &Children) {
        for (id, child) in self.open.iter_mut() {
            let same = other.open.get(id).filter(|same| same.run_id == child.run_id);
            child.issued |= same.is_some_and(|same| same.issued);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    // ---- as every open call

    /// Closes a child whose task was cancelled: the log says so, the child is told.
    pub fn abandon(&mut self, id: &StepId, reason: &str, cursor: &mut Cursor) -> Result<(), Stop> {
        let Some(child) = self.open.get(id) else { return Ok(()) };
        let error = Failure::cancelled(reason).of_step(&child.name, id, 0);
        let asked = cursor.ask(Some(id), None, EventBody::ChildFailed { error })?;
        if let Some(child) = self.open.remove(id).filter(|_| asked.new) {
            let reason = reason.to_owned();
            cursor.commands.push(Command::EndChild { run_id: child.run_id, reason, terminate: false });
        }
        Ok(())
    }

    pub fn describe(&self, id: &StepId, site: String) -> Option<WaitingFor> {
        let child = self.open.get(id)?;
        let (name, run_id) = (Some(child.name.clone()), Some(child.run_id.clone()));
        Some(WaitingFor { name, run_id, ..WaitingFor::new("child", Some(id.clone()), site) })
    }
}

impl OpenChild {
    fn command(&self, id: &StepId, again: bool) -> Command {
        Command::StartChild(StartChild {
            step_id: id.clone(),
            run_id: self.run_id.clone(),
            workflow: self.name.clone(),
            input: self.input.clone(),
            options: self.options.clone(),
            detached: false,
            again,
        })
    }
}
