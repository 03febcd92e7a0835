//! Blocks signals in a thread, and reports those that are pending meanwhile.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
#[cfg(target_os = "linux")]
use nix::sys::signalfd::{SfdFlags, SignalFd as Descriptor};
use std::io;
#[cfg(not(target_os = "linux"))]
use std::os::fd::OwnedFd as Descriptor;
use tokio::io::unix::AsyncFd;

/// The signal mask that this thread had. It is restored when this is dropped.
pub struct Blocked(SigSet);

/// Blocks every signal in this thread, and in threads that it starts meanwhile.
pub fn block_all() -> io::Result<Blocked> {
    block(SigSet::all())
}

/// Blocks every signal that a backend has a handler for. SIGCHLD stays unblocked: Tokio awaits child processes by its own handler, which may run
/// in any thread.
pub fn block_most() -> io::Result<Blocked> {
    block(most())
}

fn most() -> SigSet {
    let mut set = SigSet::all();
    set.remove(Signal::SIGCHLD);
    set
}

fn block(set: SigSet) -> io::Result<Blocked> {
    Ok(Blocked(set.thread_swap_mask(SigmaskHow::SIG_BLOCK)?))
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // It fails for an invalid operation only.
        let _ = self.0.thread_set_mask();
    }
}

/// Reports blocked signals that are pending. They stay pending, and their handlers run when they are unblocked.
pub struct Signals(AsyncFd<Descriptor>);

impl Signals {
    /// `None` where there is no signalfd(2). Called inside a runtime.
    #[cfg(target_os = "linux")]
    pub fn new() -> io::Result<Option<Signals>> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let descriptor = Descriptor::with_flags(&most(), flags)?;
        let readable = tokio::io::Interest::READABLE;
        // SAFETY: a SignalFd owns its file descriptor, which stays the same.
        let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, readable)? };
        Ok(Some(Signals(descriptor)))
    }

    #[cfg(not(target_os = "linux"))]
    pub fn new() -> io::Result<Option<Signals>> {
        Ok(None)
    }

    /// Returns when a signal has come since it last returned.
    pub async fn come(&self) {
        if let Ok(mut ready) = self.0.readable().await {
            ready.clear_ready();
        }
    }
}
