//! The connection that writes: its batches form a chain, so that each is committed once, whatever becomes of the connection.
//!
//! A row of its own counts the batches. A batch is committed only behind the one before it, on the latest connection, and while the host is
//! alive. After a lost connection the row says whether the last batch was committed, and what it came to. If the row is
//! behind, the database has lost what it had acknowledged (a failover to a replica that was not synchronous): nothing this
//! host has in memory counts any more then, as if it were dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durhai_world::WorldError;
use serde_json::Value;

use crate::batch::Batch;
use crate::failure::Failure;
use crate::readers::Backoff;
use crate::server::Server;
use crate::wire::Wire;

/// How long a batch may take before the connection counts as lost.
const ANSWER: Duration = Duration::from_secs(15);

/// How often a batch is sent that others got in the way of.
const CONFLICTS: u32 = 8;

const PLAIN: &str = "with l as (update @.lane set batch = $4, answer = null where host = $1 and lane = 0 and session = $2 and batch = $3 and not dead returning 1), \
     c as (insert into @.chunk select t.* from unnest($5::int8[], $6::int8[], $7::int4[], $8::bytea[]) t, l) select count(*) from l";

const WRITE: &str = "select @.write_1($1, 0::int2, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9, $10, $11, $12::text::jsonb, $13::text::jsonb, $14::text::jsonb)";

pub struct Lane {
    server: Arc<Server>,
    wire: Option<Wire>,
    host: i32,
    session: i64,
    batch: i64,
    closed: Arc<AtomicBool>,
}

/// What became of a batch.
pub enum Sent {
    /// It is committed, with this answer.
    Committed(String),
    /// Nothing of it is, and nothing will be: the host is dead.
    Dead,
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::Wrong(format!("a batch is no JSON: {error}")))
}

/// How the row of the lane stands.
struct Row {
    batch: i64,
    answer: Option<String>,
    dead: bool,
}

impl Lane {
    /// Of a host that was registered a moment ago.
    pub fn new(server: &Arc<Server>, host: i32, closed: &Arc<AtomicBool>) -> Self {
        Lane { server: server.clone(), wire: None, host, session: 0, batch: 0, closed: closed.clone() }
    }

    pub fn host(&self) -> i32 {
        self.host
    }

    /// Sends a batch until it is known what became of it.
    pub fn send(&mut self, batch: &Batch) -> Result<Sent, WorldError> {
        let mut backoff = Backoff::default();
        let mut conflicts = 0;
        let mut in_doubt = false;
        loop {
            let answer = match (&mut self.wire, in_doubt) {
                (Some(_), false) => self.write(batch),
                _ => match self.resume() {
                    Ok(None) => return Ok(Sent::Dead),
                    Ok(Some(row)) if row.dead || row.batch < self.batch => return Ok(Sent::Dead),
                    Ok(Some(row)) if row.batch > self.batch => {
                        self.batch = row.batch;
                        return Ok(Sent::Committed(row.answer.unwrap_or_else(|| "{}".into())));
                    }
                    Ok(Some(_)) => {
                        in_doubt = false;
                        continue;
                    }
                    Err(failure) => Err(failure),
                },
            };
            match answer {
                Ok(Some(answer)) => {
                    self.batch += 1;
                    return Ok(Sent::Committed(answer));
                }
                // The lane refuses it: the row says why.
                Ok(None) => in_doubt = true,
                Err(Failure::Conflict(_)) if conflicts < CONFLICTS => conflicts += 1,
                Err(Failure::Lost(why)) => {
                    self.wire = None;
                    if self.closed.load(Ordering::Relaxed) {
                        return Err(Failure::Lost(why).into_world());
                    }
                    backoff.wait(&why, &self.closed);
                }
                Err(other) => return Err(other.into_world()),
            }
        }
    }

    /// `None`: the lane refuses it.
    fn write(&mut self, batch: &Batch) -> Result<Option<String>, Failure> {
        let Batch { keys, firsts, counts, chunks, operations, blobs, runs, limits, creates, rows, changes, .. } = batch;
        let wire = self.wire.as_mut().expect("it is connected");
        let next = self.batch + 1;
        if batch.is_plain() {
            let params: crate::wire::Params<'_> =
                &[&self.host, &self.session, &self.batch, &next, keys, firsts, counts, chunks];
            let written: i64 = wire.one(PLAIN, params)?.get(0);
            return Ok((written == 1).then(|| "{}".into()));
        }
        let changes = changes.iter().filter(|(_, change)| **change != 0);
        let changes: Vec<_> =
            changes.map(|((workflow, version, status), by)| (workflow, version, status, by)).collect();
        let texts = [json(operations)?, json(creates)?, json(rows)?, json(&changes)?];
        let [operations, creates, rows, changes] = &texts;
        let params: crate::wire::Params<'_> = &[
            &self.host,
            &self.session,
            &next,
            keys,
            firsts,
            counts,
            chunks,
            operations,
            blobs,
            runs,
            limits,
            creates,
            rows,
            changes,
        ];
        Ok(wire.one(WRITE, params)?.get(0))
    }

    /// The lane's row, on a new connection where there is none: what was sent on the old one is refused from then on.
    fn resume(&mut self) -> Result<Option<Row>, Failure> {
        let wire = match &mut self.wire {
            Some(wire) => wire,
            None => self.wire.insert(Wire::connect(&self.server, ANSWER)?),
        };
        let row: Option<String> = wire.one("select @.resume_1($1, 0::int2)::text", &[&self.host])?.get(0);
        let Some(row) = row else { return Ok(None) };
        let wrong = || Failure::Wrong(format!("the lane's row is {row}"));
        let row: Value = serde_json::from_str(&row).map_err(|_| wrong())?;
        let number = |name: &str| row[name].as_i64().ok_or_else(wrong);
        self.session = number("session")?;
        let batch = number("batch")?;
        Ok(Some(Row { batch, answer: row["answer"].as_str().map(ToOwned::to_owned), dead: row["dead"] == true }))
    }
}
