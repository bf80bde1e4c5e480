//! The work that is measured: `durhai bench` tells what the whole does on a machine, the benches in `benches/` time its parts.
//! Both stand on this, so that they measure the same.

pub mod child;
pub mod commits;
pub mod compat;
pub mod figures;
pub mod floor;
pub mod hosts;
pub mod live;
pub mod logs;
pub mod memory;
pub mod recovery;
pub mod replay;

use std::path::Path;

/// What a [`child`] does.
pub async fn run_child(what: &str, dir: &Path, count: usize) -> anyhow::Result<()> {
    match what {
        "prepare" | "recover" => recovery::run(what == "prepare", dir, count).await,
        "live" | "evict" => memory::run(what == "evict", dir, count).await,
        other => anyhow::bail!("there is no child {other:?}"),
    }
}
