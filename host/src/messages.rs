//! What is sent to a run: signals, cancellations, payloads of hooks, answers to questions.

pub(crate) mod ending;
pub(crate) mod hooks;
pub(crate) mod message;
pub(crate) mod post;
pub(crate) mod questions;
pub(crate) mod signals;
