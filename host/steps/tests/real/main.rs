//! The three examples that deal with the world step_env, `harvest`, `fulfil` and `release`, against the services of
//! `examples/services`: on their good days, on their bad ones, and with hosts that die.

mod fulfil;
mod harvest;
mod place;
mod release;
#[path = "../../examples/services/demo/mod.rs"]
mod services;
