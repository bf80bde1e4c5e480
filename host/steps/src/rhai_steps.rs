//! Rhai functions as steps.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use durhai::{StepContext, StepError, StepHandler, StepInfo, StepSource, Value};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::Attempt;
use crate::attempt::{Caller, Stop};
use crate::effects::{Bounds, ScriptAttempt, memory};
use crate::folder::{Folder, Found};
use crate::pool::Pool;
use crate::program::Program;
use crate::step_env::{StepEnv, StepEnvHandle};

/// Every public function with one parameter or none in `steps/NAME.rhai` is the step `NAME.function`. Saves are picked
/// up by the next attempt; an attempt that runs keeps its text. While a file does not compile its last good version
/// serves; if there was none, its attempts wait until it compiles, and do not count. So do those of a step that served and
/// whose function, file or folder is gone: it may be about to be written anew.
pub struct RhaiSteps {
    folder: Arc<Folder>,
    pool: Arc<Pool>,
    step_env: StepEnvHandle,
    limit: Duration,
    threads: usize,
    bounds: Bounds,
    /// Names of steps that were found since this was opened.
    served: Mutex<HashSet<String>>,
}

/// A step as it was found.
enum RhaiStep {
    Ready {
        program: Arc<Program>,
        function: String,
        pool: Arc<Pool>,
        limit: Duration,
        broken: Option<Arc<str>>,
        step_env: Arc<StepEnv>,
    },
    Broken {
        why: Arc<str>,
        folder: Arc<Folder>,
        module: String,
        /// What is waited for, where it is not only that the file compiles.
        function: Option<String>,
    },
}

impl RhaiSteps {
    /// The scripts folder is the one that contains `steps/`; it is looked at when a step is asked for, and need not
    /// exist yet.
    pub fn open(folder: impl Into<PathBuf>, step_env: impl Into<StepEnvHandle>) -> Self {
        let threads = (available_parallelism().map_or(1, |cores| cores.get()) * 4).max(8);
        let bounds = Bounds { operations: 5_000_000_000, memory: memory::default_limit() };
        RhaiSteps {
            folder: Arc::new(Folder::new(folder.into())),
            pool: Arc::new(Pool::new(threads, bounds)),
            threads,
            bounds,
            step_env: step_env.into(),
            limit: Duration::from_secs(3_600),
            served: Mutex::default(),
        }
    }

    fn note(&self, module: &str, program: &Program) {
        let mut served = self.served.lock();
        for function in program.functions.keys() {
            let name = format!("{module}.{function}");
            if !served.contains(&name) {
                served.insert(name);
            }
        }
    }

    /// How many run at a time; more wait in line. Default: four a core, at least 8.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self.pool = Arc::new(Pool::new(self.threads, self.bounds));
        self
    }

    /// An attempt that takes more operations (calls, assignments, turns of loops) is stopped and fails for good. Default: 5
    /// billion, some minutes of a processor.
    #[must_use]
    pub fn operations(mut self, operations: u64) -> Self {
        self.bounds.operations = operations.max(1);
        self.pool = Arc::new(Pool::new(self.threads, self.bounds));
        self
    }

    /// While the process takes more bytes than this, attempts that are busy in a script are stopped and count as failed. A
    /// single text ends at 16 MiB, an array or map at a million elements. Default: three quarters of the machine's memory, or of
    /// what its control group allows. Linux only.
    #[must_use]
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.bounds.memory = bytes;
        self.pool = Arc::new(Pool::new(self.threads, self.bounds));
        self
    }

    /// An attempt that takes longer is stopped and counts as failed, whatever `timeout` its call names. The wait in
    /// line counts. Default: one hour.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// What is wrong with the files in `steps/` now, one text for each file, with file, line and column.
    pub fn broken(&self) -> Vec<String> {
        let look = |module: String| {
            let Found { program, broken } = self.folder.find(&module)?;
            program.iter().for_each(|program| self.note(&module, program));
            Some(broken?.to_string())
        };
        self.folder.modules().into_iter().filter_map(look).collect()
    }
}

impl StepSource for RhaiSteps {
    fn find(&self, name: &str) -> Option<Arc<dyn StepHandler>> {
        let (module, function) = name.rsplit_once('.')?;
        let Found { program, broken } = self.folder.find(module).unwrap_or_default();
        if let Some(program) = program
            && program.functions.contains_key(function)
        {
            self.note(module, &program);
            let (function, pool, limit) = (function.to_owned(), self.pool.clone(), self.limit);
            let step_env = self.step_env.current();
            return Some(Arc::new(RhaiStep::Ready { program, function, pool, limit, broken, step_env }));
        }
        // What the broken text will have once it is mended is not known.
        let (folder, module) = (self.folder.clone(), module.to_owned());
        let (why, function) = match broken {
            Some(why) => (why, None),
            None if self.served.lock().contains(name) => {
                let why = format!(
                    "the step {name:?} served before and is gone: steps/{module}.rhai has no `{function}` any more"
                );
                (why.into(), Some(function.to_owned()))
            }
            None => return None,
        };
        Some(Arc::new(RhaiStep::Broken { why, folder, module, function }))
    }

    fn knows(&self, name: &str) -> bool {
        let Some((module, function)) = name.rsplit_once('.') else { return false };
        let has = |program: &Arc<Program>| program.functions.contains_key(function);
        self.folder.remembered(module).is_some_and(|program| has(&program)) || self.find(name).is_some()
    }

    fn list(&self) -> Vec<StepInfo> {
        let mut steps = Vec::new();
        for module in self.folder.modules() {
            let Some(program) = self.folder.find(&module).and_then(|found| found.program) else { continue };
            steps.extend(program.functions.iter().map(|(name, function)| StepInfo {
                name: format!("{module}.{name}"),
                kind: "rhai".into(),
                description: function.description.clone(),
            }));
        }
        steps
    }
}

impl StepHandler for RhaiStep {
    fn call(&self, context: StepContext, input: Value) -> Attempt {
        let (program, function, pool, limit, step_env) = match self {
            RhaiStep::Broken { why, folder, module, function } => {
                let (folder, module, function) = (folder.clone(), module.clone(), function.clone());
                let mended = move || match (&function, folder.find(&module)) {
                    (Some(function), found) => found
                        .and_then(|found| found.program)
                        .is_some_and(|program| program.functions.contains_key(function.as_str())),
                    (None, found) => found.is_none_or(|found| found.broken.is_none()),
                };
                let error = StepError::misconfigured(why, mended);
                return Box::pin(async { Err(error) });
            }
            RhaiStep::Ready { program, function, pool, limit, broken, step_env } => {
                if let Some(why) = broken {
                    context.log("warn", format!("the version from before this mistake still serves: {why}"));
                }
                (program.clone(), function.clone(), pool.clone(), *limit, step_env.clone())
            }
        };
        Box::pin(async move {
            let (caller, stop) = (Arc::new(Caller::new(&context)), Arc::new(Stop::after(limit)));
            // Also when this future is dropped.
            let ends = AskAtEnd(stop.clone());
            let mut outcome = pool.submit(ScriptAttempt {
                program,
                function,
                input,
                caller,
                stop,
                step_env,
                tokio: Handle::current(),
            });
            let outcome = tokio::select! {
                outcome = &mut outcome => outcome,
                () = context.cancelled() => {
                    ends.0.ask();
                    outcome.await
                }
            };
            outcome.unwrap_or_else(|_| Err(StepError::retry("stopped: the host is shutting down")))
        })
    }
}

struct AskAtEnd(Arc<Stop>);

impl Drop for AskAtEnd {
    fn drop(&mut self) {
        self.0.ask();
    }
}
