//! The invocations that a scan starts itself: values are evaluated, invoked, and their outcomes taken in order.
//!
//! Nothing is invoked before the first row is asked for. Where a rescan may ask for the same rows again, responses are
//! kept until a parameter that a binding uses changes. A rescan that no such parameter caused does not invoke.

use crate::backend;
use crate::columns::{Column, Layout};
use crate::dispatch::window::{Requests, Window};
use crate::dispatch::{self, Dispatch, Started};
use crate::error::Error;
use crate::fields::{Field, Part};
use crate::options::OnError;
use crate::plan::{Mode, PlanData};
use crate::postgres::compat;
use crate::postgres::executor::ForeignScanState;
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::relids::Relids;
use crate::prefetch::ScanConsumer;
use crate::rows::conditions::{self, Conditions};
use crate::rows::invocation_set::{InvocationSet, TakenOutcome};
use crate::rows::parameters::Parameters;
use crate::rows::payload::InputColumns;
use crate::rows::sources::Sources;
use crate::rows::values::ReadyBinding;
use pgrx::pg_sys;
use std::rc::Rc;

/// A scan's own invocations.
pub struct Invocations {
    node: ForeignScanState<'static>,
    table: pg_sys::Oid,
    user: pg_sys::Oid,
    layout: Rc<Layout>,
    columns: Rc<InputColumns>,
    plan: PlanData<'static>,
    bindings: Vec<ReadyBinding>,
    conditions: Conditions,
    /// The parameters that the bindings use.
    parameters: Parameters,
    /// The parameters that the conditions use.
    condition_parameters: Parameters,
    /// What the rows that give the values have invoked, where they can be told apart.
    sources: Option<Sources>,
    /// Holds the values of the set.
    set_context: MemoryContext<'static>,
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
    /// Prepares the invocations of a scan that is being initialised, in its query's memory context. `layout` is its table's.
    pub fn begin(node: ForeignScanState<'static>, layout: Rc<Layout>) -> Invocations {
        let (state, econtext) = (node.as_plan_state(), node.expr_context());
        let estate = node.estate();
        let mut plan = PlanData::read(node.plan(), &layout);
        let mut parameters = Parameters::none(estate);
        let mut condition_parameters = Parameters::none(estate);
        let mut bindings = Vec::new();
        for binding in &plan.bindings {
            parameters.add(binding.node());
            bindings.push(ReadyBinding::init(binding, state, econtext));
        }
        for condition in &plan.conditions {
            condition_parameters.add(Some(*condition));
        }
        let mut conditions = Conditions::new(
            &plan.conditions,
            (state, econtext),
            estate.new_slot(node.table().descriptor()),
            node.plan().scan.scanrelid,
            conditions::inputs(&layout),
        );
        conditions.may_change = !condition_parameters.is_empty();
        if let Mode::Prefetch(_) = plan.mode {
            plan.narrow(node.plan(), estate);
        }
        let is_read = |number| plan.reads(number);
        let columns = InputColumns::new(&layout, is_read, estate.query_context());
        let (source, ids) = std::mem::take(&mut plan.source);
        let of_bindings = plan.bindings.iter().map(|binding| binding.node());
        let sources = match plan.mode {
            Mode::Plain => Sources::begin(source, &ids, of_bindings, state, econtext),
            _ => None,
        };
        Invocations {
            node,
            table: node.table().rd_id,
            user: compat::scan_user(node),
            columns: Rc::new(columns),
            layout,
            plan,
            bindings,
            conditions,
            parameters,
            condition_parameters,
            sources,
            set_context: estate.query_context().child(),
            dispatch: None,
            set: None,
            window: Window::default(),
            must_select: false,
            is_asked: false,
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
            columns: self.columns.clone(),
            range_table_index: self.node.plan().scan.scanrelid,
            reads_response: self.reads_response(),
            is_call: self.plan.call.is_some(),
        }
    }

    /// Whether a row depends on the response.
    fn reads_response(&self) -> bool {
        let is_field = |field: &Field| field.column.part() == Some(Part::Response);
        let mut fields = self.layout.fields.iter().filter(|field| is_field(field));
        self.layout.rows.is_some()
            || self.reads(Column::Response)
            || fields.any(|field| self.reads(field.column))
    }

    fn reads(&self, column: Column) -> bool {
        let attribute = self.layout.find(column);
        attribute.is_some_and(|attribute| self.plan.reads(attribute.number))
    }

    /// What is invoked; `None` before the first row.
    pub fn set(&self) -> Option<&InvocationSet> {
        self.set.as_ref()
    }

    /// The invocations; `None` before the first row.
    pub fn dispatch(&mut self) -> Option<&mut Dispatch> {
        self.dispatch.as_mut()
    }

    /// The invocation of the next row, if it was started.
    pub fn awaited(&self) -> Option<&Started> {
        self.window.first()
    }

    /// Takes the next outcome, and gives it with the set that it is of and what becomes of failures. `None` after the last one.
    pub fn next(&mut self) -> Result<Option<(&InvocationSet, TakenOutcome, OnError)>, Error> {
        if let Mode::Missing(column, in_join) = self.plan.mode {
            let (table, has_invoked) = (self.table, dispatch::has_invoked());
            let plan = &self.plan;
            return Err(plan.no_value_error(column, in_join, table, &self.layout, has_invoked));
        }
        self.ask()?;
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

    /// The same, with whether outcomes are kept for a rescan.
    pub fn next_kept(&mut self) -> Result<Option<(&InvocationSet, TakenOutcome, bool)>, Error> {
        self.ask()?;
        let is_once =
            (self.dispatch.as_ref()).is_some_and(|dispatch| dispatch.prefetch_limit.is_once());
        Ok(self.next()?.map(|(set, taken, _)| (set, taken, !is_once)))
    }

    /// Notes that the next row is asked for, and has a set to find it in.
    fn ask(&mut self) -> Result<(), Error> {
        if !self.is_asked {
            self.begun_dispatch()?.prefetch_limit.note_requested();
            self.is_asked = true;
        }
        let must_select = std::mem::take(&mut self.must_select);
        match &mut self.set {
            None => self.set = Some(self.evaluate()?),
            Some(set) if must_select => set.select_again(&self.conditions, &mut self.window)?,
            Some(_) => (),
        }
        Ok(())
    }

    /// Asks for the next row. True if the row, or the end, is there. Where not all rows are wanted, nothing is started as long as `others`
    /// may give a row instead.
    pub fn poll(&mut self, others: impl Fn() -> bool) -> Result<bool, Error> {
        self.ask()?;
        let (Some(set), Some(dispatch)) = (&mut self.set, &mut self.dispatch) else {
            return Err(Error::Unexpected("row was asked for before the beginning"));
        };
        let may_wait = !dispatch.prefetch_limit.all_are_wanted() || !dispatch.budget.has_room();
        let waits = may_wait && self.window.is_empty() && others();
        if !waits {
            dispatch.report_progress();
            self.window.fill(set, dispatch)?;
        }
        let is_ready = set.is_over() || set.poll(&self.window)?.is_some();
        if let Some(first) = self.window.first().filter(|_| !is_ready) {
            // The Append is about to wait for it.
            first.send()?;
        }
        backend::flush()?;
        Ok(is_ready)
    }

    fn begun_dispatch(&mut self) -> Result<&mut Dispatch, Error> {
        let reads_response = self.reads_response();
        match &mut self.dispatch {
            Some(dispatch) => Ok(dispatch),
            none => {
                let node = self.node.as_plan_state();
                let is_call = self.plan.call.is_some();
                let dispatch = Dispatch::of_scan(
                    self.table,
                    self.user,
                    &self.layout,
                    node,
                    reads_response,
                    is_call,
                )?;
                Ok(none.insert(dispatch))
            }
        }
    }

    /// Evaluates the bindings, and selects what is invoked.
    fn evaluate(&mut self) -> Result<InvocationSet, Error> {
        let context = self.set_context;
        // The set's context outlives the set, and is reset with it.
        let set = context.switch_to(|| {
            let fixed = self.begun_dispatch()?.config.fixed.clone();
            let source = self.sources.as_ref().map(Sources::now).transpose()?;
            InvocationSet::new(
                &fixed,
                &self.columns,
                &self.bindings,
                &self.conditions,
                source,
            )
        })?;
        if let Some(dispatch) = &self.dispatch {
            let is_once = dispatch.prefetch_limit.is_once();
            dispatch.note_expected(is_once.then_some(set.len()))?;
        }
        Ok(set)
    }

    /// Starts over: with the same outcomes, with another selection of the same values, or with other values. `changed` are the parameters that
    /// have changed.
    pub fn start_over(&mut self, changed: Relids) {
        // The node that prefetches does all.
        if matches!(self.plan.mode, Mode::Prefetch(_)) && self.dispatch.is_none() {
            return;
        }
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

    /// Ends it, while the query ends.
    pub fn end(&mut self) {
        self.forget();
        if let Some(sources) = &mut self.sources {
            sources.end();
        }
    }

    /// Drops the set, and aborts what is in flight and nobody else holds.
    fn forget(&mut self) {
        self.set = None;
        self.window = Window::default();
        if let Some(dispatch) = &mut self.dispatch {
            dispatch.start_over();
        }
        // SAFETY: nothing but the set points into its context.
        unsafe { self.set_context.reset() };
    }
}
