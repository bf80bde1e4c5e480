//! `durhai run` and `durhai start`.

use clap::Args;

use super::allow::Allow;
use super::observing::Observing;
use super::serving::Memory;

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

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("write it as KEY=VALUE".into()),
    }
}
