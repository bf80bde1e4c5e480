//! Secrets by name, for steps in scripts.

use rhai::Engine;

use super::verdict::give;
use super::{Seat, present};

/// `secret(name)`: its value as text, read now. Hidden in whatever the step hands over.
pub fn add_secrets(engine: &mut Engine, seat: &Seat) {
    let here = seat.clone();
    engine.register_fn("secret", move |name: &str| give(present(&here).kit.secret(name)));
}
