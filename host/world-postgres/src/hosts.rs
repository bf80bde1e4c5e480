//! Hosts: how they say that they live, find out which others do not, and claim runs.
//!
//! Each host counts a number up, its *beat*. One whose beat stands still for its lease, by the monotonic clock of the host that looks, is
//! dead: no clock of two machines is ever compared, and a database that is away for a while ends nobody.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use durhai_core::{Millis, RunId};
use durhai_world::{Claim, Holder, Renewed, WorldError};
use parking_lot::Mutex;
use serde_json::Value;

use crate::failure::Failure;
use crate::held::{Held, HeldRuns};
use crate::readers::{Patience, persist};
use crate::rows::{self, status_column, whole};
use crate::server::Server;
use crate::text::{column, moment};
use crate::wire::Wire;

/// Runs of a dead host that are freed in one transaction.
const FREED: i32 = 5_000;

/// How long a host that ends tries to say so.
const LEAVE: Duration = Duration::from_secs(2);

/// How often a claim is tried while another host claims, and the first wait between.
const BUSY: u32 = 4;
const BUSY_WAIT: Duration = Duration::from_millis(3);

/// How often a claim is tried that others got in the way of.
const CONFLICTS: u32 = 8;

/// What leases are measured by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LeaseClock {
    /// The time of this machine that nobody can set.
    #[default]
    Monotonic,
    /// The moments that callers pass, and every claim looks which hosts are dead: for tests, where time does what they say.
    Caller,
}

pub struct Hosts {
    server: Arc<Server>,
    clock: LeaseClock,
    began: Instant,
    label: String,
    /// Names of hosts are never used again, whatever names the holders of another process have.
    nonce: String,
    closed: Arc<AtomicBool>,
    /// The hosts of this process by the name of their holder. Locked for moments only, also by those who lock the state.
    own: Mutex<HashMap<Arc<str>, Own>>,
    /// An answer with claims did not come: the server may have given some out.
    unsure: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    wire: Option<Wire>,
    /// Every host's beat, and since when it is that.
    beats: HashMap<i32, (i64, Millis)>,
}

#[derive(Clone, Copy)]
struct Own {
    id: i32,
    dead: bool,
}

/// What was found when a host looked after itself and others.
struct Look {
    alive: bool,
    now: Millis,
    /// Others that are dead now, or were and had runs left.
    deaths: bool,
}

/// What a claim brought.
enum Given {
    Claims(Vec<(Claim, Held)>),
    /// Nothing: another host claims at this moment.
    Busy,
    /// It is not known what: the answer did not come.
    Lost,
}

impl Hosts {
    pub fn new(
        server: &Arc<Server>,
        clock: LeaseClock,
        label: String,
        closed: &Arc<AtomicBool>,
    ) -> Result<Self, WorldError> {
        let (nonce, own, state) = (random()?, Mutex::default(), Mutex::default());
        let (server, closed) = (server.clone(), closed.clone());
        Ok(Hosts {
            server,
            clock,
            began: Instant::now(),
            label,
            nonce,
            closed,
            own,
            unsure: AtomicBool::new(false),
            state,
        })
    }

    /// The host of a holder, if it is alive as far as is known here.
    pub fn id(&self, holder: &Holder) -> Option<i32> {
        self.own.lock().get(&holder.name).filter(|own| !own.dead).map(|own| own.id)
    }

    /// Makes the host of a holder known to the server, if it is new. `true`: it is.
    pub fn register(&self, holder: &Holder, now: Millis) -> Result<bool, WorldError> {
        let mut state = self.state.lock();
        if let Some(own) = self.own.lock().get(&holder.name).copied() {
            if self.clock == LeaseClock::Caller
                && let Some((_, since)) = state.beats.get_mut(&own.id)
            {
                *since = now.max(*since);
            }
            return Ok(false);
        }
        let (lease, name) = (column(holder.lease), format!("{}-{}", holder.name, self.nonce));
        let id = self.persist(&mut state, |wire| registered(wire, &name, &self.label, Some(lease)))?;
        self.own.lock().insert(holder.name.clone(), Own { id, dead: false });
        let since = self.now(now);
        state.beats.insert(id, (0, since));
        Ok(true)
    }

    /// A lane for writes of a process in which no host lives.
    pub fn register_client(&self) -> Result<i32, WorldError> {
        let mut state = self.state.lock();
        let (label, name) = (&self.label, format!("client-{}", random()?));
        self.persist(&mut state, |wire| registered(wire, &name, label, None))
    }

    /// The host is dead, as its lane was told: what it had in memory is worth nothing.
    pub fn died(&self, id: i32) -> Result<(), WorldError> {
        let mut state = self.state.lock();
        self.own.lock().values_mut().filter(|own| own.id == id).for_each(|own| own.dead = true);
        self.persist(&mut state, |wire| wire.rows("select @.die_1($1)::text", &[&id]).map(drop))
    }

    /// A host of this process ends, or all of them do. Where the database cannot be reached at this moment, the others find out.
    pub fn leave(&self, holder: Option<&Holder>) {
        let mut state = self.state.lock();
        let ends = |name: &Arc<str>, own: &Own| !own.dead && holder.is_none_or(|holder| holder.name == *name);
        let own: Vec<i32> =
            self.own.lock().iter().filter(|(name, own)| ends(name, own)).map(|(_, own)| own.id).collect();
        let patience = Patience::Short(LEAVE);
        let left = own.iter().try_for_each(|id| {
            persist(&self.server, &mut state.wire, patience, &self.closed, &mut |wire| {
                wire.rows("select @.die_1($1)::text, @.free_1(5000)", &[id]).map(drop)
            })
        });
        if let Err(error) = left {
            tracing::debug!("the database did not hear that this process ends: {error}");
        }
        self.own.lock().values_mut().filter(|its| own.contains(&its.id)).for_each(|own| own.dead = true);
    }

    /// See [`World::renew`](durhai_world::World::renew).
    pub fn renew(&self, holder: &Holder, now: Millis) -> Result<Renewed, WorldError> {
        let mut state = self.state.lock();
        let Some(own) = self.own.lock().get(&holder.name).copied().filter(|own| !own.dead) else {
            return Ok(Renewed { alive: false, now: None });
        };
        let look = self.look(&mut state, own.id, holder, now)?;
        if look.deaths {
            let most = Cell::new(FREED);
            // A server that ends what takes longer than its operator wants is asked for less.
            let free = |wire: &mut Wire| {
                let freed = wire.one("select @.free_1($1)", &[&most.get()]);
                if matches!(freed, Err(Failure::Ended(_))) {
                    most.set((most.get() / 2).max(1));
                }
                Ok(freed?.get::<_, i32>(0))
            };
            while self.persist(&mut state, free)? > 0 {}
        }
        Ok(Renewed { alive: look.alive, now: Some(look.now) })
    }

    /// One beat of a host, and what has become of the others.
    fn look(&self, state: &mut State, id: i32, holder: &Holder, now: Millis) -> Result<Look, WorldError> {
        let asked = Instant::now();
        let seen: String = self.persist(state, |wire| Ok(wire.one("select @.renew_1($1)::text", &[&id])?.get(0)))?;
        let wrong = || WorldError::Corrupt(format!("found {seen}, expected what has become of the hosts"));
        let seen_value: Value = serde_json::from_str(&seen).map_err(|_| wrong())?;
        let alive = seen_value["alive"] == true;
        if !alive && let Some(own) = self.own.lock().get_mut(&holder.name) {
            own.dead = true;
        }
        let mut look = Look {
            alive,
            now: moment(seen_value["now"].as_i64().ok_or_else(wrong)?),
            deaths: seen_value["unfreed"] == true,
        };
        let at = self.now(now);
        let mut beats = HashMap::new();
        let mut late = Vec::new();
        for host in seen_value["hosts"].as_array().ok_or_else(wrong)? {
            let (Some(other), Some(beat), Some(lease)) = (host[0].as_i64(), host[1].as_i64(), host[2].as_i64()) else {
                return Err(wrong());
            };
            let other = i32::try_from(other).map_err(|_| wrong())?;
            let since = match state.beats.get(&other) {
                Some((known, since)) if *known == beat => *since,
                _ => at,
            };
            beats.insert(other, (beat, since));
            if other != id && at.saturating_sub(since) > moment(lease) {
                late.push((other, beat));
            }
        }
        // What one knows of the others is old where one was not answered for long.
        let slow = self.clock == LeaseClock::Monotonic && asked.elapsed() > Duration::from_millis(holder.lease / 2);
        if slow {
            beats.values_mut().for_each(|(_, since)| *since = at);
            late.clear();
        }
        state.beats = beats;
        if alive {
            for (other, beat) in late {
                let dead: bool =
                    self.persist(state, |wire| Ok(wire.one("select @.bury_1($1, $2)", &[&other, &beat])?.get(0)))?;
                if dead {
                    tracing::warn!(
                        host = other,
                        "host {other} has not been heard of for its lease: it is dead, and its runs are free"
                    );
                    self.own.lock().values_mut().filter(|own| own.id == other).for_each(|own| own.dead = true);
                    look.deaths = true;
                }
            }
        }
        Ok(look)
    }

    /// Whether claims may have been given out whose answer did not come.
    pub fn is_unsure(&self) -> bool {
        self.unsure.load(Ordering::Relaxed)
    }

    /// See [`World::claim`](durhai_world::World::claim). `quiet`: no batch is under way, so that lost claims can be told from those
    /// of runs that are being created or given back.
    pub fn claim(
        &self,
        (holder, now): (&Holder, Millis),
        limit: usize,
        held: &HeldRuns,
        quiet: bool,
    ) -> Result<Vec<Claim>, WorldError> {
        let Some(id) = self.alive(holder, now)? else { return Ok(Vec::new()) };
        let mut state = self.state.lock();
        if quiet && self.unsure.swap(false, Ordering::Relaxed) {
            let lost = self.lost(&mut state, id, now, held)?;
            if !lost.is_empty() {
                tracing::warn!(
                    "an answer with claims was lost with its connection: {} runs are taken up now",
                    lost.len()
                );
                return Ok(self.keep(lost, id, held));
            }
        }
        let most = i32::try_from(limit).unwrap_or(i32::MAX);
        for wait in 0..=BUSY {
            let given = self.claims(&mut state, |wire| {
                wire.one("select @.claim_1($1, $2, $3)", &[&id, &column(now), &most]).map(|row| row.get(0))
            })?;
            match given {
                Given::Claims(found) => return Ok(self.keep(found, id, held)),
                Given::Lost => return Ok(Vec::new()),
                Given::Busy if wait < BUSY => std::thread::sleep(BUSY_WAIT * 2_u32.pow(wait)),
                Given::Busy => {}
            }
        }
        Ok(Vec::new())
    }

    /// See [`World::claim_run`](durhai_world::World::claim_run). `None`: the answer was lost.
    pub fn claim_run(
        &self,
        run: &RunId,
        holder: &Holder,
        now: Millis,
        held: &HeldRuns,
    ) -> Result<Option<Option<Claim>>, WorldError> {
        let Some(id) = self.alive(holder, now)? else { return Ok(Some(None)) };
        let mut state = self.state.lock();
        let given = self.claims(&mut state, |wire| {
            let row = wire.one("select @.claim_run_1($1, $2, $3)::text", &[&run.as_str(), &id, &column(now)])?;
            Ok(row.get::<_, Option<String>>(0).map(|claim| format!("[{claim}]")))
        })?;
        Ok(match given {
            Given::Claims(found) => Some(self.keep(found, id, held).pop()),
            Given::Busy => Some(None),
            Given::Lost => None,
        })
    }

    /// The claim on a run that was given out in an answer which did not come. No batch may be under way.
    pub fn lost_claim(
        &self,
        run: &RunId,
        holder: &Holder,
        now: Millis,
        held: &HeldRuns,
    ) -> Result<Option<Claim>, WorldError> {
        let Some(id) = self.id(holder) else { return Ok(None) };
        let mut state = self.state.lock();
        let lost = self.lost(&mut state, id, now, held)?;
        let of_run = lost.into_iter().filter(|(claim, _)| claim.run == *run).collect();
        Ok(self.keep(of_run, id, held).pop())
    }

    /// What the server has for a host, and this process does not know of.
    fn lost(&self, state: &mut State, id: i32, now: Millis, held: &HeldRuns) -> Result<Vec<(Claim, Held)>, WorldError> {
        let found: String =
            self.persist(state, |wire| Ok(wire.one("select @.claims_of_1($1, $2)", &[&id, &column(now)])?.get(0)))?;
        let mut lost = claims_in(&found)?;
        lost.retain(|(claim, _)| !held.has(&claim.run, claim.fence));
        Ok(lost)
    }

    fn keep(&self, found: Vec<(Claim, Held)>, host: i32, held: &HeldRuns) -> Vec<Claim> {
        let keep = |(claim, its): (Claim, Held)| {
            held.insert(claim.run.clone(), Held { host, ..its });
            claim
        };
        let claims = found.into_iter().map(keep).collect();
        if self.own.lock().values().any(|own| own.id == host && own.dead) {
            // Its lane was told meanwhile. The claims are refused one by one.
            held.remove_of(host);
        }
        claims
    }

    /// See [`World::next_wake`](durhai_world::World::next_wake).
    pub fn next_wake(&self) -> Result<Option<Millis>, WorldError> {
        let mut state = self.state.lock();
        let found = self.persist(&mut state, |wire| {
            wire.rows("select due from @.head where due is not null order by due, key limit 1", &[])
        })?;
        Ok(found.first().map(|row| moment(row.get(0))))
    }

    /// The id of a host that may claim.
    fn alive(&self, holder: &Holder, now: Millis) -> Result<Option<i32>, WorldError> {
        if self.clock == LeaseClock::Caller && !self.renew(holder, now)?.alive {
            return Ok(None);
        }
        Ok(self.id(holder))
    }

    /// Claims that the server gives out. Asked once: if the answer is lost, the next claim finds what was given out.
    fn claims(
        &self,
        state: &mut State,
        mut ask: impl FnMut(&mut Wire) -> Result<Option<String>, Failure>,
    ) -> Result<Given, WorldError> {
        if state.wire.is_none() {
            self.persist(state, |_| Ok(()))?;
        }
        let mut conflicts = 0;
        let answer = loop {
            let wire = state.wire.as_mut().expect("it is connected");
            match ask(wire) {
                Ok(answer) => break answer,
                Err(Failure::Conflict(_)) if conflicts < CONFLICTS => conflicts += 1,
                Err(Failure::Lost(why) | Failure::Ended(why)) => {
                    tracing::debug!("the answer to a claim is lost: {why}");
                    state.wire = None;
                    self.unsure.store(true, Ordering::Relaxed);
                    return Ok(Given::Lost);
                }
                Err(other) => return Err(other.into_world()),
            }
        };
        let Some(answer) = answer else { return Ok(Given::Claims(Vec::new())) };
        if answer == "busy" {
            return Ok(Given::Busy);
        }
        claims_in(&answer).map(Given::Claims)
    }

    fn persist<T>(
        &self,
        state: &mut State,
        mut ask: impl FnMut(&mut Wire) -> Result<T, Failure>,
    ) -> Result<T, WorldError> {
        persist(&self.server, &mut state.wire, Patience::Endless, &self.closed, &mut ask)
    }

    fn now(&self, callers: Millis) -> Millis {
        match self.clock {
            LeaseClock::Monotonic => self.began.elapsed().as_millis() as Millis,
            LeaseClock::Caller => callers,
        }
    }
}

/// The id of a host, which is made if it is not there: the answer to the first attempt may have been lost.
fn registered(wire: &mut Wire, name: &str, label: &str, lease: Option<i64>) -> Result<i32, Failure> {
    match wire.rows("select id from @.host where name = $1", &[&name])?.first() {
        Some(known) => Ok(known.get(0)),
        None => Ok(wire.one("select @.register_1($1, $2, $3)", &[&name, &label, &lease])?.get(0)),
    }
}

fn claims_in(answer: &str) -> Result<Vec<(Claim, Held)>, WorldError> {
    let wrong = |why: &dyn std::fmt::Display| WorldError::Corrupt(format!("claims cannot be read: {why}"));
    let claims: Vec<Value> = serde_json::from_str(answer).map_err(|error| wrong(&error))?;
    claims.iter().map(claim_of).collect()
}

/// A claim, and what is kept of it; whose it is says the caller.
fn claim_of(value: &Value) -> Result<(Claim, Held), WorldError> {
    let row = rows::from_json(&value["row"])?;
    let claim = Claim {
        run: row.run.clone(),
        fence: whole(&value["fence"])?,
        tries: u32::try_from(whole(&value["tries"])?).unwrap_or(u32::MAX),
        row,
        last_seq: whole(&value["last_seq"])?,
        admitted: value["admitted"] == true,
    };
    let number = |name: &str| Ok::<_, WorldError>(i32::try_from(whole(&value["row"][name])?).unwrap_or_default());
    let held = Held {
        key: column(whole(&value["key"])?),
        fence: claim.fence,
        host: 0,
        last_seq: claim.last_seq,
        tries: claim.tries,
        counted: (number("workflow_id")?, number("version_id")?, status_column(claim.row.status)),
        limited: claim.row.concurrency.is_some(),
        tags: Arc::new(claim.row.tags.clone()),
    };
    Ok((claim, held))
}

/// Something that no other process has.
fn random() -> Result<String, WorldError> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| WorldError::Unavailable(format!("no randomness: {error}")))?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}
