//! Who this host is to the world, and how long it may take that for true.
//!
//! Hosts that share a world tell it again and again that they live. One that is not heard of for a lease is dead for the others, as a
//! whole and for good. It may live on, having been stopped or cut off: then it must begin nothing that another host may have begun
//! again, and when it hears of its death it drops all runs that it has and goes on under another name.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use durhai_world::{Claim, Holder};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Of a lease, in tenths: how long after the sending of a sign of life the host may still begin effects. The others wait for
/// a whole lease from when they saw it.
const TRUST: u32 = 9;

/// Which of its names a host had: it has another one after each death in the eyes of the others, and what it claimed before is
/// not its own any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

/// A claim of this host, and under which name it was asked for.
#[derive(Debug, Clone)]
pub(crate) struct OwnClaim {
    pub claim: Claim,
    pub epoch: Epoch,
}

impl Deref for OwnClaim {
    type Target = Claim;

    fn deref(&self) -> &Claim {
        &self.claim
    }
}

pub(crate) struct Lease {
    holder: Mutex<(Holder, Epoch)>,
    /// For worlds of one process the end of the process ends all claims, and nothing before it.
    trusts_always: bool,
    /// Until when effects may begin.
    trust: Mutex<Option<Instant>>,
    renewed: watch::Sender<()>,
    /// When the last sign of life was sent that was answered.
    heard: Mutex<Option<Instant>>,
    /// How often the host was declared dead.
    resets: AtomicU64,
}

impl Lease {
    /// `shared`: hosts of other processes may declare this one dead.
    pub fn new(holder: Holder, shared: bool) -> Self {
        Lease {
            holder: Mutex::new((holder, Epoch(0))),
            trusts_always: !shared,
            trust: Mutex::new(None),
            renewed: watch::channel(()).0,
            heard: Mutex::new(None),
            resets: AtomicU64::new(0),
        }
    }

    pub fn holder(&self) -> Holder {
        self.holder.lock().0.clone()
    }

    /// Who this host is, and since which of its names: to be asked for before a claim is.
    pub fn identity(&self) -> (Holder, Epoch) {
        self.holder.lock().clone()
    }

    /// Whether what was claimed then is lost with the name it was claimed under.
    pub fn is_over(&self, epoch: Epoch) -> bool {
        self.holder.lock().1 != epoch
    }

    /// The time between two signs of life.
    pub fn beat(&self) -> Duration {
        self.length() / 3
    }

    pub fn length(&self) -> Duration {
        Duration::from_millis(self.holder.lock().0.lease)
    }

    /// The world has heard, of a sign of life that was sent then.
    pub fn renewed(&self, sent: Instant) {
        *self.trust.lock() = Some(sent + self.length() * TRUST / 10);
        *self.heard.lock() = Some(sent);
        self.renewed.send_replace(());
    }

    /// The host was declared dead, and goes on under this name. Effects of runs that it claimed before never begin.
    pub fn begin_anew(&self, name: String) {
        *self.trust.lock() = None;
        self.resets.fetch_add(1, Ordering::Relaxed);
        {
            let mut holder = self.holder.lock();
            holder.0.name = name.into();
            holder.1.0 += 1;
        }
        self.renewed.send_replace(());
    }

    /// Hosts of other processes may declare this one dead.
    pub fn is_shared(&self) -> bool {
        !self.trusts_always
    }

    /// How long ago the last sign of life was sent that was answered; none before the first.
    pub fn age(&self) -> Option<Duration> {
        self.heard.lock().map(|sent| sent.elapsed())
    }

    /// The host was declared dead, and has not been heard of under its new name.
    pub fn is_renamed(&self) -> bool {
        self.resets() > 0 && self.trust.lock().is_none()
    }

    /// How often the host was declared dead.
    pub fn resets(&self) -> u64 {
        self.resets.load(Ordering::Relaxed)
    }

    /// Whether an effect of a run that was claimed then may begin: no other host can have it. `None`: not now, as this host was not
    /// heard of for long.
    pub fn trusts(&self, epoch: Epoch) -> Option<bool> {
        // Trust first: a sign of life of a later name counts for nothing that was claimed under this one.
        let trusted = self.trusts_always || self.trust.lock().is_some_and(|until| Instant::now() < until);
        if self.is_over(epoch) {
            return Some(false);
        }
        trusted.then_some(true)
    }

    /// Waits until an effect of a run that was claimed then may begin; `false`: it never may.
    pub async fn trusted(&self, epoch: Epoch) -> bool {
        let mut renewed = self.renewed.subscribe();
        loop {
            if let Some(answer) = self.trusts(epoch) {
                return answer;
            }
            if renewed.changed().await.is_err() {
                return false;
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
        let lease = lease(false);
        assert_eq!(lease.trusts(lease.identity().1), Some(true));
    }

    #[test]
    fn trust_counts_from_the_sending() {
        let lease = lease(true);
        let (_, first) = lease.identity();
        assert_eq!(lease.trusts(first), None, "nothing was heard yet");
        lease.renewed(Instant::now());
        assert_eq!(lease.trusts(first), Some(true));
        let long_ago = Instant::now() - Duration::from_secs(59 * 60);
        lease.renewed(long_ago);
        assert_eq!(lease.trusts(first), None, "the answer took nearly as long as the lease");
    }

    #[test]
    fn what_was_claimed_under_a_name_that_is_dead_is_never_trusted_again() {
        for shared in [true, false] {
            let lease = lease(shared);
            let (_, first) = lease.identity();
            lease.renewed(Instant::now());
            lease.begin_anew("b".into());
            assert_eq!(lease.trusts(first), Some(false));
            let (holder, second) = lease.identity();
            assert_eq!(&*holder.name, "b");
            assert_eq!(lease.trusts(second), (!shared).then_some(true), "nothing was heard of this name yet");
            lease.renewed(Instant::now());
            assert_eq!((lease.trusts(first), lease.trusts(second)), (Some(false), Some(true)));
        }
    }

    #[tokio::test]
    async fn what_waits_for_trust_goes_on_with_the_next_sign_of_life() {
        let lease = lease(true);
        let (_, first) = lease.identity();
        let waits = lease.trusted(first);
        tokio::pin!(waits);
        assert!(futures_now(waits.as_mut()).await.is_none());
        lease.renewed(Instant::now());
        assert!(waits.await);
    }

    #[tokio::test]
    async fn what_waits_for_trust_is_lost_with_the_name_it_was_claimed_under() {
        let lease = lease(true);
        let (_, first) = lease.identity();
        let waits = lease.trusted(first);
        tokio::pin!(waits);
        assert!(futures_now(waits.as_mut()).await.is_none());
        lease.begin_anew("b".into());
        lease.renewed(Instant::now());
        assert!(!waits.await);
    }

    /// What a future gives at once.
    async fn futures_now<F: Future + Unpin>(future: F) -> Option<F::Output> {
        tokio::time::timeout(Duration::ZERO, future).await.ok()
    }
}
