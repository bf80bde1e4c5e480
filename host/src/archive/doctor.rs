//! Looking for damage, and mending what can be mended with certainty.
//!
//! Both go through everything a world has, run by run ([`World::copy`]). A repair does not touch the damaged world: it makes
//! a new one of what is sound, and puts what it leaves out or changes into a file first.

mod check_run;
mod repair;

use std::collections::{BTreeMap, HashSet};

use check_run::RunCheck;
use durhai_core::{RunId, Version};
use durhai_engine::Bundle;
use durhai_world::{InboxMessage, Record, World, WorldError};
use serde::{Deserialize, Serialize};

pub use repair::{Repaired, rebuild, repair};

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Damage {
    /// The run; none for what belongs to no run, or to one that cannot be named.
    pub run: Option<RunId>,
    /// What was found and what was expected.
    pub what: String,
    /// What to do about it.
    pub todo: String,
    /// A repair does it.
    pub mendable: bool,
}

/// What a look at everything came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Diagnosis {
    pub runs: u64,
    pub events: u64,
    /// By run.
    pub findings: Vec<Damage>,
}

/// What a repair comes to in the end, for what it does not do itself.
pub(crate) const BY_REPAIR: &str = "`durhai doctor --repair`, while no host serves";

impl Damage {
    fn mended(run: Option<&RunId>, what: impl Into<String>) -> Self {
        Damage { run: run.cloned(), what: what.into(), todo: BY_REPAIR.into(), mendable: true }
    }

    fn told(run: Option<&RunId>, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Damage { run: run.cloned(), what: what.into(), todo: todo.into(), mendable: false }
    }
}

/// Reads every run, every log and all that belongs to them. Runs that go on meanwhile are looked at once more, as they stand
/// at one moment.
pub(crate) fn examine(world: &dyn World) -> Result<Diagnosis, WorldError> {
    let mut diagnosis = Diagnosis::default();
    world.verify(&mut |line| diagnosis.findings.push(Damage::mended(None, line)))?;
    let mut pass = Pass::new(world, false);
    world.copy(&mut |record| {
        pass.take(record)?;
        pass.out.clear();
        Ok(())
    })?;
    pass.end()?;
    diagnosis.runs = pass.runs;
    diagnosis.events = pass.events;
    let (found, hooks) = (std::mem::take(&mut pass.findings), std::mem::take(&mut pass.stray));
    let mut again: BTreeMap<RunId, Vec<Damage>> = BTreeMap::new();
    for damage in found {
        match &damage.run {
            // What was seen of it may have been of two moments.
            Some(run) => again.entry(run.clone()).or_default().push(damage),
            None => diagnosis.findings.push(damage),
        }
    }
    for (token, damage) in hooks {
        match world.hook(&token) {
            Ok(None) => {}
            Ok(Some(hook)) => drop(again.entry(hook.run).or_default()),
            Err(_) => diagnosis.findings.push(damage),
        }
    }
    for (run, found) in again {
        let mut pass = Pass::new(world, false);
        match look_again(world, &run, &mut pass) {
            Ok(true) => {
                diagnosis.findings.append(&mut pass.findings);
                diagnosis.findings.extend(pass.stray.into_iter().map(|(_, damage)| damage));
            }
            // Removed meanwhile, unless something is left of it.
            Ok(false) if matches!(world.log_tail(&run), Ok(None)) => {}
            // As far as it can be read, it was.
            _ => diagnosis.findings.extend(found),
        }
    }
    diagnosis.findings.sort();
    diagnosis.findings.dedup();
    Ok(diagnosis)
}

/// One run at one moment; `false`: it is gone.
fn look_again(world: &dyn World, run: &RunId, pass: &mut Pass<'_>) -> Result<bool, WorldError> {
    let Some(snapshot) = world.snapshot(std::slice::from_ref(run))?.pop().flatten() else { return Ok(false) };
    let number = 1;
    pass.take(Record::Run { number, value: Some(Box::new(snapshot.row)) })?;
    let mut next = 1;
    while next <= snapshot.last_seq {
        let chunks = world.log(run, next, 1 << 20)?;
        if chunks.is_empty() {
            break;
        }
        for chunk in chunks {
            let after = chunk.first + u64::from(chunk.count);
            next = next.max(after);
            if after <= snapshot.last_seq + 1 {
                pass.take(Record::Log { number, first: chunk.first, count: chunk.count, value: Some(chunk.bytes) })?;
            }
        }
    }
    if let Some(first) = snapshot.messages.first() {
        pass.take(Record::Taken { number, value: first.index - 1 })?;
    }
    for message in snapshot.messages {
        let InboxMessage { index, at, urgent, bytes } = message;
        pass.take(Record::Message { number, index, at, urgent, value: Some(bytes) })?;
    }
    for (stream, count) in snapshot.streams {
        let mut index = 0;
        while index < count {
            let entries = world.stream(run, &stream, index, 256.min((count - index) as usize))?;
            if entries.is_empty() {
                break;
            }
            for bytes in entries {
                pass.take(Record::Entry { number, stream: stream.clone(), index, value: Some(bytes) })?;
                index += 1;
            }
        }
    }
    for (token, info) in snapshot.hooks {
        pass.take(Record::Hook { token, number, value: Some(info) })?;
    }
    pass.end()?;
    Ok(true)
}

/// A walk through everything a world has.
pub(crate) struct Pass<'a> {
    world: &'a dyn World,
    /// Everything is given out again, mended.
    keep: bool,
    ward: Option<RunCheck>,
    /// Numbers of runs come in order, unless a host writes meanwhile.
    last: u64,
    pub findings: Vec<Damage>,
    /// Hooks that no run has, by token.
    pub stray: Vec<(String, Damage)>,
    /// What is sound or was mended, to be taken by the caller.
    pub out: Vec<Record>,
    /// What was left out or changed, with the reason, to be taken by the caller.
    pub aside: Vec<(Option<RunId>, String, Record)>,
    pub runs: u64,
    pub events: u64,
    chains: BTreeMap<String, String>,
    texts: HashSet<Version>,
    /// Tokens that have an open hook.
    hooks: HashSet<String>,
    /// Tokens of hooks that a log says are open, with the run's number.
    open: BTreeMap<String, (u64, RunId)>,
}

impl<'a> Pass<'a> {
    pub fn new(world: &'a dyn World, keep: bool) -> Self {
        Pass {
            world,
            keep,
            ward: None,
            last: 0,
            findings: Vec::new(),
            stray: Vec::new(),
            out: Vec::new(),
            aside: Vec::new(),
            runs: 0,
            events: 0,
            chains: BTreeMap::new(),
            texts: HashSet::new(),
            hooks: HashSet::new(),
            open: BTreeMap::new(),
        }
    }

    pub fn take(&mut self, record: Record) -> Result<(), WorldError> {
        match record {
            Record::Meta { ref key, ref value } => {
                if let (Some(first), Some(last)) = (key.strip_prefix("chain/"), value) {
                    self.chains.insert(first.into(), String::from_utf8_lossy(last).into_owned());
                }
                self.out.push(record);
            }
            Record::Program { ref version, ref value } => {
                if let Some(bytes) = value {
                    self.text(version, bytes);
                }
                self.out.push(record);
            }
            Record::Limit { .. } => self.out.push(record),
            Record::Hook { ref token, number, .. } => {
                self.leave()?;
                let token = token.clone();
                match self.open.remove(&token) {
                    Some((of, _)) if of == number => {
                        self.hooks.insert(token);
                        self.out.push(record);
                    }
                    other => {
                        if let Some(other) = other {
                            self.open.insert(token.clone(), other);
                        }
                        let what = format!("the hook {token:?} is open, but no run that lives has opened it");
                        self.stray.push((token, Damage::mended(None, what.clone())));
                        self.aside.push((None, what, record));
                    }
                }
            }
            Record::Unreadable { number: None, ref what, .. } => {
                let what = format!("{what} cannot be read, and belongs to no run");
                self.findings.push(Damage::mended(None, what.clone()));
                self.aside.push((None, what, record));
            }
            record => {
                let number = record.number().unwrap_or(0);
                if self.ward.as_ref().is_none_or(|ward| ward.number != number) {
                    self.leave()?;
                    if number <= self.last {
                        // What changed while we looked: it is the same run, or will be looked at once more.
                        return Ok(());
                    }
                    self.last = number;
                    self.ward = Some(RunCheck::new(number, self.keep));
                }
                if let Some(ward) = &mut self.ward {
                    ward.take(record);
                }
            }
        }
        Ok(())
    }

    /// Nothing follows.
    pub fn end(&mut self) -> Result<(), WorldError> {
        self.leave()?;
        for (token, (_, run)) in std::mem::take(&mut self.open) {
            if !self.hooks.contains(&token) {
                let what = format!("its hook {token:?} is open by its log, but nobody can reach it");
                let todo = "cancel what waits for it, or fork the run before it opens the hook";
                self.findings.push(Damage::told(Some(&run), what, todo));
            }
        }
        for (first, last) in std::mem::take(&mut self.chains) {
            let there = RunId::new(&last).is_ok_and(|last| self.world.row(&last).is_ok_and(|row| row.is_some()));
            let now = self.world.meta(&format!("chain/{first}"));
            if !there && now.is_ok_and(|now| now.is_some_and(|now| now == last.as_bytes())) {
                let what = format!("the chain that began with run {first} leads to run {last}, which is not there");
                self.findings.push(Damage::told(
                    RunId::new(&first).ok().as_ref(),
                    what,
                    "purge the run, or restore a backup",
                ));
            }
        }
        Ok(())
    }

    /// The run at hand is complete.
    fn leave(&mut self) -> Result<(), WorldError> {
        let Some(ward) = self.ward.take() else { return Ok(()) };
        self.runs += 1;
        self.events += ward.last_seq();
        let number = ward.number;
        let texts = &self.texts;
        let has_text =
            |version: &Version| texts.contains(version) || matches!(self.world.program(version), Ok(Some(_)));
        let mut left = ward.leave(self.world, &has_text)?;
        self.findings.append(&mut left.findings);
        self.aside.append(&mut left.aside);
        if self.keep {
            self.out.append(&mut left.out);
        }
        if let Some(run) = left.live {
            self.open.extend(left.tokens.into_iter().map(|token| (token, (number, run.clone()))));
        }
        Ok(())
    }

    fn text(&mut self, version: &Version, bytes: &[u8]) {
        let what = match serde_json::from_slice::<Bundle>(bytes) {
            Err(error) => format!("the text of version {} cannot be read: {error}", version.short()),
            Ok(bundle) if bundle.version() != *version => {
                format!("the text of version {} has the digest {}", version.short(), bundle.version().short())
            }
            Ok(_) => {
                self.texts.insert(version.clone());
                return;
            }
        };
        let todo =
            "import an export of a run that has this version, or restore a backup; runs that have ended do not need it";
        self.findings.push(Damage::told(None, what, todo));
    }
}
