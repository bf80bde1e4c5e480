//! What scripts hold: as JSON, as text, and the handles that durable calls give them.

pub mod convert;
pub mod handles;
pub mod show;
