//! The durable calls, as scripts see them. Each file registers one family.

pub(crate) mod args;
mod calls;
mod child;
mod error;
pub(crate) mod group;
mod hook;
mod log;
mod person;
mod random;
pub(crate) mod saga;
mod signal;
mod state;
mod step;
mod time;

pub use self::calls::{CALLS, CallDoc};
pub(crate) use self::child::tags;
pub use self::error::{caught, failure_to_error, failure_to_map, map_to_failure, throw};
pub use self::group::TaskHandle;
pub use self::hook::HookHandle;
pub use self::saga::SagaHandle;
pub(crate) use self::step::positive;
pub use self::time::Timestamp;

use rhai::Engine;

/// Registers everything in [`CALLS`].
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
