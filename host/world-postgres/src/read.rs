//! What is read of one run.

use std::collections::HashMap;

use durhai_core::RunId;
use durhai_world::{Admission, Chunk, InboxMessage, Queue, Row, WorldError};
use serde_json::Value;

use crate::failure::Failure;
use crate::rows;
use crate::text::{column, escaped, number, unescaped};
use crate::wire::Wire;

/// Chunks that are asked for at a time.
const PAGE: usize = 64;

pub fn run_id(text: &str) -> Result<RunId, WorldError> {
    RunId::new(text).map_err(|_| WorldError::Corrupt(format!("{text:?} is stored and is no id of a run")))
}

/// As many chunks as fit, at least one.
pub fn log(wire: &mut Wire, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, Failure> {
    let sql = "select first, count, bytes from @.chunk where key = (select key from @.run where id = $1) and first >= \
                 coalesce((select max(c.first) from @.chunk c where c.key = (select key from @.run where id = $1) and c.first <= $2), 0) \
                 and first + count > $2 and first > $3 order by first limit $4";
    let (mut chunks, mut bytes, mut after) = (Vec::new(), 0, -1_i64);
    loop {
        let rows = wire.rows(sql, &[&run.as_str(), &column(from), &after, &(PAGE as i64)])?;
        let full = rows.len() == PAGE;
        for row in rows {
            after = row.get(0);
            let chunk = Chunk { first: number(after), count: row.get::<_, i32>(1) as u32, bytes: row.get(2) };
            bytes += chunk.bytes.len();
            if !chunks.is_empty() && bytes > limit_bytes {
                return Ok(chunks);
            }
            chunks.push(chunk);
        }
        if !full || bytes > limit_bytes {
            return Ok(chunks);
        }
    }
}

pub fn log_tail(wire: &mut Wire, run: &RunId) -> Result<Option<Chunk>, Failure> {
    let sql = "select first, count, bytes from @.chunk where key = (select key from @.run where id = $1) order by first desc limit 1";
    let rows = wire.rows(sql, &[&run.as_str()])?;
    Ok(rows.first().map(|row| Chunk {
        first: number(row.get(0)),
        count: row.get::<_, i32>(1) as u32,
        bytes: row.get(2),
    }))
}

pub fn inbox(wire: &mut Wire, run: &RunId, after: u64, limit: usize) -> Result<Vec<InboxMessage>, Failure> {
    let sql = "select index, at, urgent, bytes from @.message where key = (select key from @.run where id = $1) and index > $2 \
               order by index limit $3";
    let rows = wire.rows(sql, &[&run.as_str(), &column(after), &column(limit as u64)])?;
    let message = |row: &tokio_postgres::Row| InboxMessage {
        index: number(row.get(0)),
        at: number(row.get(1)),
        urgent: row.get(2),
        bytes: row.get(3),
    };
    Ok(rows.iter().map(message).collect())
}

pub fn stream(wire: &mut Wire, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, Failure> {
    let sql = "select bytes from @.entry where key = (select key from @.run where id = $1) and stream = $2 and index >= $3 \
               order by index limit $4";
    let rows = wire.rows(sql, &[&run.as_str(), &escaped(stream), &column(from), &column(limit as u64)])?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

pub fn streams(wire: &mut Wire, run: &RunId) -> Result<Vec<(String, u64)>, Failure> {
    let rows = wire.rows("select @.streams_1(key)::text from @.run where id = $1", &[&run.as_str()])?;
    rows.first().map_or(Ok(Vec::new()), |row| streams_of(row.get(0)))
}

fn streams_of(json: &str) -> Result<Vec<(String, u64)>, Failure> {
    let wrong = |error| Failure::Wrong(format!("streams cannot be read: {error}: {json}"));
    let found: Vec<(String, u64)> = serde_json::from_str(json).map_err(wrong)?;
    let mut all: Vec<_> = found.into_iter().map(|(stream, count)| (unescaped(&stream), count)).collect();
    all.sort_unstable();
    Ok(all)
}

/// How far these runs are, in one question.
pub fn standings(wire: &mut Wire, runs: &[RunId]) -> Result<Vec<Option<Found>>, Failure> {
    let ids: Vec<&str> = runs.iter().map(RunId::as_str).collect();
    let sql = "select id, status, @.last_seq_1(key), @.streams_1(key)::text from @.run where id = any($1)";
    let mut found = HashMap::new();
    for row in wire.rows(sql, &[&ids])? {
        found.insert(row.get::<_, String>(0), (row.get(1), number(row.get(2)), streams_of(row.get(3))?));
    }
    Ok(ids.iter().map(|id| found.get(*id).cloned()).collect())
}

/// The status as a column has it, the end of the log, the streams.
pub type Found = (i16, u64, Vec<(String, u64)>);

/// Which of these runs have a message behind that index.
pub fn unread(wire: &mut Wire, runs: &[(RunId, u64)]) -> Result<Vec<String>, Failure> {
    let (ids, after): (Vec<&str>, Vec<i64>) = runs.iter().map(|(run, after)| (run.as_str(), column(*after))).unzip();
    let sql = "select x.id from unnest($1::text[], $2::int8[]) x(id, after) join @.run r on r.id = x.id \
               where exists (select 1 from @.message m where m.key = r.key and m.index > x.after)";
    Ok(wire.rows(sql, &[&ids, &after])?.iter().map(|row| row.get(0)).collect())
}

pub fn values(wire: &mut Wire, run: &RunId) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let sql = "select name, bytes from @.value where key = (select key from @.run where id = $1)";
    let rows = wire.rows(sql, &[&run.as_str()])?;
    let mut all: Vec<_> = rows.iter().map(|row| (unescaped(row.get(0)), row.get(1))).collect();
    all.sort_unstable();
    Ok(all)
}

pub fn reserve(wire: &mut Wire, token: &str, run: &RunId, fence: u64) -> Result<Option<String>, Failure> {
    Ok(wire.one("select @.reserve_1($1, $2, $3)", &[&escaped(token), &run.as_str(), &column(fence)])?.get(0))
}

pub fn hook(wire: &mut Wire, token: &str) -> Result<Option<(String, Vec<u8>)>, Failure> {
    let sql = "select r.id, h.info from @.hook h join @.run r using (key) where h.token = $1";
    let rows = wire.rows(sql, &[&escaped(token)])?;
    Ok(rows.first().map(|row| (row.get(0), row.get(1))))
}

pub fn waits(wire: &mut Wire, run: &RunId) -> Result<bool, Failure> {
    let sql = "select 1 from @.head h join @.run r using (key) where r.id = $1 and h.admission = 1";
    Ok(!wire.rows(sql, &[&run.as_str()])?.is_empty())
}

/// The row of a run, as JSON.
pub fn row(wire: &mut Wire, run: &RunId) -> Result<Option<String>, Failure> {
    let sql = "select @.row_1(key)::text from @.run where id = $1";
    Ok(wire.rows(sql, &[&run.as_str()])?.first().map(|row| row.get(0)))
}

pub fn row_of(json: &str) -> Result<Row, WorldError> {
    let value: Value = serde_json::from_str(json)
        .map_err(|error| WorldError::Corrupt(format!("a row of a run cannot be read: {error}: {json}")))?;
    rows::from_json(&value)
}

/// How a run stands in the queue of its limit, as JSON.
pub fn queue(wire: &mut Wire, run: &RunId, most: usize) -> Result<Option<String>, Failure> {
    let sql = "select jsonb_build_object('key', r.limit_key, 'size', l.size, 'admission', h.admission, 'admitted', l.admitted, \
                 'waiting', (select count(*) from @.waiting w where w.limit_key = r.limit_key), \
                 'ahead', case when h.admission = 1 then (select count(*) from @.waiting w where w.limit_key = r.limit_key and (w.rank, w.key) < (r.rank, r.key)) else 0 end, \
                 'holders', (select coalesce(jsonb_agg(x.id order by x.key), '[]') from (select o.id, o.key from @.run o join @.head q using (key) \
                    where o.limit_key = r.limit_key and o.status not between 4 and 7 and q.admission = 2 order by o.key limit $2) x))::text \
               from @.run r join @.head h using (key) join @.run_limit l on l.key = r.limit_key where r.id = $1";
    Ok(wire.rows(sql, &[&run.as_str(), &column(most as u64)])?.first().map(|row| row.get(0)))
}

pub fn queue_of(json: String) -> Result<Queue, WorldError> {
    let wrong = || WorldError::Corrupt(format!("a queue cannot be read: {json}"));
    let value: Value = serde_json::from_str(&json).map_err(|_| wrong())?;
    let count = |name: &str| value[name].as_u64().ok_or_else(wrong);
    let holders = value["holders"].as_array().ok_or_else(wrong)?;
    Ok(Queue {
        key: unescaped(value["key"].as_str().ok_or_else(wrong)?),
        limit: u32::try_from(count("size")?).unwrap_or(u32::MAX),
        admission: admission_of(count("admission")? as i16),
        ahead: count("ahead")?,
        waiting: count("waiting")?,
        admitted: count("admitted")?,
        holders: holders.iter().map(|id| run_id(id.as_str().unwrap_or_default())).collect::<Result<_, _>>()?,
    })
}

/// As `head.admission` has it.
pub fn admission_of(column: i16) -> Admission {
    match column {
        0 => Admission::NotArrived,
        1 => Admission::Waiting,
        _ => Admission::Admitted,
    }
}

pub fn admission_column(admission: Admission) -> i16 {
    match admission {
        Admission::NotArrived => 0,
        Admission::Waiting => 1,
        Admission::Admitted => 2,
    }
}
