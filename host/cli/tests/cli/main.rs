//! The real binary, as people use it.

mod beginning;
mod checking;
mod damaged;
mod declared;
mod exported;
mod folder;
mod functions;
mod guarding;
#[cfg(target_os = "linux")]
mod hostile;
mod hosts;
mod keeping;
mod killed;
mod logging;
mod measuring;
mod misconfigured;
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
mod texts;
mod tools;
mod versions;
