//! Random numbers from the run's seed: names and signatures of the package `rhai-rand`, algorithms of our own, because
//! an old log must draw the same numbers for ever. Each draw takes whole 64-bit words from the task's ChaCha8 stream.

use std::ops::{Range, RangeInclusive};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::RngCore;
use rhai::{Array, Dynamic, Engine, NativeCallContext};

use super::args::invalid;
use crate::errors::thrown::Thrown;
use crate::run::current;

type Ctx<'a> = NativeCallContext<'a>;

pub fn register(engine: &mut Engine) {
    engine
        .register_fn("rand", |ctx: Ctx<'_>| draw(&ctx, |rng| rng.next_u64() as i64))
        .register_fn("rand", |ctx: Ctx<'_>, range: Range<i64>| match range.is_empty() {
            true => invalid(format!("rand: the range {}..{} is empty", range.start, range.end)),
            false => draw(&ctx, |rng| between(rng, range.start, range.end - 1)),
        })
        .register_fn("rand", |ctx: Ctx<'_>, range: RangeInclusive<i64>| match range.is_empty() {
            true => invalid(format!("rand: the range {}..={} is empty", range.start(), range.end())),
            false => draw(&ctx, |rng| between(rng, *range.start(), *range.end())),
        })
        .register_fn("rand", |ctx: Ctx<'_>, start: i64, end: i64| match start >= end {
            true => invalid(format!("rand: the range {start}..={end} is empty")),
            false => draw(&ctx, |rng| between(rng, start, end)),
        })
        .register_fn("rand_float", |ctx: Ctx<'_>| draw(&ctx, unit))
        .register_fn("rand_float", |ctx: Ctx<'_>, start: f64, end: f64| match start < end {
            true => draw(&ctx, |rng| start + unit(rng) * (end - start)),
            false => invalid(format!("rand_float: the range {start}..{end} is empty")),
        })
        .register_fn("rand_bool", |ctx: Ctx<'_>| draw(&ctx, |rng| rng.next_u64() >> 63 == 1))
        .register_fn("rand_bool", |ctx: Ctx<'_>, probability: f64| match (0.0..=1.0).contains(&probability) {
            true => draw(&ctx, |rng| unit(rng) < probability),
            false => invalid(format!("rand_bool: the probability must be from 0.0 to 1.0, found {probability}")),
        })
        .register_fn("rand_alpha_numeric", |ctx: Ctx<'_>, length: i64| match length {
            1..=1_000_000 => draw(&ctx, |rng| alpha_numeric(rng, length as usize)),
            _ => invalid(format!("rand_alpha_numeric: the length must be from 1 to 1000000, found {length}")),
        })
        .register_fn("uuid", |ctx: Ctx<'_>| draw(&ctx, uuid))
        .register_fn("shuffle", |ctx: Ctx<'_>, array: &mut Array| draw(&ctx, |rng| shuffle(rng, array)))
        .register_fn("sample", |ctx: Ctx<'_>, array: &mut Array| match array.len() {
            0 => Ok(Dynamic::UNIT),
            len => draw(&ctx, |rng| array[below(rng, len as u64) as usize].clone()),
        })
        .register_fn("sample", |ctx: Ctx<'_>, array: &mut Array, amount: i64| {
            let amount = usize::try_from(amount).unwrap_or(0).min(array.len());
            draw(&ctx, |rng| sample(rng, array, amount))
        });
}

fn draw<T>(ctx: &Ctx<'_>, f: impl FnOnce(&mut ChaCha8Rng) -> T) -> Result<T, Thrown> {
    current::run(ctx, |state| f(state.replay.rng(state.task)))
}

/// Uniform in `0..limit`: the high half of a 128-bit product, drawn again where that would be biased (Lemire, "Fast
/// random integer generation in an interval", 2019).
fn below(rng: &mut ChaCha8Rng, limit: u64) -> u64 {
    let rejected = limit.wrapping_neg() % limit;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(limit);
        if product as u64 >= rejected {
            return (product >> 64) as u64;
        }
    }
}

/// Uniform in `start..=end`.
fn between(rng: &mut ChaCha8Rng, start: i64, end: i64) -> i64 {
    match end.wrapping_sub(start) as u64 {
        u64::MAX => rng.next_u64() as i64,
        width => start.wrapping_add(below(rng, width + 1) as i64),
    }
}

/// Uniform in `0.0..1.0`, a multiple of 2⁻⁵³.
fn unit(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

fn alpha_numeric(rng: &mut ChaCha8Rng, length: usize) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    (0..length).map(|_| LETTERS[below(rng, 62) as usize] as char).collect()
}

/// Version 4: 122 random bits.
fn uuid(rng: &mut ChaCha8Rng) -> String {
    let (high, low) = (rng.next_u64(), rng.next_u64());
    let high = high & !0xf000 | 0x4000;
    let low = low & !(0b11 << 62) | 0b10 << 62;
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low & 0xffff_ffff_ffff
    )
}

/// Fisher and Yates, from the end.
fn shuffle(rng: &mut ChaCha8Rng, array: &mut Array) {
    for last in (1..array.len()).rev() {
        array.swap(last, below(rng, last as u64 + 1) as usize);
    }
}

/// `amount` elements in random order, none twice.
fn sample(rng: &mut ChaCha8Rng, array: &Array, amount: usize) -> Array {
    let mut places: Vec<usize> = (0..array.len()).collect();
    for first in 0..amount {
        let other = first + below(rng, (places.len() - first) as u64) as usize;
        places.swap(first, other);
    }
    places[..amount].iter().map(|place| array[*place].clone()).collect()
}

#[cfg(test)]
mod tests {
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn draws_stay_in_their_range() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let mut seen = [false; 6];
        for _ in 0..200 {
            seen[(between(rng, -2, 3) + 2) as usize] = true;
            assert!((0.0..1.0).contains(&unit(rng)));
        }
        assert_eq!(seen, [true; 6]);
        assert_eq!(between(rng, 7, 7), 7);
        between(rng, i64::MIN, i64::MAX);
    }

    #[test]
    fn uuids_are_version_4() {
        let id = uuid(&mut ChaCha8Rng::seed_from_u64(1));
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
    }

    #[test]
    fn shuffles_and_samples_keep_their_elements() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let sorted = |mut array: Array| {
            array.sort_by_key(|item| item.as_int().unwrap_or(-1));
            format!("{array:?}")
        };
        let array: Array = (0..50_i64).map(Dynamic::from).collect();
        let mut mixed = array.clone();
        shuffle(rng, &mut mixed);
        assert_ne!(format!("{mixed:?}"), format!("{array:?}"));
        assert_eq!(sorted(mixed), sorted(array.clone()));
        assert_eq!(sorted(sample(rng, &array, 50)), sorted(array.clone()));
        assert_eq!(sample(rng, &array, 3).len(), 3);
    }
}
