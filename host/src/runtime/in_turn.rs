//! What a script must know before its turn is over: whether steps exist, whose a token is, whether a run can be started.
//! It is part of the turn, so that call and answer are written together: a crash cannot come between them.

use std::collections::{HashMap, HashSet};

use durhai_core::replay::{AttemptError, Command, Input, RunStep, StartChild};
use durhai_core::{Failure, FailureKind, RunId, StepId, Value};
use durhai_world::{World, WorldError};

use crate::logs::lineage;
use crate::runtime::asked::{self, Ask, Seen};
use crate::runtime::live_run::LiveRun;
use crate::runtime::new_run::{self, NewRun};
use crate::shared::Shared;
use crate::store::random;

/// Where the answers come from.
enum Source<'a> {
    /// The world itself, which is local.
    World(&'a dyn World),
    /// What others have seen, by call.
    Seen(HashMap<StepId, Seen>),
}

/// What the world was asked for the commit of this turn.
#[derive(Default)]
pub(crate) struct Facts {
    /// What runs became.
    latest: HashMap<RunId, RunId>,
    /// Whether there are runs of these names.
    exist: HashMap<RunId, bool>,
}

/// What became of the questions of a turn.
pub(crate) enum Answered {
    /// There were none.
    No,
    /// The script can go on.
    Yes,
    /// The world must be asked first. Everything stays as it is until it was.
    Ask(Vec<Ask>),
}

impl LiveRun {
    /// Answers the questions of this turn.
    pub fn answer(&mut self, host: &Shared) -> Result<Answered, WorldError> {
        let source = match host.store.local() {
            Some(world) => Source::World(world),
            None => {
                let asks = self.asks(true)?;
                if !asks.is_empty() {
                    return Ok(Answered::Ask(asks));
                }
                Source::Seen(HashMap::new())
            }
        };
        self.answer_from(host, source)
    }

    /// Takes what others have seen for this turn, and answers its questions.
    pub fn answer_with(&mut self, host: &Shared, seen: Vec<(Ask, Seen)>) -> Result<(), WorldError> {
        let mut answers = HashMap::new();
        for (ask, seen) in seen {
            match ask {
                Ask::Token { step_id, .. } | Ask::Start { step_id, .. } => drop(answers.insert(step_id, seen)),
                ask => self.note_fact(ask, seen),
            }
        }
        self.answer_from(host, Source::Seen(answers)).map(drop)
    }

    /// Takes what others have seen for the commit of this turn.
    pub fn note_facts(&mut self, seen: Vec<(Ask, Seen)>) {
        seen.into_iter().for_each(|(ask, seen)| self.note_fact(ask, seen));
    }

    fn note_fact(&mut self, ask: Ask, seen: Seen) {
        let facts = self.facts.get_or_insert_default();
        match (ask, seen) {
            (Ask::Latest(of), Seen::Latest(run)) => drop(facts.latest.insert(of, run)),
            (Ask::Exists(run), Seen::Exists(exists)) => drop(facts.exist.insert(run, exists)),
            _ => {}
        }
    }

    /// What only the world can say: of the questions, if they are asked for, and for the commit. What it said already is not asked
    /// again.
    pub fn asks(&mut self, questions: bool) -> Result<Vec<Ask>, WorldError> {
        let mut wanted = Vec::new();
        self.exec.replay_mut().retain_commands(|command| {
            let asked = match command {
                Command::OpenHook { .. } | Command::StartChild(_) => questions,
                command => needs_fact(command),
            };
            if asked {
                wanted.push(command.clone());
            }
            true
        });
        let known = |run: &RunId| self.facts.as_ref().is_some_and(|facts| facts.knows(run));
        let mut asks = Vec::with_capacity(wanted.len());
        for command in &wanted {
            match command {
                Command::EndChild { run_id, .. } if !known(run_id) => asks.push(Ask::Latest(run_id.clone())),
                Command::Continue(next) if !known(&next.next) => asks.push(Ask::Exists(next.next.clone())),
                command => asks.extend(self.ask(command)?),
            }
        }
        Ok(asks)
    }

    /// What the world must say for a question.
    fn ask(&self, question: &Command) -> Result<Option<Ask>, WorldError> {
        Ok(match question {
            Command::OpenHook { step_id, token, .. } => {
                let token = match token {
                    Some(token) => token.clone(),
                    None => random::token()?,
                };
                let own = self.exec.replay().has_hook(&token);
                Some(Ask::Token { step_id: step_id.clone(), token, own })
            }
            Command::StartChild(start) if self.begins_with_turn(&start.run_id).is_none() => {
                let (step_id, run) = (start.step_id.clone(), start.run_id.clone());
                Some(Ask::Start { step_id, run, again: start.again })
            }
            _ => None,
        })
    }

    /// What the world says to a question.
    fn see(&self, question: &Command, source: &mut Source<'_>) -> Result<Seen, WorldError> {
        let (Command::OpenHook { step_id, .. } | Command::StartChild(StartChild { step_id, .. })) = question else {
            return Ok(Seen::Run(None));
        };
        let seen = match source {
            Source::World(world) => {
                let ask = self.ask(question)?;
                ask.map(|ask| asked::look(*world, &self.shared.id, self.fence, &ask)).transpose()?
            }
            Source::Seen(seen) => seen.remove(step_id),
        };
        seen.ok_or_else(|| {
            let message = format!("the world was not asked what call {step_id} of run {} must know", self.shared.id);
            WorldError::Invalid(message)
        })
    }

    fn answer_from(&mut self, host: &Shared, mut source: Source<'_>) -> Result<Answered, WorldError> {
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
                Command::OpenHook { step_id, .. } => {
                    let seen = self.see(question, &mut source)?;
                    answers.extend(self.open_hook(host, step_id, seen, &mut tokens));
                }
                Command::StartChild(start) => answers.extend(self.start_child(host, question, start, &mut source)?),
                _ => {}
            }
        }
        if answers.is_empty() {
            return Ok(Answered::No);
        }
        self.exec.replay_mut().set_wall(host.store.clock.now());
        self.exec.replay_mut().answer(answers);
        Ok(Answered::Yes)
    }

    fn open_hook(&self, host: &Shared, step_id: &StepId, seen: Seen, granted: &mut HashSet<String>) -> Option<Input> {
        let Seen::Token(token, other) = seen else { return None };
        let step_id = step_id.clone();
        let other = if granted.contains(&token) { Some(self.shared.id.clone()) } else { other };
        Some(match other {
            Some(run_id) => Input::HookConflict { step_id, token, run_id },
            None => {
                granted.insert(token.clone());
                let url = format!("{}/hooks/{token}", host.config.public_url);
                Input::HookOpened { step_id, token, url }
            }
        })
    }

    /// The run of this name that begins with the commit of this turn.
    fn begins_with_turn(&self, run: &RunId) -> Option<&NewRun> {
        self.new_runs.iter().find(|new_run| new_run.create.row.run == *run)
    }

    /// The run begins with the commit of this turn, unless it cannot. `None`: the script is told when it has ended.
    fn start_child(
        &mut self,
        host: &Shared,
        question: &Command,
        start: &StartChild,
        source: &mut Source<'_>,
    ) -> Result<Option<Input>, WorldError> {
        let step_id = start.step_id.clone();
        let refuse =
            |failure: Failure| Some(Input::Child { step_id: step_id.clone(), run: None, result: Err(failure) });
        let taken = |why: &str| {
            let message = format!("there is a run {} already{why}: give this one another id", start.run_id);
            refuse(Failure::new(FailureKind::InvalidInput, message).of_step(&start.workflow, &start.step_id, 0))
        };
        // The run that has the id: it begins with this turn, or is there. The script is told the same.
        let found = match self.begins_with_turn(&start.run_id) {
            Some(new_run) => Some(Box::new((new_run.create.row.clone(), new_run.created().cloned()))),
            None => match self.see(question, source)? {
                Seen::Child(end) => return Ok(end.map(|end| *end)),
                Seen::Run(found) => found,
                _ => None,
            },
        };
        if let Some((row, created)) = found.map(|found| *found) {
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

    /// What a run became that is told to end.
    pub(super) fn latest(&self, host: &Shared, run: &RunId) -> Result<RunId, WorldError> {
        match (host.store.local(), &self.facts) {
            (Some(world), _) => lineage::latest(world, run),
            (None, Some(facts)) => Ok(facts.latest.get(run).unwrap_or(run).clone()),
            (None, None) => Ok(run.clone()),
        }
    }

    /// Whether there is a run of that name.
    pub(super) fn exists(&self, host: &Shared, run: &RunId) -> Result<bool, WorldError> {
        match host.store.local() {
            Some(world) => Ok(world.row(run)?.is_some()),
            None => Ok(self.facts.as_ref().and_then(|facts| facts.exist.get(run)).is_some_and(|exists| *exists)),
        }
    }
}

impl Facts {
    fn knows(&self, run: &RunId) -> bool {
        self.latest.contains_key(run) || self.exist.contains_key(run)
    }
}

/// The commit of this command needs something of the world that the script does not wait for.
pub(crate) fn needs_fact(command: &Command) -> bool {
    matches!(command, Command::EndChild { .. } | Command::Continue(_))
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
