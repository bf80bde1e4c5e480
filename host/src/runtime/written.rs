//! Whether other hosts wrote anything, for those who look on at all runs: what happens in another host nobody tells this one.
//!
//! While anybody looks on, the world is asked twice a second with one small question. It says that something was written, not what.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::shared::Shared;

/// The time between two looks.
pub(crate) const LOOK: Duration = Duration::from_millis(500);

/// The way to those who look on; none while there is nobody.
#[derive(Default)]
pub(crate) struct Written(Mutex<Option<watch::Sender<()>>>);

/// Hears that other hosts of the world wrote something, see [`Host::follow_others`](crate::Host::follow_others).
#[derive(Debug)]
pub struct Others(watch::Receiver<()>);

impl Others {
    /// Until another host may have written something. Whoever looks after this missed nothing of what was before. In a world that is
    /// not shared this never comes. Nothing is lost if the future is dropped.
    pub async fn wrote(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// What was written before this may be told of or not: look at the runs after it.
pub(crate) fn follow(host: &Arc<Shared>) -> Others {
    if host.store.is_local {
        return Others(watch::channel(()).1);
    }
    let mut place = host.runtime.written.0.lock();
    if let Some(news) = &*place {
        return Others(news.subscribe());
    }
    let (news, changes) = watch::channel(());
    *place = Some(news);
    let weak = Arc::downgrade(host);
    let closing = host.life.closing.clone();
    host.tokio.spawn(async move {
        let mut known = None;
        while let Some(host) = weak.upgrade()
            && host.runtime.written.is_wanted()
        {
            match host.store.blocking(|world| world.written()).await {
                // At first it is not known what those who look on know.
                Ok(now) if known != Some(now) => {
                    known = Some(now);
                    host.runtime.written.tell();
                }
                Ok(_) => {}
                // It is asked again, or the host stops.
                Err(error) => tracing::debug!("it is not known whether other hosts wrote anything: {error}"),
            }
            drop(host);
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = closing.cancelled() => return,
            }
        }
    });
    Others(changes)
}

impl Written {
    /// Whether anybody looks on. If not, the next one who begins to starts another task.
    fn is_wanted(&self) -> bool {
        let mut place = self.0.lock();
        let wanted = place.as_ref().is_some_and(|news| news.receiver_count() > 0);
        if !wanted {
            *place = None;
        }
        wanted
    }

    fn tell(&self) {
        if let Some(news) = &*self.0.lock() {
            news.send_replace(());
        }
    }
}
