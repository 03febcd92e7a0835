//! How many connections all attempts of a backend may have, those that are kept included. What is too much waits before it connects.
//!
//! A connection is a file descriptor, and the process has them from PostgreSQL, which can't write its log without. How many there may be is
//! not decided here. There may be fewer, as others in the process and on the machine take them too: where there was none for an attempt, as
//! many are let out as were out beside it, and once so many have ended well one more.

use super::attempt_probe::AttemptProbe;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long what waits does so until it looks again, as nobody tells of a connection that is closed.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Descriptors of an attempt that connects: two addresses of a name are tried side by side, and looking for a name takes one too.
const OF_CONNECTING: usize = 2;

/// Lets attempts out.
pub struct DescriptorLimiter {
    /// Most descriptors.
    most: AtomicUsize,
    /// How many connections there are, or more.
    connections: Box<dyn Fn() -> usize + Send + Sync>,
    /// Held by the first of those that wait.
    turn: tokio::sync::Mutex<()>,
    out: Mutex<Out>,
    ended: Notify,
}

/// Most attempts that are let out after there was no descriptor for one, and how many have ended well since.
#[derive(Clone, Copy)]
struct Width {
    most: usize,
    well: usize,
}

/// The attempts that are out.
#[derive(Default)]
struct Out {
    next: u64,
    connecting: HashMap<u64, AttemptProbe>,
    connected: usize,
    width: Option<Width>,
}

impl Out {
    fn count(&self) -> usize {
        self.connecting.len() + self.connected
    }
}

impl DescriptorLimiter {
    /// One that lets out a single attempt until it is told otherwise.
    pub fn new(connections: impl Fn() -> usize + Send + Sync + 'static) -> DescriptorLimiter {
        DescriptorLimiter {
            most: AtomicUsize::new(0),
            connections: Box::new(connections),
            turn: tokio::sync::Mutex::default(),
            out: Mutex::default(),
            ended: Notify::new(),
        }
    }

    /// Sets how many descriptors there may be.
    pub fn set_most(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    /// How many descriptors are wanted for connections as they are and so many attempts.
    pub fn wanted(&self, attempts: usize) -> usize {
        ((self.connections)() + OF_CONNECTING * attempts).div_ceil(3) * 4
    }

    /// Waits until an attempt may go out. `drops_others` drops the clients that nobody uses but the attempt's own, and tells whether that is
    /// then the only one, so that what is kept is the attempt's to use. One that is `held_up` goes out beside those that wait to be read.
    pub async fn acquire(
        self: &Arc<Self>,
        probe: &AttemptProbe,
        drops_others: impl Fn() -> bool,
        held_up: impl Future<Output = ()>,
    ) -> DescriptorPermit {
        tokio::select! {
            biased;
            () = self.wait_for_room(&drops_others) => (),
            () = held_up => drop(drops_others()),
        }
        let mut out = self.out();
        let number = out.next;
        out.next += 1;
        out.connecting.insert(number, probe.clone());
        DescriptorPermit {
            descriptors: self.clone(),
            number,
        }
    }

    async fn wait_for_room(&self, drops_others: impl Fn() -> bool) {
        let _turn = self.turn.lock().await;
        while !self.has_room(&drops_others) {
            drop(tokio::time::timeout(LOOK_AGAIN, self.ended.notified()).await);
        }
    }

    fn has_room(&self, drops_others: impl Fn() -> bool) -> bool {
        let mut out = self.out();
        let most = self.most.load(Relaxed);
        // With a reserve, as a connection that becomes free a moment late has been replaced by then.
        let usual = most / 4 * 3;
        let connections = (self.connections)();
        let with = |connecting: usize| connections + OF_CONNECTING * (connecting + 1);
        if out.count() > 0 && out.width.is_some_and(|width| out.count() >= width.most) {
            return false;
        }
        if with(out.count()) <= usual {
            return true;
        }
        let before = out.connecting.len();
        out.connecting.retain(|_, probe| !probe.has_connection());
        out.connected += before - out.connecting.len();
        let connecting = out.connecting.len();
        let in_use = out.connected + connecting;
        drop(out);
        if in_use == 0 || with(connecting) <= usual {
            return true;
        }
        // What is idle is used before another connection is made.
        let idle = connections.saturating_sub(in_use);
        drops_others() && (idle > most - usual || idle > 0 && with(connecting) <= most)
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that is out. Dropped, it makes room for another.
pub struct DescriptorPermit {
    descriptors: Arc<DescriptorLimiter>,
    number: u64,
}

impl DescriptorPermit {
    /// There was no descriptor for it. Whether there may be one once another has ended.
    pub fn narrow(&self) -> bool {
        let mut out = self.descriptors.out();
        let others = out.count() - 1;
        let most = out.width.map_or(others, |width| width.most.min(others));
        let most = most.max(1);
        out.width = Some(Width { most, well: 0 });
        others > 0
    }

    /// There was one.
    pub fn widen(&self) {
        let mut out = self.descriptors.out();
        if let Some(width) = &mut out.width {
            width.well += 1;
            if width.well >= width.most {
                width.most += 1;
                width.well = 0;
            }
        }
    }
}

impl Drop for DescriptorPermit {
    fn drop(&mut self) {
        let mut out = self.descriptors.out();
        if out.connecting.remove(&self.number).is_none() {
            out.connected -= 1;
        }
        drop(out);
        self.descriptors.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(test);
    }

    /// A gate, and the number of connections, which is the test's to set.
    fn descriptors(most: usize) -> (Arc<DescriptorLimiter>, Arc<AtomicUsize>) {
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let descriptors = DescriptorLimiter::new(move || counted.load(Relaxed));
        descriptors.set_most(most);
        (Arc::new(descriptors), connections)
    }

    fn try_admit(descriptors: &Arc<DescriptorLimiter>, alone: bool) -> Option<DescriptorPermit> {
        let probe = AttemptProbe::default();
        let admitted = pin!(descriptors.acquire(&probe, || alone, pending()));
        poll(admitted)
    }

    fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_connects_takes_two_descriptors_and_leaves_a_reserve() {
        run(async {
            let (descriptors, _) = descriptors(16);
            let passes: Vec<DescriptorPermit> =
                std::iter::from_fn(|| try_admit(&descriptors, false)).collect();
            assert_eq!(passes.len(), 6);
        });
    }

    #[test]
    fn one_always_goes_out() {
        run(async {
            let (descriptors, connections) = descriptors(0);
            connections.store(1000, Relaxed);
            let pass = try_admit(&descriptors, false);
            assert!(pass.is_some() && try_admit(&descriptors, false).is_none());
            drop(pass);
            assert!(try_admit(&descriptors, false).is_some());
        });
    }

    #[test]
    fn what_is_kept_counts_unless_it_can_be_used() {
        run(async {
            let (descriptors, connections) = descriptors(16);
            let _passes = [(); 3].map(|()| try_admit(&descriptors, false).unwrap());
            connections.store(7, Relaxed);
            assert!(try_admit(&descriptors, false).is_none());
            let _more = try_admit(&descriptors, true).unwrap();
            // Nothing beyond all that there may be, unless there is plenty to use.
            assert!(try_admit(&descriptors, true).is_none());
            connections.store(9, Relaxed);
            assert!(try_admit(&descriptors, false).is_none());
            assert!(try_admit(&descriptors, true).is_some());
        });
    }

    #[test]
    fn fewer_go_out_after_there_was_no_descriptor_and_more_again() {
        run(async {
            let (descriptors, _) = descriptors(1000);
            let mut passes: Vec<DescriptorPermit> = (0..4)
                .filter_map(|_| try_admit(&descriptors, false))
                .collect();
            let last = passes.pop().unwrap();
            assert!(last.narrow());
            drop(last);
            assert!(try_admit(&descriptors, false).is_none());
            passes.iter().for_each(DescriptorPermit::widen);
            passes.push(try_admit(&descriptors, false).unwrap());
            assert!(try_admit(&descriptors, false).is_none());
            passes.truncate(1);
            assert!(!passes[0].narrow());
            assert!(try_admit(&descriptors, false).is_none());
            passes.clear();
            assert!(try_admit(&descriptors, false).is_some());
        });
    }

    #[test]
    fn what_is_held_up_goes_out_beside_others() {
        run(async {
            let (descriptors, _) = descriptors(0);
            let _pass = try_admit(&descriptors, false).unwrap();
            let probe = AttemptProbe::default();
            assert!(poll(pin!(descriptors.acquire(&probe, || false, ready(())))).is_some());
        });
    }

    #[test]
    fn an_end_lets_the_first_that_waits_out() {
        run(async {
            let (descriptors, _) = descriptors(4);
            let pass = descriptors
                .acquire(&AttemptProbe::default(), || false, pending())
                .await;
            let probe = AttemptProbe::default();
            let mut first = pin!(descriptors.acquire(&probe, || false, pending()));
            let mut second = pin!(descriptors.acquire(&probe, || false, pending()));
            assert!(poll(first.as_mut()).is_none() && poll(second.as_mut()).is_none());
            drop(pass);
            assert!(poll(second.as_mut()).is_none());
            let pass = poll(first.as_mut());
            assert!(pass.is_some() && poll(second.as_mut()).is_none());
        });
    }
}
