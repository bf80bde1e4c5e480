//! Programs and worlds from seeds.

use durhai_core::EventBody;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::program::{Machine, parse};
use super::{created, every_prefix_replays, outside};

/// Programs and worlds at random: whatever happens, every prefix replays.
#[test]
fn random_runs_replay_from_everywhere() {
    for seed in 0..400 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let text = random_block(&mut rng, 3);
        let program = parse(&text);
        let mut machine = Machine::new(&program, created());
        let mut now = 1_000;
        outside(&mut machine, "start", &mut now);
        machine.turn();
        for _ in 0..60 {
            if machine.replay.is_over() {
                break;
            }
            now += u64::from(rng.next_u32() % 50);
            let rng_pick = rng.next_u32();
            let open = |kind: &str| {
                let waits = machine.replay.waiting_for();
                let ids: Vec<_> = waits.into_iter().filter(|wait| wait.kind == kind).collect();
                Some(ids.get(rng_pick as usize % ids.len().max(1))?.clone())
            };
            let what = match rng.next_u32() % 14 {
                10 if open("child").is_some() => format!("child-ok {}", open("child").unwrap().step_id.unwrap()),
                11 if open("child").is_some() => format!("child-err {}", open("child").unwrap().step_id.unwrap()),
                12 if open("suspend").is_some() => format!("answer {}", open("suspend").unwrap().step_id.unwrap()),
                13 if open("hook").is_some() => {
                    let token = open("hook").unwrap().name;
                    let opened = machine.history.iter().rev().find(|event| match &event.body {
                        EventBody::HookOpened { token: found, .. } => Some(found.as_str()) == token.as_deref(),
                        _ => false,
                    });
                    format!("payload {}", opened.unwrap().step_id.clone().unwrap())
                }
                0..=5 if !machine.running.is_empty() => {
                    let step = &machine.running[rng.next_u32() as usize % machine.running.len()];
                    let verb = ["ok", "ok", "ok", "err", "fatal"][rng.next_u32() as usize % 5];
                    format!("{verb} {}", step.step_id)
                }
                0..=7 => format!("time {}", machine.replay.wake_at().unwrap_or(now).max(now)),
                8 => format!("signal {}", ["x", "y"][rng.next_u32() as usize % 2]),
                _ if rng.next_u32() % 8 == 0 => "cancel".into(),
                _ => "signal x".into(),
            };
            outside(&mut machine, &what, &mut now);
            machine.turn();
            assert_eq!(machine.diverged(), None, "seed {seed}: {text}");
        }
        every_prefix_replays(&program, &machine.history, &format!("seed {seed}: {text}"));
    }
}

fn random_block(rng: &mut ChaCha8Rng, depth: u32) -> String {
    let ops: Vec<_> = (0..1 + rng.next_u32() % 3).map(|_| random_op(rng, depth)).collect();
    ops.join("; ")
}

fn random_op(rng: &mut ChaCha8Rng, depth: u32) -> String {
    let plain = |rng: &mut ChaCha8Rng| match rng.next_u32() % 14 {
        7 => format!("child {}", ["c", "d"][rng.next_u32() as usize % 2]),
        8 => format!("try {{ start {} }} catch {{ step a }}", ["c", "no"][rng.next_u32() as usize % 2]),
        9 => format!("ask l {}", rng.next_u32() % 200),
        10 => "ask l 0".into(),
        11 => format!("hook {}; hookwait 0; hookclose 0", ["_", "h"][rng.next_u32() as usize % 2]),
        12 => "try { hook taken } catch { show t }".into(),
        0..=3 => format!("step {}", ["a", "b", "c"][rng.next_u32() as usize % 3]),
        4 => format!("sleep {}", rng.next_u32() % 200),
        5 => "wait x".into(),
        6 => format!("waitfor y {}", rng.next_u32() % 200),
        _ => "poll x".into(),
    };
    if depth == 0 {
        return plain(rng);
    }
    let branches = |rng: &mut ChaCha8Rng| -> String {
        (0..1 + rng.next_u32() % 3).map(|_| random_block(rng, depth - 1)).collect::<Vec<_>>().join(" | ")
    };
    match rng.next_u32() % 12 {
        0..=4 => plain(rng),
        5 => format!("all {{ {} }}", branches(rng)),
        6 => format!("two {{ {} }}", branches(rng)),
        7 => format!("race {{ {} }}", branches(rng)),
        8 => format!("settle {{ {} }}", branches(rng)),
        9 => format!("timeout {} {{ {} }}", rng.next_u32() % 300, random_block(rng, depth - 1)),
        10 => format!("try {{ {} }} catch {{ {} }}", random_block(rng, depth - 1), random_block(rng, depth - 1)),
        _ => format!("spawn {{ {} }}", random_block(rng, depth - 1)),
    }
}
