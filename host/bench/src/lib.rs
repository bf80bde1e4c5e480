//! The work that is measured: `durhai bench` tells what the whole does on a machine, the benches in `benches/` time its parts.
//! Both stand on this, so that they measure the same. What the figures mean is told in `host/docs/bench.md`.

mod asleep;
pub mod child;
pub mod commits;
pub mod compat;
mod crowd;
pub mod figures;
pub mod floor;
pub mod hosts;
mod live;
pub mod logs;
mod lone;
mod memory;
pub mod progress;
mod recovery;
mod replay;
pub mod section;
mod shared;
pub mod sizes;
mod sleepers;
mod store;
mod sustained;
mod usage;

use std::path::Path;

use crate::progress::Say;

/// What a [`child`] does. It ends with the process that started it.
pub async fn run_child(what: &str, dir: &Path, count: usize, say: Say<'_>) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    if let Some(kind) = memory::Kind::ALL.into_iter().find(|kind| kind.name() == what) {
        return memory::run(kind, dir, count, say).await;
    }
    match what {
        "prepare" | "recover" => recovery::run(what == "prepare", dir, count).await,
        "crowd" => crowd::run(dir, count, say).await,
        "sustained" => sustained::run(dir, count, say).await,
        "sleep" => sleepers::sleep(dir, count, say).await,
        "wake" => sleepers::wake(dir, count).await,
        other => anyhow::bail!("there is no child {other:?}"),
    }
}
