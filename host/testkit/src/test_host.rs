//! Hosts over a world that outlives them.

use std::sync::Arc;

use durhai::clock::Clock;
use durhai::{Event, Host, HostBuilder, MemoryWorld, Millis, Query, RunId, StepContext, StepError, Value, World};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::SimClock;
use crate::doubles::StepDoubles;
use crate::fault::{Fault, FaultWorld};
use crate::pulse::{PATIENCE, Pulse};
use crate::quiet::{Quiet, events, quiet};

/// A world in memory, a clock that stands still, and what each host on them has: its workflows and steps.
///
/// ```
/// # async fn demo() {
/// use durhai_testkit::TestHost;
///
/// let test = TestHost::new().echo().workflow("order", r#"sleep("1 day"); use_step("echo", input)"#);
/// let first = test.start().await;
/// first.run("order").id("o").input(&7).start().await.unwrap();
/// test.rests().await;
/// first.shutdown().await;
/// // Another one takes over, a day later.
/// test.clock.advance(86_400_000);
/// let run = test.start().await.get("o").await.unwrap();
/// assert_eq!(run.output::<i64>().await.unwrap(), 7);
/// # }
/// ```
pub struct TestHost {
    pub world: Arc<MemoryWorld>,
    pub clock: Arc<SimClock>,
    /// Beats at every write of a host that has a [connection](TestHost::connect).
    pub pulse: Pulse,
    parts: Vec<Part>,
}

type Part = Box<dyn Fn(HostBuilder) -> HostBuilder + Send + Sync>;

/// Where a host is that does nothing more by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Its connection is down.
    Dead,
    /// Nothing happens before that moment, or ever.
    Until(Option<Millis>),
}

impl Default for TestHost {
    fn default() -> Self {
        TestHost { world: Arc::default(), clock: Arc::default(), pulse: Pulse::default(), parts: Vec::new() }.workers(2)
    }
}

impl TestHost {
    /// Two workers, and nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// What every host has from now on.
    #[must_use]
    pub fn with(mut self, part: impl Fn(HostBuilder) -> HostBuilder + Send + Sync + 'static) -> Self {
        self.parts.push(Box::new(part));
        self
    }

    #[must_use]
    pub fn workflow(self, name: impl Into<String>, script: impl Into<String>) -> Self {
        let (name, script) = (name.into(), script.into());
        self.with(move |builder| builder.workflow(&*name, &*script))
    }

    /// As [`HostBuilder::step`].
    #[must_use]
    pub fn step<F, Fut, I, O, E>(self, name: impl Into<String>, function: F) -> Self
    where
        F: Fn(StepContext, I) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<O, E>> + Send + 'static,
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        E: Into<StepError> + 'static,
    {
        let name = name.into();
        self.with(move |builder| builder.step(&*name, function.clone()))
    }

    /// A step `echo`, which gives its input.
    #[must_use]
    pub fn echo(self) -> Self {
        self.step("echo", async |_: StepContext, input: Value| Ok::<_, StepError>(input))
    }

    #[must_use]
    pub fn workers(self, count: usize) -> Self {
        self.with(move |builder| builder.workers(count))
    }

    /// A host on the world itself.
    pub fn builder(&self) -> HostBuilder {
        self.builder_on(self.world.clone())
    }

    /// One on another world, or on a connection to this one.
    pub fn builder_on(&self, world: Arc<dyn World>) -> HostBuilder {
        let builder = Host::builder().shared_world(world).clock(self.clock.clone());
        self.parts.iter().fold(builder, |builder, part| part(builder))
    }

    /// A connection to the world, for one host.
    pub fn connect(&self, fault: Fault) -> FaultWorld {
        FaultWorld::new(self.world.clone(), fault, self.pulse.clone())
    }

    pub async fn start(&self) -> Host {
        self.builder().start().await.expect("a host starts")
    }

    /// A host that dies of this fault, with its connection.
    pub async fn start_with(&self, fault: Fault) -> (Arc<FaultWorld>, Host) {
        let connection = Arc::new(self.connect(fault));
        (connection.clone(), self.builder_on(connection).start().await.expect("a host starts"))
    }

    /// Steps for one host, each attempt of which waits until the test ends it.
    pub fn doubles(&self) -> Arc<StepDoubles> {
        StepDoubles::new(self.pulse.clone())
    }

    /// Ends what is left of a host that died, and its claims, as the end of its process does.
    pub async fn bury(&self, dead: &Host) {
        dead.shutdown().await;
        self.world.crash();
    }

    /// `None`: the host is still at work.
    pub fn settled(&self, connection: &FaultWorld) -> Option<Settled> {
        if connection.is_down() {
            return Some(Settled::Dead);
        }
        match quiet(&*self.world, self.clock.now()) {
            Quiet::Busy => None,
            // It may have died of what led to that.
            Quiet::Until(_) if connection.is_down() => Some(Settled::Dead),
            Quiet::Until(next) => Some(Settled::Until(next)),
        }
    }

    /// Lets everything happen that happens by itself, now and later. `false`: the host died.
    pub async fn settle(&self, connection: &FaultWorld) -> bool {
        loop {
            match self.pulse.until(|| self.settled(connection), || "a host that rests").await {
                Settled::Dead => return false,
                Settled::Until(Some(next)) => self.clock.set(next),
                Settled::Until(None) => return true,
            }
        }
    }

    /// Waits until nothing happens any more unless time goes on, of any host. When it goes on by itself.
    pub async fn rests(&self) -> Option<Millis> {
        self.rests_on(&*self.world).await
    }

    /// The same of another world.
    pub async fn rests_on(&self, world: &dyn World) -> Option<Millis> {
        let rests = async {
            loop {
                match quiet(world, self.clock.now()) {
                    Quiet::Until(next) => return next,
                    Quiet::Busy => tokio::task::yield_now().await,
                }
            }
        };
        let rested = tokio::time::timeout(PATIENCE, rests).await;
        rested.unwrap_or_else(|_| panic!("the runs do not come to rest: {:#?}", world.list(&Query::default())))
    }

    /// Lets time pass up to that moment, from one thing that happens by itself to the next.
    pub async fn until(&self, end: Millis) {
        while let Some(next) = self.rests().await.filter(|next| *next <= end) {
            self.clock.set(next);
        }
    }

    /// The log of a run, as it is stored.
    pub fn log(&self, run: &RunId) -> Vec<Event> {
        events(&*self.world, run)
    }
}
