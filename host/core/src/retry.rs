//! When a failed attempt is made again.

use crate::Millis;
use crate::options::RetryPolicy;

/// The wait after the `failures`-th failed attempt (from 1), before jitter: `initial × factor^(failures-1)`, at most
/// what [`RetryPolicy::longest`] says.
pub fn backoff(policy: &RetryPolicy, failures: u32) -> Millis {
    let exponent = failures.saturating_sub(1).min(1_000) as i32;
    let wait = policy.initial as f64 * policy.factor.powi(exponent);
    // A factor below 1 or an overflow to infinity still gives a number between 0 and the longest.
    wait.clamp(0.0, policy.longest() as f64) as Millis
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
    fn the_first_wait_is_never_cut() {
        let hour = 3_600_000;
        let waits = |policy: &RetryPolicy| (1..=9).map(|n| backoff(policy, n) / hour).collect::<Vec<_>>();
        // Nothing is said of the longest one: a hundred times the first.
        let policy = RetryPolicy { initial: hour, ..RetryPolicy::default() };
        assert_eq!(waits(&policy), [1, 2, 4, 8, 16, 32, 64, 100, 100]);
        let policy = RetryPolicy { initial: hour, max: 1_000, ..RetryPolicy::default() };
        assert_eq!(waits(&policy), [1; 9]);
        assert_eq!(backoff(&RetryPolicy { initial: u64::MAX / 2, ..RetryPolicy::default() }, 1), u64::MAX / 2 + 1);
        for (initial, max, longest) in [
            (None, None, 60_000),
            (Some(60_000), None, 60_000),
            (Some(60_001), None, 6_000_100),
            (Some(hour), Some(60_000), hour),
            (Some(hour), Some(2 * hour), 2 * hour),
            (Some(u64::MAX), None, u64::MAX),
            (None, Some(0), 1_000),
        ] {
            let mut policy = RetryPolicy::default();
            policy.say_waits(initial, max);
            assert_eq!((policy.max, policy.longest()), (longest, longest), "{initial:?} {max:?}");
        }
    }

    #[test]
    fn jitter_only_shortens() {
        let policy = RetryPolicy { jitter: 0.5, ..RetryPolicy::default() };
        assert_eq!(wait(&policy, 1, 0.0), 1_000);
        assert_eq!(wait(&policy, 1, 1.0), 500);
        assert_eq!(wait(&RetryPolicy { jitter: 0.0, ..policy }, 1, 1.0), 1_000);
    }
}
