//! Blocking signals in a thread, and hearing of those that are blocked.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::task::{Context, Poll};
use tokio::io::unix::AsyncFd;

/// The signals that this thread lets through again once this is dropped.
pub struct Blocked(libc::sigset_t);

/// Blocks every signal in this thread and, meanwhile, in those that it starts.
pub fn block_all() -> io::Result<Blocked> {
    block(&every())
}

/// Blocks what a backend has handlers for, and more. Not the end of a child process: Tokio's handler of that, which is why one is
/// awaited, may run anywhere.
pub fn block_most() -> io::Result<Blocked> {
    block(&most())
}

fn every() -> libc::sigset_t {
    // SAFETY: plain data that the call fills in.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&mut set);
        set
    }
}

fn most() -> libc::sigset_t {
    let mut set = every();
    // SAFETY: the set is filled in.
    unsafe { libc::sigdelset(&mut set, libc::SIGCHLD) };
    set
}

fn block(set: &libc::sigset_t) -> io::Result<Blocked> {
    // SAFETY: both sets are plain data, and the mask is this thread's own.
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
        // SAFETY: the mask is the one that this thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

/// Tells of signals that have come and are blocked. It leaves them where they are, to be handled when they no longer are.
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
        // SAFETY: makes a new descriptor, which nobody else knows.
        let descriptor = unsafe {
            match libc::signalfd(-1, &most(), flags) {
                -1 => return Err(io::Error::last_os_error()),
                number => OwnedFd::from_raw_fd(number),
            }
        };
        let readable = tokio::io::Interest::READABLE;
        // SAFETY: the descriptor is owned by what is registered, and never another.
        let descriptor =
            unsafe { AsyncFd::register_with_interest(Descriptor(descriptor), readable)? };
        Ok(Some(Signals(descriptor)))
    }

    #[cfg(not(target_os = "linux"))]
    pub fn new() -> io::Result<Option<Signals>> {
        Ok(None)
    }

    /// Ready when a signal has come since it was last said so.
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll_read_ready(context).map(|ready| {
            if let Ok(mut ready) = ready {
                ready.clear_ready();
            }
        })
    }
}
