//! Memory that is kept aside for what does not ask whether there is any. It is taken where the system has none, and then memory is short:
//! what is on its way is to end, with an error, before the reserve has.
//!
//! Pages of it that nobody has used take no memory, but address space. Blocks are taken one behind the other, and all of it is there
//! again once the last was given back. Where some are kept, as a client's may be, another reserve takes its place.

use std::alloc::Layout;
use std::ptr::null_mut;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize};

/// Bytes of a reserve, and how many there may be.
const SIZE: usize = 16 << 20;
const MOST: usize = 8;

/// A place for each.
static ALL: [Reserve; MOST] = [const { Reserve::none() }; MOST];
/// The one that is taken from.
static CURRENT: AtomicUsize = AtomicUsize::new(0);
/// Whether something was taken since there was memory.
static SHORT: AtomicBool = AtomicBool::new(false);
/// Whether any may have blocks. Until then nothing is looked for in them.
static USED: AtomicBool = AtomicBool::new(false);
/// What wakes the backend: a socket that a byte is written to.
static WAKES: AtomicI32 = AtomicI32::new(-1);

struct Reserve {
    /// Where it is; 0 is nowhere.
    start: AtomicUsize,
    locked: AtomicBool,
    /// Bytes that were taken, and blocks that were not given back.
    taken: AtomicUsize,
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

    /// Takes its pages; false where there are none.
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

    /// What it does meanwhile is short, and takes no memory.
    fn with<T>(&self, work: impl FnOnce() -> T) -> T {
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
        self.with(|| {
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
        self.with(|| {
            if self.blocks.fetch_sub(1, Relaxed) == 1 {
                self.taken.store(0, Relaxed);
            }
        });
    }
}

/// Keeps the first aside. Called while the library is loaded.
pub(super) fn begin() {
    ALL[0].begin();
}

/// Tells which socket wakes the backend.
pub fn wakes(socket: i32) {
    WAKES.store(socket, Relaxed);
}

/// A block; null where nothing is left.
pub(super) fn take(layout: Layout) -> *mut u8 {
    USED.store(true, Relaxed);
    let block = ALL[CURRENT.load(Acquire) % MOST].take(layout);
    let socket = WAKES.load(Relaxed);
    if !SHORT.swap(true, Relaxed) && socket >= 0 {
        // SAFETY: writes one byte to a socket that does not block. If it is closed, that is an error.
        unsafe { libc::send(socket, [1u8].as_ptr().cast(), 1, libc::MSG_NOSIGNAL) };
    }
    block
}

/// Whether a block is of one.
pub(super) fn has(block: *mut u8) -> bool {
    USED.load(Relaxed) && ALL.iter().any(|reserve| reserve.has(block))
}

/// Gives a block back, if it is of one.
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

/// Whether the reserve is being used: the statement is to end.
pub fn is_short() -> bool {
    SHORT.load(Relaxed)
}

/// Finds out, before a statement takes any, whether there is memory again; false where there is not.
pub fn recover() -> bool {
    if !is_short() {
        return true;
    }
    if !super::is_there(SIZE) {
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
    fn all_is_there_again_once_the_last_block_was_given_back() {
        let reserve = Reserve::none();
        let layout = Layout::from_size_align(1000, 64).unwrap();
        assert!(reserve.take(layout).is_null());
        assert!(reserve.begin());
        let blocks: Vec<_> = std::iter::repeat_with(|| reserve.take(layout))
            .take_while(|block| !block.is_null())
            .collect();
        assert_eq!(blocks.len(), SIZE / 1024);
        for (place, block) in blocks.iter().enumerate() {
            assert!(reserve.has(*block) && (*block as usize).is_multiple_of(64));
            assert!(place == 0 || *block as usize - blocks[place - 1] as usize >= 1000);
        }
        assert!(!reserve.has(blocks[0].wrapping_sub(1)));
        blocks[1..].iter().for_each(|_| reserve.give_back());
        assert!(reserve.take(layout).is_null());
        reserve.give_back();
        assert_eq!(reserve.take(layout), blocks[0]);
    }
}
