//! The real binary, as people use it.

mod folder;
mod killed;
mod run;
mod serve;
mod store;
mod tools;
