//! Randomness that every replay draws again: ChaCha8, seeded by the run, one stream a task.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// The generator of one task: seed = SHA-256 of the run's seed text (its id), stream = the first 8 bytes of SHA-256 of
/// the task's path, so branches never disturb each other.
pub fn of_task(seed: &str, task: &str) -> ChaCha8Rng {
    stream(seed, "task", task)
}

/// A number in `0.0..1.0` for the jitter of one wait: the same whenever it is asked for.
pub fn jitter(seed: &str, step: &str, failures: u32) -> f64 {
    let bits = stream(seed, "jitter", &format!("{step}#{failures}")).next_u64() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

fn stream(seed: &str, use_: &str, name: &str) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::from_seed(Sha256::digest(seed).into());
    let digest = Sha256::new().chain_update(use_).chain_update([0]).chain_update(name).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    rng.set_stream(u64::from_be_bytes(first));
    rng
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_have_streams_of_their_own() {
        let draw = |seed: &str, task: &str| of_task(seed, task).next_u64();
        assert_eq!(draw("run", "4.1"), draw("run", "4.1"));
        assert_ne!(draw("run", "4.1"), draw("run", "4.2"));
        assert_ne!(draw("run", ""), draw("other", ""));
    }

    /// Old logs must draw the same numbers for ever.
    #[test]
    fn the_first_draws_are_fixed() {
        let mut rng = of_task("run-1", "");
        assert_eq!([rng.next_u64(), rng.next_u64()], FIRST);
        assert!((0.0..1.0).contains(&jitter("run-1", "4", 1)));
    }

    const FIRST: [u64; 2] = [11629118851665864463, 592666966732143444];
}
