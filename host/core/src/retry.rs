//! When a failed attempt is made again.

use crate::Millis;
use crate::options::RetryPolicy;

/// The wait after the `failures`-th failed attempt (from 1), before jitter: `initial × factor^(failures-1)`, at most
/// `max`.
pub fn backoff(policy: &RetryPolicy, failures: u32) -> Millis {
    let exponent = failures.saturating_sub(1).min(1_000) as i32;
    let wait = policy.initial as f64 * policy.factor.powi(exponent);
    // A factor below 1 or an overflow to infinity still gives a number between 0 and `max`.
    wait.clamp(0.0, policy.max as f64) as Millis
}

/// [`backoff`] shortened by `draw` (0 to 1, from the run's seed) of the part that jitter may take.
pub fn wait(policy: &RetryPolicy, failures: u32, draw: f64) -> Millis {
    let full = backoff(policy, failures) as f64;
    (full * (1.0 - policy.jitter.clamp(0.0, 1.0) * draw.clamp(0.0, 1.0))).round() as Millis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_limit() {
        let policy = RetryPolicy { max: 10_000, ..RetryPolicy::default() };
        let waits: Vec<_> = (1..=6).map(|n| backoff(&policy, n)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(backoff(&policy, u32::MAX), 10_000);
    }

    #[test]
    fn jitter_only_shortens() {
        let policy = RetryPolicy { jitter: 0.5, ..RetryPolicy::default() };
        assert_eq!(wait(&policy, 1, 0.0), 1_000);
        assert_eq!(wait(&policy, 1, 1.0), 500);
        assert_eq!(wait(&RetryPolicy { jitter: 0.0, ..policy }, 1, 1.0), 1_000);
    }
}
