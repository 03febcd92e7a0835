//! Tests of the runtime, its driver, tasks and signals.

use super::*;
use std::future::pending;

/// Waits while the network thread drives.
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
            "no notification"
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

/// A started task is no connection, whoever drives.
#[test]
fn tasks_are_not_counted_as_connections() {
    let runtime = Runtime::start().unwrap();
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
    let runtime = Runtime::start().unwrap();
    let mut task = runtime.spawn(async { (42, thread()) }).unwrap();
    let (result, worker) = wait(&runtime, &mut task).unwrap();
    assert_eq!(result, 42);
    assert_ne!(worker, thread());
}

#[test]
fn no_notification_is_lost() {
    let runtime = Runtime::start().unwrap();
    for round in 0..20_000 {
        let mut tasks =
            [0, 1, 2, 3].map(|index| runtime.spawn(async move { round + index }).unwrap());
        for (index, task) in tasks.iter_mut().enumerate() {
            assert_eq!(wait(&runtime, task), Ok(round + index));
        }
    }
}

/// A task without an end, and a witness that its future holds.
fn endless(runtime: &Runtime) -> (Task<()>, Arc<()>) {
    let witness = Arc::new(());
    let held = witness.clone();
    let work = async move {
        pending::<()>().await;
        drop(held);
    };
    (runtime.spawn(work).unwrap(), witness)
}

/// Waits until the future is dropped.
fn wait_until_dropped(witness: &Arc<()>) {
    let start = Instant::now();
    while Arc::strong_count(witness) > 1 {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_dropped_task_drops_its_future() {
    let runtime = Runtime::start().unwrap();
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
    let runtime = Runtime::start().unwrap();
    let mut task = runtime.spawn(panics()).unwrap();
    assert_eq!(wait(&runtime, &mut task), Err(()));
}

/// Whether this thread blocks signals that a backend has handlers for.
fn blocks_signals() -> bool {
    use nix::sys::signal::Signal::{SIGALRM, SIGINT, SIGTERM, SIGURG, SIGUSR1};
    let mask = nix::sys::signal::SigSet::thread_get_mask().unwrap();
    [SIGINT, SIGTERM, SIGUSR1, SIGALRM, SIGURG]
        .into_iter()
        .all(|signal| mask.contains(signal))
}

async fn here_and_in_a_child() -> (bool, bool) {
    let in_child = tokio::task::spawn_blocking(blocks_signals).await.unwrap();
    (blocks_signals(), in_child)
}

#[test]
fn the_network_thread_and_its_children_block_every_signal() {
    let runtime = Runtime::start().unwrap();
    let mut task = runtime.spawn(here_and_in_a_child()).unwrap();
    assert_eq!(wait(&runtime, &mut task), Ok((true, true)));
    assert!(!blocks_signals());
}

#[cfg(target_os = "linux")]
mod backend_drives {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn a_single_task_runs_in_the_backends_thread() {
        let runtime = Runtime::start().unwrap();
        for _ in 0..1000 {
            let mut task = runtime
                .spawn(async {
                    tokio::time::sleep(Duration::from_micros(10)).await;
                    thread()
                })
                .unwrap();
            assert_eq!(runtime.drive(None, || false).unwrap(), Stop::Done);
            assert_eq!(task.poll(), Some(Ok(thread())));
        }
        assert!(!runtime.has_deferred());
    }

    #[test]
    fn a_second_task_runs_in_the_network_thread_with_the_first() {
        let runtime = Runtime::start().unwrap();
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
    fn a_task_goes_on_after_a_timeout() {
        let runtime = Runtime::start().unwrap();
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let mut task = runtime.spawn(receiver).unwrap();
        let soon = Some(Duration::from_millis(5));
        assert_eq!(runtime.drive(soon, || false).unwrap(), Stop::Late);
        assert!(task.poll().is_none());
        sender.send(()).unwrap();
        assert_eq!(runtime.drive(soon, || false).unwrap(), Stop::Done);
        assert_eq!(task.poll(), Some(Ok(Ok(()))));
    }

    #[test]
    fn the_network_thread_drops_a_task_that_the_backend_drove() {
        let runtime = Runtime::start().unwrap();
        let (task, witness) = endless(&runtime);
        let soon = Some(Duration::from_millis(1));
        assert_eq!(runtime.drive(soon, || false).unwrap(), Stop::Late);
        drop(task);
        wait_until_dropped(&witness);
    }

    #[test]
    fn a_signal_that_was_handled_before_ends_the_wait() {
        let runtime = Runtime::start().unwrap();
        let mut task = runtime.spawn(async { 42 }).unwrap();
        assert_eq!(runtime.drive(None, || true).unwrap(), Stop::Signal);
        assert!(!blocks_signals() && runtime.has_deferred() && task.poll().is_none());
        assert_eq!(runtime.drive(None, || false).unwrap(), Stop::Done);
        assert_eq!(task.poll(), Some(Ok(42)));
    }

    #[test]
    fn draining_does_not_begin_a_deferred_task() {
        let runtime = Runtime::start().unwrap();
        let task = runtime.spawn(async {}).unwrap();
        runtime.drain_connections().unwrap();
        assert!(runtime.has_deferred());
        drop(task);
        assert!(!runtime.has_deferred());
    }

    #[test]
    fn a_panic_in_the_backends_thread_is_an_error() {
        let runtime = Runtime::start().unwrap();
        let mut task = runtime.spawn(panics()).unwrap();
        assert_eq!(runtime.drive(None, || false).unwrap(), Stop::Done);
        assert_eq!(task.poll(), Some(Err(())));
        assert!(!blocks_signals());
    }

    static HANDLED: AtomicUsize = AtomicUsize::new(0);

    extern "C" fn handle(_signal: libc::c_int) {
        HANDLED.fetch_add(1, Ordering::SeqCst);
    }

    /// A signal that comes before, during or after the sleep ends the driving once, and its handler runs afterwards.
    #[test]
    fn a_signal_ends_the_driving_and_is_handled_then() {
        // SAFETY: the handler only counts, and no other test has one.
        unsafe { libc::signal(libc::SIGUSR2, handle as *const () as libc::sighandler_t) };
        let runtime = Runtime::start().unwrap();
        // SAFETY: asks for a number.
        let this = unsafe { libc::pthread_self() };
        // SAFETY: this thread is there until the end.
        let send = move || unsafe { libc::pthread_kill(this, libc::SIGUSR2) };
        for round in 1..=200 {
            let task = runtime
                .spawn(async move {
                    // The signal comes before this thread sleeps, or while it does.
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
            assert_eq!(runtime.drive(None, || false).unwrap(), Stop::Signal);
            assert_eq!(HANDLED.load(Ordering::SeqCst), round);
            assert!(runtime.has_deferred());
            drop(task);
            // The network thread drains after the drop.
            runtime.stop_draining();
        }
    }

    #[test]
    fn threads_that_the_backend_starts_block_signals() {
        let runtime = Runtime::start().unwrap();
        let mut task = runtime.spawn(here_and_in_a_child()).unwrap();
        assert_eq!(runtime.drive(None, || false).unwrap(), Stop::Done);
        assert_eq!(task.poll(), Some(Ok((true, true))));
        assert!(!blocks_signals());
    }
}
