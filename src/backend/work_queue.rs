//! Work that nobody has taken yet, and who is to take it: the network thread, or the backend that is about to wait for it.
//!
//! Work that comes alone is deferred, because the backend mostly waits for it next, and then does it itself: no thread has to be
//! woken. It goes to the thread as soon as there is more, or something else to do.

use super::wakeup::Wakeup;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// How long the thread sees to connections after work that was dropped or failed: those are closed, and what was begun for them ends.
const DRAIN_TIME: Duration = Duration::from_secs(10);

pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What closes connections that have been idle for too long.
#[derive(Clone, Copy)]
pub struct Sweep {
    /// Closes them.
    pub now: fn(),
    /// Tells when there is something to do.
    pub next: fn() -> Option<Instant>,
}

/// How long the thread works at most until it looks for such connections.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Starts the thread, which has to [run](WorkQueue::run).
pub type Start = Box<dyn Fn() -> io::Result<JoinHandle<()>> + Send + Sync>;

/// Work that comes from the backend's thread.
pub struct WorkQueue {
    start: Start,
    sweep: Sweep,
    state: Mutex<State>,
    /// Wakes the thread while it sleeps.
    called: Condvar,
    /// Wakes it while it works.
    filled: Notify,
    /// What the thread has taken and not finished.
    unfinished: AtomicUsize,
}

#[derive(Default)]
struct State {
    deferred: Option<Work>,
    waiting: Vec<Work>,
    thread: Option<JoinHandle<()>>,
    /// Whether the thread is awake.
    awake: bool,
    /// Until when it is not to sleep, if ever.
    drains_until: Option<Instant>,
    /// When it sweeps next, if ever.
    sweeps_at: Option<Instant>,
    closed: bool,
}

impl State {
    /// Whether there is something for the thread.
    fn calls(&mut self) -> bool {
        self.drains_until = self.drains_until.filter(|until| *until > Instant::now());
        !self.waiting.is_empty() || self.drains_until.is_some()
    }
}

impl WorkQueue {
    /// An empty one, whose thread is started when there is something for it.
    pub fn new(start: Start, sweep: Sweep) -> WorkQueue {
        WorkQueue {
            start,
            sweep,
            state: Mutex::default(),
            called: Condvar::new(),
            filled: Notify::new(),
            unfinished: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes work, and holds it back if it is alone and the backend could do it.
    ///
    /// Errors, as the others here do, if the thread can't be started.
    pub fn submit(&self, work: Work, may_defer: bool) -> io::Result<()> {
        let mut state = self.lock();
        if may_defer && !state.awake && state.deferred.is_none() {
            state.deferred = Some(work);
            return Ok(());
        }
        self.start_thread(&mut state)?;
        let deferred = state.deferred.take();
        self.enqueue(state, deferred.into_iter().chain([work]));
        Ok(())
    }

    /// The work that is deferred, for the backend to do.
    pub fn take_deferred(&self) -> Option<Work> {
        self.lock().deferred.take()
    }

    /// Takes back what the backend has not finished.
    pub fn defer(&self, work: Work) {
        self.lock().deferred = Some(work);
    }

    /// Whether work is deferred.
    pub fn has_deferred(&self) -> bool {
        self.lock().deferred.is_some()
    }

    /// Gives the thread what is deferred.
    pub fn flush(&self) -> io::Result<()> {
        let mut state = self.lock();
        if state.deferred.is_some() {
            self.start_thread(&mut state)?;
            let deferred = state.deferred.take();
            self.enqueue(state, deferred);
        }
        Ok(())
    }

    /// Has the thread see to connections for a while, and do what is deferred.
    pub fn drain_connections(&self) -> io::Result<()> {
        let mut state = self.lock();
        self.start_thread(&mut state)?;
        state.drains_until = Some(Instant::now() + DRAIN_TIME);
        let deferred = state.deferred.take();
        self.enqueue(state, deferred);
        Ok(())
    }

    /// Has the thread sweep then, or before.
    pub fn sweep_at(&self, at: Instant) -> io::Result<()> {
        let mut state = self.lock();
        if state.sweeps_at.is_none_or(|known| at < known) {
            self.start_thread(&mut state)?;
            state.sweeps_at = Some(at);
            if !state.awake {
                self.called.notify_one();
            }
        }
        Ok(())
    }

    /// Ends that while, and waits until the thread sleeps.
    #[cfg(test)]
    pub fn stop_draining(&self) {
        self.lock().drains_until = None;
        self.filled.notify_one();
        while self.lock().awake {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Before anything is taken for it: what is deferred stays so if there can be no thread.
    fn start_thread(&self, state: &mut State) -> io::Result<()> {
        if state.thread.is_none() {
            state.thread = Some((self.start)()?);
        }
        Ok(())
    }

    fn enqueue(&self, mut state: MutexGuard<'_, State>, work: impl IntoIterator<Item = Work>) {
        let known = !state.waiting.is_empty();
        state.waiting.extend(work);
        let awake = std::mem::replace(&mut state.awake, true);
        drop(state);
        match awake {
            false => self.called.notify_one(),
            // It is woken for the first only: Tokio's own way to give work to another thread is a system call for each.
            true if !known => self.filled.notify_one(),
            true => (),
        }
    }

    /// How much work the thread has taken and not finished.
    pub fn unfinished(&self) -> usize {
        self.unfinished.load(Ordering::Acquire)
    }

    /// Drops what it has, and ends the thread.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let thread = state.thread.take();
        let left = (state.deferred.take(), std::mem::take(&mut state.waiting));
        drop(state);
        drop(left);
        self.called.notify_one();
        self.filled.notify_one();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// The thread: works while there is something to do, and sleeps otherwise.
    pub fn run(self: &Arc<Self>, runtime: &Runtime, wakeup: &Arc<Wakeup>) {
        loop {
            let mut state = self.lock();
            while !state.closed && !state.calls() {
                let now = Instant::now();
                state.awake = false;
                state = match state.sweeps_at {
                    Some(at) if at <= now => break,
                    Some(at) => match self.called.wait_timeout(state, at - now) {
                        Ok((state, _)) => state,
                        Err(poisoned) => poisoned.into_inner().0,
                    },
                    None => (self.called.wait(state)).unwrap_or_else(PoisonError::into_inner),
                };
            }
            if state.closed {
                return;
            }
            state.awake = true;
            drop(state);
            runtime.block_on(self.serve(wakeup));
        }
    }

    /// Sweeps if it is time, and tells when it is next.
    fn sweep(&self) -> Option<Instant> {
        let next = (self.sweep.next)();
        let next = match next.is_some_and(|at| at <= Instant::now()) {
            true => {
                (self.sweep.now)();
                (self.sweep.next)()
            }
            false => next,
        };
        self.lock().sweeps_at = next;
        next
    }

    /// Takes work and starts it, until all is done.
    async fn serve(self: &Arc<Self>, wakeup: &Arc<Wakeup>) {
        let mut had_work = false;
        loop {
            let (taken, drains_until) = {
                let mut state = self.lock();
                if state.closed || !state.calls() && self.unfinished.load(Ordering::Acquire) == 0 {
                    break;
                }
                (std::mem::take(&mut state.waiting), state.drains_until)
            };
            had_work = true;
            for work in taken {
                self.unfinished.fetch_add(1, Ordering::Relaxed);
                let finished = Finished(self.clone(), wakeup.clone());
                tokio::spawn(async move {
                    // Dropped after the work, so that a panic rings too.
                    let _finished = finished;
                    work.await;
                });
            }
            // What is used now may be idle soon.
            let looks = (self.sweep()).unwrap_or_else(|| Instant::now() + LOOK_AGAIN);
            let until = drains_until.map_or(looks, |until| until.min(looks));
            drop(tokio::time::timeout_at(until.into(), self.filled.notified()).await);
        }
        if had_work {
            wakeup.notify();
        }
        self.sweep();
        // What else the end of work leaves to do is done: connections to be closed or kept.
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }
}

/// How often the thread goes round before it sleeps.
const TURNS: usize = 4;

/// Tells of the end of work when it is dropped.
struct Finished(Arc<WorkQueue>, Arc<Wakeup>);

impl Drop for Finished {
    fn drop(&mut self) {
        self.1.notify_soon();
        if self.0.unfinished.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.filled.notify_one();
        }
    }
}
