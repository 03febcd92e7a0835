//! How the network thread wakes the backend: a socket that becomes readable, once until the backend has looked.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

/// The thread's side.
pub struct Wakeup {
    socket: UnixStream,
    rung: AtomicBool,
    /// Something has ended.
    wanted: Notify,
}

/// The backend's side.
pub struct WakeupReceiver {
    socket: UnixStream,
    wakeup: Arc<Wakeup>,
}

/// A wakeup, and the wakeup socket that it is heard at.
pub fn new() -> io::Result<(Arc<Wakeup>, WakeupReceiver)> {
    let (inside, outside) = UnixStream::pair()?;
    inside.set_nonblocking(true)?;
    outside.set_nonblocking(true)?;
    let wakeup = Arc::new(Wakeup {
        socket: outside,
        rung: AtomicBool::new(false),
        wanted: Notify::new(),
    });
    let wakeup_socket = WakeupReceiver {
        socket: inside,
        wakeup: wakeup.clone(),
    };
    Ok((wakeup, wakeup_socket))
}

impl Wakeup {
    /// Rings.
    pub fn notify(&self) {
        // While the backend has not looked, it will, and one byte is enough to wake it.
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _ = (&self.socket).write(&[1]);
        }
    }

    /// The socket that is written to.
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Has it rung once the thread has done what else is to be done now.
    pub fn notify_soon(&self) {
        self.wanted.notify_one();
    }

    /// Rings when something has ended, once for all that end together: it is another turn of the thread's.
    pub async fn serve(&self) {
        loop {
            self.wanted.notified().await;
            self.notify();
        }
    }
}

impl WakeupReceiver {
    /// The file descriptor that becomes readable when the backend is notified.
    pub fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }

    /// Forgets the rings so far.
    pub fn drain(&self) {
        let mut rings = [0u8; 64];
        while matches!((&self.socket).read(&mut rings), Ok(n) if n == rings.len()) {}
        // Not before: a ring in between would be read with those before it, and none would follow. What it tells of is there, as this
        // reads what it wrote.
        self.wakeup.rung.swap(false, Ordering::AcqRel);
    }
}
