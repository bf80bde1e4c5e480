//! Takes a host through a scenario: what happens outside, and crashes where they are wanted.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use durhai::clock::Clock;
use durhai::event::LogLine;
use durhai::view::HookRequest;
use durhai::{Event, EventBody, Host, HostError, Query, RunId, RunView, Status, StepError, Value, World};
use durhai_core::{Replay, duration};
use durhai_engine::Execution;
use durhai_testkit::{Ending, FarWorld, Fault, FaultWorld, Notices, ReadFault, StepDoubles, TestHost};
use durhai_world::Row;
use parking_lot::Mutex;

use super::file::Scenario;
use super::replayer::Replayers;
use super::show;

/// What is done to the host meanwhile.
#[derive(Debug, Clone, Copy)]
pub struct Trouble {
    pub fault: Fault,
    pub evict: bool,
    pub notices: Notices,
    pub reads: ReadFault,
    /// The world is behind a network.
    pub far: bool,
}

/// What came of it.
pub struct Outcome {
    pub result: String,
    /// How each run ended, and what it showed of itself.
    pub end: String,
    /// What they wrote to their logs, sorted.
    pub lines: Vec<String>,
    /// Of the run of `flow`.
    pub events: Vec<Event>,
    /// How it ended; if it continued, how the last of its chain did.
    pub ended: String,
    /// Workflow and log of every run, in the order they were created.
    pub logs: Vec<(String, Vec<Event>)>,
    /// Calls of `write` by the first host.
    pub writes: u64,
    /// Reads by the first host.
    pub reads: u64,
    pub failed_reads: u64,
    pub crashes: u32,
}

struct Driver<'a> {
    scenario: &'a Scenario,
    trouble: Trouble,
    replayers: &'a Replayers,
    test: TestHost,
    run: RunId,
    connection: Arc<FaultWorld>,
    doubles: Arc<StepDoubles>,
    host: Host,
    /// Steps that were completed when a host crashed: no other may make them again.
    completed: HashSet<String>,
    crashes: u32,
    /// What was refused as the scenario says it must be.
    refused: Mutex<Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Settled {
    /// The host waits for the test.
    Waits,
    /// The run has ended or is parked.
    Rests,
    Crashed,
}

pub async fn drive(scenario: &Scenario, replayers: &Replayers, trouble: Trouble) -> Outcome {
    let mut test = TestHost::new().workers(1);
    for (name, script) in &scenario.scripts {
        test = test.workflow(name, script);
    }
    if trouble.evict {
        test = test.with(|builder| builder.evict_after(Duration::ZERO).max_live_runs(32));
    }
    let run = RunId::new("run-1").expect("an id");
    let (connection, doubles, host) = host(&test, trouble).await;
    let first = connection.clone();
    let (completed, crashes, refused) = (HashSet::new(), 0, Mutex::default());
    let mut driver =
        Driver { scenario, trouble, replayers, test, run, connection, doubles, host, completed, crashes, refused };
    driver.all().await;
    if trouble.fault != Fault::Never {
        // The fault may strike yet: whoever reports has a connection that holds.
        let crashes = driver.crashes;
        driver.restart().await;
        driver.crashes = crashes;
    }
    let mut outcome = Outcome {
        result: String::new(),
        end: String::new(),
        lines: Vec::new(),
        events: driver.test.log(&driver.run),
        ended: String::new(),
        logs: Vec::new(),
        writes: first.writes(),
        reads: first.reads(),
        failed_reads: first.failed_reads(),
        crashes: driver.crashes,
    };
    for row in driver.rows() {
        let run = driver.host.get(row.run.as_str()).await.expect("there is a run");
        let view = run.view().await.expect("a view");
        let logged: Vec<LogLine> =
            run.logs(0, 10_000).await.expect("logs").into_iter().map(|entry| entry.line).collect();
        let mut streams = Vec::new();
        for stream in run.streams().await.expect("streams") {
            let entries = run.emitted(&stream.name, 0, 10_000).await.expect("a stream");
            assert!(entries.iter().map(|entry| entry.index).eq(0..stream.entries), "{}", scenario.title);
            streams.push((stream.name, entries.into_iter().map(|entry| entry.value).collect()));
        }
        let shown = show::shown(&view, &streams);
        outcome.lines.extend(logged.iter().map(|line| format!("{} {}", line.level, line.message)));
        let log = driver.test.log(&row.run);
        if row.run != driver.run {
            outcome.result.push_str(&format!("\n-- {} {}\n", row.run, row.workflow));
        }
        outcome.result.push_str(&show::result(&log, &logged, &view, &shown));
        outcome.end.push_str(&format!("{} {} {shown:?}\n", row.run, show::end(&view)));
        outcome.logs.push((row.workflow, log));
    }
    for refused in driver.refused.lock().iter() {
        outcome.result.push_str(&format!("\n! {refused}"));
    }
    let last = driver.last().await;
    outcome.ended = show::end(&last);
    outcome.lines.sort();
    outcome.crashes = outcome.crashes.max(u32::from(first.struck()));
    assert_eq!(driver.host.doctor().await.expect("a doctor").findings, [], "{}", scenario.title);
    driver.leave().await;
    outcome
}

async fn host(test: &TestHost, trouble: Trouble) -> (Arc<FaultWorld>, Arc<StepDoubles>, Host) {
    let connection = Arc::new(test.connect(trouble.fault).notices(trouble.notices).reads_fail(trouble.reads));
    let doubles = test.doubles();
    let world: Arc<dyn World> = match trouble.far {
        true => Arc::new(FarWorld::new(connection.clone()).strict()),
        false => connection.clone(),
    };
    let host = test.builder_on(world).steps(doubles.source()).start().await.expect("a host starts");
    (connection, doubles, host)
}

impl Driver<'_> {
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
                let done = self.apply(action).await;
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
        let state = || {
            let logs: Vec<_> = self.rows().iter().map(|row| (row.clone(), self.test.log(&row.run))).collect();
            (self.scenario.title.clone(), logs)
        };
        self.test.pulse.until(|| self.look(), state).await
    }

    /// All runs, in the order they were created.
    fn rows(&self) -> Vec<Row> {
        let query = Query { limit: 10_000, ..Query::default() };
        let mut rows = self.test.world.list(&query).expect("it answers").rows;
        rows.reverse();
        rows
    }

    fn look(&self) -> Option<Settled> {
        if self.connection.is_down() {
            return Some(Settled::Crashed);
        }
        let rows = self.rows();
        rows.iter().find(|row| row.run == self.run)?;
        let before = self.traces(&rows);
        if self.test.world.next_wake().expect("it answers").is_some_and(|at| at <= self.test.clock.now()) {
            return None;
        }
        let mut settled = Settled::Rests;
        for row in rows.iter().filter(|row| !rests(row)) {
            settled = self.look_at(row)?;
        }
        // Runs tell each other of their ends: what was seen of them must be of one moment.
        let one_moment = self.traces(&self.rows()) == before;
        if self.connection.is_down() {
            return Some(Settled::Crashed);
        }
        one_moment.then_some(settled)
    }

    /// What a write leaves behind.
    fn traces(&self, rows: &[Row]) -> Vec<(Row, usize, usize)> {
        let trace = |row: &Row| {
            let unread = self.test.world.inbox(&row.run, 0, 1_000).expect("it answers").len();
            (row.clone(), self.test.log(&row.run).len(), unread)
        };
        rows.iter().map(trace).collect()
    }

    fn look_at(&self, row: &Row) -> Option<Settled> {
        let log = self.test.log(&row.run);
        // The log alone says what must still come: every attempt that is under way waits on the doubles, no timer is due.
        let execution = self.replayers.of(&row.workflow).replay(log);
        let replay = execution.replay();
        if replay.started_at().is_none() {
            let later = row.wake_at.is_some_and(|at| at > self.test.clock.now());
            let waits = self.test.world.waits(&row.run).expect("it answers");
            return (later || waits).then_some(Settled::Waits);
        }
        if !self.test.world.inbox(&row.run, 0, 1).expect("it answers").is_empty() {
            return None;
        }
        let steps_wait = open_steps(&row.run, replay).iter().all(|id| self.doubles.has(id));
        let due = replay.wake_at().is_some_and(|at| at <= self.test.clock.now());
        (steps_wait && !due).then_some(Settled::Waits)
    }

    /// The executions of all runs that have not ended.
    fn live(&self) -> impl Iterator<Item = (Row, Execution)> {
        let rows = self.rows().into_iter().filter(|row| !rests(row));
        rows.map(|row| {
            let execution = self.replayers.of(&row.workflow).replay(self.test.log(&row.run));
            (row, execution)
        })
    }

    /// Ends the first step that waits.
    fn finish_first(&self) -> bool {
        let first =
            self.live().find_map(|(row, execution)| open_steps(&row.run, execution.replay()).into_iter().next());
        first.is_some_and(|id| self.doubles.end(&id, None))
    }

    /// Goes to the next moment at which something happens by itself.
    fn jump(&self) -> bool {
        let wake = |(row, execution): (Row, Execution)| {
            execution.replay().wake_at().or(row.wake_at.filter(|at| *at > self.test.clock.now()))
        };
        let wake = self.live().filter_map(wake).min();
        if let Some(at) = wake {
            self.test.clock.set(at);
        }
        wake.is_some()
    }

    /// An error that the crash explains.
    fn excuse(&self, result: Result<(), HostError>) {
        if let Err(error) = result {
            assert!(self.connection.is_down(), "{}: {error}", self.scenario.title);
        }
    }

    async fn last(&self) -> RunView {
        let mut view = self.host.get(self.run.as_str()).await.expect("there is a run").view().await.expect("a view");
        while let Some(next) = &view.next {
            view = self.host.get(next.as_str()).await.expect("there is a run").view().await.expect("a view");
        }
        view
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
        for row in self.rows() {
            for event in self.test.log(&row.run) {
                let ended = matches!(event.body, EventBody::StepCompleted { .. } | EventBody::StepFailed { .. });
                self.completed.extend(event.step_id.filter(|_| ended).map(|id| format!("{}/{id}", row.run)));
            }
        }
        self.test.world.crash();
        let trouble = Trouble { fault: Fault::Never, ..self.trouble };
        (self.connection, self.doubles, self.host) = host(&self.test, trouble).await;
    }

    fn check_entrances(&self) {
        for (id, attempt) in self.doubles.begun() {
            let title = &self.scenario.title;
            assert!(!self.completed.contains(&id), "{title}: step {id} had ended, attempt {attempt} was made again");
        }
    }

    async fn apply(&self, action: &str) -> Result<(), HostError> {
        if let Some(action) = action.strip_prefix("! ") {
            let refused = self.apply_to(self.run.as_str(), action).await;
            return match refused {
                Err(error) if !self.connection.is_down() => {
                    self.refused.lock().push(error.to_string());
                    Ok(())
                }
                Ok(()) => panic!(
                    "{}: {action} must be refused ({:?}, {} crashes)",
                    self.scenario.title, self.trouble, self.crashes
                ),
                Err(error) => Err(error),
            };
        }
        let (run, action) = match action.strip_prefix("in ").and_then(|rest| rest.split_once(' ')) {
            Some((run, action)) => (run, action),
            None => (self.run.as_str(), action),
        };
        match self.apply_to(run, action).await {
            // It came through before the host died, and was answered already.
            Err(HostError::Conflict(_) | HostError::NotFound(_))
                if self.crashes > 0 && (action.starts_with("resume ") || action.starts_with("hook ")) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    async fn apply_to(&self, run: &str, action: &str) -> Result<(), HostError> {
        let mut words = action.splitn(3, ' ');
        let id = RunId::new(run).expect("an id");
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
            "signal" if self.trouble.fault == Fault::Never => {
                return self.host.get(run).await?.signal(what, &json()).await;
            }
            // Whoever sends it again because the host died before it answered must say that it is the same one.
            "signal" => {
                return self.host.get(run).await?.signal_once(what, &json(), &same(self.scenario, action)).await;
            }
            "once" => {
                let (id, payload) = rest.split_once(' ').expect("an id and a payload");
                let payload: Value = serde_json::from_str(payload).expect("JSON");
                return self.host.get(run).await?.signal_once(what, &payload, id).await;
            }
            // `hook TOKEN BODY`, or `hook #CALL BODY` for one whose token nobody knows.
            "hook" => {
                let token = match what.strip_prefix('#') {
                    Some(call) => self.token_of(&id, call),
                    None => what.to_owned(),
                };
                let request = HookRequest { method: "POST".into(), body: json(), ..HookRequest::default() };
                return self.host.deliver_hook(&token, request, Some(&same(self.scenario, action))).await;
            }
            "resume" => {
                let label = Some(what).filter(|label| *label != "-");
                return self.host.get(run).await?.resume(label, &json()).await;
            }
            "cancel" => return self.host.get(run).await?.cancel(tail).await,
            "terminate" => return self.host.get(run).await?.terminate(tail).await,
            "unpark" => return self.host.get(run).await?.unpark().await,
            "time" => {
                self.test.clock.advance(length(tail));
                return Ok(());
            }
            "back" => {
                self.test.clock.set(self.test.clock.now() - length(tail));
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
                    let events = self.test.log(&id);
                    (self.connection.is_down() || events.iter().any(|event| show::short(event) == tail)).then_some(())
                };
                self.test.pulse.until(seen, || (tail.to_owned(), self.test.log(&id))).await;
                return Ok(());
            }
            other => panic!("{}: what is {other:?}?", self.scenario.title),
        };
        let ended = self.doubles.end(&format!("{run}/{what}"), ending);
        assert!(ended || self.crashes > 0, "{}: {action}: no such step is under way", self.scenario.title);
        if verb == "log" {
            // A line is written with the next turn; there is nothing else to see of it.
            let count = || self.test.world.stream(&id, "log", 0, 1_000).expect("it answers");
            let seen = || {
                let written = count().iter().any(|line| String::from_utf8_lossy(line).contains(rest));
                (self.connection.is_down() || written).then_some(())
            };
            self.test.pulse.until(seen, count).await;
        }
        Ok(())
    }

    /// Whether what was done before a crash was lost with it.
    fn must_repeat(&self, action: &str) -> bool {
        let (run, action) = match action.strip_prefix("in ").and_then(|rest| rest.split_once(' ')) {
            Some((run, action)) => (run, action),
            None => (self.run.as_str(), action),
        };
        let mut words = action.split(' ');
        match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
            ("ok" | "err" | "fatal" | "after" | "panic", id) => self.doubles.has(&format!("{run}/{id}")),
            ("signal" | "once" | "hook" | "resume" | "!", _) => true,
            ("cancel" | "terminate", _) => {
                let log = self.test.log(&RunId::new(run).expect("an id"));
                !log.iter().any(|event| matches!(event.body, EventBody::CancelRequested { .. }))
            }
            _ => false,
        }
    }

    /// The token of the hook that this call opened.
    fn token_of(&self, run: &RunId, call: &str) -> String {
        let opened = self.test.log(run).into_iter().find_map(|event| match event.body {
            EventBody::HookOpened { token, .. } if event.step_id.as_ref().is_some_and(|id| id.as_str() == call) => {
                Some(token)
            }
            _ => None,
        });
        opened.unwrap_or_else(|| panic!("{}: call {call} opened no hook", self.scenario.title))
    }
}

fn rests(row: &Row) -> bool {
    row.status.is_terminal() || row.status == Status::Parked
}

/// The calls with an attempt under way, in the order of their tasks, as `RUN/STEP`.
fn open_steps(run: &RunId, replay: &Replay) -> Vec<String> {
    let steps = replay.waiting_for().into_iter().filter(|wait| wait.kind == "step");
    steps.filter_map(|wait| Some(format!("{run}/{}", wait.step_id?))).collect()
}

/// The same name for what is done a second time after a crash.
fn same(scenario: &Scenario, action: &str) -> String {
    let at = scenario.outside.iter().position(|other| {
        other.as_str().ends_with(action) && {
            // The very line, where several are alike.
            let (line, part) = (other.as_bytes().as_ptr_range(), action.as_bytes().as_ptr());
            line.contains(&part)
        }
    });
    format!("outside {at:?}")
}
