//! The tests of durhai as a whole: one binary, scenarios as data where they can be.

mod crash;
mod embed;
mod scenarios;
