//! Stores as a whole.

use clap::{Args, Subcommand};
use durhai::{Query, Status};

use super::run::Tags;
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
    /// Only runs of this status; repeat it for any of several. With the runs they wait for, and those that continue them.
    #[arg(long, value_parser = |text: &str| text.parse::<Status>())]
    pub status: Vec<Status>,
    /// Only runs of this workflow, likewise.
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

impl Copy {
    /// Which runs, unless it is all of them.
    pub fn query(&self) -> Option<Query> {
        let query = Query {
            status: self.status.clone(),
            workflow: self.workflow.clone(),
            tags: self.tags.tags.iter().cloned().collect(),
            since: self.since,
            until: self.until,
            ..Query::default()
        };
        (query != Query::default()).then_some(query)
    }
}

#[derive(Debug, Args)]
pub struct Hosts {
    /// Those that ended or died within the last day, too.
    #[arg(long)]
    pub all: bool,
}
