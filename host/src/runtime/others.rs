//! Which hosts there are, and which of them holds a run: for people.

use std::sync::Arc;

use durhai_core::RunId;
use durhai_world::{HostId, HostSeen, World, WorldError};

use crate::error::HostError;
use crate::shared::Shared;
use crate::view::{HolderView, HostView};

/// The number of the only host of a world that knows none.
const ALONE: u64 = 1;

/// See [`Host::hosts`](crate::Host::hosts).
pub(crate) async fn hosts(host: &Arc<Shared>, all: bool) -> Result<Vec<HostView>, HostError> {
    let own = host.store.lease.holder();
    let seen = host.store.blocking(move |world| world.hosts(all)).await?;
    if seen.is_empty() {
        let HolderView { id, label, here } = alone();
        return Ok(vec![HostView {
            id,
            label,
            since: host.observe.meters.started_at,
            alive: true,
            lease: own.lease,
            runs: host.observe.counters.stats().live,
            here,
        }]);
    }
    let view = |HostSeen { host: HostId { number: id, name, label }, since, alive, lease, runs }| HostView {
        id,
        label,
        since,
        alive,
        lease,
        runs,
        here: name == own.name,
    };
    Ok(seen.into_iter().map(view).collect())
}

/// The host that holds a run, where the world can tell.
pub(crate) fn holder(world: &dyn World, own: &str, run: &RunId) -> Result<Option<HolderView>, WorldError> {
    let found = world.holders(std::slice::from_ref(run))?.pop().flatten();
    Ok(found.map(|HostId { number: id, name, label }| HolderView { id, label, here: *name == *own }))
}

/// This host, in a world that knows no others.
pub(crate) fn alone() -> HolderView {
    let label = format!("durhai {}, process {}", env!("CARGO_PKG_VERSION"), std::process::id());
    HolderView { id: ALONE, label, here: true }
}
