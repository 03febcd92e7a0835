//! A task that a statement has started, as the statement sees it: the task has a result, and can be aborted.
//!
//! Tokio's own handles come with starting a task in its runtime, which another thread may do later than the statement.

use super::driver::Driver;
use std::sync::{Arc, Weak};
use tokio::sync::{Notify, oneshot};

/// A task; dropped before it has ended, it is aborted.
pub struct Task<T> {
    /// `None` once the result was taken.
    result: Option<oneshot::Receiver<T>>,
    abort: AbortHandle,
}

impl<T: Send + 'static> Task<T> {
    /// Has the driver run a future. Errors if the network thread has to drive and can't be started.
    pub(super) fn start(
        driver: &Arc<Driver>,
        may_defer: bool,
        future: impl Future<Output = T> + Send + 'static,
    ) -> std::io::Result<Task<T>> {
        let (sender, result) = oneshot::channel();
        let asked = Arc::new(Notify::new());
        let abort = AbortHandle {
            asked: Arc::downgrade(&asked),
            driver: driver.clone(),
        };
        driver.submit(may_defer, |registered| {
            let work = async move {
                tokio::select! {
                    biased;
                    () = asked.notified() => (),
                    result = future => drop(sender.send(result)),
                }
            };
            Box::pin(async move {
                work.await;
                // Dropped last, also if the work is dropped: the result is there, and what the future held is gone, before the end is noted.
                drop(registered);
            })
        })?;
        Ok(Task {
            result: Some(result),
            abort,
        })
    }
}

impl<T> Task<T> {
    /// The result, once the task has ended. `Err` if it ended without one: it was aborted, or panicked.
    pub fn poll(&mut self) -> Option<Result<T, ()>> {
        match self.result.as_mut()?.try_recv() {
            Ok(result) => {
                self.result = None;
                Some(Ok(result))
            }
            Err(oneshot::error::TryRecvError::Empty) => None,
            // Whoever polls again hears the same.
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(())),
        }
    }

    /// Aborts the task from elsewhere.
    pub fn abort_handle(&self) -> AbortHandle {
        self.abort.clone()
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if self.result.is_some() {
            self.abort.abort();
        }
    }
}

/// Aborts a task.
#[derive(Clone)]
pub struct AbortHandle {
    /// The future holds it.
    asked: Weak<Notify>,
    driver: Arc<Driver>,
}

impl AbortHandle {
    /// Has the network thread drop the future soon, and close its connection, if the task has not ended.
    pub fn abort(&self) {
        if let Some(asked) = self.asked.upgrade() {
            asked.notify_one();
            // Without a thread the future is dropped with the runtime.
            let _ = self.driver.drain_connections();
        }
    }

    /// Whether the task has ended in whatever way.
    pub fn is_finished(&self) -> bool {
        self.asked.strong_count() == 0
    }
}
