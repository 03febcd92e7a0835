//! Waiting for the network thread as an ordinary backend waits: on its latch, open to interrupts.

use crate::backend;
use crate::error::Error;
use pgrx::pg_sys;
use std::time::Duration;

/// Waits until a task has ended, or for so long. Raises PostgreSQL's own error when the query is cancelled.
///
/// A task that ended before counts, unless a wait returned since: look at the tasks first.
pub fn wait(longest: Option<Duration>) -> Result<(), Error> {
    let door = backend::door()?;
    let timeout = longest.map_or(-1, |longest| longest.as_millis() as i64 + 1);
    let mut wake = pg_sys::WL_LATCH_SET | pg_sys::WL_SOCKET_READABLE | pg_sys::WL_EXIT_ON_PM_DEATH;
    if longest.is_some() {
        wake |= pg_sys::WL_TIMEOUT;
    }
    // SAFETY: the latch is this backend's own and the socket is open as long as its network thread.
    let events = unsafe {
        let events = pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            wake as _,
            door,
            timeout as _,
            pg_sys::PG_WAIT_EXTENSION,
        );
        if events as u32 & pg_sys::WL_LATCH_SET != 0 {
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        events
    };
    if events as u32 & pg_sys::WL_SOCKET_READABLE != 0 {
        backend::answer_door()?;
    }
    pgrx::check_for_interrupts!();
    Ok(())
}
