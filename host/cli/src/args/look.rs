//! Commands that look at runs and versions.

use std::path::PathBuf;

use clap::Args;
use durhai::{Query, Status};

use super::run::Tags;
use super::scripts::Functions;

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    pub filter: Filter,
    /// Only the children of this run.
    #[arg(long, value_name = "RUN")]
    pub parent: Option<String>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Where the list before this one ended.
    #[arg(long)]
    pub cursor: Option<String>,
    /// All of them, however many.
    #[arg(long)]
    pub all: bool,
}

/// Which runs are meant; without any of it all.
#[derive(Debug, Args)]
pub struct Filter {
    /// Only runs of this status; repeat it for any of several.
    #[arg(long, value_parser = |text: &str| text.parse::<Status>())]
    pub status: Vec<Status>,
    #[arg(long, value_name = "NAME")]
    pub workflow: Option<String>,
    #[command(flatten)]
    pub tags: Tags,
    /// Only runs created at or after: a time (RFC 3339), or a duration ago such as `2h`.
    #[arg(long, value_name = "TIME", value_parser = crate::times::moment)]
    pub since: Option<u64>,
    /// Only runs created before.
    #[arg(long, value_name = "TIME", value_parser = crate::times::moment)]
    pub until: Option<u64>,
}

impl Filter {
    pub fn query(self) -> Query {
        Query {
            status: self.status,
            workflow: self.workflow,
            tags: self.tags.tags.into_iter().collect(),
            since: self.since,
            until: self.until,
            ..Query::default()
        }
    }
}

#[derive(Debug, Args)]
pub struct OneRun {
    /// The id of a run.
    pub run: String,
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
pub struct Workflows {
    /// Look into this folder, whatever a host serves.
    pub dir: Option<PathBuf>,
}
