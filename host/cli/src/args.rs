//! What can be typed.

mod act;
pub mod allow;
pub mod bench;
mod files;
mod look;
pub mod observing;
mod run;
mod scripts;
mod serving;
mod store;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::store::StoreAddress;

pub use self::act::{Delete, End, ForkArgs, Hook, Migrate, Purge, Resume, ScheduleAction, Schedules, Signal};
pub use self::allow::Allow;
pub use self::bench::Bench;
pub use self::files::{Backup, Doctor, Export, Import};
pub use self::look::{Diff, Events, Follow, List, OneRun, Output, Replay, Versions, Workflows};
pub use self::observing::{LogFormat, Observing};
pub use self::run::{Run, Start};
pub use self::scripts::{Check, Definitions, Docs, Functions, Graph, GraphFormat, New, Step, Test};
pub use self::serving::{Memory, Serve};
pub use self::store::{Copy, Hosts, Store, StoreAction};

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
    /// Where runs live: `sled:PATH`, `memory:` (for `serve`), or `postgres://USER@HOST:PORT/DATABASE` for a database that hosts
    /// share. Default: `store` in the data folder.
    #[arg(long, global = true, env = "DURHAI_STORE", hide_env_values = true, value_name = "STORE")]
    pub store: Option<StoreAddress>,
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
    /// Look at a store as a whole, bring a database up to this version, copy from one store into another.
    Store(Store),
    /// List the hosts on a database: since when they live, and how many runs they hold.
    Hosts(Hosts),
    /// Check every log in the store, the store itself and the settings; exit 1 if something is found.
    Doctor(Doctor),
    /// Measure this machine's disk, and how much of it durhai uses.
    Bench(Bench),
    /// Print completions for a shell.
    Completions { shell: Shell },
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
    // Over 80 lines: a table of cases.
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
