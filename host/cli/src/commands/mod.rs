//! The commands, one file each.

mod act;
mod backup;
mod bench;
mod check;
mod copy;
mod definitions;
mod diff;
pub mod diff_runs;
mod docs;
mod doctor;
mod export;
mod follow;
mod fork;
mod graph;
mod hook;
mod import;
mod list;
mod migrate;
mod new;
mod output;
mod purge;
pub mod replay;
mod run;
mod schedules;
mod serve;
mod show;
mod start;
mod step;
mod store;
mod test;
mod versions;
mod workflows;

use clap::CommandFactory;

use crate::args::{Cli, Command};
use crate::exit::{Exit, Outcome};
use crate::output::Out;

/// Does what was typed.
pub async fn dispatch(cli: Cli, out: &Out) -> Outcome {
    let globals = &cli.globals;
    globals.check_store(matches!(cli.command, Command::Serve(_)))?;
    match cli.command {
        Command::Run(args) => run::run(globals, args, out).await,
        Command::Serve(args) => serve::serve(globals, args, out).await,
        Command::Start(args) => start::start(globals, args, out).await,
        Command::List(args) => list::list(globals, args, out).await,
        Command::Show(args) => show::show(globals, args, out).await,
        Command::Events(args) => follow::events(globals, args, out).await,
        Command::Logs(args) => follow::logs(globals, args, out).await,
        Command::Output(args) => output::output(globals, args, out).await,
        Command::Resume(args) => act::resume(globals, args, out).await,
        Command::Hook(args) => hook::hook(globals, args, out).await,
        Command::Purge(args) => purge::purge(globals, args, out).await,
        Command::Schedules(args) => schedules::schedules(globals, args, out).await,
        Command::Signal(args) => act::signal(globals, args, out).await,
        Command::Cancel(args) => act::end(globals, args, act::How::Cancel, out).await,
        Command::Terminate(args) => act::end(globals, args, act::How::Terminate, out).await,
        Command::Retry(args) => act::retry(globals, args, out).await,
        Command::Replay(args) => replay::replay(globals, args, out).await,
        Command::Fork(args) => fork::fork(globals, args, out).await,
        Command::Unpark(args) => act::unpark(globals, args, out).await,
        Command::Delete(args) => act::delete(globals, args, out).await,
        Command::Workflows(args) => workflows::workflows(globals, args, out).await,
        Command::Versions(args) => versions::versions(globals, args, out).await,
        Command::Diff(args) => diff::diff(globals, args, out).await,
        Command::Migrate(args) => migrate::migrate(globals, args, out).await,
        Command::Step(args) => step::step(globals, args, out).await,
        Command::Check(args) => check::check(globals, args, out),
        Command::Test(args) => test::test(globals, args, out),
        Command::Graph(args) => graph::graph(globals, args, out).await,
        Command::New(args) => new::new(globals, args, out),
        Command::Docs(args) => docs::docs(args, out),
        Command::Definitions(args) => definitions::definitions(globals, args, out),
        Command::Bench(args) => bench::run(args, globals, out).await,
        Command::Export(args) => export::export(globals, args, out).await,
        Command::Import(args) => import::import(globals, args, out).await,
        Command::Backup(args) => backup::backup(globals, args, out).await,
        Command::Store(args) => store::store(globals, args, out).await,
        Command::Hosts(args) => store::hosts(globals, &args, out).await,
        Command::Doctor(args) => doctor::doctor(globals, args, out).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "durhai", &mut script);
            out.line(String::from_utf8_lossy(&script).trim_end());
            Ok(Exit::Done)
        }
    }
}
