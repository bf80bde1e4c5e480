//! Runs that somebody here follows and that live elsewhere: in another host, which tells this one nothing.
//!
//! While anybody follows, the world is looked at again and again, for all those runs with one question, and each run the less often
//! the longer nothing happened to it. What lives in this host is left out: its commits are heard of at once. The looks go by the
//! machine's time: it is another process that is looked after, whatever the clock of this host says.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use durhai_core::RunId;
use durhai_world::Standing;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::runtime::command::WorkerCommand;
use crate::runtime::workers::Workers;
use crate::shared::Shared;

/// The time between two looks at a run: the shortest, after something happened, and the longest.
pub(crate) const LOOK_AGAIN: std::ops::RangeInclusive<Duration> = Duration::from_millis(250)..=Duration::from_secs(1);

/// Runs that are to be looked at a little later are looked at with the others.
const TOGETHER: Duration = Duration::from_millis(100);

/// How long a worker that computes has to say which runs it has.
const PATIENCE: Duration = Duration::from_millis(500);

/// The runs that are followed.
#[derive(Default)]
pub(crate) struct Elsewhere(Mutex<Table>);

#[derive(Default)]
struct Table {
    followed: HashMap<RunId, Followed>,
    /// There is a task that looks.
    looks: bool,
}

struct Followed {
    news: watch::Sender<()>,
    seen: Option<Standing>,
    wait: Duration,
    next: Instant,
}

/// Hears of a run that lives in another host, see [`Run::follow`](crate::Run::follow). While there is one, the world is looked at
/// for the run, four times a second at most.
#[derive(Debug)]
pub struct Follower(watch::Receiver<()>);

impl Follower {
    /// Until the run may have changed in another host. Whoever looks at it after this missed nothing of what was before. Nothing is
    /// lost if the future is dropped.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The host is gone.
            std::future::pending().await
        }
    }
}

/// The same, where anybody follows.
pub(crate) async fn changed(following: Option<&mut Follower>) {
    match following {
        Some(following) => following.changed().await,
        None => std::future::pending().await,
    }
}

/// Follows a run. What happened before this may be told of or not: look at the run after it.
pub(crate) fn follow(host: &Arc<Shared>, run: &RunId) -> Follower {
    let mut table = host.runtime.elsewhere.0.lock();
    let followed = table.followed.entry(run.clone()).or_insert_with(|| {
        let wait = *LOOK_AGAIN.start();
        Followed { news: watch::channel(()).0, seen: None, wait, next: Instant::now() + wait }
    });
    let mut changes = followed.news.subscribe();
    changes.mark_unchanged();
    if !std::mem::replace(&mut table.looks, true) {
        let weak = Arc::downgrade(host);
        let closing = host.life.closing.clone();
        host.tokio.spawn(async move {
            while let Some(host) = weak.upgrade()
                && let Some(next) = host.runtime.elsewhere.next()
            {
                drop(host);
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = closing.cancelled() => return,
                }
                let Some(host) = weak.upgrade() else { return };
                look(&host).await;
            }
        });
    }
    Follower(changes)
}

/// Looks at the runs that are due.
async fn look(host: &Arc<Shared>) {
    let elsewhere = &host.runtime.elsewhere;
    let due = elsewhere.take_due();
    let here = living_here(&host.runtime.workers, &due).await;
    let away: Vec<_> = due.into_iter().filter(|run| !here.contains(run)).collect();
    if away.is_empty() {
        return;
    }
    let asked = away.clone();
    match host.store.blocking(move |world| world.standings(&asked)).await {
        Ok(standings) => elsewhere.tell(away.into_iter().zip(standings)),
        // It is looked at again, or the host stops.
        Err(error) => tracing::debug!("runs of other hosts cannot be looked at: {error}"),
    }
}

/// Those of the runs that are in this host's memory.
async fn living_here(workers: &Workers, runs: &[RunId]) -> HashSet<RunId> {
    let mut by_worker: HashMap<usize, Vec<RunId>> = HashMap::new();
    for run in runs {
        by_worker.entry(workers.of(run)).or_default().push(run.clone());
    }
    let ask = |(worker, runs)| {
        let (reply, answer) = oneshot::channel();
        workers.send(worker, WorkerCommand::WhoIsHere { runs, reply });
        answer
    };
    let asked: Vec<_> = by_worker.into_iter().map(ask).collect();
    let until = Instant::now() + PATIENCE;
    let mut here = HashSet::new();
    for answer in asked {
        // Where none comes the world is asked.
        if let Ok(Ok(runs)) = tokio::time::timeout_at(until, answer).await {
            here.extend(runs);
        }
    }
    here
}

impl Elsewhere {
    /// When it is to be looked next. `None`: nobody follows any more, and who begins to starts another task.
    fn next(&self) -> Option<Instant> {
        let mut table = self.0.lock();
        table.followed.retain(|_, followed| followed.news.receiver_count() > 0);
        let next = table.followed.values().map(|followed| followed.next).min();
        table.looks = next.is_some();
        next
    }

    /// The runs that are due, which are looked at less often from now on.
    fn take_due(&self) -> Vec<RunId> {
        let now = Instant::now();
        let mut table = self.0.lock();
        let due = table.followed.iter_mut().filter(|(_, followed)| followed.next <= now + TOGETHER);
        due.map(|(run, followed)| {
            followed.wait = (followed.wait * 2).min(*LOOK_AGAIN.end());
            followed.next = now + followed.wait;
            run.clone()
        })
        .collect()
    }

    fn tell(&self, found: impl Iterator<Item = (RunId, Option<Standing>)>) {
        let now = Instant::now();
        let mut table = self.0.lock();
        for (run, standing) in found {
            let Some(followed) = table.followed.get_mut(&run) else { continue };
            // At the first look it is not known what its followers know.
            if followed.seen.is_some() && followed.seen == standing {
                continue;
            }
            followed.seen = standing;
            followed.wait = *LOOK_AGAIN.start();
            followed.next = now + followed.wait;
            followed.news.send_replace(());
        }
    }
}
