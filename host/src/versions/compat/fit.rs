//! One log against one version.

use std::rc::Rc;

use durhai_core::replay::Verdict;
use durhai_core::{Event, Version};
use durhai_engine::{Bundle, Execution, Program, Sandbox, Yield};
use durhai_world::{Row, World, WorldError};

use super::report::CompatVerdict;
use crate::error::Unready;
use crate::logs::session;
use crate::shared::Shared;

/// A version, ready to run on one thread.
pub(crate) struct CompatCheck<'a> {
    pub host: &'a Shared,
    sandbox: Sandbox,
    pub version: Version,
    program: Result<Rc<Program>, String>,
}

/// How a log and a version go together.
pub(crate) enum Fit {
    /// The script stands at the end of the log; what it wants beyond that is in its turn.
    Fits(Box<Execution>),
    Not(CompatVerdict),
    /// The run has ended meanwhile.
    Ended,
    /// The caller wanted it stopped.
    Stopped,
}

impl<'a> CompatCheck<'a> {
    /// A text that does not compile here is said of each run.
    pub fn new(host: &'a Shared, version: Version, bundle: &Bundle) -> Self {
        let sandbox = Sandbox::new(&host.config.sandbox);
        let program = session::compile(&sandbox, &version, bundle).map(Rc::new).map_err(|why| why.to_string());
        CompatCheck { host, sandbox, version, program }
    }

    /// Reads a run's log and replays it. An error says that the world does not answer, and nothing about the run.
    pub fn run(&self, row: &Row, stop: &dyn Fn() -> bool) -> Result<Fit, WorldError> {
        let program = match &self.program {
            Ok(program) => program.clone(),
            Err(reason) => return Ok(Fit::Not(CompatVerdict::Unreadable { reason: reason.clone() })),
        };
        match crate::logs::read::read(&*self.host.store.world, &row.run).map_err(Unready::from) {
            Ok((history, _)) => {
                let lines = Some(&*self.host.store.world);
                Ok(fit(self.host, &self.sandbox, (&self.version, program), row, history, lines, stop))
            }
            Err(Unready::Wrong(reason)) => Ok(Fit::Not(CompatVerdict::Unreadable { reason })),
            Err(Unready::World(error)) => Err(error),
        }
    }
}

/// Replays a log under a program of this version. `texts`: where those are whose lines are shown and that are not in memory.
pub(crate) fn fit(
    host: &Shared,
    sandbox: &Sandbox,
    (version, program): (&Version, Rc<Program>),
    row: &Row,
    history: Vec<Event>,
    texts: Option<&dyn World>,
    stop: &dyn Fn() -> bool,
) -> Fit {
    if history.last().is_some_and(|event| event.body.is_terminal()) {
        return Fit::Ended;
    }
    let mut replay = match session::open(history, &host.config.limits) {
        Ok(replay) => replay,
        Err(why) => return Fit::Not(CompatVerdict::Unreadable { reason: why.to_string() }),
    };
    if *version != row.version {
        replay.migrate(host.store.clock.now(), row.version.clone(), version.clone());
    }
    let mut exec = Execution::new(program, replay);
    if session::to_the_end(&mut exec, sandbox, stop) == Yield::Preempted {
        return Fit::Stopped;
    }
    let replay = exec.replay();
    match replay.verdict() {
        Some(Verdict::Diverged(divergence)) => {
            let mut divergence = divergence.clone();
            let line = |version: &Version, site: &str| host.versions.source_line(texts, version, site);
            session::add_lines(&mut divergence, replay, &|site| line(version, site), &line);
            Fit::Not(CompatVerdict::Diverges { divergence }.shorten())
        }
        _ => match replay.new_failure() {
            Some(error) => Fit::Not(CompatVerdict::Fails { error: Box::new(error.clone()) }.shorten()),
            None => Fit::Fits(Box::new(exec)),
        },
    }
}
