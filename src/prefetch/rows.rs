//! The outer rows that were read ahead, and the invocations of all of them.
//!
//! The node asks for the next row, and the scan for the outcomes of that row. Neither calls the other.

use super::consumer::Consumer;
use super::reader::{Carried, Reader, Row};
use crate::dispatch::window::{Requests, Window};
use crate::dispatch::{Dispatch, Outcome};
use crate::error::Error;
use crate::options::OnError;
use crate::postgres::slots;
use crate::rows::invocation_set::{InvocationSet, TakenOutcome};
use pgrx::{PgMemoryContexts, pg_sys};
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;

/// What the node and the scan share, dropped with the query's memory context.
#[derive(Clone)]
pub struct SharedPrefetch(Rc<RefCell<Prefetch>>);

impl SharedPrefetch {
    /// Makes it, without rows, in the memory of the query.
    ///
    /// # Safety
    /// `node` is being initialised, and `carried` is its plan's.
    pub unsafe fn begin(
        node: *mut pg_sys::CustomScanState,
        carried: Carried,
        [first_only, keeps_rows]: [bool; 2],
    ) -> *mut SharedPrefetch {
        // SAFETY: the node has a query, and a slot for its rows.
        unsafe {
            let prefetch = Prefetch {
                node,
                dispatch: None,
                window: Window::default(),
                rows: Rows {
                    reader: Reader::begin(node, carried),
                    consumer: None,
                    first_only,
                    current: None,
                    queue: VecDeque::new(),
                },
                keeps_rows,
                starts_over: false,
            };
            let query_context = (*(*node).ss.ps.state).es_query_cxt;
            PgMemoryContexts::For(query_context)
                .leak_and_drop_on_delete(SharedPrefetch(Rc::new(RefCell::new(prefetch))))
        }
    }

    /// What the node has left in a parameter for the scan, or for the INSERT.
    ///
    /// # Safety
    /// `estate` is that of a query being initialised, and `parameter` is of its plan.
    pub unsafe fn of(estate: *mut pg_sys::EState, parameter: i32) -> Option<SharedPrefetch> {
        // SAFETY: the outer side of a join is initialised before its inner side. The parameter is null where it is not.
        unsafe {
            let slot = (*estate).es_param_exec_vals.add(parameter as usize);
            let shared = (*slot).value.cast_mut_ptr::<SharedPrefetch>();
            shared.as_ref().cloned()
        }
    }

    /// The rows, for one callback of the executor.
    pub fn get(&self) -> Result<RefMut<'_, Prefetch>, Error> {
        (self.0.try_borrow_mut())
            .map_err(|_| Error::Unexpected("rows are prefetched twice at once"))
    }
}

/// Outer rows and their invocations.
pub struct Prefetch {
    node: *mut pg_sys::CustomScanState,
    /// Made when the first row is asked for.
    dispatch: Option<Dispatch>,
    /// The invocations of all rows, in the order of the rows.
    window: Window,
    rows: Rows,
    /// Whether an outer row that invokes nothing is a row of the join.
    keeps_rows: bool,
    /// Whether it was rescanned since the last row.
    starts_over: bool,
}

/// The rows that were read and not yet left behind.
struct Rows {
    reader: Reader,
    /// Whose invocations these are.
    consumer: Option<Consumer>,
    /// Whether the join wants only the first match of a row.
    first_only: bool,
    /// The row that was handed on last.
    current: Option<Row>,
    queue: VecDeque<Row>,
}

impl Prefetch {
    /// Takes over whose invocations to make.
    pub fn serve(&mut self, consumer: Consumer) {
        self.rows.consumer = Some(consumer);
    }

    /// The invocations; `None` before the first row.
    pub fn dispatch(&mut self) -> Option<&mut Dispatch> {
        self.dispatch.as_mut()
    }

    /// Whether PostgreSQL rechecks a row, and has the scan's row already.
    ///
    /// # Safety
    /// Called while the node runs.
    pub unsafe fn is_substituted(&self) -> bool {
        // SAFETY: the node is part of the query that runs.
        (self.rows.consumer.as_ref())
            .is_some_and(|consumer| unsafe { consumer.is_substituted((*self.node).ss.ps.state) })
    }

    /// Goes to the next outer row, whose first outcome is there.
    ///
    /// # Safety
    /// Called while the node runs.
    pub unsafe fn next_row(&mut self) -> Result<Option<pg_sys::MinimalTuple>, Error> {
        // SAFETY: the slot is the node's.
        unsafe { slots::clear((*self.node).ss.ss_ScanTupleSlot) };
        let mut is_requested = true;
        if let Some(row) = self.rows.current.take() {
            is_requested = self.keeps_rows || row.set.len() > 0;
            self.drop_row(row);
        }
        let Some(consumer) = &mut self.rows.consumer else {
            return Ok(None);
        };
        let dispatch = match &mut self.dispatch {
            Some(dispatch) => dispatch,
            // SAFETY: the node runs.
            none => none.insert(unsafe { consumer.dispatch(self.node.cast())? }),
        };
        if std::mem::take(&mut self.starts_over) {
            dispatch.start_over();
        }
        dispatch.note_expected(None)?;
        // After a row that the join left out, the same row of the join is still asked for.
        match is_requested {
            true => dispatch.prefetch_limit.note_requested(),
            false => dispatch.prefetch_limit.note_skipped(),
        }
        self.window.fill(&mut self.rows, dispatch)?;
        self.window.wait(&mut self.rows, dispatch)?;
        self.rows.current = self.rows.queue.pop_front();
        Ok(self.rows.current.as_ref().map(|row| row.tuple))
    }

    /// Takes the next outcome of the current outer row, and gives it with the row's invocations and what becomes of failures. `None` after
    /// the last one.
    ///
    /// # Safety
    /// Called while the query runs.
    pub unsafe fn next_outcome(
        &mut self,
    ) -> Result<Option<(&InvocationSet, TakenOutcome, OnError)>, Error> {
        let (Some(dispatch), Some(row)) = (&mut self.dispatch, &self.rows.current) else {
            return Ok(None);
        };
        if row.set.is_over() {
            return Ok(None);
        }
        if row.set.has_taken() {
            dispatch.prefetch_limit.note_requested();
        }
        let mut outcome = self.rows.poll(&self.window)?;
        if outcome.is_none() {
            // SAFETY: the query runs.
            if !unsafe { self.rows.start_first(&mut self.window, dispatch)? } {
                self.window.fill(&mut self.rows, dispatch)?;
            }
            outcome = self.window.wait(&mut self.rows, dispatch)?;
        }
        let (Some(row), Some(outcome)) = (&mut self.rows.current, outcome) else {
            return Ok(None);
        };
        let taken = row.set.take(&mut self.window, outcome, false)?;
        row.untaken -= 1;
        Ok(Some((&row.set, taken, dispatch.config.on_error)))
    }

    /// Starts over.
    ///
    /// # Safety
    /// `changed` is the executor's.
    pub unsafe fn start_over(&mut self, changed: *mut pg_sys::Bitmapset) {
        self.drop_rows();
        // SAFETY: the set is the executor's.
        unsafe { self.rows.reader.start_over(changed) };
        self.starts_over = true;
    }

    /// Ends it.
    ///
    /// # Safety
    /// Called while the query ends.
    pub unsafe fn end(&mut self) {
        self.drop_rows();
        // SAFETY: the query ends.
        unsafe { self.rows.reader.end() };
    }

    /// Drops all rows, and aborts what is in flight and nobody else holds.
    fn drop_rows(&mut self) {
        // SAFETY: the slot may hold a row.
        unsafe { slots::clear((*self.node).ss.ss_ScanTupleSlot) };
        while let Some(row) = (self.rows.current.take()).or_else(|| self.rows.queue.pop_front()) {
            self.drop_row(row);
        }
    }

    /// Drops the row that is first.
    fn drop_row(&mut self, row: Row) {
        for _ in 0..row.untaken {
            self.window.pop();
        }
        row.free();
    }
}

impl Rows {
    /// The row whose outcome is taken next: the current one until all of its outcomes were taken, then the first in the queue.
    fn asked(&self) -> Option<&Row> {
        (self.current.as_ref())
            .filter(|row| !row.set.is_over())
            .or(self.queue.front())
    }

    /// Starts one more for the current row, where the join wants only the first match of a row and has not found it. False where that is
    /// not so.
    unsafe fn start_first(
        &mut self,
        window: &mut Window,
        dispatch: &mut Dispatch,
    ) -> Result<bool, Error> {
        let row = (self.current.as_mut()).filter(|row| self.first_only && row.untaken == 0);
        let Some(row) = row else {
            return Ok(false);
        };
        // SAFETY: the query runs.
        window.push_first(unsafe { row.start(dispatch)? });
        Ok(true)
    }
}

impl Requests for Rows {
    /// Starts one more for the row that was read last, and reads the next row once all of that one's were started. Where the join wants
    /// only the first match of a row, one is started for each row in the queue.
    fn start_next(&mut self, window: &mut Window, dispatch: &mut Dispatch) -> Result<bool, Error> {
        loop {
            let (first_only, is_queued) = (self.first_only, !self.queue.is_empty());
            let last = self.queue.back_mut().or(self.current.as_mut());
            let last = last.filter(|row| {
                row.set.can_start() && (!first_only || is_queued && row.untaken == 0)
            });
            if let Some(row) = last {
                if !dispatch.may_start(window.len()) {
                    return Ok(false);
                }
                // SAFETY: a window is filled while the query runs.
                window.push(unsafe { row.start(dispatch)? });
                return Ok(true);
            }
            let Some(consumer) = &mut self.consumer else {
                return Ok(false);
            };
            if self.reader.has_ended() || !dispatch.may_read(self.queue.len(), window.len()) {
                return Ok(false);
            }
            // SAFETY: a window is filled while the query runs.
            let row = unsafe { self.reader.read(consumer, dispatch)? };
            self.queue.extend(row);
        }
    }

    fn poll(&self, window: &Window) -> Result<Option<Rc<Outcome>>, Error> {
        match self.asked() {
            Some(row) if row.untaken > 0 => window.poll(),
            _ => Ok(None),
        }
    }

    fn is_over(&self, _window: &Window) -> bool {
        self.asked().is_none_or(|row| row.set.is_over())
    }
}
