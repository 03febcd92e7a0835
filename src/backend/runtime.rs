//! What runs futures in a backend: one runtime, which the network thread drives, or the backend itself while it waits for
//! a piece of work that is alone.
//!
//! Knows nothing of PostgreSQL: the backend's side of the waiting is wait.rs's. The runtime is made by the first invocation and the
//! thread started by the first that is not alone, so a backend that never calls Lambda pays nothing. Every signal is blocked in it and in the threads it starts, since a
//! PostgreSQL signal handler must run in the backend's own thread only. While the backend itself drives, signals are blocked in
//! it too, and end that.

use super::signals::{self, Signals};
use super::task::Task;
use super::wakeup::{self, Wakeup, WakeupReceiver};
use super::work_queue::{Sweep, Work, WorkQueue};
use crate::memory;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// Most threads beside the network thread, in which the resolver is asked for names, and the bytes of their stacks.
const MOST_THREADS: usize = 4;
const STACK: usize = 512 << 10;

/// Descriptors that it takes, and those of the backend's waiting. Tokio panics where there is none for what it wakes its thread with.
const DESCRIPTORS: usize = 12;

fn look_for_descriptors() -> io::Result<()> {
    let open = || std::fs::File::open("/dev/null");
    let opened: io::Result<Vec<_>> = std::iter::repeat_with(open).take(DESCRIPTORS).collect();
    opened.map(drop)
}

/// A runtime and its network thread.
pub struct Runtime {
    tokio: Option<Arc<tokio::runtime::Runtime>>,
    queue: Arc<WorkQueue>,
    sweep: Sweep,
    wakeup: Arc<Wakeup>,
    /// Where the wakeup is heard.
    pub wakeup_socket: WakeupReceiver,
    /// `None` where the system can't tell of signals that are blocked: then the thread does all work.
    signals: Option<Signals>,
}

/// Why the backend has stopped to work itself.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The work is done.
    Done,
    /// A signal has come.
    Signal,
    /// It is as late as it was to become.
    Late,
}

impl Runtime {
    /// Makes it, without the thread. `sweep` closes connections that are idle for too long.
    pub fn start(sweep: Sweep) -> io::Result<Runtime> {
        look_for_descriptors()?;
        let (wakeup, wakeup_socket) = wakeup::new()?;
        let tokio = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(MOST_THREADS)
            .thread_stack_size(STACK)
            // They start with the signals that are blocked in the thread that starts them, which may be the backend's.
            .on_thread_start(|| drop(signals::block_all().map(std::mem::forget)))
            .build()?;
        let signals = {
            let _inside = tokio.enter();
            Signals::new()?
        };
        memory::set_wakeup_socket(wakeup.descriptor());
        let served = wakeup.clone();
        tokio.spawn(async move { served.serve().await });
        let tokio = Arc::new(tokio);
        let queue = Arc::new_cyclic(|queue: &Weak<WorkQueue>| {
            let (tokio, queue, wakeup) = (Arc::downgrade(&tokio), queue.clone(), wakeup.clone());
            let start = Box::new(move || {
                let (tokio, queue, wakeup) = (tokio.upgrade(), queue.upgrade(), wakeup.clone());
                let _blocked = signals::block_all()?;
                let thread = std::thread::Builder::new().name("aws_lambda".to_owned());
                thread.spawn(move || {
                    if let (Some(tokio), Some(queue)) = (tokio, queue) {
                        queue.run(&tokio, &wakeup);
                    }
                })
            });
            WorkQueue::new(start, sweep)
        });
        Ok(Runtime {
            tokio: Some(tokio),
            queue,
            sweep,
            wakeup,
            wakeup_socket,
            signals,
        })
    }

    /// Starts a future, whose result waits in the [`Task`]. It may be held back until the backend waits: whoever does something else
    /// first has to [let it go](Runtime::flush).
    pub fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> io::Result<Task<T>> {
        let (task, work) = Task::new(&self.queue, future);
        self.queue.submit(Box::pin(work), self.signals.is_some())?;
        Ok(task)
    }

    /// Counts connections, or more: each is a task of the runtime's, as is work that the thread does, and the wakeup.
    pub fn connections(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let tokio = (self.tokio.as_ref()).map(|tokio| tokio.handle().metrics());
        let queue = Arc::downgrade(&self.queue);
        move || {
            let tasks = tokio.as_ref().map_or(0, |tokio| tokio.num_alive_tasks());
            let work = queue.upgrade().map_or(0, |queue| queue.unfinished());
            tasks.saturating_sub(work + 1)
        }
    }

    /// Whether there is work that the backend may do itself.
    pub fn has_deferred(&self) -> bool {
        self.queue.has_deferred()
    }

    /// Has the thread do what is held back.
    pub fn flush(&self) -> io::Result<()> {
        self.queue.flush()
    }

    /// Has the thread close what work that failed may have left open.
    ///
    /// Not while work is held back: the failure may be what it is dropped for, and it is not to begin before.
    pub fn drain_connections(&self) -> io::Result<()> {
        match self.has_deferred() {
            true => Ok(()),
            false => self.queue.drain_connections(),
        }
    }

    /// Does what is held back in this thread, until it is done, a signal comes, or for so long; not at all if one `has_come` that was
    /// handled before signals are blocked.
    pub fn work(&self, longest: Option<Duration>, has_come: impl Fn() -> bool) -> io::Result<Stop> {
        let late = longest.map(|longest| Instant::now() + longest);
        let blocked = signals::block_most()?;
        if has_come() {
            return Ok(Stop::Signal);
        }
        let (Some(tokio), Some(signals), Some(work)) =
            (&self.tokio, &self.signals, self.queue.take_deferred())
        else {
            return Ok(Stop::Done);
        };
        let end = catch_unwind(AssertUnwindSafe(|| {
            tokio.block_on(until_stopped(work, signals, late))
        }));
        drop(blocked);
        // Nobody drives now. Without a thread what is kept is closed with the backend.
        if let Some(at) = (self.sweep.next)() {
            let _ = self.queue.sweep_at(at);
        }
        Ok(match end {
            Ok((stop, unfinished)) => {
                if let Some(work) = unfinished {
                    self.queue.defer(work);
                }
                stop
            }
            // Its task tells.
            Err(_) => Stop::Done,
        })
    }

    /// Ends the thread's tidying, and waits until it sleeps.
    #[cfg(test)]
    fn stop_draining(&self) {
        self.queue.stop_draining();
    }

    /// Notifies the backend.
    pub fn notify(&self) {
        self.wakeup.notify();
    }
}

async fn until_stopped(
    mut work: Work,
    signals: &Signals,
    late: Option<Instant>,
) -> (Stop, Option<Work>) {
    // While nobody drove, a server may have closed a connection that is kept: it is heard of in the first turn, and told to who keeps
    // it in the second.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    let mut alarm = late.map(|late| Box::pin(tokio::time::sleep_until(late)));
    let stop = poll_fn(|context| {
        if signals.poll(context).is_ready() {
            return Poll::Ready(Stop::Signal);
        }
        if work.as_mut().poll(context).is_ready() {
            return Poll::Ready(Stop::Done);
        }
        match &mut alarm {
            Some(alarm) => alarm.as_mut().poll(context).map(|()| Stop::Late),
            None => Poll::Pending,
        }
    })
    .await;
    let unfinished = (stop != Stop::Done).then_some(work);
    (stop, unfinished)
}

impl Drop for Runtime {
    /// Drops what is in flight and ends the thread.
    fn drop(&mut self) {
        self.queue.close();
        self.signals = None;
        if let Some(tokio) = self.tokio.take().and_then(Arc::into_inner) {
            tokio.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    const NOTHING_KEPT: Sweep = Sweep {
        now: || (),
        next: || None,
    };

    /// Waits for the thread to do it.
    fn wait<T>(runtime: &Runtime, task: &mut Task<T>) -> Result<T, ()> {
        runtime.flush().unwrap();
        loop {
            if let Some(result) = task.poll() {
                return result;
            }
            let mut wakeup_socket = libc::pollfd {
                fd: runtime.wakeup_socket.descriptor(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one descriptor, which is open.
            assert_eq!(
                unsafe { libc::poll(&mut wakeup_socket, 1, 10_000) },
                1,
                "nobody rang"
            );
            runtime.wakeup_socket.drain();
        }
    }

    fn thread() -> std::thread::ThreadId {
        std::thread::current().id()
    }

    async fn panics() {
        if true {
            std::panic::resume_unwind(Box::new(()))
        }
    }

    /// What runs is no connection, whoever does it.
    #[test]
    fn work_is_not_counted_as_connections() {
        let runtime = Runtime::start(NOTHING_KEPT).unwrap();
        let connections = runtime.connections();
        let mut tasks: Vec<_> = (0..3)
            .map(|_| runtime.spawn(pending::<()>()).unwrap())
            .collect();
        let mut last = runtime.spawn(async {}).unwrap();
        wait(&runtime, &mut last).unwrap();
        assert_eq!(connections(), 0);
        let mut other = runtime
            .spawn(async { drop(tokio::spawn(pending::<()>())) })
            .unwrap();
        wait(&runtime, &mut other).unwrap();
        assert_eq!(connections(), 1);
        tasks.clear();
    }

    #[test]
    fn results_come_back() {
        let runtime = Runtime::start(NOTHING_KEPT).unwrap();
        let mut task = runtime.spawn(async { (42, thread()) }).unwrap();
        let (result, worker) = wait(&runtime, &mut task).unwrap();
        assert_eq!(result, 42);
        assert_ne!(worker, thread());
    }

    #[test]
    fn no_ring_is_lost() {
        let runtime = Runtime::start(NOTHING_KEPT).unwrap();
        for round in 0..20_000 {
            let mut tasks =
                [0, 1, 2, 3].map(|place| runtime.spawn(async move { round + place }).unwrap());
            for (place, task) in tasks.iter_mut().enumerate() {
                assert_eq!(wait(&runtime, task), Ok(round + place));
            }
        }
    }

    /// Work without an end, and what it holds.
    fn endless(runtime: &Runtime) -> (Task<()>, Arc<()>) {
        let witness = Arc::new(());
        let held = witness.clone();
        let work = async move {
            pending::<()>().await;
            drop(held);
        };
        (runtime.spawn(work).unwrap(), witness)
    }

    /// Waits until work that holds it is dropped.
    fn wait_until_dropped(witness: &Arc<()>) {
        let start = Instant::now();
        while Arc::strong_count(witness) > 1 {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_dropped_task_is_dropped_work() {
        let runtime = Runtime::start(NOTHING_KEPT).unwrap();
        for is_held in [false, true] {
            let (task, witness) = endless(&runtime);
            if !is_held {
                runtime.flush().unwrap();
            }
            drop(task);
            wait_until_dropped(&witness);
        }
    }

    #[test]
    fn a_panic_is_an_error() {
        let runtime = Runtime::start(NOTHING_KEPT).unwrap();
        let mut task = runtime.spawn(panics()).unwrap();
        assert_eq!(wait(&runtime, &mut task), Err(()));
    }

    /// Whether this thread blocks signals that a backend has handlers for.
    fn blocks_signals() -> bool {
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
    }

    async fn here_and_in_a_child() -> (bool, bool) {
        let in_child = tokio::task::spawn_blocking(blocks_signals).await.unwrap();
        (blocks_signals(), in_child)
    }

    #[test]
    fn the_thread_and_its_children_block_every_signal() {
        let runtime = Runtime::start(NOTHING_KEPT).unwrap();
        let mut task = runtime.spawn(here_and_in_a_child()).unwrap();
        assert_eq!(wait(&runtime, &mut task), Ok((true, true)));
        assert!(!blocks_signals());
    }

    #[cfg(target_os = "linux")]
    mod here {
        use super::*;
        use std::sync::atomic::{AtomicUsize, Ordering};

        #[test]
        fn work_alone_is_done_by_who_waits() {
            let runtime = Runtime::start(NOTHING_KEPT).unwrap();
            for _ in 0..1000 {
                let mut task = runtime
                    .spawn(async {
                        tokio::time::sleep(Duration::from_micros(10)).await;
                        thread()
                    })
                    .unwrap();
                assert_eq!(runtime.work(None, || false).unwrap(), Stop::Done);
                assert_eq!(task.poll(), Some(Ok(thread())));
            }
            assert!(!runtime.has_deferred());
        }

        #[test]
        fn a_second_piece_goes_to_the_thread_with_the_first() {
            let runtime = Runtime::start(NOTHING_KEPT).unwrap();
            let mut tasks = [
                runtime.spawn(async { thread() }).unwrap(),
                runtime.spawn(async { thread() }).unwrap(),
            ];
            assert!(!runtime.has_deferred());
            let workers = tasks.each_mut().map(|task| wait(&runtime, task).unwrap());
            assert_ne!(workers[0], thread());
            assert_eq!(workers[0], workers[1]);
        }

        #[test]
        fn what_is_late_goes_on() {
            let runtime = Runtime::start(NOTHING_KEPT).unwrap();
            let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
            let mut task = runtime.spawn(receiver).unwrap();
            let soon = Some(Duration::from_millis(5));
            assert_eq!(runtime.work(soon, || false).unwrap(), Stop::Late);
            assert!(task.poll().is_none());
            sender.send(()).unwrap();
            assert_eq!(runtime.work(soon, || false).unwrap(), Stop::Done);
            assert_eq!(task.poll(), Some(Ok(Ok(()))));
        }

        #[test]
        fn what_was_begun_here_is_dropped_by_the_thread() {
            let runtime = Runtime::start(NOTHING_KEPT).unwrap();
            let (task, witness) = endless(&runtime);
            let soon = Some(Duration::from_millis(1));
            assert_eq!(runtime.work(soon, || false).unwrap(), Stop::Late);
            drop(task);
            wait_until_dropped(&witness);
        }

        #[test]
        fn a_signal_that_was_handled_before_counts() {
            let runtime = Runtime::start(NOTHING_KEPT).unwrap();
            let mut task = runtime.spawn(async { 42 }).unwrap();
            assert_eq!(runtime.work(None, || true).unwrap(), Stop::Signal);
            assert!(!blocks_signals() && runtime.has_deferred() && task.poll().is_none());
            assert_eq!(runtime.work(None, || false).unwrap(), Stop::Done);
            assert_eq!(task.poll(), Some(Ok(42)));
        }

        #[test]
        fn a_failure_begins_nothing() {
            let runtime = Runtime::start(NOTHING_KEPT).unwrap();
            let task = runtime.spawn(async {}).unwrap();
            runtime.drain_connections().unwrap();
            assert!(runtime.has_deferred());
            drop(task);
            assert!(!runtime.has_deferred());
        }

        #[test]
        fn a_panic_here_is_an_error_too() {
            let runtime = Runtime::start(NOTHING_KEPT).unwrap();
            let mut task = runtime.spawn(panics()).unwrap();
            assert_eq!(runtime.work(None, || false).unwrap(), Stop::Done);
            assert_eq!(task.poll(), Some(Err(())));
            assert!(!blocks_signals());
        }

        static HANDLED: AtomicUsize = AtomicUsize::new(0);

        extern "C" fn handle(_signal: libc::c_int) {
            HANDLED.fetch_add(1, Ordering::SeqCst);
        }

        /// A signal that comes before, while and after it waits ends the work once, and none is handled meanwhile.
        #[test]
        fn a_signal_ends_it_and_is_handled_then() {
            // SAFETY: the handler only counts, and no other test has one.
            unsafe { libc::signal(libc::SIGUSR2, handle as *const () as libc::sighandler_t) };
            let runtime = Runtime::start(NOTHING_KEPT).unwrap();
            // SAFETY: asks for a number.
            let this = unsafe { libc::pthread_self() };
            // SAFETY: this thread is there until the end.
            let send = move || unsafe { libc::pthread_kill(this, libc::SIGUSR2) };
            for round in 1..=200 {
                let task = runtime
                    .spawn(async move {
                        // Others wait while this thread sleeps for some time, or does not sleep yet.
                        let sender = std::thread::spawn(move || {
                            std::thread::sleep(Duration::from_micros(round as u64 % 50 * 4));
                            send();
                        });
                        tokio::task::yield_now().await;
                        assert_eq!(HANDLED.load(Ordering::SeqCst), round - 1);
                        pending::<()>().await;
                        sender.join()
                    })
                    .unwrap();
                assert_eq!(runtime.work(None, || false).unwrap(), Stop::Signal);
                assert_eq!(HANDLED.load(Ordering::SeqCst), round);
                assert!(runtime.has_deferred());
                drop(task);
                // The thread has the work that was dropped, and sees to it for a while.
                runtime.stop_draining();
            }
        }

        #[test]
        fn its_children_block_signals_too() {
            let runtime = Runtime::start(NOTHING_KEPT).unwrap();
            let mut task = runtime.spawn(here_and_in_a_child()).unwrap();
            assert_eq!(runtime.work(None, || false).unwrap(), Stop::Done);
            assert_eq!(task.poll(), Some(Ok((true, true))));
            assert!(!blocks_signals());
        }
    }
}
