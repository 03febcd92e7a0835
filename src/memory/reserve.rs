//! Reserved memory for allocations that do not check whether there is memory. Once the system has none and the reserve is used, memory is
//! short: all invocations must end, with an error, before the reserve is used up.
//!
//! Unused pages of a reserve take address space but no memory. A reserve is a bump allocator: all of it is free again once its last block is
//! freed. Where some blocks live on, as a client's may, another reserve takes over.

use std::alloc::Layout;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize};

/// Bytes of a reserve.
const SIZE: usize = 16 << 20;
/// Most reserves.
const MOST: usize = 8;

static ALL: [Reserve; MOST] = [const { Reserve::none() }; MOST];
/// Index of the reserve that serves allocations.
static CURRENT: AtomicUsize = AtomicUsize::new(0);
/// Whether a block was taken since there was memory.
static SHORT: AtomicBool = AtomicBool::new(false);
/// Whether any reserve may have blocks. Until then, freed blocks are not searched in them.
static USED: AtomicBool = AtomicBool::new(false);
/// The wakeup socket of the backend. A byte written to it wakes the backend.
static WAKEUP_SOCKET: AtomicI32 = AtomicI32::new(-1);

struct Reserve {
    /// Its address; 0 before it has pages.
    start: AtomicUsize,
    locked: AtomicBool,
    /// Bytes taken.
    taken: AtomicUsize,
    /// Blocks that were not freed.
    blocks: AtomicUsize,
}

impl Reserve {
    const fn none() -> Reserve {
        Reserve {
            start: AtomicUsize::new(0),
            locked: AtomicBool::new(false),
            taken: AtomicUsize::new(0),
            blocks: AtomicUsize::new(0),
        }
    }

    /// Takes its pages; false if there is no memory.
    fn begin(&self) -> bool {
        if self.start.load(Acquire) == 0 {
            let pages = super::pages::take(SIZE);
            self.start.store(pages as usize, Release);
        }
        self.start.load(Acquire) != 0
    }

    fn has(&self, block: *mut u8) -> bool {
        let start = self.start.load(Relaxed);
        start != 0 && (start..start + SIZE).contains(&(block as usize))
    }

    /// Runs `work` with the lock held. `work` is short and allocates nothing.
    fn with_lock<T>(&self, work: impl FnOnce() -> T) -> T {
        while self.locked.swap(true, Acquire) {
            std::thread::yield_now();
        }
        let result = work();
        self.locked.store(false, Release);
        result
    }

    fn take(&self, layout: Layout) -> *mut u8 {
        let start = self.start.load(Acquire);
        if start == 0 {
            return null_mut();
        }
        self.with_lock(|| {
            let first = (start + self.taken.load(Relaxed)).next_multiple_of(layout.align());
            let end = first - start + layout.size();
            if end > SIZE {
                return null_mut();
            }
            self.taken.store(end, Relaxed);
            self.blocks.fetch_add(1, Relaxed);
            first as *mut u8
        })
    }

    fn give_back(&self) {
        self.with_lock(|| {
            if self.blocks.fetch_sub(1, Relaxed) == 1 {
                self.taken.store(0, Relaxed);
            }
        });
    }
}

/// Takes the first reserve. Called while the library is loaded.
pub(super) fn begin() {
    ALL[0].begin();
}

/// Sets the socket that wakes the backend.
pub fn set_wakeup_socket(socket: i32) {
    WAKEUP_SOCKET.store(socket, Relaxed);
}

/// A block; null if the reserve is used up.
pub(super) fn take(layout: Layout) -> *mut u8 {
    USED.store(true, Relaxed);
    let block = ALL[CURRENT.load(Acquire) % MOST].take(layout);
    let socket = WAKEUP_SOCKET.load(Relaxed);
    if !SHORT.swap(true, Relaxed) && socket >= 0 {
        // SAFETY: writes one byte to a nonblocking socket. A closed socket is an error.
        unsafe { libc::send(socket, [1u8].as_ptr().cast(), 1, libc::MSG_NOSIGNAL) };
    }
    block
}

/// Whether a block is of a reserve.
pub(super) fn has(block: *mut u8) -> bool {
    USED.load(Relaxed) && ALL.iter().any(|reserve| reserve.has(block))
}

/// Frees a block, if it is of a reserve.
pub(super) fn give_back(block: *mut u8) -> bool {
    if !USED.load(Relaxed) {
        return false;
    }
    let reserve = ALL.iter().find(|reserve| reserve.has(block));
    if let Some(reserve) = reserve {
        reserve.give_back();
    }
    reserve.is_some()
}

/// Whether the reserve is being used, so that the statement must end.
pub fn is_short() -> bool {
    SHORT.load(Relaxed)
}

/// Checks, before a statement allocates, whether there is memory again; false if there is none.
pub fn recover() -> bool {
    if !is_short() {
        return true;
    }
    if !super::is_available(SIZE) {
        return false;
    }
    let current = CURRENT.load(Acquire) % MOST;
    let is_whole = |reserve: &Reserve| reserve.blocks.load(Relaxed) == 0 && reserve.begin();
    if !is_whole(&ALL[current])
        && let Some(another) = ALL.iter().position(is_whole)
    {
        CURRENT.store(another, Release);
    }
    SHORT.store(false, Relaxed);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_free_again_once_its_last_block_is_freed() {
        let reserve = Reserve::none();
        let layout = Layout::from_size_align(1000, 64).unwrap();
        assert!(reserve.take(layout).is_null());
        assert!(reserve.begin());
        let blocks: Vec<_> = std::iter::repeat_with(|| reserve.take(layout))
            .take_while(|block| !block.is_null())
            .collect();
        assert_eq!(blocks.len(), SIZE / 1024);
        for (index, block) in blocks.iter().enumerate() {
            assert!(reserve.has(*block) && (*block as usize).is_multiple_of(64));
            assert!(index == 0 || *block as usize - blocks[index - 1] as usize >= 1000);
        }
        assert!(!reserve.has(blocks[0].wrapping_sub(1)));
        blocks[1..].iter().for_each(|_| reserve.give_back());
        assert!(reserve.take(layout).is_null());
        reserve.give_back();
        assert_eq!(reserve.take(layout), blocks[0]);
    }
}
