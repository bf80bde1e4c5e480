//! Running a log again to look at it: what comes of it, under the run's own text or another one, with results as recorded
//! or others, watched or not. Nothing is written and no step is started, so it works on every run.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use durhai_core::replay::{Command, Limits, Side, Verdict};
use durhai_core::{Event, EventBody, RunId, Site, StepId, Value, Version};
use durhai_engine::trace::{Sink, Snapshot, Stop, TraceEvent, TracerOptions};
use durhai_engine::{Bundle, Diagnostic, Execution, Header, Program, Sandbox, SandboxConfig, source_line};
use durhai_world::WorldError;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::error::HostError;
use crate::logs::{overrides, session};
use crate::shared::Shared;
use crate::view::{NextCall, ReplayView};

/// How a log is run again. The default: as it is, under the run's own text, to its end.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplayOptions {
    /// Another text than the run's own. A failure that the log ends with need not be repeated by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
    /// Results to take instead of the recorded ones. The run then goes on as far as the log allows:
    /// [`ReplayView::next`] says what it would do there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<StepId, Value>,
    /// Where to stop: [`ReplayView::stopped`] shows what there is to see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<Stop>,
    /// An expression to be evaluated where it stops. It sees copies of the variables, and has no effects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<String>,
    /// Bytes of one value in a trace, about; 120 unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_bytes: Option<usize>,
}

/// The text of a workflow with those it imports.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    pub source: String,
    /// By path (`lib/money`). Modules of the standard library need not be given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub modules: BTreeMap<String, String>,
    /// The edition it was kept with, where it is an old text; else it is read as a new one.
    #[serde(skip)]
    pub edition: Option<u32>,
}

/// Gets the events of a trace; `false`: enough.
pub(crate) type Watch = Box<dyn FnMut(TraceEvent) -> bool + Send>;

impl Script {
    /// A file with what it imports from `folder`. [`HostError::Script`] with file, line and column where that cannot be.
    pub fn read(file: &Path, folder: &Path) -> Result<Script, HostError> {
        let source = crate::text::read_text(file, crate::text::MAX_SCRIPT).map_err(|error| {
            let text = format!("the script {} cannot be read: {error}", file.display());
            if error.kind() == std::io::ErrorKind::NotFound {
                HostError::NotFound(text)
            } else {
                HostError::Invalid(text)
            }
        })?;
        let name = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let bundle = crate::versions::scripts::gather(Some(folder), &name, &source, &mut Vec::new()).map_err(wrong)?;
        let modules = bundle.modules.into_iter().filter(|(path, _)| !path.starts_with("std/")).collect();
        Ok(Script { source, modules, edition: None })
    }

    /// What is compiled from it. Texts of the standard library that are given stand for the host's own.
    pub(crate) fn bundle(self, workflow: &str) -> Result<Bundle, HostError> {
        let Script { source, modules, edition } = self;
        let mut bundle = Bundle::gather(workflow, &source, &mut |path| modules.get(path).cloned()).map_err(wrong)?;
        for (path, text) in modules.into_iter().filter(|(path, _)| path.starts_with("std/")) {
            bundle.modules.insert(path, text);
        }
        bundle.edition = edition.unwrap_or(bundle.edition);
        Ok(bundle)
    }
}

/// See [`Run::replay`](crate::Run::replay).
pub(crate) async fn replay(host: &Arc<Shared>, run: &RunId, options: ReplayOptions) -> Result<ReplayView, HostError> {
    look(host, run, options, None).await
}

/// See [`Run::trace`](crate::Run::trace).
pub(crate) async fn trace(
    host: &Arc<Shared>,
    run: &RunId,
    options: ReplayOptions,
    watch: impl FnMut(TraceEvent) -> bool + Send + 'static,
) -> Result<ReplayView, HostError> {
    look(host, run, options, Some(Box::new(watch))).await
}

async fn look(
    host: &Arc<Shared>,
    run: &RunId,
    options: ReplayOptions,
    watch: Option<Watch>,
) -> Result<ReplayView, HostError> {
    let shared = host.clone();
    let row = host.store.known(run).await?;
    let id = run.clone();
    let work = move || {
        let (log, _) = crate::logs::read::read(&*shared.store.world, &id)?;
        let own = shared.versions.bundle(&*shared.store.world, &row.version);
        let own = own.map_err(|error| error.into_host(HostError::Script))?;
        let lines =
            |version: &Version, site: &str| shared.versions.source_line(Some(&*shared.store.world), version, site);
        look_again(&shared, &own, log, options, watch, &lines)
    };
    host.tokio.spawn_blocking(work).await.map_err(|_| HostError::Closed)?
}

/// See [`Host::replay_log`](crate::Host::replay_log).
pub(crate) async fn replay_log(
    host: &Arc<Shared>,
    log: Vec<Event>,
    own: Script,
    options: ReplayOptions,
    watch: Option<Box<dyn FnMut(TraceEvent) -> bool + Send>>,
) -> Result<ReplayView, HostError> {
    let shared = host.clone();
    let work = move || {
        let Some(Event { body: EventBody::RunCreated(created), .. }) = log.first() else {
            return Err(HostError::Invalid("the log has no beginning: its first event must be run_created".into()));
        };
        let own = own.bundle(&created.workflow)?;
        let lines = |_: &Version, site: &str| line_of(&own, site);
        look_again(&shared, &own, log, options, watch, &lines)
    };
    host.tokio.spawn_blocking(work).await.map_err(|_| HostError::Closed)?
}

/// What is known of the texts a log was made with: the line of a version at a site.
pub(crate) type Lines<'a> = &'a dyn Fn(&Version, &str) -> String;

fn look_again(
    host: &Shared,
    own: &Bundle,
    mut log: Vec<Event>,
    options: ReplayOptions,
    watch: Option<Watch>,
    lines: Lines<'_>,
) -> Result<ReplayView, HostError> {
    let ReplayOptions { script, set, stop, evaluate, value_bytes } = options;
    let edited = script.is_some();
    let bundle = match script {
        Some(script) => script.bundle(&own.name)?,
        None => own.clone(),
    };
    let events = log.len() as u64;
    // How a script failed is not what another one has to repeat.
    if edited && matches!(log.last(), Some(Event { body: EventBody::RunFailed { .. }, .. })) {
        log.pop();
    }
    overrides::set_results(&mut log, &set).map_err(HostError::Invalid)?;
    let mut replayer =
        Replayer::new(&host.config.sandbox, &host.config.limits, &bundle, watch.is_some() || stop.is_some())?;
    if !set.is_empty() {
        log = replayer.as_far_as_it_fits(log)?;
    }
    let used = log.len() as u64;
    let tracing = |stop| TracerOptions { limit: value_bytes.unwrap_or(120).clamp(16, 1 << 20), stop, evaluate };
    let mut view = match (watch, stop) {
        (None, None) => {
            let mut ran = replayer.run(log, None)?;
            let mut view = ran.view();
            ran.add_lines(&mut view, &bundle, lines);
            view
        }
        (watch, stop) => {
            let stop = match stop {
                Some(stop @ (Stop::Step { .. } | Stop::AnyStep { .. })) => replayer.statement_of(&log, stop)?,
                stop => stop,
            };
            let asked = stop.clone();
            let sink: Sink = match watch {
                Some(watch) => watch,
                None => Box::new(|_| true),
            };
            let mut ran = replayer.run(log, Some((tracing(stop), sink)))?;
            let snapshot = ran.snapshot();
            let mut view = ran.view();
            ran.add_lines(&mut view, &bundle, lines);
            view.statements = Some(ran.statements());
            missed(asked.as_ref().filter(|_| snapshot.is_none()), &view)?;
            view.stopped = snapshot;
            view
        }
    };
    view.used = used;
    view.events = events;
    Ok(view)
}

/// It was to stop at a line that is never reached. The end of the run is where every other search ends.
fn missed(stop: Option<&Stop>, view: &ReplayView) -> Result<(), HostError> {
    match stop {
        Some(Stop::Place { file, line, after: 0 }) if view.divergence.is_none() => {
            let file = file.as_ref().map_or(String::new(), |file| format!(" of {file}"));
            let text = format!("the run never comes to line {line}{file}: no statement that it has made begins there");
            Err(HostError::Invalid(text))
        }
        _ => Ok(()),
    }
}

/// Logs run again under one text, on one thread.
pub(crate) struct Replayer {
    sandbox: Sandbox,
    program: Rc<Program>,
    limits: Arc<Limits>,
}

/// A log that was run again.
pub(crate) struct Replayed {
    exec: Execution,
    events: u64,
    micros: u64,
}

impl Replayer {
    pub fn new(config: &SandboxConfig, limits: &Arc<Limits>, bundle: &Bundle, traced: bool) -> Result<Self, HostError> {
        let sandbox = if traced { Sandbox::traced(config) } else { Sandbox::new(config) };
        let program = Rc::new(sandbox.compile(bundle).map_err(wrong)?);
        Ok(Replayer { sandbox, program, limits: limits.clone() })
    }

    pub fn header(&self) -> Arc<Header> {
        self.program.header().clone()
    }

    pub fn run(&mut self, log: Vec<Event>, trace: Option<(TracerOptions, Sink)>) -> Result<Replayed, HostError> {
        let events = log.len() as u64;
        let began = Instant::now();
        let replay =
            session::open(log, &self.limits).map_err(|why| HostError::World(WorldError::Corrupt(why.to_string())))?;
        let mut exec = match trace {
            None => Execution::new(self.program.clone(), replay),
            Some((options, sink)) => {
                let tracer = self.sandbox.tracer(&self.program, options, sink);
                Execution::traced(self.program.clone(), replay, tracer)
            }
        };
        exec.rehearse(&self.sandbox, &|| false);
        Ok(Replayed { exec, events, micros: began.elapsed().as_micros() as u64 })
    }

    /// The statement that makes a call, as a place to stop. `None`: no further call is made.
    fn statement_of(&mut self, log: &[Event], stop: Stop) -> Result<Option<Stop>, HostError> {
        let options = TracerOptions { stop: Some(stop.clone()), ..TracerOptions::default() };
        let mut ran = self.run(log.to_vec(), Some((options, Box::new(|_| true))))?;
        match (ran.exec.tracer_mut().and_then(|tracer| tracer.found()), stop) {
            (Some(n), _) => Ok(Some(Stop::Statement { n })),
            (None, Stop::Step { step_id }) => {
                let last = log.iter().rev().find_map(|event| event.step_id.as_ref());
                let last = last.map_or(String::new(), |last| format!("; the last in its log is {last}"));
                Err(HostError::Invalid(format!("the run does not come to step {step_id}{last}")))
            }
            (None, _) => Ok(None),
        }
    }

    /// The longest beginning of a log that the script fits.
    fn as_far_as_it_fits(&mut self, mut log: Vec<Event>) -> Result<Vec<Event>, HostError> {
        loop {
            let ran = self.run(log.clone(), None)?;
            let Some(Verdict::Diverged(divergence)) = ran.exec.replay().verdict() else { return Ok(log) };
            let at = (divergence.seq as usize).clamp(1, log.len());
            // What was asked in reaction to one input is left out as a whole.
            let keep = match log[at - 1].body.is_asked() {
                true => log[..at].iter().rposition(|event| !event.body.is_asked()).map_or(1, |input| input + 1),
                false => at - 1,
            };
            if keep == 0 || keep >= log.len() {
                return Ok(log);
            }
            log.truncate(keep);
        }
    }
}

impl Replayed {
    /// The hooks that are open at the end: the call that opened each, whether the script named its token, and what else it said of it.
    pub fn hooks(&self) -> impl Iterator<Item = (&StepId, bool, &Value)> {
        self.exec.replay().open_hooks().map(|(id, _, named, info)| (id, named, info))
    }

    fn statements(&mut self) -> u64 {
        self.exec.tracer_mut().map_or(0, |tracer| tracer.statements())
    }

    fn snapshot(&mut self) -> Option<Snapshot> {
        let waiting_for = self.exec.replay().waiting_for().into_iter().map(|wait| json!(wait)).collect();
        let snapshot = self.exec.tracer_mut()?.take_snapshot()?;
        Some(Snapshot { waiting_for, ..snapshot })
    }

    pub fn view(&mut self) -> ReplayView {
        let turn = self.exec.replay_mut().take();
        let replay = self.exec.replay();
        let mut view = ReplayView::new(replay.status(), self.events, self.micros);
        match replay.verdict() {
            Some(Verdict::Ended(EventBody::RunCompleted { output })) => view.output = Value::clone(output),
            Some(Verdict::Ended(EventBody::RunFailed { error })) => view.error = Some(error.clone()),
            Some(Verdict::Diverged(divergence)) => view.divergence = Some((**divergence).clone()),
            Some(Verdict::Ended(_)) => {}
            None => view.waiting_for = replay.waiting_for().into_iter().map(|wait| json!(wait)).collect(),
        }
        if view.divergence.is_some() {
            return view;
        }
        for event in turn.events.iter().filter(|event| event.body.is_asked() && !event.body.is_terminal()) {
            let Side { what, input, site, .. } = Side::of_event(event);
            let step_id = event.step_id.clone();
            view.next.push(NextCall { step_id, what, input, site, source: String::new() });
        }
        for command in &turn.commands {
            let (step_id, what, input) = match command {
                Command::OpenHook { step_id, .. } => (step_id, "hook()".to_owned(), Value::Null),
                Command::StartChild(start) if start.detached => {
                    (&start.step_id, format!("start_workflow({:?})", start.workflow), (*start.input).clone())
                }
                _ => continue,
            };
            let wait = replay.waiting_for().into_iter().find(|wait| wait.step_id.as_ref() == Some(step_id));
            let site = wait.map(|wait| wait.site).unwrap_or_default();
            view.next.push(NextCall { step_id: Some(step_id.clone()), what, input, site, source: String::new() });
        }
        view
    }

    /// Fills in the lines of the script: what was recorded, from the version that ran then.
    pub fn add_lines(&self, view: &mut ReplayView, bundle: &Bundle, lines: Lines<'_>) {
        if let Some(divergence) = &mut view.divergence {
            session::add_lines(divergence, self.exec.replay(), &|site| line_of(bundle, site), lines);
        }
        for call in &mut view.next {
            call.source = line_of(bundle, &call.site);
        }
    }
}

/// The line of a text that a site like `18:5` or `lib/money:3:9` names; empty if there is none.
fn line_of(bundle: &Bundle, site: &str) -> String {
    let Some(site) = Site::parse(site) else { return String::new() };
    let text = match &site.file {
        None => Some(&bundle.source),
        Some(file) if **file == *bundle.name => Some(&bundle.source),
        Some(file) => bundle.modules.get(file.trim_end_matches(".rhai")),
    };
    text.map(|text| source_line(text, site.line).trim().to_owned()).unwrap_or_default()
}

pub(crate) fn wrong(diagnostics: Vec<Diagnostic>) -> HostError {
    HostError::Script(diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}
