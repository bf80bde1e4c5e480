//! The command line of durhai. All of it is in a library, so that it is compiled while the crates below it still are; the
//! binary is its allocator and a call.

mod args;
mod board;
mod client;
mod commands;
mod debugger;
mod exit;
mod folder;
mod hostfile;
mod hosting;
mod input;
mod interrupt;
mod journal;
mod lines;
mod logging;
mod note;
mod output;
mod progress;
mod replayed;
mod sizes;
mod store;
mod text;
mod times;
mod watch;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::{Exit, Fail};
use crate::note::note;
use crate::output::Out;

/// Does what the arguments of this process say.
pub fn run() -> ExitCode {
    let cli = args::Cli::parse();
    let out = Out::new(cli.globals.json);
    let outcome = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let outcome = runtime.block_on(commands::dispatch(cli, &out));
            // Threads of steps that do not listen must not hold the process.
            runtime.shutdown_background();
            outcome
        }
        Err(error) => Err(Fail::new(Exit::Unreachable, format!("no threads can be had: {error}"))),
    };
    match outcome {
        Ok(exit) => exit.code(),
        Err(fail) => {
            note(format!("error: {}", fail.message));
            fail.exit.code()
        }
    }
}
