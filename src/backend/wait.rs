//! The wait of a backend, which an interrupt ends: on its latch and the wakeup socket, or by driving the runtime for a deferred task.

use crate::backend;
use crate::backend::runtime::Stop;
use crate::error::Error;
use crate::postgres::compat;
use pgrx::pg_sys;
use std::time::Duration;

/// Waits until a task has ended, or for `longest`. Raises PostgreSQL's own error when the query is cancelled. It may also return early.
///
/// The end of a task is reported by one wait only: the caller has to look at its tasks before each wait.
pub fn wait(longest: Option<Duration>) -> Result<(), Error> {
    report_wait(pg_sys::PG_WAIT_EXTENSION);
    // Each signal handler sets the latch. A signal that was handled before signals are blocked does not end the driving, but the latch tells.
    // SAFETY: MyLatch points to the backend's own latch, which a handler may write.
    let is_set = || unsafe { (&raw const (*pg_sys::MyLatch).is_set).read_volatile() != 0 };
    let worked = backend::drive(longest, is_set);
    report_wait(0);
    match worked? {
        None => wait_for_thread(longest),
        // The signal's handler has run by now. Its latch and its flags are checked as in any wait.
        Some(Stop::Signal) => wait_for_thread(Some(Duration::ZERO)),
        Some(Stop::Done | Stop::Late) => {
            pgrx::check_for_interrupts!();
            Ok(())
        }
    }
}

/// Reports a wait event as pgstat_report_wait_start does, which is inline (wait_event.h).
fn report_wait(event: u32) {
    // SAFETY: MyProc points to the backend's own entry as long as it runs queries.
    unsafe { (&raw mut (*pg_sys::MyProc).wait_event_info).write_volatile(event) };
}

fn wait_for_thread(longest: Option<Duration>) -> Result<(), Error> {
    let set = backend::events()?;
    // Rounded up, or a part of a millisecond would be no wait at all.
    let timeout = longest.map_or(-1, |longest| longest.as_micros().div_ceil(1000) as i64);
    let mut occurred = [pg_sys::WaitEvent::default(); 2];
    // SAFETY: the set is this backend's own, and `occurred` has room for as many events as are asked for.
    let woken = unsafe {
        let count = pg_sys::WaitEventSetWait(
            set,
            timeout as _,
            occurred.as_mut_ptr(),
            occurred.len() as _,
            pg_sys::PG_WAIT_EXTENSION,
        );
        (occurred.iter().take(count as usize)).fold(0, |all, event| all | event.events)
    };
    if woken & pg_sys::WL_LATCH_SET != 0 {
        // SAFETY: MyLatch points to the backend's own latch.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    }
    if woken & pg_sys::WL_SOCKET_READABLE != 0 {
        backend::drain_wakeup()?;
    }
    pgrx::check_for_interrupts!();
    Ok(())
}

/// The events of a wait: latch, wakeup socket, and death of the postmaster. To make the set takes six system calls, so it is kept.
///
/// # Safety
/// Called in the backend's thread; the wakeup socket is open as long as the set is used.
pub unsafe fn new_events(wakeup_socket: pg_sys::pgsocket) -> *mut pg_sys::WaitEventSet {
    let nothing = std::ptr::null_mut();
    // SAFETY: set and latch live as long as the process, and the caller keeps the socket open.
    unsafe {
        let set = compat::create_wait_event_set(3);
        let add = |events: u32, socket, latch| {
            pg_sys::AddWaitEventToSet(set, events, socket, latch, std::ptr::null_mut())
        };
        add(
            pg_sys::WL_LATCH_SET,
            pg_sys::PGINVALID_SOCKET,
            pg_sys::MyLatch,
        );
        add(pg_sys::WL_SOCKET_READABLE, wakeup_socket, nothing);
        if pg_sys::IsUnderPostmaster {
            add(
                pg_sys::WL_EXIT_ON_PM_DEATH,
                pg_sys::PGINVALID_SOCKET,
                nothing,
            );
        }
        set
    }
}
