//! Which thread drives the runtime: the network thread, or the backend's own thread while it waits for a single task.
//!
//! A task that is started alone is deferred: the backend mostly waits for it next, and then drives the runtime itself. The network thread
//! drives once there is a second task, or once the backend does anything but wait.
//!
//! These parts are here for their gain:
//!
//! - A deferred task takes two switches of threads less, of four: 25 µs of a single call on a quiet machine, 65 µs on a busy one. For this
//!   alone there are signalfd(2), [`Driver::flush`] and the thread's sleep outside the runtime.
//! - Tasks are handed to the thread in a queue, and the thread is woken for the first of them only. Tokio's own way is a system call for each
//!   task, which takes 5 to 10% of the rate with 64 in flight.
//! - The backend is notified once for all tasks that end in one turn of the thread. With 64 in flight that halves the switches of threads, and
//!   takes a tenth of the CPU time off.
//! - That is done by a task of the runtime. The future that drives has its turn after a poll for I/O, which is too early to find the answers
//!   that come while the backend runs. With 64 in flight that takes a third of the switches of the backend's thread off.
//! - Nobody is woken and no task is made with the lock held. Otherwise the thread sleeps until the lock is free, with 64 in flight once in 5 to
//!   10 invocations.
//!
//! These parts are needed for correctness:
//!
//! - The network thread drains: it drives for some time after a task was dropped or has failed, and the task's connection is closed meanwhile.
//! - The network thread sweeps: it closes connections that have been idle for too long while the backend sleeps.
//! - The backend gives connections two turns before it starts a task (`runtime.rs`), so that none is used that its server has ended.
//! - The network thread gives other tasks some turns before it sleeps, or connections would be closed or kept only when it drives again. That
//!   costs nothing that can be measured.

use super::signals;
use super::wakeup::Wakeup;
use crate::lambda;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// How long the thread drives after a task was dropped or has failed.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// Longest time between two sweeps while the thread drives.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How many turns other tasks have before the thread sleeps. A connection is closed or kept in a turn after its answer's.
const TURNS: usize = 4;

/// The future of a task.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The network thread and its state.
pub struct Driver {
    runtime: Weak<Runtime>,
    wakeup: Arc<Wakeup>,
    state: Mutex<State>,
    /// Whether the only task is left for the backend to drive. It is written while the state is locked. Only the backend's thread sets it to true. So
    /// that thread needs no lock to see that it is false, which it does for each row.
    is_deferred: AtomicBool,
    /// Wakes the thread while it sleeps.
    called: Condvar,
    /// Wakes [`Driver::notify_of_ends`] when a task has ended while the network thread drives.
    ended: Notify,
    /// Wakes the thread that drives when no task is left, and when it is to end.
    all_ended: Notify,
    /// Wakes the network thread while it drives when there are tasks to start.
    submitted: Notify,
}

#[derive(Default)]
struct State {
    thread: Option<JoinHandle<()>>,
    /// Tasks that have not ended.
    unfinished: usize,
    /// Those of them that have not been started.
    queue: Vec<Work>,
    /// Whether the thread drives, or is about to.
    is_driven: bool,
    /// Until when the thread drives without a task.
    drains_until: Option<Instant>,
    /// When the thread sweeps next.
    sweeps_at: Option<Instant>,
    is_closed: bool,
}

impl Driver {
    /// Without its thread, which is started when it is needed.
    pub fn new(runtime: &Arc<Runtime>, wakeup: Arc<Wakeup>) -> Driver {
        Driver {
            runtime: Arc::downgrade(runtime),
            wakeup,
            state: Mutex::default(),
            is_deferred: AtomicBool::new(false),
            called: Condvar::new(),
            ended: Notify::new(),
            all_ended: Notify::new(),
            submitted: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a task, and decides which thread drives for it. The task is counted until it drops its guard. Errors if the network thread has to
    /// drive and can't be started.
    pub fn submit(
        self: &Arc<Self>,
        may_defer: bool,
        work: impl FnOnce(Registered) -> Work,
    ) -> io::Result<()> {
        let mut state = self.lock();
        let is_deferred = may_defer && !state.is_driven && !self.has_deferred();
        if !is_deferred {
            self.start_thread(&mut state)?;
        }
        drop(state);
        // The task is made without the lock, because the thread takes the lock at each end of a task.
        let work = work(Registered(self.clone()));
        let mut state = self.lock();
        state.unfinished += 1;
        let is_first = state.queue.is_empty();
        state.queue.push(work);
        if is_deferred {
            self.is_deferred.store(true, Relaxed);
        } else if self.call(state) && is_first {
            self.submitted.notify_one();
        }
        Ok(())
    }

    /// Whether a task is left for the backend to drive.
    pub fn has_deferred(&self) -> bool {
        self.is_deferred.load(Relaxed)
    }

    /// Starts the tasks that are queued. Called inside the runtime, by the thread that drives.
    pub fn start_queued(&self) {
        let queue = std::mem::take(&mut self.lock().queue);
        for work in queue {
            tokio::spawn(work);
        }
    }

    /// How many tasks have not ended.
    pub fn unfinished(&self) -> usize {
        self.lock().unfinished
    }

    /// How many tasks have been started and have not ended.
    pub fn running(&self) -> usize {
        let state = self.lock();
        state.unfinished - state.queue.len()
    }

    /// Has the thread drive for the deferred task.
    pub fn flush(self: &Arc<Self>) -> io::Result<()> {
        if self.has_deferred() {
            let mut state = self.lock();
            self.start_thread(&mut state)?;
            self.call(state);
        }
        Ok(())
    }

    /// Has the thread drive for [`DRAIN_TIME`], and for the deferred task.
    pub fn drain_connections(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.lock();
        state.drains_until = Some(Instant::now() + DRAIN_TIME);
        self.start_thread(&mut state)?;
        self.call(state);
        Ok(())
    }

    /// Has the thread sweep when the next connection has been idle for too long.
    pub fn schedule_sweep(self: &Arc<Self>) -> io::Result<()> {
        let Some(at) = lambda::next_sweep() else {
            return Ok(());
        };
        let mut state = self.lock();
        if state.sweeps_at.is_none_or(|known| at < known) {
            self.start_thread(&mut state)?;
            state.sweeps_at = Some(at);
            drop(state);
            self.called.notify_one();
        }
        Ok(())
    }

    /// Has the thread drive, which was started. Tells whether it drove before. The lock is released first: a thread that is woken takes it.
    fn call(&self, mut state: MutexGuard<'_, State>) -> bool {
        self.is_deferred.store(false, Relaxed);
        let was_driven = std::mem::replace(&mut state.is_driven, true);
        drop(state);
        if !was_driven {
            self.called.notify_one();
        }
        was_driven
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        if state.thread.is_none() {
            let (driver, runtime) = (self.clone(), self.runtime.upgrade());
            // The thread inherits the signal mask.
            let _blocked = signals::block_all()?;
            let thread = std::thread::Builder::new().name("aws_lambda".to_owned());
            state.thread = Some(thread.spawn(move || {
                if let Some(runtime) = runtime {
                    driver.run(&runtime);
                }
            })?);
        }
        Ok(())
    }

    /// The network thread.
    fn run(&self, runtime: &Runtime) {
        while let Some(why) = self.sleep() {
            match why {
                Call::Drive => runtime.block_on(self.drive()),
                Call::Sweep => runtime.block_on(self.sweep_and_yield()),
            }
            // A task may have ended in the turns since the last notification.
            self.wakeup.notify();
        }
    }

    /// Sleeps until there is something to do; `None` at the end.
    fn sleep(&self) -> Option<Call> {
        let mut state = self.lock();
        loop {
            if state.is_closed {
                return None;
            }
            if state.is_driven {
                return Some(Call::Drive);
            }
            let now = Instant::now();
            state = match state.sweeps_at {
                Some(at) if at <= now => return Some(Call::Sweep),
                Some(at) => match self.called.wait_timeout(state, at - now) {
                    Ok((state, _)) => state,
                    Err(poisoned) => poisoned.into_inner().0,
                },
                None => (self.called.wait(state)).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Drives until all tasks have ended and connections are drained.
    async fn drive(&self) {
        loop {
            self.start_queued();
            // A connection that is in use may be idle soon.
            let next = (self.sweep()).unwrap_or_else(|| Instant::now() + SWEEP_INTERVAL);
            let Some(until) = self.drives_until(next) else {
                break;
            };
            tokio::select! {
                biased;
                () = self.all_ended.notified() => (),
                () = self.submitted.notified() => (),
                () = tokio::time::sleep_until(until.into()) => (),
            }
        }
        self.sweep_and_yield().await;
    }

    /// The earlier of `next` and the end of draining; `None` if nothing is left to drive for.
    fn drives_until(&self, next: Instant) -> Option<Instant> {
        let mut state = self.lock();
        let now = Instant::now();
        state.drains_until = state.drains_until.filter(|until| *until > now);
        let is_needed = state.unfinished > 0 || state.drains_until.is_some();
        state.is_driven = is_needed && !state.is_closed;
        let until = state.drains_until.map_or(next, |until| until.min(next));
        state.is_driven.then_some(until)
    }

    async fn sweep_and_yield(&self) {
        self.sweep();
        for _ in 0..TURNS {
            tokio::task::yield_now().await;
        }
    }

    /// Sweeps if it is time, and tells when it is next.
    fn sweep(&self) -> Option<Instant> {
        if lambda::next_sweep().is_some_and(|at| at <= Instant::now()) {
            lambda::sweep();
        }
        let next = lambda::next_sweep();
        self.lock().sweeps_at = next;
        next
    }

    /// Returns when no task is left.
    pub async fn all_ended(&self) {
        while self.unfinished() > 0 {
            self.all_ended.notified().await;
        }
    }

    /// Notifies the backend of the tasks that have ended in a turn of the network thread. Runs as a task of the runtime, which is in the queue
    /// behind them.
    pub async fn notify_of_ends(self: Arc<Self>) {
        loop {
            self.ended.notified().await;
            self.wakeup.notify();
        }
    }

    /// Ends the thread.
    pub fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let thread = state.thread.take();
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        // To drop a task locks the state.
        drop(queue);
        self.called.notify_one();
        self.all_ended.notify_one();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Ends the draining, and waits until the thread sleeps.
    #[cfg(test)]
    pub fn stop_draining(&self) {
        self.lock().drains_until = None;
        self.all_ended.notify_one();
        while self.lock().is_driven {
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

/// What the thread is woken for.
enum Call {
    Drive,
    Sweep,
}

/// Counts a task. The task has ended when this is dropped.
pub struct Registered(Arc<Driver>);

impl Drop for Registered {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.unfinished -= 1;
        let is_last = state.unfinished == 0;
        if is_last {
            self.0.is_deferred.store(false, Relaxed);
        }
        let is_driven = state.is_driven;
        drop(state);
        if is_driven {
            self.0.ended.notify_one();
        }
        if is_last {
            self.0.all_ended.notify_one();
        }
    }
}
