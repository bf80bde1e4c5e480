//! durhai
