//! Where Rust's memory comes from, and whether there is any. PostgreSQL's own is not touched by this.
//!
//! Rust ends the process where there is none, and with it the server. So what takes much of it, because of what a statement or an answer
//! has, [asks](look_for) before.
//!
//! Small blocks are mimalloc's: an invocation has hundreds, and the backend and the network thread free each other's, for which glibc
//! takes a lock. Big ones, payloads among them, are the system allocator's, which gives their pages back when they are freed.

use crate::error::Error;
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};

// A fuzzer watches memory by an allocator of its own.
#[cfg_attr(not(fuzzing), global_allocator)]
#[cfg_attr(fuzzing, allow(dead_code))]
static MEMORY: Memory = Memory;

/// Bytes from which on a block is big.
pub const BIG: usize = 128 << 10;

/// Address space in KiB that mimalloc takes at once, of which it uses as much as it needs. Its own default is a gigabyte, for each
/// backend.
const RESERVED: i64 = 64 << 10;

/// mimalloc's number for that setting (`mi_option_arena_reserve` in mimalloc.h), for which the crate has no name.
const ARENA_RESERVE: libmimalloc_sys::mi_option_t = 23;

/// What is left over for all that does not ask.
const RESERVE: usize = 16 << 20;

/// Errors with [`Error::OutOfMemory`] if there are not so many bytes, where they are many.
pub fn look_for(bytes: usize, what: &'static str) -> Result<(), Error> {
    match bytes < BIG || is_there(bytes) {
        true => Ok(()),
        false => Err(Error::OutOfMemory { what, bytes }),
    }
}

/// Whether there are so many bytes, and some over. It takes them for a moment, and touches none.
pub fn is_there(bytes: usize) -> bool {
    let length = bytes.saturating_add(RESERVE);
    // SAFETY: maps pages that are nobody's, and unmaps the same.
    unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let start = libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0);
        start != libc::MAP_FAILED && libc::munmap(start, length) == 0
    }
}

struct Memory;

/// Runs while the library is loaded, as pgrx takes memory before it calls anything of ours.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static PREPARE: extern "C" fn() = prepare;

extern "C" fn prepare() {
    // SAFETY: sets a number that is read when address space is taken.
    unsafe { libmimalloc_sys::mi_option_set(ARENA_RESERVE, RESERVED) };
}

// SAFETY: a block is freed by the allocator that it came from, which its size tells.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe {
            match layout.size() {
                ..BIG => MiMalloc.alloc(layout),
                BIG.. => System.alloc(layout),
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe {
            match layout.size() {
                ..BIG => MiMalloc.alloc_zeroed(layout),
                BIG.. => System.alloc_zeroed(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe {
            match layout.size() {
                ..BIG => MiMalloc.dealloc(block, layout),
                BIG.. => System.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's; a block that changes sides is copied as far as both of it reach.
        unsafe {
            match (layout.size(), size) {
                (..BIG, ..BIG) => MiMalloc.realloc(block, layout, size),
                (BIG.., BIG..) => System.realloc(block, layout, size),
                (before, size) => {
                    let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !moved.is_null() {
                        moved.copy_from_nonoverlapping(block, size.min(before));
                        self.dealloc(block, layout);
                    }
                    moved
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_change_sides_keep_what_is_in_them() {
        let mut bytes = Vec::new();
        for byte in 0..BIG * 3 {
            bytes.push(byte as u8);
        }
        bytes.truncate(BIG / 2);
        bytes.shrink_to_fit();
        assert!(bytes.capacity() < BIG);
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8));
    }
}
