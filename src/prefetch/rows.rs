//! The outer rows that were read ahead, and the invocations of all of them.
//!
//! The node asks for the next row, and the scan for the outcomes of that row. Neither calls the other.

use super::consumer::Consumer;
use super::reader::{Carried, Reader, Row};
use crate::dispatch::window::{Requests, Window};
use crate::dispatch::{Dispatch, Outcome};
use crate::error::Error;
use crate::memory;
use crate::options::OnError;
use crate::postgres::executor::{CustomScanState, EState};
use crate::postgres::relids::Relids;
use crate::rows::invocation_set::{InvocationSet, TakenOutcome};
use pgrx::pg_sys;
use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;

/// What the node and the scan share, dropped with the query's memory context.
#[derive(Clone)]
pub struct SharedPrefetch(Rc<RefCell<Prefetch>>);

impl SharedPrefetch {
    /// Makes it, without rows, in the memory of the query, for a node that is being initialised. `carried` is its plan's.
    pub fn begin(
        node: CustomScanState<'static>,
        carried: Carried,
        [first_only, keeps_rows]: [bool; 2],
    ) -> &'static SharedPrefetch {
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
        let shared = SharedPrefetch(Rc::new(RefCell::new(prefetch)));
        node.estate().query_context().own(shared)
    }

    /// Leaves it in a parameter of the node's plan, for the scan or for the INSERT.
    pub fn put(&'static self, estate: EState, parameter: i32) {
        let pointer = std::ptr::from_ref(self).cast_mut();
        // SAFETY: the parameter is the node's, which only `of` reads.
        unsafe { estate.set_parameter(parameter, pg_sys::Datum::from(pointer)) };
    }

    /// What the node has left in a parameter of its plan, for the scan or for the INSERT.
    pub fn of(estate: EState, parameter: i32) -> Option<SharedPrefetch> {
        let shared = (estate.parameter_value(parameter)).cast_mut_ptr::<SharedPrefetch>();
        // SAFETY: the outer side of a join is initialised before its inner side. The parameter is null where it is not.
        unsafe { shared.as_ref() }.cloned()
    }

    /// The rows, for one callback of the executor.
    pub fn get(&self) -> Result<RefMut<'_, Prefetch>, Error> {
        (self.0.try_borrow_mut())
            .map_err(|_| Error::Unexpected("rows are prefetched twice at once"))
    }
}

/// Outer rows and their invocations.
pub struct Prefetch {
    node: CustomScanState<'static>,
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
    pub fn is_substituted(&self) -> bool {
        (self.rows.consumer.as_ref())
            .is_some_and(|consumer| consumer.is_substituted(self.node.estate()))
    }

    /// Goes to the next outer row, whose first outcome is there.
    ///
    /// The row that was current is freed. So the node's slot is to have another row, or none, before it is read.
    pub fn next_row(&mut self) -> Result<Option<pg_sys::MinimalTuple>, Error> {
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
            none => none.insert(consumer.dispatch(self.node.as_plan_state())?),
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
    pub fn next_outcome(
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
            if !self.rows.start_first(&mut self.window, dispatch)? {
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

    /// What the current outer row invokes.
    pub fn current_set(&self) -> Option<&InvocationSet> {
        self.rows.current.as_ref().map(|row| &row.set)
    }

    /// Starts over. What source rows have invoked is forgotten if it depends on one of the parameters that have changed.
    pub fn start_over(&mut self, changed: Relids) {
        self.drop_rows();
        self.rows.reader.start_over(changed);
        self.starts_over = true;
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.drop_rows();
        self.rows.reader.end();
    }

    /// Drops all rows, and aborts what is in flight and nobody else holds.
    fn drop_rows(&mut self) {
        self.node.slot().clear();
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
    fn start_first(&mut self, window: &mut Window, dispatch: &mut Dispatch) -> Result<bool, Error> {
        let row = (self.current.as_mut()).filter(|row| self.first_only && row.untaken == 0);
        let Some(row) = row else {
            return Ok(false);
        };
        window.reserve()?;
        window.push_first(row.start(dispatch)?);
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
                window.reserve()?;
                window.push(row.start(dispatch)?);
                return Ok(true);
            }
            let Some(consumer) = &mut self.consumer else {
                return Ok(false);
            };
            if self.reader.has_ended() || !dispatch.may_read(self.queue.len(), window.len()) {
                return Ok(false);
            }
            if self.queue.len() == self.queue.capacity() {
                let bytes = 2 * self.queue.len() * size_of::<Row>();
                memory::check_available(bytes, "outer rows")?;
            }
            let row = self.reader.read(consumer, dispatch)?;
            self.queue.extend(row);
        }
    }

    fn poll(&self, window: &Window) -> Result<Option<Rc<Outcome>>, Error> {
        match self.asked() {
            Some(row) if row.untaken > 0 => window.poll(),
            _ => Ok(None),
        }
    }

    fn has_ended(&self) -> bool {
        let last = self.queue.back().or(self.current.as_ref());
        self.reader.has_ended() && last.is_none_or(|row| self.first_only || !row.set.can_start())
    }

    fn is_over(&self, _window: &Window) -> bool {
        self.asked().is_none_or(|row| row.set.is_over())
    }
}
