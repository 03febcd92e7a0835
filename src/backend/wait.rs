//! Waiting for the network thread as an ordinary backend waits: on its latch, open to interrupts.

use crate::backend;
use crate::backend::runtime::Task;
use crate::error::Error;
use pgrx::pg_sys;

/// Waits for a task's result. Raises PostgreSQL's own error when the query is cancelled, which drops the
/// task on the way out.
pub fn wait_for<T>(task: &mut Task<T>) -> Result<T, Error> {
    loop {
        if let Some(result) = task.poll() {
            return result.map_err(|()| Error::Runtime("The network thread failed.".to_owned()));
        }
        let door = backend::door()?;
        // SAFETY: the latch is this backend's own and the socket is open as long as its network thread.
        let events = unsafe {
            let events = pg_sys::WaitLatchOrSocket(
                pg_sys::MyLatch,
                (pg_sys::WL_LATCH_SET | pg_sys::WL_SOCKET_READABLE | pg_sys::WL_EXIT_ON_PM_DEATH)
                    as _,
                door,
                -1,
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
    }
}
