//! Stopping a host: its threads end one after the other, the committer last.

use std::sync::Arc;
use std::sync::atomic::Ordering;
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
        host.life.drained.cancel();
        host.runtime.claimer.wake();
        for claim in host.runtime.delayed.take_all() {
            let write = Write::Release { run: claim.run.clone(), fence: claim.fence };
            host.store.write(write, Then::Reply(oneshot::channel().0));
        }
        host.store.close();
        end(&host);
        host.life.closing.cancel();
    };
    let _ = host.tokio.spawn_blocking(stop).await;
}

/// How long a world behind a network has for the last writes of a host that stops. If it is away they would wait for it for ever.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Waits for the threads that need the world to the end, and leaves it.
fn end(host: &Shared) {
    let claimer: Vec<_> = host.life.claimer.lock().take().into_iter().collect();
    let committer = host.life.committer.lock().take();
    if !host.store.is_local && !ended(claimer.iter().chain(&committer), LAST_WRITES) {
        tracing::warn!(
            "the world does not answer, and the host stops: what was not written within {LAST_WRITES:?} is given up; what it was done \
             for is taken up again by the next host"
        );
        host.life.cut_off.store(true, Ordering::SeqCst);
        host.store.world.close();
    }
    join(claimer, host.config.drain + host.config.grace);
    if let Some(committer) = committer {
        let _ = committer.join();
    }
    if host.life.cut_off.load(Ordering::SeqCst) {
        return;
    }
    if host.life.failure().is_none() {
        // What is left of this host ends with its lease, its duties at once.
        let _ = host.store.world.leave(&host.store.lease.holder());
    }
    if !host.store.is_local {
        host.store.world.close();
    }
}

/// Whether all have ended by then.
fn ended<'a>(threads: impl Iterator<Item = &'a JoinHandle<()>> + Clone, within: Duration) -> bool {
    let began = Instant::now();
    loop {
        if threads.clone().all(JoinHandle::is_finished) {
            return true;
        }
        if began.elapsed() >= within {
            return false;
        }
        std::thread::sleep(LOOK);
    }
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
