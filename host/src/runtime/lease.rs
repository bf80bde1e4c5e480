//! Who this host is to the world, and how long it may take that for true.
//!
//! Hosts that share a world tell it again and again that they live. One that is not heard of for a lease is dead for the others, as a
//! whole and for good. It may live on, having been stopped or cut off: then it must begin nothing that another host may have begun
//! again, and when it hears of its death it drops all runs that it has and goes on under another name.

use std::time::{Duration, Instant};

use durhai_world::Holder;
use parking_lot::Mutex;
use tokio::sync::watch;

/// Of a lease, in tenths: how long after the sending of a sign of life the host may still begin effects. The others wait for
/// a whole lease from when they saw it.
const TRUST: u32 = 9;

pub(crate) struct Lease {
    holder: Mutex<Holder>,
    /// For worlds of one process the end of the process ends all claims, and nothing before it.
    trusts_always: bool,
    /// Until when effects may begin.
    trust: Mutex<Option<Instant>>,
    renewed: watch::Sender<()>,
}

impl Lease {
    /// `shared`: hosts of other processes may declare this one dead.
    pub fn new(holder: Holder, shared: bool) -> Self {
        Lease {
            holder: Mutex::new(holder),
            trusts_always: !shared,
            trust: Mutex::new(None),
            renewed: watch::channel(()).0,
        }
    }

    pub fn holder(&self) -> Holder {
        self.holder.lock().clone()
    }

    /// The time between two signs of life.
    pub fn beat(&self) -> Duration {
        self.length() / 3
    }

    pub fn length(&self) -> Duration {
        Duration::from_millis(self.holder.lock().lease)
    }

    /// The world has heard, of a sign of life that was sent then.
    pub fn renewed(&self, sent: Instant) {
        *self.trust.lock() = Some(sent + self.length() * TRUST / 10);
        self.renewed.send_replace(());
    }

    /// The host was declared dead, and goes on under this name.
    pub fn begin_anew(&self, name: String) {
        *self.trust.lock() = None;
        self.holder.lock().name = name.into();
    }

    /// Whether an effect may begin: no other host can have this one's runs.
    pub fn is_trusted(&self) -> bool {
        self.trusts_always || self.trust.lock().is_some_and(|until| Instant::now() < until)
    }

    /// Until an effect may begin.
    pub async fn trusted(&self) {
        let mut renewed = self.renewed.subscribe();
        while !self.is_trusted() {
            if renewed.changed().await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(shared: bool) -> Lease {
        Lease::new(Holder { name: "a".into(), lease: 3_600_000 }, shared)
    }

    #[test]
    fn a_host_of_a_world_of_its_own_is_always_trusted() {
        assert!(lease(false).is_trusted());
    }

    #[test]
    fn trust_counts_from_the_sending() {
        let lease = lease(true);
        assert!(!lease.is_trusted(), "nothing was heard yet");
        lease.renewed(Instant::now());
        assert!(lease.is_trusted());
        let long_ago = Instant::now() - Duration::from_secs(59 * 60);
        lease.renewed(long_ago);
        assert!(!lease.is_trusted(), "the answer took nearly as long as the lease");
        lease.renewed(Instant::now());
        lease.begin_anew("b".into());
        assert!(!lease.is_trusted());
        assert_eq!(&*lease.holder().name, "b");
    }

    #[tokio::test]
    async fn what_waits_for_trust_goes_on_with_the_next_sign_of_life() {
        let lease = lease(true);
        let waits = lease.trusted();
        tokio::pin!(waits);
        assert!(futures_now(waits.as_mut()).await.is_none());
        lease.renewed(Instant::now());
        waits.await;
    }

    /// What a future gives at once.
    async fn futures_now<F: Future + Unpin>(future: F) -> Option<F::Output> {
        tokio::time::timeout(Duration::ZERO, future).await.ok()
    }
}
