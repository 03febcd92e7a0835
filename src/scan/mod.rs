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
use crate::postgres::refs::Ref;
use crate::prefetch::{Consumer, SharedPrefetch};
use crate::rows::invocation_set::{InvocationSet, TakenOutcome};
use crate::rows::output;
use crate::rows::writer::Writer;
use invocations::Invocations;
use pgrx::{PgMemoryContexts, pg_guard, pg_sys};
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
    // SAFETY: the node is being initialised: its plan, relation and query are there. The query's context drops what is made here, also
    // after an error.
    unsafe {
        let estate = (*node).ss.ps.state;
        let query_context = (*estate).es_query_cxt;
        let layout = Rc::new(Layout::read(Ref::new((*node).ss.ss_currentRelation)).or_report());
        let own = Invocations::begin(node, layout.clone());
        let prefetch = match own.plan().mode {
            Mode::Prefetch(parameter) => SharedPrefetch::of(estate, parameter),
            _ => None,
        };
        if let Some(prefetch) = &prefetch {
            let consumer = Consumer::Scan(own.consumer());
            prefetch.get().or_report().serve(consumer);
        }
        let writers = (layout.attributes.iter())
            .filter(|attribute| !attribute.column.is_input() && own.plan().reads(attribute.number))
            .map(|attribute| Writer::new(*attribute, query_context))
            .collect();
        let scan = PgMemoryContexts::For(query_context).leak_and_drop_on_delete(Scan {
            layout,
            own,
            prefetch,
            writers,
        });
        (*node).fdw_state = scan.cast();
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
    // SAFETY: `fdw_state` is the Scan that begin_foreign_scan left.
    unsafe {
        let scan = &mut *(*node).fdw_state.cast::<Scan>();
        let slot = (*node).ss.ss_ScanTupleSlot;
        let more = scan.next(slot).or_report();
        backend::flush().or_report();
        if more { slot } else { std::ptr::null_mut() }
    }
}

/// Callback: starts over.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn rescan_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: `fdw_state` is the Scan that begin_foreign_scan left. The set of changed parameters is the executor's.
    unsafe {
        executor_hooks::refuse_rewind(crate::postgres::refs::Ref::new((*node).ss.ps.state))
            .or_report();
        let scan = &mut *(*node).fdw_state.cast::<Scan>();
        scan.own.start_over((*node).ss.ps.chgParam);
    }
}

/// Callback: ends a scan.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn end_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: `fdw_state` is the Scan that begin_foreign_scan left, or null under EXPLAIN.
    unsafe {
        if let Some(scan) = (*node).fdw_state.cast::<Scan>().as_mut() {
            scan.own.end();
        }
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

    /// Puts the next row into the slot; false when there is none.
    unsafe fn next(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<bool, Error> {
        let Scan {
            layout,
            own,
            prefetch,
            writers,
        } = self;
        // SAFETY: the scan runs, and the slot is its own.
        unsafe {
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
}

/// Makes a virtual tuple. The datums of inputs live as long as the set, the others in the per-tuple context.
///
/// # Safety
/// The slot is one for rows of the table, whose columns are `layout`.
unsafe fn write(
    layout: &Layout,
    writers: &mut [Writer],
    slot: *mut pg_sys::TupleTableSlot,
    set: &InvocationSet,
    taken: &TakenOutcome,
    on_error: OnError,
) -> Result<(), Error> {
    // SAFETY: the slot has a value for each column of the table.
    unsafe {
        pg_sys::ExecStoreAllNullTuple(slot);
        let put = |number: i16, datum: Option<pg_sys::Datum>| {
            if let Some(datum) = datum {
                let index = number as usize - 1;
                *(*slot).tts_values.add(index) = datum;
                *(*slot).tts_isnull.add(index) = false;
            }
        };
        crate::postgres::refs::Ref::new(slot).set_ctid(set.row_number(taken.index));
        for (column, value) in set.values(taken.index) {
            if let Some(attribute) = layout.find(column) {
                put(attribute.number, value.datum);
            }
        }
        output::write(writers, &taken.outcome, on_error, |writer, datum| {
            put(writer.attribute.number, datum)
        })
    }
}
