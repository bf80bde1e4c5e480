//! What is thrown at both: rows, runs and commits made up by dice.

use durhai_core::{RunId, Status, Version};

use super::super::Dice;
use super::super::tools::*;
use super::{FOR_EVER, Pair, Pass};
use crate::{Chunk, Commit, Concurrency, Create, Holder, HookChange, NewMessage, Row, World, Write};

pub const NAMES: [&str; 9] = ["a", "b", "c", "d", "e/1", "e/2", "f", "g", "h"];
pub const STREAMS: [&str; 3] = ["", "out", "out2"];
pub const LIMIT_KEYS: [&str; 3] = ["", "g", "g2"];
pub const TOKENS: [&str; 4] = ["t", "t2", "", "u"];
pub const VALUES: [&str; 3] = ["v", "", "v2"];
pub const HOLDERS: [&str; 3] = ["h", "i", "j"];
pub const METAS: [&str; 2] = ["m", "m2"];

impl Pair<'_> {
    pub fn holder(&mut self) -> Holder {
        let lease = if self.leases() { 60 } else { FOR_EVER };
        // Each is in one of the worlds.
        let (worlds, at) = (self.worlds.len(), self.at);
        let here = (HOLDERS.len() - at).div_ceil(worlds);
        let which = self.dice.below(here as u64) as usize * worlds + at;
        Holder { name: format!("{}{}", HOLDERS[which], self.deaths[which]).into(), lease }
    }

    pub fn row(&mut self, run: RunId) -> Row {
        let dice = &mut self.dice;
        let status = if dice.one_in(5) { dice.pick(&Status::ALL) } else { dice.pick(&Status::ALL[..4]) };
        let mut made = row(run.as_str());
        made.status = status;
        made.workflow = dice.pick(&["flow", "other"]).into();
        if dice.one_in(2) {
            made.tags.insert("k".into(), dice.pick(&["1", "2"]).into());
        }
        made.parent = dice.one_in(3).then(|| id(dice.pick(&NAMES[..])));
        made.version = version(dice.below(3));
        if dice.one_in(2) {
            let (key, limit) = (dice.pick(&LIMIT_KEYS).into(), dice.below(4) as u32);
            made.concurrency =
                Some(Concurrency { key, limit, priority: dice.pick(&[-1, 0, 0, 1, i32::MAX, i32::MIN]) });
        }
        made.purge_at = dice.one_in(3).then(|| self.now + dice.below(60));
        made.ended_at = dice.one_in(3).then_some(self.now);
        made.created_at = self.now;
        made.wake_at = match dice.below(3) {
            0 => None,
            1 => Some(0),
            _ => Some(self.now + dice.below(100)),
        };
        made
    }

    /// A write for the model and the same for the world.
    pub fn one(&mut self) -> (Write, Write) {
        let run = id(self.dice.pick(&NAMES[..]));
        match self.dice.below(14) {
            0..3 => {
                let both = Write::Create(Box::new(self.create(10)));
                (both.clone(), both)
            }
            3 => {
                let both = Write::Send(self.message(run));
                (both.clone(), both)
            }
            4..6 => {
                let both = Write::Delete { run };
                (both.clone(), both)
            }
            6 => match self.pass() {
                Some(Pass { run, model, subject, .. }) => {
                    (Write::Release { run: run.clone(), fence: model }, Write::Release { run, fence: subject })
                }
                None => (delete(&run), delete(&run)),
            },
            _ => match self.pass() {
                Some(pass) => self.commit(pass),
                None => (delete(&run), delete(&run)),
            },
        }
    }

    /// One of which the log begins where it must not, once in so many times.
    pub fn create(&mut self, bad: u64) -> Create {
        let run = id(self.dice.pick(&NAMES[..]));
        let claim = self.dice.one_in(2).then(|| self.holder());
        let first = if self.dice.one_in(bad) { 2 } else { 1 };
        let hooks = (0..self.few()).map(|at| (self.dice.pick(&TOKENS).into(), vec![8; at as usize])).collect();
        let messages = (0..self.few()).map(|at| vec![at as u8]).collect();
        Create { row: self.row(run), events: self.chunk(first), claim, hooks, messages }
    }

    fn message(&mut self, run: RunId) -> NewMessage {
        let bytes = vec![1; self.dice.below(9) as usize];
        NewMessage { run, at: self.now, urgent: self.dice.one_in(3), bytes }
    }

    fn message_to_any(&mut self) -> NewMessage {
        let run = id(self.dice.pick(&NAMES[..]));
        self.message(run)
    }

    pub fn hook_change(&mut self) -> HookChange {
        let token = self.dice.pick(&TOKENS).into();
        if self.dice.one_in(3) {
            return HookChange::Close { token };
        }
        HookChange::Open { token, info: vec![9; self.dice.below(3) as usize] }
    }

    /// Of the new things in a commit: mostly none.
    pub fn few(&mut self) -> u64 {
        if self.dice.one_in(3) { 1 + self.dice.below(2) } else { 0 }
    }

    pub fn commit(&mut self, Pass { run, model, subject, .. }: Pass) -> (Write, Write) {
        let end = self.ends.get(&run).copied().unwrap_or(0);
        let first = if self.dice.one_in(12) { end + self.dice.below(3) } else { end + 1 };
        let events = (!self.dice.one_in(4)).then(|| self.chunk(first));
        let row = self.dice.one_in(3).then(|| self.row(run.clone()));
        let append = (0..self.dice.below(6).saturating_sub(3))
            .map(|at| (self.dice.pick(&STREAMS).into(), vec![at as u8; self.dice.below(5) as usize]))
            .collect();
        let mut create: Vec<Create> = (0..self.few()).map(|_| self.create(20)).collect();
        if row.as_ref().is_some_and(|row| row.status.is_terminal()) && self.dice.one_in(2) {
            // Goes on as another: under the same limit.
            let before = self.model.row(&run).expect("the model works");
            let mut next = self.create(20);
            next.row.concurrency =
                before.and_then(|before| before.concurrency).map(|of| Concurrency { limit: 1, ..of });
            create.push(next);
        }
        let value = |dice: &mut Dice| (!dice.one_in(3)).then(|| vec![7; dice.below(4) as usize]);
        let commit = Commit {
            values: (0..self.few()).map(|_| (self.dice.pick(&VALUES).into(), value(&mut self.dice))).collect(),
            hooks: (0..self.few()).map(|_| self.hook_change()).collect(),
            create,
            send: (0..self.few()).map(|_| self.message_to_any()).collect(),
            leave: self.dice.one_in(2).then(|| "left".into()),
            forward: self.dice.one_in(2).then(|| id(self.dice.pick(&NAMES[..]))),
            meta: (0..self.few()).map(|_| (self.dice.pick(&METAS).into(), value(&mut self.dice))).collect(),
            events,
            row,
            inbox_taken: self.dice.one_in(4).then(|| self.dice.below(8)),
            append,
            progress: self.dice.one_in(5),
            ..Commit::new(run, model)
        };
        let other = Commit { fence: subject, ..commit.clone() };
        (Write::Commit(Box::new(commit)), Write::Commit(Box::new(other)))
    }

    pub fn chunk(&mut self, first: u64) -> Chunk {
        let bytes = if self.dice.one_in(40) { 200_000 } else { self.dice.below(300) as usize };
        Chunk { first, count: self.dice.below(4) as u32, bytes: vec![first as u8; bytes] }
    }

    /// A claim of a holder in this world, mostly one of the last.
    pub fn pass(&mut self) -> Option<Pass> {
        let here: Vec<usize> = (0..self.passes.len()).filter(|index| self.passes[*index].at == self.at).collect();
        let recent = here.len().saturating_sub(6);
        let index = match here.len() {
            0 => return None,
            _ if self.dice.one_in(6) => self.dice.pick(&here),
            _ => self.dice.pick(&here[recent..]),
        };
        Some(self.passes[index].clone())
    }
}

pub fn version(number: u64) -> Version {
    Version::from_digest(["", "1", "12"][number as usize])
}

/// For people who look for what went wrong.
pub fn brief(batch: &[Write]) -> String {
    let created = |create: &Create| {
        let Row { run, status, concurrency, wake_at, .. } = &create.row;
        let limit = concurrency.as_ref().map(|of| (&of.key, of.limit, of.priority));
        format!("create {run} {status} limit {limit:?} due {wake_at:?} claim {}", create.claim.is_some())
    };
    let one = |write: &Write| match write {
        Write::Create(create) => created(create),
        Write::Commit(commit) => {
            let events = commit.events.as_ref().map(|chunk| (chunk.first, chunk.count));
            let row = commit.row.as_ref().map(|row| (row.status, row.wake_at));
            let mut text = format!("commit {} {events:?} {row:?} taken {:?}", commit.run, commit.inbox_taken);
            let creates: Vec<_> = commit.create.iter().map(created).collect();
            let sends: Vec<_> = commit.send.iter().map(|sent| (&sent.run, sent.urgent)).collect();
            text += &format!(" {creates:?} sends {sends:?} forward {:?} {:?}", commit.forward, commit.hooks);
            text
        }
        Write::Send(sent) => format!("send {} urgent {}", sent.run, sent.urgent),
        Write::Release { run, fence } => format!("release {run} {fence}"),
        Write::Delete { run } => format!("delete {run}"),
    };
    batch.iter().map(one).collect::<Vec<_>>().join("; ")
}
