//! What the server answers to a batch.

use std::sync::Arc;

use durhai_core::{RunId, Status};
use durhai_world::{Claim, Creation, Notice, Refused, WorldError, Written};
use serde_json::Value;

use crate::batch::{Answers, Asked, Batch, New, Turn};
use crate::bell::Ring;
use crate::held::{Held, HeldRuns};
use crate::rows::{self, status_of, whole};
use crate::text::{column, unescaped};

impl Batch<'_> {
    /// Adds what became of the writes, and what is to be told of it. `answer`: an answer for each operation and for each of the new runs that
    /// were made at once.
    pub fn answers(self, answer: &str, held: &HeldRuns, all: &mut Answers) -> Result<(), WorldError> {
        let wrong =
            |what: &dyn std::fmt::Display| WorldError::Corrupt(format!("the server's answer cannot be read: {what}"));
        let answer: Value = serde_json::from_str(answer).map_err(|error| wrong(&error))?;
        let mut operations = answer["operations"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
        let mut created = vec![None; self.creates.len()];
        for one in answer["created"].as_array().into_iter().flatten() {
            let place = one[0].as_u64().and_then(|number| created.get_mut(number as usize));
            *place.ok_or_else(|| wrong(one))? = Some(one);
        }
        let mut outcome = Outcome { held, notices: Vec::new(), rings: Vec::new(), due: false };
        let mut written = Vec::new();
        for asked in self.asked {
            written.push(match asked {
                Asked::Plain { run, fence, last_seq, progress } => {
                    held.advance(&run, fence, Some(last_seq), progress);
                    Ok(Written::Committed(Vec::new()))
                }
                Asked::Row(turn) => {
                    outcome.committed(*turn);
                    Ok(Written::Committed(Vec::new()))
                }
                Asked::Refused(run) => Err(Refused::Fenced(run)),
                Asked::CreateAtOnce { number, new } => match created[number] {
                    Some(one) => outcome.create(*new, &one[2], &one[1]).map(Written::Created).map(Ok)?,
                    None => {
                        let there = &answer["exist"][number.to_string()];
                        Err(Refused::Exists(Box::new(rows::from_json(there)?)))
                    }
                },
                asked => outcome.of(asked, operations.next().ok_or_else(|| wrong(&"there are too few"))?)?,
            });
        }
        let Outcome { notices, rings, due, .. } = outcome;
        all.written.append(&mut written);
        all.notices.extend(notices);
        all.notices.extend(due.then_some(Notice::Due));
        all.rings.extend(rings);
        Ok(())
    }
}

struct Outcome<'a> {
    held: &'a HeldRuns,
    notices: Vec<Notice>,
    rings: Vec<Ring>,
    due: bool,
}

impl Outcome<'_> {
    fn of(&mut self, asked: Asked, answer: &Value) -> Result<Result<Written, Refused>, WorldError> {
        if let Some(refused) = refusal(answer)? {
            if let (Refused::Fenced(run), Asked::Commit(turn)) = (&refused, &asked) {
                self.held.remove(run, turn.fence);
            }
            return Ok(Err(refused));
        }
        Ok(Ok(match asked {
            Asked::Create(new) => match self.created(*new, answer)? {
                Creation::Claimed(claim) => Written::Created(Some(*claim)),
                _ => Written::Created(None),
            },
            Asked::Commit(mut turn) => {
                let create = std::mem::take(&mut turn.create);
                self.committed(*turn);
                for told in answer["told"].as_array().into_iter().flatten() {
                    self.told(told[0].as_str(), &told[1]);
                }
                let answers = answer["committed"].as_array().map(Vec::as_slice).unwrap_or_default();
                let made = create.into_iter().zip(answers).map(|(new, answer)| self.created(new, answer));
                Written::Committed(made.collect::<Result<_, _>>()?)
            }
            Asked::Send(run) => {
                self.told(Some(run.as_str()), &answer["host"]);
                Written::Sent(whole(&answer["sent"])?)
            }
            Asked::Release { run, fence } => {
                self.held.remove(&run, fence);
                self.due = true;
                Written::Released
            }
            Asked::Delete => Written::Deleted,
            other => return Err(WorldError::Corrupt(format!("{other:?} is no operation"))),
        }))
    }

    fn committed(&mut self, turn: Turn) {
        let Turn { run, fence, last_seq, progress, ends, row, .. } = turn;
        if let Some(row) = row {
            self.held.has_row(&run, fence, row);
        }
        match ends {
            true => self.held.remove(&run, fence),
            false => self.held.advance(&run, fence, last_seq, progress),
        }
        self.due |= ends;
    }

    /// A run got a message, and that host holds it, if one does. Another host is rung; those of this process would only look in vain
    /// for a run that it has.
    fn told(&mut self, run: Option<&str>, host: &Value) {
        let Some(run) = run.and_then(|run| RunId::new(run).ok()) else { return };
        match host.as_i64().and_then(|host| i32::try_from(host).ok()) {
            None => {
                self.due = true;
                self.notices.push(Notice::Message(run));
            }
            Some(_) if self.held.get(&run).is_some() => self.notices.push(Notice::Message(run)),
            Some(host) => self.rings.push(Ring::Message(host, run.as_str().to_owned())),
        }
    }

    fn created(&mut self, new: New, answer: &Value) -> Result<Creation, WorldError> {
        if answer.get("exists").is_some() {
            return Ok(Creation::Exists);
        }
        Ok(match self.create(new, &answer["claimed"], &answer["key"])? {
            Some(claim) => Creation::Claimed(Box::new(claim)),
            None => Creation::Waits,
        })
    }

    /// The claim on a new run, if the server gave one.
    fn create(&mut self, new: New, fence: &Value, key: &Value) -> Result<Option<Claim>, WorldError> {
        let (Some(host), false) = (new.host, fence.is_null()) else {
            self.due = true;
            return Ok(None);
        };
        let New { row, last_seq, counted, .. } = new;
        let fence = whole(fence)?;
        let (limited, tags) = (row.concurrency.is_some(), Arc::new(row.tags.clone()));
        let held = Held { key: column(whole(key)?), fence, host, last_seq, tries: 0, counted, limited, tags };
        self.held.insert(row.run.clone(), held);
        Ok(Some(Claim { run: row.run.clone(), fence, tries: 0, row, last_seq, admitted: true }))
    }
}

/// Why a write was refused, if it was.
fn refusal(answer: &Value) -> Result<Option<Refused>, WorldError> {
    let run = |name: &str| -> Result<RunId, WorldError> {
        let id = answer[name].as_str().unwrap_or_default();
        RunId::new(id).map_err(|_| WorldError::Corrupt(format!("found {answer}, expected the id of a run")))
    };
    let status = || -> Result<Status, WorldError> { status_of(answer["status"].as_i64().unwrap_or(-1) as i16) };
    let has = |name: &str| answer.get(name).is_some();
    Ok(Some(match () {
        () if has("fenced") => Refused::Fenced(run("fenced")?),
        () if has("terminal") => Refused::Terminal(run("terminal")?, status()?),
        () if has("alive") => Refused::NotTerminal(run("alive")?, status()?),
        () if has("unknown") => Refused::Unknown(run("unknown")?),
        () if has("exists") => Refused::Exists(Box::new(rows::from_json(&answer["exists"])?)),
        () if has("token") => {
            let token: Arc<str> = unescaped(answer["token"].as_str().unwrap_or_default()).into();
            Refused::Token { token, run: run("run")? }
        }
        () if has("sequence") => Refused::Sequence {
            run: run("sequence")?,
            expected: answer["expected"].as_u64().unwrap_or_default(),
            found: whole(&answer["found"])?,
        },
        () => return Ok(None),
    }))
}
