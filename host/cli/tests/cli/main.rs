//! The real binary, as people use it.

mod checking;
mod damaged;
mod declared;
mod folder;
mod guarding;
mod keeping;
mod killed;
mod logging;
mod numbers;
mod outside;
mod page;
mod permissions;
mod proxy;
mod run;
mod seeing;
mod serve;
mod settings;
mod store;
mod testing;
mod tools;
mod versions;
