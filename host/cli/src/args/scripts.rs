//! Commands about scripts: `check`, `graph`, `test`, `step`, `new`, `docs`, `definitions`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::allow::Allow;

#[derive(Debug, Args)]
pub struct Check {
    /// The folder with the scripts, or single scripts, which are looked at within their folder. Default: --scripts.
    #[arg(value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// One line each, for editors: `file:line:column: error[code]: message`.
    #[arg(long)]
    pub short: bool,
    /// Exit 1 for a warning too.
    #[arg(long)]
    pub strict: bool,
    /// A step that the scripts will find elsewhere, such as in a host that embeds durhai; `billing.*` for all that begin so.
    #[arg(long, value_name = "NAME")]
    pub assume_step: Vec<String>,
    #[command(flatten)]
    pub functions: Functions,
}

/// Functions that a program adds to its scripts.
#[derive(Debug, Clone, Default, Args)]
pub struct Functions {
    /// A function that a program which embeds durhai adds to these scripts, with the number of its arguments: `price/2`. Those
    /// under [functions] in durhai.toml need not be named.
    #[arg(long, value_name = "NAME/ARGUMENTS", value_parser = durhai::check::AssumedFunction::parse)]
    pub assume_function: Vec<durhai::check::AssumedFunction>,
}

#[derive(Debug, Args)]
pub struct Graph {
    /// The name of a workflow, or its file.
    #[arg(value_name = "NAME|FILE", required_unless_present = "run")]
    pub name: Option<String>,
    /// How it is written.
    #[arg(long, value_enum, default_value_t = GraphFormat::Mermaid)]
    pub format: GraphFormat,
    /// Draw the text that this run has, coloured by what is done, failed, waits, or was never reached.
    #[arg(long)]
    pub run: Option<String>,
}

#[derive(Debug, Args)]
pub struct Test {
    /// Folders with tests, or test files. Default: the scripts folder.
    #[arg(value_name = "DIR|FILE")]
    pub paths: Vec<PathBuf>,
    /// Only tests with this text in FILE::NAME.
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Which of several steps that could end at once ends first; 0: the one that was begun first.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Each test once, undisturbed.
    #[arg(long, conflicts_with = "only")]
    pub no_crash: bool,
    /// Crashes of one test, at most; those of longer tests are chosen evenly.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub max_crashes: usize,
    /// Only this repetition, beside the undisturbed one: `evicted`, 'crash before 7', 'crash after 7'.
    #[arg(long, value_name = "WHAT")]
    pub only: Option<durhai_trial::Disturbance>,
    /// How long one repetition of one test may take. Default: what its file says, else a minute.
    #[arg(long, value_name = "DURATION", value_parser = durhai::duration::parse)]
    pub limit: Option<u64>,
    /// Files that are run at a time. Default: one a core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Show which lines of workflows were run.
    #[arg(long)]
    pub coverage: bool,
    /// Write that in the format of lcov.
    #[arg(long, value_name = "FILE")]
    pub lcov: Option<PathBuf>,
    /// Write a report in JUnit's XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    #[command(flatten)]
    pub functions: Functions,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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
