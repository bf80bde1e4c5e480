//! What is said of steps from outside their code, by name: how many attempts, how often, how long.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use durhai_core::RetryPolicy;
use parking_lot::RwLock;

use crate::steps::limiter::{Limit, Place, Rate, Turnstile};
use crate::steps::shared_limit::{AskPlaces, ToWorld};

/// What holds for the attempts of a step in one host: two hosts with a `concurrency` of 10 each make 20 attempts at a time, unless it is
/// `shared`.
///
/// Attempts wait for `concurrency` and `rate` in the order in which their starts became durable. The wait does not count
/// to a step's `timeout`; a run with an attempt that waits stays in memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepRule {
    /// Attempts that run at a time. One runs until it has ended, also after its timeout or cancellation.
    pub concurrency: Option<u32>,
    /// `concurrency` is that of all hosts of the world together. A host that is taken for dead has no places any more, and an attempt that it
    /// had begun may still run beside the others.
    pub shared: bool,
    /// Attempts that begin in a while.
    pub rate: Option<Rate>,
    /// Instead of the policy of the workflow's header, where the call names none.
    pub retry: Option<RetryPolicy>,
    /// The longest one attempt may take, where the call says nothing about it.
    pub timeout: Option<Duration>,
}

/// The rules of a host. They can be replaced while it runs.
pub(crate) struct Rules {
    tokio: tokio::runtime::Handle,
    /// For limits that hosts share.
    world: ToWorld,
    set: RwLock<Set>,
}

#[derive(Default)]
struct Set {
    exact: HashMap<String, Arc<Entry>>,
    /// By what the name begins with, the longest first.
    prefixes: Vec<(String, Arc<Entry>)>,
}

struct Entry {
    rule: StepRule,
    /// Where attempts are limited.
    turnstile: Option<Arc<Turnstile>>,
}

/// What holds for one attempt.
#[derive(Default)]
pub(crate) struct Ruled {
    /// In the queue, where there is a limit.
    pub place: Option<Place>,
    pub retry: Option<RetryPolicy>,
    pub timeout: Option<Duration>,
}

impl Rules {
    /// The error names the rule that makes no sense.
    pub fn new(rules: BTreeMap<String, StepRule>, tokio: &tokio::runtime::Handle) -> Result<Rules, String> {
        let new = Rules { tokio: tokio.clone(), world: ToWorld::default(), set: RwLock::default() };
        new.replace(rules)?;
        Ok(new)
    }

    /// Where the places of limits come from that hosts share. Until this is said they have none.
    pub fn shares_by(&self, ask: Box<AskPlaces>) {
        // The host says it once, when it starts.
        let _ = self.world.set(ask);
    }

    /// All of them. What runs and waits under a name that stays counts on. On an error nothing changes.
    pub fn replace(&self, rules: BTreeMap<String, StepRule>) -> Result<(), String> {
        for (name, rule) in &rules {
            check(name, rule)?;
        }
        let mut set = self.set.write();
        let mut old: HashMap<String, Arc<Entry>> = set.exact.drain().collect();
        old.extend(set.prefixes.drain(..).map(|(prefix, entry)| (format!("{prefix}*"), entry)));
        for (name, rule) in rules {
            let limit = Limit { concurrency: rule.concurrency, rate: rule.rate, shared: rule.shared };
            let before = old.remove(&name).and_then(|entry| entry.turnstile.clone());
            let turnstile = before.or_else(|| {
                (limit != Limit::default()).then(|| Arc::new(Turnstile::new(&name, &self.world, &self.tokio)))
            });
            if let Some(turnstile) = &turnstile {
                turnstile.set(limit);
            }
            let entry = Arc::new(Entry { rule, turnstile });
            match name.strip_suffix('*') {
                Some(prefix) => set.prefixes.push((prefix.into(), entry)),
                None => drop(set.exact.insert(name, entry)),
            }
        }
        set.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        drop(set);
        // Nothing holds back those that still wait under a name that is gone.
        for turnstile in old.into_values().filter_map(|entry| entry.turnstile.clone()) {
            turnstile.set(Limit::default());
        }
        Ok(())
    }

    /// What holds for an attempt that is about to begin; its place is behind all that came before.
    pub fn of(&self, step: &str) -> Ruled {
        let set = self.set.read();
        let prefixed = || set.prefixes.iter().find(|(prefix, _)| step.starts_with(prefix)).map(|(_, entry)| entry);
        let Some(entry) = set.exact.get(step).or_else(prefixed) else { return Ruled::default() };
        Ruled {
            place: entry.turnstile.as_ref().map(Turnstile::join),
            retry: entry.rule.retry.clone(),
            timeout: entry.rule.timeout,
        }
    }
}

fn check(name: &str, rule: &StepRule) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("the rule of the step {name:?}: {why}"));
    if rule.concurrency == Some(0) {
        return wrong("with a concurrency of 0 nothing would ever begin");
    }
    if rule.shared && rule.concurrency.is_none() {
        return wrong("`shared` is about `concurrency`, which it does not have");
    }
    if rule.rate.is_some_and(|rate| rate.count == 0 || rate.per.is_zero()) {
        return wrong("its rate needs a count and a time greater than 0");
    }
    if rule.retry.as_ref().is_some_and(|retry| retry.max_attempts == 0) {
        return wrong("max_attempts counts the first attempt too: 1 is the least");
    }
    if rule.timeout.is_some_and(|timeout| timeout.is_zero()) {
        return wrong("with a timeout of 0 no attempt could succeed");
    }
    match name.strip_suffix('*') {
        Some(prefix) if !prefix.contains('*') => Ok(()),
        None if !name.is_empty() && !name.contains('*') => Ok(()),
        _ => wrong("it must be a step's name, or the beginning of some with one `*` behind it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(rules: &[(&str, StepRule)]) -> BTreeMap<String, StepRule> {
        rules.iter().map(|(name, rule)| ((*name).to_owned(), rule.clone())).collect()
    }

    fn lasting(seconds: u64) -> StepRule {
        StepRule { timeout: Some(Duration::from_secs(seconds)), ..StepRule::default() }
    }

    fn at_a_time(most: u32) -> StepRule {
        StepRule { concurrency: Some(most), ..StepRule::default() }
    }

    #[tokio::test]
    async fn the_narrowest_rule_counts() {
        let set =
            rules(&[("http.*", lasting(2)), ("http.get", lasting(1)), ("*", lasting(9)), ("http.p*", lasting(3))]);
        let set = Rules::new(set, &tokio::runtime::Handle::current()).unwrap();
        let names = ["http.get", "http.put", "http.head", "http", "httpx.get"];
        assert_eq!(names.map(|step| set.of(step).timeout.unwrap().as_secs()), [1, 3, 2, 9, 9]);
        set.replace(BTreeMap::new()).unwrap();
        assert!(set.of("http.get").timeout.is_none() && set.of("http.get").place.is_none());
    }

    #[tokio::test]
    async fn rules_that_make_no_sense_change_nothing() {
        let set = Rules::new(rules(&[("a", lasting(1))]), &tokio::runtime::Handle::current()).unwrap();
        let rate =
            |count, ms| StepRule { rate: Some(Rate { count, per: Duration::from_millis(ms) }), ..StepRule::default() };
        let never = RetryPolicy { max_attempts: 0, ..RetryPolicy::default() };
        for (name, rule) in [
            ("a", at_a_time(0)),
            ("", at_a_time(1)),
            ("a*b", at_a_time(1)),
            ("a**", at_a_time(1)),
            ("a", rate(0, 1)),
            ("a", StepRule { shared: true, ..StepRule::default() }),
            ("a", rate(1, 0)),
            ("a", lasting(0)),
            ("a", StepRule { retry: Some(never), ..StepRule::default() }),
        ] {
            let error = set.replace(rules(&[(name, rule)])).unwrap_err();
            assert!(error.contains(&format!("{name:?}")), "{error}");
            assert_eq!(set.of("a").timeout, Some(Duration::from_secs(1)));
        }
    }

    #[tokio::test]
    async fn a_rule_that_goes_lets_go_who_waits() {
        let set = Rules::new(rules(&[("a", at_a_time(1))]), &tokio::runtime::Handle::current()).unwrap();
        let _first = set.of("a").place.unwrap().turn().await;
        let second = set.of("a").place.unwrap();
        let third = set.of("a").place.unwrap();
        set.replace(rules(&[("a", at_a_time(2))])).unwrap();
        let _second = second.turn().await;
        set.replace(BTreeMap::new()).unwrap();
        let _third = third.turn().await;
    }
}
