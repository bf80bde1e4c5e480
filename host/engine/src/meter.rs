//! What a script costs: operations, memory, time on the processor.
//!
//! Each thread has a meter. It runs while a fiber does; what is measured is kept in the [`Account`] of the run between two
//! slices. Operations are counted by Rhai's hook ([`tick`]), by native functions ([`spend`]), and by the allocator: a
//! single operation of the language may copy or drop a value of the largest size, and the blocks that takes are what tells
//! it from others. So the count is the same wherever a script runs, and depends on no clock.
//!
//! Two things do look at the clock. The *length* of a slice follows the time that the last one took: a script whose
//! operations are long gives way after fewer of them, which no script can notice. And a script that computes for minutes
//! between two durable calls, whatever its operations are, comes to an end.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Operations after which others may get a turn. One operation takes 30 ns as a rule, but milliseconds where it copies a
/// value of the largest size; see [`Pace`]. A switch takes 100 ns.
pub const SLICE: i64 = 512;

/// A slice that takes longer is followed by a shorter one.
const LONG: Duration = Duration::from_millis(4);

/// A slice that takes longer is followed by one whose time on the processor counts: 2 µs for each operation is not what
/// operations take by themselves, in builds without optimisation neither.
const SLOW: Duration = Duration::from_millis(1);

/// Time on the processor that a script may take between two durable calls for each operation it may make.
const TIME_PER_OPERATION: Duration = Duration::from_micros(1);

/// The least such time, however few operations are allowed.
const LEAST_TIME: Duration = Duration::from_secs(60);

/// What one operation may allocate before it counts as more than one, in operations: 32 blocks, or 16 KB.
const FREE: i64 = 64;

/// Operations for a block that is allocated (and freed), and bytes for another one.
const BLOCK: i64 = 2;
const BYTES: i64 = 256;

/// Bytes of growth after which the budgets are looked at.
const STEP: i64 = 1 << 20;

/// The blocks of which each link of a chain of closures takes two: the closure, and the variable it captured. Texts take
/// one of them too.
const LINK: usize = 40;

/// Such blocks in one run. A chain of half as many closures can be dropped on the stack of a fiber: see
/// [`RESERVE`](crate::fiber::RESERVE).
pub const MAX_LINKS: i64 = 180_000;

/// Bytes that the top level of a module may hold.
const LOADING_MEMORY: i64 = 64 << 20;

struct Meter {
    /// Operations left in this slice; below zero when it was overdrawn.
    left: Cell<i64>,
    /// Operations the slice began with.
    given: Cell<i64>,
    /// Whether what is allocated and freed now is a script's.
    script: Cell<bool>,
    bytes: Cell<i64>,
    links: Cell<i64>,
    /// The budgets are looked at when `bytes` comes to this.
    next: Cell<i64>,
    /// What was left when the operation began that allocated last, and what it has cost so far.
    operation: Cell<i64>,
    cost: Cell<i64>,
    /// The deepest place of the stack at which the script allocated or freed something.
    deepest: Cell<usize>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            left: Cell::new(SLICE),
            given: Cell::new(SLICE),
            script: Cell::new(false),
            bytes: Cell::new(0),
            links: Cell::new(0),
            next: Cell::new(i64::MAX),
            operation: Cell::new(0),
            cost: Cell::new(0),
            deepest: Cell::new(usize::MAX),
        }
    };
    /// When the slice began; the time on the processor then, where it counts.
    static BEGAN: Cell<Option<(Instant, Option<Duration>)>> = const { Cell::new(None) };
}

/// Counts an operation. `false`: the slice is over.
#[inline]
pub fn tick() -> bool {
    METER.with(|meter| {
        let left = meter.left.get() - 1;
        meter.left.set(left);
        left > 0
    })
}

/// Counts several at once. `false`: the slice is over.
#[inline]
pub fn spend(operations: u64) -> bool {
    METER.with(|meter| {
        let left = meter.left.get().saturating_sub(i64::try_from(operations).unwrap_or(i64::MAX / 2));
        meter.left.set(left);
        left > 0
    })
}

/// Operations made in this slice so far.
pub fn used() -> u64 {
    METER.with(|meter| u64::try_from(meter.given.get() - meter.left.get()).unwrap_or(0))
}

/// The same; the slice begins anew.
pub fn take_used() -> u64 {
    let used = used();
    METER.with(|meter| meter.left.set(meter.given.get()));
    used
}

/// Sets how many operations there are until the next look.
pub fn refill(operations: i64) {
    METER.with(|meter| {
        meter.given.set(operations);
        meter.left.set(operations);
    });
}

/// The slice ends with the next operation, so that limits are looked at.
pub fn cut_short() {
    METER.with(Meter::cut);
}

/// Called by the allocator, for everything that is allocated in the process.
#[inline]
pub fn allocated(size: usize) {
    METER.with(|meter| {
        if meter.script.get() {
            meter.links.set(meter.links.get() + i64::from(size == LINK));
            meter.grow(size as i64, BLOCK + size as i64 / BYTES);
        }
    });
}

#[inline]
pub fn freed(size: usize) {
    METER.with(|meter| {
        if meter.script.get() {
            meter.links.set(meter.links.get() - i64::from(size == LINK));
            meter.bytes.set(meter.bytes.get() - size as i64);
            meter.mark();
        }
    });
}

#[inline]
pub fn resized(from: usize, to: usize) {
    METER.with(|meter| {
        if meter.script.get() {
            meter.links.set(meter.links.get() + i64::from(to == LINK) - i64::from(from == LINK));
            let grown = to as i64 - from as i64;
            meter.grow(grown, BLOCK + grown.max(0) / BYTES);
        }
    });
}

impl Meter {
    #[inline]
    fn grow(&self, bytes: i64, cost: i64) {
        let bytes = self.bytes.get() + bytes;
        self.bytes.set(bytes);
        let left = self.left.get();
        let mut sum = cost;
        if self.operation.get() == left {
            sum += self.cost.get();
        } else {
            self.operation.set(left);
        }
        self.cost.set(sum);
        if sum > FREE {
            self.left.set(left - cost);
            self.operation.set(left - cost);
        }
        if bytes >= self.next.get() {
            self.next.set(i64::MAX);
            self.cut();
        }
        self.mark();
    }

    /// The slice ends with the next operation.
    #[cold]
    fn cut(&self) {
        let left = self.left.get();
        if left > 0 {
            self.given.set(self.given.get() - left);
            self.left.set(0);
        }
    }

    #[inline]
    fn mark(&self) {
        let here = 0_u8;
        let here = std::ptr::from_ref(&here).addr();
        if here < self.deepest.get() {
            self.deepest.set(here);
        }
    }
}

/// Runs `f` with the meter of memory off: what it allocates and frees is not the script's but the host's.
pub fn apart<R>(f: impl FnOnce() -> R) -> R {
    struct Back(bool);
    impl Drop for Back {
        fn drop(&mut self) {
            METER.with(|meter| meter.script.set(self.0));
        }
    }
    let _back = Back(METER.with(|meter| meter.script.replace(false)));
    f()
}

/// Makes what the host gave a script's own: a script that frees it must have allocated it, or it would be credit.
pub fn owned<T: Clone>(value: T) -> T {
    if !METER.with(|meter| meter.script.get()) {
        return value;
    }
    let own = value.clone();
    apart(|| drop(value));
    own
}

/// Runs `f` outside any run: with so many operations, and [`LOADING_MEMORY`].
pub fn bounded<R>(operations: i64, f: impl FnOnce() -> R) -> R {
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            METER.with(|meter| meter.script.set(false));
        }
    }
    let mut account = Account::default();
    account.begin();
    account.enter();
    let _off = Off;
    refill(operations);
    METER.with(|meter| meter.next.set(LOADING_MEMORY));
    f()
}

/// How much memory scripts may hold, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScriptMemory {
    /// For one run.
    pub run: u64,
    /// For all runs of a host together.
    pub all: u64,
}

impl Default for ScriptMemory {
    fn default() -> Self {
        ScriptMemory { run: 256 << 20, all: 1 << 30 }
    }
}

/// What all runs of a host hold.
#[derive(Debug, Default)]
pub struct Pool {
    bytes: AtomicI64,
    runs: AtomicUsize,
}

impl Pool {
    /// Bytes that scripts hold.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0)
    }
}

/// What a run holds and has spent, between two slices.
#[derive(Debug)]
pub struct Account {
    bytes: i64,
    links: i64,
    /// Bytes of stacks in use.
    stacks: i64,
    /// What the pool has been told of.
    told: i64,
    pool: Option<Arc<Pool>>,
    budgets: ScriptMemory,
    pace: Pace,
}

/// How fast its operations are.
#[derive(Debug)]
struct Pace {
    slice: i64,
    slow: bool,
    /// Time on the processor since the last durable call, of slices that were slow.
    time: Duration,
}

impl Default for Account {
    fn default() -> Self {
        let pace = Pace { slice: SLICE, slow: false, time: Duration::ZERO };
        Account { bytes: 0, links: 0, stacks: 0, told: 0, pool: None, budgets: ScriptMemory::default(), pace }
    }
}

impl Account {
    /// Whose it is. Later calls change nothing.
    pub fn open(&mut self, pool: &Arc<Pool>, budgets: ScriptMemory) {
        if self.pool.is_none() {
            pool.runs.fetch_add(1, Ordering::Relaxed);
            self.pool = Some(pool.clone());
            self.budgets = budgets;
        }
    }

    /// Begins a slice.
    pub fn begin(&mut self) {
        refill(self.pace.slice);
        BEGAN.set(Some((Instant::now(), self.pace.slow.then(processor_time).flatten())));
    }

    /// A fiber of the run goes on: from here on the meter counts for it.
    pub fn enter(&mut self) {
        METER.with(|meter| {
            meter.bytes.set(self.bytes);
            meter.links.set(self.links);
            meter.next.set(self.bytes + STEP);
            meter.operation.set(i64::MIN);
            meter.deepest.set(usize::MAX);
            meter.script.set(true);
        });
        // What waits holds stacks that no allocator sees.
        if self.bytes() > self.budgets.run {
            cut_short();
        }
    }

    /// It has stopped. `stack` is what the fiber has more of its stack in use than before. Gives the deepest place of the
    /// stack that was seen.
    pub fn leave(&mut self, stack: i64) -> usize {
        let deepest = METER.with(|meter| {
            meter.script.set(false);
            // Frees of what others allocated must not become credit.
            self.bytes = meter.bytes.get().max(0);
            self.links = meter.links.get().max(0);
            meter.deepest.get()
        });
        self.stacks += stack;
        self.tell(self.bytes);
        deepest
    }

    /// A durable call was answered: the time begins anew.
    pub fn answered(&mut self) {
        self.pace.time = Duration::ZERO;
    }

    /// Bytes it holds.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.bytes + self.stacks).unwrap_or(0)
    }

    /// At the end of a slice: what budget is exceeded, if any.
    pub fn look(&mut self, operations: u64) -> Option<String> {
        self.keep_pace();
        let (bytes, links) = METER.with(|meter| (meter.bytes.get(), meter.links.get()));
        let all = self.tell(bytes);
        METER.with(|meter| meter.next.set(bytes + STEP));
        if links > MAX_LINKS {
            return Some(format!(
                "the script holds more than {MAX_LINKS} texts and closures at a time (the limit `closures`): are there \
                 closures that capture each other in a chain?"
            ));
        }
        let held = bytes + self.stacks;
        let budget = i64::try_from(self.budgets.run).unwrap_or(i64::MAX);
        if held > budget {
            return Some(format!(
                "the script holds {} of memory, more than {} (the limit `run_memory`): keep large data outside the run and \
                 pass references, and do not gather what can be worked off piece by piece",
                size(held),
                size(budget)
            ));
        }
        let budget = i64::try_from(self.budgets.all).unwrap_or(i64::MAX);
        let runs = self.pool.as_ref().map_or(1, |pool| pool.runs.load(Ordering::Relaxed).max(1));
        // The run that asks for more is not necessarily the one that has too much.
        let share = budget / i64::try_from(runs).unwrap_or(i64::MAX).max(1);
        if all > budget && held > share {
            return Some(format!(
                "all scripts of this host hold {} of memory, more than {} (the limit `script_memory`), and this one holds {}, \
                 more than its share of {}",
                size(all),
                size(budget),
                size(held),
                size(share)
            ));
        }
        let most = LEAST_TIME.max(TIME_PER_OPERATION.saturating_mul(u32::try_from(operations).unwrap_or(u32::MAX)));
        if self.pace.time > most {
            return Some(format!(
                "the script computed for more than {} seconds without a durable call (the limit `operations`): its operations \
                 work on large values",
                most.as_secs()
            ));
        }
        None
    }

    fn keep_pace(&mut self) {
        let Some((began, time)) = BEGAN.take() else { return };
        let took = began.elapsed();
        let pace = &mut self.pace;
        if let (Some(then), Some(now)) = (time, processor_time()) {
            pace.time += now.saturating_sub(then);
        }
        pace.slow = took > SLOW;
        pace.slice = if took > LONG { (pace.slice / 4).max(1) } else { (pace.slice * 2).min(SLICE) };
        BEGAN.set(Some((Instant::now(), pace.slow.then(processor_time).flatten())));
        METER.with(|meter| {
            meter.given.set(pace.slice);
            meter.left.set(pace.slice);
        });
    }

    /// Tells the pool, and gives what all runs hold.
    fn tell(&mut self, bytes: i64) -> i64 {
        let Some(pool) = &self.pool else { return 0 };
        let holds = bytes.max(0) + self.stacks;
        let change = holds - std::mem::replace(&mut self.told, holds);
        pool.bytes.fetch_add(change, Ordering::Relaxed) + change
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.runs.fetch_sub(1, Ordering::Relaxed);
            pool.bytes.fetch_sub(self.told, Ordering::Relaxed);
        }
    }
}

/// What this thread has had of the processor; nothing where the system does not say.
fn processor_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let seconds = u64::try_from(time.tv_sec).ok()?;
        Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
    }
    #[cfg(not(unix))]
    None
}

fn size(bytes: i64) -> String {
    let mega = bytes as f64 / f64::from(1 << 20);
    if mega >= 10.0 { format!("{mega:.0} MiB") } else { format!("{mega:.1} MiB") }
}
