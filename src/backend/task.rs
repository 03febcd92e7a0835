//! Work that a statement has started, seen from the statement: its result, and its end before that.

use super::work_queue::WorkQueue;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, oneshot};

/// Work on its way; dropping it drops the work.
pub struct Task<T> {
    result: oneshot::Receiver<T>,
    abort: AbortHandle,
}

impl<T: Send + 'static> Task<T> {
    /// A task, and what it takes to run: the future, which ends early if the task is aborted.
    pub(super) fn new(
        queue: &Arc<WorkQueue>,
        future: impl Future<Output = T> + Send + 'static,
    ) -> (Task<T>, impl Future<Output = ()> + Send + 'static) {
        let (sender, result) = oneshot::channel();
        let abort = AbortHandle {
            queue: queue.clone(),
            state: Arc::default(),
        };
        let end = End(abort.state.clone());
        let work = async move {
            let end = end;
            tokio::select! {
                biased;
                () = end.0.asked.notified() => (),
                result = future => drop(sender.send(result)),
            }
        };
        (Task { result, abort }, work)
    }
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

/// Drops work.
#[derive(Clone)]
pub struct AbortHandle {
    queue: Arc<WorkQueue>,
    state: Arc<Abort>,
}

#[derive(Default)]
struct Abort {
    asked: Notify,
    ended: AtomicBool,
}

impl AbortHandle {
    /// Drops the work soon, if it has not ended.
    pub fn abort(&self) {
        if !self.is_finished() {
            self.state.asked.notify_one();
            // Without a thread it ends with the runtime.
            let _ = self.queue.drain_connections();
        }
    }

    /// Whether it has ended in whatever way.
    pub fn is_finished(&self) -> bool {
        self.state.ended.load(Ordering::Relaxed)
    }
}

/// Notes the end of work when it is dropped.
struct End(Arc<Abort>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Relaxed);
    }
}
