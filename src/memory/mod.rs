//! The global allocator, and checks for memory. PostgreSQL's memory contexts do not use it.
//!
//! Rust aborts the process when an allocation fails, and the postmaster then restarts the server. So code whose allocations depend on a
//! statement or a response [checks](check_available) for memory first. All other allocations are served by a [reserve] when the system has
//! no memory. The backend is then woken, sees that memory [is short](is_short), and ends the statement with an error.
//!
//! mimalloc serves small blocks: an invocation has hundreds, and backend and network thread free each other's, for which glibc takes a lock.
//! The system allocator serves large blocks. Blocks of megabytes, such as payloads and responses, are mapped pages, which the system gets
//! back when they are freed. glibc would keep them in a heap for each thread.

mod reserve;

pub use reserve::{is_short, recover, set_wakeup_socket};

use crate::error::Error;
use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout, System};

// The fuzzer brings its own allocator.
#[cfg_attr(not(fuzzing), global_allocator)]
#[cfg_attr(fuzzing, allow(dead_code))]
static MEMORY: Memory = Memory;

/// Smallest size of a large block.
pub const LARGE: usize = 128 << 10;
/// Smallest size of a block that is mapped.
const MAPPED: usize = 1 << 20;

/// Address space in KiB that mimalloc reserves at once. Its default is a gigabyte, in each backend.
const ARENA_KIB: i64 = 64 << 10;

/// mimalloc's number for that setting (`mi_option_arena_reserve` in mimalloc.h). The crate has no name for it.
const ARENA_RESERVE: libmimalloc_sys::mi_option_t = 23;

/// Bytes that a check leaves for allocations without a check.
const HEADROOM: usize = 16 << 20;

/// Errors with [`Error::OutOfMemory`] if there is no memory for a large block.
pub fn check_available(bytes: usize, what: &'static str) -> Result<(), Error> {
    match bytes < LARGE || is_available(bytes) {
        true => Ok(()),
        false => Err(Error::OutOfMemory { what, bytes }),
    }
}

/// Whether there are so many bytes and some headroom. The check maps the pages for a moment, and touches none.
pub fn is_available(bytes: usize) -> bool {
    let length = bytes.saturating_add(HEADROOM);
    let start = pages::take(length);
    if start.is_null() {
        return false;
    }
    // SAFETY: the pages were just mapped, and nobody uses them.
    unsafe { pages::give_back(start, length) };
    true
}

/// Reserves capacity for so many further bytes, if there is memory for them.
pub fn try_reserve(bytes: &mut Vec<u8>, more: usize) -> Result<(), ()> {
    if more >= LARGE && !is_available(more) {
        return Err(());
    }
    bytes.try_reserve_exact(more).map_err(drop)
}

struct Memory;

/// Runs while the library is loaded. pgrx allocates before it calls this library.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static PREPARE: extern "C" fn() = prepare;

extern "C" fn prepare() {
    // SAFETY: sets a number that mimalloc reads when it reserves address space.
    unsafe { libmimalloc_sys::mi_option_set(ARENA_RESERVE, ARENA_KIB) };
    reserve::begin();
}

/// The source of a block that is not of the reserve.
enum Source {
    MiMalloc,
    System,
    Pages,
}

impl Source {
    fn of(layout: &Layout) -> Source {
        match layout.size() {
            ..LARGE => Source::MiMalloc,
            MAPPED.. if layout.align() <= pages::ALIGNED => Source::Pages,
            _ => Source::System,
        }
    }
}

impl Memory {
    /// A block of the reserve where the system has no memory. Mapped blocks have none there, as they are allocated after a check.
    unsafe fn take(&self, layout: Layout, zeroed: bool) -> *mut u8 {
        // SAFETY: the layout has a size, as the caller of GlobalAlloc promises. A block of the reserve, which may have been used, has that size.
        unsafe {
            let block = match (Source::of(&layout), zeroed) {
                // Without an alignment that is asked for it takes less time.
                (Source::MiMalloc, false) if layout.align() <= align_of::<usize>() => {
                    libmimalloc_sys::mi_malloc(layout.size()).cast()
                }
                (Source::MiMalloc, false) => MiMalloc.alloc(layout),
                (Source::MiMalloc, true) => MiMalloc.alloc_zeroed(layout),
                (Source::System, false) => System.alloc(layout),
                (Source::System, true) => System.alloc_zeroed(layout),
                (Source::Pages, _) => pages::take(layout.size()),
            };
            if !block.is_null() || layout.size() >= MAPPED {
                return block;
            }
            let block = reserve::take(layout);
            if zeroed && !block.is_null() {
                block.write_bytes(0, layout.size());
            }
            block
        }
    }
}

// SAFETY: the address or the size of a block tells its source, and the source frees it.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the layout has a size, as the caller promises.
        unsafe { self.take(layout, false) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the layout has a size, as the caller promises.
        unsafe { self.take(layout, true) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is of this allocator and has this layout, as the caller promises.
        unsafe {
            if reserve::give_back(block) {
                return;
            }
            match Source::of(&layout) {
                Source::MiMalloc => MiMalloc.dealloc(block, layout),
                Source::System => System.dealloc(block, layout),
                Source::Pages => pages::give_back(block, layout.size()),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the block is of this allocator and has this layout, as the caller promises. With another source it is copied, as far as both
        // sizes reach.
        unsafe {
            let after = Layout::from_size_align_unchecked(size, layout.align());
            let resized = match (Source::of(&layout), Source::of(&after)) {
                _ if reserve::has(block) => std::ptr::null_mut(),
                (Source::MiMalloc, Source::MiMalloc) => MiMalloc.realloc(block, layout, size),
                (Source::System, Source::System) => System.realloc(block, layout, size),
                (Source::Pages, Source::Pages) => pages::resize(block, layout.size(), size),
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

/// Mapped pages.
mod pages {
    use std::ptr::null_mut;

    /// Alignment of pages.
    pub const ALIGNED: usize = 4096;

    /// Maps so many zero bytes; null if there is no memory.
    pub fn take(bytes: usize) -> *mut u8 {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: maps new pages.
        let start = unsafe { libc::mmap(null_mut(), bytes, protection, flags, -1, 0) };
        match start == libc::MAP_FAILED {
            true => null_mut(),
            false => start.cast(),
        }
    }

    /// Unmaps pages.
    ///
    /// # Safety
    /// `take` or `resize` returned them, and nobody uses them.
    pub unsafe fn give_back(start: *mut u8, bytes: usize) {
        // SAFETY: nobody uses the pages.
        unsafe { libc::munmap(start.cast(), bytes) };
    }

    /// Resizes a mapping; null if there is no memory, and then nothing has changed. Other systems have no such call.
    ///
    /// # Safety
    /// `take` or `resize` returned the pages, and nobody uses them.
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables))]
    pub unsafe fn resize(start: *mut u8, before: usize, after: usize) -> *mut u8 {
        #[cfg(target_os = "linux")]
        // SAFETY: nobody uses the pages.
        let moved = unsafe { libc::mremap(start.cast(), before, after, libc::MREMAP_MAYMOVE) };
        #[cfg(not(target_os = "linux"))]
        let moved = libc::MAP_FAILED;
        match moved == libc::MAP_FAILED {
            true => null_mut(),
            false => moved.cast(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_bytes_in_another_source() {
        let mut bytes = Vec::new();
        for byte in 0..MAPPED * 3 {
            bytes.push(byte as u8);
        }
        bytes.truncate(MAPPED / 2);
        bytes.shrink_to_fit();
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8));
        bytes.truncate(LARGE / 2);
        bytes.shrink_to_fit();
        assert!(bytes.capacity() < LARGE);
        assert!(bytes.iter().enumerate().all(|(at, byte)| *byte == at as u8));
    }
}
