//! One run on one thread: its state, its durable calls, and the loop that drives it.

pub mod ask;
pub mod branches;
pub mod current;
pub mod execution;
pub mod operations;
pub mod sagas;
