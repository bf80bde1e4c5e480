//! The same random operations on a world and on the specification: whatever can be asked, both answer the same.

mod writes;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use durhai_core::{RunId, Status};

use super::Dice;
use super::tools::*;
use super::{Cases, Subject};
use crate::{Claim, Creation, MemoryWorld, Query, Refused, World, Write, Written};
use writes::{HOLDERS, LIMIT_KEYS, METAS, NAMES, STREAMS, TOKENS, brief, version};

pub const CASES: Cases = &[
    ("random: the same as the specification", random),
    ("random: two that share a store are the same as one", random_shared),
];

const ROUNDS: u64 = 16;
const STEPS: usize = 250;
/// Longer than any test: a claim that does not end with its lease.
const FOR_EVER: u64 = 1 << 50;

fn random(subject: &Subject<'_>) {
    seeds(ROUNDS, |seed| Pair::new(subject, seed, vec![(subject.make)()]).go());
}

fn random_shared(subject: &Subject<'_>) {
    let Some(second) = subject.second else { return };
    seeds(ROUNDS / 4, |seed| Pair::new(subject, seed, vec![(subject.make)(), second()]).go());
}

fn seeds(rounds: u64, go: impl Fn(u64)) {
    let given = std::env::var("DURHAI_SEED").ok().and_then(|text| text.parse().ok());
    let seeds = match given {
        Some(seed) => vec![seed],
        None => {
            let fresh = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_micros() as u64);
            (0..rounds).map(|round| if round < rounds / 2 { round } else { fresh + round }).collect()
        }
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| go(seed))) {
            eprintln!("seed {seed}: set DURHAI_SEED={seed} to do this again");
            resume_unwind(panic);
        }
    }
}

/// A claim as the two worlds gave it: they need not use the same fences.
#[derive(Clone)]
struct Pass {
    run: RunId,
    model: u64,
    subject: u64,
    /// In which of the worlds that share a store its holder is.
    at: usize,
}

struct Pair<'a> {
    dice: Dice,
    subject: &'a Subject<'a>,
    /// Several share a store.
    worlds: Vec<Box<dyn World>>,
    /// The one that is asked at this step.
    at: usize,
    model: MemoryWorld,
    now: u64,
    /// All claims there ever were, the old ones, too.
    passes: Vec<Pass>,
    /// Where the logs end, to hit the right sequence most of the time.
    ends: HashMap<RunId, u64>,
    done: Vec<String>,
    /// How often each holder died and began anew.
    deaths: [u32; 3],
}

impl<'a> Pair<'a> {
    fn new(subject: &'a Subject<'a>, seed: u64, worlds: Vec<Box<dyn World>>) -> Self {
        Pair {
            dice: Dice(seed),
            subject,
            worlds,
            at: 0,
            model: MemoryWorld::new(),
            now: 100,
            passes: Vec::new(),
            ends: HashMap::new(),
            done: Vec::new(),
            deaths: [0; 3],
        }
    }

    fn world(&self) -> &dyn World {
        &*self.worlds[self.at]
    }

    /// Hosts die in the time that the steps say. Of one in another world of the store, nobody can see when it was heard of last.
    fn leases(&self) -> bool {
        self.subject.leases && self.worlds.len() == 1
    }

    fn go(mut self) {
        for step in 0..STEPS {
            let result = catch_unwind(AssertUnwindSafe(|| self.step()));
            if let Err(panic) = result {
                let from = self.done.len().saturating_sub(12);
                eprintln!("step {step}; the last operations:\n{}", self.done[from..].join("\n"));
                resume_unwind(panic);
            }
        }
        self.worlds.iter().for_each(|world| undamaged(&**world));
    }

    fn step(&mut self) {
        self.now += self.dice.below(30);
        if self.worlds.len() > 1 {
            self.at = self.dice.below(self.worlds.len() as u64) as usize;
        }
        match self.dice.below(24) {
            0..10 => self.write(),
            10..13 => self.claim(),
            13..15 => self.claim_run(),
            15 => self.renew(),
            16 => self.reopen(),
            17 => self.list(),
            18 => self.set_limit(),
            19 => self.reserve(),
            20 => self.programs(),
            _ => self.look(),
        }
    }

    fn note(&mut self, text: String) {
        self.done.push(text);
    }

    fn write(&mut self) {
        let (mut for_model, mut for_world) = (Vec::new(), Vec::new());
        for _ in 0..=self.dice.below(6) {
            let (one, other) = self.one();
            // What is accepted decides where the next commit of the batch must begin: guess that it is.
            if let Write::Commit(commit) = &one
                && let Some(chunk) = &commit.events
            {
                self.ends.insert(commit.run.clone(), (chunk.first + u64::from(chunk.count)).saturating_sub(1));
            }
            for_model.push(one);
            for_world.push(other);
        }
        self.note(format!("write {}", brief(&for_model)));
        let model = self.model.write(for_model).expect("the model works");
        let world = self.world().write(for_world).expect("the world works");
        let plain = |all: &[Result<Written, Refused>]| -> Vec<_> {
            all.iter()
                .map(|one| match one {
                    Ok(Written::Created(Some(claim))) => Ok(Written::Created(Some(unfenced(claim)))),
                    Ok(Written::Committed(all)) => Ok(Written::Committed(all.iter().map(plain_creation).collect())),
                    other => other.clone(),
                })
                .collect()
        };
        assert_eq!(plain(&world), plain(&model), "what became of the writes (world, model)");
        let claims = |all: &[Result<Written, Refused>]| -> Vec<Claim> { all.iter().flat_map(claims_of).collect() };
        for (model, world) in claims(&model).iter().zip(&claims(&world)) {
            self.keep(model, world);
        }
        self.measure();
    }

    fn measure(&mut self) {
        for name in NAMES {
            let tail = self.model.log_tail(&id(name)).expect("the model works");
            self.ends.insert(id(name), tail.map_or(0, |chunk| chunk.first + u64::from(chunk.count) - 1));
        }
    }

    fn keep(&mut self, model: &Claim, world: &Claim) {
        let older = self.passes.iter().rev().find(|pass| pass.run == model.run);
        assert!(older.is_none_or(|older| older.subject < world.fence), "fences grow");
        self.passes.push(Pass { run: model.run.clone(), model: model.fence, subject: world.fence, at: self.at });
    }

    fn claimed(&mut self, model: &[Claim], world: &[Claim]) {
        let plain = |claims: &[Claim]| claims.iter().map(unfenced).collect::<Vec<_>>();
        assert_eq!(plain(world), plain(model), "the claims (world, model)");
        for (model, world) in model.iter().zip(world) {
            self.keep(model, world);
        }
    }

    fn claim(&mut self) {
        let (holder, limit) = (self.holder(), self.dice.below(4) as usize);
        self.note(format!("claim at {} at most {limit} for {}", self.now, holder.name));
        let model = self.model.claim(&holder, self.now, limit).expect("the model works");
        let world = self.world().claim(&holder, self.now, limit).expect("the world works");
        self.claimed(&model, &world);
    }

    fn claim_run(&mut self) {
        let (holder, run) = (self.holder(), id(self.dice.pick(&NAMES[..])));
        self.note(format!("claim_run {run} at {} for {}", self.now, holder.name));
        let model = self.model.claim_run(&run, &holder, self.now).expect("the model works");
        let world = self.world().claim_run(&run, &holder, self.now).expect("the world works");
        self.claimed(model.as_slice(), world.as_slice());
    }

    fn renew(&mut self) {
        let holder = self.holder();
        self.note(format!("renew {} at {}", holder.name, self.now));
        let model = self.model.renew(&holder, self.now).expect("the model works");
        let world = self.world().renew(&holder, self.now).expect("the world works");
        assert_eq!(world.alive, model.alive, "{holder:?} is alive (world, model)");
        if let Some(which) = HOLDERS.iter().position(|name| !model.alive && holder.name.starts_with(name)) {
            self.deaths[which] += 1;
        }
    }

    fn set_limit(&mut self) {
        let (key, limit) = (self.dice.pick(&LIMIT_KEYS), self.dice.below(5) as u32);
        self.note(format!("set_limit {key:?} {limit}"));
        self.model.set_limit(key, limit).expect("the model works");
        self.world().set_limit(key, limit).expect("the world works");
    }

    fn reserve(&mut self) {
        let (Some(Pass { run, model, subject, .. }), token) = (self.pass(), self.dice.pick(&TOKENS)) else { return };
        self.note(format!("reserve {token:?} for {run} {model}"));
        let model = self.model.reserve(token, &run, model).expect("the model works");
        let world = self.world().reserve(token, &run, subject).expect("the world works");
        assert_eq!(world, model, "who has the token {token:?} (world, model)");
    }

    fn programs(&mut self) {
        let (version, keep) = (version(self.dice.below(3)), self.dice.one_in(2));
        let both = [self.world(), &self.model].map(|world| {
            if keep {
                world.put_program(&version, version.as_str().as_bytes()).expect("works");
            }
            let dropped = world.drop_program(&version).expect("works");
            let mut left = world.programs().expect("works");
            left.sort();
            (dropped, left)
        });
        assert_eq!(both[0], both[1], "programs (world, model)");
    }

    fn reopen(&mut self) {
        if let (Some(reopen), 1) = (self.subject.reopen, self.worlds.len()) {
            self.note("reopen".into());
            let world = self.worlds.remove(0);
            self.worlds.push(reopen(world));
            if !self.subject.leases {
                self.model.crash();
            }
        }
    }

    fn list(&mut self) {
        let dice = &mut self.dice;
        let mut query = Query { limit: 1 + dice.below(3) as usize, ..Query::default() };
        for _ in 0..dice.below(3) {
            query.status.push(dice.pick(&Status::ALL));
        }
        query.workflow = dice.one_in(2).then(|| dice.pick(&["flow", "other"]).into());
        if dice.one_in(3) {
            query.tags.insert("k".into(), "1".into());
        }
        query.parent = dice.one_in(4).then(|| id(dice.pick(&NAMES[..])));
        query.version = dice.one_in(4).then(|| version(dice.below(3)));
        query.ended_before = dice.one_in(4).then(|| self.now.saturating_sub(dice.below(500)));
        query.since = dice.one_in(3).then(|| self.now.saturating_sub(dice.below(500)));
        query.until = dice.one_in(3).then(|| self.now.saturating_sub(dice.below(500)));
        let all = |world: &dyn World| {
            let (mut rows, mut query) = (Vec::new(), query.clone());
            loop {
                let page = world.list(&query).expect("the worlds work");
                rows.extend(page.rows);
                query.cursor = page.next;
                if query.cursor.is_none() {
                    return rows;
                }
            }
        };
        assert_eq!(all(self.world()), all(&self.model), "{query:?} (world, model)");
    }

    /// Compares all that can be seen of one run.
    fn look(&mut self) {
        let run = id(self.dice.pick(&NAMES[..]));
        let (from, bytes, limit) = (self.dice.below(12), self.dice.below(600) as usize, self.dice.below(5) as usize);
        let view = |world: &dyn World| {
            let streams = STREAMS.map(|name| world.stream(&run, name, from / 2, limit).expect("works"));
            (
                world.row(&run).expect("works"),
                world.log(&run, from, bytes).expect("works"),
                world.log_tail(&run).expect("works"),
                world.inbox(&run, from / 2, limit).expect("works"),
                (streams, world.streams(&run).expect("works"), world.values(&run).expect("works")),
                TOKENS.map(|token| world.hook(token).expect("works")),
                world.queue(&run, limit).expect("works"),
                METAS.map(|key| world.meta(key).expect("works")),
                world.expired(self.now - from, limit).expect("works"),
            )
        };
        assert_eq!(view(self.world()), view(&self.model), "run {run} from {from} (world, model)");
        let [world, model] = [self.world(), &self.model].map(|world| world.run_counts().expect("works"));
        assert_eq!(world, model, "how many runs there are (world, model)");
        if !self.leases() {
            let [world, model] = [self.world(), &self.model].map(|world| world.next_wake().expect("works"));
            assert_eq!(world, model, "next_wake (world, model)");
        }
    }
}

fn unfenced(claim: &Claim) -> Claim {
    Claim { fence: 0, ..claim.clone() }
}

fn plain_creation(creation: &Creation) -> Creation {
    match creation {
        Creation::Claimed(claim) => Creation::Claimed(Box::new(unfenced(claim))),
        other => other.clone(),
    }
}

fn claims_of(written: &Result<Written, Refused>) -> Vec<Claim> {
    match written {
        Ok(Written::Created(claim)) => claim.iter().cloned().collect(),
        Ok(Written::Committed(all)) => all
            .iter()
            .filter_map(|one| match one {
                Creation::Claimed(claim) => Some((**claim).clone()),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}
