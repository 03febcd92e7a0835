//! File descriptors that a backend reserves with PostgreSQL (fd.c). PostgreSQL then closes files of its own, which it can open again, before
//! descriptors run out.

use crate::lambda::descriptor_limiter::DescriptorLimiter;
use crate::postgres::process;
use std::sync::Arc;

/// Descriptors of the runtime without any connection: Tokio's, the wakeup's, and the one for signals.
const OF_RUNTIME: usize = 10;

/// Descriptors for one call at a time: two that connect, and a pipe or a file.
const FEWEST: usize = 8;

/// At most a quarter of PostgreSQL's descriptors is reserved. PostgreSQL leaves a third to all extensions and to its own waits for sockets, for
/// which some are spared where there are few.
const PART: usize = 4;
const GIVEN_AWAY: usize = 3;
const SPARED: usize = 10;

/// The reserved descriptors.
pub struct Descriptors {
    /// Limits attempts to these descriptors.
    pub descriptors: Arc<DescriptorLimiter>,
    taken: usize,
}

impl Descriptors {
    /// Reserves the fewest. `connections` counts connections.
    pub fn reserve(connections: impl Fn() -> usize + Send + Sync + 'static) -> Descriptors {
        (0..(OF_RUNTIME + FEWEST).min(most_of_all())).for_each(|_| process::reserve_descriptor());
        let descriptors = DescriptorLimiter::new(connections);
        descriptors.set_most(FEWEST);
        Descriptors {
            descriptors: Arc::new(descriptors),
            taken: FEWEST,
        }
    }

    /// Reserves more for `invocations` in flight, as far as PostgreSQL can spare them.
    pub fn provide(&mut self, invocations: usize) {
        let wanted = self.descriptors.wanted(invocations).min(most());
        while self.taken < wanted && process::try_reserve_descriptor() {
            self.taken += 1;
        }
        self.descriptors.set_most(self.taken);
    }

    /// Releases all but those of idle connections. Called while no task runs.
    pub fn give_back(&mut self) {
        let kept = self.descriptors.wanted(2).max(FEWEST);
        while self.taken > kept {
            process::release_descriptor();
            self.taken -= 1;
        }
        self.descriptors.set_most(self.taken);
    }
}

/// Most descriptors that may be reserved for connections.
fn most() -> usize {
    most_of_all().saturating_sub(OF_RUNTIME).max(FEWEST)
}

fn most_of_all() -> usize {
    let files = process::max_safe_fds().unsigned_abs() as usize;
    (files / PART).min((files / GIVEN_AWAY).saturating_sub(SPARED))
}
