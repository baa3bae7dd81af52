//! A bump allocator for provider modules, which hardly ever frees. An instance answers one call and is then dropped with all
//! its memory, so that bookkeeping would only cost time. Compiled for WebAssembly only.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The page size of WebAssembly.
const PAGE: usize = 64 * 1024;
/// Pages to grow by at a time: a call to the host costs more than clearing unused pages.
const PAGES: usize = 2;

/// The allocator. Modules are single-threaded, so the atomics compile to plain cells.
struct Arena {
    /// The first free byte; 0 before the first allocation.
    next: AtomicUsize,
    /// The end of memory.
    end: AtomicUsize,
}

#[global_allocator]
static ARENA: Arena = Arena { next: AtomicUsize::new(0), end: AtomicUsize::new(0) };

unsafe extern "C" {
    /// Set by the linker: the start of free memory.
    static __heap_base: u8;
}

impl Arena {
    /// Reserves `size` bytes from `start` on.
    fn reserve(&self, start: usize, size: usize) -> Option<usize> {
        let end = start.checked_add(size)?;
        if end > self.end.load(Relaxed) {
            self.grow(end)?;
        }
        self.next.store(end, Relaxed);
        Some(start)
    }

    #[cold]
    fn grow(&self, end: usize) -> Option<()> {
        let current = wasm32::memory_size::<0>() * PAGE;
        if end > current {
            let pages = (end - current).div_ceil(PAGE).max(PAGES);
            if wasm32::memory_grow::<0>(pages) == usize::MAX {
                return None;
            }
        }
        self.end.store(wasm32::memory_size::<0>() * PAGE, Relaxed);
        Some(())
    }

    fn start(&self, align: usize) -> Option<usize> {
        let next = match self.next.load(Relaxed) {
            0 => (&raw const __heap_base).addr(),
            next => next,
        };
        Some(next.checked_add(align - 1)? & !(align - 1))
    }
}

// SAFETY: every block lies between the heap's base and the end of memory and is aligned as requested, and `next` only moves
// back over a block when that block is freed.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.start(layout.align()).and_then(|start| self.reserve(start, layout.size()));
        start.map_or(core::ptr::null_mut(), core::ptr::with_exposed_provenance_mut)
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // Freeing the last block costs nothing.
        if block.addr() + layout.size() == self.next.load(Relaxed) {
            self.next.store(block.addr(), Relaxed);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let last = block.addr() + layout.size() == self.next.load(Relaxed);
        if last {
            return match self.reserve(block.addr(), size) {
                Some(_) => block,
                None => core::ptr::null_mut(),
            };
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the new block does not overlap the old one, and is at least as long as what is copied.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !new.is_null() {
                core::ptr::copy_nonoverlapping(block, new, layout.size());
            }
            new
        }
    }
}
