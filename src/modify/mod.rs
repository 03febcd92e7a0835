//! INSERT and COPY into a foreign table: a row is an event that is sent.
//!
//! - [`plan`] has the rows read prefetch where each is returned with what came back.
//! - [`checks`] has what is checked of a row before it is sent, [`left_out`] whether the statement has a payload.
//! - [`refused`] refuses UPDATE and DELETE.
//!
//! Many are in flight, and all are accepted before the statement ends: [`ends`] sees to those that were sent last.

mod checks;
mod ends;
mod left_out;
pub mod plan;
pub mod refused;

use crate::backend;
use crate::backend::config::Config;
use crate::columns::Layout;
use crate::dispatch::{Dispatch, InvocationHandle, Outcome};
use crate::error::{Error, OrReport};
use crate::lambda::request::InvokeRequest;
use crate::options::OnError;
use crate::postgres::{compat, nodes, slots};
use crate::prefetch::{Invoker, Prefetch};
use crate::rows::writer::Writer;
use crate::rows::{inserted, new_context, output};
use checks::Checks;
use pgrx::{PgMemoryContexts, pg_guard, pg_sys};
use std::collections::VecDeque;
use std::ffi::c_int;
use std::rc::Rc;

/// The rows of one foreign table that a statement inserts, dropped with the query's memory context.
pub struct Insert {
    estate: *mut pg_sys::EState,
    relation: *mut pg_sys::ResultRelInfo,
    layout: Layout,
    writers: Vec<Writer>,
    table: pg_sys::Oid,
    user: pg_sys::Oid,
    /// The statement's node.
    state: *mut pg_sys::ModifyTableState,
    /// What is checked of a row before it is sent; made when the first row comes, as `returns` is.
    checks: Option<Checks>,
    /// Whether a row is looked at after it was inserted.
    returns: Option<bool>,
    /// The payload, if the statement leaves it out.
    left_out: Option<i16>,
    /// Holds what is made of one row.
    row_context: pg_sys::MemoryContext,
    /// The node that reads rows prefetch, null where there is none.
    prefetch: *mut Prefetch,
    /// Made when the first row comes.
    dispatch: Option<Dispatch>,
    handles: VecDeque<Rc<InvocationHandle>>,
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
        let estate = (*state).ps.state;
        let insert = begin(state, relation);
        if let Some(payload) = (*insert).left_out {
            left_out::refuse_all(payload, relation, state, &(*insert).layout).or_report();
        }
        if let Some(parameter) = nodes::integers(private).next()
            && let Some(prefetch) = Prefetch::of(estate, parameter).as_mut()
        {
            (*insert).prefetch = prefetch;
            prefetch.serve(insert, (*insert).layout.clone());
        }
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
    // SAFETY: the node has a state, also that which COPY makes up.
    unsafe { begin(state, relation) };
}

unsafe fn begin(
    state: *mut pg_sys::ModifyTableState,
    relation: *mut pg_sys::ResultRelInfo,
) -> *mut Insert {
    // SAFETY: the relation is open. What is made here lives in the query's context, which also drops it after an error.
    unsafe {
        let estate = (*state).ps.state;
        let query_context = (*estate).es_query_cxt;
        let open = (*relation).ri_RelationDesc;
        let layout = Layout::read(open).or_report();
        let writers = (layout.attributes.iter())
            .filter(|attribute| !attribute.column.is_input())
            .map(|attribute| Writer::new(*attribute, query_context))
            .collect();
        let left_out = left_out::payload(relation, estate, &layout);
        let insert = PgMemoryContexts::For(query_context).leak_and_drop_on_delete(Insert {
            estate,
            relation,
            layout,
            writers,
            table: (*open).rd_id,
            user: compat::insert_user(estate, relation),
            state,
            checks: None,
            returns: None,
            left_out,
            row_context: new_context(query_context),
            prefetch: std::ptr::null_mut(),
            dispatch: None,
            handles: VecDeque::new(),
        });
        (*relation).ri_FdwState = insert.cast();
        ends::settle(insert, state, relation);
        insert
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
            insert.settle().or_report();
        }
    }
}

impl Insert {
    /// The invocations, for EXPLAIN.
    pub fn dispatched(&mut self) -> Option<&mut Dispatch> {
        self.dispatch.as_mut()
    }

    unsafe fn insert(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        // SAFETY: the slot has a row of the table, and the current memory context is the row's.
        unsafe {
            if let (Some(prefetch), Some(dispatch)) = (self.prefetch.as_mut(), &mut self.dispatch) {
                let (_, (_, outcome)) = prefetch
                    .next_outcome(dispatch)?
                    .ok_or(Error::Unexpected("inserted row was not prefetched"))?;
                return self.put(slot, &outcome);
            }
            let returns = self.returns();
            self.check(slot)?;
            self.make_room()?;
            let dispatch = (self.dispatch.as_mut())
                .ok_or(Error::Unexpected("row was inserted before the beginning"))?;
            dispatch.expect(None)?;
            let inputs = inserted::inputs(&self.layout, &dispatch.config.fixed, slot);
            let handle = match inputs.and_then(InvokeRequest::new) {
                Ok(request) => dispatch.start(self.table, request)?,
                Err(error) => dispatch.refuse(error),
            };
            if !returns {
                self.handles.push_back(handle);
                return Ok(());
            }
            loop {
                if let Some(outcome) = handle.poll()? {
                    return self.put(slot, &outcome);
                }
                dispatch.wait(Some(&handle))?;
            }
        }
    }

    /// Whether RETURNING, a trigger or a view's check looks at the row once it is inserted.
    unsafe fn returns(&mut self) -> bool {
        if let Some(returns) = self.returns {
            return returns;
        }
        // SAFETY: all of these are initialised before the first row.
        let returns = unsafe {
            let before = pg_sys::MemoryContextSwitchTo((*self.estate).es_query_cxt);
            self.checks = Checks::take(self.relation, self.state, &self.layout);
            pg_sys::MemoryContextSwitchTo(before);
            let relation = &*self.relation;
            !relation.ri_projectReturning.is_null()
                || !relation.ri_WithCheckOptions.is_null()
                || (relation.ri_TrigDesc.as_ref())
                    .is_some_and(|triggers| triggers.trig_insert_after_row)
        };
        *self.returns.insert(returns)
    }

    /// Waits until one more may be started.
    unsafe fn make_room(&mut self) -> Result<(), Error> {
        loop {
            self.take_completed()?;
            let untaken = self.handles.len();
            let first = self.handles.front().cloned();
            // SAFETY: called while the statement runs.
            let dispatch = unsafe { self.dispatch(std::ptr::null_mut())? };
            if dispatch.may_start(untaken) {
                return Ok(());
            }
            dispatch.wait(first.as_deref())?;
        }
    }

    /// Waits until all are accepted.
    pub fn settle(&mut self) -> Result<(), Error> {
        loop {
            self.take_completed()?;
            match (&mut self.dispatch, self.handles.front()) {
                (Some(dispatch), Some(first)) => dispatch.wait(Some(first))?,
                _ => return Ok(()),
            }
        }
    }

    fn take_completed(&mut self) -> Result<(), Error> {
        while let Some(handle) = self.handles.front() {
            let Some(outcome) = handle.poll()? else {
                return Ok(());
            };
            if let Some(error) = output::error(&outcome) {
                return Err(error);
            }
            self.handles.pop_front();
        }
        Ok(())
    }

    /// Adds what came back to the row.
    unsafe fn put(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        outcome: &Outcome,
    ) -> Result<(), Error> {
        let on_error = (self.dispatch.as_ref()).map(|dispatch| dispatch.config.on_error);
        // SAFETY: the slot has a place for each column of the table, and takes a tuple that lives as long as the row.
        unsafe {
            slots::deform(slot);
            let descriptor = (*slot).tts_tupleDescriptor;
            let count = (*descriptor).natts as usize;
            let mut values = std::slice::from_raw_parts((*slot).tts_values, count).to_vec();
            let mut nulls = std::slice::from_raw_parts((*slot).tts_isnull, count).to_vec();
            output::write(
                &mut self.writers,
                outcome,
                on_error.unwrap_or_default(),
                |writer, datum| {
                    let place = writer.attribute.number as usize - 1;
                    nulls[place] = datum.is_none();
                    values[place] = datum.unwrap_or(pg_sys::Datum::from(0));
                },
            )?;
            let tuple =
                pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            let table = (*slot).tts_tableOid;
            pg_sys::ExecForceStoreHeapTuple(tuple, slot, false);
            (*slot).tts_tableOid = table;
        }
        Ok(())
    }
}

impl Invoker for Insert {
    unsafe fn dispatch(&mut self, node: *mut pg_sys::PlanState) -> Result<&mut Dispatch, Error> {
        // SAFETY: the executor runs in a transaction.
        unsafe {
            let returns = self.returns() || !self.prefetch.is_null();
            match &mut self.dispatch {
                Some(dispatch) => Ok(dispatch),
                none => {
                    let mut config = Config::read(self.table, self.user)?;
                    if (*self.relation).ri_projectReturning.is_null() && self.prefetch.is_null() {
                        // Nobody would see the row that tells of the failure.
                        config.on_error = OnError::Raise;
                    }
                    self.layout.tells_failures(config.on_error)?;
                    Ok(none.insert(Dispatch::new(config, self.estate, node, returns)))
                }
            }
        }
    }

    fn table(&self) -> pg_sys::Oid {
        self.table
    }

    fn inserts(&self) -> bool {
        true
    }

    unsafe fn check(&mut self, row: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        // SAFETY: the caller's.
        unsafe {
            self.returns();
            if let Some(checks) = &mut self.checks {
                checks.make(row, self.estate);
            }
            match self.left_out {
                Some(payload) => left_out::refuse(payload, row, self.state, &self.layout),
                None => Ok(()),
            }
        }
    }

    fn shows_payload(&self) -> bool {
        true
    }
}
