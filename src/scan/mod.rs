//! Running a scan: the executor's callbacks.
//!
//! - [`invocations`] is what a scan starts itself. Outcomes for a prefetched outer row come from prefetch/ instead.
//! - [`append`] runs a scan beside the other branches of an Append.

pub mod append;
mod invocations;

use crate::backend;
use crate::columns::Layout;
use crate::dispatch::{Dispatch, executor_hooks};
use crate::error::{Error, OrReport, raise, raise_of_call};
use crate::functions::rows::FunctionRows;
use crate::options::OnError;
use crate::plan::{Mode, called_function, is_our_routine};
use crate::postgres::catalog;
use crate::postgres::executor::ForeignScanState;
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::refs::{Ref, as_ptr};
use crate::postgres::slots::Slot;
use crate::postgres::varlena::Varlena;
use crate::prefetch::{Consumer, SharedPrefetch};
use crate::rows::invocation_set::{InvocationSet, TakenOutcome};
use crate::rows::output::{Begun, Output};
use crate::rows::writer::Writer;
use invocations::Invocations;
use pgrx::{pg_guard, pg_sys};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;

/// A running scan, dropped with the query's memory context.
pub struct Scan {
    layout: Rc<Layout>,
    own: Invocations,
    /// What the node on the outer side of the scan's join makes for it, if there is one.
    prefetch: Option<SharedPrefetch>,
    output: Output,
    /// The rows, if they are functions.
    functions: Option<FunctionRows>,
    /// The outcome whose rows are being given.
    current: Option<Current>,
}

/// An outcome that was taken, and whose rows are being given.
struct Current {
    taken: TakenOutcome,
    on_error: OnError,
    begun: Begun,
    /// The number of its first row.
    first_row: u64,
    /// Whether the outcome is one that was prefetched.
    is_prefetched: bool,
}

/// Callback: prepares a scan.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn begin_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
    eflags: std::ffi::c_int,
) {
    // SAFETY: the executor passes a node that is being initialised. What is made here is dropped with the query that the node is of.
    let node: ForeignScanState<'static> = unsafe { Ref::new(node) };
    if let Some(called) = called_function(node.plan()) {
        catalog::check_execute(called.function);
    }
    if eflags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY == 0 {
        begin(node).or_report();
    }
}

fn begin(node: ForeignScanState<'static>) -> Result<(), Error> {
    let estate = node.estate();
    let layout = Rc::new(Layout::read(node.table())?);
    let own = Invocations::begin(node, layout.clone());
    let prefetch = match own.plan().mode {
        Mode::Prefetch(parameter) => SharedPrefetch::of(estate, parameter),
        _ => None,
    };
    if let Some(prefetch) = &prefetch {
        prefetch.get()?.serve(Consumer::Scan(own.consumer()));
    }
    let is_read = |number| own.plan().reads(number);
    let output = Output::new(&layout, is_read, estate.query_context());
    let functions = layout.is_of_functions().then(FunctionRows::default);
    node.set_state(RefCell::new(Scan {
        layout,
        own,
        prefetch,
        output,
        functions,
        current: None,
    }));
    Ok(())
}

/// Callback: gives the next row.
///
/// # Safety
/// Called by the executor, in the per-tuple memory context.
#[pg_guard]
pub unsafe extern "C-unwind" fn iterate_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the executor passes a node that is valid during the callback.
    let node = unsafe { Ref::new(node) };
    let row = match next(node) {
        Ok(row) => row,
        Err(error) => report(node, error),
    };
    backend::flush().or_report();
    as_ptr(row)
}

/// Raises an error of a scan, as the function does if the scan stands for a call.
fn report(node: ForeignScanState, error: Error) -> ! {
    match called_function(node.plan()) {
        Some(called) => raise_of_call(error, called.by),
        None => raise(&error),
    }
}

fn next(node: ForeignScanState) -> Result<Option<Slot>, Error> {
    let slot = node.slot();
    let has_row = match Scan::of(node)? {
        Some(mut scan) => scan.next(slot, node.expr_context().row_context())?,
        None => false,
    };
    Ok(has_row.then_some(slot))
}

/// Callback: starts over.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn rescan_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: the executor passes a node that is valid during the callback.
    rescan(unsafe { Ref::new(node) }).or_report();
}

fn rescan(node: ForeignScanState) -> Result<(), Error> {
    executor_hooks::refuse_rewind(node.estate())?;
    if let Some(mut scan) = Scan::of(node)? {
        scan.current = None;
        scan.own.start_over(node.as_plan_state().changed());
        if let Some(rows) = &mut scan.functions {
            rows.start_over();
        }
    }
    Ok(())
}

/// Callback: ends a scan.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn end_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: the executor passes a node that is valid during the callback.
    if let Some(mut scan) = Scan::of(unsafe { Ref::new(node) }).or_report() {
        scan.current = None;
        scan.own.end();
    }
}

/// Whether a scan is one of this wrapper's.
fn is_ours(node: ForeignScanState) -> bool {
    is_our_routine(node.routine())
}

impl Scan {
    /// What was begun of a scan, for one callback of the executor; `None` where the scan is not of this wrapper, and under EXPLAIN.
    pub fn of(node: ForeignScanState<'_>) -> Result<Option<RefMut<'_, Scan>>, Error> {
        if !is_ours(node) {
            return Ok(None);
        }
        // SAFETY: the state of a scan of this wrapper is none or what `begin` has made.
        let scan: Option<&RefCell<Scan>> = unsafe { node.state() };
        (scan.map(RefCell::try_borrow_mut).transpose())
            .map_err(|_| Error::Unexpected("scan is run twice at once"))
    }

    /// Does something with the invocations, which are there once a row was asked for.
    pub fn with_dispatch<T>(
        &mut self,
        work: impl FnOnce(Option<&mut Dispatch>) -> T,
    ) -> Result<T, Error> {
        match &self.prefetch {
            Some(prefetch) if self.own.dispatch().is_none() => Ok(work(prefetch.get()?.dispatch())),
            _ => Ok(work(self.own.dispatch())),
        }
    }

    /// Asks for the next row of a scan that is a branch of an Append. True if the row, or the end, is there; see [`Invocations::poll`].
    fn poll(&mut self, others: impl Fn() -> bool) -> Result<bool, Error> {
        let has_row = |current: &Current| current.begun.has_next(&current.taken.outcome);
        match self.current.as_ref().is_some_and(has_row) {
            true => Ok(true),
            false => self.own.poll(others),
        }
    }

    /// Puts the next row into the scan's slot; false when there is none. `row_context` is the executor's for one row.
    fn next(&mut self, slot: Slot, row_context: MemoryContext) -> Result<bool, Error> {
        if let Some(rows) = &mut self.functions {
            let (prefetch, writers) = (self.prefetch.as_ref(), self.output.writers());
            return next_function(rows, &self.layout, &mut self.own, prefetch, writers, slot);
        }
        loop {
            if self.current.is_some() {
                if self.write(slot)? {
                    return Ok(true);
                }
                self.current = None;
                // Many outcomes may have no row.
                pgrx::check_for_interrupts!();
                // SAFETY: the executor has reset the context before it asked for a row, and there is none yet.
                unsafe { row_context.reset() };
            }
            if !self.take()? {
                return Ok(false);
            }
        }
    }

    /// Takes the next outcome; false after the last one.
    fn take(&mut self) -> Result<bool, Error> {
        let output = &self.output;
        let begin = |set: &InvocationSet, taken: TakenOutcome, on_error, is_prefetched| {
            let begun = output.begin(&taken.outcome, on_error)?;
            let first_row = match output.has_rows() {
                true => set.first_row_of(taken.index, begun.most_positions()),
                false => set.row_number(taken.index),
            };
            Ok(Current {
                taken,
                on_error,
                begun,
                first_row,
                is_prefetched,
            })
        };
        if let Some(prefetch) = &self.prefetch {
            let mut prefetch = prefetch.get()?;
            // Where the node was not asked for a row, the scan is on its own.
            if prefetch.dispatch().is_some() {
                let next = prefetch.next_outcome()?;
                let next = next.map(|(set, taken, on_error)| begin(set, taken, on_error, true));
                self.current = next.transpose()?;
                return Ok(self.current.is_some());
            }
        }
        let next = self.own.next()?;
        let next = next.map(|(set, taken, on_error)| begin(set, taken, on_error, false));
        self.current = next.transpose()?;
        Ok(self.current.is_some())
    }

    /// Makes the current outcome's next row in a slot for rows of the table; false after the last one. The datums of inputs live as long as the
    /// set, the others in the per-tuple context.
    fn write(&mut self, slot: Slot) -> Result<bool, Error> {
        let Some(current) = &mut self.current else {
            return Ok(false);
        };
        slot.store_nulls();
        let (outcome, on_error) = (&current.taken.outcome, current.on_error);
        let put = |number, datum| slot.set(number, datum);
        if !(self.output).write(&mut current.begun, outcome, on_error, put)? {
            return Ok(false);
        }
        slot.set_ctid(current.first_row.wrapping_add(current.begun.position()));
        let show = |set: &InvocationSet| {
            for (column, value) in set.values(current.taken.index) {
                if let Some(attribute) = self.layout.find(column) {
                    slot.set(attribute.number, value.datum.map(Varlena::datum));
                }
            }
        };
        match &self.prefetch {
            Some(prefetch) if current.is_prefetched => prefetch.get()?.current_set().map(show),
            _ => self.own.set().map(show),
        };
        if !self.output.has_rows() {
            // The response is not needed any more.
            self.current = None;
        }
        Ok(true)
    }
}

/// Puts the next function into a slot; false when there is none.
fn next_function(
    rows: &mut FunctionRows,
    layout: &Layout,
    own: &mut Invocations,
    prefetch: Option<&SharedPrefetch>,
    writers: &mut [Writer],
    slot: Slot,
) -> Result<bool, Error> {
    if let Some(prefetch) = prefetch {
        let mut prefetch = prefetch.get()?;
        while let Some(dispatch) = prefetch.dispatch() {
            if rows.next(dispatch, writers, slot)? {
                return Ok(true);
            }
            let Some((set, taken, _)) = prefetch.next_outcome()? else {
                return Ok(false);
            };
            // The same row of the outer side may come again.
            rows.begin(layout, set, &taken, true)?;
        }
    }
    loop {
        if let Some(dispatch) = own.dispatch()
            && rows.next(dispatch, writers, slot)?
        {
            return Ok(true);
        }
        let Some((set, taken, is_kept)) = own.next_kept()? else {
            return Ok(false);
        };
        rows.begin(layout, set, &taken, is_kept)?;
    }
}
