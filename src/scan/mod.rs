//! Running a scan: the executor's callbacks.
//!
//! - [`parameters`] tells what a rescan has to have changed to be one with new values.
//! - [`append`] runs a scan beside the other branches of an Append.
//!
//! Nothing is invoked before the first row is asked for. Where a rescan may ask for the same rows again, responses are
//! kept until a parameter that a binding uses changes, so a rescan that no such parameter caused does not invoke.

pub mod append;
pub mod parameters;

use crate::backend;
use crate::backend::config::Config;
use crate::columns::{Column, Layout};
use crate::dispatch::{self, Dispatch, InvocationHandle, Outcome, executor_hooks};
use crate::error::{Error, OrReport};
use crate::options::OnError;
use crate::plan::{Mode, PlanData};
use crate::postgres::{compat, slots};
use crate::prefetch::{Invoker, Prefetch};
use crate::rows::conditions::{self, Conditions};
use crate::rows::invocation_set::{InvocationSet, Taken};
use crate::rows::sources::Sources;
use crate::rows::writer::Writer;
use crate::rows::{new_context, output};
use parameters::Parameters;
use pgrx::{PgMemoryContexts, pg_guard, pg_sys};
use std::rc::Rc;

/// A running scan, dropped with the query's memory context.
pub struct Scan {
    node: *mut pg_sys::ForeignScanState,
    layout: Layout,
    plan: PlanData,
    /// One for each binding; null where there is no expression.
    states: Vec<*mut pg_sys::ExprState>,
    conditions: Conditions,
    /// The parameters that the bindings use, and those that the conditions use.
    parameters: Parameters,
    of_conditions: Parameters,
    writers: Vec<Writer>,
    /// What the rows that give the values have invoked, where they can be told, and no node reads them prefetch.
    sources: Option<Sources>,
    /// Holds the values of the current batch.
    set_context: pg_sys::MemoryContext,
    table: pg_sys::Oid,
    user: pg_sys::Oid,
    /// The node that reads outer rows prefetch, null where there is none.
    prefetch: *mut Prefetch,
    /// Made when the first row is asked for.
    pub dispatch: Option<Dispatch>,
    set: Option<InvocationSet>,
    /// Whether the conditions are to be checked again.
    chooses: bool,
    /// Whether the next row was asked for, and not yet taken.
    asked: bool,
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
    // SAFETY: the node is being initialised: its plan, relation and query are there. What is made here
    // lives in the query's context, which also drops the scan after an error.
    unsafe {
        let estate = (*node).ss.ps.state;
        let query_context = (*estate).es_query_cxt;
        let relation = (*node).ss.ss_currentRelation;
        let layout = Layout::read(relation).or_report();
        let mut plan = PlanData::read((*node).ss.ps.plan.cast(), &layout);
        let mut parameters = Parameters::none(estate);
        let mut of_conditions = Parameters::none(estate);
        let states = (plan.bindings.iter())
            .map(|binding| {
                parameters.add(binding.expression);
                // Null for null.
                pg_sys::ExecInitExpr(binding.expression.cast(), &raw mut (*node).ss.ps)
            })
            .collect();
        for condition in &plan.conditions {
            of_conditions.add(*condition);
        }
        let mut conditions = Conditions::new(
            &plan.conditions,
            &raw mut (*node).ss.ps,
            pg_sys::ExecInitExtraTupleSlot(estate, (*relation).rd_att, &pg_sys::TTSOpsVirtual),
            (*(*node).ss.ps.plan.cast::<pg_sys::Scan>()).scanrelid,
            conditions::inputs(&layout),
        );
        conditions.may_change = !of_conditions.is_empty();
        let writers: Vec<Writer> = layout
            .attributes
            .iter()
            .filter(|attribute| !attribute.column.is_input() && plan.reads(attribute.number))
            .map(|attribute| Writer::new(*attribute, query_context))
            .collect();
        let set_context = new_context(query_context);
        let (told, ids) = std::mem::take(&mut plan.source);
        let of_bindings = plan.bindings.iter().map(|binding| binding.expression);
        let sources = match plan.mode {
            Mode::Plain => Sources::begin(told, &ids, of_bindings, &raw mut (*node).ss.ps),
            _ => None,
        };
        let prefetch = match plan.mode {
            Mode::Prefetch(parameter) => Prefetch::of(estate, parameter),
            _ => std::ptr::null_mut(),
        };
        let scan = PgMemoryContexts::For(query_context).leak_and_drop_on_delete(Scan {
            node,
            layout,
            plan,
            states,
            conditions,
            parameters,
            of_conditions,
            writers,
            sources,
            set_context,
            table: (*relation).rd_id,
            user: compat::scan_user(node),
            prefetch,
            dispatch: None,
            set: None,
            chooses: false,
            asked: false,
        });
        if let Some(prefetch) = prefetch.as_mut() {
            prefetch.serve(scan, (*scan).layout.clone());
        }
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
    // SAFETY: as above; the set of changed parameters is the executor's.
    unsafe {
        executor_hooks::refuse_rewind((*node).ss.ps.state).or_report();
        let scan = &mut *(*node).fdw_state.cast::<Scan>();
        let changed = scan.parameters.overlap((*node).ss.ps.chgParam);
        if let Some(sources) = &mut scan.sources {
            sources.forget_if((*node).ss.ps.chgParam);
        }
        let whole = (scan.set.as_mut()).is_none_or(|set| set.start_over());
        scan.asked = false;
        if let Some(dispatch) = &mut scan.dispatch
            && scan.prefetch.is_null()
        {
            dispatch.prefetch_limit.start_over();
        }
        if changed || !whole {
            scan.forget();
        } else {
            scan.chooses |= scan.of_conditions.overlap((*node).ss.ps.chgParam);
        }
    }
}

/// Callback: ends a scan.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn end_foreign_scan(node: *mut pg_sys::ForeignScanState) {
    // SAFETY: as above, except that EXPLAIN began nothing.
    unsafe {
        if let Some(scan) = (*node).fdw_state.cast::<Scan>().as_mut() {
            scan.forget();
            if let Some(sources) = &mut scan.sources {
                sources.end();
            }
        }
    }
}

impl Scan {
    /// Puts the next row into the slot; false when there is none.
    unsafe fn next(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<bool, Error> {
        // SAFETY: the node that reads prefetch lives as long as the scan, and has begun before it.
        unsafe {
            if let (Some(prefetch), Some(dispatch)) = (self.prefetch.as_mut(), &mut self.dispatch) {
                return match prefetch.next_outcome(dispatch)? {
                    Some((set, (place, outcome))) => {
                        self.write(slot, set, place, &outcome)?;
                        Ok(true)
                    }
                    None => Ok(false),
                };
            }
            if let Mode::Missing(column, in_join) = self.plan.mode {
                let has_invoked = dispatch::has_invoked();
                return Err((self.plan).no_value_error(
                    column,
                    in_join,
                    self.table,
                    &self.layout,
                    has_invoked,
                ));
            }
            let mut set = self.ask()?;
            let outcome = self.next_outcome(&mut set);
            self.asked = false;
            if let Ok(Some((place, outcome))) = &outcome {
                self.write(slot, &set, *place, outcome)?;
            }
            self.set = Some(set);
            Ok(outcome?.is_some())
        }
    }

    /// Takes the batch to find the next row in it.
    unsafe fn ask(&mut self) -> Result<InvocationSet, Error> {
        // SAFETY: called while the scan runs.
        unsafe {
            if !self.asked {
                self.own_dispatch()?.prefetch_limit.note_requested();
                self.asked = true;
            }
            let chooses = std::mem::take(&mut self.chooses);
            let Some(mut set) = self.set.take() else {
                return self.evaluate();
            };
            if chooses {
                set.choose(&self.conditions, (*self.node).ss.ps.ps_ExprContext)?;
            }
            Ok(set)
        }
    }

    /// The invocation that the next row is made of, if it is on its way.
    fn next_handle(&self) -> Option<Rc<InvocationHandle>> {
        self.set.as_ref().and_then(InvocationSet::next_handle)
    }

    /// Whether the next row is on its way.
    fn is_awaited(&self) -> bool {
        self.set.as_ref().is_some_and(InvocationSet::is_awaited)
    }

    /// Asks for the next row, and tells whether it, or the end, is there. Where not all rows are wanted, this waits its
    /// turn as long as `others` are asked.
    unsafe fn poll(&mut self, others: impl Fn() -> bool) -> Result<bool, Error> {
        // SAFETY: called while the scan runs.
        unsafe {
            let mut set = self.ask()?;
            if let Some(dispatch) = &mut self.dispatch {
                let may_wait =
                    !dispatch.prefetch_limit.all_are_wanted() || !dispatch.budget.has_room();
                let waits = may_wait && set.untaken() == 0 && others();
                if !waits {
                    set.fill(self.table, dispatch)?;
                }
            }
            backend::flush()?;
            let ready = set.is_over() || set.outcome()?.is_some();
            self.set = Some(set);
            Ok(ready)
        }
    }

    unsafe fn own_dispatch(&mut self) -> Result<&mut Dispatch, Error> {
        // SAFETY: called while the scan runs.
        unsafe {
            let node = self.node;
            self.dispatch(&raw mut (*node).ss.ps)
        }
    }

    unsafe fn evaluate(&mut self) -> Result<InvocationSet, Error> {
        // SAFETY: the batch context outlives the batch, and is reset with it.
        let set = unsafe {
            let econtext = (*self.node).ss.ps.ps_ExprContext;
            let context = pg_sys::MemoryContextSwitchTo(self.set_context);
            let fixed = &self.own_dispatch()?.config.fixed.clone();
            let source = (self.sources.as_ref())
                .map(|sources| sources.now(econtext))
                .transpose();
            let set = source.and_then(|source| {
                InvocationSet::new(
                    fixed,
                    (&self.plan.bindings, &self.states),
                    &self.conditions,
                    econtext,
                    self.shows_payload(),
                    source,
                )
            });
            pg_sys::MemoryContextSwitchTo(context);
            set?
        };
        if let Some(dispatch) = &self.dispatch {
            dispatch.expect(
                dispatch
                    .prefetch_limit
                    .is_once()
                    .then_some(set.combinations()),
            )?;
        }
        Ok(set)
    }

    /// Starts what may be started, and takes the next outcome when it is there.
    fn next_outcome(&mut self, set: &mut InvocationSet) -> Result<Option<Taken>, Error> {
        let dispatch = (self.dispatch.as_mut())
            .ok_or(Error::Unexpected("row was asked for before the beginning"))?;
        set.fill(self.table, dispatch)?;
        loop {
            if set.is_over() {
                return Ok(None);
            }
            if let Some(outcome) = set.outcome()? {
                return set
                    .take(outcome, !dispatch.prefetch_limit.is_once())
                    .map(Some);
            }
            dispatch.wait(set.next_handle().as_deref())?;
            // What has come is handed on before more is started.
            if set.outcome()?.is_none() {
                set.fill(self.table, dispatch)?;
            }
        }
    }

    /// Makes a virtual tuple, whose datums live in the per-tuple context or, the inputs, as long as the batch.
    unsafe fn write(
        &mut self,
        slot: *mut pg_sys::TupleTableSlot,
        set: &InvocationSet,
        place: u64,
        outcome: &Outcome,
    ) -> Result<(), Error> {
        let on_error = (self.dispatch.as_ref()).map(|dispatch| dispatch.config.on_error);
        // SAFETY: the slot has a place for each column of the table.
        unsafe {
            pg_sys::ExecStoreAllNullTuple(slot);
            let put = |number: i16, datum: Option<pg_sys::Datum>| {
                if let Some(datum) = datum {
                    let column = number as usize - 1;
                    *(*slot).tts_values.add(column) = datum;
                    *(*slot).tts_isnull.add(column) = false;
                }
            };
            slots::set_ctid(slot, set.row_number(place));
            for (column, value) in set.combination(place) {
                if let Some(attribute) = self.layout.find(column) {
                    put(attribute.number, value.datum);
                }
            }
            output::write(
                &mut self.writers,
                outcome,
                on_error.unwrap_or_default(),
                |writer, datum| put(writer.attribute.number, datum),
            )
        }
    }

    fn forget(&mut self) {
        self.set = None;
        if let Some(dispatch) = &mut self.dispatch
            && self.prefetch.is_null()
        {
            dispatch.start_over();
        }
        // SAFETY: nothing else points into the scan's own context.
        unsafe { pg_sys::MemoryContextReset(self.set_context) };
    }
}

impl Invoker for Scan {
    unsafe fn dispatch(&mut self, node: *mut pg_sys::PlanState) -> Result<&mut Dispatch, Error> {
        match &mut self.dispatch {
            Some(dispatch) => Ok(dispatch),
            none => {
                // SAFETY: the executor runs in a transaction.
                unsafe {
                    let config = Config::read(self.table, self.user)?;
                    self.layout.tells_failures(config.on_error)?;
                    let reads_response = config.on_error == OnError::Return
                        || (self.writers.iter())
                            .any(|writer| writer.attribute.column == Column::Response);
                    let estate = (*self.node).ss.ps.state;
                    Ok(none.insert(Dispatch::new(config, estate, node, reads_response)))
                }
            }
        }
    }

    unsafe fn is_substituted(&self) -> bool {
        // SAFETY: the node has a plan and a query. While rows are rechecked, each place of the range table has a slot or a
        // row mark if its rows are there.
        unsafe {
            let epq = (*(*self.node).ss.ps.state).es_epq_active;
            let plan = (*self.node).ss.ps.plan.cast::<pg_sys::ForeignScan>();
            let place = (*plan).scan.scanrelid as usize - 1;
            epq.as_ref().is_some_and(|epq| {
                !(*epq.relsubs_slot.add(place)).is_null()
                    || !(*epq.relsubs_rowmark.add(place)).is_null()
            })
        }
    }

    fn table(&self) -> pg_sys::Oid {
        self.table
    }

    fn inserts(&self) -> bool {
        false
    }

    fn shows_payload(&self) -> bool {
        let payload = self.layout.find(Column::Payload);
        payload.is_some_and(|attribute| self.plan.reads(attribute.number))
    }
}
