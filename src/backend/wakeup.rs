//! The wakeup of the backend by the network thread: a socket that becomes readable. One byte is written until the backend has drained it.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The side of the network thread.
pub struct Wakeup {
    socket: UnixStream,
    /// Whether a byte is in the socket, or about to be read.
    is_notified: AtomicBool,
}

/// The side of the backend.
pub struct WakeupReceiver {
    socket: UnixStream,
    wakeup: Arc<Wakeup>,
}

/// Both sides.
pub fn new() -> io::Result<(Arc<Wakeup>, WakeupReceiver)> {
    let (inside, outside) = UnixStream::pair()?;
    inside.set_nonblocking(true)?;
    outside.set_nonblocking(true)?;
    let wakeup = Arc::new(Wakeup {
        socket: outside,
        is_notified: AtomicBool::new(false),
    });
    let wakeup_socket = WakeupReceiver {
        socket: inside,
        wakeup: wakeup.clone(),
    };
    Ok((wakeup, wakeup_socket))
}

impl Wakeup {
    /// Makes the backend's socket readable. A backend that has not drained it since is not notified again: it will look at its tasks.
    pub fn notify(&self) {
        if !self.is_notified.swap(true, Ordering::AcqRel) {
            let _ = (&self.socket).write(&[1]);
        }
    }

    /// The socket that is written to.
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl WakeupReceiver {
    /// The socket that becomes readable.
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Makes the socket unreadable until the next notification.
    pub fn drain(&self) {
        let mut bytes = [0u8; 64];
        while matches!((&self.socket).read(&mut bytes), Ok(n) if n == bytes.len()) {}
        // After the read: otherwise a notification in between would be read here, and none would follow. The result that it tells of is visible
        // to this thread, as the swap acquires it.
        self.wakeup.is_notified.swap(false, Ordering::AcqRel);
    }
}
