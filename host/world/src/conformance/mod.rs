//! What every world promises, as cases to run against one.
//!
//! An adapter's test describes its world by a [`Subject`] and calls [`run`]; a failing case is named, the others still
//! run. Worlds are compared with [`MemoryWorld`](crate::MemoryWorld), too, over random operations: the seed of a failure
//! is printed, `DURHAI_SEED` runs that one again.

mod claims;
mod concurrency;
mod copies;
mod dice;
mod hooks;
mod hosts;
mod listing;
mod lives;
mod random;
mod reading;
mod shared;
mod together;
mod tools;
mod urgent;

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::World;

pub use dice::Dice;

/// A world under test.
pub struct Subject<'a> {
    /// Makes an empty world.
    pub make: &'a dyn Fn() -> Box<dyn World>,
    /// Ends the process that has this world open, as far as the world can tell, and opens the same one again. Where
    /// claims last as long as a process, that ends them.
    pub reopen: Option<&'a Reopen<'a>>,
    /// Opens the world that was made last once more, beside it, as another process does. `None`: only one process can have it open.
    pub second: Option<&'a dyn Fn() -> Box<dyn World>>,
    /// Whether claims end with their leases, or only with the process.
    pub leases: bool,
}

/// Closes a world and opens it again.
pub type Reopen<'a> = dyn Fn(Box<dyn World>) -> Box<dyn World> + 'a;

/// One promise.
pub struct Case {
    pub name: &'static str,
    pub run: fn(&Subject<'_>),
}

/// All of them.
pub fn cases() -> Vec<Case> {
    [
        lives::CASES,
        claims::CASES,
        reading::CASES,
        listing::CASES,
        together::CASES,
        hooks::CASES,
        hosts::CASES,
        concurrency::CASES,
        urgent::CASES,
        copies::CASES,
        shared::CASES,
        random::CASES,
    ]
    .concat()
    .into_iter()
    .map(|(name, run)| Case { name, run })
    .collect()
}

/// Runs every case.
///
/// # Panics
///
/// If one fails; the message names all that did.
pub fn run(subject: &Subject<'_>) {
    let mut failed = Vec::new();
    for case in cases() {
        if catch_unwind(AssertUnwindSafe(|| (case.run)(subject))).is_err() {
            eprintln!("conformance case `{}` failed", case.name);
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "this world breaks {} promises: {}", failed.len(), failed.join(", "));
}

type Cases = &'static [(&'static str, fn(&Subject<'_>))];
