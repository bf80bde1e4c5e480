//! A copy of a world, put into an empty schema.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use durhai_world::{Admission, Record, WorldError};

use crate::failure::Failure;
use crate::names::Names;
use crate::read::admission_column;
use crate::rows;
use crate::server::Server;
use crate::text::{column, escaped};
use crate::wire::Wire;

/// Lines, and bytes, that are gathered before they are sent.
const LINES: usize = 2_000;
const BYTES: usize = 4 << 20;

/// All or nothing, in one transaction.
pub fn all(
    server: &Arc<Server>,
    names: &Names,
    next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>,
) -> Result<(), WorldError> {
    let mut wire = Wire::connect(server, Duration::MAX).map_err(Failure::into_world)?;
    wire.batch("begin; lock table @.run, @.meta, @.program in exclusive mode").map_err(Failure::into_world)?;
    let used =
        "select exists (select 1 from @.run) or exists (select 1 from @.meta) or exists (select 1 from @.program)";
    if wire.one(used, &[]).map_err(Failure::into_world)?.get(0) {
        return Err(WorldError::Invalid("this world is not empty: a copy is restored into an empty one".into()));
    }
    let mut restoring = Restoring { wire, names, lines: Lines::default(), facts: BTreeMap::new() };
    while let Some(record) = next()? {
        restoring.take(record)?;
    }
    restoring.end().map_err(Failure::into_world)
}

struct Restoring<'a> {
    wire: Wire,
    names: &'a Names,
    lines: Lines,
    facts: BTreeMap<i64, Fact>,
}

/// What a run's head has that no other line tells.
#[derive(Default)]
struct Fact {
    tries: i32,
    admission: i16,
    taken: i64,
}

/// How many events, and these.
type Chunk = (i32, Vec<u8>);

/// When it was sent, whether it is urgent, and what it says.
type Message = (i64, bool, Vec<u8>);

/// Lines on their way, the last of each key; `None` removes.
#[derive(Default)]
struct Lines {
    bytes: usize,
    chunks: BTreeMap<(i64, i64), Option<Chunk>>,
    messages: BTreeMap<(i64, i64), Option<Message>>,
    entries: BTreeMap<(i64, String, i64), Option<Vec<u8>>>,
    values: BTreeMap<(i64, String), Option<Vec<u8>>>,
}

impl Lines {
    fn len(&self) -> usize {
        self.chunks.len() + self.messages.len() + self.entries.len() + self.values.len()
    }
}

impl Restoring<'_> {
    fn take(&mut self, record: Record) -> Result<(), WorldError> {
        let lines = &mut self.lines;
        match record {
            Record::Tries { number, value } => {
                self.facts.entry(column(number)).or_default().tries = i32::try_from(value).unwrap_or(i32::MAX);
            }
            Record::Admission { number, value } => self.admission(number, value),
            Record::Taken { number, value } => self.facts.entry(column(number)).or_default().taken = column(value),
            Record::Log { number, first, count, value } => {
                lines.bytes += value.as_ref().map_or(0, Vec::len);
                let count = i32::try_from(count).unwrap_or(i32::MAX);
                lines.chunks.insert((column(number), column(first)), value.map(|bytes| (count, bytes)));
            }
            Record::Message { number, index, at, urgent, value } => {
                lines.bytes += value.as_ref().map_or(0, Vec::len);
                let key = (column(number), column(index));
                lines.messages.insert(key, value.map(|bytes| (column(at), urgent, bytes)));
            }
            Record::Entry { number, stream, index, value } => {
                lines.bytes += value.as_ref().map_or(0, Vec::len);
                lines.entries.insert((column(number), escaped(&stream), column(index)), value);
            }
            Record::Value { number, name, value } => {
                lines.bytes += value.as_ref().map_or(0, Vec::len);
                lines.values.insert((column(number), escaped(&name)), value);
            }
            Record::Unreadable { .. } => {}
            other => return self.single(other),
        }
        if self.lines.len() >= LINES || self.lines.bytes >= BYTES {
            self.flush().map_err(Failure::into_world)?;
        }
        Ok(())
    }

    fn admission(&mut self, number: u64, value: Admission) {
        self.facts.entry(column(number)).or_default().admission = admission_column(value);
    }

    /// Records of which there are few, or one a run.
    fn single(&mut self, record: Record) -> Result<(), WorldError> {
        if let Record::Run { number, value: Some(row) } = &record {
            self.know(&[&row.workflow, row.version.as_str()])?;
            let json = rows::to_json(row, self.names)?.to_string();
            let sql = "select @.restore_run_1($1, $2::text::jsonb)::text";
            return self.wire.rows(sql, &[&column(*number), &json]).map(drop).map_err(Failure::into_world);
        }
        if let Record::Program { version, .. } = &record {
            self.know(&[version.as_str()])?;
        }
        self.line(record).map_err(Failure::into_world)
    }

    fn line(&mut self, record: Record) -> Result<(), Failure> {
        let wire = &mut self.wire;
        match record {
            Record::Meta { key, value: Some(value) } => {
                let sql = "insert into @.meta values ($1, $2) on conflict (key) do update set value = excluded.value";
                wire.rows(sql, &[&escaped(&key), &value])
            }
            Record::Meta { key, value: None } => wire.rows("delete from @.meta where key = $1", &[&escaped(&key)]),
            Record::Program { version, value: Some(bytes) } => {
                let sql = "insert into @.program select id, $2 from @.name where text = $1 \
                           on conflict (version) do update set bytes = excluded.bytes";
                wire.rows(sql, &[&version.as_str(), &bytes])
            }
            Record::Program { version, value: None } => {
                let sql = "delete from @.program where version = (select id from @.name where text = $1)";
                wire.rows(sql, &[&version.as_str()])
            }
            Record::Limit { key, value: Some(size) } => {
                let sql = "insert into @.run_limit values ($1, $2, 0, 0) on conflict (key) do update set size = excluded.size";
                wire.rows(sql, &[&escaped(&key), &i64::from(size.max(1))])
            }
            Record::Limit { key, value: None } => {
                wire.rows("delete from @.run_limit where key = $1", &[&escaped(&key)])
            }
            Record::Run { number, .. } => wire.rows("delete from @.run where key = $1", &[&column(number)]),
            Record::Hook { token, number, value: Some(info) } => {
                let sql = "insert into @.hook values ($1, $2, $3) on conflict (token) do update set key = excluded.key, info = excluded.info";
                wire.rows(sql, &[&escaped(&token), &column(number), &info])
            }
            Record::Hook { token, value: None, .. } => {
                wire.rows("delete from @.hook where token = $1", &[&escaped(&token)])
            }
            _ => return Ok(()),
        }
        .map(drop)
    }

    fn know(&mut self, names: &[&str]) -> Result<(), WorldError> {
        let unknown = self.names.unknown(names.iter().copied());
        if !unknown.is_empty() {
            self.names.know(&mut self.wire, &unknown).map_err(Failure::into_world)?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let Lines { chunks, messages, entries, values, .. } = std::mem::take(&mut self.lines);
        let wire = &mut self.wire;
        let (mut keys, mut firsts, mut counts, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for ((key, first), chunk) in chunks {
            let Some((count, chunk)) = chunk else {
                wire.rows("delete from @.chunk where key = $1 and first = $2", &[&key, &first])?;
                continue;
            };
            keys.push(key);
            firsts.push(first);
            counts.push(count);
            bytes.push(chunk);
        }
        let sql = "insert into @.chunk select * from unnest($1::int8[], $2::int8[], $3::int4[], $4::bytea[]) \
                   on conflict (key, first) do update set count = excluded.count, bytes = excluded.bytes";
        wire.rows(sql, &[&keys, &firsts, &counts, &bytes])?;
        let (mut keys, mut indexes, mut at, mut urgent, mut bytes) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for ((key, index), message) in messages {
            let Some((sent, now, message)) = message else {
                wire.rows("delete from @.message where key = $1 and index = $2", &[&key, &index])?;
                continue;
            };
            keys.push(key);
            indexes.push(index);
            at.push(sent);
            urgent.push(now);
            bytes.push(message);
        }
        let sql = "insert into @.message select * from unnest($1::int8[], $2::int8[], $3::int8[], $4::bool[], $5::bytea[]) \
                   on conflict (key, index) do update set at = excluded.at, urgent = excluded.urgent, bytes = excluded.bytes";
        wire.rows(sql, &[&keys, &indexes, &at, &urgent, &bytes])?;
        let (mut keys, mut streams, mut indexes, mut bytes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for ((key, stream, index), entry) in entries {
            let Some(entry) = entry else {
                let sql = "delete from @.entry where key = $1 and stream = $2 and index = $3";
                wire.rows(sql, &[&key, &stream, &index])?;
                continue;
            };
            keys.push(key);
            streams.push(stream);
            indexes.push(index);
            bytes.push(entry);
        }
        let sql = "insert into @.entry select * from unnest($1::int8[], $2::text[], $3::int8[], $4::bytea[]) \
                   on conflict (key, stream, index) do update set bytes = excluded.bytes";
        wire.rows(sql, &[&keys, &streams, &indexes, &bytes])?;
        let (mut keys, mut names, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for ((key, name), value) in values {
            let Some(value) = value else {
                wire.rows("delete from @.value where key = $1 and name = $2", &[&key, &name])?;
                continue;
            };
            keys.push(key);
            names.push(name);
            bytes.push(value);
        }
        let sql = "insert into @.value select * from unnest($1::int8[], $2::text[], $3::bytea[]) \
                   on conflict (key, name) do update set bytes = excluded.bytes";
        wire.rows(sql, &[&keys, &names, &bytes]).map(drop)
    }

    fn end(mut self) -> Result<(), Failure> {
        self.flush()?;
        let keys: Vec<i64> = self.facts.keys().copied().collect();
        let tries: Vec<i32> = self.facts.values().map(|fact| fact.tries).collect();
        let admissions: Vec<i16> = self.facts.values().map(|fact| fact.admission).collect();
        let taken: Vec<i64> = self.facts.values().map(|fact| fact.taken).collect();
        let sql = "select @.restored_1($1, $2, $3, $4)::text";
        self.wire.rows(sql, &[&keys, &tries, &admissions, &taken])?;
        self.wire.batch("commit")
    }
}
