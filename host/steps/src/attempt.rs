//! One attempt of a step, as the script sees it from inside: who it is, and when it must end.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use durhai::{StepContext, Value};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

/// A script that asks `is_cancelled()` is taken at its word and given this long to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// The attempt that runs, as its script is told of it.
pub struct Caller {
    pub run_id: String,
    pub step_id: String,
    pub workflow: String,
    /// The name it was called by.
    pub step: String,
    pub key: String,
    pub attempt: u32,
    /// The span of the attempt.
    pub traceparent: String,
    pub tell: Box<dyn Fn(Progress) + Send + Sync>,
}

/// What a script reports while it runs.
#[derive(Debug, PartialEq)]
pub enum Progress {
    Log { level: String, message: String, fields: Value },
    Heartbeat(Value),
}

/// Ends a script, also while it sleeps.
#[derive(Debug)]
pub struct Stop {
    asked: Mutex<Option<Instant>>,
    woken: Condvar,
    /// The same for calls that wait in a future.
    called: Notify,
    /// The script looks at `is_cancelled()`.
    polite: AtomicBool,
    /// A limit that was broken: there is no way back.
    broken: OnceLock<End>,
    deadline: Instant,
}

/// Why a script must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The host does not want the result any more.
    Asked,
    /// The time limit of steps in scripts.
    Deadline,
    /// The host takes more memory than it may.
    Memory,
    /// It took more operations than an attempt may take.
    Operations,
}

impl Caller {
    pub fn new(context: &StepContext) -> Self {
        let told = context.clone();
        Caller {
            run_id: context.run_id().to_string(),
            step_id: context.step_id().to_string(),
            workflow: context.workflow().into(),
            step: context.name().into(),
            key: context.idempotency_key(),
            attempt: context.attempt(),
            traceparent: context.traceparent(),
            tell: Box::new(move |word| match word {
                Progress::Log { level, message, fields } => told.log_with(&level, message, fields),
                Progress::Heartbeat(detail) => told.heartbeat(detail),
            }),
        }
    }

    pub fn log(&self, level: &str, message: String, fields: Value) {
        (self.tell)(Progress::Log { level: level.into(), message, fields });
    }
}

impl Stop {
    pub fn after(limit: Duration) -> Self {
        let now = Instant::now();
        let deadline = now.checked_add(limit).unwrap_or(now + Duration::from_secs(u32::MAX.into()));
        Stop {
            asked: Mutex::new(None),
            woken: Condvar::new(),
            called: Notify::new(),
            polite: AtomicBool::new(false),
            broken: OnceLock::new(),
            deadline,
        }
    }

    /// Wakes a sleeping script; one that runs notices within a few operations.
    pub fn ask(&self) {
        self.asked().get_or_insert_with(Instant::now);
        self.woken.notify_all();
        self.called.notify_waiters();
    }

    /// Resolves when a call of the script that waits for a service or a program must end: when it is asked to stop, or as late after
    /// that as it may take to end by itself, and at the time limit.
    pub async fn ended(&self) {
        let called = self.called.notified();
        if self.asked().is_none() {
            tokio::select! {
                () = called => {}
                () = tokio::time::sleep_until(self.deadline.into()) => {}
            }
        }
        let end = self.asked().map_or(self.deadline, |asked| self.deadline.min(asked + self.patience()));
        if Instant::now() < end {
            tokio::time::sleep_until(end.into()).await;
        }
    }

    /// What the script is told; from now on it is trusted to end by itself.
    pub fn is_asked(&self) -> bool {
        self.polite.store(true, Ordering::Relaxed);
        self.asked().is_some()
    }

    /// It must end at once, whatever it says to that.
    pub fn break_off(&self, limit: End) {
        let _ = self.broken.set(limit);
    }

    pub fn must_end(&self) -> Option<End> {
        if let Some(limit) = self.broken.get() {
            return Some(*limit);
        }
        let now = Instant::now();
        if now >= self.deadline {
            return Some(End::Deadline);
        }
        self.asked().is_some_and(|asked| now >= asked + self.patience()).then_some(End::Asked)
    }

    /// Waits so long, or until it is asked to stop or the time limit is reached.
    pub fn sleep(&self, wait: Duration) {
        let now = Instant::now();
        let until = now.checked_add(wait).map_or(self.deadline, |until| until.min(self.deadline));
        let mut asked = self.asked();
        while asked.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.woken.wait_for(&mut asked, left);
        }
    }

    /// How long after it was asked it may go on.
    fn patience(&self) -> Duration {
        if self.polite.load(Ordering::Relaxed) { PATIENCE } else { Duration::ZERO }
    }

    fn asked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.asked.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_woken() {
        let stop = Stop::after(Duration::from_secs(3_600));
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| stop.sleep(Duration::from_secs(3_000)));
            stop.ask();
            sleeper.join().unwrap();
        });
        assert_eq!(stop.must_end(), Some(End::Asked));
    }

    #[test]
    fn who_asks_is_given_time() {
        let stop = Stop::after(Duration::from_secs(3_600));
        assert!(!stop.is_asked());
        stop.ask();
        assert!(stop.is_asked());
        assert_eq!(stop.must_end(), None);
    }

    #[tokio::test]
    async fn calls_of_a_script_that_asks_end_with_its_patience() {
        async fn has_ended(stop: &Stop) -> bool {
            tokio::select! {
                biased;
                () = stop.ended() => true,
                () = tokio::task::yield_now() => false,
            }
        }
        let (rude, polite) = (Stop::after(Duration::from_secs(3_600)), Stop::after(Duration::from_secs(3_600)));
        assert!(!polite.is_asked());
        for stop in [&rude, &polite] {
            assert!(!has_ended(stop).await);
            stop.ask();
        }
        assert!(has_ended(&rude).await);
        assert!(!has_ended(&polite).await);
        *polite.asked() = Instant::now().checked_sub(PATIENCE);
        assert!(has_ended(&polite).await);
    }

    #[test]
    fn the_limit_ends_everything() {
        let stop = Stop::after(Duration::ZERO);
        stop.sleep(Duration::MAX);
        assert_eq!(stop.must_end(), Some(End::Deadline));
        assert_eq!(Stop::after(Duration::MAX).must_end(), None);
    }
}
