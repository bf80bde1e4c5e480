//! Runs that a run starts: children, and its own successor.

use std::sync::Arc;

use super::call::{Answer, BODY, Reply, TaskKey};
use super::tasks::Waits;
use super::turn::{Continue, StartChild};
use super::{Command, Replay};
use crate::event::Chain;
use crate::options::ChildOptions;
use crate::{Body, Failure, Kind, Millis, RunId, Site, StepId, Value};

/// A child that has not ended, so far as its parent knows.
pub(super) struct OpenChild {
    pub run_id: RunId,
    pub name: Arc<str>,
    pub input: Arc<Value>,
    pub options: ChildOptions,
    pub task: TaskKey,
    /// This replay asked the world to begin it, or to look after it.
    pub issued: bool,
    pub order: u64,
}

/// Ids of signals, and of payloads, that a successor is told of, so that none is delivered twice.
const SIGNAL_IDS: usize = 1_000;

impl Replay {
    pub(super) fn start_child(
        &mut self,
        task: TaskKey,
        id: StepId,
        site: &Site,
        name: Arc<str>,
        input: Value,
        options: ChildOptions,
    ) -> Reply {
        let input = Arc::new(input);
        let run_id = options.id.clone().unwrap_or_else(|| self.created.run.child(&id));
        let body = Body::ChildStarted {
            run_id: run_id.clone(),
            name: name.clone(),
            input: input.clone(),
            label: options.label.clone(),
            detached: false,
        };
        let Some(asked) = self.ask(Some(&id), Some(site), body) else { return Reply::Stop };
        let run_id = match asked.recorded {
            Some(Body::ChildStarted { run_id, .. }) => run_id,
            _ => run_id,
        };
        let child = OpenChild { run_id, name, input, options, task, issued: asked.new, order: asked.seq };
        if asked.new {
            self.turn.commands.push(child.command(&id, false));
        }
        self.children.insert(id.clone(), child);
        self.wait(task, Waits::Child(id))
    }

    pub(super) fn child_ended(
        &mut self,
        id: &StepId,
        at: Millis,
        result: Result<&Arc<Value>, &Failure>,
    ) -> Result<(), &'static str> {
        let answer = match result {
            Ok(output) => Answer::Value(output.clone()),
            Err(error) => Answer::Failure(error.clone()),
        };
        let task = match self.children.remove(id) {
            Some(child) => child.task,
            // A detached run that could not be started.
            None => {
                self.opened(id, None).map_err(|_| "the log has the end of a child that the script did not start")?
            }
        };
        self.wake(task, at, answer);
        Ok(())
    }

    /// Closes a child whose task was cancelled: the log says so, the child is told.
    pub(super) fn abandon_child(&mut self, id: &StepId, reason: &str) {
        let Some(child) = self.children.remove(id) else { return };
        let error = Failure::cancelled(reason).of_step(&child.name, id, 0);
        if self.ask(Some(id), None, Body::ChildFailed { error }).is_some_and(|asked| asked.new) {
            let reason = reason.to_owned();
            self.turn.commands.push(Command::EndChild { run_id: child.run_id, reason, terminate: false });
        }
    }

    /// The run is over: nobody waits for its children any more.
    pub(super) fn end_children(&mut self, end: &Body) {
        let (reason, terminate) = match end {
            Body::RunFailed { error } if error.kind == Kind::Terminated => (error.message.clone(), true),
            Body::RunCancelled { reason } => (reason.clone(), false),
            _ => ("the run that waited for this one has ended".into(), false),
        };
        let mut children: Vec<_> = std::mem::take(&mut self.children).into_values().collect();
        children.sort_unstable_by_key(|child| child.order);
        for child in children {
            let reason = reason.clone();
            self.turn.commands.push(Command::EndChild { run_id: child.run_id, reason, terminate });
        }
    }

    /// After a crash, or at the beginning of a run that took over a log: every open child must be there.
    pub(super) fn look_after_children(&mut self) {
        let mut open: Vec<_> = self.children.iter_mut().filter(|(_, child)| !child.issued).collect();
        open.sort_unstable_by_key(|(_, child)| child.order);
        for (id, child) in open {
            child.issued = true;
            self.turn.commands.push(child.command(id, true));
        }
    }

    /// `continue_as_new`: the body is over, the successor begins when all has ended.
    pub(super) fn continue_as_new(&mut self, task: TaskKey, input: Value) -> Reply {
        if task != BODY {
            let message = "continue_as_new ends the whole run: call it in the body of the workflow, not inside a task";
            return Reply::Now(Answer::Failure(Failure::new(Kind::InvalidInput, message)));
        }
        self.continuing = Some(input);
        self.body_ended(Ok(Arc::default()));
        Reply::Stop
    }

    fn next_in_chain(&self) -> (RunId, Chain) {
        let run = &self.created.run;
        let (first, number) = match &self.created.chain {
            Some(chain) => (chain.first.clone(), chain.number + 1),
            None => (run.clone(), 2),
        };
        let from = self.signal_order.len().saturating_sub(SIGNAL_IDS);
        let signal_ids = self.signal_order[from..].to_vec();
        let from = self.payload_order.len().saturating_sub(SIGNAL_IDS);
        let payload_ids =
            self.payload_order[from..].iter().map(|(token, id)| (token.to_string(), id.clone())).collect();
        (first.successor(number), Chain { first, previous: run.clone(), number, signal_ids, payload_ids })
    }

    /// What a run ends with that continues.
    pub(super) fn continued(&self) -> Body {
        Body::RunContinued { next: self.next_in_chain().0 }
    }

    pub(super) fn begin_successor(&mut self) {
        let (next, chain) = self.next_in_chain();
        let input = self.continuing.take().unwrap_or_default();
        let (signals, payloads) = (self.unread_signals(), self.unread_payloads());
        self.turn.commands.push(Command::Continue(Box::new(Continue { next, chain, input, signals, payloads })));
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
