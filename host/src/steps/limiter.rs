//! How many attempts of a step run at a time, and how many begin in a while.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use durhai_core::duration;
use durhai_world::WorldError;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::steps::shared_limit::{Share, ToWorld};

/// At most `count` in any window of length `per`, by the machine's clock: what was used comes back one by one, each
/// `per` after it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub per: Duration,
}

impl Rate {
    /// Reads `100/s`, `20/m`, `1000/h`, `5/d` or `5/10s`.
    pub fn parse(text: &str) -> Result<Rate, String> {
        let bad = |why: String| format!("{text:?} is no rate: {why}; write it like \"100/s\", \"20/m\" or \"5/10s\"");
        let (count, per) = text.split_once('/').ok_or_else(|| bad("there is no `/` in it".into()))?;
        let (count, per) = (count.trim(), per.trim());
        let count = match count.parse() {
            Ok(0) => return Err(bad("with 0 nothing would ever begin".into())),
            Ok(count) => count,
            Err(_) => return Err(bad(format!("{count:?} is no whole number up to {}", u32::MAX))),
        };
        // A unit alone stands for one of it.
        let per = match per.starts_with(|c: char| c.is_ascii_alphabetic()) {
            true => format!("1{per}"),
            false => per.to_owned(),
        };
        match duration::parse(&per).map_err(&bad)? {
            0 => Err(bad("the time after the `/` must be longer than nothing".into())),
            ms => Ok(Rate { count, per: Duration::from_millis(ms) }),
        }
    }
}

/// What a [`Turnstile`] lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Limit {
    pub concurrency: Option<u32>,
    pub rate: Option<Rate>,
    /// The places of `concurrency` are those of all hosts together.
    pub shared: bool,
}

/// Lets attempts through, in order.
pub(crate) struct Turnstile {
    /// What the world knows it by, where hosts share its places.
    name: String,
    world: ToWorld,
    tokio: tokio::runtime::Handle,
    state: Mutex<State>,
    /// More is needed from the world, or less.
    changed: Notify,
}

#[derive(Default)]
struct State {
    limit: Limit,
    /// Attempts that run.
    running: u32,
    /// When those began that still count.
    begun: VecDeque<Instant>,
    /// Those that wait, by number.
    queue: BTreeMap<u64, oneshot::Sender<Pass>>,
    tickets: u64,
    /// A timer looks again when the rate allows the next one.
    timer: bool,
    /// What this host has of a limit that hosts share; none while it has and needs nothing.
    share: Option<Share>,
}

/// A place in the queue. Dropped, it is left.
pub(crate) struct Place {
    turnstile: Arc<Turnstile>,
    ticket: u64,
    pass: oneshot::Receiver<Pass>,
}

/// An attempt that may run. It counts until this is dropped.
pub(crate) struct Pass(Option<Arc<Turnstile>>);

impl Turnstile {
    pub fn new(name: &str, world: &ToWorld, tokio: &tokio::runtime::Handle) -> Self {
        Turnstile {
            name: format!("step/{name}"),
            world: world.clone(),
            tokio: tokio.clone(),
            state: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// From now on; what runs goes on and counts.
    pub fn set(self: &Arc<Self>, limit: Limit) {
        let mut state = self.state.lock();
        state.limit = limit;
        self.share(&mut state);
        self.admit(&mut state);
    }

    /// A place behind all that came before.
    pub fn join(self: &Arc<Self>) -> Place {
        let (tx, pass) = oneshot::channel();
        let mut state = self.state.lock();
        state.tickets += 1;
        let ticket = state.tickets;
        state.queue.insert(ticket, tx);
        self.admit(&mut state);
        self.share(&mut state);
        Place { turnstile: self.clone(), ticket, pass }
    }

    /// Lets through the attempts that may go now.
    fn admit(self: &Arc<Self>, state: &mut State) {
        while self.most(state).is_none_or(|most| state.running < most) {
            let Some(first) = state.queue.first_entry() else { return };
            if let Some(rate) = state.limit.rate {
                let now = self.now();
                while state.begun.front().is_some_and(|begun| now.duration_since(*begun) >= rate.per) {
                    state.begun.pop_front();
                }
                if state.begun.len() >= rate.count as usize {
                    let again = state.begun[0] + rate.per;
                    return self.look_again(state, again);
                }
                state.begun.push_back(now);
            }
            state.running += 1;
            if let Err(mut pass) = first.remove().send(Pass(Some(self.clone()))) {
                // The attempt that waited is just leaving, and waits for our lock: nothing began.
                pass.0 = None;
                state.running -= 1;
                state.begun.pop_back();
            }
        }
    }

    /// How many may run here.
    fn most(&self, state: &State) -> Option<u32> {
        let most = state.limit.concurrency?;
        if !state.limit.shared {
            return Some(most);
        }
        Some(state.share.as_ref().map_or(0, |share| share.most(self.now()).min(most)))
    }

    /// Something has changed that the world may have to hear of.
    fn share(self: &Arc<Self>, state: &mut State) {
        let shares = state.limit.shared && state.limit.concurrency.is_some();
        let State { running, queue, share, .. } = state;
        let waiting = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        match share {
            Some(share) if !shares || share.must_ask(*running, waiting, self.now()) => self.changed.notify_one(),
            None if shares && waiting > 0 => {
                *share = Some(Share::new(self.now()));
                self.tokio.spawn(asks(self.clone()));
            }
            _ => {}
        }
    }

    /// Asks the world once. When to do it again; `None`: there is nothing more to ask.
    async fn ask(self: &Arc<Self>) -> Option<Instant> {
        let (most, wanted) = {
            let mut state = self.state.lock();
            let State { limit, running, queue, share, .. } = &mut *state;
            let waiting = u32::try_from(queue.len()).unwrap_or(u32::MAX);
            let most = limit.concurrency.filter(|_| limit.shared).unwrap_or(0);
            let share = share.as_mut()?;
            // A limit that is none any more has no places.
            let wanted = if most == 0 { 0 } else { share.wanted(*running, waiting, most, self.now()) };
            // From now on: others may have them as soon as the world has heard of it, whenever its answer comes.
            share.gives_up(wanted);
            (most, wanted)
        };
        let turnstile = self.clone();
        let ask = move || turnstile.world.get().and_then(|ask| ask(&turnstile.name, most, wanted));
        let asked = match self.tokio.spawn_blocking(ask).await {
            Ok(asked) => asked?,
            Err(error) if error.is_panic() => Err(WorldError::Corrupt("the world did not come back".into())),
            // The runtime ends.
            Err(_) => return None,
        };
        let mut state = self.state.lock();
        let now = self.now();
        match asked {
            Ok(places) => state.share.as_mut()?.got(places, now),
            Err(error) => {
                // What the host has it keeps while the world is away.
                state.share.as_mut()?.failed(&self.name, &error);
                return Some(now + LATER);
            }
        }
        if most == 0 || wanted == 0 && state.queue.is_empty() && state.share.as_ref().is_some_and(Share::is_empty) {
            state.share = None;
            self.admit(&mut state);
            return None;
        }
        self.admit(&mut state);
        let waiting = u32::try_from(state.queue.len()).unwrap_or(u32::MAX);
        Some(state.share.as_ref()?.again(state.running, waiting, now))
    }

    fn look_again(self: &Arc<Self>, state: &mut State, at: Instant) {
        if !std::mem::replace(&mut state.timer, true) {
            let turnstile = Arc::downgrade(self);
            self.tokio.spawn(async move {
                tokio::time::sleep_until(at).await;
                let Some(turnstile) = turnstile.upgrade() else { return };
                let mut state = turnstile.state.lock();
                state.timer = false;
                turnstile.admit(&mut state);
            });
        }
    }

    /// The runtime's time, from whatever thread.
    fn now(&self) -> Instant {
        let _within = self.tokio.enter();
        Instant::now()
    }
}

/// Two questions are so far apart, whatever changes.
const APART: Duration = Duration::from_millis(10);

/// Until a world is asked again that did not answer.
const LATER: Duration = Duration::from_millis(500);

/// Asks for places while they are needed, and gives them back.
async fn asks(turnstile: Arc<Turnstile>) {
    while let Some(again) = turnstile.ask().await {
        tokio::time::sleep(APART).await;
        tokio::select! {
            () = turnstile.changed.notified() => {}
            () = tokio::time::sleep_until(again) => {}
        }
    }
}

impl Place {
    /// Waits until it is this one's turn.
    pub async fn turn(mut self) -> Pass {
        (&mut self.pass).await.expect("whoever is in the queue gets a pass")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // A pass that came and was not taken is given back by its own drop.
        self.turnstile.state.lock().queue.remove(&self.ticket);
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(turnstile) = self.0.take() {
            let mut state = turnstile.state.lock();
            state.running -= 1;
            turnstile.admit(&mut state);
            turnstile.share(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use durhai_world::Places;

    #[test]
    fn rates_people_write() {
        for (text, count, ms) in [
            ("100/s", 100, 1_000),
            ("20/m", 20, 60_000),
            ("1000 / h", 1_000, 3_600_000),
            ("5/d", 5, 86_400_000),
            ("5/10s", 5, 10_000),
            ("1/250ms", 1, 250),
            ("3/minute", 3, 60_000),
        ] {
            assert_eq!(Rate::parse(text), Ok(Rate { count, per: Duration::from_millis(ms) }), "{text}");
        }
    }

    #[test]
    fn rates_that_are_none_name_the_text() {
        for bad in ["", "100", "0/s", "-1/s", "1.5/s", "x/s", "5/", "5/0s", "5/parsec", "99999999999/s", "5/-1s"] {
            let error = Rate::parse(bad).unwrap_err();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("100/s"), "{error}");
        }
    }

    fn turnstile(limit: Limit) -> Arc<Turnstile> {
        let turnstile = Arc::new(Turnstile::new("a", &ToWorld::default(), &tokio::runtime::Handle::current()));
        turnstile.set(limit);
        turnstile
    }

    fn at_a_time(most: u32) -> Limit {
        Limit { concurrency: Some(most), ..Limit::default() }
    }

    /// Whether it may go at this moment.
    async fn may_go(place: &mut Place) -> Option<Pass> {
        tokio::task::yield_now().await;
        place.pass.try_recv().ok()
    }

    #[tokio::test]
    async fn places_are_taken_in_order_and_left() {
        let turnstile = turnstile(at_a_time(1));
        let mut places: Vec<_> = (0..4).map(|_| turnstile.join()).collect();
        let first = may_go(&mut places[0]).await.expect("there is room");
        assert!(may_go(&mut places[1]).await.is_none());
        // The second leaves before its turn, the third after it without looking.
        drop(places.remove(1));
        drop(first);
        drop(places.remove(1));
        let last = may_go(&mut places[1]).await.expect("the place came back");
        let state = last.0.as_ref().unwrap().clone();
        assert_eq!(state.state.lock().running, 1);
        drop(last);
        assert_eq!(state.state.lock().running, 0);
        assert!(state.state.lock().queue.is_empty());
    }

    #[tokio::test]
    async fn a_new_limit_counts_what_runs() {
        let turnstile = turnstile(at_a_time(1));
        let mut places: Vec<_> = (0..5).map(|_| turnstile.join()).collect();
        let _first = may_go(&mut places[0]).await.expect("there is room");
        assert!(may_go(&mut places[1]).await.is_none());
        turnstile.set(at_a_time(2));
        let _second = may_go(&mut places[1]).await.expect("there is room for one more");
        assert!(may_go(&mut places[2]).await.is_none());
        turnstile.set(at_a_time(1));
        assert!(may_go(&mut places[2]).await.is_none());
        turnstile.set(Limit::default());
        for place in &mut places[2..] {
            assert!(may_go(place).await.is_some(), "nothing limits it any more");
        }
    }

    /// A limit of 2 whose places come from this world.
    fn shared(ask: impl Fn(u32) -> Places + Send + Sync + 'static) -> Arc<Turnstile> {
        let world = ToWorld::default();
        assert!(world.set(Box::new(move |_, _, wanted| Some(Ok(ask(wanted))))).is_ok());
        let turnstile = Arc::new(Turnstile::new("a", &world, &tokio::runtime::Handle::current()));
        turnstile.set(Limit { shared: true, ..at_a_time(2) });
        turnstile
    }

    fn all(held: u32) -> Places {
        Places { held, share: held }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn places_that_are_given_back_are_not_used_meanwhile() {
        let (asked, heard) = std::sync::mpsc::channel();
        let (answers, answer) = std::sync::mpsc::channel::<()>();
        let answer = Mutex::new(answer);
        let turnstile = shared(move |wanted| {
            asked.send(wanted).expect("the test listens");
            answer.lock().recv().expect("the test answers");
            all(wanted.min(2))
        });
        let next = move || heard.recv_timeout(Duration::from_secs(60)).expect("the world is asked");
        let first = turnstile.join();
        assert_eq!(next(), 1);
        answers.send(()).unwrap();
        drop(first.turn().await);
        // Nothing runs: at the latest after a while its place is given back. The world has heard of it, and does not answer yet.
        while next() > 0 {
            answers.send(()).unwrap();
        }
        let mut second = turnstile.join();
        assert!(may_go(&mut second).await.is_none(), "another host may have the place by now");
        answers.send(()).unwrap();
        assert_eq!(next(), 1);
        answers.send(()).unwrap();
        drop(second.turn().await);
        answers.send(()).unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_world_is_not_asked_all_the_time() {
        let (asked, heard) = std::sync::mpsc::channel();
        let turnstile = shared(move |wanted| {
            // The test has ended.
            let _ = asked.send(Instant::now());
            all(wanted.min(2))
        });
        let (_first, _second) = (turnstile.join().turn().await, turnstile.join().turn().await);
        let _third = turnstile.join();
        let times: Vec<_> = heard.iter().skip(4).take(5).collect();
        let between: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(between.iter().all(|wait| *wait >= Duration::from_millis(90)), "{between:?}");
    }

    #[tokio::test]
    async fn no_window_sees_more_than_the_count() {
        let rate = Rate { count: 3, per: Duration::from_millis(40) };
        let turnstile = turnstile(Limit { rate: Some(rate), ..Limit::default() });
        let mut times = Vec::new();
        for n in 0..10 {
            if n == 2 {
                tokio::time::sleep(Duration::from_millis(25)).await;
            }
            let pass = turnstile.join().turn().await;
            times.push(Instant::now());
            let turnstile = pass.0.as_ref().unwrap();
            let latest = *turnstile.state.lock().begun.back().unwrap();
            assert!(latest <= times[n]);
            times[n] = latest;
        }
        assert!(times.windows(4).all(|four| four[3] - four[0] >= rate.per), "{times:?}");
    }
}
