//! Fibers: scripts that wait inside a native call while their thread does something else.
//!
//! A fiber is a stackful coroutine. It never leaves its thread. Any native function that runs inside one may call
//! [`suspend`]; [`Fiber::resume`] comes back then, and the next `resume` goes on where the fiber stopped. Dropping a
//! fiber that has not ended unwinds its stack, through Rhai's frames too, so everything it held is freed.
//!
//! Beside `memory.rs` this file holds the only unsafe code of durhai.
#![allow(unsafe_code)]

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr;

use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// Bytes of address space a fiber's stack takes; only what is touched takes memory (about 13 KB for a script that waits
/// in its first step).
///
/// Scripts need little of it: 64 levels of calls take about 1 MB (4.5 MB unoptimised). The rest is for Rhai's own
/// recursion over nested data, which nothing can interrupt: see [`RESERVE`].
pub const STACK_SIZE: usize = if cfg!(debug_assertions) { 256 << 20 } else { 64 << 20 };

/// Bytes that must be left when a script makes an operation; with less the run ends with a clean error.
///
/// Copying, measuring, printing and dropping nested data recurse once a level in Rhai, without a look at the stack. Measured
/// with Rhai 1.27, bytes a level: arrays 191 copied, 112 measured, 256 printed; maps 319, 95, 143 (release); 768 and
/// 1408 copied, 896 and 1264 printed (no optimisation at all). With at most 100 000 elements of each kind in one value
/// (`ScriptLimits`) that comes to 51 MB and 218 MB.
///
/// Not bounded by that: closures that capture closures, one in the other, which Rhai's limits do not count. Dropping such
/// a chain takes 240 to 560 bytes a link (twice that without optimisation), so it holds 100 000 links and more; the meter
/// bounds them, where an allocator counts: see [`MAX_LINKS`](crate::meter::MAX_LINKS).
pub const RESERVE: usize = if cfg!(debug_assertions) { 232 << 20 } else { 54 << 20 };

/// Stacks kept for the next fiber, at most, a thread.
const POOLED: usize = 512;

/// A fiber whose stack was used so much deeper than where it waits gives the difference back.
const DEEP: usize = 1 << 20;

/// A stack that was used deeper than this is given back to the system instead of being kept.
const SHALLOW: usize = 64 << 10;

thread_local! {
    /// The yielder of the fiber that runs now on this thread; null outside.
    static YIELDER: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };
    /// Below this address the stack is too full.
    static FLOOR: Cell<usize> = const { Cell::new(0) };
    /// Where the fiber waits that suspended last.
    static WAITS_AT: Cell<usize> = const { Cell::new(0) };
    static POOL: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// A function that can wait.
pub struct Fiber {
    /// There until the fiber is dropped.
    coroutine: Option<Coroutine<(), (), (), DefaultStack>>,
    floor: usize,
    /// The addresses at which the stack ends and begins.
    stack: (usize, usize),
    /// Where it waits; the beginning of the stack before it has begun and after it has ended.
    waits_at: usize,
}

impl Fiber {
    /// Prepares a fiber; `body` starts with the first [`Fiber::resume`]. Fails when the system has no memory map left
    /// (two a fiber; Linux allows 65 530 a process).
    pub fn new(body: impl FnOnce() + 'static) -> io::Result<Self> {
        let stack = take_stack()?;
        let (limit, base) = (stack.limit().get(), stack.base().get());
        let coroutine = Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            YIELDER.set(yielder);
            body();
        });
        Ok(Fiber { coroutine: Some(coroutine), floor: limit + RESERVE, stack: (limit, base), waits_at: base })
    }

    /// Runs until the fiber suspends (`false`) or ends (`true`). A panic inside comes out of here. Must not be called
    /// again after the end.
    pub fn resume(&mut self) -> bool {
        let coroutine = self.coroutine.as_mut().expect("there until dropped");
        let _outer = Outer::leave(self.floor);
        self.waits_at = self.stack.1;
        let ended = matches!(coroutine.resume(()), CoroutineResult::Return(()));
        if !ended {
            self.waits_at = WAITS_AT.get();
        }
        ended
    }

    /// Bytes of its stack that are in use while it waits.
    pub fn stack_in_use(&self) -> usize {
        self.stack.1 - self.waits_at
    }

    /// Gives the memory below the place where it waits back to the system, if the stack was used much deeper than that:
    /// down to the address `deepest`.
    pub fn give_back_below(&self, deepest: usize) {
        #[cfg(unix)]
        if deepest >= self.stack.0 && deepest.saturating_add(DEEP) < self.waits_at {
            const PAGE: usize = 64 << 10;
            // Room for what a signal or the red zone puts below the stack pointer.
            let high = (self.waits_at - PAGE) & !(PAGE - 1);
            let low = self.stack.0.next_multiple_of(PAGE);
            // SAFETY: the range lies inside the mapping that the fiber's stack owns and below everything that its frames
            // hold, since it waits above. The advice makes zeroes of it, which is what a stack begins with.
            unsafe {
                libc::madvise(ptr::with_exposed_provenance_mut(low), high - low, libc::MADV_DONTNEED);
            }
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        let Some(mut coroutine) = self.coroutine.take() else { return };
        // While the stack unwinds there is no yielder: a destructor that tried to suspend would panic, not switch from a
        // stack that is not its own.
        let _outer = Outer::leave(0);
        coroutine.force_unwind();
        give_back(coroutine.into_stack());
    }
}

/// Waits until the fiber is resumed. Panics outside a fiber.
pub fn suspend() {
    let yielder = YIELDER.get();
    assert!(!yielder.is_null(), "only a fiber can wait");
    let here = 0_u8;
    WAITS_AT.set(ptr::from_ref(&here).addr());
    // SAFETY: the pointer is set by the body of a fiber and after each return from a suspension of that same fiber, and
    // `Outer` puts the former one back whenever control leaves the fiber. So whenever it is not null, it belongs to the
    // fiber whose stack this code runs on, and a fiber's yielder lives at the base of its stack until its body returns.
    unsafe { (*yielder).suspend(()) };
    YIELDER.set(yielder);
}

/// Whether this code runs in a fiber.
pub fn inside() -> bool {
    !YIELDER.get().is_null()
}

/// Whether the stack has less than [`RESERVE`] left. Cheap enough to ask at every operation of a script.
#[inline]
pub fn stack_is_low() -> bool {
    let here = 0_u8;
    ptr::from_ref(&here).addr() < FLOOR.get()
}

/// Runs `f` to its end on a stack as large as a fiber's: for work that may recurse as deeply as script data nests. `f`
/// must not suspend.
pub fn on_large_stack(f: impl FnOnce() + 'static) -> io::Result<()> {
    let mut fiber = Fiber::new(f)?;
    assert!(fiber.resume(), "work on a large stack must not wait");
    Ok(())
}

/// What the thread-locals were outside the fiber that is being entered; put back when dropped, by return or by panic.
struct Outer {
    yielder: *const Yielder<(), ()>,
    floor: usize,
}

impl Outer {
    /// The fiber sets its yielder itself when it starts and when it goes on; until then there is none.
    fn leave(floor: usize) -> Self {
        Outer { yielder: YIELDER.replace(ptr::null()), floor: FLOOR.replace(floor) }
    }
}

impl Drop for Outer {
    fn drop(&mut self) {
        YIELDER.set(self.yielder);
        FLOOR.set(self.floor);
    }
}

fn take_stack() -> io::Result<DefaultStack> {
    if let Some(stack) = POOL.with_borrow_mut(Vec::pop) {
        return Ok(stack);
    }
    let stack = DefaultStack::new(STACK_SIZE)?;
    #[cfg(target_os = "linux")]
    // A huge page (2 MB) under each of thousands of waiting fibers is what a kernel set to `always` would give.
    // SAFETY: the range is exactly the mapping that `stack` owns, and the advice does not change what it holds.
    unsafe {
        let (low, high) = (stack.limit().get(), stack.base().get());
        libc::madvise(ptr::with_exposed_provenance_mut(low), high - low, libc::MADV_NOHUGEPAGE);
    }
    Ok(stack)
}

fn give_back(stack: DefaultStack) {
    POOL.with_borrow_mut(|pool| {
        if pool.len() < POOLED && !was_used_deeply(&stack) {
            pool.push(stack);
        }
    });
}

/// Looks whether the page at the depth [`SHALLOW`] was ever written to. Compilers touch every page that a stack grows
/// over, and frames are full of addresses, so a page of zeroes was never reached; reading it takes no memory.
fn was_used_deeply(stack: &DefaultStack) -> bool {
    const WORDS: usize = 4096 / size_of::<usize>();
    let page: *const usize = ptr::with_exposed_provenance(stack.base().get() - SHALLOW);
    // SAFETY: the page lies inside the mapping that `stack` owns (it is far larger than `SHALLOW`) and above its guard
    // page, it is aligned because the base is, no fiber runs on the stack any more, and an anonymous mapping is
    // initialised memory (zeroes).
    (0..WORDS).any(|word| unsafe { page.add(word).read_volatile() } != 0)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn fibers_take_turns() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let mut fibers: Vec<_> = (0..3)
            .map(|n| {
                let seen = seen.clone();
                Fiber::new(move || {
                    for turn in 0..2 {
                        seen.borrow_mut().push((turn, n));
                        suspend();
                    }
                })
                .expect("a stack")
            })
            .collect();
        for _ in 0..2 {
            assert!(fibers.iter_mut().all(|fiber| !fiber.resume()));
        }
        assert!(fibers.iter_mut().all(Fiber::resume));
        assert_eq!(*seen.borrow(), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
        assert!(!inside());
    }

    #[test]
    fn a_fiber_may_run_another_one() {
        let mut outer = Fiber::new(|| {
            let mut inner = Fiber::new(suspend).expect("a stack");
            assert!(!inner.resume());
            suspend();
            assert!(inner.resume());
        })
        .expect("a stack");
        assert!(!outer.resume());
        assert!(outer.resume());
    }

    #[test]
    fn dropping_frees_what_a_waiting_fiber_holds() {
        let held = Rc::new(());
        let mut fiber = Fiber::new({
            let held = held.clone();
            move || {
                let _mine = held;
                suspend();
                unreachable!("never resumed");
            }
        })
        .expect("a stack");
        assert!(!fiber.resume());
        assert_eq!(Rc::strong_count(&held), 2);
        drop(fiber);
        assert_eq!(Rc::strong_count(&held), 1);
    }

    #[test]
    fn a_panic_comes_out_of_resume() {
        let mut fiber = Fiber::new(|| panic!("from inside")).expect("a stack");
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fiber.resume()));
        assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"from inside"));
        assert!(!inside());
    }

    #[test]
    fn deep_stacks_are_not_kept() {
        fn dig(levels: usize) -> usize {
            let frame = std::hint::black_box([levels; 64]);
            if levels == 0 { 0 } else { dig(levels - 1) + frame[1].min(1) }
        }
        std::thread::spawn(|| {
            on_large_stack(|| ()).expect("a stack");
            assert_eq!(POOL.with_borrow(Vec::len), 1);
            on_large_stack(|| assert_eq!(dig(1_000), 1_000)).expect("a stack");
            assert_eq!(POOL.with_borrow(Vec::len), 0);
        })
        .join()
        .expect("no panic");
    }
}
