//! Stores as a whole.

use clap::{Args, Subcommand};

use super::look::Filter;
use crate::store::StoreAddress;

#[derive(Debug, Args)]
pub struct Store {
    #[command(subcommand)]
    pub action: StoreAction,
}

#[derive(Debug, Subcommand)]
pub enum StoreAction {
    /// Say where the store is, what layout it has, and how much is in it.
    Status,
    /// Lay a database out, or bring its tables and functions up to this version.
    Migrate {
        /// Print the SQL that lays out an empty database, for its owner to run, and do nothing.
        #[arg(long)]
        print: bool,
    },
    /// Copy what is in one store into another, which must be empty: sled:PATH or postgres://…
    Copy(Copy),
}

/// Everything, unless it is said which runs.
#[derive(Debug, Args)]
pub struct Copy {
    pub from: StoreAddress,
    pub to: StoreAddress,
    /// With the runs that those wait for, and those that continue them.
    #[command(flatten)]
    pub filter: Filter,
}

#[derive(Debug, Args)]
pub struct Hosts {
    /// Those that ended or died within the last day, too.
    #[arg(long)]
    pub all: bool,
}
