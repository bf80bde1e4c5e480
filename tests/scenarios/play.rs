//! Plays a scenario: a host, what happens outside, and crashes where they are wanted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use durhai::{Body, Clock, Event, Host, HostError, LogLine, MemoryWorld, Run, RunId, Status, StepError, Value, World};
use durhai_core::duration;
use durhai_testkit::{Ending, Fault, FaultWorld, Notices, Pulse, SimClock, Stage, events};

use super::file::Scenario;
use super::replayer::Replayer;
use super::show;

/// What is done to the host while it plays.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    pub fault: Fault,
    pub evict: bool,
    pub notices: Notices,
}

/// What came of it.
pub struct Played {
    pub result: String,
    pub end: String,
    /// What it wrote to its log, sorted.
    pub lines: Vec<String>,
    pub events: Vec<Event>,
    /// Calls of `write` by the first host.
    pub writes: u64,
    pub crashes: u32,
}

struct Play<'a> {
    scenario: &'a Scenario,
    trouble: Trouble,
    replayer: &'a Replayer,
    world: Arc<MemoryWorld>,
    clock: Arc<SimClock>,
    pulse: Pulse,
    run: RunId,
    connection: Arc<FaultWorld>,
    stage: Arc<Stage>,
    host: Host,
    /// Steps that were completed when a host crashed: no other may make them again.
    completed: HashSet<String>,
    crashes: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Settled {
    /// The host waits for the test.
    Waits,
    /// The run has ended or is parked.
    Rests,
    Crashed,
}

pub async fn play(scenario: &Scenario, replayer: &Replayer, trouble: Trouble) -> Played {
    let (world, clock, pulse) = (Arc::new(MemoryWorld::new()), Arc::new(SimClock::new()), Pulse::default());
    let run = RunId::new("run-1").expect("an id");
    let (connection, stage, host) = host(scenario, trouble, &world, &clock, &pulse).await;
    let writes = connection.clone();
    let (completed, crashes) = (HashSet::new(), 0);
    let mut play =
        Play { scenario, trouble, replayer, world, clock, pulse, run, connection, stage, host, completed, crashes };
    play.all().await;
    if trouble.fault != Fault::Never {
        // The fault may strike yet: whoever reports has a connection that holds.
        let crashes = play.crashes + u32::from(play.connection.is_down());
        play.restart().await;
        play.crashes = crashes;
    }
    let run = play.handle().await;
    let view = run.view().await.expect("a view");
    let logged: Vec<LogLine> = run.logs(0, 10_000).await.expect("logs").into_iter().map(|entry| entry.line).collect();
    let mut lines: Vec<_> = logged.iter().map(|line| format!("{} {}", line.level, line.message)).collect();
    lines.sort();
    let events = events(&*play.world, &play.run);
    let result = show::result(&events, &logged, &view);
    assert_eq!(play.host.doctor().await.expect("a doctor"), Vec::<String>::new(), "{}", scenario.title);
    play.leave().await;
    Played { result, end: show::end(&view), lines, events, writes: writes.writes(), crashes: play.crashes }
}

async fn host(
    scenario: &Scenario,
    trouble: Trouble,
    world: &Arc<MemoryWorld>,
    clock: &Arc<SimClock>,
    pulse: &Pulse,
) -> (Arc<FaultWorld>, Arc<Stage>, Host) {
    let shared: Arc<dyn World> = world.clone();
    let connection = Arc::new(FaultWorld::new(shared, trouble.fault, pulse.clone()).notices(trouble.notices));
    let stage = Stage::new(pulse.clone());
    let mut builder = Host::builder()
        .shared_world(connection.clone())
        .clock(clock.clone())
        .steps(stage.source())
        .workers(1)
        .workflow("flow", &scenario.script);
    if trouble.evict {
        builder = builder.evict_after(Duration::ZERO).max_live_runs(1);
    }
    (connection, stage, builder.start().await.expect("a host starts"))
}

impl Play<'_> {
    async fn all(&mut self) {
        loop {
            let started = self.host.run("flow").id("run-1").input(&self.scenario.input).start().await;
            self.excuse(started.map(drop));
            match self.settle().await {
                Settled::Crashed => self.restart().await,
                _ => break,
            }
        }
        for action in &self.scenario.outside {
            if action == "hold" {
                return;
            }
            loop {
                let done = self.act(action).await;
                self.excuse(done);
                if self.settle().await != Settled::Crashed {
                    break;
                }
                self.restart().await;
                if self.settle().await == Settled::Rests || !self.must_repeat(action) {
                    break;
                }
            }
        }
        // The rest happens by itself: steps succeed, time goes by.
        loop {
            match self.settle().await {
                Settled::Rests => return,
                Settled::Crashed => self.restart().await,
                Settled::Waits if self.finish_first() || self.jump() => {}
                Settled::Waits => return,
            }
        }
    }

    /// Waits until nothing happens any more without the test's doing.
    async fn settle(&self) -> Settled {
        let state = || (self.world.row(&self.run), events(&*self.world, &self.run));
        self.pulse.until(|| self.look(), state).await
    }

    fn look(&self) -> Option<Settled> {
        if self.connection.is_down() {
            return Some(Settled::Crashed);
        }
        let row = self.world.row(&self.run).expect("it answers")?;
        if row.status.is_terminal() || row.status == Status::Parked {
            return Some(Settled::Rests);
        }
        if !self.world.inbox(&self.run, 0, 1).expect("it answers").is_empty() {
            return None;
        }
        let log = events(&*self.world, &self.run);
        if log.len() == 1 {
            return row.wake_at.filter(|at| *at > self.clock.now()).map(|_| Settled::Waits);
        }
        // The log alone says what must still come: every attempt that is under way waits on the stage, no timer is due.
        let execution = self.replayer.replay(log);
        let replay = execution.replay();
        let steps_wait = self.open_steps().iter().all(|id| self.stage.has(id));
        let due = replay.wake_at().is_some_and(|at| at <= self.clock.now());
        (steps_wait && !due).then_some(Settled::Waits)
    }

    /// The calls with an attempt under way, in the order of their tasks.
    fn open_steps(&self) -> Vec<String> {
        let execution = self.replayer.replay(events(&*self.world, &self.run));
        let waits = execution.replay().waiting_for();
        let steps = waits.into_iter().filter(|wait| wait.kind == "step");
        steps.filter_map(|wait| Some(wait.step_id?.to_string())).collect()
    }

    /// Ends the first step that waits.
    fn finish_first(&self) -> bool {
        self.open_steps().first().is_some_and(|id| self.stage.end(id, None))
    }

    /// Goes to the next moment at which something happens by itself.
    fn jump(&self) -> bool {
        let row = self.world.row(&self.run).expect("it answers").expect("there is a run");
        let execution = self.replayer.replay(events(&*self.world, &self.run));
        let wake = execution.replay().wake_at().or(row.wake_at.filter(|at| *at > 0));
        if let Some(at) = wake {
            self.clock.set(at);
        }
        wake.is_some()
    }

    /// An error that the crash explains.
    fn excuse(&self, result: Result<(), HostError>) {
        if let Err(error) = result {
            assert!(self.connection.is_down(), "{}: {error}", self.scenario.title);
        }
    }

    async fn handle(&self) -> Run {
        self.host.get("run-1").await.expect("there is a run")
    }

    async fn leave(&self) {
        self.connection.crash();
        self.host.shutdown().await;
    }

    /// The host is dead: another one takes over.
    async fn restart(&mut self) {
        self.crashes += 1;
        assert!(self.crashes < 50, "{}: it crashes again and again", self.scenario.title);
        self.leave().await;
        self.check_entrances();
        for event in events(&*self.world, &self.run) {
            if let (Body::StepCompleted { .. } | Body::StepFailed { .. }, Some(id)) = (&event.body, &event.step_id) {
                self.completed.insert(id.to_string());
            }
        }
        self.world.crash();
        let trouble = Trouble { fault: Fault::Never, ..self.trouble };
        (self.connection, self.stage, self.host) =
            host(self.scenario, trouble, &self.world, &self.clock, &self.pulse).await;
    }

    fn check_entrances(&self) {
        for (id, attempt) in self.stage.entrances() {
            let title = &self.scenario.title;
            assert!(!self.completed.contains(&id), "{title}: step {id} had ended, attempt {attempt} was made again");
        }
    }

    async fn act(&self, action: &str) -> Result<(), HostError> {
        let mut words = action.splitn(3, ' ');
        let (verb, what, rest) =
            (words.next().unwrap_or_default(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let json = || if rest.is_empty() { Value::Null } else { serde_json::from_str(rest).expect("JSON") };
        let tail = action.split_once(' ').map_or("", |(_, tail)| tail);
        let length = |text: &str| duration::parse(text).expect("a duration");
        let ending = match verb {
            "ok" if rest.is_empty() => None,
            "ok" => Some(Ending::Ok(json())),
            "err" => Some(Ending::Error(StepError::retry(rest).data(serde_json::json!({ "told": rest })))),
            "fatal" => Some(Ending::Error(StepError::fatal(rest))),
            "after" => Some(Ending::After(Duration::from_millis(length(rest)))),
            "panic" => Some(Ending::Panic),
            "log" => Some(Ending::Log(rest.into())),
            "signal" if self.trouble.fault == Fault::Never => return self.handle().await.signal(what, &json()).await,
            // Whoever sends it again because the host died before it answered must say that it is the same one.
            "signal" => {
                let at = self.scenario.outside.iter().position(|other| std::ptr::eq(other.as_str(), action));
                let run = self.host.get("run-1").await?;
                return run.signal_once(what, &json(), &format!("outside {at:?}")).await;
            }
            "once" => {
                let (id, payload) = rest.split_once(' ').expect("an id and a payload");
                let payload: Value = serde_json::from_str(payload).expect("JSON");
                return self.host.get("run-1").await?.signal_once(what, &payload, id).await;
            }
            "cancel" => return self.host.get("run-1").await?.cancel(tail).await,
            "terminate" => return self.host.get("run-1").await?.terminate(tail).await,
            "unpark" => return self.host.get("run-1").await?.unpark().await,
            "time" => {
                self.clock.advance(length(tail));
                return Ok(());
            }
            "back" => {
                self.clock.set(self.clock.now() - length(tail));
                return Ok(());
            }
            "wake" => {
                assert!(self.jump(), "{}: there is no timer", self.scenario.title);
                return Ok(());
            }
            "crash" => {
                self.connection.crash();
                return Ok(());
            }
            // Until the log has such an event.
            "until" => {
                let seen = || {
                    let events = events(&*self.world, &self.run);
                    (self.connection.is_down() || events.iter().any(|event| show::short(event) == tail)).then_some(())
                };
                self.pulse.until(seen, || (tail.to_owned(), events(&*self.world, &self.run))).await;
                return Ok(());
            }
            other => panic!("{}: what is {other:?}?", self.scenario.title),
        };
        let ended = self.stage.end(what, ending);
        assert!(ended || self.crashes > 0, "{}: {action}: no such step is under way", self.scenario.title);
        if verb == "log" {
            // A line is written with the next turn; there is nothing else to see of it.
            let count = || self.world.stream(&self.run, "log", 0, 1_000).expect("it answers");
            let seen = || {
                let written = count().iter().any(|line| String::from_utf8_lossy(line).contains(rest));
                (self.connection.is_down() || written).then_some(())
            };
            self.pulse.until(seen, count).await;
        }
        Ok(())
    }

    /// Whether what was done before a crash was lost with it.
    fn must_repeat(&self, action: &str) -> bool {
        let mut words = action.split(' ');
        match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
            ("ok" | "err" | "fatal" | "after" | "panic", id) => self.stage.has(id),
            ("signal" | "once", _) => true,
            ("cancel" | "terminate", _) => {
                let log = events(&*self.world, &self.run);
                !log.iter().any(|event| matches!(event.body, Body::CancelRequested { .. }))
            }
            _ => false,
        }
    }
}
