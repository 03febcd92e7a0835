//! Blocks signals in a thread, and reports those that are pending meanwhile.
//!
//! By calls of the C library: no crate that is compiled anyway has signalfd(2) or signal masks.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use tokio::io::unix::AsyncFd;

/// The signal mask that this thread had. It is restored when this is dropped.
pub struct Blocked(libc::sigset_t);

/// Blocks every signal in this thread, and in threads that it starts meanwhile.
pub fn block_all() -> io::Result<Blocked> {
    block(&every())
}

/// Blocks every signal that a backend has a handler for. SIGCHLD stays unblocked: Tokio awaits child processes by its own handler, which may run
/// in any thread.
pub fn block_most() -> io::Result<Blocked> {
    block(&most())
}

fn every() -> libc::sigset_t {
    // SAFETY: the set is plain data, and the call fills it in.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        set
    }
}

fn most() -> libc::sigset_t {
    let mut set = every();
    // SAFETY: the set is initialised.
    unsafe { libc::sigdelset(&mut set, libc::SIGCHLD) };
    set
}

fn block(set: &libc::sigset_t) -> io::Result<Blocked> {
    // SAFETY: both sets are valid for the call, which concerns the calling thread alone.
    unsafe {
        let mut before = std::mem::zeroed();
        match libc::pthread_sigmask(libc::SIG_BLOCK, set, &mut before) {
            0 => Ok(Blocked(before)),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by pthread_sigmask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Reports blocked signals that are pending. They stay pending, and their handlers run when they are unblocked.
pub struct Signals(AsyncFd<Descriptor>);

struct Descriptor(OwnedFd);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Signals {
    /// `None` where there is no signalfd(2). Called inside a runtime.
    #[cfg(target_os = "linux")]
    pub fn new() -> io::Result<Option<Signals>> {
        let flags = libc::SFD_NONBLOCK | libc::SFD_CLOEXEC;
        // SAFETY: the set is initialised, and nobody else owns the new descriptor.
        let descriptor = unsafe {
            match libc::signalfd(-1, &most(), flags) {
                -1 => return Err(io::Error::last_os_error()),
                number => OwnedFd::from_raw_fd(number),
            }
        };
        let readable = tokio::io::Interest::READABLE;
        // SAFETY: `Descriptor` owns its file descriptor, which stays the same.
        let descriptor =
            unsafe { AsyncFd::register_with_interest(Descriptor(descriptor), readable)? };
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
