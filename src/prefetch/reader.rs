//! Reads outer rows, and evaluates for each what it invokes.

use super::consumer::Consumer;
use crate::backend;
use crate::columns::{Column, Layout};
use crate::dispatch::{Dispatch, InvocationHandle};
use crate::error::Error;
use crate::lambda::budget::Share;
use crate::plan;
use crate::plan::sources::Source;
use crate::postgres::refs::{Node, Ref};
use crate::postgres::{nodes, slots};
use crate::rows::conditions::{self, Conditions};
use crate::rows::invocation_set::InvocationSet;
use crate::rows::sources::Sources;
use crate::rows::values::ReadyBinding;
use pgrx::pg_sys;
use std::rc::Rc;
use std::sync::Arc;

/// What the node's plan carries.
pub struct Carried {
    /// The bindings as numbers.
    pub bindings: Vec<i32>,
    /// The source row as numbers.
    pub source: Vec<i32>,
    /// The expressions of the bindings, of the source row and of the conditions.
    pub expressions: Vec<Node<'static>>,
}

/// Reads the rows of the plan below the node.
pub struct Reader {
    node: *mut pg_sys::CustomScanState,
    carried: Carried,
    /// Made when the first row is read, as a scan begins after the node.
    expressions: Option<Expressions>,
    econtext: *mut pg_sys::ExprContext,
    /// Holds the row whose bindings are evaluated.
    slot: *mut pg_sys::TupleTableSlot,
    /// Whether the last row was read.
    has_ended: bool,
}

/// What is evaluated with an outer row.
struct Expressions {
    bindings: Vec<ReadyBinding>,
    conditions: Conditions,
    /// What the rows that give the values have invoked, where they can be told apart.
    sources: Option<Sources>,
}

impl Reader {
    /// Prepares to read for a node that is being initialised.
    ///
    /// # Safety
    /// `node` has a query, and a slot for its rows. `carried` is its plan's.
    pub unsafe fn begin(node: *mut pg_sys::CustomScanState, carried: Carried) -> Reader {
        // SAFETY: the context and the slot live as long as the query.
        unsafe {
            let estate = (*node).ss.ps.state;
            let descriptor = (*(*node).ss.ss_ScanTupleSlot).tts_tupleDescriptor;
            Reader {
                node,
                carried,
                expressions: None,
                econtext: pg_sys::CreateExprContext(estate),
                slot: pg_sys::ExecInitExtraTupleSlot(estate, descriptor, &pg_sys::TTSOpsVirtual),
                has_ended: false,
            }
        }
    }

    /// Whether the last row was read.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Reads a row, and evaluates the bindings with it. `None` after the last one.
    ///
    /// # Safety
    /// Called while the node runs.
    pub unsafe fn read(
        &mut self,
        consumer: &mut Consumer,
        dispatch: &Dispatch,
    ) -> Result<Option<Row>, Error> {
        // SAFETY: the executor calls nodes in the query's context. All of a row is in a context that goes with the query's after
        // an error.
        unsafe {
            // The plan below may take its time.
            backend::flush()?;
            let query_context = (*(*self.node).ss.ps.state).es_query_cxt;
            let before = pg_sys::MemoryContextSwitchTo(query_context);
            let below = slots::next((*self.node).ss.ps.lefttree);
            if slots::is_empty(below) {
                self.has_ended = true;
                pg_sys::MemoryContextSwitchTo(before);
                return Ok(None);
            }
            let context = Ref::new(query_context).child().as_ptr();
            pg_sys::MemoryContextSwitchTo(context);
            let tuple = slots::copy(below);
            pg_sys::ExecForceStoreMinimalTuple(tuple, self.slot, false);
            pg_sys::MemoryContextReset((*self.econtext).ecxt_per_tuple_memory);
            (*self.econtext).ecxt_scantuple = self.slot;
            let set = self.evaluate(consumer, dispatch);
            slots::clear(self.slot);
            pg_sys::MemoryContextSwitchTo(before);
            let set = set?;
            let share = dispatch.budget.row(Row::bytes(context, &set));
            Ok(Some(Row {
                tuple,
                set,
                untaken: 0,
                print_context: (*self.econtext).ecxt_per_tuple_memory,
                context,
                share,
            }))
        }
    }

    /// What the row in the slot invokes.
    unsafe fn evaluate(
        &mut self,
        consumer: &mut Consumer,
        dispatch: &Dispatch,
    ) -> Result<InvocationSet, Error> {
        let fixed = &dispatch.config.fixed;
        // SAFETY: the current memory context is the row's.
        unsafe {
            let scan = match consumer {
                Consumer::Insert(rows) => {
                    rows.check(Ref::new(self.slot))?;
                    return Ok(match rows.inputs(fixed, Ref::new(self.slot)) {
                        Ok(inputs) => InvocationSet::single(inputs),
                        Err(error) => InvocationSet::refused(error),
                    });
                }
                Consumer::Scan(scan) => scan,
            };
            let expressions = match &self.expressions {
                Some(expressions) => expressions,
                None => {
                    let prepared = self.prepare(&scan.layout);
                    self.expressions.insert(prepared)
                }
            };
            let source = (expressions.sources.as_ref())
                .filter(|sources| sources.repeat() || !dispatch.prefetch_limit.is_once())
                .map(Sources::now)
                .transpose()?;
            InvocationSet::new(
                fixed,
                &expressions.bindings,
                &expressions.conditions,
                scan.shows_payload,
                source,
            )
        }
    }

    /// Initialises the expressions in the query's memory context.
    unsafe fn prepare(&self, layout: &Layout) -> Expressions {
        // SAFETY: the expressions are the plan's, and what is made of them lives as long as the query.
        unsafe {
            let context = (*(*self.node).ss.ps.state).es_query_cxt;
            let before = pg_sys::MemoryContextSwitchTo(context);
            let node = Ref::new(self.node).as_plan_state();
            let econtext = Ref::new(self.econtext);
            let mut expressions = self.carried.expressions.iter().copied();
            let bindings = plan::decode(&self.carried.bindings, &mut expressions, layout);
            let source = Source::decode(&self.carried.source);
            let ids: Vec<_> = expressions.by_ref().take(source.width()).collect();
            let of_bindings = bindings.iter().map(|binding| binding.node());
            let sources = Sources::begin(source, &ids, of_bindings, node, econtext);
            let bindings = (bindings.iter())
                .map(|binding| ReadyBinding::init(binding, node, econtext))
                .collect();
            let conditions = Conditions::new(
                &expressions.collect::<Vec<_>>(),
                (node, econtext),
                Ref::new(self.slot),
                pg_sys::INDEX_VAR as pg_sys::Index,
                self.inputs_in_slot(layout),
            );
            pg_sys::MemoryContextSwitchTo(before);
            Expressions {
                bindings,
                conditions,
                sources,
            }
        }
    }

    /// The scan's input columns in the slot, where it has them. They are the last ones; see plans.rs.
    unsafe fn inputs_in_slot(&self, layout: &Layout) -> Vec<(Column, i16)> {
        // SAFETY: the slot has a descriptor, and the node a plan.
        let (columns, columns_of_row) = unsafe {
            let columns = (*(*self.slot).tts_tupleDescriptor).natts as usize;
            (
                columns,
                nodes::length((*(*self.node).ss.ps.plan).targetlist),
            )
        };
        if columns <= columns_of_row {
            return Vec::new();
        }
        let mut inputs = conditions::inputs(layout);
        let first = columns - inputs.len() + 1;
        (inputs.iter_mut().zip(first as i16..)).for_each(|(input, number)| input.1 = number);
        inputs
    }

    /// Starts over with the first row. What source rows have invoked is forgotten if it depends on a parameter that changed.
    ///
    /// # Safety
    /// `changed` is the executor's.
    pub unsafe fn start_over(&mut self, changed: *mut pg_sys::Bitmapset) {
        if let Some(sources) = self.sources() {
            // SAFETY: the set is the executor's.
            unsafe { sources.forget_if(crate::postgres::refs::FromRaw::from_raw(changed)) };
        }
        self.has_ended = false;
    }

    /// Forgets what source rows have invoked.
    ///
    /// # Safety
    /// Called while the query ends.
    pub unsafe fn end(&mut self) {
        if let Some(sources) = self.sources() {
            sources.end();
        }
    }

    fn sources(&mut self) -> Option<&mut Sources> {
        self.expressions.as_mut()?.sources.as_mut()
    }
}

/// An outer row.
pub struct Row {
    /// The row.
    pub tuple: pg_sys::MinimalTuple,
    /// What it invokes.
    pub set: InvocationSet,
    /// How many of its invocations were started and not yet taken.
    pub untaken: usize,
    /// Where values are printed to be sent.
    print_context: pg_sys::MemoryContext,
    /// Holds the row and its values.
    context: pg_sys::MemoryContext,
    /// The row's part of the budget.
    share: Arc<Share>,
}

impl Row {
    /// Starts its next invocation.
    ///
    /// # Safety
    /// Called while the node runs.
    pub unsafe fn start(&mut self, dispatch: &mut Dispatch) -> Result<Rc<InvocationHandle>, Error> {
        // SAFETY: nothing stays in the context from one row to the next.
        let started = unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.print_context);
            let started = self.set.start(dispatch);
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::MemoryContextReset(self.print_context);
            started
        };
        self.share.set(Row::bytes(self.context, &self.set));
        let handle = started?;
        self.untaken += 1;
        Ok(handle)
    }

    fn bytes(context: pg_sys::MemoryContext, set: &InvocationSet) -> usize {
        // SAFETY: the context is the row's.
        let held = unsafe { pg_sys::MemoryContextMemAllocated(context, true) };
        held + set.printed()
    }

    /// Frees the row, whose invocations have left the window.
    pub fn free(self) {
        let context = self.context;
        drop(self);
        // SAFETY: nothing else points into the row's context.
        unsafe { pg_sys::MemoryContextDelete(context) };
    }
}
