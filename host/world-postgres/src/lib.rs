//! The world of durhai on PostgreSQL: many hosts on one database.
//!
//! What runs are is in tables (`sql/0001_tables.sql`), what is done to them in functions that hosts call with one statement each
//! (`sql/0001_functions.sql`). [`PgWorld`] is one process's access to it.

mod addresses;
mod answers;
mod batch;
mod bell;
#[cfg(feature = "cluster")]
pub mod cluster;
mod copy;
mod database;
mod failure;
mod floor;
mod held;
mod hosts;
mod lane;
mod layout;
mod list;
mod making;
mod names;
mod operate;
mod param;
mod parts;
mod pooling;
mod read;
mod readers;
mod restore;
mod rows;
mod server;
mod text;
mod transaction;
mod verify;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use durhai_core::{Millis, RunId, Version};
use durhai_world::{
    Chunk, Claim, Count, Holder, Hook, HostId, HostSeen, InboxMessage, Link, Notice, Page, Places, Query, Queue,
    Record, Refused, Renewed, Row, Snapshot, Standing, Watcher, World, WorldError, WorldSize, Write, Written,
};
use parking_lot::Mutex;

pub use database::{Access, Database, Transaction, TransactionError};
pub use floor::Floor;
pub use hosts::LeaseClock;
pub use layout::{LAYOUT, statements as layout_statements};
pub use tokio_postgres as client;
pub use transaction::Records;

pub use operate::DatabaseView;

use batch::{Answers, Batch};
use bell::{Bell, Ring, Watchers};
use held::HeldRuns;
use hosts::Hosts;
use lane::{Lane, Sent, Traffic};
use names::Names;
use parts::Part;
use readers::{Patience, Readers};
use server::Server;

/// How long the end of a process waits for the database to hear of it.
const LEAVE: Duration = Duration::from_secs(2);

/// How a world is opened.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections for reads; one more writes, and one looks after the hosts.
    pub readers: usize,
    /// How long a read waits for a server that cannot be reached, before it says so. A host asks four times before it tells its caller.
    pub patience: Duration,
    pub lease_clock: LeaseClock,
    /// What people see of this process in the table of hosts.
    pub label: String,
}

impl Default for Options {
    fn default() -> Self {
        let label = format!("process {}", std::process::id());
        Options { readers: 2, patience: Duration::from_millis(1_200), lease_clock: LeaseClock::default(), label }
    }
}

/// Runs in a PostgreSQL database.
pub struct PgWorld {
    server: Arc<Server>,
    readers: Readers,
    patience: Patience,
    hosts: Arc<Hosts>,
    held: HeldRuns,
    names: Names,
    lane: Mutex<Option<Lane>>,
    traffic: Arc<Traffic>,
    watchers: Arc<Watchers>,
    bell: Bell,
    /// Where steps work whose effects are in this database.
    work: Database,
    /// A host of this process looks for runs that are due, so that nobody else has to be told of one.
    claims: AtomicBool,
    closed: Arc<AtomicBool>,
    options: Options,
}

impl PgWorld {
    /// Opens the world at an address like `postgres://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME`. An empty database is laid out;
    /// one of another layout than this version's is refused.
    pub fn open(url: &str) -> Result<Self, WorldError> {
        Self::open_with(url, &Options::default())
    }

    pub fn open_with(url: &str, options: &Options) -> Result<Self, WorldError> {
        let server = Arc::new(Server::of(url)?);
        layout::open(&server)?;
        Self::on(server, options)
    }

    /// With connections of its own, which are made when they are needed.
    fn on(server: Arc<Server>, options: &Options) -> Result<Self, WorldError> {
        let closed = Arc::new(AtomicBool::new(false));
        let watchers = Arc::new(Watchers::default());
        Ok(PgWorld {
            readers: Readers::new(&server, options.readers, &closed),
            patience: Patience::Short(options.patience),
            hosts: Arc::new(Hosts::new(&server, options.lease_clock, options.label.clone(), &closed)?),
            held: HeldRuns::default(),
            names: Names::default(),
            lane: Mutex::default(),
            work: Database::of(&server),
            traffic: Arc::default(),
            bell: Bell::new(&server, &watchers, &closed),
            watchers,
            claims: AtomicBool::new(false),
            closed,
            options: options.clone(),
            server,
        })
    }

    /// Declares all hosts dead that are in the database, for a test that knows that none of their processes is there any more. Their runs
    /// are free at once.
    #[cfg(feature = "cluster")]
    pub fn bury_all(&self) -> Result<(), WorldError> {
        self.readers.ask(self.patience, |wire| {
            wire.rows("select @.die_1(id)::text from @.host where not dead and lease is not null", &[])?;
            while wire.one("select @.free_1(5000)", &[])?.get::<_, i32>(0) > 0 {}
            Ok(())
        })
    }

    fn ask<T>(&self, ask: impl FnMut(&mut wire::Wire) -> Result<T, failure::Failure>) -> Result<T, WorldError> {
        self.readers.ask(self.patience, ask)
    }

    /// The host of a holder is there, and writes go through its lane.
    fn register(&self, holder: &Holder, now: Millis) -> Result<(), WorldError> {
        if self.hosts.register(holder, now)?
            && let Some(host) = self.hosts.id(holder)
        {
            *self.lane.lock() = Some(Lane::new(&self.server, host, &self.closed, &self.traffic));
            self.bell.ring(Ring::Listen(host));
        }
        Ok(())
    }

    fn send(&self, writes: &[Write]) -> Result<Answers, WorldError> {
        for (holder, created_at) in Batch::holders(writes) {
            self.register(holder, created_at)?;
        }
        let mut answers = Answers::default();
        self.send_by(&mut self.lane.lock(), writes, &mut answers)?;
        Ok(answers)
    }

    /// Where the database refuses writes for what is in one of them, they are sent again by halves: in the end only those are refused that
    /// it does not take.
    fn send_by(&self, place: &mut Option<Lane>, writes: &[Write], answers: &mut Answers) -> Result<(), WorldError> {
        if let Some(at) = writes.iter().position(|write| self.held.is_behind(write)) {
            if at > 0 {
                self.send_by(place, &writes[..at], answers)?;
            }
            answers.written.push(Err(Refused::Fenced(parts::run_of(&writes[at]).clone())));
            return match &writes[at + 1..] {
                [] => Ok(()),
                rest => self.send_by(place, rest, answers),
            };
        }
        // Under the lock: a batch of another thread may find out that names have other numbers now.
        let unknown = self.names.unknown(Batch::names_in(writes));
        if !unknown.is_empty() {
            self.readers.ask(Patience::Endless, |wire| self.names.know(wire, &unknown))?;
        }
        let host_of = |holder: &Holder| self.hosts.id(holder);
        let host = place.as_ref().map(Lane::host);
        let mut batch = Batch::of(writes, host, &self.held, &self.names, &host_of)?;
        loop {
            if batch.is_empty() {
                return batch.answers("{}", &self.held, answers);
            }
            let lane = match &mut *place {
                Some(lane) => lane,
                None => {
                    place.insert(Lane::new(&self.server, self.hosts.register_client()?, &self.closed, &self.traffic))
                }
            };
            match lane.send(&batch)? {
                Sent::Committed(told) => return batch.answers(&told, &self.held, answers),
                Sent::Dead => {
                    let host = lane.host();
                    *place = None;
                    self.bury(host, &batch)?;
                    batch.without_claims();
                }
                Sent::Parts(why) => {
                    tracing::warn!("a batch of {} writes is sent again in parts: {why}", writes.len());
                    let (first, second) = writes.split_at(writes.len() / 2);
                    self.send_by(place, first, answers)?;
                    return self.send_by(place, second, answers);
                }
                Sent::Refused(why) => {
                    if let [write] = writes {
                        let (run, why) = (parts::run_of(write).clone(), format!("PostgreSQL: {why}"));
                        tracing::error!(%run, "a write of run {run} is refused: {why}");
                        self.held.spoil(write);
                        answers.written.push(Err(Refused::Invalid { run, why }));
                        return Ok(());
                    }
                    let (first, second) = writes.split_at(writes.len() / 2);
                    self.send_by(place, first, answers)?;
                    return self.send_by(place, second, answers);
                }
            }
        }
    }

    /// A lane's host is dead: nothing that this process has of it counts any more.
    fn bury(&self, host: i32, batch: &Batch<'_>) -> Result<(), WorldError> {
        self.held.remove_of(host);
        self.hosts.died(host)?;
        // It may be dead because the database went back to an older state, in which names have other numbers.
        self.names.forget();
        let names: Vec<String> = batch.names.iter().map(|(name, _)| name.clone()).collect();
        self.readers.ask(Patience::Endless, |wire| self.names.know(wire, &names))?;
        for (name, number) in &batch.names {
            if self.names.of(name)? != *number {
                let why = "the database went back to an older state while this host wrote: what it acknowledged since is lost there; \
                           restore it from where it was written, then start again";
                return Err(WorldError::Unavailable(why.into()));
            }
        }
        Ok(())
    }

    /// Tells what was written to those of this process, and to the hosts that it concerns.
    fn tell(&self, notices: Vec<Notice>, rings: Vec<Ring>) {
        if notices.contains(&Notice::Due) && !self.claims.load(Ordering::Relaxed) {
            self.bell.ring(Ring::Due);
        }
        rings.into_iter().for_each(|ring| self.bell.ring(ring));
        self.watchers.tell(notices);
    }
}

impl World for PgWorld {
    fn write(&self, batch: Vec<Write>) -> Result<Vec<Result<Written, Refused>>, WorldError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let mut all = Vec::with_capacity(batch.len());
        for part in parts::parts(batch) {
            match part {
                Part::Refused(write, why) => {
                    self.held.spoil(&write);
                    all.push(Err(Refused::Invalid { run: parts::run_of(&write).clone(), why }));
                }
                Part::Batch(writes) => {
                    let Answers { written, notices, rings } = self.send(&writes)?;
                    self.tell(notices, rings);
                    all.extend(written);
                }
            }
        }
        Ok(all)
    }

    fn is_local(&self) -> bool {
        false
    }

    fn claim(&self, holder: &Holder, now: Millis, limit: usize) -> Result<Vec<Claim>, WorldError> {
        self.claims.store(true, Ordering::Relaxed);
        self.register(holder, now)?;
        // While lost claims are looked for no batch is under way: what it creates or gives back would look like one.
        let quiet = self.hosts.is_unsure().then(|| self.lane.lock());
        let claims = self.hosts.claim((holder, now), limit, &self.held, quiet.is_some());
        drop(quiet);
        claims
    }

    fn claim_run(&self, run: &RunId, holder: &Holder, now: Millis) -> Result<Option<Claim>, WorldError> {
        self.register(holder, now)?;
        match self.hosts.claim_run(run, holder, now, &self.held)? {
            Some(claim) => Ok(claim),
            None => {
                // The answer was lost: was it given?
                let _quiet = self.lane.lock();
                self.hosts.lost_claim(run, holder, now, &self.held)
            }
        }
    }

    fn renew(&self, holder: &Holder, now: Millis) -> Result<Renewed, WorldError> {
        self.register(holder, now)?;
        self.hosts.renew(holder, now)
    }

    fn duty(&self, name: &str, holder: &Holder) -> Result<bool, WorldError> {
        let Some(host) = self.hosts.id(holder) else { return Ok(false) };
        self.ask(|wire| Ok(wire.one("select @.duty_1($1, $2)", &[&text::escaped(name), &host])?.get(0)))
    }

    fn duties(&self, prefix: &str, names: &[String], holder: &Holder) -> Result<Vec<bool>, WorldError> {
        let Some(host) = self.hosts.id(holder) else { return Ok(vec![false; names.len()]) };
        let names: Vec<String> = names.iter().map(|name| text::escaped(name)).collect();
        let prefix = text::escaped(prefix);
        self.ask(|wire| Ok(wire.one("select @.duties_1($1, $2, $3)", &[&prefix, &names, &host])?.get(0)))
    }

    fn places(&self, limit: &str, holder: &Holder, most: u32, wanted: u32) -> Result<Places, WorldError> {
        let Some(host) = self.hosts.id(holder) else { return Ok(Places { held: 0, share: 0 }) };
        let number = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let (name, most, wanted) = (text::escaped(limit), number(most), number(wanted));
        self.ask(|wire| {
            let row =
                wire.one("select v_held, v_share from @.places_1($1, $2, $3, $4)", &[&name, &host, &most, &wanted])?;
            let count = |at: usize| u32::try_from(row.get::<_, i32>(at)).unwrap_or(0);
            Ok(Places { held: count(0), share: count(1) })
        })
    }

    fn leave(&self, holder: &Holder) -> Result<(), WorldError> {
        self.claims.store(false, Ordering::Relaxed);
        self.hosts.leave(Some(holder));
        Ok(())
    }

    fn for_host(&self) -> Option<Arc<dyn World>> {
        match Self::on(self.server.clone(), &self.options) {
            Ok(world) => Some(Arc::new(world)),
            Err(error) => {
                tracing::debug!("hosts of this process share their connections: {error}");
                None
            }
        }
    }

    fn hosts(&self, all: bool) -> Result<Vec<HostSeen>, WorldError> {
        self.seen_hosts(all)
    }

    fn living(&self) -> Result<u64, WorldError> {
        self.living_hosts()
    }

    fn written(&self) -> Result<Option<u64>, WorldError> {
        // Every write goes through a lane, which counts its batches.
        let sql = "select hashtextextended(coalesce(string_agg(host || ':' || batch, ',' order by host, lane), ''), 0) \
                   from @.lane where host <> all($1)";
        let own = self.traffic.hosts();
        let now: i64 = self.ask(|wire| Ok(wire.one(sql, &[&own])?.get(0)))?;
        Ok(Some(now.cast_unsigned()))
    }

    fn link(&self) -> Option<Link> {
        Some(self.traffic.link())
    }

    fn holders(&self, runs: &[RunId]) -> Result<Vec<Option<HostId>>, WorldError> {
        self.holders_of(runs)
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn next_wake(&self) -> Result<Option<Millis>, WorldError> {
        self.hosts.next_wake()
    }

    fn log(&self, run: &RunId, from: u64, limit_bytes: usize) -> Result<Vec<Chunk>, WorldError> {
        self.ask(|wire| read::log(wire, run, from, limit_bytes))
    }

    fn log_tail(&self, run: &RunId) -> Result<Option<Chunk>, WorldError> {
        self.ask(|wire| read::log_tail(wire, run))
    }

    fn inbox(&self, run: &RunId, after: u64, limit: usize) -> Result<Vec<InboxMessage>, WorldError> {
        self.ask(|wire| read::inbox(wire, run, after, limit))
    }

    fn unread(&self, runs: &[(RunId, u64)]) -> Result<Vec<RunId>, WorldError> {
        let found = self.ask(|wire| read::unread(wire, runs))?;
        found.iter().map(|id| read::run_id(id)).collect()
    }

    fn stream(&self, run: &RunId, stream: &str, from: u64, limit: usize) -> Result<Vec<Vec<u8>>, WorldError> {
        self.ask(|wire| read::stream(wire, run, stream, from, limit))
    }

    fn streams(&self, run: &RunId) -> Result<Vec<(String, u64)>, WorldError> {
        self.ask(|wire| read::streams(wire, run))
    }

    fn values(&self, run: &RunId) -> Result<Vec<(String, Vec<u8>)>, WorldError> {
        self.ask(|wire| read::values(wire, run))
    }

    fn reserve(&self, token: &str, run: &RunId, fence: u64) -> Result<Option<RunId>, WorldError> {
        let owner = self.ask(|wire| read::reserve(wire, token, run, fence))?;
        owner.map(|owner| read::run_id(&owner)).transpose()
    }

    fn hook(&self, token: &str) -> Result<Option<Hook>, WorldError> {
        let found = self.ask(|wire| read::hook(wire, token))?;
        found.map(|(run, info)| Ok(Hook { run: read::run_id(&run)?, info })).transpose()
    }

    fn snapshot(&self, runs: &[RunId]) -> Result<Vec<Option<Snapshot>>, WorldError> {
        let found = self.ask(|wire| copy::snapshots(wire, runs))?;
        found.into_iter().map(|one| one.map(copy::Found::into_snapshot).transpose()).collect()
    }

    fn standings(&self, runs: &[RunId]) -> Result<Vec<Option<Standing>>, WorldError> {
        let standing = |(status, last_seq, streams): read::Found| {
            Ok(Standing { status: rows::status_of(status)?, last_seq, streams })
        };
        let found = self.ask(|wire| read::standings(wire, runs))?;
        found.into_iter().map(|found| found.map(standing).transpose()).collect()
    }

    fn copy(&self, take: &mut dyn FnMut(Record) -> Result<(), WorldError>) -> Result<(), WorldError> {
        copy::all(&self.server, take)
    }

    fn restore(&self, next: &mut dyn FnMut() -> Result<Option<Record>, WorldError>) -> Result<(), WorldError> {
        restore::all(&self.server, &self.names, next)?;
        self.tell(vec![Notice::Due], Vec::new());
        Ok(())
    }

    fn set_limit(&self, key: &str, limit: u32) -> Result<(), WorldError> {
        self.ask(|wire| {
            wire.rows("select @.set_limit_1($1, $2)::text", &[&text::escaped(key), &i64::from(limit)]).map(drop)
        })?;
        self.tell(vec![Notice::Due], Vec::new());
        Ok(())
    }

    fn waits(&self, run: &RunId) -> Result<bool, WorldError> {
        self.ask(|wire| read::waits(wire, run))
    }

    fn queue(&self, run: &RunId, most: usize) -> Result<Option<Queue>, WorldError> {
        let found = self.ask(|wire| read::queue(wire, run, most))?;
        found.map(read::queue_of).transpose()
    }

    fn row(&self, run: &RunId) -> Result<Option<Row>, WorldError> {
        let found = self.ask(|wire| read::row(wire, run))?;
        found.map(|row| read::row_of(&row)).transpose()
    }

    fn list(&self, query: &Query) -> Result<Page, WorldError> {
        list::page(query, |sql, params| self.ask(|wire| wire.rows_of(sql, params)))
    }

    fn run_counts(&self) -> Result<Vec<Count>, WorldError> {
        let rows = self.ask(|wire| {
            wire.rows(
                "select w.text, v.text, c.status, sum(c.n)::int8 from @.run_count c join @.name w on w.id = c.workflow \
                 join @.name v on v.id = c.version group by 1, 2, 3 having sum(c.n) <> 0",
                &[],
            )
        })?;
        let count = |row: &tokio_postgres::Row| {
            Ok(Count {
                workflow: text::unescaped(row.get(0)),
                version: rows::version(row.get(1)),
                status: rows::status_of(row.get(2))?,
                runs: text::number(row.get(3)),
            })
        };
        let mut counts: Vec<Count> = rows.iter().map(count).collect::<Result<_, WorldError>>()?;
        counts.sort_unstable();
        Ok(counts)
    }

    fn put_program(&self, version: &Version, bytes: &[u8]) -> Result<(), WorldError> {
        let name = [version.as_str().to_owned()];
        self.ask(|wire| {
            self.names.know(wire, &name)?;
            let sql = "insert into @.program select id, $2 from @.name where text = $1 on conflict do nothing";
            wire.rows(sql, &[&name[0], &bytes]).map(drop)
        })
    }

    fn program(&self, version: &Version) -> Result<Option<Vec<u8>>, WorldError> {
        let sql = "select p.bytes from @.program p join @.name n on n.id = p.version where n.text = $1";
        let rows = self.ask(|wire| wire.rows(sql, &[&version.as_str()]))?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    fn programs(&self) -> Result<Vec<Version>, WorldError> {
        let sql = "select n.text from @.program p join @.name n on n.id = p.version";
        let rows = self.ask(|wire| wire.rows(sql, &[]))?;
        Ok(rows.iter().map(|row| rows::version(row.get(0))).collect())
    }

    fn drop_program(&self, version: &Version) -> Result<bool, WorldError> {
        // No run of it is created here meanwhile.
        let _quiet = self.lane.lock();
        self.ask(|wire| Ok(wire.one("select @.drop_program_1($1)", &[&version.as_str()])?.get(0)))
    }

    fn expired(&self, now: Millis, limit: usize) -> Result<Vec<RunId>, WorldError> {
        let limit = text::column(limit as u64);
        // The largest column stands for never, unless it is never now.
        let sql = "select id from @.run where purge_at is not null and status between 4 and 7 and purge_at <= $1 \
                   order by purge_at, key limit $2";
        let now = if now == Millis::MAX { i64::MAX } else { text::column(now).min(i64::MAX - 1) };
        let rows = self.ask(|wire| wire.rows(sql, &[&now, &limit]))?;
        rows.iter().map(|row| read::run_id(row.get(0))).collect()
    }

    fn put_meta(&self, key: &str, value: &[u8]) -> Result<(), WorldError> {
        let sql = "insert into @.meta values ($1, $2) on conflict (key) do update set value = excluded.value";
        self.ask(|wire| wire.rows(sql, &[&text::escaped(key), &value]).map(drop))
    }

    fn remove_meta(&self, key: &str) -> Result<(), WorldError> {
        self.ask(|wire| wire.rows("delete from @.meta where key = $1", &[&text::escaped(key)]).map(drop))
    }

    fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, WorldError> {
        let rows = self.ask(|wire| wire.rows("select value from @.meta where key = $1", &[&text::escaped(key)]))?;
        Ok(rows.first().map(|row| row.get(0)))
    }

    fn metas(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, WorldError> {
        let keys: Vec<String> = keys.iter().map(|key| text::escaped(key)).collect();
        let rows = self.ask(|wire| wire.rows("select key, value from @.meta where key = any($1)", &[&keys]))?;
        let found: HashMap<String, Vec<u8>> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    fn swap_meta(&self, key: &str, before: Option<&[u8]>, after: &[u8]) -> Result<bool, WorldError> {
        let key = text::escaped(key);
        let rows = self.ask(|wire| match before {
            None => {
                let sql = "insert into @.meta values ($1, $2) on conflict do nothing returning true";
                wire.rows(sql, &[&key, &after])
            }
            Some(before) => {
                let sql = "update @.meta set value = $2 where key = $1 and value = $3 returning true";
                wire.rows(sql, &[&key, &after, &before])
            }
        })?;
        Ok(!rows.is_empty())
    }

    fn watch(&self, watcher: Watcher) {
        self.watchers.add(watcher);
    }

    fn size(&self) -> Result<WorldSize, WorldError> {
        let sql = "select sum(pg_total_relation_size(c.oid))::int8 from pg_class c join pg_namespace n on n.oid = c.relnamespace \
                   where n.nspname = $1 and c.relkind = 'r'";
        let bytes: Option<i64> = self.ask(|wire| Ok(wire.one(sql, &[&self.server.schema()])?.get(0)))?;
        Ok(WorldSize { stored: bytes.map(text::number), unsettled: None })
    }

    fn verify(&self, report: &mut dyn FnMut(String)) -> Result<(), WorldError> {
        verify::all(&self.server, report)
    }
}

impl Drop for PgWorld {
    /// The hosts of this process are gone: what they may still hold is free at once, and no other has to wait for their leases.
    fn drop(&mut self) {
        World::close(self);
        let hosts = self.hosts.clone();
        let (done, wait) = mpsc::channel();
        // A thread of its own: the one that drops this may be one that must not drive a connection.
        let leaving = std::thread::Builder::new().name("durhai-leave".into()).spawn(move || {
            hosts.leave(None);
            let _ = done.send(());
        });
        if leaving.is_ok() {
            let _ = wait.recv_timeout(LEAVE);
        }
    }
}
