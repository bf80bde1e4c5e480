//! The threads of a host: they run scripts, write, claim, start what is due, remove what is old.

pub(crate) mod claimer;
pub(crate) mod claims;
pub(crate) mod command;
pub(crate) mod commit_queue;
pub(crate) mod committer;
pub(crate) mod deadlock;
pub(crate) mod delayed_claims;
pub(crate) mod in_turn;
pub(crate) mod job;
pub(crate) mod lease;
pub(crate) mod lifecycle;
pub(crate) mod live_run;
pub(crate) mod new_run;
pub(crate) mod retention;
pub(crate) mod run_shared;
pub(crate) mod schedules;
pub(crate) mod setup;
pub(crate) mod shutdown;
pub(crate) mod start;
pub(crate) mod startup;
pub(crate) mod take_up_later;
pub(crate) mod thread_wakeup;
pub(crate) mod waiters;
pub(crate) mod waiting;
pub(crate) mod worker;
pub(crate) mod workers;
