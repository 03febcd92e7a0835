//! INSERT and COPY into a foreign table: a row is an event that is sent.
//!
//! - [`plan`] has rows prefetched where each is returned with what came back.
//! - [`refused`] refuses UPDATE and DELETE.
//! - [`ends`] waits for the last rows, as all are accepted before the statement ends.
//!
//! How a row is checked and becomes a request is rows/'s.

mod ends;
pub mod plan;
pub mod refused;

use crate::backend;
use crate::dispatch::window::Window;
use crate::dispatch::{Dispatch, Outcome};
use crate::error::{Error, OrReport};
use crate::lambda::request::InvokeRequest;
use crate::options::OnError;
use crate::postgres::refs::Ref;
use crate::postgres::{nodes, slots};
use crate::prefetch::{Consumer, SharedPrefetch};
use crate::rows::inserted::InsertedRows;
use crate::rows::output;
use crate::rows::writer::Writer;
use pgrx::{PgMemoryContexts, pg_guard, pg_sys};
use std::ffi::c_int;
use std::rc::Rc;

/// What a statement inserts into one foreign table, dropped with the query's memory context.
pub struct Insert {
    writers: Vec<Writer>,
    /// Holds what is made of one row.
    row_context: pg_sys::MemoryContext,
    invocations: Invocations,
}

/// Where the invocations of rows are.
enum Invocations {
    /// They are started as rows come.
    Own(Box<OwnInvocations>),
    /// A node below the statement's has started them.
    Prefetched(SharedPrefetch),
}

struct OwnInvocations {
    rows: InsertedRows,
    /// Made when the first row comes.
    dispatch: Option<Dispatch>,
    /// The invocations of rows that nobody reads once they are inserted.
    window: Window,
}

/// Callback: prepares an INSERT.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn begin_foreign_modify(
    state: *mut pg_sys::ModifyTableState,
    relation: *mut pg_sys::ResultRelInfo,
    private: *mut pg_sys::List,
    _subplan_index: c_int,
    eflags: c_int,
) {
    // SAFETY: the node is being initialised for the relation.
    unsafe { refused::refuse(state, relation).or_report() };
    if eflags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
        return;
    }
    // SAFETY: the node is being initialised, what is below it has been.
    unsafe {
        let rows = InsertedRows::begin(Ref::new(state), Ref::new(relation)).or_report();
        rows.refuse_without_payload().or_report();
        let prefetch = (nodes::integers(private).next())
            .and_then(|parameter| SharedPrefetch::of((*state).ps.state, parameter));
        begin(state, relation, rows, prefetch).or_report();
    }
}

/// Callback: prepares a COPY, or rows that come by way of a partitioned table.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn begin_foreign_insert(
    state: *mut pg_sys::ModifyTableState,
    relation: *mut pg_sys::ResultRelInfo,
) {
    // SAFETY: the node has a query. COPY makes up such a node.
    unsafe {
        let rows = InsertedRows::begin(Ref::new(state), Ref::new(relation)).or_report();
        begin(state, relation, rows, None).or_report();
    }
}

unsafe fn begin(
    state: *mut pg_sys::ModifyTableState,
    relation: *mut pg_sys::ResultRelInfo,
    rows: InsertedRows,
    prefetch: Option<SharedPrefetch>,
) -> Result<(), Error> {
    // SAFETY: the node has a query, whose memory context drops what is made here, also after an error.
    unsafe {
        let query_context = (*(*state).ps.state).es_query_cxt;
        let writers = (rows.layout.attributes.iter())
            .filter(|attribute| !attribute.column.is_input())
            .map(|attribute| Writer::new(*attribute, Ref::new(query_context)))
            .collect();
        let invocations = match prefetch {
            Some(prefetch) => {
                prefetch.get()?.serve(Consumer::Insert(Box::new(rows)));
                Invocations::Prefetched(prefetch)
            }
            None => Invocations::Own(Box::new(OwnInvocations {
                rows,
                dispatch: None,
                window: Window::default(),
            })),
        };
        let insert = PgMemoryContexts::For(query_context).leak_and_drop_on_delete(Insert {
            writers,
            row_context: Ref::new(query_context).child().as_ptr(),
            invocations,
        });
        (*relation).ri_FdwState = insert.cast();
        ends::wait_at_end(insert, state, relation);
        Ok(())
    }
}

/// Callback: inserts a row.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn exec_foreign_insert(
    _estate: *mut pg_sys::EState,
    relation: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    _plan_slot: *mut pg_sys::TupleTableSlot,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: `ri_FdwState` is the Insert that was begun.
    unsafe {
        let insert = &mut *(*relation).ri_FdwState.cast::<Insert>();
        pg_sys::MemoryContextReset(insert.row_context);
        let before = pg_sys::MemoryContextSwitchTo(insert.row_context);
        insert.insert(slot).or_report();
        backend::flush().or_report();
        pg_sys::MemoryContextSwitchTo(before);
        slot
    }
}

/// Callback: ends an INSERT or a COPY.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn end_foreign_insert(
    _estate: *mut pg_sys::EState,
    relation: *mut pg_sys::ResultRelInfo,
) {
    // SAFETY: `ri_FdwState` is the Insert that was begun, except that EXPLAIN began nothing.
    unsafe {
        if let Some(insert) = (*relation).ri_FdwState.cast::<Insert>().as_mut() {
            // Of an INSERT nothing is left by now; see ends.rs.
            insert.wait_for_all().or_report();
        }
    }
}

impl Insert {
    /// Does something with the invocations, which are there once a row was inserted.
    pub fn with_dispatch<T>(
        &mut self,
        work: impl FnOnce(Option<&mut Dispatch>) -> T,
    ) -> Result<T, Error> {
        match &mut self.invocations {
            Invocations::Own(own) => Ok(work(own.dispatch.as_mut())),
            Invocations::Prefetched(prefetch) => Ok(work(prefetch.get()?.dispatch())),
        }
    }

    /// Waits until all rows are accepted.
    pub fn wait_for_all(&mut self) -> Result<(), Error> {
        match &mut self.invocations {
            Invocations::Own(own) => own.wait_for_all(),
            // Each was waited for when its row was inserted.
            Invocations::Prefetched(_) => Ok(()),
        }
    }

    /// Inserts a row. What came back is added to it, if it is read afterwards.
    unsafe fn insert(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        // SAFETY: the slot has a row of the table, and the current memory context is the row's.
        unsafe {
            match &mut self.invocations {
                Invocations::Own(own) => match own.insert(slot)? {
                    Some((outcome, on_error)) => put(&mut self.writers, slot, &outcome, on_error),
                    None => Ok(()),
                },
                Invocations::Prefetched(prefetch) => {
                    let mut prefetch = prefetch.get()?;
                    let (_, taken, on_error) = (prefetch.next_outcome()?)
                        .ok_or(Error::Unexpected("inserted row was not prefetched"))?;
                    put(&mut self.writers, slot, &taken.outcome, on_error)
                }
            }
        }
    }
}

impl OwnInvocations {
    /// Starts the invocation of a row. Its outcome is waited for if the row is read afterwards.
    unsafe fn insert(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<Option<(Rc<Outcome>, OnError)>, Error> {
        // SAFETY: the slot has a row of the table, and the current memory context is the row's.
        unsafe {
            let is_read = self.rows.are_read();
            self.rows.check(Ref::new(slot))?;
            let OwnInvocations {
                rows,
                dispatch,
                window,
            } = self;
            let dispatch = match dispatch {
                Some(dispatch) => dispatch,
                none => none.insert(rows.dispatch(None)?),
            };
            make_room(window, dispatch)?;
            dispatch.note_expected(None)?;
            let inputs = rows.inputs(&dispatch.config.fixed, Ref::new(slot));
            let handle = match inputs.and_then(InvokeRequest::new) {
                Ok(request) => dispatch.start(request)?,
                Err(error) => dispatch.refuse(error),
            };
            if !is_read {
                window.push(handle);
                return Ok(None);
            }
            let outcome = dispatch.wait_for(handle)?;
            Ok(Some((outcome, dispatch.config.on_error)))
        }
    }

    /// Waits until all rows are accepted.
    fn wait_for_all(&mut self) -> Result<(), Error> {
        let Some(dispatch) = &mut self.dispatch else {
            return Ok(());
        };
        (self.window).wait_until(&mut (), dispatch, |window, (), _| {
            take_completed(window)?;
            Ok(window.is_empty().then_some(()))
        })
    }
}

/// Waits until one more invocation may be started.
fn make_room(window: &mut Window, dispatch: &mut Dispatch) -> Result<(), Error> {
    window.wait_until(&mut (), dispatch, |window, (), dispatch| {
        take_completed(window)?;
        Ok(dispatch.may_start(window.len()).then_some(()))
    })
}

/// Takes the invocations that have ended, as far as none before them is in flight. Errors with the first failure.
fn take_completed(window: &mut Window) -> Result<(), Error> {
    while let Some(outcome) = window.poll()? {
        if let Some(error) = output::error(&outcome) {
            return Err(error);
        }
        window.pop();
    }
    Ok(())
}

/// Adds what came back to a row.
///
/// # Safety
/// The slot has a row of the table. Memory is taken from the current context.
unsafe fn put(
    writers: &mut [Writer],
    slot: *mut pg_sys::TupleTableSlot,
    outcome: &Outcome,
    on_error: OnError,
) -> Result<(), Error> {
    // SAFETY: the slot has a value for each column of the table, and takes a tuple that lives as long as the row.
    unsafe {
        slots::deform(slot);
        let descriptor = (*slot).tts_tupleDescriptor;
        let count = (*descriptor).natts as usize;
        let mut values = std::slice::from_raw_parts((*slot).tts_values, count).to_vec();
        let mut nulls = std::slice::from_raw_parts((*slot).tts_isnull, count).to_vec();
        output::write(writers, outcome, on_error, |writer, datum| {
            let index = writer.attribute.number as usize - 1;
            nulls[index] = datum.is_none();
            values[index] = datum.unwrap_or(pg_sys::Datum::from(0));
        })?;
        let tuple = pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
        let table = (*slot).tts_tableOid;
        pg_sys::ExecForceStoreHeapTuple(tuple, slot, false);
        (*slot).tts_tableOid = table;
    }
    Ok(())
}
