//! Waiting as PostgreSQL does it: on a latch and on sockets (latch.h), with a wait event (wait_event.h).

use super::compat;
use super::refs::{Ref, Untyped, calls, variables};
use pgrx::pg_sys;
use std::time::Duration;

/// The events of a wait: latch, a socket, and death of the postmaster. The set lives as long as the process: to make it takes six system calls.
#[derive(Clone, Copy)]
pub struct WaitEvents(Ref<'static, pg_sys::WaitEventSet>);

/// What has ended a wait.
#[derive(Clone, Copy)]
pub struct Occurred(u32);

variables! {
    fn is_under_postmaster() -> bool = IsUnderPostmaster;
    fn own_latch() -> Ref<'static, pg_sys::Latch> = MyLatch;
}

calls! {
    /// Adds to the events of a set, which has room for one more.
    pub fn add_event(
        set: Ref<pg_sys::WaitEventSet>, events: u32, socket: pg_sys::pgsocket, latch: Option<Ref<pg_sys::Latch>>, data: Option<Untyped>
    ) -> i32 = AddWaitEventToSet(set, events, socket, latch, data);
}

impl WaitEvents {
    /// Events of the latch and of a socket that is open as long as the process waits.
    pub fn new(socket: pg_sys::pgsocket) -> WaitEvents {
        let set = compat::create_wait_event_set(3);
        let none = pg_sys::PGINVALID_SOCKET;
        let latch = Some(own_latch());
        add_event(set, pg_sys::WL_LATCH_SET, none, latch, None);
        add_event(set, pg_sys::WL_SOCKET_READABLE, socket, None, None);
        if is_under_postmaster() {
            add_event(set, pg_sys::WL_EXIT_ON_PM_DEATH, none, None, None);
        }
        WaitEvents(set)
    }

    /// Waits for an event, or for `longest`. The latch is reset if it was set.
    pub fn wait(self, longest: Option<Duration>) -> Occurred {
        // Rounded up, or a part of a millisecond would be no wait at all.
        let timeout = longest.map_or(-1, |longest| longest.as_micros().div_ceil(1000) as i64);
        let mut events = [pg_sys::WaitEvent::default(); 2];
        // SAFETY: there is room for as many events as are asked for, and MyLatch points to the backend's own latch.
        unsafe {
            let count = pg_sys::WaitEventSetWait(
                self.0.as_ptr(),
                timeout as _,
                events.as_mut_ptr(),
                events.len() as _,
                pg_sys::PG_WAIT_EXTENSION,
            );
            let events = events.iter().take(count as usize);
            let occurred = Occurred(events.fold(0, |all, event| all | event.events));
            if occurred.0 & pg_sys::WL_LATCH_SET != 0 {
                pg_sys::ResetLatch(pg_sys::MyLatch);
            }
            occurred
        }
    }
}

impl Occurred {
    /// Whether the socket became readable.
    pub fn is_socket_readable(self) -> bool {
        self.0 & pg_sys::WL_SOCKET_READABLE != 0
    }
}

/// Whether the latch is set, which each signal handler does.
pub fn is_latch_set() -> bool {
    // SAFETY: MyLatch points to the backend's own latch, which a handler may write.
    unsafe { (&raw const (*pg_sys::MyLatch).is_set).read_volatile() != 0 }
}

/// Reports a wait event as pgstat_report_wait_start does, which is inline (wait_event.h).
pub fn report_wait(event: u32) {
    // SAFETY: MyProc points to the backend's own entry as long as it runs queries.
    unsafe { (&raw mut (*pg_sys::MyProc).wait_event_info).write_volatile(event) };
}
