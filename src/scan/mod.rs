//! Running a scan: the executor's callbacks.
//!
//! - [`values`] evaluates what the clauses give the input columns.
//! - [`batch`] makes invocations of the values and keeps what came back.
//!
//! Nothing is invoked before the first row is asked for. Responses are kept until a parameter that a
//! binding uses changes, so a rescan that no such parameter caused gives the same rows again without invoking.

mod batch;
mod values;

use crate::backend::config::Config;
use crate::columns::{Attribute, Column, Layout, Writer};
use crate::error::{Error, OrReport};
use crate::lambda::InvokeResponse;
use crate::plan::PlanData;
use crate::postgres::{compat, nodes};
use base64::Engine;
use batch::Batch;
use pgrx::{PgMemoryContexts, is_a, pg_guard, pg_sys};

/// A running scan, dropped with the query's memory context.
pub struct Scan {
    layout: Layout,
    plan: PlanData,
    /// One for each binding; null where there is no expression.
    states: Vec<*mut pg_sys::ExprState>,
    /// One for each condition of the plan.
    conditions: Vec<*mut pg_sys::ExprState>,
    /// The parameters that the bindings and conditions use.
    parameters: *mut pg_sys::Bitmapset,
    writers: Vec<Writer>,
    /// Whether the query reads the response, which otherwise need not be kept.
    reads_response: bool,
    /// Holds the values of the current batch.
    batch_context: pg_sys::MemoryContext,
    table: pg_sys::Oid,
    user: pg_sys::Oid,
    /// Read when the first row is asked for.
    config: Option<Config>,
    batch: Option<Batch>,
    /// Invocations made so far.
    pub invocations: u64,
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
        let plan = PlanData::read((*node).ss.ps.plan.cast(), &layout);
        let mut walk = Walk {
            estate,
            parameters: std::ptr::null_mut(),
        };
        let mut prepare = |expression: *mut pg_sys::Node| {
            collect_parameters(expression, (&raw mut walk).cast());
            // Null for null.
            pg_sys::ExecInitExpr(expression.cast(), &raw mut (*node).ss.ps)
        };
        let states = (plan.bindings.iter())
            .map(|binding| prepare(binding.expression))
            .collect();
        let conditions = plan.conditions.iter().copied().map(&mut prepare).collect();
        let writers: Vec<Writer> = layout
            .attributes
            .iter()
            .filter(|attribute| !attribute.column.is_input() && plan.reads(attribute.number))
            .map(|attribute| Writer::new(*attribute, query_context))
            .collect();
        let batch_context = pg_sys::AllocSetContextCreateInternal(
            query_context,
            c"aws_lambda_fdw values".as_ptr(),
            pg_sys::ALLOCSET_DEFAULT_MINSIZE as _,
            pg_sys::ALLOCSET_DEFAULT_INITSIZE as _,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as _,
        );
        let scan = Scan {
            layout,
            plan,
            states,
            conditions,
            parameters: walk.parameters,
            reads_response: (writers.iter())
                .any(|writer| writer.attribute.column == Column::Response),
            writers,
            batch_context,
            table: (*relation).rd_id,
            user: compat::scan_user(node),
            config: None,
            batch: None,
            invocations: 0,
        };
        (*node).fdw_state = PgMemoryContexts::For(query_context)
            .leak_and_drop_on_delete(scan)
            .cast();
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
        if scan.next((*node).ss.ps.ps_ExprContext, slot).or_report() {
            slot
        } else {
            std::ptr::null_mut()
        }
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
        let scan = &mut *(*node).fdw_state.cast::<Scan>();
        if pg_sys::bms_overlap((*node).ss.ps.chgParam, scan.parameters) {
            scan.forget();
        } else if let Some(batch) = &mut scan.batch {
            batch.start_over();
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
        }
    }
}

impl Scan {
    /// Puts the next row into the slot; false when there is none.
    unsafe fn next(
        &mut self,
        econtext: *mut pg_sys::ExprContext,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<bool, Error> {
        let config = match &mut self.config {
            Some(config) => config,
            // SAFETY: the executor runs in a transaction.
            none => none.insert(unsafe { Config::read(self.table, self.user)? }),
        };
        let batch = match &mut self.batch {
            Some(batch) => batch,
            none => {
                if let Some((column, in_join)) = self.plan.missing {
                    return Err(Error::NotBound {
                        column: column.name(),
                        table: self.layout.table.clone(),
                        in_join,
                    });
                }
                // SAFETY: the batch context outlives the batch, and is reset with it.
                none.insert(unsafe {
                    let context = pg_sys::MemoryContextSwitchTo(self.batch_context);
                    let mut batch =
                        Batch::new(&config.fixed, &self.plan.bindings, &self.states, econtext)?;
                    // Not before there is something to invoke: the join would not check them either.
                    if !batch.is_empty() && !values::all_true(&self.conditions, econtext)? {
                        batch = Batch::empty();
                    }
                    pg_sys::MemoryContextSwitchTo(context);
                    batch
                })
            }
        };
        let Some(place) = batch.advance(config, self.reads_response, &mut self.invocations)? else {
            return Ok(false);
        };
        // SAFETY: the slot has a place for each column of the table; it becomes a virtual tuple whose datums
        // live in the per-tuple context or, the inputs, in the batch's.
        unsafe {
            pg_sys::ExecStoreAllNullTuple(slot);
            let put = |attribute: &Attribute, datum: Option<pg_sys::Datum>| {
                if let Some(datum) = datum {
                    let column = attribute.number as usize - 1;
                    *(*slot).tts_values.add(column) = datum;
                    *(*slot).tts_isnull.add(column) = false;
                }
            };
            for (column, value) in batch.combination(place) {
                if let Some(attribute) = self.layout.find(column) {
                    put(attribute, value.datum);
                }
            }
            let response = batch.response(place);
            for writer in &mut self.writers {
                let attribute = writer.attribute;
                put(&attribute, output(writer, response)?);
            }
        }
        Ok(true)
    }

    fn forget(&mut self) {
        self.batch = None;
        // SAFETY: nothing else points into the scan's own context.
        unsafe { pg_sys::MemoryContextReset(self.batch_context) };
    }
}

/// The datum of an output column, in the current memory context.
fn output(writer: &mut Writer, response: &InvokeResponse) -> Result<Option<pg_sys::Datum>, Error> {
    let log;
    let bytes = match writer.attribute.column {
        Column::StatusCode => return Ok(Some(response.status_code.into())),
        Column::Response => response.payload.as_deref(),
        Column::ExecutedVersion => response.executed_version.as_deref().map(str::as_bytes),
        Column::LogResult => response.log_result.as_deref().map(str::as_bytes),
        Column::RequestId => response.request_id.as_deref().map(str::as_bytes),
        Column::Log => {
            log = decoded_log(response);
            log.as_deref().map(str::as_bytes)
        }
        // A function's error ends the statement, so a row has none.
        _ => None,
    };
    match bytes {
        Some(bytes) => Ok(Some(writer.write(bytes)?)),
        None => {
            writer.write_null();
            Ok(None)
        }
    }
}

/// The log's tail as text. A cut tail may begin inside a character, and a log may hold zero bytes; what
/// PostgreSQL's text can't hold is replaced. Null when it is not base64: `log_result` has it as it came.
fn decoded_log(response: &InvokeResponse) -> Option<String> {
    let encoded = response.log_result.as_ref()?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).replace(['\0', '\u{fffd}'], "?"))
}

struct Walk {
    estate: *mut pg_sys::EState,
    parameters: *mut pg_sys::Bitmapset,
}

/// Collects the executor parameters that an expression depends on, those of its subplans among them.
#[pg_guard]
unsafe extern "C-unwind" fn collect_parameters(
    node: *mut pg_sys::Node,
    walk: *mut std::ffi::c_void,
) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the context is the Walk that begin_foreign_scan passed; each cast follows the node's tag.
    unsafe {
        let state = &mut *walk.cast::<Walk>();
        if is_a(node, pg_sys::NodeTag::T_Param) {
            let parameter = &*node.cast::<pg_sys::Param>();
            if parameter.paramkind == pg_sys::ParamKind::PARAM_EXEC {
                state.parameters = pg_sys::bms_add_member(state.parameters, parameter.paramid);
            }
            return false;
        }
        if is_a(node, pg_sys::NodeTag::T_SubPlan) {
            let number = (*node.cast::<pg_sys::SubPlan>()).plan_id as usize - 1;
            let plans = (*(*state.estate).es_plannedstmt).subplans;
            if let Some(plan) = nodes::nth::<pg_sys::Plan>(plans, number) {
                state.parameters = pg_sys::bms_add_members(state.parameters, (*plan).extParam);
            }
        }
        pg_sys::expression_tree_walker(node, Some(collect_parameters), walk)
    }
}
