//! Locks of rows in delivery. A row is in delivery for as long as the network takes, which is too long for a lock of the row itself: that needs
//! a transaction, which would hold back VACUUM.
//!
//! An advisory lock of the session needs none. It goes with the session, so that a crash leaves no row in delivery. SQL's functions for
//! advisory locks use 1 and 2 in the tag's fourth field (lockfuncs.c), so these locks are not theirs.

use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;

thread_local! {
    /// The ids of the rows that this backend has locked.
    static HELD: RefCell<HashSet<i64>> = RefCell::default();
    static IS_REGISTERED: Cell<bool> = const { Cell::new(false) };
}

const FOURTH_FIELD: u16 = 3;

/// Locks a row. False if it is in delivery, here or elsewhere.
pub fn try_lock(id: i64) -> bool {
    if !IS_REGISTERED.replace(true) {
        // SAFETY: registers a function of this library, which is never unloaded.
        unsafe { pg_sys::RegisterXactCallback(Some(unlock_after_error), std::ptr::null_mut()) };
    }
    if HELD.with_borrow(|held| held.contains(&id)) {
        return false;
    }
    // SAFETY: takes a lock of the session, without waiting.
    let acquired = unsafe { pg_sys::LockAcquire(&tag(id), pg_sys::ExclusiveLock as _, true, true) };
    if acquired == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
        return false;
    }
    HELD.with_borrow_mut(|held| held.insert(id));
    true
}

/// Unlocks a row that this backend has locked.
pub fn unlock(id: i64) {
    if HELD.with_borrow_mut(|held| held.remove(&id)) {
        // SAFETY: the lock is held.
        unsafe { pg_sys::LockRelease(&tag(id), pg_sys::ExclusiveLock as _, true) };
    }
}

fn tag(id: i64) -> pg_sys::LOCKTAG {
    pg_sys::LOCKTAG {
        // SAFETY: reads a variable of this backend.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: (id >> 32) as u32,
        locktag_field3: id as u32,
        locktag_field4: FOURTH_FIELD,
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
