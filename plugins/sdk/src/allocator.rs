//! The allocator of a plugin: small blocks from lists of free ones, a list a size; the rest from the standard library's.
//!
//! A function that makes a `String` a value, or a failure with its two texts, allocates and frees small blocks in turn. The standard library's
//! allocator for WebAssembly sorts and joins them each time: measured, 11 ns a block instead of 3.
#![allow(unsafe_code, reason = "an allocator hands out addresses")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Sizes of small blocks are multiples of this, and so are their addresses.
const UNIT: usize = 16;
/// Largest small block, in units.
const LARGEST: usize = 8;
/// Small blocks are cut off pieces of this many bytes.
const PIECE: usize = 4_096;

/// A free block, which begins with where the next one is.
struct Free(Option<NonNull<Free>>);

/// What [`plugin!`](crate::plugin) makes the component's allocator. A small block is kept for others of its size until the instance ends.
pub struct Allocator {
    /// By size: one unit, two units, …
    free: [Cell<Option<NonNull<Free>>>; LARGEST],
    /// What is left of the last piece.
    piece: Cell<*mut u8>,
    left: Cell<usize>,
}

// SAFETY: without atomics WebAssembly has one thread.
#[cfg(all(target_arch = "wasm32", not(target_feature = "atomics")))]
unsafe impl Sync for Allocator {}

impl Allocator {
    /// Nothing is allocated yet.
    #[allow(clippy::new_without_default, reason = "a static needs a constant")]
    pub const fn new() -> Self {
        Self { free: [const { Cell::new(None) }; LARGEST], piece: Cell::new(ptr::null_mut()), left: Cell::new(0) }
    }

    /// The list of free blocks that are large enough, and how large they are; `None` for what is not small.
    #[inline]
    fn list(&self, layout: Layout) -> Option<(&Cell<Option<NonNull<Free>>>, usize)> {
        if layout.align() > UNIT {
            return None;
        }
        let units = layout.size().div_ceil(UNIT);
        self.free.get(units.checked_sub(1)?).map(|list| (list, units * UNIT))
    }

    /// A block that nobody had before.
    #[cold]
    #[inline(never)]
    fn cut(&self, size: usize) -> *mut u8 {
        if self.left.get() < size {
            // What is left of the last piece is less than the largest small block, and is given up.
            // SAFETY: the size is not zero, and the alignment a power of two.
            let piece = unsafe { System.alloc(Layout::from_size_align_unchecked(PIECE, UNIT)) };
            if piece.is_null() {
                return piece;
            }
            self.piece.set(piece);
            self.left.set(PIECE);
        }
        let block = self.piece.get();
        // SAFETY: so many bytes are left of the piece.
        self.piece.set(unsafe { block.add(size) });
        self.left.set(self.left.get() - size);
        block
    }
}

// SAFETY: a block is in a list, or with whoever asked for it, and never in two places; blocks of a list have its size, and are aligned
// to it or to 16 bytes. What is not small is the standard library's.
unsafe impl GlobalAlloc for Allocator {
    // Not inlined: that would be no faster and, in every place that makes a text, several kilobytes in all.
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some((list, size)) = self.list(layout) else {
            // SAFETY: as the caller says.
            return unsafe { System.alloc(layout) };
        };
        match list.get() {
            Some(block) => {
                // SAFETY: a free block begins with the next one.
                list.set(unsafe { block.read() }.0);
                block.as_ptr().cast()
            }
            None => self.cut(size),
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match (self.list(layout), NonNull::new(block.cast::<Free>())) {
            (Some((list, _)), Some(free)) => {
                // SAFETY: the block is large enough and nobody's any more.
                unsafe { free.write(Free(list.get())) };
                list.set(Some(free));
            }
            // SAFETY: as the caller says.
            _ => unsafe { System.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller says.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        match (self.list(layout), self.list(wanted)) {
            // SAFETY: both are the standard library's.
            (None, None) => unsafe { System.realloc(block, layout, size) },
            (Some((_, had)), Some((_, has))) if had == has => block,
            // SAFETY: two blocks, of which at least so many bytes are the caller's.
            _ => unsafe {
                let new = self.alloc(wanted);
                if !new.is_null() {
                    ptr::copy_nonoverlapping(block, new, layout.size().min(size));
                    self.dealloc(block, layout);
                }
                new
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn layout(size: usize) -> Layout {
        Layout::from_size_align(size, 1 << size.trailing_zeros().min(3)).unwrap()
    }

    /// Fills a block with a byte.
    fn fill(block: *mut u8, size: usize, byte: u8) {
        assert!(!block.is_null() && block.addr().is_multiple_of(layout(size).align()));
        unsafe { block.write_bytes(byte, size) };
    }

    fn holds(block: *mut u8, size: usize, byte: u8) -> bool {
        unsafe { std::slice::from_raw_parts(block, size) }.iter().all(|held| *held == byte)
    }

    #[test]
    fn blocks_are_never_two_owners() {
        let allocator = Allocator::new();
        let mut live: BTreeMap<usize, (*mut u8, usize, u8)> = BTreeMap::new();
        let mut chance = 1_u64;
        for turn in 0..20_000_usize {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let (size, slot) = ((chance >> 40) as usize % 200 + 1, (chance >> 20) as usize % 64);
            let byte = u8::try_from(turn % 251).unwrap();
            let next = match live.remove(&slot) {
                None => Some(unsafe { allocator.alloc(layout(size)) }),
                Some((block, had, held)) => {
                    assert!(holds(block, had, held), "turn {turn}");
                    if turn % 3 == 0 {
                        let block = unsafe { allocator.realloc(block, layout(had), size) };
                        // What was there moves along. The alignment is that of the first layout.
                        assert!(holds(block, had.min(size), held), "turn {turn}");
                        unsafe {
                            allocator.dealloc(block, Layout::from_size_align(size, layout(had).align()).unwrap())
                        };
                    } else {
                        unsafe { allocator.dealloc(block, layout(had)) };
                    }
                    None
                }
            };
            if let Some(block) = next {
                fill(block, size, byte);
                live.insert(slot, (block, size, byte));
            }
        }
        for (block, size, byte) in live.into_values() {
            assert!(holds(block, size, byte));
            unsafe { allocator.dealloc(block, layout(size)) };
        }
    }

    #[test]
    fn what_is_freed_is_used_again() {
        let allocator = Allocator::new();
        let first = unsafe { allocator.alloc(layout(13)) };
        unsafe { allocator.dealloc(first, layout(13)) };
        let others: Vec<*mut u8> = (1..=UNIT).map(|size| unsafe { allocator.alloc(layout(size)) }).collect();
        assert_eq!(others[0], first);
        let mut apart = others.clone();
        apart.sort();
        assert!(apart.windows(2).all(|pair| pair[1].addr() - pair[0].addr() >= UNIT));
        assert_eq!(unsafe { allocator.realloc(first, layout(1), UNIT) }, first, "it is as large as that");
    }
}
