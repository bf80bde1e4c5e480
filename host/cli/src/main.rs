//! The `durhai` command.

use std::process::ExitCode;

/// The store copies small nodes at every commit; with the C library's allocator a third of the time goes into that.
/// What scripts hold is counted on the way.
#[global_allocator]
static ALLOCATOR: durhai::CountingAllocator<mimalloc::MiMalloc> = durhai::CountingAllocator::new(mimalloc::MiMalloc);

fn main() -> ExitCode {
    durhai_cli::run()
}
