//! The invocations that a scan starts itself: values are evaluated, invoked, and their outcomes taken in order.
//!
//! Nothing is invoked before the first row is asked for. Where a rescan may ask for the same rows again, responses are
//! kept until a parameter that a binding uses changes. A rescan that no such parameter caused does not invoke.

use crate::backend;
use crate::columns::{Column, Layout};
use crate::dispatch::window::{Requests, Window};
use crate::dispatch::{self, Dispatch, InvocationHandle};
use crate::error::Error;
use crate::options::OnError;
use crate::plan::{Mode, PlanData};
use crate::postgres::compat;
use crate::postgres::refs::{Node, Ref, as_ptr};
use crate::prefetch::ScanConsumer;
use crate::rows::conditions::{self, Conditions};
use crate::rows::invocation_set::{InvocationSet, TakenOutcome};
use crate::rows::new_context;
use crate::rows::parameters::Parameters;
use crate::rows::sources::Sources;
use pgrx::pg_sys;
use std::rc::Rc;

/// A scan's own invocations.
pub struct Invocations {
    node: *mut pg_sys::ForeignScanState,
    table: pg_sys::Oid,
    user: pg_sys::Oid,
    layout: Rc<Layout>,
    plan: PlanData<'static>,
    /// One for each binding; null where there is no expression.
    states: Vec<*mut pg_sys::ExprState>,
    conditions: Conditions,
    /// The parameters that the bindings use.
    parameters: Parameters,
    /// The parameters that the conditions use.
    condition_parameters: Parameters,
    /// What the rows that give the values have invoked, where they can be told apart.
    sources: Option<Sources>,
    /// Holds the values of the set.
    set_context: pg_sys::MemoryContext,
    /// Made when the first row is asked for.
    dispatch: Option<Dispatch>,
    set: Option<InvocationSet>,
    /// The invocations of the set that were started and not yet taken.
    window: Window,
    /// Whether the conditions are to be checked again.
    must_select: bool,
    /// Whether the next row was asked for, and not yet taken.
    is_asked: bool,
}

impl Invocations {
    /// Prepares the invocations of a scan that is being initialised, in its query's memory context.
    ///
    /// # Safety
    /// `node` has a plan, a relation and a query; `layout` is the relation's.
    pub unsafe fn begin(node: *mut pg_sys::ForeignScanState, layout: Rc<Layout>) -> Invocations {
        // SAFETY: what is made here lives as long as the query.
        unsafe {
            let state = &raw mut (*node).ss.ps;
            let estate = (*state).state;
            let relation = (*node).ss.ss_currentRelation;
            let pointers = |nodes: &[Node]| nodes.iter().map(|it| it.as_ptr()).collect::<Vec<_>>();
            let mut plan = PlanData::read(Ref::new((*state).plan.cast()), &layout);
            let mut parameters = Parameters::none(estate);
            let mut condition_parameters = Parameters::none(estate);
            let mut states = Vec::new();
            for binding in &plan.bindings {
                parameters.add(as_ptr(binding.expression));
                // Null for null.
                states.push(pg_sys::ExecInitExpr(
                    as_ptr(binding.expression).cast(),
                    state,
                ));
            }
            for condition in &plan.conditions {
                condition_parameters.add(condition.as_ptr());
            }
            let mut conditions = Conditions::new(
                &pointers(&plan.conditions),
                state,
                pg_sys::ExecInitExtraTupleSlot(estate, (*relation).rd_att, &pg_sys::TTSOpsVirtual),
                (*(*state).plan.cast::<pg_sys::Scan>()).scanrelid,
                conditions::inputs(&layout),
            );
            conditions.may_change = !condition_parameters.is_empty();
            let (source, ids) = std::mem::take(&mut plan.source);
            let of_bindings = plan
                .bindings
                .iter()
                .map(|binding| as_ptr(binding.expression));
            let sources = match plan.mode {
                Mode::Plain => Sources::begin(source, &pointers(&ids), of_bindings, state),
                _ => None,
            };
            Invocations {
                node,
                table: (*relation).rd_id,
                user: compat::scan_user(Ref::new(node)),
                layout,
                plan,
                states,
                conditions,
                parameters,
                condition_parameters,
                sources,
                set_context: new_context((*estate).es_query_cxt),
                dispatch: None,
                set: None,
                window: Window::default(),
                must_select: false,
                is_asked: false,
            }
        }
    }

    /// What the plan carries.
    pub fn plan(&self) -> &PlanData<'static> {
        &self.plan
    }

    /// What the node that prefetches has to know of the scan.
    pub fn consumer(&self) -> ScanConsumer {
        ScanConsumer {
            table: self.table,
            user: self.user,
            layout: self.layout.clone(),
            // SAFETY: the node is initialised, and its plan is one of a scan.
            range_table_index: unsafe {
                (*(*self.node).ss.ps.plan.cast::<pg_sys::Scan>()).scanrelid
            },
            shows_payload: self.reads(Column::Payload),
            reads_response: self.reads(Column::Response),
        }
    }

    fn reads(&self, column: Column) -> bool {
        let attribute = self.layout.find(column);
        attribute.is_some_and(|attribute| self.plan.reads(attribute.number))
    }

    /// The invocations; `None` before the first row.
    pub fn dispatch(&mut self) -> Option<&mut Dispatch> {
        self.dispatch.as_mut()
    }

    /// The invocation of the next row, if it was started.
    pub fn awaited(&self) -> Option<&InvocationHandle> {
        self.window.first()
    }

    /// Takes the next outcome, and gives it with the set that it is of and what becomes of failures. `None` after the last one.
    ///
    /// # Safety
    /// Called while the scan runs.
    pub unsafe fn next(
        &mut self,
    ) -> Result<Option<(&InvocationSet, TakenOutcome, OnError)>, Error> {
        if let Mode::Missing(column, in_join) = self.plan.mode {
            let (table, has_invoked) = (self.table, dispatch::has_invoked());
            let plan = &self.plan;
            return Err(plan.no_value_error(column, in_join, table, &self.layout, has_invoked));
        }
        // SAFETY: the scan runs.
        unsafe { self.ask()? };
        self.is_asked = false;
        let (Some(set), Some(dispatch)) = (&mut self.set, &mut self.dispatch) else {
            return Err(Error::Unexpected("row was asked for before the beginning"));
        };
        dispatch.report_progress();
        self.window.fill(set, dispatch)?;
        let Some(outcome) = self.window.wait(set, dispatch)? else {
            return Ok(None);
        };
        let is_kept = !dispatch.prefetch_limit.is_once();
        let taken = set.take(&mut self.window, outcome, is_kept)?;
        Ok(Some((set, taken, dispatch.config.on_error)))
    }

    /// Notes that the next row is asked for, and has a set to find it in.
    unsafe fn ask(&mut self) -> Result<(), Error> {
        // SAFETY: called while the scan runs.
        unsafe {
            if !self.is_asked {
                self.begun_dispatch()?.prefetch_limit.note_requested();
                self.is_asked = true;
            }
            let must_select = std::mem::take(&mut self.must_select);
            match &mut self.set {
                None => self.set = Some(self.evaluate()?),
                Some(set) if must_select => {
                    let econtext = (*self.node).ss.ps.ps_ExprContext;
                    set.select_again(&self.conditions, econtext, &mut self.window)?;
                }
                Some(_) => (),
            }
            Ok(())
        }
    }

    /// Asks for the next row. True if the row, or the end, is there. Where not all rows are wanted, nothing is started as long as `others`
    /// may give a row instead.
    ///
    /// # Safety
    /// Called while the scan runs.
    pub unsafe fn poll(&mut self, others: impl Fn() -> bool) -> Result<bool, Error> {
        // SAFETY: called while the scan runs.
        unsafe { self.ask()? };
        let (Some(set), Some(dispatch)) = (&mut self.set, &mut self.dispatch) else {
            return Err(Error::Unexpected("row was asked for before the beginning"));
        };
        let may_wait = !dispatch.prefetch_limit.all_are_wanted() || !dispatch.budget.has_room();
        let waits = may_wait && self.window.is_empty() && others();
        if !waits {
            dispatch.report_progress();
            self.window.fill(set, dispatch)?;
        }
        backend::flush()?;
        Ok(set.is_over() || set.poll(&self.window)?.is_some())
    }

    unsafe fn begun_dispatch(&mut self) -> Result<&mut Dispatch, Error> {
        let reads_response = self.reads(Column::Response);
        match &mut self.dispatch {
            Some(dispatch) => Ok(dispatch),
            none => {
                // SAFETY: the scan runs.
                let dispatch = unsafe {
                    let node = crate::postgres::refs::Ref::new(&raw mut (*self.node).ss.ps);
                    Dispatch::of_scan(self.table, self.user, &self.layout, node, reads_response)?
                };
                Ok(none.insert(dispatch))
            }
        }
    }

    /// Evaluates the bindings, and selects what is invoked.
    unsafe fn evaluate(&mut self) -> Result<InvocationSet, Error> {
        let shows_payload = self.reads(Column::Payload);
        // SAFETY: the set's context outlives the set, and is reset with it.
        let set = unsafe {
            let econtext = (*self.node).ss.ps.ps_ExprContext;
            let context = pg_sys::MemoryContextSwitchTo(self.set_context);
            let fixed = &self.begun_dispatch()?.config.fixed.clone();
            let source = (self.sources.as_ref())
                .map(|sources| sources.now(econtext))
                .transpose();
            let set = source.and_then(|source| {
                InvocationSet::new(
                    fixed,
                    (&self.plan.bindings, &self.states),
                    &self.conditions,
                    econtext,
                    shows_payload,
                    source,
                )
            });
            pg_sys::MemoryContextSwitchTo(context);
            set?
        };
        if let Some(dispatch) = &self.dispatch {
            let is_once = dispatch.prefetch_limit.is_once();
            dispatch.note_expected(is_once.then_some(set.len()))?;
        }
        Ok(set)
    }

    /// Starts over: with the same outcomes, with another selection of the same values, or with other values.
    ///
    /// # Safety
    /// `changed` is the executor's.
    pub unsafe fn start_over(&mut self, changed: *mut pg_sys::Bitmapset) {
        // SAFETY: the set of changed parameters is the executor's.
        unsafe {
            if let Some(sources) = &mut self.sources {
                sources.forget_if(changed);
            }
            let is_whole = (self.set.as_mut()).is_none_or(InvocationSet::rewind);
            self.is_asked = false;
            if let Some(dispatch) = &mut self.dispatch {
                dispatch.prefetch_limit.start_over();
            }
            if self.parameters.overlap(changed) || !is_whole {
                self.forget();
            } else {
                self.must_select |= self.condition_parameters.overlap(changed);
            }
        }
    }

    /// Ends it.
    ///
    /// # Safety
    /// Called while the query ends.
    pub unsafe fn end(&mut self) {
        self.forget();
        if let Some(sources) = &mut self.sources {
            // SAFETY: the query ends.
            unsafe { sources.end() };
        }
    }

    /// Drops the set, and aborts what is in flight and nobody else holds.
    fn forget(&mut self) {
        self.set = None;
        self.window = Window::default();
        if let Some(dispatch) = &mut self.dispatch {
            dispatch.start_over();
        }
        // SAFETY: nothing else points into the set's context.
        unsafe { pg_sys::MemoryContextReset(self.set_context) };
    }
}
