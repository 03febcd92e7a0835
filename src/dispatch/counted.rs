//! The invocations that EXPLAIN counts. They are aborted and awaited before it does.

use super::batch::Batch;
use super::{Dispatch, InvocationHandle};
use crate::backend::wait;
use crate::error::Error;
use std::rc::Weak;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// How long to wait between two looks at what was given up.
const GIVE_UP_INTERVAL: Duration = Duration::from_millis(1);

/// An invocation that EXPLAIN will count.
pub(super) enum Counted {
    /// One of a row alone.
    Invocation(Weak<InvocationHandle>),
    /// One that rows share.
    Batch(Weak<Batch>),
}

impl Counted {
    fn is_there(&self) -> bool {
        match self {
            Counted::Invocation(handle) => handle.strong_count() > 0,
            Counted::Batch(batch) => batch.strong_count() > 0,
        }
    }

    fn give_up(&self) {
        match self {
            Counted::Invocation(handle) => {
                if let Some(handle) = handle.upgrade() {
                    handle.give_up();
                }
            }
            Counted::Batch(batch) => {
                if let Some(batch) = batch.upgrade() {
                    batch.give_up();
                }
            }
        }
    }
}

impl Dispatch {
    /// Has EXPLAIN count an invocation.
    pub(super) fn count(&mut self, invocation: Counted) {
        if let Some(counted) = &mut self.counted {
            if counted.len() == counted.capacity() {
                counted.retain(Counted::is_there);
            }
            counted.push(invocation);
        }
    }

    /// Aborts all invocations in flight, and waits for their end. EXPLAIN counts what was sent, and nobody will ask for their outcomes.
    pub fn give_up(&mut self) -> Result<(), Error> {
        let counted = self.counted.take().unwrap_or_default();
        counted.iter().for_each(Counted::give_up);
        while self.limiter.counters.unfinished.load(Relaxed) > 0 {
            wait::wait(Some(GIVE_UP_INTERVAL))?;
        }
        Ok(())
    }
}
