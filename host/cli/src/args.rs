//! What can be typed.

mod files;
mod observing;
mod scripts;
mod serving;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use durhai::Status;

use crate::output::quoted;

pub use self::files::{Backup, Doctor, Export, Import};
pub use self::observing::{LogFormat, Observing};
pub use self::scripts::{Check, Functions, Graph, Test};
pub use self::serving::{Memory, Serve};

/// Durable workflows as Rhai scripts: drop a script into a folder, kill it at any moment, it goes on where it was.
#[derive(Debug, Parser)]
#[command(name = "durhai", version, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 a run failed, 2 usage, 3 not found, 4 host or store not reachable, \
                        130 interrupted.")]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// The folder with the store.
    #[arg(long, global = true, env = "DURHAI_DATA", default_value = ".durhai", value_name = "DIR")]
    pub data: PathBuf,
    /// Print JSON: one document, or one line each for events and log lines.
    #[arg(long, global = true)]
    pub json: bool,
    /// The folder with the scripts. Default: `scripts` if it is there, else the current folder.
    #[arg(long, global = true, value_name = "DIR")]
    pub scripts: Option<PathBuf>,
    /// Settings of a host. Default: `durhai.toml` in the scripts folder, else in the current folder, if it is there.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a workflow to its end in this process; with the same --id it goes on where it stopped.
    Run(Run),
    /// Host a folder of workflows: hot reload, timers, HTTP API.
    Serve(Serve),
    /// Start a run in the host that serves, or leave it for the next one.
    Start(Start),
    /// List runs, newest first.
    List(List),
    /// Show all there is to know about a run.
    Show(OneRun),
    /// Print the events of a run.
    Events(Events),
    /// Print the log of a run.
    Logs(Follow),
    /// Print the values a run has emitted, one a line.
    Output(Output),
    /// Send a signal to a run.
    Signal(Signal),
    /// Answer a run that asks a person.
    Resume(Resume),
    /// Deliver a POST request to an open hook, as the outside does.
    Hook(Hook),
    /// Ask a run to stop: its open calls throw `cancelled`.
    Cancel(End),
    /// End a run at once, without asking its script.
    Terminate(End),
    /// Start a failed or cancelled run anew; it takes over what was done before the failure.
    Retry(OneRun),
    /// Run a run's log again, writing nothing: as it is, line by line, under an edited script, with other results.
    Replay(Replay),
    /// Start a new run that takes over another one's log up to a step, and goes on from there.
    Fork(ForkArgs),
    /// Let a parked run try again.
    Unpark(OneRun),
    /// Remove runs that have ended, with all they left.
    Delete(Delete),
    /// Remove runs that ended long ago, and texts that nothing needs any more.
    Purge(Purge),
    /// List the workflows that start by themselves; pause one, let it go on, or start it now.
    Schedules(Schedules),
    /// List workflows, and what is wrong with those that do not load.
    Workflows(Workflows),
    /// List the versions a workflow has had, and which runs have them.
    Versions(Versions),
    /// Show what changed between two versions of a workflow, or between the logs of two runs; exit 1 if something did.
    Diff(Diff),
    /// Let live runs go on with another version, those whose log fits it; exit 1 if one does not.
    Migrate(Migrate),
    /// Call a step by hand, outside of any run; without a name, list the steps.
    Step(Step),
    /// Say what is wrong in a folder of scripts, or in some of them, without running any; exit 1 if there is an error.
    Check(Check),
    /// Run the tests beside the workflows (*.test.rhai), each also with a crash before and after every write.
    Test(Test),
    /// Draw a workflow as a graph: steps, waits, branches, loops, tasks; with --run what happened in it.
    Graph(Graph),
    /// Write a starter workflow with a step.
    New(New),
    /// Say what scripts can call: everything, or one call, module or function.
    Docs(Docs),
    /// Write definition files, with which editors complete and explain what scripts call.
    Definitions(Definitions),
    /// Write a run into a file, with its log, its texts and all it showed.
    Export(Export),
    /// Bring in a run from a file: parked unless it had ended. Or a whole store from a backup.
    Import(Import),
    /// Write the whole store into a file, while it is in use.
    Backup(Backup),
    /// Check every log in the store, the store itself and the settings; exit 1 if something is found.
    Doctor(Doctor),
    /// Measure this machine's disk, and how much of it durhai uses.
    Bench(crate::bench::BenchArgs),
    /// Print completions for a shell.
    Completions { shell: Shell },
}

#[derive(Debug, Args)]
pub struct Run {
    /// A script, or the name of a workflow.
    #[arg(value_name = "FILE|NAME")]
    pub target: String,
    #[command(flatten)]
    pub input: Input,
    /// Names the run, so that the same command goes on with it.
    #[arg(long)]
    pub id: Option<String>,
    #[command(flatten)]
    pub tags: Tags,
    /// How long the run may take, instead of what its workflow says: `90s`, `2h`.
    #[arg(long, value_name = "DURATION", value_parser = durhai::duration::parse)]
    pub timeout: Option<u64>,
    #[command(flatten)]
    pub memory: Memory,
    #[command(flatten)]
    pub allow: Allow,
    /// Print nothing but the output and errors.
    #[arg(short, long)]
    pub quiet: bool,
    #[command(flatten)]
    pub observing: Observing,
}

#[derive(Debug, Args)]
pub struct Start {
    /// The name of a workflow.
    pub name: String,
    #[command(flatten)]
    pub input: Input,
    /// Makes the start idempotent: the run of this id is returned if it is there.
    #[arg(long)]
    pub id: Option<String>,
    #[command(flatten)]
    pub tags: Tags,
    /// Begin that much later: `10m`, `1h 30m`.
    #[arg(long, value_name = "DURATION", value_parser = durhai::duration::parse)]
    pub delay: Option<u64>,
    /// How long the run may take, instead of what its workflow says: `90s`, `2h`.
    #[arg(long, value_name = "DURATION", value_parser = durhai::duration::parse)]
    pub timeout: Option<u64>,
    /// Among the runs that wait for the workflow's `concurrency`: higher goes first.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,
    /// Wait for the end and print the output.
    #[arg(long)]
    pub wait: bool,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Args)]
pub struct List {
    /// Only runs of this status; repeat it for any of several.
    #[arg(long, value_parser = |text: &str| text.parse::<Status>())]
    pub status: Vec<Status>,
    #[arg(long, value_name = "NAME")]
    pub workflow: Option<String>,
    /// Only the children of this run.
    #[arg(long, value_name = "RUN")]
    pub parent: Option<String>,
    #[command(flatten)]
    pub tags: Tags,
    /// Only runs created at or after: a time (RFC 3339), or a duration ago such as `2h`.
    #[arg(long, value_name = "TIME", value_parser = crate::times::moment)]
    pub since: Option<u64>,
    /// Only runs created before.
    #[arg(long, value_name = "TIME", value_parser = crate::times::moment)]
    pub until: Option<u64>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Where the list before this one ended.
    #[arg(long)]
    pub cursor: Option<String>,
    /// All of them, however many.
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct OneRun {
    /// The id of a run.
    pub run: String,
}

#[derive(Debug, Args)]
pub struct Replay {
    /// The id of a run, or a file that `durhai export` wrote.
    pub run: String,
    /// Under this text instead of the run's own; it imports from the scripts folder, or from its own.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Another result of a step; can be repeated. The run goes on as far as the log allows.
    #[arg(long, value_name = "STEP=JSON")]
    pub set: Vec<String>,
    /// Stop before the statement that calls this step, and show the variables there.
    #[arg(long, value_name = "STEP", conflicts_with = "stop_at")]
    pub at: Option<String>,
    /// Stop before this line of the script, or of a module.
    #[arg(long = "break", value_name = "[FILE:]LINE")]
    pub stop_at: Option<String>,
    /// Show this expression where it stops, instead of the variables. It has no effects.
    #[arg(short, long, value_name = "EXPR")]
    pub print: Option<String>,
    /// Show every statement, what it asked for, what it was answered and what it changed.
    #[arg(long, conflicts_with = "interactive")]
    pub trace: bool,
    /// With --trace: every pass of every loop.
    #[arg(long, requires = "trace")]
    pub all: bool,
    /// Walk through the run: forward and back, to the next step, printing variables. `h` lists the commands.
    #[arg(short, long, conflicts_with = "json")]
    pub interactive: bool,
    #[command(flatten)]
    pub functions: Functions,
}

#[derive(Debug, Args)]
pub struct ForkArgs {
    /// The id of a run, which is left as it is; or a file that `durhai export` wrote, whose run is brought into the store first.
    pub run: String,
    /// Before the call of this step: the new run makes it anew.
    #[arg(long, value_name = "STEP", required_unless_present = "after", conflicts_with = "after")]
    pub at: Option<String>,
    /// After this step, whose result is kept.
    #[arg(long, value_name = "STEP")]
    pub after: Option<String>,
    /// Under this text instead of the run's own. It must fit what is taken over.
    #[arg(long, value_name = "FILE")]
    pub script: Option<PathBuf>,
    /// Another result of a step that is taken over; can be repeated.
    #[arg(long, value_name = "STEP=JSON")]
    pub set: Vec<String>,
    /// Names the new run; the same command gives the same run again.
    #[arg(long)]
    pub id: Option<String>,
    #[command(flatten)]
    pub functions: Functions,
}

#[derive(Debug, Args)]
pub struct Versions {
    /// The name of a workflow.
    pub name: String,
}

#[derive(Debug, Args)]
#[command(override_usage = "durhai diff NAME VERSION VERSION\n       durhai diff RUN RUN")]
pub struct Diff {
    /// The name of a workflow, or the id of a run, or a file that `durhai export` wrote.
    #[arg(value_name = "NAME|RUN")]
    pub first: String,
    /// A version: the first digits of its digest, `serving`, or a FILE.rhai as it is now. After a run: another run, or a file
    /// with one.
    #[arg(value_name = "VERSION|RUN")]
    pub left: String,
    /// The version to compare it with.
    #[arg(value_name = "VERSION")]
    pub right: Option<String>,
}

#[derive(Debug, Args)]
pub struct Migrate {
    /// The id of a run, or the name of a workflow: all its live runs.
    #[arg(value_name = "RUN|NAME")]
    pub target: String,
    /// The version to go on with: `serving`, or the first digits of its digest.
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// Only say what would come of it.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Events {
    #[command(flatten)]
    pub follow: Follow,
    /// Print whole payloads. Otherwise they are cut, and how much is left out is said.
    #[arg(long)]
    pub full: bool,
}

#[derive(Debug, Args)]
pub struct Follow {
    /// The id of a run, or a file that `durhai export` wrote.
    pub run: String,
    /// Go on until the run has ended.
    #[arg(short, long)]
    pub follow: bool,
    /// Begin there: an event's number, a log line's index.
    #[arg(long, value_name = "N")]
    pub from: Option<u64>,
}

#[derive(Debug, Args)]
pub struct Output {
    /// The id of a run, or a file that `durhai export` wrote.
    pub run: String,
    /// The stream; without it the one that `emit(value)` writes to.
    #[arg(long, value_name = "NAME")]
    pub stream: Option<String>,
    /// List the run's streams instead.
    #[arg(long, conflicts_with_all = ["stream", "follow", "from"])]
    pub streams: bool,
    /// Go on until the run has ended.
    #[arg(short, long)]
    pub follow: bool,
    /// Begin at this index; the first is 0.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub from: u64,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// The id of a run.
    pub run: String,
    /// The answer as JSON, `@FILE` or `-`. Default: null.
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    pub answer: Option<String>,
    /// Which question, if there are several: its label, or its step id.
    #[arg(long)]
    pub label: Option<String>,
}

#[derive(Debug, Args)]
pub struct Hook {
    /// The hook's token, or its whole address.
    pub token: String,
    /// The body as JSON, `@FILE` or `-`. Default: none.
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    pub body: Option<String>,
    /// Delivered once, however often it is sent with this id.
    #[arg(long)]
    pub id: Option<String>,
}

#[derive(Debug, Args)]
pub struct Purge {
    /// Those that ended longer ago: `30d`.
    #[arg(long, value_name = "DURATION", value_parser = durhai::duration::parse)]
    pub older_than: Option<u64>,
    /// Those of this status; repeat it for any of several.
    #[arg(long, value_parser = ended)]
    pub status: Vec<Status>,
    /// Those of this workflow.
    #[arg(long, value_name = "NAME")]
    pub workflow: Option<String>,
    /// Every run that has ended.
    #[arg(long, conflicts_with_all = ["older_than", "status", "workflow"])]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct Schedules {
    #[command(subcommand)]
    pub action: Option<ScheduleAction>,
}

#[derive(Debug, Subcommand)]
pub enum ScheduleAction {
    /// Start it no more by itself, until it is resumed.
    Pause(OneWorkflow),
    /// Let a paused one go on.
    Resume(OneWorkflow),
    /// Start it now; its own times stay as they are.
    Trigger(OneWorkflow),
}

#[derive(Debug, Args)]
pub struct OneWorkflow {
    /// The name of a workflow.
    pub name: String,
}

#[derive(Debug, Args)]
pub struct Signal {
    /// The id of a run.
    pub run: String,
    /// The name the script waits for.
    pub name: String,
    /// The payload as JSON, `@FILE` or `-`. Default: null.
    #[arg(value_name = "JSON", allow_hyphen_values = true)]
    pub payload: Option<String>,
    /// Delivered once, however often it is sent with this id.
    #[arg(long)]
    pub id: Option<String>,
}

#[derive(Debug, Args)]
pub struct End {
    /// The id of a run.
    pub run: String,
    /// Why, for the log.
    #[arg(long, default_value = "")]
    pub reason: String,
}

#[derive(Debug, Args)]
pub struct Delete {
    /// Ids of runs.
    #[arg(required = true)]
    pub runs: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Workflows {
    /// Look into this folder, whatever a host serves.
    pub dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Step {
    /// The name of a step: `payments.charge`, `file.read`.
    pub name: Option<String>,
    /// The input as JSON, `@FILE` or `-`. Default: null.
    #[arg(value_name = "JSON")]
    pub input: Option<String>,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum GraphFormat {
    /// GitHub, GitLab and most editors show it.
    Mermaid,
    /// For Graphviz: `durhai graph NAME --format dot | dot -Tsvg`.
    Dot,
}

#[derive(Debug, Args)]
pub struct New {
    /// The name of the workflow: `hello`, `billing/invoice`.
    pub name: String,
}

#[derive(Debug, Args)]
pub struct Docs {
    /// A durable call, a module of the library or a function: `use_step`, `std/time`, `time::format`.
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct Definitions {
    /// Where the files go: `.definitions`.
    pub dir: PathBuf,
}

/// The input of a run.
#[derive(Debug, Args)]
pub struct Input {
    /// The input as JSON, `@FILE` to read a file, `-` to read standard input. Default: null.
    #[arg(short, long, value_name = "JSON", allow_hyphen_values = true)]
    pub input: Option<String>,
}

#[derive(Debug, Args)]
pub struct Tags {
    /// Something to find it by; can be repeated.
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = tag)]
    pub tags: Vec<(String, String)>,
}

/// What steps from scripts may touch. Nothing, unless it is granted here or in `durhai.toml`.
#[derive(Debug, Clone, Default, Args)]
pub struct Allow {
    /// Steps may do everything, and nothing is out of their reach, `durhai.toml` included.
    #[arg(short = 'A', long)]
    pub allow_all: bool,
    /// Steps may read files: all, or those below these paths.
    #[arg(long, value_name = "PATH,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_read: Vec<String>,
    /// Steps may write files: all, or those below these paths.
    #[arg(long, value_name = "PATH,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_write: Vec<String>,
    /// Steps may connect: to every host, or to these, with a port or on every port.
    #[arg(long, value_name = "HOST:PORT,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_net: Vec<String>,
    /// Steps may run programs: all, or these.
    #[arg(long, value_name = "PROGRAM,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_exec: Vec<String>,
    /// Steps may read variables of the environment: all, or these.
    #[arg(long, value_name = "NAME,…", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub allow_env: Vec<String>,
    /// Read further variables from a file; without a name from `.env`. What is set already counts.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = ".env")]
    pub env_file: Option<PathBuf>,
}

impl Allow {
    /// As they were typed.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.allow_all {
            words.push("-A".to_string());
        }
        for (flag, values) in [
            ("--allow-read", &self.allow_read),
            ("--allow-write", &self.allow_write),
            ("--allow-net", &self.allow_net),
            ("--allow-exec", &self.allow_exec),
            ("--allow-env", &self.allow_env),
        ] {
            words.extend(values.iter().map(|value| match value.as_str() {
                "" => flag.to_string(),
                value => format!("{flag}={}", quoted(value)),
            }));
        }
        words.extend(self.env_file.iter().map(|file| format!("--env-file={}", quoted(&file.display().to_string()))));
        words
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("write it as KEY=VALUE".into()),
    }
}

fn ended(text: &str) -> Result<Status, String> {
    match text.parse::<Status>()? {
        status if status.is_terminal() => Ok(status),
        status => Err(format!("a run that is {status} has not ended, so it stays")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_is_accepted_and_what_is_not() {
        for (line, good) in [
            ("run a.rhai --input {} --id x --tag a=b --tag c=", true),
            ("run a --input -1", true),
            ("run a -A --allow-read --allow-write=out,tmp --allow-write=more", true),
            ("run a --allow-read data", false), // would be a second FILE
            ("run a --allow-net=a.example:443,10.0.0.0/8 --allow-net=b --allow-exec=git --allow-env", true),
            ("step http.get {} --allow-net --env-file", true),
            ("serve --env-file=prod.env --allow-exec", true),
            ("start a --env-file prod.env", false), // would be a second NAME
            ("run", false),
            ("run a --nonsense", false),
            ("run a --tag nope", false),
            ("run a --tag =v", false),
            ("--json list --status failed --status parked", true),
            ("list --json --data /tmp/x --limit 1000", true),
            ("list --status asleep", false),
            ("list --limit 0", false),
            ("list --limit 1001", false),
            ("list --since 2h --until 2026-01-01T00:00:00Z", true),
            ("list --since yesterday-ish", false),
            ("start a --delay 10m --wait", true),
            ("start a --delay -5s", false),
            ("start a --delay soon", false),
            ("signal r name", true),
            ("signal r name {\"a\":1} --id once", true),
            ("signal r", false),
            ("cancel r --reason because", true),
            ("delete", false),
            ("delete a b c", true),
            ("serve --listen 127.0.0.1:0 --store memory: --allow-host x", true),
            ("events r --follow --from 3", true),
            ("events r --from x", false),
            ("events r --full", true),
            ("logs r --full", false),
            ("run a --timeout 2h --config x.toml", true),
            ("run a --timeout forever", false),
            ("start a --priority -3 --timeout 90", true),
            ("start a --priority high", false),
            ("list --parent p", true),
            ("output r --stream a --from 3 --follow", true),
            ("output r --streams", true),
            ("output r --streams --stream a", false),
            ("output r --from -1", false),
            ("resume r", true),
            ("resume r -1 --label ok", true),
            ("resume", false),
            ("hook t {} --id once", true),
            ("hook", false),
            ("schedules", true),
            ("schedules pause a/b", true),
            ("schedules pause", false),
            ("schedules stop a", false),
            ("purge --older-than 30d --status failed --status completed --workflow w", true),
            ("purge --all", true),
            ("purge --all --workflow w", false),
            ("purge --status waiting", false),
            ("purge --older-than x", false),
            ("serve --public-url https://x.example", true),
            ("graph order --format dot", true),
            ("graph --run order-42", true),
            ("graph", false),
            ("graph order --format png", false),
            ("check", true),
            ("check dir a.rhai --short --strict --assume-step pay.* --assume-step x", true),
            ("check --assume-step", false),
            ("check --assume-function price/2 --assume-function vat/1", true),
            ("check --assume-function price", false),
            ("replay r --assume-function price/2", true),
            ("fork r --at 1 --assume-function price/2", true),
            ("test --assume-function price/2", true),
            ("replay r --at 3 --print x", true),
            ("replay r --trace --all --script a.rhai --set 1={} --set 2=1", true),
            ("replay r --all", false),
            ("replay r --at 3 --break 4", false),
            ("replay r -i --json", false),
            ("fork r --at 3 --id x --set 1=2", true),
            ("fork r --after 3 --script a.rhai", true),
            ("fork r", false),
            ("fork r --at 1 --after 2", false),
            ("versions order", true),
            ("versions", false),
            ("diff order 1234 serving", true),
            ("diff r-1 r-2", true),
            ("diff order", false),
            ("migrate order --to 1234 --dry-run", true),
            ("migrate", false),
            ("test", true),
            ("test a b.test.rhai --filter x --seed 3 --coverage --lcov l --junit j --jobs 2 --limit 5s", true),
            ("test --jobs 0", false),
            ("test --only undisturbed", true),
            ("test --only sometimes", false),
            ("test --only evicted --no-crash", false),
            ("export r -o f --children --with-tokens", true),
            ("export", false),
            ("import f --id x --go", true),
            ("import - --as-is", true),
            ("import f --id x --as-is", false),
            ("import f --backup --go", false),
            ("import", false),
            ("backup -o f", true),
            ("doctor --repair", true),
            ("completions bash", true),
            ("completions cobol", false),
            ("bogus", false),
            ("", false),
        ] {
            let words = std::iter::once("durhai").chain(line.split_whitespace());
            let parsed = Cli::try_parse_from(words);
            assert_eq!(parsed.is_ok(), good, "{line}: {parsed:?}");
            if let Err(error) = parsed {
                assert_eq!(error.exit_code(), 2, "{line}");
            }
        }
    }

    #[test]
    fn a_permission_without_value_is_everything() {
        let cli = Cli::try_parse_from(["durhai", "run", "a", "--allow-read", "--allow-write=x,y"]).expect("parses");
        let Command::Run(run) = cli.command else { panic!("not run") };
        assert_eq!(run.allow.allow_read, [""]);
        assert_eq!(run.allow.allow_write, ["x,y"]);
    }
}
