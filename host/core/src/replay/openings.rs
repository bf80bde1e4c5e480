//! Calls that the host answers before the turn is over: `hook`, whose token the world must have for this run, and
//! `start_workflow`, whose workflow must be there.
//!
//! The answer is an input, so it is in the log and a replay gets the same one. A call that has no answer in the log (which
//! ends in the middle of a turn where it was cut off by hand) is asked for again when the run is taken up.

use std::sync::Arc;

use super::call::{Answer, Reply, TaskKey};
use super::divergence::Side;
use super::tasks::Waits;
use super::turn::StartChild;
use super::{Command, Replay};
use crate::options::ChildOptions;
use crate::{Body, RunId, Site, StepId, Value};

pub(super) struct Opening {
    pub task: TaskKey,
    pub site: Site,
    pub what: What,
    /// The host was asked by this replay.
    pub issued: bool,
}

pub(super) enum What {
    Hook { token: Option<String>, info: Value },
    Start { workflow: Arc<str>, input: Arc<Value>, options: ChildOptions },
}

impl Replay {
    pub(super) fn begin_opening(&mut self, task: TaskKey, id: StepId, site: &Site, what: What) -> Reply {
        let issued = self.history.is_empty() && self.recorded.is_empty();
        let opening = Opening { task, site: site.clone(), what, issued };
        if issued {
            self.live = true;
            let command = self.opening_command(&id, &opening);
            self.turn.commands.push(command);
        }
        self.openings.insert(id.clone(), opening);
        self.wait(task, Waits::Opening(id))
    }

    /// Asks the host for what the log does not answer.
    pub(super) fn ask_again(&mut self) {
        let mut ids: Vec<_> =
            self.openings.iter().filter(|(_, opening)| !opening.issued).map(|(id, _)| id.clone()).collect();
        ids.sort_unstable();
        for id in ids {
            let command = self.opening_command(&id, &self.openings[&id]);
            self.turn.commands.push(command);
            if let Some(opening) = self.openings.get_mut(&id) {
                opening.issued = true;
            }
        }
    }

    /// Nobody wants the answer any more. The host has not looked yet, or it has answered.
    pub(super) fn withdraw_opening(&mut self, id: &StepId) {
        self.openings.remove(id);
        self.turn.commands.retain(|command| match command {
            Command::OpenHook { step_id, .. } => step_id != id,
            Command::StartChild(StartChild { step_id, detached: true, .. }) => step_id != id,
            _ => true,
        });
    }

    fn opening_command(&self, id: &StepId, opening: &Opening) -> Command {
        match &opening.what {
            What::Hook { token, info } => {
                Command::OpenHook { step_id: id.clone(), token: token.clone(), info: info.clone() }
            }
            What::Start { workflow, input, options } => Command::StartChild(StartChild {
                step_id: id.clone(),
                run_id: options.id.clone().unwrap_or_else(|| self.created.run.child(id)),
                workflow: workflow.clone(),
                input: input.clone(),
                options: options.clone(),
                detached: true,
                again: false,
            }),
        }
    }

    /// The answer for a hook has come; `token` must be the one that was asked for, if one was.
    pub(super) fn opened(&mut self, id: &StepId, token: Option<&str>) -> Result<TaskKey, &'static str> {
        match self.openings.get(id).map(|opening| &opening.what) {
            None => return Err("the log has the answer to a call that the script did not make"),
            Some(What::Hook { token: Some(asked), .. }) if token.is_some_and(|token| token != asked) => {
                return Err("the hook is opened with another token");
            }
            Some(What::Hook { .. }) if token.is_some() => {}
            Some(What::Start { .. }) if token.is_none() => {}
            Some(_) => return Err("another kind of call is asked for"),
        }
        Ok(self.openings.remove(id).expect("it was found").task)
    }

    /// The answer for a detached run has come.
    pub(super) fn started(
        &mut self,
        id: &StepId,
        run: &RunId,
        name: &str,
        input: &Value,
        at: crate::Millis,
    ) -> Result<(), &'static str> {
        match self.openings.get(id).map(|opening| &opening.what) {
            Some(What::Start { workflow, .. }) if **workflow != *name => return Err("another workflow is started"),
            Some(What::Start { input: asked, .. }) if **asked != *input => {
                return Err("the workflow is started with another input");
            }
            _ => {}
        }
        let task = self.opened(id, None)?;
        self.wake(task, at, Answer::Value(Arc::new(Value::from(run.as_str()))));
        Ok(())
    }

    /// What the script asked for under this id, if it still waits for the answer: for reports.
    pub(super) fn side_of_opening(&self, id: Option<&StepId>) -> Option<Side> {
        let opening = self.openings.get(id?)?;
        let body = match &opening.what {
            What::Hook { token, .. } => {
                Body::HookOpened { token: token.clone().unwrap_or_default(), url: String::new(), kept: true }
            }
            What::Start { workflow, input, .. } => Body::ChildStarted {
                run_id: self.created.run.clone(),
                name: workflow.clone(),
                input: input.clone(),
                label: None,
                detached: true,
            },
        };
        Some(Side::of(&body, Some(&opening.site)))
    }
}
