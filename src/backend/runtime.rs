//! The one network thread of a backend, and how its work wakes the backend.
//!
//! Knows nothing of PostgreSQL: the backend's side of the waiting is wait.rs's. The thread is started by the
//! first invocation and not before, so a backend that never calls Lambda pays nothing. Every signal is blocked in it and in the
//! threads it starts, since a PostgreSQL signal handler must run in the backend's own thread only.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{Notify, oneshot};

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A running network thread.
pub struct Runtime {
    inbox: Arc<Inbox>,
    thread: Option<JoinHandle<()>>,
    bell: Arc<Bell>,
    door: UnixStream,
}

/// Work that the thread has not taken yet. It is woken for the first only: Tokio's own way to give work to another thread is a
/// system call for each.
#[derive(Default)]
struct Inbox {
    work: Mutex<Vec<Work>>,
    filled: Notify,
    closed: AtomicBool,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, Vec<Work>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, work: Work) {
        let mut waiting = self.lock();
        waiting.push(work);
        let first = waiting.len() == 1;
        drop(waiting);
        if first {
            self.filled.notify_one();
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.filled.notify_one();
    }

    /// Takes work out and starts it, until it is closed.
    async fn serve(&self) {
        while !self.closed.load(Ordering::Acquire) {
            let taken = std::mem::take(&mut *self.lock());
            for work in taken {
                tokio::spawn(work);
            }
            self.filled.notified().await;
        }
    }
}

/// Tells the backend that there is something to look at, once until it has looked.
struct Bell {
    socket: UnixStream,
    rung: AtomicBool,
    /// Something has ended.
    wanted: Notify,
}

impl Runtime {
    /// Starts the thread.
    pub fn start() -> io::Result<Runtime> {
        let (door, bell) = UnixStream::pair()?;
        door.set_nonblocking(true)?;
        bell.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let inbox = Arc::new(Inbox::default());
        let bell = Arc::new(Bell {
            socket: bell,
            rung: AtomicBool::new(false),
            wanted: Notify::new(),
        });
        let served = (inbox.clone(), bell.clone());
        let thread = with_signals_blocked(|| {
            std::thread::Builder::new()
                .name("aws_lambda".to_owned())
                .spawn(move || {
                    runtime.spawn(async move { served.1.serve().await });
                    runtime.block_on(served.0.serve());
                    runtime.shutdown_background();
                })
        })??;
        Ok(Runtime {
            inbox,
            thread: Some(thread),
            bell,
            door,
        })
    }

    /// Runs a future on the thread. Its result waits in the [`Task`]; the bell is rung when it is there.
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        let (sender, result) = oneshot::channel();
        let abort = AbortHandle::default();
        let bell = Ring(self.bell.clone());
        let end = End(abort.clone());
        let work = Box::pin(async move {
            // Dropped after the sender, which is declared later, so that a panic rings too.
            let _bell = bell;
            let sender = sender;
            let end = end;
            tokio::select! {
                biased;
                () = end.0.0.asked.notified() => (),
                result = future => drop(sender.send(result)),
            }
        });
        self.inbox.put(work);
        Task { result, abort }
    }

    /// The file descriptor that becomes readable when the bell rings.
    pub fn door(&self) -> RawFd {
        self.door.as_raw_fd()
    }

    /// The same under another number.
    pub fn another_door(&self) -> io::Result<OwnedFd> {
        self.door.as_fd().try_clone_to_owned()
    }

    /// Rings the bell.
    pub fn ring(&self) {
        self.bell.ring();
    }

    /// Forgets the rings so far.
    pub fn answer_door(&self) {
        let mut rings = [0u8; 64];
        while matches!((&self.door).read(&mut rings), Ok(n) if n == rings.len()) {}
        // Not before: a ring in between would be read with those before it, and none would follow. What it tells of is there, as this
        // reads what it wrote.
        self.bell.rung.swap(false, Ordering::AcqRel);
    }
}

impl Drop for Runtime {
    /// Drops what is in flight and ends the thread.
    fn drop(&mut self) {
        self.inbox.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Bell {
    fn ring(&self) {
        // While the backend has not looked, it will, and one byte is enough to wake it.
        if !self.rung.swap(true, Ordering::AcqRel) {
            let _ = (&self.socket).write(&[1]);
        }
    }

    /// Rings when something has ended, once for all that end together: it is another turn of the thread's.
    async fn serve(&self) {
        loop {
            self.wanted.notified().await;
            self.ring();
        }
    }
}

/// Has the bell rung when it is dropped.
struct Ring(Arc<Bell>);

impl Drop for Ring {
    fn drop(&mut self) {
        self.0.wanted.notify_one();
    }
}

/// Work on the network thread; dropping it drops the work.
pub struct Task<T> {
    result: oneshot::Receiver<T>,
    abort: AbortHandle,
}

impl<T> Task<T> {
    /// The result, once it is there. `Err` when the work ended without one: it was dropped, or panicked.
    pub fn poll(&mut self) -> Option<Result<T, ()>> {
        match self.result.try_recv() {
            Ok(result) => Some(Ok(result)),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(())),
        }
    }

    /// Drops the work from elsewhere.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// Drops work on the network thread.
#[derive(Clone, Default)]
pub struct AbortHandle(Arc<Abort>);

#[derive(Default)]
struct Abort {
    asked: Notify,
    ended: AtomicBool,
}

impl AbortHandle {
    /// Drops the work soon, if it has not ended.
    pub fn abort(&self) {
        if !self.is_finished() {
            self.0.asked.notify_one();
        }
    }

    /// Whether it has ended in whatever way.
    pub fn is_finished(&self) -> bool {
        self.0.ended.load(Ordering::Relaxed)
    }
}

/// Notes the end of work when it is dropped.
struct End(AbortHandle);

impl Drop for End {
    fn drop(&mut self) {
        self.0.0.ended.store(true, Ordering::Relaxed);
    }
}

fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    // SAFETY: both sets are plain data that the calls fill in, and the mask is this thread's own.
    unsafe {
        let mut every = std::mem::zeroed::<libc::sigset_t>();
        let mut before = std::mem::zeroed::<libc::sigset_t>();
        libc::sigfillset(&mut every);
        let failed = libc::pthread_sigmask(libc::SIG_SETMASK, &every, &mut before);
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        let result = work();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn wait<T>(runtime: &Runtime, task: &mut Task<T>) -> Result<T, ()> {
        loop {
            if let Some(result) = task.poll() {
                return result;
            }
            let mut door = libc::pollfd {
                fd: runtime.door(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one descriptor, which is open.
            assert_eq!(
                unsafe { libc::poll(&mut door, 1, 10_000) },
                1,
                "nobody rang"
            );
            runtime.answer_door();
        }
    }

    #[test]
    fn results_come_back() {
        let runtime = Runtime::start().unwrap();
        let mut task = runtime.spawn(async { 42 });
        assert_eq!(wait(&runtime, &mut task), Ok(42));
    }

    #[test]
    fn no_ring_is_lost() {
        let runtime = Runtime::start().unwrap();
        for round in 0..20_000 {
            let mut tasks = [0, 1, 2, 3].map(|place| runtime.spawn(async move { round + place }));
            for (place, task) in tasks.iter_mut().enumerate() {
                assert_eq!(wait(&runtime, task), Ok(round + place));
            }
        }
    }

    #[test]
    fn a_dropped_task_is_dropped_work() {
        let runtime = Runtime::start().unwrap();
        let witness = Arc::new(());
        let held = witness.clone();
        let task = runtime.spawn(async move {
            std::future::pending::<()>().await;
            drop(held);
        });
        drop(task);
        let start = Instant::now();
        while Arc::strong_count(&witness) > 1 {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_panic_is_an_error() {
        let runtime = Runtime::start().unwrap();
        let mut task = runtime.spawn(async {
            if true {
                std::panic::resume_unwind(Box::new(()))
            }
        });
        assert_eq!(wait(&runtime, &mut task), Err(()));
    }

    #[test]
    fn the_thread_and_its_children_block_every_signal() {
        let runtime = Runtime::start().unwrap();
        let blocked = || {
            // SAFETY: only reads the calling thread's mask into plain data.
            unsafe {
                let mut mask = std::mem::zeroed::<libc::sigset_t>();
                libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &mut mask);
                [
                    libc::SIGINT,
                    libc::SIGTERM,
                    libc::SIGUSR1,
                    libc::SIGALRM,
                    libc::SIGURG,
                ]
                .iter()
                .all(|signal| libc::sigismember(&mask, *signal) == 1)
            }
        };
        let mut task = runtime.spawn(async move {
            (
                blocked(),
                tokio::task::spawn_blocking(blocked).await.unwrap(),
            )
        });
        assert_eq!(wait(&runtime, &mut task), Ok((true, true)));
        assert!(!blocked());
    }
}
