//! Where Rust's memory comes from, and whether there is any. PostgreSQL's own is not touched by this.
//!
//! Rust ends the process where there is none, and with it the server. So what takes much of it, because of what a statement or an answer
//! has, [asks](look_for) before. Whatever does not ask has a [reserve], which lasts until the statement has ended with an error: who
//! waits for the network is woken, and told that memory [is short](is_short).
//!
//! Small blocks are mimalloc's: an invocation has hundreds, and the backend and the network thread free each other's, for which glibc
//! takes a lock. Big ones are the system allocator's. Those of megabytes, payloads and responses among them, are pages of their own, which
//! go back to the system when they are freed: glibc would keep them, in a heap for each thread, once some have been freed.

mod reserve;

pub use reserve::{is_short, recover, wakes};

use crate::error::Error;
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};

// A fuzzer watches memory by an allocator of its own.
#[cfg_attr(not(fuzzing), global_allocator)]
#[cfg_attr(fuzzing, allow(dead_code))]
static MEMORY: Memory = Memory;

/// Bytes from which on a block is big, and from which on it has pages of its own.
pub const BIG: usize = 128 << 10;
const OF_PAGES: usize = 1 << 20;

/// Address space in KiB that mimalloc takes at once, of which it uses as much as it needs. Its own default is a gigabyte, for each
/// backend.
const RESERVED: i64 = 64 << 10;

/// mimalloc's number for that setting (`mi_option_arena_reserve` in mimalloc.h), for which the crate has no name.
const ARENA_RESERVE: libmimalloc_sys::mi_option_t = 23;

/// What is left over for all that does not ask.
const LEFT_OVER: usize = 16 << 20;

/// Errors with [`Error::OutOfMemory`] if there are not so many bytes, where they are many.
pub fn look_for(bytes: usize, what: &'static str) -> Result<(), Error> {
    match bytes < BIG || is_there(bytes) {
        true => Ok(()),
        false => Err(Error::OutOfMemory { what, bytes }),
    }
}

/// Whether there are so many bytes, and some over. It takes them for a moment, and touches none.
pub fn is_there(bytes: usize) -> bool {
    let length = bytes.saturating_add(LEFT_OVER);
    let start = pages::take(length);
    if start.is_null() {
        return false;
    }
    // SAFETY: they were just taken.
    unsafe { pages::give_back(start, length) };
    true
}

/// Makes room for so many bytes more, if there is memory for them.
pub fn make_room(bytes: &mut Vec<u8>, more: usize) -> Result<(), ()> {
    if more >= BIG && !is_there(more) {
        return Err(());
    }
    bytes.try_reserve_exact(more).map_err(drop)
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
    reserve::begin();
}

/// Whose block one of this layout is, unless it is the reserve's.
enum Of {
    MiMalloc,
    System,
    Pages,
}

impl Of {
    fn layout(layout: &Layout) -> Of {
        match layout.size() {
            ..BIG => Of::MiMalloc,
            OF_PAGES.. if layout.align() <= pages::ALIGNED => Of::Pages,
            _ => Of::System,
        }
    }
}

impl Memory {
    unsafe fn take(&self, layout: Layout, zeroed: bool) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe {
            match (Of::layout(&layout), zeroed) {
                (Of::MiMalloc, false) => MiMalloc.alloc(layout),
                (Of::MiMalloc, true) => MiMalloc.alloc_zeroed(layout),
                (Of::System, false) => System.alloc(layout),
                (Of::System, true) => System.alloc_zeroed(layout),
                (Of::Pages, _) => pages::take(layout.size()),
            }
        }
    }

    /// That of the reserve where there is none. What has pages of its own is asked for before.
    unsafe fn spare(&self, layout: Layout) -> *mut u8 {
        match layout.size() {
            ..OF_PAGES => reserve::take(layout),
            _ => std::ptr::null_mut(),
        }
    }
}

// SAFETY: a block is freed by the allocator that it came from, which its place or its size tells.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        unsafe {
            let block = self.take(layout, false);
            match block.is_null() {
                true => self.spare(layout),
                false => block,
            }
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's. Blocks of the reserve are used again.
        unsafe {
            let block = self.take(layout, true);
            if !block.is_null() {
                return block;
            }
            let block = self.spare(layout);
            if !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe {
            if reserve::give_back(block) {
                return;
            }
            match Of::layout(&layout) {
                Of::MiMalloc => MiMalloc.dealloc(block, layout),
                Of::System => System.dealloc(block, layout),
                Of::Pages => pages::give_back(block, layout.size()),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's; a block that changes sides is copied as far as both of it reach.
        unsafe {
            let after = Layout::from_size_align_unchecked(size, layout.align());
            let resized = match (Of::layout(&layout), Of::layout(&after)) {
                _ if reserve::has(block) => std::ptr::null_mut(),
                (Of::MiMalloc, Of::MiMalloc) => MiMalloc.realloc(block, layout, size),
                (Of::System, Of::System) => System.realloc(block, layout, size),
                (Of::Pages, Of::Pages) => pages::resize(block, layout.size(), size),
                _ => std::ptr::null_mut(),
            };
            if !resized.is_null() {
                return resized;
            }
            let moved = self.alloc(after);
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

/// Pages of the system's.
mod pages {
    use std::ptr::null_mut;

    /// What a page's place is a multiple of.
    pub const ALIGNED: usize = 4096;

    /// Takes so many bytes, which are zero; null where there are none.
    pub fn take(bytes: usize) -> *mut u8 {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: maps pages that are nobody's.
        let start = unsafe { libc::mmap(null_mut(), bytes, protection, flags, -1, 0) };
        match start == libc::MAP_FAILED {
            true => null_mut(),
            false => start.cast(),
        }
    }

    /// Gives them back.
    ///
    /// # Safety
    /// They are what `take` or `resize` gave, and nobody uses them.
    pub unsafe fn give_back(start: *mut u8, bytes: usize) {
        // SAFETY: the caller's.
        unsafe { libc::munmap(start.cast(), bytes) };
    }

    /// Makes it more or fewer; null where that can't be, and then nothing has changed.
    ///
    /// # Safety
    /// As above.
    #[cfg(target_os = "linux")]
    pub unsafe fn resize(start: *mut u8, before: usize, after: usize) -> *mut u8 {
        // SAFETY: the caller's.
        let moved = unsafe { libc::mremap(start.cast(), before, after, libc::MREMAP_MAYMOVE) };
        match moved == libc::MAP_FAILED {
            true => null_mut(),
            false => moved.cast(),
        }
    }

    /// The same where there is no way.
    ///
    /// # Safety
    /// As above.
    #[cfg(not(target_os = "linux"))]
    pub unsafe fn resize(_start: *mut u8, _before: usize, _after: usize) -> *mut u8 {
        null_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_that_change_sides_keep_what_is_in_them() {
        let mut bytes = Vec::new();
        for byte in 0..OF_PAGES * 3 {
            bytes.push(byte as u8);
        }
        bytes.truncate(OF_PAGES / 2);
        bytes.shrink_to_fit();
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8));
        bytes.truncate(BIG / 2);
        bytes.shrink_to_fit();
        assert!(bytes.capacity() < BIG);
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8));
    }
}
