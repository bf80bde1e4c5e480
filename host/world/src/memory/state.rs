//! What the specification does with each write.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use durhai_core::{Millis, RunId, Version};

use super::places::Limits;
use super::run::{Held, Run};
use crate::{
    Admission, Claim, Commit, Concurrency, Create, Creation, Holder, Hook, HookChange, HostId, HostSeen, InboxMessage,
    NewMessage, Notice, Places, Queue, Refused, Row, Write, Written,
};

#[derive(Default)]
pub struct State {
    pub runs: HashMap<RunId, Run>,
    /// The runs in the order they were created.
    pub order: BTreeMap<u64, RunId>,
    /// Until when each host's claims hold.
    pub leases: HashMap<Arc<str>, Millis>,
    /// Who does what for all hosts.
    duties: HashMap<String, Arc<str>>,
    places: Limits,
    /// Hosts that are dead.
    dead: HashSet<Arc<str>>,
    /// Every host that was heard of: since when, and how long its claims hold.
    seen: Vec<(Arc<str>, Millis, Millis)>,
    pub programs: HashMap<Version, Vec<u8>>,
    pub meta: HashMap<String, Vec<u8>>,
    pub hooks: HashMap<Arc<str>, Hook>,
    /// Tokens that are spoken for, each with the claim that keeps it so.
    pub reserved: HashMap<Arc<str>, (RunId, u64)>,
    /// By key, of all runs that have not ended.
    pub limits: HashMap<String, u32>,
    pub last_key: u64,
    last_fence: u64,
    /// Writes so far, refused ones included.
    pub written: u64,
}

impl State {
    pub fn write(&mut self, write: Write, notices: &mut Vec<Notice>) -> Result<Written, Refused> {
        self.written += 1;
        for create in write.creates() {
            if let Some(holder) = create.claim.as_ref().filter(|holder| !self.dead.contains(&holder.name)) {
                self.extend(holder, create.row.created_at);
            }
        }
        match write {
            Write::Create(create) => self.create(*create, None, notices).map(Written::Created),
            Write::Commit(commit) => self.commit(*commit, notices).map(Written::Committed),
            Write::Send(message) => self.send(message, notices).map(Written::Sent),
            Write::Release { run, fence } => {
                self.held(&run, fence)?.held = None;
                notices.push(Notice::Due);
                Ok(Written::Released)
            }
            Write::Delete { run } => {
                let found = self.runs.get(&run).ok_or_else(|| Refused::Unknown(run.clone()))?;
                if !found.row.status.is_terminal() {
                    return Err(Refused::NotTerminal(run, found.row.status));
                }
                self.order.remove(&found.key);
                self.runs.remove(&run);
                Ok(Written::Deleted)
            }
        }
    }

    /// With the run whose place in the queue it may have, which that one loses then.
    fn create(
        &mut self,
        create: Create,
        ending: Option<&RunId>,
        notices: &mut Vec<Notice>,
    ) -> Result<Option<Claim>, Refused> {
        let Create { row, events, claim, hooks, messages } = create;
        let id = row.run.clone();
        if let Some(run) = self.runs.get(&id) {
            return Err(Refused::Exists(Box::new(run.row.clone())));
        }
        if events.first != 1 {
            return Err(Refused::Sequence { run: id, expected: events.first, found: 0 });
        }
        for (token, _) in &hooks {
            if let Some(run) = self.owner(token) {
                return Err(Refused::Token { token: token.clone(), run });
            }
        }
        self.last_key += 1;
        let (terminal, created_at) = (row.status.is_terminal(), row.created_at);
        let arrives = claim.is_some() || row.wake_at.is_some_and(|wake_at| wake_at <= created_at);
        let concurrency = row.concurrency.clone().filter(|_| !terminal);
        self.order.insert(self.last_key, id.clone());
        let mut run = Run::new(self.last_key, row, events);
        for bytes in messages.into_iter().filter(|_| !terminal) {
            run.put(|index| InboxMessage { index, at: created_at, urgent: false, bytes });
        }
        self.runs.insert(id.clone(), run);
        for (token, info) in hooks.into_iter().filter(|_| !terminal) {
            self.hooks.insert(token, Hook { run: id.clone(), info });
        }
        if let Some(Concurrency { key, limit, .. }) = concurrency {
            self.limits.insert(key.clone(), limit.max(1));
            let heir = ending.and_then(|ending| self.runs.get_mut(ending));
            match heir.filter(|ending| arrives && ending.limited_by(&key) && ending.admission == Admission::Admitted) {
                Some(ending) => {
                    ending.admission = Admission::NotArrived;
                    self.set_admission(&id, Admission::Admitted);
                }
                None if arrives => self.set_admission(&id, Admission::Waiting),
                None => {}
            }
            self.admit(&key, notices);
        }
        match claim {
            Some(holder)
                if !terminal
                    && self.runs[&id].admission == Admission::Admitted
                    && !self.dead.contains(&holder.name) =>
            {
                Ok(Some(Claim { admitted: true, ..self.take(&id, &holder, created_at) }))
            }
            _ => {
                notices.push(Notice::Due);
                Ok(None)
            }
        }
    }

    fn commit(&mut self, commit: Commit, notices: &mut Vec<Notice>) -> Result<Vec<Creation>, Refused> {
        let id = commit.run;
        let run = self.held(&id, commit.fence)?;
        if let Some(chunk) = commit.events.as_ref().filter(|chunk| chunk.first != run.last_seq() + 1) {
            return Err(Refused::Sequence { run: id, expected: chunk.first, found: run.last_seq() });
        }
        if let Some(create) = commit.create.iter().find(|create| create.events.first != 1) {
            return Err(Refused::Sequence { run: create.row.run.clone(), expected: create.events.first, found: 0 });
        }
        commit.events.into_iter().for_each(|chunk| run.add(chunk));
        if let Some(taken) = commit.inbox_taken {
            run.inbox.retain(|message| message.index > taken);
        }
        for (stream, entry) in commit.append {
            run.streams.entry(stream).or_default().push(entry);
        }
        for (name, value) in commit.values {
            match value {
                Some(value) => drop(run.values.insert(name, value)),
                None => drop(run.values.remove(&name)),
            }
        }
        if commit.progress {
            run.tries = 0;
        }
        for change in commit.hooks {
            self.change_hook(&id, change);
        }
        for (key, value) in commit.meta {
            match value {
                Some(value) => drop(self.meta.insert(key, value)),
                None => drop(self.meta.remove(&key)),
            }
        }
        let ends = commit.row.as_ref().is_some_and(|row| row.status.is_terminal());
        let mut creations = Vec::new();
        for create in commit.create {
            creations.push(match self.create(create, Some(&id).filter(|_| ends), notices) {
                Ok(Some(claim)) => Creation::Claimed(Box::new(claim)),
                Ok(None) => Creation::Waits,
                Err(_) => Creation::Exists,
            });
        }
        let untaken = commit.row.map(|row| self.set_row(&id, row, notices)).unwrap_or_default();
        if let Some(heir) = commit.forward {
            for message in untaken {
                let InboxMessage { at, urgent, bytes, .. } = message;
                let _ = self.send(NewMessage { run: heir.clone(), at, urgent, bytes }, notices);
            }
        } else if let Some(stream) = commit.leave.filter(|_| !untaken.is_empty()) {
            let entries = untaken.into_iter().map(|message| message.bytes);
            self.runs.get_mut(&id).expect("it is held").streams.entry(stream).or_default().extend(entries);
        }
        for message in commit.send {
            let _ = self.send(message, notices);
        }
        Ok(creations)
    }

    /// The messages that a run which ends with it did not take.
    fn set_row(&mut self, id: &RunId, row: Row, notices: &mut Vec<Notice>) -> Vec<InboxMessage> {
        let run = self.runs.get_mut(id).expect("it is held");
        let before = run.inbox.clone();
        run.set_row(row);
        if !run.row.status.is_terminal() {
            return Vec::new();
        }
        let concurrency = run.row.concurrency.clone();
        self.hooks.retain(|_, hook| hook.run != *id);
        if let Some(Concurrency { key, .. }) = concurrency {
            self.admit(&key, notices);
            if !self.runs.values().any(|run| run.limited_by(&key)) {
                self.limits.remove(&key);
            }
        }
        before
    }

    fn send(&mut self, message: NewMessage, notices: &mut Vec<Notice>) -> Result<u64, Refused> {
        let NewMessage { run, at, urgent, bytes } = message;
        let found = self.runs.get_mut(&run).ok_or_else(|| Refused::Unknown(run.clone()))?;
        if found.row.status.is_terminal() {
            return Err(Refused::Terminal(run, found.row.status));
        }
        notices.push(Notice::Message(run));
        if found.held.is_none() {
            notices.push(Notice::Due);
        }
        Ok(found.put(|index| InboxMessage { index, at, urgent, bytes }))
    }

    fn change_hook(&mut self, run: &RunId, change: HookChange) {
        match change {
            HookChange::Open { token, info } => {
                if self.owner(&token).is_none_or(|owner| owner == *run) {
                    self.reserved.remove(&token);
                    self.hooks.insert(token, Hook { run: run.clone(), info });
                }
            }
            HookChange::Close { token } => {
                if self.hooks.get(&token).is_some_and(|hook| hook.run == *run) {
                    self.hooks.remove(&token);
                } else if self.owner(&token).is_some_and(|owner| owner == *run) {
                    self.reserved.remove(&token);
                }
            }
        }
    }

    /// Who has a token, open or reserved.
    pub fn owner(&self, token: &str) -> Option<RunId> {
        let reserved = || {
            let (run, fence) = self.reserved.get(token)?;
            let held = self.runs.get(run).and_then(|run| run.held.as_ref());
            held.is_some_and(|held| held.fence == *fence).then(|| run.clone())
        };
        self.hooks.get(token).map(|hook| hook.run.clone()).or_else(reserved)
    }

    fn set_admission(&mut self, id: &RunId, admission: Admission) {
        self.runs.get_mut(id).expect("the caller found it").admission = admission;
    }

    /// A run that is due arrives at its limit, if it has not done so. Whether it is admitted then.
    pub fn arrive(&mut self, id: &RunId, notices: &mut Vec<Notice>) -> bool {
        if let (Admission::NotArrived, Some(Concurrency { key, .. })) =
            (self.runs[id].admission, self.runs[id].row.concurrency.clone())
        {
            self.set_admission(id, Admission::Waiting);
            self.admit(&key, notices);
        }
        self.runs[id].admission == Admission::Admitted
    }

    /// Admits those that wait, the best first, as long as there is room.
    pub fn admit(&mut self, key: &str, notices: &mut Vec<Notice>) {
        loop {
            let at =
                |admission| self.runs.values().filter(move |run| run.limited_by(key) && run.admission == admission);
            let limit = self.limits.get(key).map_or(0, |limit| *limit as usize);
            let best = at(Admission::Waiting)
                .min_by_key(|run| (Reverse(run.row.concurrency.as_ref().map(|of| of.priority)), run.key));
            let Some(best) = best.filter(|_| at(Admission::Admitted).count() < limit) else { return };
            let id = best.row.run.clone();
            self.set_admission(&id, Admission::Admitted);
            notices.push(Notice::Due);
        }
    }

    /// How a run stands in the queue of its limit.
    pub fn queue(&self, id: &RunId, most: usize) -> Option<Queue> {
        let run = self.runs.get(id).filter(|run| !run.row.status.is_terminal())?;
        let Concurrency { key, .. } = run.row.concurrency.as_ref()?;
        let at = |admission| self.runs.values().filter(move |run| run.limited_by(key) && run.admission == admission);
        let rank = |run: &Run| (Reverse(run.row.concurrency.as_ref().map(|of| of.priority)), run.key);
        let ahead = at(Admission::Waiting).filter(|other| rank(other) < rank(run)).count() as u64;
        let mut admitted: Vec<_> = at(Admission::Admitted).collect();
        admitted.sort_unstable_by_key(|run| run.key);
        Some(Queue {
            key: key.clone(),
            limit: self.limits.get(key).copied().unwrap_or_default(),
            admission: run.admission,
            ahead: if run.admission == Admission::Waiting { ahead } else { 0 },
            waiting: at(Admission::Waiting).count() as u64,
            admitted: admitted.len() as u64,
            holders: admitted.into_iter().take(most).map(|run| run.row.run.clone()).collect(),
        })
    }

    /// The run, if it is held under this fence.
    pub fn held(&mut self, id: &RunId, fence: u64) -> Result<&mut Run, Refused> {
        let run = self.runs.get_mut(id).ok_or_else(|| Refused::Unknown(id.clone()))?;
        match &run.held {
            _ if run.row.status.is_terminal() => Err(Refused::Terminal(id.clone(), run.row.status)),
            Some(held) if held.fence == fence => Ok(run),
            _ => Err(Refused::Fenced(id.clone())),
        }
    }

    pub fn is_free(run: &Run) -> bool {
        !run.row.status.is_terminal() && run.held.is_none()
    }

    /// A host shows that it lives. Those that have not for longer than their leases are dead from now on, each as a whole and for good:
    /// what it held is free. Whether this one lives.
    pub fn lives(&mut self, holder: &Holder, now: Millis) -> bool {
        if self.dead.contains(&holder.name) {
            return false;
        }
        let late: Vec<_> = self.leases.extract_if(|name, until| *name != holder.name && *until < now).collect();
        for (name, _) in late {
            for run in self.runs.values_mut().filter(|run| run.held.as_ref().is_some_and(|held| held.by == name)) {
                run.held = None;
                run.tries += 1;
            }
            self.duties.retain(|_, holder| *holder != name);
            self.places.forget(|holder| *holder == name);
            self.dead.insert(name);
        }
        self.extend(holder, now);
        true
    }

    pub fn hosts(&self, all: bool) -> Vec<HostSeen> {
        let wanted = self.seen.iter().filter(|(name, ..)| all || self.leases.contains_key(name));
        wanted
            .map(|(name, since, lease)| HostSeen {
                host: self.host(name),
                since: *since,
                alive: self.leases.contains_key(name),
                lease: *lease,
                runs: self.runs.values().filter(|run| run.held.as_ref().is_some_and(|held| held.by == *name)).count()
                    as u64,
            })
            .collect()
    }

    /// Which one it is, by its name.
    pub fn host(&self, name: &Arc<str>) -> HostId {
        let number = self.seen.iter().position(|(seen, ..)| seen == name).map_or(0, |place| place as u64 + 1);
        HostId { number, name: name.clone(), label: name.to_string() }
    }

    pub fn duty(&mut self, name: &str, holder: &Holder) -> bool {
        !self.dead.contains(&holder.name)
            && *self.duties.entry(name.to_owned()).or_insert_with(|| holder.name.clone()) == holder.name
    }

    pub fn duties_of(&mut self, prefix: &str, names: &[String], holder: &Holder) -> Vec<bool> {
        self.duties.retain(|name, has| *has != holder.name || !name.starts_with(prefix) || names.contains(name));
        names.iter().map(|name| self.duty(name, holder)).collect()
    }

    /// A dead holder gets none.
    pub fn places(&mut self, limit: &str, holder: &Holder, most: u32, wanted: u32) -> Places {
        match self.dead.contains(&holder.name) {
            true => Places { held: 0, share: 0 },
            false => self.places.ask(limit, &holder.name, most, wanted),
        }
    }

    /// Duties and places of such holders are free.
    pub fn forget_duties(&mut self, of: impl Fn(&Arc<str>) -> bool) {
        self.duties.retain(|_, holder| !of(holder));
        self.places.forget(of);
    }

    /// Claims a run that is free.
    pub fn take(&mut self, id: &RunId, holder: &Holder, now: Millis) -> Claim {
        self.last_fence += 1;
        let run = self.runs.get_mut(id).expect("the caller found it");
        if std::mem::take(&mut run.died) {
            run.tries += 1;
        }
        run.held = Some(Held { by: holder.name.clone(), fence: self.last_fence });
        let (tries, row, last_seq) = (run.tries, run.row.clone(), run.last_seq());
        Claim { run: id.clone(), fence: self.last_fence, tries, row, last_seq, admitted: run.is_admitted(now) }
    }

    fn extend(&mut self, holder: &Holder, now: Millis) {
        if !self.seen.iter().any(|(name, ..)| *name == holder.name) {
            self.seen.push((holder.name.clone(), now, holder.lease));
        }
        let lease = self.leases.entry(holder.name.clone()).or_default();
        *lease = now.saturating_add(holder.lease).max(*lease);
    }
}
