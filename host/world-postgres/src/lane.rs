//! The connection that writes: its batches form a chain, so that each is committed once, whatever becomes of the connection.
//!
//! A row of its own counts the batches. A batch is committed only behind the one before it, on the latest connection, and while the host is
//! alive. After a lost connection the row says whether the last batch was committed, and what it came to. If the row is
//! behind, the database has lost what it had acknowledged (a failover to a replica that was not synchronous): nothing this
//! host has in memory counts any more then, as if it were dead.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use durhai_world::{Link, WorldError};
use parking_lot::Mutex;
use serde_json::Value;

use crate::batch::Batch;
use crate::failure::Failure;
use crate::readers::Backoff;
use crate::server::Server;
use crate::wire::Wire;

/// How long a batch may take before the connection counts as lost.
const ANSWER: Duration = Duration::from_secs(15);

/// The longest, after it was lost again and again.
const LONGEST: Duration = Duration::from_secs(240);

const PLAIN: &str = "with s as materialized (select case when current_setting('synchronous_commit') = 'off' then set_config('synchronous_commit', 'on', true) end), \
     l as (update @.lane set batch = $4, answer = null from s where host = $1 and lane = 0 and session = $2 and batch = $3 and not dead returning 1), \
     c as (insert into @.chunk select t.* from unnest($5::int8[], $6::int8[], $7::int4[], $8::bytea[]) t, l) select count(*) from l";

const WRITE: &str = "select @.write_1($1, 0::int2, $2, $3, $4, $5, $6, $7, $8::text::jsonb, $9, $10, $11, $12::text::jsonb, $13::text::jsonb, $14::text::jsonb)";

/// What the connections of a process that write have been through.
#[derive(Default)]
pub struct Traffic {
    in_flight: AtomicU64,
    batches: AtomicU64,
    connects: AtomicU64,
    resumes: AtomicU64,
    /// Whose lanes these are, now or before.
    hosts: Mutex<Vec<i32>>,
}

impl Traffic {
    /// The hosts of this process that write, or did.
    pub fn hosts(&self) -> Vec<i32> {
        self.hosts.lock().clone()
    }

    pub fn link(&self) -> Link {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Link {
            in_flight: read(&self.in_flight),
            batches: read(&self.batches),
            reconnects: read(&self.connects).saturating_sub(1),
            resumes: read(&self.resumes),
        }
    }
}

pub struct Lane {
    server: Arc<Server>,
    traffic: Arc<Traffic>,
    wire: Option<Wire>,
    host: i32,
    session: i64,
    batch: i64,
    /// How long the next batch may take.
    answer: Duration,
    closed: Arc<AtomicBool>,
}

/// What became of a batch.
pub enum Sent {
    /// It is committed, with this answer.
    Committed(String),
    /// Nothing of it is, and nothing will be: the host is dead.
    Dead,
    /// Nothing of it is: something in it is no value that the database takes.
    Refused(String),
    /// Nothing of it is: the server ended it. Less at once may come through.
    Parts(String),
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
    pub fn new(server: &Arc<Server>, host: i32, closed: &Arc<AtomicBool>, traffic: &Arc<Traffic>) -> Self {
        let traffic = traffic.clone();
        traffic.hosts.lock().push(host);
        Lane {
            server: server.clone(),
            traffic,
            wire: None,
            host,
            session: 0,
            batch: 0,
            answer: ANSWER,
            closed: closed.clone(),
        }
    }

    pub fn host(&self) -> i32 {
        self.host
    }

    /// Sends a batch until it is known what became of it.
    pub fn send(&mut self, batch: &Batch<'_>) -> Result<Sent, WorldError> {
        let traffic = self.traffic.clone();
        traffic.in_flight.fetch_add(1, Ordering::Relaxed);
        let sent = self.send_on(batch);
        traffic.in_flight.fetch_sub(1, Ordering::Relaxed);
        if sent.is_ok() {
            traffic.batches.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    fn send_on(&mut self, batch: &Batch<'_>) -> Result<Sent, WorldError> {
        let mut backoff = Backoff::default();
        let mut in_doubt = false;
        loop {
            let answer = match (&mut self.wire, in_doubt) {
                (Some(_), false) => self.write(batch),
                _ => match self.resume() {
                    // First: what was committed before the death is committed.
                    Ok(Some(row)) if row.batch > self.batch => {
                        self.batch = row.batch;
                        return Ok(Sent::Committed(row.answer.unwrap_or_else(|| "{}".into())));
                    }
                    Ok(None) => return Ok(Sent::Dead),
                    Ok(Some(row)) if row.dead || row.batch < self.batch => return Ok(Sent::Dead),
                    Ok(Some(_)) => {
                        in_doubt = false;
                        continue;
                    }
                    Err(failure) => Err(failure),
                },
            };
            match answer {
                Ok(Some(answer)) => {
                    self.answer = ANSWER;
                    self.batch += 1;
                    return Ok(Sent::Committed(answer));
                }
                // The lane refuses it: the row says why.
                Ok(None) => in_doubt = true,
                Err(Failure::Conflict(why)) => {
                    if self.closed.load(Ordering::Relaxed) {
                        return Err(Failure::Conflict(why).into_world());
                    }
                    backoff.wait(&why, &self.closed);
                }
                Err(Failure::Lost(why)) => {
                    self.wire = None;
                    // A batch that takes that long to be sent would never come through.
                    self.answer = (self.answer * 2).min(LONGEST);
                    if self.closed.load(Ordering::Relaxed) {
                        return Err(Failure::Lost(why).into_world());
                    }
                    backoff.wait(&why, &self.closed);
                }
                Err(Failure::Ended(why)) if batch.asked.len() > 1 => return Ok(Sent::Parts(why)),
                Err(Failure::Ended(why)) => {
                    if self.closed.load(Ordering::Relaxed) {
                        return Err(Failure::Ended(why).into_world());
                    }
                    backoff.wait(&why, &self.closed);
                }
                Err(Failure::Data(why)) => return Ok(Sent::Refused(why)),
                Err(other) => return Err(other.into_world()),
            }
        }
    }

    /// `None`: the lane refuses it.
    fn write(&mut self, batch: &Batch<'_>) -> Result<Option<String>, Failure> {
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
            None => {
                let wire = Wire::connect(&self.server, self.answer)?;
                self.traffic.connects.fetch_add(1, Ordering::Relaxed);
                self.wire.insert(wire)
            }
        };
        let row: Option<String> = wire.one("select @.resume_1($1, 0::int2)::text", &[&self.host])?.get(0);
        let Some(row) = row else { return Ok(None) };
        let wrong = || Failure::Wrong(format!("the lane's row is {row}"));
        let row: Value = serde_json::from_str(&row).map_err(|_| wrong())?;
        let number = |name: &str| row[name].as_i64().ok_or_else(wrong);
        // At first there is no batch to ask for.
        self.traffic.resumes.fetch_add(u64::from(self.session > 0), Ordering::Relaxed);
        self.session = number("session")?;
        let batch = number("batch")?;
        Ok(Some(Row { batch, answer: row["answer"].as_str().map(ToOwned::to_owned), dead: row["dead"] == true }))
    }
}

#[cfg(all(test, feature = "cluster"))]
mod tests {
    use durhai_core::{RunId, Status, Version};
    use durhai_world::{Chunk, Create, Row, Write};

    use super::*;
    use crate::cluster::Cluster;
    use crate::held::HeldRuns;
    use crate::hosts::{Hosts, LeaseClock};
    use crate::layout;
    use crate::names::Names;

    fn create(name: &str) -> Write {
        let row = Row {
            run: RunId::new(name).unwrap(),
            workflow: "flow".into(),
            version: Version::of([("flow", "1")]),
            status: Status::Pending,
            tags: Default::default(),
            parent: None,
            created_at: 1,
            started_at: None,
            ended_at: None,
            wake_at: None,
            note: Value::Null,
            purge_at: None,
            concurrency: None,
        };
        let events = Chunk { first: 1, count: 1, bytes: b"1".to_vec() };
        Write::Create(Box::new(Create { row, events, claim: None, hooks: Vec::new(), messages: Vec::new() }))
    }

    /// A batch was committed, its answer was lost, and the host was declared dead before it asked what became of the batch.
    #[test]
    fn what_was_committed_before_the_death_is_not_sent_again() {
        let Some(cluster) = Cluster::start(&["fsync=off"]).unwrap() else { return };
        let server = Arc::new(Server::of(&cluster.url("lane")).unwrap());
        layout::open(&server).unwrap();
        let closed = Arc::new(AtomicBool::new(false));
        let hosts = Hosts::new(&server, LeaseClock::Monotonic, "test".into(), &closed).unwrap();
        let mut lane = Lane::new(&server, hosts.register_client().unwrap(), &closed, &Arc::default());
        let (names, held) = (Names::default(), HeldRuns::default());
        let writes = vec![create("a"), create("b")];
        let mut wire = Wire::connect(&server, ANSWER).unwrap();
        names.know(&mut wire, &names.unknown(Batch::names_in(&writes))).unwrap();
        let batch = Batch::of(&writes, Some(lane.host()), &held, &names, &|_| None).unwrap();
        let Sent::Committed(first) = lane.send(&batch).unwrap() else { panic!("it lives") };
        lane.batch -= 1;
        lane.wire = None;
        hosts.died(lane.host()).unwrap();
        let Sent::Committed(again) = lane.send(&batch).unwrap() else { panic!("it was committed") };
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(json(&again), json(&first));
        assert!(matches!(lane.send(&batch).unwrap(), Sent::Dead), "the next one is not");
        let runs: i64 = wire.one("select count(*) from @.run", &[]).unwrap().get(0);
        assert_eq!(runs, 2);
    }
}
