//! Workflows that start by themselves: the thread that starts them, and what people may do about it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use durhai_core::event::Created;
use durhai_core::{Millis, RunId, Value};
use durhai_engine::header::{Missed, Overlap, Schedule};
use durhai_engine::{Cron, Header};
use durhai_world::{Refused, World, WorldError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::HostError;
use crate::runtime::away::Away;
use crate::runtime::claims;
use crate::runtime::duties::Assigned;
use crate::runtime::new_run::{self, StartAt};
use crate::shared::Shared;
use crate::steps::registry;
use crate::store::meta;
use crate::versions::serving::Serving;
use crate::view::ScheduleView;

/// The longest sleep: other hosts that share the world do not ring here, and may leave the work to this one.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How often the end of a run that others wait for is looked for: it may run in another host.
const LOOK_FOR_END: Duration = Duration::from_secs(1);

/// A time that is handled later than this was missed: no host was there.
const LATE: Millis = 10_000;

/// Times to come that are shown.
const UPCOMING: usize = 5;

/// Times that wait for the end of the run before, at most.
const QUEUE: usize = 1_000;

/// See [`Host::schedules`](crate::Host::schedules).
pub(crate) async fn schedules(host: &Arc<Shared>) -> Result<Vec<ScheduleView>, HostError> {
    let (scheduled, now) = (scheduled(host), host.store.clock.now());
    host.store
        .blocking(move |world| scheduled.into_iter().map(|(name, header)| view(world, name, &header, now)).collect())
        .await
}

/// See [`Host::pause_schedule`](crate::Host::pause_schedule).
pub(crate) async fn pause_schedule(host: &Arc<Shared>, workflow: &str) -> Result<(), HostError> {
    set_paused(host, workflow, true).await
}

/// See [`Host::resume_schedule`](crate::Host::resume_schedule).
pub(crate) async fn resume_schedule(host: &Arc<Shared>, workflow: &str) -> Result<(), HostError> {
    set_paused(host, workflow, false).await
}

/// See [`Host::trigger_schedule`](crate::Host::trigger_schedule).
pub(crate) async fn trigger(host: &Arc<Shared>, workflow: &str) -> Result<RunId, HostError> {
    if host.life.is_stopping() {
        return Err(HostError::Closed);
    }
    known_schedule(host, workflow)?;
    let stamp = timestamp(host.store.clock.now()).map_or_else(String::new, |now| format!("{now:.3}"));
    for number in 1_u64.. {
        // Twice in a millisecond.
        let tail = if number == 1 { String::new() } else { format!("-{number}") };
        let id = run_id(workflow, &format!("@{stamp}-manual{tail}"));
        match begin(host, workflow, id.clone()).await? {
            Ok(()) => return Ok(id),
            Err(Refused::Exists(_)) => {}
            Err(refused) => return Err(crate::error::refusal(refused)),
        }
    }
    unreachable!("some number is free")
}

async fn set_paused(host: &Arc<Shared>, workflow: &str, paused: bool) -> Result<(), HostError> {
    known_schedule(host, workflow)?;
    let (key, now) = (meta::schedule_pause(workflow), host.store.clock.now());
    host.store
        .blocking(move |world| {
            if read::<Pause>(world, &key)?.unwrap_or_default().paused == paused {
                return Ok(());
            }
            write(world, &key, &Pause { paused, at: now })
        })
        .await?;
    host.runtime.scheduler.wake();
    Ok(())
}

fn known_schedule(host: &Arc<Shared>, workflow: &str) -> Result<(), HostError> {
    let names: Vec<_> = scheduled(host).into_iter().map(|(name, _)| name).collect();
    match names.iter().any(|name| name == workflow) {
        true => Ok(()),
        false => Err(HostError::NotFound(registry::unknown("schedule", workflow, &names))),
    }
}

/// Every workflow whose header has a schedule, by name.
fn scheduled(host: &Shared) -> Vec<(String, Arc<Header>)> {
    let all = host.versions.all_serving().into_iter();
    all.filter(|(_, serving)| serving.header.schedule.is_some()).map(|(name, it)| (name, it.header)).collect()
}

/// Starts a run of a schedule under this id, unless the id is taken.
async fn begin(host: &Arc<Shared>, workflow: &str, id: RunId) -> Result<Result<(), Refused>, HostError> {
    let gone = || HostError::NotFound(registry::unknown("schedule", workflow, &[]));
    let Serving { version, header } = host.versions.serving(workflow).map_err(|_| gone())?;
    let schedule = header.schedule.as_ref().ok_or_else(gone)?;
    let input = new_run::check_input(&header, workflow, schedule.input.clone()).map_err(HostError::Invalid)?;
    let created = Created {
        tags: [("schedule".to_owned(), workflow.to_owned())].into(),
        timeout: header.timeout,
        ..Created::new(id, workflow, version, input)
    };
    claims::create(host, new_run::new_run(host, vec![new_run::first_event(host, created)], &header, StartAt::HERE))
        .await
}

/// How far a schedule is. Hosts that share a world all write it, each after the run it tells of was created: the id of a
/// run says which time it is for, so none is started twice, whichever host wrote last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct State {
    cron: String,
    timezone: String,
    /// Times up to this moment are handled, or do not count.
    from: Millis,
    /// The time it was started for last.
    last: Option<Millis>,
    /// The run of that time.
    last_run: Option<RunId>,
    /// Times that wait for the end of that run.
    queued: Vec<Millis>,
}

/// Apart from [`State`], so that no host undoes what a person does at that moment.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Pause {
    paused: bool,
    /// When it was paused or resumed.
    at: Millis,
}

/// Runs until the host stops.
pub(crate) fn run(host: &Arc<Shared>) {
    let mut keeper = Keeper { host, known: None, watched: HashMap::new(), late: HashMap::new(), failed: false };
    let mut away = Away::new("starting what is due by schedule");
    while !host.life.is_stopping() {
        let looked = keeper.look();
        keeper.failed = looked.is_err();
        match looked {
            Ok(timeout) => {
                away.answered();
                host.runtime.scheduler.wait(timeout);
            }
            Err(HostError::World(error)) if host.is_away(&error) => host.runtime.scheduler.wait(away.failed(&error)),
            Err(HostError::World(error)) => return host.fail(Arc::new(error)),
            Err(error) => {
                if !host.life.is_stopping() {
                    tracing::error!("schedules: {error}");
                }
                host.runtime.scheduler.wait(LOOK_FOR_END);
            }
        }
    }
}

struct Keeper<'a> {
    host: &'a Arc<Shared>,
    /// The schedules there were at the last look.
    known: Option<HashSet<String>>,
    /// The run of each workflow at whose end the bell rings.
    watched: HashMap<String, Watched>,
    /// A time of these that is handled later than this at this look was missed.
    late: HashMap<String, Millis>,
    /// The last look came to no end.
    failed: bool,
}

struct Watched {
    run: RunId,
    /// It ended, or was only dropped from memory: a caller that still waits must register anew.
    over: Arc<AtomicBool>,
}

impl Keeper<'_> {
    /// Starts what is due, and says how long nothing else is.
    fn look(&mut self) -> Result<Duration, HostError> {
        let scheduled = scheduled(self.host);
        let names: HashSet<_> = scheduled.iter().map(|(name, _)| name.clone()).collect();
        let before = self.known.clone();
        self.watched.retain(|name, _| HashSet::contains(&names, name));
        let asked: Vec<_> = scheduled.iter().map(|(name, _)| name.clone()).collect();
        let assigned = self.host.runtime.schedules.ask(&asked, &self.host.store)?;
        self.late.retain(|name, _| HashSet::contains(&names, name));
        for (name, assigned) in asked.into_iter().zip(&assigned) {
            match assigned {
                Assigned::No => drop(self.late.remove(&name)),
                // It may have been taken over, and was not done since.
                Assigned::Yes if self.failed => drop(self.late.entry(name).or_insert(LATE)),
                Assigned::Yes => drop(self.late.insert(name, LATE)),
                // Until the one before counted as dead nobody looked, and that is no reason to leave a time out.
                Assigned::TakenOver => {
                    let gap = 2 * (self.host.store.lease.length() + LOOK_AGAIN);
                    self.late.insert(name, LATE + gap.as_millis() as Millis);
                }
            }
        }
        let mut timeout = LOOK_AGAIN;
        for ((name, header), assigned) in scheduled.iter().zip(assigned) {
            if assigned == Assigned::No {
                continue;
            }
            // What was gone while this host was there has missed nothing.
            let is_new = before.as_ref().is_some_and(|before| !before.contains(name));
            timeout = timeout.min(self.keep(name, header, is_new)?);
        }
        self.known = Some(names);
        Ok(timeout)
    }

    fn keep(&mut self, name: &str, header: &Header, is_new: bool) -> Result<Duration, HostError> {
        let Some(schedule) = &header.schedule else { return Ok(LOOK_AGAIN) };
        let world = &*self.host.store.world;
        let now = self.host.store.clock.now();
        let cron = cron_text(header);
        let stored = read::<State>(world, &meta::schedule(name))?;
        let same = |state: &State| state.cron == cron && state.timezone == schedule.timezone;
        let mut state = match stored {
            Some(state) if same(&state) && !is_new => state,
            // Seen for the first time, or another one than before: it counts from now.
            stored => {
                let mut state = stored.unwrap_or_else(|| fresh(header, now));
                (state.cron, state.timezone, state.from) = (cron.into(), schedule.timezone.clone(), now);
                write(world, &meta::schedule(name), &state)?;
                state
            }
        };
        let pause = read::<Pause>(world, &meta::schedule_pause(name))?.unwrap_or_default();
        if pause.paused {
            return Ok(LOOK_AGAIN);
        }
        state.from = state.from.max(pause.at);
        for tick in due(&schedule.cron, schedule.missed, state.from, now, self.late.get(name).copied().unwrap_or(LATE))
        {
            match schedule.overlap {
                Overlap::Allow => self.start(name, &mut state, tick)?,
                Overlap::Skip if self.goes_on(name, &state)? => {}
                Overlap::Skip => self.start(name, &mut state, tick)?,
                Overlap::Queue if state.queued.contains(&tick) => {}
                Overlap::Queue if state.queued.len() < QUEUE => state.queued.push(tick),
                Overlap::Queue => {
                    tracing::warn!(
                        workflow = name,
                        "{name}: {QUEUE} times wait for the run before them, {} is left out",
                        iso(tick)
                    );
                }
            }
            state.from = tick;
            put(world, name, &state)?;
            if self.host.life.is_stopping() {
                return Ok(Duration::ZERO);
            }
        }
        while !state.queued.is_empty() && !self.goes_on(name, &state)? {
            let tick = state.queued.remove(0);
            self.start(name, &mut state, tick)?;
            put(world, name, &state)?;
            if self.host.life.is_stopping() {
                return Ok(Duration::ZERO);
            }
        }
        let next = schedule.cron.next_after(state.from.max(now));
        let timeout = next.map_or(LOOK_AGAIN, |next| self.host.store.clock.time_until(next));
        Ok(if state.queued.is_empty() { timeout } else { timeout.min(LOOK_FOR_END) })
    }

    fn start(&self, name: &str, state: &mut State, tick: Millis) -> Result<(), HostError> {
        let id = tick_id(name, tick);
        match self.host.tokio.block_on(begin(self.host, name, id.clone())) {
            // Taken: another host was faster, or this one died before it could note that.
            Ok(done @ (Ok(()) | Err(Refused::Exists(_)))) => {
                if done.is_ok() {
                    let meters = &self.host.observe.meters;
                    meters.workflow(name).scheduled.inc();
                    meters.schedule_lag.record(self.host.store.clock.now().saturating_sub(tick));
                }
                (state.last, state.last_run) = (Some(tick), Some(id));
                Ok(())
            }
            Ok(Err(refused)) => {
                tracing::warn!("{name}: its run for {} was not started: {refused}", iso(tick));
                Ok(())
            }
            Err(HostError::Invalid(why) | HostError::NotFound(why)) => {
                tracing::warn!("{name}: its run for {} was not started: {why}", iso(tick));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Whether the last run, or the one it became, has not ended. If it runs in this host, the bell rings at its end.
    fn goes_on(&mut self, name: &str, state: &State) -> Result<bool, WorldError> {
        let Some(run) = &state.last_run else { return Ok(false) };
        let world = &*self.host.store.world;
        let run = crate::logs::lineage::latest(world, run)?;
        let watched = self.watched.get(name);
        let is_watched = watched.is_some_and(|watched| watched.run == run && !watched.over.load(Ordering::SeqCst));
        if !state.queued.is_empty() && !is_watched {
            let (rest, over, host) =
                (self.host.runtime.waiters.register(&run), Arc::default(), Arc::downgrade(self.host));
            self.watched.insert(name.into(), Watched { run: run.clone(), over: Arc::clone(&over) });
            self.host.tokio.spawn(async move {
                let _ = rest.await;
                over.store(true, Ordering::SeqCst);
                if let Some(host) = host.upgrade() {
                    host.runtime.scheduler.wake();
                }
            });
        }
        Ok(world.row(&run)?.is_some_and(|row| !row.status.is_terminal()))
    }
}

/// The times after `from` up to `now` that a run is to be started for, in order: at most one that was missed.
fn due(cron: &Cron, missed: Missed, from: Millis, now: Millis, late: Millis) -> Vec<Millis> {
    let mut due = Vec::new();
    let in_time = now.saturating_sub(late);
    if missed == Missed::Once {
        due.extend(in_time.checked_sub(1).and_then(|end| latest(cron, from, end)));
    }
    let mut at = from.max(in_time.saturating_sub(1));
    while let Some(tick) = cron.next_after(at).filter(|tick| *tick <= now) {
        due.push(tick);
        at = tick;
    }
    due
}

/// The last time after `from`, up to `end`. By halves: there may be millions of them.
fn latest(cron: &Cron, from: Millis, end: Millis) -> Option<Millis> {
    let after = |at: Millis| cron.next_after(at).filter(|tick| *tick <= end);
    let mut found = after(from)?;
    // There is a time after whatever lies in front of `found`, and none after `end`.
    let mut beyond = end;
    while found < beyond {
        let middle = found + (beyond - found) / 2;
        match after(middle) {
            Some(tick) => found = tick,
            None => beyond = middle,
        }
    }
    Some(found)
}

/// Notes how far it is, unless another host is further already: then that one's word counts.
fn put(world: &dyn World, name: &str, state: &State) -> Result<(), WorldError> {
    let stored = read::<State>(world, &meta::schedule(name))?;
    let ahead = |other: &State| other.from > state.from && other.cron == state.cron && other.timezone == state.timezone;
    if stored.as_ref().is_some_and(ahead) { Ok(()) } else { write(world, &meta::schedule(name), state) }
}

fn view(world: &dyn World, name: String, header: &Header, now: Millis) -> Result<ScheduleView, WorldError> {
    let Some(Schedule { cron, timezone, overlap, missed, .. }) = &header.schedule else {
        return Err(WorldError::Invalid(format!("{name:?} has no schedule")));
    };
    let state = read::<State>(world, &meta::schedule(&name))?.unwrap_or_else(|| fresh(header, now));
    let paused = read::<Pause>(world, &meta::schedule_pause(&name))?.unwrap_or_default().paused;
    let overlap = match overlap {
        Overlap::Skip => "skip",
        Overlap::Allow => "allow",
        Overlap::Queue => "queue",
    };
    let missed = match missed {
        Missed::Once => "once",
        Missed::Skip => "skip",
    };
    let coming = std::iter::successors(cron.next_after(now).filter(|_| !paused), |at| cron.next_after(*at));
    let upcoming: Vec<_> = coming.take(UPCOMING).collect();
    Ok(ScheduleView {
        workflow: name,
        cron: cron_text(header).into(),
        timezone: timezone.clone(),
        overlap: overlap.into(),
        missed: missed.into(),
        paused,
        next: upcoming.first().copied(),
        upcoming,
        last: state.last,
        last_run: state.last_run,
        queued: state.queued.len() as u64,
    })
}

fn fresh(header: &Header, now: Millis) -> State {
    let timezone = header.schedule.as_ref().map(|schedule| schedule.timezone.clone()).unwrap_or_default();
    State { cron: cron_text(header).into(), timezone, from: now, last: None, last_run: None, queued: Vec::new() }
}

/// The expression as it is written.
fn cron_text(header: &Header) -> &str {
    let schedule = header.raw().get("schedule");
    let text = schedule.and_then(|schedule| schedule.get("cron").or(Some(schedule))).and_then(Value::as_str);
    text.unwrap_or_default().trim()
}

fn tick_id(workflow: &str, tick: Millis) -> RunId {
    run_id(workflow, &format!("@{}", iso(tick)))
}

/// A name that cannot stand in a run's id, or is too long for one, is told by its digest.
fn run_id(workflow: &str, tail: &str) -> RunId {
    RunId::new(format!("{workflow}{tail}")).unwrap_or_else(|_| {
        let digest = Sha256::digest(workflow.as_bytes());
        let short: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        RunId::new(format!("{short}{tail}")).expect("hexadecimal digits and a short tail of a time are legal")
    })
}

fn iso(at: Millis) -> String {
    timestamp(at).map_or_else(|| at.to_string(), |at| at.to_string())
}

fn timestamp(at: Millis) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(at).ok()?).ok()
}

/// What cannot be read counts as not there.
fn read<T: for<'de> Deserialize<'de>>(world: &dyn World, key: &str) -> Result<Option<T>, WorldError> {
    let Some(bytes) = world.meta(key)? else { return Ok(None) };
    let value = serde_json::from_slice(&bytes);
    Ok(value.map_err(|error| tracing::warn!("{key:?} in the store is damaged and begins anew: {error}")).ok())
}

fn write<T: Serialize>(world: &dyn World, key: &str, value: &T) -> Result<(), WorldError> {
    world.put_meta(key, &serde_json::to_vec(value).expect("plain data is JSON"))
}
