//! Running a scan: the executor's callbacks.
//!
//! - [`invocations`] is what a scan starts itself. Outcomes for a prefetched outer row come from prefetch/ instead.
//! - [`append`] runs a scan beside the other branches of an Append.

pub mod append;
mod invocations;

use crate::backend;
use crate::columns::Layout;
use crate::dispatch::{Dispatch, executor_hooks};
use crate::error::{Error, OrReport};
use crate::options::OnError;
use crate::plan::Mode;
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
use std::rc::Rc;

/// A running scan, dropped with the query's memory context.
pub struct Scan {
    layout: Rc<Layout>,
    own: Invocations,
    /// What the node on the outer side of the scan's join makes for it, if there is one.
    prefetch: Option<SharedPrefetch>,
    writers: Vec<Writer>,
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
    if eflags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
        return;
    }
    // SAFETY: the executor passes a node that is being initialised. What is made here is dropped with the query that the node is of.
    begin(unsafe { Ref::new(node) }).or_report();
}

fn begin(node: ForeignScanState<'static>) -> Result<(), Error> {
    let estate = node.estate();
    let layout = Rc::new(Layout::read(node.table())?);
    let own = Invocations::begin(node, layout.clone());
    let prefetch = match own.plan().mode {
        // SAFETY: the query is being initialised, and the parameter is of its plan.
        Mode::Prefetch(parameter) => unsafe { SharedPrefetch::of(estate.as_ptr(), parameter) },
        _ => None,
    };
    if let Some(prefetch) = &prefetch {
        prefetch.get()?.serve(Consumer::Scan(own.consumer()));
    }
    let writers = (layout.attributes.iter())
        .filter(|attribute| !attribute.column.is_input() && own.plan().reads(attribute.number))
        .map(|attribute| Writer::new(*attribute, estate.query_context()))
        .collect();
    node.set_state(Scan {
        layout,
        own,
        prefetch,
        writers,
    });
    Ok(())
}

/// The scan that the executor passes, and what `begin` has made of it; `None` under EXPLAIN.
///
/// # Safety
/// `node` is a scan of this wrapper's, and no other reference to its Scan is in use.
unsafe fn begun<'a>(
    node: *mut pg_sys::ForeignScanState,
) -> (ForeignScanState<'a>, Option<&'a mut Scan>) {
    // SAFETY: the executor's node is valid during a callback, and its state is a Scan.
    unsafe {
        let node: ForeignScanState = Ref::new(node);
        (node, node.state())
    }
}

/// Callback: gives the next row.
///
/// # Safety
/// Called by the executor, in the per-tuple memory context.
#[pg_guard]
pub unsafe extern "C-unwind" fn iterate_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the executor passes a scan of this wrapper's, and calls one callback at a time.
    let (node, scan) = unsafe { begun(node) };
    let slot = node.slot();
    let more = scan.is_some_and(|scan| scan.next(slot).or_report());
    backend::flush().or_report();
    as_ptr(more.then_some(slot))
}

/// Callback: starts over.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn rescan_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: the executor passes a scan of this wrapper's, and calls one callback at a time.
    let (node, scan) = unsafe { begun(node) };
    executor_hooks::refuse_rewind(node.estate()).or_report();
    if let Some(scan) = scan {
        scan.own.start_over(node.as_plan_state().changed());
    }
}

/// Callback: ends a scan.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn end_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: the executor passes a scan of this wrapper's, and calls one callback at a time.
    if let (_, Some(scan)) = unsafe { begun(node) } {
        scan.own.end();
    }
}

impl Scan {
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
        } = self;
        if let Some(prefetch) = prefetch {
            let mut prefetch = prefetch.get()?;
            // Where the node was not asked for a row, the scan is on its own.
            if prefetch.dispatch().is_some() {
                // SAFETY: the query runs.
                let Some((set, taken, on_error)) = (unsafe { prefetch.next_outcome()? }) else {
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
