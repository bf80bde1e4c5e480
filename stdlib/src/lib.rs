//! The standard library of durhai scripts
