//! Differences between PostgreSQL 14 and 19 in signal handlers and locks.

use crate::postgres::process;
use pgrx::pg_sys;
use std::ffi::c_int;

#[cfg(not(feature = "pg19"))]
unsafe extern "C-unwind" fn terminate(_signal: c_int) {
    process::note_termination();
}

#[cfg(feature = "pg19")]
unsafe extern "C-unwind" fn terminate(_signal: c_int, _info: *const pg_sys::pg_signal_info) {
    process::note_termination();
}

/// Has SIGTERM handled by [`process::note_termination`].
pub fn handle_sigterm() {
    let (signal, handler) = (pg_sys::SIGTERM as c_int, Some(terminate as _));
    // SAFETY: the handler only sets flags and a latch.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17"))]
        pg_sys::pqsignal(signal, handler);
        #[cfg(any(feature = "pg18", feature = "pg19"))]
        pg_sys::pqsignal_be(signal, handler);
    }
}

/// Takes a lock of the session without waiting. False if another session has it, or the lock table is full.
pub fn try_lock_session(tag: &pg_sys::LOCKTAG) -> bool {
    let (mode, none) = (pg_sys::ExclusiveLock as _, std::ptr::null_mut());
    // SAFETY: of the session, without waiting, and with no error where memory is short.
    let acquired = unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17"))]
        let acquired = pg_sys::LockAcquireExtended(tag, mode, true, true, false, none);
        #[cfg(any(feature = "pg18", feature = "pg19"))]
        let acquired = pg_sys::LockAcquireExtended(tag, mode, true, true, false, none, false);
        acquired
    };
    acquired != pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL
}
