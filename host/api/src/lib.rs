//! The HTTP API of durhai
