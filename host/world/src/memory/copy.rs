//! Copies of the specification, and a state made from one.

use std::collections::BTreeMap;

use durhai_core::RunId;

use super::run::Run;
use super::state::State;
use crate::{Admission, Chunk, Hook, InboxMessage, Record, Row, Snapshot, WorldError};

impl State {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.programs.is_empty() && self.meta.is_empty()
    }

    pub fn snapshot(&self, id: &RunId) -> Option<Snapshot> {
        let run = self.runs.get(id)?;
        let mut hooks: Vec<_> = (self.hooks.iter())
            .filter(|(_, hook)| hook.run == *id)
            .map(|(token, hook)| (token.to_string(), hook.info.clone()))
            .collect();
        hooks.sort_unstable();
        Some(Snapshot {
            row: run.row.clone(),
            last_seq: run.last_seq(),
            streams: run.streams.iter().map(|(name, all)| (name.to_string(), all.len() as u64)).collect(),
            values: run.values.iter().map(|(name, value)| (name.to_string(), value.clone())).collect(),
            messages: run.inbox.clone(),
            hooks,
        })
    }

    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let some = |bytes: &Vec<u8>| Some(bytes.clone());
        records.extend(self.meta.iter().map(|(key, value)| Record::Meta { key: key.clone(), value: some(value) }));
        let programs = self.programs.iter();
        records
            .extend(programs.map(|(version, value)| Record::Program { version: version.clone(), value: some(value) }));
        records.extend(self.limits.iter().map(|(key, limit)| Record::Limit { key: key.clone(), value: Some(*limit) }));
        for (number, id) in &self.order {
            let (number, run) = (*number, &self.runs[id]);
            records.push(Record::Run { number, value: Some(Box::new(run.row.clone())) });
            if run.tries > 0 {
                records.push(Record::Tries { number, value: run.tries });
            }
            if run.row.concurrency.is_some() && !run.row.status.is_terminal() {
                records.push(Record::Admission { number, value: run.admission });
            }
            let taken = run.inbox.first().map_or(run.last_message, |message| message.index - 1);
            records.push(Record::Taken { number, value: taken });
            let chunk = |chunk: &Chunk| Record::Log {
                number,
                first: chunk.first,
                count: chunk.count,
                value: Some(chunk.bytes.clone()),
            };
            records.extend(run.log.iter().map(chunk));
            let message = |InboxMessage { index, at, urgent, bytes }: &InboxMessage| Record::Message {
                number,
                index: *index,
                at: *at,
                urgent: *urgent,
                value: Some(bytes.clone()),
            };
            records.extend(run.inbox.iter().map(message));
            for (stream, entries) in &run.streams {
                let entry = |(index, bytes): (usize, &Vec<u8>)| Record::Entry {
                    number,
                    stream: stream.to_string(),
                    index: index as u64,
                    value: some(bytes),
                };
                records.extend(entries.iter().enumerate().map(entry));
            }
            let value = |(name, bytes): (&std::sync::Arc<str>, &Vec<u8>)| Record::Value {
                number,
                name: name.to_string(),
                value: some(bytes),
            };
            records.extend(run.values.iter().map(value));
        }
        for (token, hook) in &self.hooks {
            let number = self.runs[&hook.run].key;
            records.push(Record::Hook { token: token.to_string(), number, value: some(&hook.info) });
        }
        records
    }

    pub fn restore(next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>) -> Result<Self, WorldError> {
        let mut state = State::default();
        let mut parts: BTreeMap<u64, Parts> = BTreeMap::new();
        let mut hooks: BTreeMap<String, (u64, Vec<u8>)> = BTreeMap::new();
        while let Some(record) = next()? {
            let mut none = Parts::default();
            let run = match record.number() {
                Some(number) => parts.entry(number).or_default(),
                None => &mut none,
            };
            match record {
                Record::Meta { key, value: Some(value) } => drop(state.meta.insert(key, value)),
                Record::Meta { key, value: None } => drop(state.meta.remove(&key)),
                Record::Program { version, value: Some(value) } => drop(state.programs.insert(version, value)),
                Record::Program { version, value: None } => drop(state.programs.remove(&version)),
                Record::Limit { key, value: Some(limit) } => drop(state.limits.insert(key, limit)),
                Record::Limit { key, value: None } => drop(state.limits.remove(&key)),
                Record::Run { value, .. } => run.row = value,
                Record::Tries { value, .. } => run.tries = value,
                Record::Admission { value, .. } => run.admission = Some(value),
                Record::Taken { value, .. } => run.taken = value,
                Record::Log { first, count, value, .. } => {
                    put(&mut run.log, first, value.map(|bytes| Chunk { first, count, bytes }));
                }
                Record::Message { index, at, urgent, value, .. } => {
                    put(&mut run.messages, index, value.map(|bytes| InboxMessage { index, at, urgent, bytes }));
                }
                Record::Entry { stream, index, value, .. } => put(run.streams.entry(stream).or_default(), index, value),
                Record::Value { name, value, .. } => put(&mut run.values, name, value),
                Record::Hook { token, number, value } => put(&mut hooks, token, value.map(|info| (number, info))),
                Record::Unreadable { .. } => {}
            }
        }
        for (number, parts) in parts {
            let Some(run) = parts.run(number) else { continue };
            state.last_key = number;
            state.order.insert(number, run.row.run.clone());
            state.runs.insert(run.row.run.clone(), run);
        }
        for (token, (number, info)) in hooks {
            if let Some(run) = state.order.get(&number) {
                state.hooks.insert(token.into(), Hook { run: run.clone(), info });
            }
        }
        Ok(state)
    }
}

/// What is known of a run.
#[derive(Default)]
struct Parts {
    row: Option<Box<Row>>,
    tries: u32,
    admission: Option<Admission>,
    taken: u64,
    log: BTreeMap<u64, Chunk>,
    messages: BTreeMap<u64, InboxMessage>,
    streams: BTreeMap<String, BTreeMap<u64, Vec<u8>>>,
    values: BTreeMap<String, Vec<u8>>,
}

impl Parts {
    fn run(self, number: u64) -> Option<Run> {
        let mut row = *self.row?;
        let concurrency = row.concurrency.clone();
        let mut run =
            Run::new(number, Row { concurrency: None, ..row.clone() }, Chunk { first: 1, count: 0, bytes: Vec::new() });
        row.wake_at = run.row.wake_at;
        run.row = row;
        run.admission = match (&concurrency, self.admission) {
            (None, _) => Admission::Admitted,
            (Some(_), admission) => admission.unwrap_or(Admission::NotArrived),
        };
        self.log.into_values().for_each(|chunk| run.add(chunk));
        run.tries = self.tries;
        run.last_message = self.messages.last_key_value().map_or(self.taken, |(last, _)| *last);
        run.inbox = self.messages.into_values().collect();
        let streams = self.streams.into_iter().filter(|(_, entries)| !entries.is_empty());
        run.streams = streams.map(|(name, entries)| (name.into(), entries.into_values().collect())).collect();
        run.values = self.values.into_iter().map(|(name, bytes)| (name.into(), bytes)).collect();
        Some(run)
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}
