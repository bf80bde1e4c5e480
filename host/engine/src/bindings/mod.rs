//! The durable calls, as scripts see them. Each file registers one family.

pub mod args;
pub mod caught;
mod child;
mod group;
mod hook;
mod log;
mod person;
mod random;
mod saga;
mod signal;
mod state;
mod step;
mod time;

use rhai::Engine;

/// Registers everything in [`CALLS`](crate::CALLS).
pub fn register(engine: &mut Engine) {
    step::register(engine);
    time::register(engine);
    random::register(engine);
    signal::register(engine);
    hook::register(engine);
    person::register(engine);
    child::register(engine);
    state::register(engine);
    group::register(engine);
    saga::register(engine);
    log::register(engine);
}
