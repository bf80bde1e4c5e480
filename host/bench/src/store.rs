//! A host on a store, with nothing on its way when it is measured.

use std::future::Future;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use durhai::{Host, HostBuilder, Query, SledWorld, Status};
use tokio::task::JoinSet;

use crate::progress::Progress;

/// How often it is looked whether something has come to its end.
const LOOK: Duration = Duration::from_millis(20);

/// Starts of runs that are under way at a time.
const AT_A_TIME: usize = 1_000;

/// A host and its store.
pub struct Stored {
    pub host: Host,
    world: Arc<SledWorld>,
}

impl Stored {
    pub async fn start(builder: HostBuilder, dir: &Path) -> anyhow::Result<Self> {
        let world = Arc::new(SledWorld::open(dir)?);
        let host = builder.shared_world(world.clone()).start().await?;
        Ok(Stored { host, world })
    }

    /// Until what was written has come to its last place: until then it takes memory and files of the journal, and neither
    /// is what a run costs.
    pub async fn settled(&self) -> anyhow::Result<()> {
        while self.world.unsettled() > 0 {
            self.alive()?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Until no run goes on.
    pub async fn at_rest(&self) -> anyhow::Result<()> {
        let going = || Query { status: vec![Status::Pending, Status::Running], limit: 1, ..Query::default() };
        while !self.host.list(going()).await?.runs.is_empty() {
            self.alive()?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Until so many runs are in memory.
    pub async fn live(&self, runs: usize) -> anyhow::Result<()> {
        while self.host.stats().live != runs as u64 {
            self.alive()?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Until no more runs than that are in memory.
    pub async fn at_most(&self, runs: usize) -> anyhow::Result<()> {
        while self.host.stats().live > runs as u64 {
            self.alive()?;
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// Stops the host and closes the store, after which all that was written is in its last place. How long it took.
    pub async fn close(self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let Stored { host, world } = self;
        host.shutdown().await;
        drop(host);
        let closing = tokio::task::spawn_blocking(|| Arc::into_inner(world).map(drop));
        anyhow::ensure!(closing.await?.is_some(), "the host has stopped and still holds its store");
        Ok(began.elapsed())
    }

    fn alive(&self) -> anyhow::Result<()> {
        self.host.health().error.map_or(Ok(()), |error| Err(anyhow::anyhow!("the host has failed: {error}")))
    }
}

/// Does something with each number, many at a time; what is in memory of them is bounded.
pub async fn each<F>(
    numbers: Range<usize>,
    progress: &mut Progress<'_>,
    begin: impl Fn(usize) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut going = JoinSet::new();
    let mut done = numbers.start;
    for number in numbers {
        going.spawn(begin(number));
        while going.len() >= AT_A_TIME {
            going.join_next().await.expect("there is one")??;
            done += 1;
            progress.at(done);
        }
    }
    while let Some(ended) = going.join_next().await {
        ended??;
    }
    Ok(())
}
