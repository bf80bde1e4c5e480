//! Time, as the host sees it.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use durhai_core::Millis;

/// Where a host takes the time from. The default is [`SystemClock`]; tests bring one that jumps.
pub trait Clock: Send + Sync + 'static {
    /// Now, in milliseconds since the Unix epoch.
    fn now(&self) -> Millis;

    /// How long a thread may sleep before it looks at the clock again, if it waits for `until`.
    fn time_until(&self, until: Millis) -> Duration {
        Duration::from_millis(until.saturating_sub(self.now()))
    }

    /// Resolves when so much time has passed: what `timeout` and `deadline` of a step are measured with. Default: on the
    /// machine's clock.
    fn sleep(&self, wait: Duration) -> Nap {
        Box::pin(tokio::time::sleep(wait))
    }

    /// Registers a listener that is told when the clock jumps.
    fn on_jump(&self, _wake: Box<dyn Fn() + Send + Sync>) {}
}

/// What [`Clock::sleep`] gives.
pub type Nap = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Millis {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
    }
}
