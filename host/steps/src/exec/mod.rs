//! Programs: one at a time from its start to its end, never by a shell.
//!
//! A program gets a process group of its own, and the whole group ends with it: at its end, at its time limit, when the
//! attempt is not wanted any more, and when the future is dropped. Only a process that leaves the group on purpose, as a
//! daemon does, lives on; and all of them where the host itself is killed.

mod call;
mod group;
mod pipes;
mod variables;

use std::future::Future;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use durhai::StepError;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};

use crate::secrets::known::Known;
use group::Group;
use pipes::{Listener, Tell, TooMuch, collect, feed};

pub use call::{Asked, exec, failed, in_json, step};
pub use variables::for_declared;

/// How long a program that was asked to end may take for it.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the output of a program that has ended is waited for: a process it left behind may hold the pipe open.
const LINGER: Duration = Duration::from_millis(500);
/// The most of stdout that is kept, in bytes, unless a call says otherwise.
pub const OUTPUT: usize = 1024 * 1024;
/// What a call may ask for: a step cannot hand over more.
pub const MOST_OUTPUT: usize = 2 * 1024 * 1024;

const UNWANTED: &str = "stopped: its result was not wanted any more";

/// A program that is ready to run.
pub struct Job {
    /// What errors and logs call it.
    pub name: String,
    pub file: PathBuf,
    pub args: Vec<String>,
    pub stdin: Vec<u8>,
    pub cwd: PathBuf,
    /// All of them: nothing is inherited.
    pub variables: Vec<(String, String)>,
    pub timeout: Option<Duration>,
    /// Bytes of stdout; more is an error.
    pub max_output: usize,
}

/// How it ended.
pub struct Done {
    pub ending: Ending,
    pub stdout: Vec<u8>,
    /// The last lines, secrets hidden.
    pub stderr: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Status(i32),
    Signal(i32),
}

/// Why a program is ended from outside.
enum Stopped {
    Unwanted,
    Late(Duration),
    TooMuch,
}

/// Runs it to its end. `unwanted` resolves when the host does not wait for it any more; each line of stderr is told as it comes.
/// The errors are those of a program that could not be run to its end: whatever status it ends with, it is done.
pub async fn run(
    job: Job,
    known: &Known,
    tell: Tell<'_>,
    unwanted: impl Future<Output = ()>,
) -> Result<Done, StepError> {
    tokio::pin!(unwanted);
    tokio::select! {
        biased;
        () = &mut unwanted => return Err(StepError::retry(UNWANTED)),
        () = std::future::ready(()) => {}
    }
    let mut child = start(&job)?;
    let mut group = Group::of(&child);
    let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut stdout = Vec::new();
    let mut listener = Listener::new(known, tell);
    let (status, stopped) = {
        let read = async { tokio::try_join!(collect(out, &mut stdout, job.max_output), listener.listen(err)) };
        let talk = async {
            tokio::select! {
                read = read => read.map(drop),
                never = feed(stdin, &job.stdin) => match never {},
            }
        };
        tokio::pin!(talk);
        let mut read = None;
        match until_end(&mut child, talk.as_mut(), &mut read, unwanted, job.timeout).await {
            Ok(status) => {
                if read.is_none() {
                    read = timeout(LINGER, talk).await.ok();
                }
                group.kill();
                (status, matches!(read, Some(Err(TooMuch))).then_some(Stopped::TooMuch))
            }
            Err(stopped) => {
                group.ask();
                let status = timeout(PATIENCE, farewell(&mut child, talk, read.is_none())).await;
                group.kill();
                let status = match status {
                    Ok(status) => status,
                    Err(_) => child.wait().await,
                };
                (status, Some(stopped))
            }
        }
    };
    let stderr = listener.end();
    let name = &job.name;
    match stopped {
        None => {}
        Some(Stopped::Unwanted) => return Err(StepError::retry(UNWANTED)),
        Some(Stopped::Late(limit)) => {
            let limit = durhai::duration::show(limit.as_millis() as u64);
            return Err(StepError::retry(format!("{name} took longer than {limit} and was ended")));
        }
        Some(Stopped::TooMuch) => {
            let most = job.max_output;
            let advice = match most < MOST_OUTPUT {
                true => format!(", or raise the limit with max_output (at most {MOST_OUTPUT})"),
                false => String::new(),
            };
            return Err(StepError::fatal(format!(
                "{name} wrote more than {most} bytes to stdout, and was ended; let it write to a file{advice}"
            )));
        }
    }
    let status = status.map_err(|error| StepError::retry(format!("{name} was lost: {error}")))?;
    Ok(Done { ending: Ending::of(status), stdout, stderr })
}

/// Waits for the end of the program while it is talked with; or for a reason to end it.
async fn until_end(
    child: &mut Child,
    mut talk: Pin<&mut impl Future<Output = Result<(), TooMuch>>>,
    read: &mut Option<Result<(), TooMuch>>,
    unwanted: Pin<&mut impl Future<Output = ()>>,
    limit: Option<Duration>,
) -> Result<io::Result<ExitStatus>, Stopped> {
    let late = limit.and_then(|limit| Some((limit, Instant::now().checked_add(limit)?)));
    let (limit, at) = late.unwrap_or((Duration::ZERO, Instant::now()));
    let end = async {
        loop {
            tokio::select! {
                status = child.wait() => break Ok(status),
                result = &mut talk, if read.is_none() => {
                    if let Err(TooMuch) = read.insert(result) {
                        break Err(Stopped::TooMuch);
                    }
                }
            }
        }
    };
    tokio::select! {
        biased;
        end = end => end,
        () = unwanted => Err(Stopped::Unwanted),
        () = sleep_until(at), if late.is_some() => Err(Stopped::Late(limit)),
    }
}

/// Waits for the end of a program that was asked to end. What it says while it puts its things in order is still heard.
async fn farewell(
    child: &mut Child,
    talk: Pin<&mut impl Future<Output = Result<(), TooMuch>>>,
    talks: bool,
) -> io::Result<ExitStatus> {
    let listen = async {
        if talks {
            let _ = talk.await;
        }
        std::future::pending().await
    };
    tokio::select! {
        status = child.wait() => status,
        never = listen => never,
    }
}

fn start(job: &Job) -> Result<Child, StepError> {
    let name = &job.name;
    match job.cwd.metadata() {
        Ok(about) if about.is_dir() => {}
        Ok(_) => {
            return Err(StepError::fatal(format!("{name} cannot run in {}: this is no folder", job.cwd.display())));
        }
        Err(error) => {
            return Err(StepError::fatal(format!("{name} cannot run in {}: {error}", job.cwd.display())));
        }
    }
    let mut command = Command::new(&job.file);
    command.args(&job.args).current_dir(&job.cwd).env_clear();
    command.envs(job.variables.iter().map(|(name, value)| (name, value)));
    command.stdin(if job.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    #[cfg(unix)]
    command.process_group(0);
    command.spawn().map_err(|error| refused(job, &error))
}

fn refused(job: &Job, error: &io::Error) -> StepError {
    let (name, file) = (&job.name, job.file.display());
    match error.kind() {
        ErrorKind::NotFound => StepError::fatal(format!(
            "the program {name} cannot be run: {file} is not there, or what its first line (#!) names is not"
        )),
        // Of this machine at this moment; another attempt may find it otherwise.
        ErrorKind::ExecutableFileBusy | ErrorKind::WouldBlock | ErrorKind::OutOfMemory | ErrorKind::Interrupted => {
            StepError::retry(format!("the program {name} ({file}) cannot be started now: {error}"))
        }
        ErrorKind::InvalidInput => StepError::fatal(format!(
            "the program {name} cannot be run: an argument or a variable has a zero byte in it"
        )),
        _ => StepError::fatal(format!("the program {name} ({file}) cannot be run: {error}")),
    }
}

impl Ending {
    fn of(status: ExitStatus) -> Self {
        #[cfg(unix)]
        if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
            return Ending::Signal(signal);
        }
        Ending::Status(status.code().unwrap_or(-1))
    }
}

impl std::fmt::Display for Ending {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ending::Status(status) => write!(f, "ended with exit status {status}"),
            Ending::Signal(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}
