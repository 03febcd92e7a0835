//! Locks of rows in delivery. A row is in delivery for as long as the network takes, which is too long for a lock of the row itself: that needs
//! a transaction, which would hold back VACUUM.
//!
//! An advisory lock of the session needs none. It goes with the session, so that a crash leaves no row in delivery. SQL's functions for
//! advisory locks use 1 and 2 in the tag's fourth field (lockfuncs.c), so these locks are not theirs.

use crate::postgres::{compat, process};
use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;

thread_local! {
    /// The ids of the rows that this backend has locked.
    static HELD: RefCell<HashSet<i64>> = RefCell::default();
    static IS_REGISTERED: Cell<bool> = const { Cell::new(false) };
}

/// The fourth field of the tag of a row, and of the worker.
const OF_ROW: u16 = 3;
const OF_WORKER: u16 = 4;

/// Locks a row. False if it is in delivery, here or elsewhere, or if there is no room for a lock.
pub fn try_lock(id: i64) -> bool {
    if !IS_REGISTERED.replace(true) {
        process::at_end_of_transactions(unlock_after_error);
    }
    if HELD.with_borrow(|held| held.contains(&id)) {
        return false;
    }
    if !compat::try_lock_session(&tag(id, OF_ROW)) {
        return false;
    }
    HELD.with_borrow_mut(|held| held.insert(id));
    true
}

/// Unlocks a row that this backend has locked.
pub fn unlock(id: i64) {
    if HELD.with_borrow_mut(|held| held.remove(&id)) {
        // SAFETY: the lock is held.
        unsafe { pg_sys::LockRelease(&tag(id, OF_ROW), pg_sys::ExclusiveLock as _, true) };
    }
}

/// Locks the delivery by a worker, until the process exits. False if another worker of the database delivers.
pub fn try_lock_worker() -> bool {
    compat::try_lock_session(&tag(0, OF_WORKER))
}

fn tag(id: i64, fourth_field: u16) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        locktag_field1: process::database().to_u32(),
        locktag_field2: (id >> 32) as u32,
        locktag_field3: id as u32,
        locktag_field4: fourth_field,
        locktag_type: pg_sys::LockTagType::LOCKTAG_ADVISORY as u8,
        locktag_lockmethodid: pg_sys::USER_LOCKMETHOD as u8,
    }
}

/// Unlocks all rows when a transaction is aborted, which ends every delivery. Locks of a session are not released by that.
#[pg_guard]
unsafe extern "C-unwind" fn unlock_after_error(
    event: pg_sys::XactEvent::Type,
    _arg: *mut std::ffi::c_void,
) {
    if event == pg_sys::XactEvent::XACT_EVENT_ABORT {
        let held = HELD.with_borrow(|held| held.iter().copied().collect::<Vec<_>>());
        held.into_iter().for_each(unlock);
    }
}
