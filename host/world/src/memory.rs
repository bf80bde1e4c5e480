//! The executable specification.
pub struct MemoryWorld;
