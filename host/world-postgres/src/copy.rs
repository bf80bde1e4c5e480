//! Runs at one moment, and everything at one moment.

use std::sync::Arc;
use std::time::Duration;

use durhai_core::RunId;
use durhai_world::{InboxMessage, Record, Snapshot, WorldError};
use tokio_postgres::Row as Line;

use crate::failure::Failure;
use crate::read::{self, admission_of, row_of};
use crate::rows;
use crate::server::Server;
use crate::text::{number, unescaped};
use crate::wire::Wire;

/// Lines of a table at a time.
const PAGE: i64 = 1_000;

/// A run as it was found.
pub struct Found {
    row: String,
    last_seq: u64,
    streams: Vec<(String, u64)>,
    values: Vec<(String, Vec<u8>)>,
    messages: Vec<InboxMessage>,
    hooks: Vec<(String, Vec<u8>)>,
}

impl Found {
    pub fn into_snapshot(self) -> Result<Snapshot, WorldError> {
        let Found { row, last_seq, streams, values, messages, hooks } = self;
        Ok(Snapshot { row: row_of(&row)?, last_seq, streams, values, messages, hooks })
    }
}

/// How these runs stand at one moment.
pub fn snapshots(wire: &mut Wire, runs: &[RunId]) -> Result<Vec<Option<Found>>, Failure> {
    wire.batch("begin isolation level repeatable read read only")?;
    let found = runs.iter().map(|run| snapshot(wire, run)).collect::<Result<_, _>>();
    // Also after a failure: the connection is used again.
    let ended = wire.batch("commit");
    found.and_then(|found| ended.map(|()| found))
}

fn snapshot(wire: &mut Wire, run: &RunId) -> Result<Option<Found>, Failure> {
    let Some(row) = read::row(wire, run)? else { return Ok(None) };
    let last = wire.one("select @.last_seq_1(key) from @.run where id = $1", &[&run.as_str()])?;
    let hooks = wire
        .rows("select token, info from @.hook where key = (select key from @.run where id = $1)", &[&run.as_str()])?;
    let mut hooks: Vec<_> = hooks.iter().map(|line| (unescaped(line.get(0)), line.get(1))).collect();
    hooks.sort_unstable();
    Ok(Some(Found {
        row,
        last_seq: number(last.get(0)),
        streams: read::streams(wire, run)?,
        values: read::values(wire, run)?,
        messages: read::inbox(wire, run, 0, usize::MAX)?,
        hooks,
    }))
}

type Take<'a> = &'a mut dyn FnMut(Record) -> Result<(), WorldError>;

/// Everything. The transaction keeps what is deleted meanwhile from being cleaned up.
pub fn all(server: &Arc<Server>, take: Take<'_>) -> Result<(), WorldError> {
    let mut wire = Wire::connect(server, Duration::MAX).map_err(Failure::into_world)?;
    wire.batch("begin isolation level repeatable read read only").map_err(Failure::into_world)?;
    let lines = wire.rows("select key, value from @.meta", &[]).map_err(Failure::into_world)?;
    lines.iter().try_for_each(|line| take(Record::Meta { key: unescaped(line.get(0)), value: line.get(1) }))?;
    let versions = "select n.text from @.program p join @.name n on n.id = p.version";
    for line in wire.rows(versions, &[]).map_err(Failure::into_world)? {
        let sql = "select p.bytes from @.program p join @.name n on n.id = p.version where n.text = $1";
        let text: String = line.get(0);
        let bytes = wire.one(sql, &[&text]).map_err(Failure::into_world)?.get(0);
        take(Record::Program { version: rows::version(&text), value: Some(bytes) })?;
    }
    for line in wire.rows("select key, size from @.run_limit", &[]).map_err(Failure::into_world)? {
        let size = u32::try_from(line.get::<_, i64>(1)).unwrap_or(u32::MAX);
        take(Record::Limit { key: unescaped(line.get(0)), value: Some(size) })?;
    }
    let mut after = i64::MIN;
    loop {
        let sql = "select r.key, @.row_1(r.key)::text, h.tries, h.last_message, h.admission from @.run r left join @.head h using (key) \
                   where r.key > $1 order by r.key limit $2";
        let runs = wire.rows(sql, &[&after, &PAGE]).map_err(Failure::into_world)?;
        let Some(last) = runs.last() else { break };
        after = last.get(0);
        for line in &runs {
            of_run(&mut wire, line, take)?;
        }
    }
    for line in wire.rows("select token, key, info from @.hook", &[]).map_err(Failure::into_world)? {
        take(Record::Hook { token: unescaped(line.get(0)), number: number(line.get(1)), value: line.get(2) })?;
    }
    wire.batch("commit").map_err(Failure::into_world)
}

fn of_run(wire: &mut Wire, line: &Line, take: Take<'_>) -> Result<(), WorldError> {
    let key: i64 = line.get(0);
    let run = number(key);
    let row = row_of(line.get(1))?;
    let limited = row.concurrency.is_some();
    take(Record::Run { number: run, value: Some(Box::new(row)) })?;
    let mut taken = 0;
    if let Some(tries) = line.get::<_, Option<i32>>(2) {
        if tries > 0 {
            take(Record::Tries { number: run, value: tries as u32 })?;
        }
        if limited {
            take(Record::Admission { number: run, value: admission_of(line.get(4)) })?;
        }
        taken = number(line.get(3));
    }
    let mut messages = Vec::new();
    pages(
        wire,
        "select index, at, urgent, bytes from @.message where key = $1 and index > $2 order by index limit $3",
        key,
        |line| {
            let (index, at): (i64, i64) = (line.get(0), line.get(1));
            let (index, at) = (number(index), number(at));
            messages.push(Record::Message { number: run, index, at, urgent: line.get(2), value: line.get(3) });
            Ok(())
        },
    )?;
    if let Some(Record::Message { index, .. }) = messages.first() {
        taken = index - 1;
    }
    take(Record::Taken { number: run, value: taken })?;
    pages(
        wire,
        "select first, count, bytes from @.chunk where key = $1 and first > $2 order by first limit $3",
        key,
        |line| {
            let count = line.get::<_, i32>(1) as u32;
            take(Record::Log { number: run, first: number(line.get(0)), count, value: line.get(2) })
        },
    )?;
    messages.into_iter().try_for_each(&mut *take)?;
    let id: String = wire.one("select id from @.run where key = $1", &[&key]).map_err(Failure::into_world)?.get(0);
    let streams = read::streams(wire, &read::run_id(&id)?).map_err(Failure::into_world)?;
    for (stream, count) in streams {
        let mut from = 0;
        while from < count {
            let entries =
                read::stream(wire, &read::run_id(&id)?, &stream, from, PAGE as usize).map_err(Failure::into_world)?;
            if entries.is_empty() {
                break;
            }
            for bytes in entries {
                take(Record::Entry { number: run, stream: stream.clone(), index: from, value: Some(bytes) })?;
                from += 1;
            }
        }
    }
    for (name, bytes) in read::values(wire, &read::run_id(&id)?).map_err(Failure::into_world)? {
        take(Record::Value { number: run, name, value: Some(bytes) })?;
    }
    Ok(())
}

/// Lines of one run whose first column is a number that grows.
fn pages(
    wire: &mut Wire,
    sql: &'static str,
    key: i64,
    mut each: impl FnMut(&Line) -> Result<(), WorldError>,
) -> Result<(), WorldError> {
    let mut after = i64::MIN;
    loop {
        let lines = wire.rows(sql, &[&key, &after, &PAGE]).map_err(Failure::into_world)?;
        let Some(last) = lines.last() else { return Ok(()) };
        after = last.get(0);
        lines.iter().try_for_each(&mut each)?;
    }
}
