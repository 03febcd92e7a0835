//! The ordered window: the invocations that were started and not yet taken, in the order of their requests.
//!
//! A scan, the node that prefetches, an INSERT and a function all start, wait and take here. What there is to start is theirs, as a
//! [`Requests`]; how much of it may be started is [`Dispatch::may_start`]'s.

use super::{Dispatch, Outcome, Started};
use crate::error::Error;
use crate::memory;
use std::collections::VecDeque;
use std::rc::Rc;

/// What a window starts, in order.
pub trait Requests {
    /// Starts the next invocation in the window. False where there is none, or none may be started yet.
    fn start_next(&mut self, window: &mut Window, dispatch: &mut Dispatch) -> Result<bool, Error>;

    /// The outcome that is to be taken next; `None` as long as it is not known.
    fn poll(&self, window: &Window) -> Result<Option<Rc<Outcome>>, Error>;

    /// Whether there is nothing left to start.
    fn has_ended(&self) -> bool;

    /// Whether there is no outcome left to take.
    fn is_over(&self, window: &Window) -> bool;
}

/// Nothing to start: each invocation is pushed by who has its request.
pub struct Pushed {
    /// Whether no more are pushed.
    pub has_ended: bool,
}

impl Requests for Pushed {
    fn start_next(
        &mut self,
        _window: &mut Window,
        _dispatch: &mut Dispatch,
    ) -> Result<bool, Error> {
        Ok(false)
    }

    fn poll(&self, window: &Window) -> Result<Option<Rc<Outcome>>, Error> {
        window.poll()
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }

    fn is_over(&self, window: &Window) -> bool {
        window.is_empty()
    }
}

/// Invocations that were started and not yet taken. Those that are dropped are aborted. Rows that share an invocation count one by one.
#[derive(Default)]
pub struct Window {
    started: VecDeque<Started>,
    length: usize,
}

impl Window {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Errors if there is no memory for one more. Called before it is started, as it would be sent and have no place otherwise.
    pub fn reserve(&mut self) -> Result<(), Error> {
        let (length, capacity) = (self.started.len(), self.started.capacity());
        if length == capacity {
            let bytes = 2 * capacity * size_of::<Started>();
            memory::check_available(bytes, "list of invocations")?;
            self.started.reserve(1);
        }
        Ok(())
    }

    /// Adds one behind the others. [`Window::reserve`] was called before it was started.
    pub fn push(&mut self, started: Started) {
        self.length += 1;
        match (self.started.back_mut(), started) {
            (Some(Started::Rows(last)), Started::Rows(row)) => {
                if let Some(row) = last.append(row) {
                    self.started.push_back(Started::Rows(row));
                }
            }
            (_, started) => self.started.push_back(started),
        }
    }

    /// Adds one before the others.
    pub fn push_first(&mut self, started: Started) {
        self.length += 1;
        self.started.push_front(started);
    }

    /// The first one.
    pub fn first(&self) -> Option<&Started> {
        self.started.front()
    }

    /// The outcome of the first one; `None` as long as it is not known.
    pub fn poll(&self) -> Result<Option<Rc<Outcome>>, Error> {
        match self.first() {
            Some(first) => first.poll(),
            None => Ok(None),
        }
    }

    /// Removes the first one.
    pub fn pop(&mut self) {
        self.length = self.length.saturating_sub(1);
        if let Some(Started::Rows(rows)) = self.started.front_mut() {
            rows.drop_first();
            if !rows.is_empty() {
                return;
            }
        }
        self.started.pop_front();
    }

    /// Removes the first one, and gives it.
    pub fn take_first(&mut self) -> Option<Started> {
        self.length = self.length.saturating_sub(1);
        if let Some(Started::Rows(rows)) = self.started.front_mut()
            && rows.len() > 1
        {
            return rows.take_first().map(Started::Rows);
        }
        self.started.pop_front()
    }

    /// Starts what may be started, until the next outcome is there.
    pub fn fill(
        &mut self,
        requests: &mut impl Requests,
        dispatch: &mut Dispatch,
    ) -> Result<(), Error> {
        while requests.start_next(self, dispatch)? {
            pgrx::check_for_interrupts!();
            if requests.poll(self)?.is_some() {
                return Ok(());
            }
        }
        dispatch.send_if_last(self.len(), requests.has_ended())
    }

    /// Waits until the next outcome is there, and gives it; `None` after the last.
    pub fn wait(
        &mut self,
        requests: &mut impl Requests,
        dispatch: &mut Dispatch,
    ) -> Result<Option<Rc<Outcome>>, Error> {
        self.wait_until(requests, dispatch, |window, requests, _| {
            if requests.is_over(window) {
                return Ok(Some(None));
            }
            Ok(requests.poll(window)?.map(Some))
        })
    }

    /// Waits for the first invocation until `ready` returns something. More is started after each wakeup that does not bring it: what
    /// has come is handed on before.
    pub fn wait_until<R: Requests, T>(
        &mut self,
        requests: &mut R,
        dispatch: &mut Dispatch,
        mut ready: impl FnMut(&mut Window, &R, &Dispatch) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        loop {
            if let Some(ready) = ready(self, requests, dispatch)? {
                return Ok(ready);
            }
            dispatch.wait(self.first())?;
            if let Some(ready) = ready(self, requests, dispatch)? {
                return Ok(ready);
            }
            self.fill(requests, dispatch)?;
        }
    }
}

impl Dispatch {
    /// Waits for an invocation that is alone.
    pub fn wait_for(&mut self, started: Started) -> Result<Rc<Outcome>, Error> {
        let mut window = Window::default();
        window.push(started);
        (window.wait(&mut Pushed { has_ended: true }, self)?)
            .ok_or(Error::Unexpected("invocation has no outcome"))
    }
}
