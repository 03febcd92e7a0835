//! Reads outer rows, and evaluates for each what it invokes.

use super::consumer::Consumer;
use super::row_memory::RowMemory;
use crate::backend;
use crate::columns::{Column, Layout};
use crate::dispatch::{Dispatch, Started};
use crate::error::Error;
use crate::plan;
use crate::plan::sources::Source;
use crate::postgres::executor::{CustomScanState, ExprContext};
use crate::postgres::refs::Node;
use crate::postgres::relids::Relids;
use crate::postgres::slots::Slot;
use crate::rows::conditions::{self, Conditions};
use crate::rows::invocation_set::InvocationSet;
use crate::rows::sources::Sources;
use crate::rows::values::ReadyBinding;
use pgrx::pg_sys;
use std::rc::{Rc, Weak};

/// What the node's plan carries.
pub struct Carried {
    /// The bindings as numbers.
    pub bindings: Vec<i32>,
    /// The source row as numbers.
    pub source: Vec<i32>,
    /// The expressions of the bindings, of the source row and of the conditions.
    pub expressions: Vec<Node<'static>>,
    /// Whether columns beyond those of the plan are the scan's input columns.
    pub has_inputs: bool,
}

/// Reads the rows of the plan below the node.
pub struct Reader {
    node: CustomScanState<'static>,
    carried: Carried,
    /// Made when the first row is read, as a scan begins after the node.
    expressions: Option<Expressions>,
    econtext: ExprContext<'static>,
    /// Holds the row whose bindings are evaluated.
    slot: Slot<'static>,
    /// Where the last row is.
    memory: Weak<RowMemory>,
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
    /// Prepares to read for a node that is being initialised. `carried` is its plan's.
    pub fn begin(node: CustomScanState<'static>, carried: Carried) -> Reader {
        let estate = node.estate();
        Reader {
            node,
            carried,
            expressions: None,
            econtext: estate.new_expr_context(),
            slot: estate.new_slot(node.slot().descriptor()),
            memory: Weak::new(),
            has_ended: false,
        }
    }

    /// Whether the last row was read.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Reads a row, and evaluates the bindings with it. `None` after the last one.
    pub fn read(
        &mut self,
        consumer: &mut Consumer,
        dispatch: &Dispatch,
    ) -> Result<Option<Row>, Error> {
        // The plan below may take its time.
        backend::flush()?;
        let below = self.node.as_plan_state().left();
        // The executor calls nodes in the query's context.
        let query_context = self.node.estate().query_context();
        let Some(below) = query_context.switch_to(|| below?.next_row()) else {
            self.has_ended = true;
            return Ok(None);
        };
        // All of a row is in a context that goes with the query's after an error.
        let memory = RowMemory::next(&mut self.memory, query_context, dispatch);
        let (tuple, set) = memory.context().switch_to(|| {
            let tuple = below.copy();
            // SAFETY: the slot has the columns of the rows below. It is not read before it has the next row, and the row may be freed
            // meanwhile. What was evaluated for the row before was copied.
            unsafe {
                self.slot.store(tuple, false);
                self.econtext.row_context().reset();
            }
            self.econtext.set_scan_row(self.slot);
            (tuple, self.evaluate(consumer, dispatch))
        });
        let set = set?;
        let printed = set.printed();
        memory.note_row(printed, dispatch);
        Ok(Some(Row {
            tuple,
            set,
            untaken: 0,
            memory,
            printed,
        }))
    }

    /// What the row in the slot invokes. The current memory context is the row's.
    fn evaluate(
        &mut self,
        consumer: &mut Consumer,
        dispatch: &Dispatch,
    ) -> Result<InvocationSet, Error> {
        let fixed = &dispatch.config.fixed;
        let scan = match consumer {
            Consumer::Insert(rows) => {
                rows.check(self.slot)?;
                return Ok(match rows.inputs(fixed, self.slot) {
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
            &scan.columns,
            &expressions.bindings,
            &expressions.conditions,
            source,
        )
    }

    /// Initialises the expressions in the query's memory context.
    fn prepare(&self, layout: &Layout) -> Expressions {
        let (node, econtext) = (self.node.as_plan_state(), self.econtext);
        node.estate().query_context().switch_to(|| {
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
                self.slot,
                pg_sys::INDEX_VAR as pg_sys::Index,
                self.inputs_in_slot(layout),
            );
            Expressions {
                bindings,
                conditions,
                sources,
            }
        })
    }

    /// The scan's input columns in the slot, where it has them. They are the last ones; see plans.rs.
    fn inputs_in_slot(&self, layout: &Layout) -> Vec<(Column, i16)> {
        let columns = self.slot.columns();
        let width = self.node.plan().as_plan().targets().len();
        if !self.carried.has_inputs || columns <= width {
            return Vec::new();
        }
        let mut inputs = conditions::inputs(layout);
        let first = columns - inputs.len() + 1;
        (inputs.iter_mut().zip(first as i16..)).for_each(|(input, number)| input.1 = number);
        inputs
    }

    /// Starts over with the first row. What source rows have invoked is forgotten if it depends on a parameter that `changed`.
    pub fn start_over(&mut self, changed: Relids) {
        if let Some(sources) = self.sources() {
            sources.forget_if(changed);
        }
        self.has_ended = false;
    }

    /// Forgets what source rows have invoked.
    pub fn end(&mut self) {
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
    /// Holds the row and its values.
    memory: Rc<RowMemory>,
    /// Bytes of the value that is printed and waits to be sent.
    printed: usize,
}

impl Row {
    /// Starts its next invocation.
    pub fn start(&mut self, dispatch: &mut Dispatch) -> Result<Started, Error> {
        let started = self.set.start(dispatch);
        let printed = self.set.printed();
        (self.memory).note_printed(std::mem::replace(&mut self.printed, printed), printed);
        let started = started?;
        self.untaken += 1;
        Ok(started)
    }

    /// Frees the row, whose invocations have left the window.
    pub fn free(self) {
        let Row { set, memory, .. } = self;
        drop(set);
        // SAFETY: nothing else points to the row.
        unsafe { memory.free() };
    }
}
