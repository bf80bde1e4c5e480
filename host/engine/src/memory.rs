//! An allocator that tells the [`meter`] of each thread what is allocated and freed on it.
//!
//! Rhai has no place where all values are made, grown and copied but the allocator, and nothing else can say what a script
//! holds. An embedder puts [`CountingAllocator`] around the allocator of the program; without it the limits of
//! single values hold, and nothing counts their sum.
//!
//! Beside `fiber.rs` this file holds the only unsafe code of durhai: an allocator cannot be written without.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::meter;

/// Counts what scripts allocate, and leaves the work to `A`.
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: durhai_engine::CountingAllocator = durhai_engine::CountingAllocator::system();
///
/// assert!(durhai_engine::memory_is_counted());
/// ```
///
/// Outside of scripts it costs a look at a thread-local, about a nanosecond an allocation.
#[derive(Debug, Clone, Copy, Default)]
pub struct CountingAllocator<A = System>(A);

impl<A> CountingAllocator<A> {
    pub const fn new(allocator: A) -> Self {
        CountingAllocator(allocator)
    }
}

impl CountingAllocator {
    /// Around the system's allocator.
    pub const fn system() -> Self {
        CountingAllocator(System)
    }
}

/// Whether a [`CountingAllocator`] is the allocator of this program.
pub fn memory_is_counted() -> bool {
    // Whatever has been allocated so far, this is.
    drop(std::hint::black_box(Box::new(0_u8)));
    INSTALLED.load(Ordering::Relaxed)
}

static INSTALLED: AtomicBool = AtomicBool::new(false);

// SAFETY: every call goes to `A` as it came, and `A` keeps the promises of an allocator. What is added touches thread-locals
// that need no initialisation and have no destructor, and an atomic; it neither allocates nor panics.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        meter::allocated(layout.size());
        note();
        // SAFETY: as promised by the caller.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        meter::allocated(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        meter::freed(layout.size());
        // SAFETY: as promised by the caller.
        unsafe { self.0.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        meter::resized(layout.size(), size);
        // SAFETY: as promised by the caller.
        unsafe { self.0.realloc(block, layout, size) }
    }
}

#[inline]
fn note() {
    if !INSTALLED.load(Ordering::Relaxed) {
        INSTALLED.store(true, Ordering::Relaxed);
    }
}
