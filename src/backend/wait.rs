//! The wait of a backend, which an interrupt ends: on its latch and the wakeup socket, or by driving the runtime for a deferred task.

use crate::backend;
use crate::backend::runtime::Stop;
use crate::error::Error;
use crate::postgres::waiting::{is_latch_set, report_wait};
use pgrx::pg_sys;
use std::time::Duration;

/// Waits until a task has ended, or for `longest`. Raises PostgreSQL's own error when the query is cancelled. It may also return early.
///
/// The end of a task is reported by one wait only: the caller has to look at its tasks before each wait.
pub fn wait(longest: Option<Duration>) -> Result<(), Error> {
    report_wait(pg_sys::PG_WAIT_EXTENSION);
    // Each signal handler sets the latch. A signal that was handled before signals are blocked does not end the driving, but the latch tells.
    let worked = backend::drive(longest, is_latch_set);
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

fn wait_for_thread(longest: Option<Duration>) -> Result<(), Error> {
    let occurred = backend::events()?.wait(longest);
    if occurred.is_socket_readable() {
        backend::drain_wakeup()?;
    }
    pgrx::check_for_interrupts!();
    Ok(())
}
