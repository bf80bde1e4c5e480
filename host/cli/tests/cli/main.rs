//! The real binary, as people use it.

mod checking;
mod declared;
mod folder;
mod keeping;
mod killed;
mod logging;
mod outside;
mod permissions;
mod run;
mod seeing;
mod serve;
mod settings;
mod store;
mod testing;
mod tools;
mod versions;
