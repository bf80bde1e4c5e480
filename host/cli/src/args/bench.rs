//! `durhai bench`.

use clap::Args;

/// What `bench` measures with; smaller numbers give a quick look.
#[derive(Debug, Clone, Args)]
pub struct Bench {
    /// Waiting runs for the memory figures
    #[arg(long, default_value_t = 20_000)]
    pub waiting: usize,
    /// Runs only the parts named, separated by commas: floor, step, throughput, growth, parallel, replay, recovery, memory
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// What a child process of the bench does.
    #[arg(long, hide = true, num_args = 3, value_names = ["WHAT", "DIR", "COUNT"])]
    pub child: Option<Vec<String>>,
}
