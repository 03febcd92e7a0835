//! The rows that were read prefetch, and what they invoke.

use crate::backend;
use crate::columns::Layout;
use crate::dispatch::Dispatch;
use crate::error::Error;
use crate::lambda::budget::Share;
use crate::plan;
use crate::plan::clause::Binding;
use crate::plan::sources::Source;
use crate::postgres::{nodes, slots};
use crate::rows::conditions::{self, Conditions};
use crate::rows::invocation_set::{InvocationSet, Taken};
use crate::rows::sources::Sources;
use crate::rows::{inserted, new_context};
use pgrx::{PgMemoryContexts, pg_sys};
use std::collections::VecDeque;
use std::sync::Arc;

/// That whose invocations are made prefetch.
pub trait Invoker {
    /// Its invocations, which are made as fast as `node` is asked for rows.
    ///
    /// # Safety
    /// Called while the query runs that both are part of.
    unsafe fn dispatch(&mut self, node: *mut pg_sys::PlanState) -> Result<&mut Dispatch, Error>;

    /// Whether PostgreSQL has its rows already, as it has when it rechecks a row that was changed meanwhile.
    ///
    /// # Safety
    /// Called while the query runs.
    unsafe fn is_substituted(&self) -> bool {
        false
    }

    /// Its foreign table.
    fn table(&self) -> pg_sys::Oid;

    /// Whether the outer rows are what it inserts.
    fn inserts(&self) -> bool;

    /// Refuses an outer row that may not be inserted, with PostgreSQL's error or one of ours.
    ///
    /// # Safety
    /// Called while the statement runs, with a row that it inserts.
    unsafe fn check(&mut self, _row: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        Ok(())
    }

    /// Whether its rows show what was sent.
    fn shows_payload(&self) -> bool;
}

/// What reads prefetch, dropped with the query's memory context.
pub struct Prefetch {
    node: *mut pg_sys::CustomScanState,
    /// The one whose invocations these are.
    invoker: Option<*mut dyn Invoker>,
    /// Its foreign table, and the columns of that.
    table: pg_sys::Oid,
    layout: Option<Layout>,
    /// Whether it inserts the rows.
    inserts: bool,
    /// Whether the rows of its table show what was sent.
    shows_payload: bool,
    /// Those of the plan: of the bindings, and of the row that gives them.
    numbers: [Vec<i32>; 2],
    expressions: Vec<*mut pg_sys::Node>,
    /// Made when the first row is asked for.
    ready: Option<Ready>,
    econtext: *mut pg_sys::ExprContext,
    /// Holds the row whose bindings are evaluated.
    reading: *mut pg_sys::TupleTableSlot,
    /// Whether the join wants only the first match of a row.
    first_only: bool,
    /// Whether an outer row that invokes nothing is a row of the join.
    keeps_rows: bool,
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

/// What is evaluated with an outer row.
struct Ready {
    bindings: Vec<Binding>,
    /// One for each binding, null where there is no expression.
    states: Vec<*mut pg_sys::ExprState>,
    conditions: Conditions,
    /// What the rows that give the values have invoked, where they can be told.
    sources: Option<Sources>,
}

/// An outer row.
struct Row {
    tuple: pg_sys::MinimalTuple,
    set: InvocationSet,
    /// Holds both, but for what is printed to be sent.
    context: pg_sys::MemoryContext,
    /// Where they are counted.
    share: Arc<Share>,
}

impl Row {
    /// Counts what it has now.
    fn count(&self) {
        self.share.set(Row::bytes(self.context, &self.set));
    }

    fn bytes(context: pg_sys::MemoryContext, set: &InvocationSet) -> usize {
        // SAFETY: the context is the row's.
        let held = unsafe { pg_sys::MemoryContextMemAllocated(context, true) };
        held + set.printed()
    }
}

impl Prefetch {
    /// Makes it, without rows, in the memory of the query.
    ///
    /// # Safety
    /// `node` is being initialised; `numbers` and `expressions` are those of its plan.
    pub unsafe fn begin(
        node: *mut pg_sys::CustomScanState,
        numbers: [Vec<i32>; 2],
        expressions: Vec<*mut pg_sys::Node>,
        [first_only, keeps_rows]: [bool; 2],
    ) -> *mut Prefetch {
        // SAFETY: the node has a query, and a slot for its rows.
        unsafe {
            let estate = (*node).ss.ps.state;
            PgMemoryContexts::For((*estate).es_query_cxt).leak_and_drop_on_delete(Prefetch {
                node,
                invoker: None,
                table: pg_sys::InvalidOid,
                layout: None,
                inserts: false,
                shows_payload: true,
                numbers,
                expressions,
                ready: None,
                econtext: pg_sys::CreateExprContext(estate),
                reading: pg_sys::ExecInitExtraTupleSlot(
                    estate,
                    (*(*node).ss.ss_ScanTupleSlot).tts_tupleDescriptor,
                    &pg_sys::TTSOpsVirtual,
                ),
                first_only,
                keeps_rows,
                current: None,
                queue: VecDeque::new(),
                untaken: 0,
                ended: false,
                starts_over: false,
            })
        }
    }

    /// The node that left a pointer to itself in a parameter; null where it did not.
    ///
    /// # Safety
    /// `estate` is that of a query being initialised, and `parameter` is of its plan.
    pub unsafe fn of(estate: *mut pg_sys::EState, parameter: i32) -> *mut Prefetch {
        // SAFETY: the outer side of a join is initialised before its inner side.
        unsafe {
            let slot = (*estate).es_param_exec_vals.add(parameter as usize);
            (*slot).value.cast_mut_ptr()
        }
    }

    /// Whether the rows that would be read for are there already.
    ///
    /// # Safety
    /// Called while the node runs.
    pub unsafe fn is_substituted(&self) -> bool {
        // SAFETY: the invoker lives as long as this.
        self.invoker
            .is_some_and(|invoker| unsafe { (*invoker).is_substituted() })
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
            self.shows_payload = (*invoker).shows_payload();
        }
    }

    /// Goes to the next outer row, whose first outcome is there.
    ///
    /// # Safety
    /// Called while the node runs.
    pub unsafe fn next(&mut self) -> Result<Option<pg_sys::MinimalTuple>, Error> {
        // SAFETY: the scan lives as long as this, and what runs below is another part of the query.
        unsafe {
            slots::clear((*self.node).ss.ss_ScanTupleSlot);
            let mut counts = true;
            if let Some(row) = self.current.take() {
                counts = self.keeps_rows || row.set.combinations() > 0;
                self.drop_row(row);
            }
            let Some(invoker) = self.invoker else {
                return Ok(None);
            };
            let dispatch = (*invoker).dispatch(self.node.cast())?;
            if std::mem::take(&mut self.starts_over) {
                dispatch.start_over();
            }
            dispatch.expect(None)?;
            // A row that the join left out is still being asked for.
            match counts {
                true => dispatch.prefetch_limit.note_requested(),
                false => dispatch.prefetch_limit.note_skipped(),
            }
            self.fill(dispatch)?;
            loop {
                let Some(row) = self.queue.front() else {
                    return Ok(None);
                };
                if row.set.is_over() || row.set.outcome()?.is_some() {
                    break;
                }
                let handle = row.set.next_handle();
                dispatch.wait(handle.as_deref())?;
                self.fill_while_late(dispatch)?;
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
    ) -> Result<Option<(&InvocationSet, Taken)>, Error> {
        // SAFETY: as above.
        unsafe {
            let (mut asked, mut waited) = (false, false);
            loop {
                let Some(row) = &mut self.current else {
                    return Ok(None);
                };
                if row.set.is_over() {
                    return Ok(None);
                }
                if row.set.is_begun() && !asked {
                    asked = true;
                    dispatch.prefetch_limit.note_requested();
                }
                if let Some(outcome) = row.set.outcome()? {
                    let taken = row.set.take(outcome, false)?;
                    self.untaken -= 1;
                    return Ok(self.current.as_ref().map(|row| (&row.set, taken)));
                }
                if self.first_only && row.set.untaken() == 0 {
                    start(row, self.econtext, self.table, dispatch)?;
                    self.untaken += 1;
                } else if !waited {
                    self.fill(dispatch)?;
                }
                if self.next_is_there()? {
                    continue;
                }
                let handle = (self.current.as_ref()).and_then(|row| row.set.next_handle());
                dispatch.wait(handle.as_deref())?;
                waited = true;
                self.fill_while_late(dispatch)?;
            }
        }
    }

    /// Whether the next outcome is there. The row that was handed on last comes first.
    fn next_is_there(&self) -> Result<bool, Error> {
        let next = (self.current.as_ref())
            .filter(|row| !row.set.is_over())
            .or(self.queue.front());
        match next {
            Some(row) => Ok(row.set.outcome()?.is_some()),
            None => Ok(false),
        }
    }

    /// As `fill`, where the next outcome is not there after a wait. If it is, it is handed on before more is started.
    unsafe fn fill_while_late(&mut self, dispatch: &mut Dispatch) -> Result<(), Error> {
        if self.next_is_there()? {
            return Ok(());
        }
        // SAFETY: as for `fill`.
        unsafe { self.fill(dispatch) }
    }

    /// Starts what may be started, reading rows as it goes, until the next outcome is there.
    unsafe fn fill(&mut self, dispatch: &mut Dispatch) -> Result<(), Error> {
        loop {
            let first_only = self.first_only;
            let is_queued = !self.queue.is_empty();
            let last = self.queue.back_mut().or(self.current.as_mut());
            match last.filter(|row| {
                row.set.can_start() && !(first_only && (!is_queued || row.set.untaken() > 0))
            }) {
                Some(row) => {
                    if !dispatch.may_start(self.untaken) {
                        return Ok(());
                    }
                    // SAFETY: the row is one of these.
                    unsafe { start(row, self.econtext, self.table, dispatch)? };
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
            if self.next_is_there()? {
                return Ok(());
            }
        }
    }

    /// Reads an outer row, and evaluates the bindings with it.
    unsafe fn read(&mut self, dispatch: &Dispatch) -> Result<(), Error> {
        // SAFETY: the executor calls nodes in the query's context. All of a row lives in a context of its own, which
        // goes with the query's after an error.
        unsafe {
            // Whatever runs below may take its time.
            backend::flush()?;
            let query_context = (*(*self.node).ss.ps.state).es_query_cxt;
            let before = pg_sys::MemoryContextSwitchTo(query_context);
            let below = slots::next((*self.node).ss.ps.lefttree);
            if slots::is_empty(below) {
                self.ended = true;
                pg_sys::MemoryContextSwitchTo(before);
                return Ok(());
            }
            let context = new_context(query_context);
            pg_sys::MemoryContextSwitchTo(context);
            let tuple = slots::copy(below);
            pg_sys::ExecForceStoreMinimalTuple(tuple, self.reading, false);
            pg_sys::MemoryContextReset((*self.econtext).ecxt_per_tuple_memory);
            (*self.econtext).ecxt_scantuple = self.reading;
            let set = self.set(dispatch);
            slots::clear(self.reading);
            pg_sys::MemoryContextSwitchTo(before);
            let set = set?;
            let share = dispatch.budget.row(Row::bytes(context, &set));
            self.queue.push_back(Row {
                tuple,
                set,
                context,
                share,
            });
            Ok(())
        }
    }

    /// What the row being read invokes.
    unsafe fn set(&mut self, dispatch: &Dispatch) -> Result<InvocationSet, Error> {
        let fixed = &dispatch.config.fixed;
        // SAFETY: the current memory context is the row's.
        unsafe {
            if let Some(layout) = self.layout.as_ref().filter(|_| self.inserts) {
                if let Some(invoker) = self.invoker {
                    (*invoker).check(self.reading)?;
                }
                return Ok(match inserted::inputs(layout, fixed, self.reading) {
                    Ok(inputs) => InvocationSet::single(inputs),
                    Err(error) => InvocationSet::refused(error),
                });
            }
            if self.ready.is_none() {
                self.ready = Some(self.prepare()?);
            }
            let ready = (self.ready.as_ref())
                .ok_or(Error::Unexpected("row was prefetched before the beginning"))?;
            let source = (ready.sources.as_ref())
                .filter(|sources| sources.repeat() || !dispatch.prefetch_limit.is_once())
                .map(|sources| sources.now(self.econtext))
                .transpose()?;
            InvocationSet::new(
                fixed,
                (&ready.bindings, &ready.states),
                &ready.conditions,
                self.econtext,
                self.shows_payload,
                source,
            )
        }
    }

    /// Makes the expressions ready: the scan, which knows the columns, begins after this node.
    unsafe fn prepare(&mut self) -> Result<Ready, Error> {
        let layout =
            (self.layout.as_ref()).ok_or(Error::Unexpected("node prefetches for no scan"))?;
        // SAFETY: the expressions are the plan's, and what is made of them lives as long as the query.
        unsafe {
            let context = (*(*self.node).ss.ps.state).es_query_cxt;
            let before = pg_sys::MemoryContextSwitchTo(context);
            let node = &raw mut (*self.node).ss.ps;
            let mut expressions = self.expressions.iter().copied();
            let bindings = plan::decode(&self.numbers[0], &mut expressions, layout);
            let told = Source::decode(&self.numbers[1]);
            let ids: Vec<_> = expressions.by_ref().take(told.width()).collect();
            let of_bindings = bindings.iter().map(|binding| binding.expression);
            let sources = Sources::begin(told, &ids, of_bindings, node);
            // The input columns are the last ones, where there are any; see plans.rs.
            let count = (*(*self.reading).tts_tupleDescriptor).natts as usize;
            let mut inputs = conditions::inputs(layout);
            match count > nodes::length((*(*node).plan).targetlist) {
                true => {
                    let first = count - inputs.len() + 1;
                    (inputs.iter_mut().zip(first as i16..))
                        .for_each(|(input, number)| input.1 = number);
                }
                false => inputs.clear(),
            }
            let ready = Ready {
                states: (bindings.iter())
                    .map(|binding| pg_sys::ExecInitExpr(binding.expression.cast(), node))
                    .collect(),
                conditions: Conditions::new(
                    &expressions.collect::<Vec<_>>(),
                    node,
                    self.reading,
                    pg_sys::INDEX_VAR as pg_sys::Index,
                    inputs,
                ),
                bindings,
                sources,
            };
            pg_sys::MemoryContextSwitchTo(before);
            Ok(ready)
        }
    }

    fn drop_row(&mut self, row: Row) {
        self.untaken -= row.set.untaken();
        drop(row.set);
        // SAFETY: nothing else points into the row's own context.
        unsafe { pg_sys::MemoryContextDelete(row.context) };
    }

    /// Starts over.
    ///
    /// # Safety
    /// `changed` is the executor's.
    pub unsafe fn start_over(&mut self, changed: *mut pg_sys::Bitmapset) {
        self.forget();
        if let Some(sources) = self.sources() {
            // SAFETY: see above.
            unsafe { sources.forget_if(changed) };
        }
        self.ended = false;
        self.starts_over = true;
    }

    fn sources(&mut self) -> Option<&mut Sources> {
        self.ready.as_mut()?.sources.as_mut()
    }

    /// Ends it.
    ///
    /// # Safety
    /// Called while the query ends.
    pub unsafe fn end(&mut self) {
        self.forget();
        if let Some(sources) = self.sources() {
            // SAFETY: see above.
            unsafe { sources.end() };
        }
    }

    /// Drops all rows, and with them what is in flight and not remembered.
    pub fn forget(&mut self) {
        // SAFETY: the slots may hold a row.
        unsafe { slots::clear((*self.node).ss.ss_ScanTupleSlot) };
        while let Some(row) = self.current.take().or_else(|| self.queue.pop_front()) {
            self.drop_row(row);
        }
    }
}

/// Starts the next invocation of a row. What is printed for it is gone afterwards.
unsafe fn start(
    row: &mut Row,
    econtext: *mut pg_sys::ExprContext,
    table: pg_sys::Oid,
    dispatch: &mut Dispatch,
) -> Result<(), Error> {
    // SAFETY: nothing is kept in the context's memory from one row to the next.
    unsafe {
        let memory = (*econtext).ecxt_per_tuple_memory;
        let before = pg_sys::MemoryContextSwitchTo(memory);
        let started = row.set.start(table, dispatch);
        pg_sys::MemoryContextSwitchTo(before);
        pg_sys::MemoryContextReset(memory);
        row.count();
        started
    }
}
