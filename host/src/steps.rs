//! Steps: those there are, the rules for them, their attempts.

pub(crate) mod attempt;
pub(crate) mod call;
pub(crate) mod limiter;
pub(crate) mod mask;
pub(crate) mod misconfigured;
pub(crate) mod notes;
pub(crate) mod registry;
pub(crate) mod rules;
pub(crate) mod shared_limit;
pub(crate) mod step;
#[cfg(feature = "postgres")]
pub(crate) mod transaction;
pub(crate) mod watched;
