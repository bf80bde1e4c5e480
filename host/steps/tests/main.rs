//! The tests of steps: one binary. Those of the large examples, which take longest, are `real`.

mod declared;
mod examples;
mod exec;
mod guide;
mod http;
mod kinds;
mod place;
mod secrets;
mod settings;
mod sql;
