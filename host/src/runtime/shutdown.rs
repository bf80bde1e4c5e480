//! Stopping a host: its threads end one after the other, the committer last.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use durhai_world::Write;
use tokio::sync::oneshot;

use crate::runtime::command::WorkerCommand;
use crate::runtime::job::Then;
use crate::shared::Shared;

/// See [`Host::shutdown`](crate::Host::shutdown).
pub(crate) async fn shutdown(host: &Arc<Shared>) {
    host.life.stopping.cancel();
    host.runtime.wake_sleepers();
    host.runtime.watcher.stop();
    for worker in 0..host.runtime.workers.count() {
        host.runtime.workers.send(worker, WorkerCommand::Drain);
    }
    let shared = host.clone();
    let stop = move || {
        let host = shared;
        let threads = std::mem::take(&mut *host.life.threads.lock());
        join(threads, host.config.drain + host.config.grace);
        for claim in host.runtime.delayed.take_all() {
            let write = Write::Release { run: claim.run.clone(), fence: claim.fence };
            host.store.write(write, Then::Reply(oneshot::channel().0));
        }
        host.store.close();
        if let Some(committer) = host.life.committer.lock().take() {
            let _ = committer.join();
        }
        if host.life.failure().is_none() {
            // What is left of this host ends with its lease, its duties at once.
            let _ = host.store.world.leave(&host.store.lease.holder());
        }
        host.life.closing.cancel();
    };
    let _ = host.tokio.spawn_blocking(stop).await;
}

/// How often threads are looked at that should have ended.
const LOOK: Duration = Duration::from_millis(5);

/// Waits for the ends of threads, at most so long; the rest are left behind.
fn join(threads: Vec<JoinHandle<()>>, timeout: Duration) {
    let began = Instant::now();
    for thread in threads {
        while !thread.is_finished() && began.elapsed() < timeout {
            std::thread::sleep(LOOK);
        }
        if thread.is_finished() {
            let _ = thread.join();
        } else {
            let name = thread.thread().name().unwrap_or("durhai").to_owned();
            tracing::error!(
                "the thread {name} does not come back: a native function, or a write of the world, takes longer than {} s. It \
                 is left behind; what it holds can be taken up again",
                timeout.as_secs()
            );
        }
    }
}
