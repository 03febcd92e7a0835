//! Runs the node that reads ahead.

use super::{EXEC_METHODS, Invoker};
use crate::columns::Layout;
use crate::dispatch::Dispatch;
use crate::error::{Error, OrReport};
use crate::lambda::request::Inputs;
use crate::modify;
use crate::plan;
use crate::plan::clause::Binding;
use crate::postgres::{nodes, slots};
use crate::scan;
use crate::scan::batch::{Batch, Taken};
use pgrx::{PgMemoryContexts, pg_guard, pg_sys};
use std::collections::VecDeque;
use std::ffi::c_int;

/// The node's state as the executor sees it.
#[repr(C)]
pub struct State {
    css: pg_sys::CustomScanState,
    /// Null under EXPLAIN without ANALYZE.
    ahead: *mut Ahead,
}

/// What reads ahead, dropped with the query's memory context.
pub struct Ahead {
    node: *mut pg_sys::CustomScanState,
    /// The one whose invocations these are.
    invoker: Option<*mut dyn Invoker>,
    /// Its foreign table, and the columns of that.
    table: pg_sys::Oid,
    layout: Option<Layout>,
    /// Whether it inserts the rows.
    inserts: bool,
    numbers: Vec<i32>,
    expressions: Vec<*mut pg_sys::Node>,
    /// Decoded when the first row is asked for.
    bindings: Option<Vec<Binding>>,
    /// One for each binding, null where there is no expression, and one for each condition.
    states: Vec<*mut pg_sys::ExprState>,
    conditions: Vec<*mut pg_sys::ExprState>,
    econtext: *mut pg_sys::ExprContext,
    /// Holds the row whose bindings are evaluated.
    reading: *mut pg_sys::TupleTableSlot,
    /// Whether the join wants only the first match of a row.
    first_only: bool,
    /// The row that was handed on last.
    current: Option<Row>,
    queue: VecDeque<Row>,
    /// How many invocations of all these rows were started and not yet taken.
    untaken: usize,
    /// Whether the last outer row was read.
    ended: bool,
    /// Whether it was rescanned since the last row.
    starts_over: bool,
}

/// An outer row.
struct Row {
    tuple: pg_sys::MinimalTuple,
    batch: Batch,
    /// Holds both.
    context: pg_sys::MemoryContext,
}

/// Callback: makes the node's state.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn create_custom_scan_state(
    _plan: *mut pg_sys::CustomScan,
) -> *mut pg_sys::Node {
    // SAFETY: zeroed memory is a valid state without a tag.
    unsafe {
        let state = pg_sys::palloc0(std::mem::size_of::<State>()).cast::<State>();
        (*state).css.ss.ps.type_ = pg_sys::NodeTag::T_CustomScanState;
        (*state).css.methods = &EXEC_METHODS.0;
        state.cast()
    }
}

/// Callback: prepares the node and what is below it.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn begin_custom_scan(
    node: *mut pg_sys::CustomScanState,
    estate: *mut pg_sys::EState,
    eflags: c_int,
) {
    // SAFETY: the node is being initialised, and its plan is the one that plan_custom_path made.
    unsafe {
        let plan = (*node).ss.ps.plan.cast::<pg_sys::CustomScan>();
        let below = eflags as u32
            & !(pg_sys::EXEC_FLAG_REWIND | pg_sys::EXEC_FLAG_BACKWARD | pg_sys::EXEC_FLAG_MARK);
        (*node).ss.ps.lefttree =
            pg_sys::ExecInitNode((*plan).scan.plan.lefttree, estate, below as _);
        if eflags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
            return;
        }
        let own = numbers(plan, 0);
        let [parameter, first_only, _] = own[..] else {
            return;
        };
        let query_context = (*estate).es_query_cxt;
        let ahead = PgMemoryContexts::For(query_context).leak_and_drop_on_delete(Ahead {
            node,
            invoker: None,
            table: pg_sys::InvalidOid,
            layout: None,
            inserts: false,
            numbers: numbers(plan, 1),
            expressions: nodes::pointers((*plan).custom_exprs).collect(),
            bindings: None,
            states: Vec::new(),
            conditions: Vec::new(),
            econtext: pg_sys::CreateExprContext(estate),
            reading: pg_sys::ExecInitExtraTupleSlot(
                estate,
                (*(*node).ss.ss_ScanTupleSlot).tts_tupleDescriptor,
                &pg_sys::TTSOpsVirtual,
            ),
            first_only: first_only != 0,
            current: None,
            queue: VecDeque::new(),
            untaken: 0,
            ended: false,
            starts_over: false,
        });
        let slot = (*estate).es_param_exec_vals.add(parameter as usize);
        (*slot).value = pg_sys::Datum::from(ahead);
        (*slot).isnull = false;
        (*node.cast::<State>()).ahead = ahead;
    }
}

/// Callback: gives the next outer row.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn exec_custom_scan(
    node: *mut pg_sys::CustomScanState,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the state is the one that was begun.
    unsafe {
        let ahead = &mut *(*node.cast::<State>()).ahead;
        let slot = (*node).ss.ss_ScanTupleSlot;
        // A row that was changed meanwhile is checked once more with what it was joined to, which PostgreSQL has kept.
        if !(*(*node).ss.ps.state).es_epq_active.is_null() {
            let below = slots::next((*node).ss.ps.lefttree);
            if slots::is_empty(below) {
                return std::ptr::null_mut();
            }
            let tuple = slots::copy(below);
            pg_sys::ExecForceStoreMinimalTuple(tuple, slot, true);
            return slot;
        }
        let row = ahead.next();
        if row.is_err() {
            ahead.forget();
        }
        match row.or_report() {
            Some(tuple) => {
                pg_sys::ExecForceStoreMinimalTuple(tuple, slot, false);
                slot
            }
            None => std::ptr::null_mut(),
        }
    }
}

/// Callback: starts over.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn rescan_custom_scan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: as above; a child with changed parameters is rescanned when it is asked.
    unsafe {
        let ahead = &mut *(*node.cast::<State>()).ahead;
        ahead.forget();
        ahead.ended = false;
        ahead.starts_over = true;
        let below = (*node).ss.ps.lefttree;
        if (*below).chgParam.is_null() {
            pg_sys::ExecReScan(below);
        }
    }
}

/// Callback: ends the node and what is below it.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn end_custom_scan(node: *mut pg_sys::CustomScanState) {
    // SAFETY: as above, except that EXPLAIN began only what is below.
    unsafe {
        if let Some(ahead) = (*node.cast::<State>()).ahead.as_mut() {
            ahead.forget();
        }
        pg_sys::ExecEndNode((*node).ss.ps.lefttree);
    }
}

/// The numbers that plan_custom_path has put into a plan.
unsafe fn numbers(plan: *mut pg_sys::CustomScan, place: usize) -> Vec<i32> {
    // SAFETY: the list is one of lists of integers.
    unsafe {
        let list = nodes::nth((*plan).custom_private, place);
        nodes::integers(list.unwrap_or(std::ptr::null_mut())).collect()
    }
}

/// The foreign table for which a plan reads ahead.
///
/// # Safety
/// `plan` is a plan of this node.
pub unsafe fn table(plan: *mut pg_sys::CustomScan) -> pg_sys::Oid {
    // SAFETY: see above.
    let numbers = unsafe { numbers(plan, 0) };
    numbers.get(2).map_or(pg_sys::InvalidOid, |number| {
        pg_sys::Oid::from(*number as u32)
    })
}

impl Ahead {
    /// The node that left a pointer to itself in a parameter; null where it did not.
    ///
    /// # Safety
    /// `estate` is that of a query being initialised, and `parameter` is of its plan.
    pub unsafe fn of(estate: *mut pg_sys::EState, parameter: i32) -> *mut Ahead {
        // SAFETY: the outer side of a join is initialised before its inner side.
        unsafe {
            let slot = (*estate).es_param_exec_vals.add(parameter as usize);
            (*slot).value.cast_mut_ptr()
        }
    }

    /// Tells whose invocations to make.
    ///
    /// # Safety
    /// `invoker` lives as long as the query.
    pub unsafe fn serve(&mut self, invoker: *mut dyn Invoker, layout: Layout) {
        self.invoker = Some(invoker);
        self.layout = Some(layout);
        // SAFETY: see above.
        unsafe {
            self.table = (*invoker).table();
            self.inserts = (*invoker).inserts();
        }
    }

    /// Goes to the next outer row, whose first outcome is there.
    unsafe fn next(&mut self) -> Result<Option<pg_sys::MinimalTuple>, Error> {
        // SAFETY: the scan lives as long as this, and what runs below is another part of the query.
        unsafe {
            slots::clear((*self.node).ss.ss_ScanTupleSlot);
            if let Some(row) = self.current.take() {
                self.drop_row(row);
            }
            let Some(invoker) = self.invoker else {
                return Ok(None);
            };
            let dispatch = (*invoker).dispatch(self.node.cast())?;
            if std::mem::take(&mut self.starts_over) {
                dispatch.pace.start_over();
            }
            dispatch.announce(None)?;
            dispatch.pace.ask();
            loop {
                self.fill(dispatch)?;
                let Some(row) = self.queue.front() else {
                    return Ok(None);
                };
                if row.batch.is_over() || row.batch.outcome()?.is_some() {
                    break;
                }
                dispatch.wait()?;
            }
            self.current = self.queue.pop_front();
            Ok(self.current.as_ref().map(|row| row.tuple))
        }
    }

    /// Takes the next outcome of the current outer row, whose combination it is with. `None` after the last one.
    ///
    /// # Safety
    /// Called by the one that this serves, while it runs, with its invocations.
    pub unsafe fn next_outcome(
        &mut self,
        dispatch: &mut Dispatch,
    ) -> Result<Option<(&Batch, Taken)>, Error> {
        // SAFETY: as above.
        unsafe {
            let mut asked = false;
            loop {
                let Some(row) = &mut self.current else {
                    return Ok(None);
                };
                if row.batch.is_over() {
                    return Ok(None);
                }
                if row.batch.is_begun() && !asked {
                    asked = true;
                    dispatch.pace.ask();
                }
                if let Some(outcome) = row.batch.outcome()? {
                    let taken = row.batch.take(outcome, false);
                    self.untaken -= 1;
                    return Ok(self.current.as_ref().map(|row| (&row.batch, taken)));
                }
                if self.first_only && row.batch.untaken() == 0 {
                    row.batch.start(self.table, dispatch)?;
                    self.untaken += 1;
                } else {
                    self.fill(dispatch)?;
                }
                if let Some(row) = &self.current
                    && row.batch.outcome()?.is_none()
                {
                    dispatch.wait()?;
                }
            }
        }
    }

    /// Starts what may be started, reading rows as it goes, until the next outcome is there.
    unsafe fn fill(&mut self, dispatch: &mut Dispatch) -> Result<(), Error> {
        loop {
            let first_only = self.first_only;
            let is_queued = !self.queue.is_empty();
            let last = self.queue.back_mut().or(self.current.as_mut());
            match last.filter(|row| {
                row.batch.can_start() && !(first_only && (!is_queued || row.batch.untaken() > 0))
            }) {
                Some(row) => {
                    if !dispatch.may_start(self.untaken) {
                        return Ok(());
                    }
                    row.batch.start(self.table, dispatch)?;
                    self.untaken += 1;
                }
                None => {
                    if self.ended || !dispatch.may_read(self.queue.len(), self.untaken) {
                        return Ok(());
                    }
                    // SAFETY: the node below is initialised.
                    unsafe { self.read(dispatch)? };
                    continue;
                }
            }
            let next = (self.current.as_ref())
                .filter(|row| !row.batch.is_over())
                .or(self.queue.front());
            if let Some(row) = next
                && row.batch.outcome()?.is_some()
            {
                return Ok(());
            }
        }
    }

    /// Reads an outer row, and evaluates the bindings with it.
    unsafe fn read(&mut self, dispatch: &Dispatch) -> Result<(), Error> {
        // SAFETY: the executor calls nodes in the query's context. All of a row lives in a context of its own, which
        // goes with the query's after an error.
        unsafe {
            let query_context = (*(*self.node).ss.ps.state).es_query_cxt;
            let before = pg_sys::MemoryContextSwitchTo(query_context);
            let below = slots::next((*self.node).ss.ps.lefttree);
            if slots::is_empty(below) {
                self.ended = true;
                pg_sys::MemoryContextSwitchTo(before);
                return Ok(());
            }
            let context = scan::new_context(query_context);
            pg_sys::MemoryContextSwitchTo(context);
            let tuple = slots::copy(below);
            pg_sys::ExecForceStoreMinimalTuple(tuple, self.reading, false);
            pg_sys::MemoryContextReset((*self.econtext).ecxt_per_tuple_memory);
            (*self.econtext).ecxt_scantuple = self.reading;
            let batch = self.batch(&dispatch.config.fixed);
            slots::clear(self.reading);
            pg_sys::MemoryContextSwitchTo(before);
            self.queue.push_back(Row {
                tuple,
                batch: batch?,
                context,
            });
            Ok(())
        }
    }

    /// What the row being read invokes.
    unsafe fn batch(&mut self, fixed: &Inputs) -> Result<Batch, Error> {
        // SAFETY: the current memory context is the row's.
        unsafe {
            if let Some(layout) = self.layout.as_ref().filter(|_| self.inserts) {
                return Ok(Batch::single(modify::inputs(layout, fixed, self.reading)?));
            }
            self.prepare();
            Batch::new(
                fixed,
                self.bindings.as_deref().unwrap_or_default(),
                &self.states,
                &self.conditions,
                self.econtext,
            )
        }
    }

    /// Makes the expressions ready, once: the scan, which knows the columns, begins after this node.
    unsafe fn prepare(&mut self) {
        if self.bindings.is_some() {
            return;
        }
        // SAFETY: the expressions are the plan's, and what is made of them lives as long as the query.
        unsafe {
            let context = (*(*self.node).ss.ps.state).es_query_cxt;
            let before = pg_sys::MemoryContextSwitchTo(context);
            let mut rest = self.expressions.iter().copied();
            let bindings = match &self.layout {
                Some(layout) => plan::decode(&self.numbers, &mut rest, layout),
                None => Vec::new(),
            };
            let prepare = |expression: *mut pg_sys::Node| {
                pg_sys::ExecInitExpr(expression.cast(), &raw mut (*self.node).ss.ps)
            };
            self.states = (bindings.iter())
                .map(|binding| prepare(binding.expression))
                .collect();
            self.conditions = rest.map(prepare).collect();
            self.bindings = Some(bindings);
            pg_sys::MemoryContextSwitchTo(before);
        }
    }

    fn drop_row(&mut self, row: Row) {
        self.untaken -= row.batch.untaken();
        drop(row.batch);
        // SAFETY: nothing else points into the row's own context.
        unsafe { pg_sys::MemoryContextDelete(row.context) };
    }

    /// Drops all rows, and with them what is in flight.
    fn forget(&mut self) {
        // SAFETY: the slots may hold a row.
        unsafe { slots::clear((*self.node).ss.ss_ScanTupleSlot) };
        while let Some(row) = self.current.take().or_else(|| self.queue.pop_front()) {
            self.drop_row(row);
        }
    }
}
