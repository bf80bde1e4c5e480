//! placeholder
pub struct Replay;
