//! What must be true of a journal, whatever happened to the hosts that wrote it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::scripts::{LIMIT, STEPS};

/// An effect.
pub struct Mark {
    pub run: String,
    pub step: String,
    /// Which process made it.
    pub host: String,
}

pub fn read(journal: &Path) -> Vec<Mark> {
    let text = std::fs::read_to_string(journal).unwrap_or_default();
    let mark = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [run, step, host] = words[..] else { panic!("a line of the journal is {line:?}") };
        Mark { run: run.into(), step: step.into(), host: host.into() }
    };
    text.lines().map(mark).collect()
}

/// How often each step of each run had its effect.
pub fn counts(marks: &[Mark]) -> BTreeMap<(&str, &str), u64> {
    let mut counts = BTreeMap::new();
    for mark in marks {
        *counts.entry((mark.run.as_str(), mark.step.as_str())).or_default() += 1;
    }
    counts
}

/// What every run of these has done once it has ended.
pub fn effects(marks: &[Mark], runs: &BTreeMap<String, String>, wrong: &mut Vec<String>) {
    let counts = counts(marks);
    let mut expect = |run: &str, step: &str| {
        if !counts.contains_key(&(run, step)) {
            wrong.push(format!("{run} has ended, and its step {step} has no effect"));
        }
    };
    for (run, workflow) in runs {
        match workflow.as_str() {
            // What it was sent, by signal and by hook.
            "parent" => expect(run, "told-1-2"),
            "child" => (0..STEPS).for_each(|step| expect(run, &format!("s{step}"))),
            "limited" => ["in", "out"].into_iter().for_each(|step| expect(run, step)),
            _ => expect(run, "tick"),
        }
    }
    for ((run, step), count) in &counts {
        if *step == "once" && *count > 1 {
            wrong.push(format!("a step of {run} that is made once was made {count} times"));
        }
        if !runs.contains_key(*run) {
            wrong.push(format!("{run} had an effect, and there is no such run"));
        }
    }
}

/// A process whose run went on in another one may end the step that was under way, as that may have begun before. It begins no other: two
/// steps of a run in a row, both behind what the run has done elsewhere, are those of a host that does not know that it is dead.
pub fn fences(marks: &[Mark], wrong: &mut Vec<String>) {
    let mut furthest: BTreeMap<&str, usize> = BTreeMap::new();
    let mut late: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for mark in marks {
        let number = mark.step.strip_prefix('s').and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number else { continue };
        let most = furthest.entry(&mark.run).or_default();
        let place = (mark.run.as_str(), mark.host.as_str());
        if number >= *most {
            *most = number;
            late.remove(&place);
        } else if let Some(before) = late.insert(place, number).filter(|before| *before < number) {
            let (run, host) = place;
            wrong.push(format!("{host} made s{before} and s{number} of {run}, which had come to s{most} elsewhere"));
        }
    }
}

/// Those inside at a time are never more than the limit.
pub fn limits(marks: &[Mark], wrong: &mut Vec<String>) {
    let (mut inside, mut over) = (BTreeSet::new(), HashSet::new());
    for mark in marks {
        match mark.step.as_str() {
            // A late one is of a run that has left.
            "in" if !over.contains(&mark.run) => drop(inside.insert(&mark.run)),
            "out" => {
                inside.remove(&mark.run);
                over.insert(&mark.run);
            }
            _ => {}
        }
        if inside.len() > LIMIT {
            wrong.push(format!("{inside:?} are inside at once, of at most {LIMIT}"));
        }
    }
}

/// Times when something was wrong, with what follows from it.
#[derive(Default)]
pub struct Outages(Vec<(SystemTime, SystemTime)>);

impl Outages {
    pub fn add(&mut self, from: SystemTime, until: SystemTime) {
        self.0.push((from, until));
    }

    fn has(&self, at: u64) -> bool {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
        self.0.iter().any(|(from, until)| *from <= at + Duration::from_secs(1) && at <= *until)
    }
}

/// A schedule of each second has a run of each second, but for outages. `ticks`: the moments that runs were started for.
pub fn ticks(ticks: &[u64], outages: &Outages, wrong: &mut Vec<String>) {
    let all: BTreeSet<u64> = ticks.iter().copied().collect();
    if all.len() < ticks.len() {
        wrong.push(format!("{} runs were started for {} moments", ticks.len(), all.len()));
    }
    let (Some(first), Some(last)) = (all.first(), all.last()) else {
        wrong.push("the schedule has started nothing".into());
        return;
    };
    let missed = (*first..=*last).filter(|at| !all.contains(at) && !outages.has(*at));
    wrong.extend(missed.map(|at| format!("no run was started for second {at}, when all was well")));
}
