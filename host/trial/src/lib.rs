//! Tests of workflows: `*.test.rhai` beside the scripts.
//!
//! A test file is a Rhai script; each function whose name begins with `test_` is a test. It mocks steps, starts runs, sends
//! signals, moves time on and looks at what came of it. Each test is run once undisturbed, then again with its runs dropped
//! from memory wherever they wait, and with a host that dies before and after every write: it must see the same each time.
//!
//! ```no_run
//! # fn demo() -> std::io::Result<()> {
//! let options = durhai_trial::Options::default();
//! let files = durhai_trial::find(std::path::Path::new("scripts"))?;
//! let report = durhai_trial::run("scripts".as_ref(), &files, Vec::new(), &options, &mut |_| {})?;
//! assert!(report.passed());
//! # Ok(()) }
//! ```

mod api;
mod context;
mod coverage;
mod disturbance;
mod expect;
mod file;
mod ledger;
mod real_steps;
pub mod report;
mod run;
mod test_run;
mod values;
mod waits;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use durhai::check::AssumedFunction;
use durhai::{Millis, StepRule, StepSource};
use parking_lot::Mutex;

pub use context::Finding;
pub use coverage::{Coverage, FileCoverage, lcov};
pub use disturbance::Disturbance;

use crate::file::TestFile;
use crate::test_run::Setting;

/// Where the time of every test begins: 2025-01-01T00:00:00Z, a Wednesday.
pub const START: Millis = 1_735_689_600_000;

/// How tests are run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only tests with this in `FILE::NAME`; where it is all of it, only that test.
    pub filter: Option<String>,
    /// Which of several attempts that could end at once ends first. 0: the one that was begun first.
    pub seed: u64,
    /// Whether tests are repeated with crashes and evictions.
    pub crashes: bool,
    /// Crashes of one test, at most: those of a longer test are chosen evenly.
    pub max_crashes: usize,
    /// Only this repetition, beside the undisturbed one.
    pub only: Option<Disturbance>,
    /// How long one repetition of one test may take. Default: what the file says, else a minute.
    pub limit: Option<Duration>,
    /// Files that are run at a time.
    pub jobs: usize,
    pub coverage: bool,
    /// What settings say of steps by name. Their `retry` and `timeout` hold in tests, for mocks too; limits of how many and
    /// how often are for the outside of a real host, and time does not go by here.
    pub rules: BTreeMap<String, StepRule>,
    /// What hides secrets in what steps hand over, see [`durhai::HostBuilder::mask`].
    pub mask: Option<Mask>,
    /// What an embedder adds to the engine of workflow scripts, see [`durhai::HostBuilder::extend_scripts`]; scripts of tests
    /// have it too.
    pub extend: Vec<Extend>,
    /// Functions that another program adds, see [`durhai::HostBuilder::assume_function`]. A test gives them a stand-in of its own
    /// by a function `function_NAME`.
    pub functions: Vec<AssumedFunction>,
}

/// The same closure as for [`durhai::HostBuilder::extend_scripts`].
#[derive(Clone)]
pub struct Extend(Arc<ExtendScripts>);

type ExtendScripts = dyn Fn(&mut rhai::Engine) + Send + Sync;

impl Extend {
    pub fn new(extend: impl Fn(&mut rhai::Engine) + Send + Sync + 'static) -> Self {
        Extend(Arc::new(extend))
    }

    fn apply(&self, engine: &mut rhai::Engine) {
        (self.0)(engine);
    }
}

impl std::fmt::Debug for Extend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Extend")
    }
}

/// Gives the text to show instead, or `None` where there is nothing to hide.
#[derive(Clone)]
pub struct Mask(Arc<Hide>);

type Hide = dyn Fn(&str) -> Option<String> + Send + Sync;

impl Mask {
    pub fn new(mask: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Mask(Arc::new(mask))
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Default for Options {
    fn default() -> Self {
        Options {
            filter: None,
            seed: 0,
            crashes: true,
            max_crashes: 500,
            only: None,
            limit: None,
            jobs: std::thread::available_parallelism().map_or(1, |n| n.get()),
            coverage: false,
            rules: BTreeMap::new(),
            mask: None,
            extend: Vec::new(),
            functions: Vec::new(),
        }
    }
}

/// The result of a test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub name: String,
    pub line: usize,
    pub took: Duration,
    /// Repetitions beside the undisturbed one.
    pub disturbed: usize,
    /// Crashes that were left out because there were too many.
    pub left_out: usize,
    pub failure: Option<Finding>,
    /// The repetition that failed; none: the test fails undisturbed.
    pub disturbance: Option<Disturbance>,
    /// The write that the crash hit.
    pub struck: Option<String>,
    /// What the test printed, undisturbed.
    pub printed: Vec<String>,
}

/// The result of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct FileReport {
    pub path: PathBuf,
    /// Its text, for showing lines of it.
    pub source: String,
    /// Why none of its tests could be run.
    pub broken: Option<Finding>,
    pub tests: Vec<Outcome>,
}

/// The result of everything.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub files: Vec<FileReport>,
    pub seed: u64,
    pub took: Duration,
    pub coverage: Vec<FileCoverage>,
}

impl Report {
    pub fn passed(&self) -> bool {
        self.files.iter().all(|file| file.broken.is_none() && file.tests.iter().all(|test| test.failure.is_none()))
    }

    /// Tests that passed and tests that failed; a file that cannot be run counts as one that failed.
    pub fn counts(&self) -> (usize, usize) {
        let all: usize = self.files.iter().map(|file| file.tests.len() + usize::from(file.broken.is_some())).sum();
        let tests = self.files.iter().flat_map(|file| &file.tests);
        let failed = tests.filter(|test| test.failure.is_some()).count();
        let failed = failed + self.files.iter().filter(|file| file.broken.is_some()).count();
        (all - failed, failed)
    }
}

/// Every test file below a folder, sorted. Files and folders whose name begins with `.` or `_` hold none.
pub fn find(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(['.', '_']) {
                continue;
            }
            // A linked folder may lead back here.
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else if name.ends_with(".test.rhai") {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Runs test files against the workflows of a folder. `steps` are those that a test may ask for instead of mocks. `tell` gets
/// each file as soon as all before it are there. Blocks: not to be called from async code.
pub fn run(
    folder: &Path,
    files: &[PathBuf],
    steps: Vec<Arc<dyn StepSource>>,
    options: &Options,
    tell: &mut dyn FnMut(&FileReport),
) -> io::Result<Report> {
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let setting = Setting {
        folder: folder.into(),
        steps,
        rules: Arc::new(options.rules.clone()),
        mask: options.mask.clone(),
        extend: options.extend.clone(),
        functions: options.functions.clone(),
        tokio: runtime.handle().clone(),
        seed: options.seed,
    };
    let queue: Mutex<VecDeque<(usize, &PathBuf)>> = Mutex::new(files.iter().enumerate().collect());
    let (done, results) = mpsc::channel();
    let mut reports: Vec<Option<FileReport>> = files.iter().map(|_| None).collect();
    let mut coverage = Coverage::default();
    std::thread::scope(|scope| -> io::Result<()> {
        for number in 0..options.jobs.clamp(1, files.len().max(1)) {
            let (done, queue, setting) = (done.clone(), &queue, setting.clone());
            // Scripts nest, and nest more in a debug build.
            let thread = std::thread::Builder::new().name(format!("durhai-test-{number}")).stack_size(16 << 20);
            thread.spawn_scoped(scope, move || {
                loop {
                    let next = queue.lock().pop_front();
                    let Some((index, path)) = next else { break };
                    let _ = done.send((index, one(path, &setting, options)));
                }
            })?;
        }
        drop(done);
        let mut told = 0;
        for (index, (report, covered)) in results {
            reports[index] = Some(report);
            coverage.add(covered);
            while let Some(Some(report)) = reports.get(told) {
                tell(report);
                told += 1;
            }
        }
        Ok(())
    })?;
    runtime.shutdown_background();
    let coverage = if options.coverage { coverage.files(folder) } else { Vec::new() };
    let files = reports.into_iter().flatten().collect();
    Ok(Report { files, seed: options.seed, took: began.elapsed(), coverage })
}

fn one(path: &Path, setting: &Setting, options: &Options) -> (FileReport, Coverage) {
    let mut coverage = Coverage::default();
    let file = match TestFile::read(path, setting) {
        Ok(file) => file,
        Err(finding) => {
            let source = durhai::text::read_text(path, u64::MAX - 1).unwrap_or_default();
            return (FileReport { path: path.into(), source, broken: Some(finding), tests: Vec::new() }, coverage);
        }
    };
    let full = |name: &str| format!("{}::{name}", path.display());
    let exact = file.tests.iter().any(|test| options.filter.as_ref() == Some(&full(&test.name)));
    let wanted = |name: &str| match &options.filter {
        None => true,
        Some(filter) if exact => full(name) == *filter,
        Some(filter) => full(name).contains(filter.as_str()),
    };
    let chosen = file.tests.iter().filter(|test| wanted(&test.name));
    let tests = chosen.map(|test| run::run(&file, test, setting, options, &mut coverage)).collect();
    (FileReport { path: file.path, source: file.source, broken: None, tests }, coverage)
}
