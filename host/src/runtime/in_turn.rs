//! What a script must know before its turn is over: whether steps exist, whose a token is, whether a run can be started.
//! It is part of the turn, so that call and answer are written together: a crash cannot come between them.

use std::collections::HashSet;

use durhai_core::replay::{AttemptError, Command, Input, RunStep, StartChild};
use durhai_core::{Failure, FailureKind, RunId, Status, StepId, Value};
use durhai_world::WorldError;

use crate::runtime::live_run::LiveRun;
use crate::runtime::new_run::{self, NewRun};
use crate::shared::Shared;
use crate::store::random;

impl LiveRun {
    /// Answers the questions of this turn; `true`: there were some, the script can go on.
    pub fn answer(&mut self, host: &Shared) -> Result<bool, WorldError> {
        let mut questions = Vec::new();
        self.exec.replay_mut().retain_commands(|command| {
            let question = is_question(host, command);
            if question {
                questions.push(command.clone());
            }
            !question
        });
        let mut answers = Vec::new();
        let mut tokens = HashSet::new();
        for question in &questions {
            match question {
                Command::RunStep(step) => answers.push(unknown(host, step)),
                Command::OpenHook { step_id, token, .. } => {
                    answers.push(self.open_hook(host, step_id, token.as_deref(), &mut tokens)?);
                }
                Command::StartChild(start) => answers.extend(self.start_child(host, start)?),
                _ => {}
            }
        }
        let answered = !answers.is_empty();
        if answered {
            self.exec.replay_mut().set_wall(host.store.clock.now());
            self.exec.replay_mut().answer(answers);
        }
        Ok(answered)
    }

    fn open_hook(
        &self,
        host: &Shared,
        step_id: &StepId,
        token: Option<&str>,
        granted: &mut HashSet<String>,
    ) -> Result<Input, WorldError> {
        let token = match token {
            Some(token) => token.to_owned(),
            None => random::token()?,
        };
        let run = &self.shared.id;
        let step_id = step_id.clone();
        let own = self.exec.replay().has_hook(&token) || granted.contains(&token);
        let holder = match own {
            true => Some(run.clone()),
            false => host.store.world.reserve(&token, run, self.fence)?,
        };
        Ok(match holder {
            Some(run_id) => Input::HookConflict { step_id, token, run_id },
            None => {
                granted.insert(token.clone());
                let url = format!("{}/hooks/{token}", host.config.public_url);
                Input::HookOpened { step_id, token, url }
            }
        })
    }

    /// The run begins with the commit of this turn, unless it cannot. `None`: the script is told when it has ended.
    fn start_child(&mut self, host: &Shared, start: &StartChild) -> Result<Option<Input>, WorldError> {
        let step_id = start.step_id.clone();
        let refuse =
            |failure: Failure| Some(Input::Child { step_id: step_id.clone(), run: None, result: Err(failure) });
        let taken = |why: &str| {
            let message = format!("there is a run {} already{why}: give this one another id", start.run_id);
            refuse(Failure::new(FailureKind::InvalidInput, message).of_step(&start.workflow, &start.step_id, 0))
        };
        // The run that has the id: it begins with this turn, or is there. The script is told the same.
        let named = |new_run: &&NewRun| new_run.create.row.run == start.run_id;
        let (row, created) = match self.new_runs.iter().find(named) {
            Some(new_run) => (Some(new_run.create.row.clone()), new_run.created().cloned()),
            None => match host.store.world.row(&start.run_id)? {
                Some(row) if start.again && row.parent.as_ref() == Some(&self.shared.id) => {
                    return self.look_at_child(host, &start.run_id, &step_id);
                }
                Some(row) => (Some(row), crate::store::rows::first_event(&*host.store.world, &start.run_id)?),
                None => (None, None),
            },
        };
        if let Some(row) = row {
            return Ok(if !start.detached {
                taken("")
            } else if row.workflow != *start.workflow {
                taken(&format!(", of the workflow {:?}", row.workflow))
            } else if !created.is_some_and(|created| new_run::is_input(host, &created.input, start)) {
                taken(", with another input")
            } else {
                Some(Input::Started { step_id, run_id: start.run_id.clone() })
            });
        }
        Ok(match new_run::child(host, self.exec.replay().created(), start) {
            Err(failure) => refuse(failure),
            Ok(new_run) => {
                self.new_runs.push(new_run);
                start.detached.then(|| Input::Started { step_id, run_id: start.run_id.clone() })
            }
        })
    }

    /// A child that was started before: it may have ended without its message reaching this run, which took over the log
    /// of the run the message went to.
    fn look_at_child(&self, host: &Shared, run: &RunId, step_id: &StepId) -> Result<Option<Input>, WorldError> {
        let last = crate::logs::lineage::latest(&*host.store.world, run)?;
        let Some(row) = host.store.world.row(&last)? else { return Ok(None) };
        if !row.status.is_terminal() || row.status == Status::Continued {
            return Ok(None);
        }
        let end = crate::store::rows::last_event(&*host.store.world, &last)?.map(|event| event.body);
        let created = crate::store::rows::first_event(&*host.store.world, &last)?;
        let told = end.zip(created).and_then(|(end, created)| crate::messages::message::to_parent(&created, &end, 0));
        let message = told.and_then(|told| crate::messages::message::Message::decode(&told.bytes));
        Ok(message.map(crate::messages::message::Message::into_input).filter(|input| match input {
            Input::Child { step_id: for_call, .. } => for_call == step_id,
            _ => false,
        }))
    }
}

/// The script must be told before its turn is over.
pub(crate) fn is_question(host: &Shared, command: &Command) -> bool {
    match command {
        Command::RunStep(step) => step.attempt == 1 && !host.steps.registry.knows(&step.name),
        Command::OpenHook { .. } | Command::StartChild(_) => true,
        _ => false,
    }
}

/// Start and failure of a step that does not exist are written together. If a crash could come between them, the next
/// host would find a step under way that it does not have, and could not tell a wrong name from a step that was forgotten
/// when it was set up.
fn unknown(host: &Shared, step: &RunStep) -> Input {
    let message = host.steps.registry.unknown(&step.name);
    let error =
        AttemptError { kind: FailureKind::UnknownStep, fatal: true, data: Value::Null, ..AttemptError::new(message) };
    Input::Attempt { step_id: step.step_id.clone(), attempt: 1, result: Err(error) }
}
