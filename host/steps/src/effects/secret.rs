//! Secrets by name, for steps in scripts.

use rhai::Engine;

use super::current::{CurrentAttempt, running};
use super::thrown::give;

/// `secret(name)`: its value as text, read now. Hidden in whatever the step hands over.
pub fn add_secrets(engine: &mut Engine, current: &CurrentAttempt) {
    let here = current.clone();
    engine.register_fn("secret", move |name: &str| give(running(&here).step_env.secret(name)));
}
