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
use crate::postgres::refs::{Ref, as_ptr};
use crate::postgres::slots::Slot;
use crate::postgres::varlena::Varlena;
use crate::prefetch::{Consumer, SharedPrefetch};
use crate::rows::invocation_set::{InvocationSet, TakenOutcome};
use crate::rows::output;
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
    writers: Vec<Writer>,
    /// The rows, if they are functions.
    functions: Option<FunctionRows>,
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
    let writers = (layout.attributes.iter())
        .filter(|attribute| layout.is_output(attribute.column))
        .filter(|attribute| own.plan().reads(attribute.number))
        .map(|attribute| Writer::new(*attribute, estate.query_context()))
        .collect();
    let functions = layout.is_of_functions().then(FunctionRows::default);
    node.set_state(RefCell::new(Scan {
        layout,
        own,
        prefetch,
        writers,
        functions,
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
        Some(mut scan) => scan.next(slot)?,
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

    /// Puts the next row into the scan's slot; false when there is none.
    fn next(&mut self, slot: Slot) -> Result<bool, Error> {
        let Scan {
            layout,
            own,
            prefetch,
            writers,
            functions,
        } = self;
        if let Some(rows) = functions {
            return next_function(rows, layout, own, prefetch.as_ref(), writers, slot);
        }
        if let Some(prefetch) = prefetch {
            let mut prefetch = prefetch.get()?;
            // Where the node was not asked for a row, the scan is on its own.
            if prefetch.dispatch().is_some() {
                let Some((set, taken, on_error)) = prefetch.next_outcome()? else {
                    return Ok(false);
                };
                write(layout, writers, slot, set, &taken, on_error)?;
                return Ok(true);
            }
        }
        let Some((set, taken, on_error)) = own.next()? else {
            return Ok(false);
        };
        write(layout, writers, slot, set, &taken, on_error)?;
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

/// Makes a virtual tuple in a slot for rows of the table, whose columns are `layout`. The datums of inputs live as long as the set, the others in
/// the per-tuple context.
fn write(
    layout: &Layout,
    writers: &mut [Writer],
    slot: Slot,
    set: &InvocationSet,
    taken: &TakenOutcome,
    on_error: OnError,
) -> Result<(), Error> {
    slot.store_nulls();
    slot.set_ctid(set.row_number(taken.index));
    for (column, value) in set.values(taken.index) {
        if let Some(attribute) = layout.find(column) {
            slot.set(attribute.number, value.datum.map(Varlena::datum));
        }
    }
    output::write(writers, &taken.outcome, on_error, |writer, datum| {
        slot.set(writer.attribute.number, datum)
    })
}
