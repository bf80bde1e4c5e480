//! Processes of their own: to be killed, or so that nothing else is counted.

use std::io;
use std::path::Path;
use std::process::{Child as Process, Command, Output, Stdio};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long processes that are ended may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// Those that are under way.
static UNDER_WAY: Mutex<UnderWay> = Mutex::new(UnderWay { ids: Vec::new(), ending: false });

struct UnderWay {
    ids: Vec<u32>,
    /// No other one begins, and nothing goes on after one.
    ending: bool,
}

/// How such a process is started: what it does, in which folder, how often. It must come to
/// [`run_child`](crate::run_child) with these.
pub type Child<'a> = &'a dyn Fn(&str, &Path, usize) -> io::Result<Command>;

/// Lets one do its work in a new folder: the lines of JSON that it says.
pub fn ask(child: Child<'_>, what: &str, dir: &Path, count: usize) -> anyhow::Result<Vec<Value>> {
    std::fs::create_dir_all(dir)?;
    let output = output(child(what, dir, count)?.stdout(Stdio::piped()).stderr(Stdio::inherit()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    anyhow::ensure!(output.status.success(), "the process {what:?} ended with {} after {said:?}", output.status);
    let lines: Result<_, _> = said.lines().map(serde_json::from_str).collect();
    lines.map_err(|error| anyhow::anyhow!("the process {what:?} said {said:?}: {error}"))
}

/// A number of such a line.
pub fn number(line: &Value, key: &str) -> anyhow::Result<f64> {
    line[key].as_f64().ok_or_else(|| anyhow::anyhow!("found {line}, expected the number {key:?} in it"))
}

/// Starts one. It must come to [`reap`], or it is taken for one that is under way.
pub fn begin(command: &mut Command) -> io::Result<Process> {
    let mut under_way = UNDER_WAY.lock();
    if under_way.ending {
        drop(under_way);
        stand_still();
    }
    let process = command.spawn()?;
    under_way.ids.push(process.id());
    Ok(process)
}

/// Waits for its end.
pub fn reap(process: Process) -> io::Result<Output> {
    let id = process.id();
    let output = process.wait_with_output();
    let mut under_way = UNDER_WAY.lock();
    under_way.ids.retain(|other| *other != id);
    if under_way.ending {
        drop(under_way);
        stand_still();
    }
    output
}

pub fn output(command: &mut Command) -> io::Result<Output> {
    reap(begin(command)?)
}

/// Ends those that are under way, for a bench that was interrupted and is about to remove the folder in which they write.
pub fn end_all() {
    let began = Instant::now();
    loop {
        let mut under_way = UNDER_WAY.lock();
        under_way.ending = true;
        for id in &under_way.ids {
            // It may have ended by itself.
            let _ = i32::try_from(*id).ok().and_then(Pid::from_raw).map(|pid| kill_process(pid, Signal::KILL));
        }
        if under_way.ids.is_empty() || began.elapsed() > PATIENCE {
            return;
        }
        drop(under_way);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The process ends soon.
fn stand_still() -> ! {
    loop {
        std::thread::park();
    }
}
