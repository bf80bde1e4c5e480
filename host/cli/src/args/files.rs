//! Runs and stores as files, and what is wrong with them.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Export {
    /// The id of a run, live or not.
    pub run: String,
    /// The file. Default: standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The runs it started too, and those that continue it, all as they stand at one moment.
    #[arg(long)]
    pub children: bool,
    /// Leave the tokens of hooks as they are: readers of the file can speak to the run.
    #[arg(long)]
    pub with_tokens: bool,
}

#[derive(Debug, Args)]
pub struct Import {
    /// A file that `durhai export` wrote; `-` for standard input.
    pub file: PathBuf,
    /// The name of the run here. Default: a new one; those of the runs it started follow from it.
    #[arg(long, conflicts_with_all = ["as_is", "backup"])]
    pub id: Option<String>,
    /// Under the names they had, with logs that do not tell of it.
    #[arg(long, conflicts_with = "backup")]
    pub as_is: bool,
    /// Let what had not ended go on at once: attempts that were under way are made again, with the new run's keys. Without
    /// this it is parked, so that an import never has effects by itself.
    #[arg(long, conflicts_with = "backup")]
    pub go: bool,
    /// The file is a backup: restore it into a data folder without a store.
    #[arg(long)]
    pub backup: bool,
}

#[derive(Debug, Args)]
pub struct Backup {
    /// The file. Default: standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Make the store anew of what is sound, while no host serves. The damaged one stays beside it, and a file lists what was
    /// left out or changed.
    #[arg(long)]
    pub repair: bool,
}
