//! Crash and fault injection, script generator: for the tests of durhai
