//! Waiting as an ordinary backend waits, open to interrupts: on its latch and for the network thread, or, with nothing else to do, by
//! doing itself what it waits for.

use crate::backend;
use crate::backend::runtime::Stop;
use crate::error::Error;
use crate::postgres::compat;
use pgrx::pg_sys;
use std::time::Duration;

/// Waits until a task has ended, or for so long. Raises PostgreSQL's own error when the query is cancelled.
///
/// A task that ended before counts, unless a wait returned since: look at the tasks first.
pub fn wait(longest: Option<Duration>) -> Result<(), Error> {
    report_wait(pg_sys::PG_WAIT_EXTENSION);
    // Each handler sets the latch. What it set before signals are blocked would not end the work.
    // SAFETY: reads the backend's own latch, which a handler may write.
    let is_set = || unsafe { (&raw const (*pg_sys::MyLatch).is_set).read_volatile() != 0 };
    let worked = backend::work(longest, is_set);
    report_wait(0);
    match worked? {
        None => wait_for_thread(longest),
        // What the signal has set is looked at as ever.
        Some(Stop::Signal) => wait_for_thread(Some(Duration::ZERO)),
        Some(Stop::Done | Stop::Late) => {
            pgrx::check_for_interrupts!();
            Ok(())
        }
    }
}

/// As pgstat_report_wait_start, which is inline (wait_event.h).
fn report_wait(event: u32) {
    // SAFETY: the backend's own entry, which is there as long as it runs queries.
    unsafe { (&raw mut (*pg_sys::MyProc).wait_event_info).write_volatile(event) };
}

fn wait_for_thread(longest: Option<Duration>) -> Result<(), Error> {
    let set = backend::events()?;
    // Rounded up, so that a part of a millisecond is waited for too.
    let timeout = longest.map_or(-1, |longest| longest.as_micros().div_ceil(1000) as i64);
    let mut occurred = [pg_sys::WaitEvent::default(); 2];
    // SAFETY: the set is this backend's own, and there is a place for each of two events.
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
        // SAFETY: the latch is this backend's own.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    }
    if woken & pg_sys::WL_SOCKET_READABLE != 0 {
        backend::drain_wakeup()?;
    }
    pgrx::check_for_interrupts!();
    Ok(())
}

/// A set of what a backend waits for: its latch, the end of the postmaster, and the wakeup socket. To make it takes six system calls.
///
/// # Safety
/// Called in the backend's thread; the wakeup socket is open as long as the set is used.
pub unsafe fn new_events(wakeup_socket: pg_sys::pgsocket) -> *mut pg_sys::WaitEventSet {
    let nothing = std::ptr::null_mut();
    // SAFETY: the set and the latch live as long as the process.
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
