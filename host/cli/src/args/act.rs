//! Commands that do something to runs and schedules.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use durhai::Status;

use super::scripts::Functions;

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
pub struct End {
    /// The id of a run.
    pub run: String,
    /// Why, for the log.
    #[arg(long, default_value = "")]
    pub reason: String,
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
pub struct Delete {
    /// Ids of runs.
    #[arg(required = true)]
    pub runs: Vec<String>,
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

fn ended(text: &str) -> Result<Status, String> {
    match text.parse::<Status>()? {
        status if status.is_terminal() => Ok(status),
        status => Err(format!("a run that is {status} has not ended, so it stays")),
    }
}
