//! Errors of scripts: found before they run, thrown while they run, and what to do about them.

pub mod diagnostic;
pub mod suggest;
pub mod thrown;
