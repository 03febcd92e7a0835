//! File descriptors that a backend takes from those that PostgreSQL counts on (fd.c), so that it closes files of its own, which it can open
//! again, before there are none left.

use crate::lambda::descriptor_limiter::DescriptorLimiter;
use pgrx::pg_sys;
use std::sync::Arc;

/// What a runtime has open without any connection: sockets and events of Tokio's, the wakeup's, and signals.
const OF_RUNTIME: usize = 10;

/// What one call after the other needs: two that connect, and a pipe or a file beside them.
const FEWEST: usize = 8;

/// The part of what PostgreSQL may open that is taken at most: a quarter. It gives a third away, to all extensions together and to what
/// waits for sockets, for which some are spared where there are few.
const PART: usize = 4;
const GIVEN_AWAY: usize = 3;
const SPARED: usize = 10;

/// What was taken.
pub struct Descriptors {
    /// What lets out as many attempts as there are descriptors for.
    pub descriptors: Arc<DescriptorLimiter>,
    taken: usize,
}

impl Descriptors {
    /// Takes the fewest. `connections` tells how many connections there are.
    pub fn reserve(connections: impl Fn() -> usize + Send + Sync + 'static) -> Descriptors {
        // SAFETY: counts, and closes what can be opened again. Called in the backend's thread.
        (0..(OF_RUNTIME + FEWEST).min(most_of_all()))
            .for_each(|_| unsafe { pg_sys::ReserveExternalFD() });
        let descriptors = DescriptorLimiter::new(connections);
        descriptors.set_most(FEWEST);
        Descriptors {
            descriptors: Arc::new(descriptors),
            taken: FEWEST,
        }
    }

    /// Takes more for so many invocations on their way, as far as PostgreSQL can spare them.
    pub fn provide(&mut self, invocations: usize) {
        let wanted = self.descriptors.wanted(invocations).min(most());
        // SAFETY: as above.
        while self.taken < wanted && unsafe { pg_sys::AcquireExternalFD() } {
            self.taken += 1;
        }
        self.descriptors.set_most(self.taken);
    }

    /// Gives back all that what is kept does without. Called while nothing is on its way.
    pub fn give_back(&mut self) {
        let kept = self.descriptors.wanted(2).max(FEWEST);
        while self.taken > kept {
            // SAFETY: it was taken before.
            unsafe { pg_sys::ReleaseExternalFD() };
            self.taken -= 1;
        }
        self.descriptors.set_most(self.taken);
    }
}

/// Most that may be taken for connections.
fn most() -> usize {
    most_of_all().saturating_sub(OF_RUNTIME).max(FEWEST)
}

fn most_of_all() -> usize {
    // SAFETY: a number that the postmaster found out when it started.
    let files = unsafe { pg_sys::max_safe_fds }.unsigned_abs() as usize;
    (files / PART).min((files / GIVEN_AWAY).saturating_sub(SPARED))
}
