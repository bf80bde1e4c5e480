//! The tests of durhai as a whole: one binary, scenarios as data where they can be.

mod embed;
mod scenarios;
