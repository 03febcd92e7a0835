//! Running a scan: from bindings to rows, one invocation for each combination of values.
//!
//! Nothing is invoked before the first row is asked for. Responses are kept until a parameter that a
//! binding uses changes, so a rescan that no such parameter caused gives the same rows again without invoking.

use crate::backend;
use crate::clause::value_type;
use crate::columns::{Attribute, Column, Layout, Writer};
use crate::compat;
use crate::config::Config;
use crate::error::{Error, OrReport};
use crate::lambda::InvokeResponse;
use crate::nodes;
use crate::plan::PlanData;
use crate::request::{Inputs, InvokeRequest};
use crate::values::{self, Value};
use crate::wait;
use base64::Engine;
use pgrx::{PgMemoryContexts, is_a, pg_guard, pg_sys};

/// A running scan, dropped with the query's memory context.
pub struct Scan {
    layout: Layout,
    plan: PlanData,
    /// One for each binding; null where there is no expression.
    states: Vec<*mut pg_sys::ExprState>,
    /// The parameters that the bindings use.
    parameters: *mut pg_sys::Bitmapset,
    writers: Vec<Writer>,
    /// Holds the values of the current batch.
    batch_context: pg_sys::MemoryContext,
    table: pg_sys::Oid,
    user: pg_sys::Oid,
    batch: Option<Batch>,
    /// Invocations made so far.
    pub invocations: u64,
}

/// The invocations of one set of parameters.
struct Batch {
    config: Config,
    /// For each input column with values: which it is, its type, and the values.
    lists: Vec<(Column, pg_sys::Oid, Vec<Value>)>,
    /// How many combinations there are, and how many of them were invoked.
    combinations: u64,
    invoked: u64,
    /// What came back, in order, for rescans.
    responses: Vec<InvokeResponse>,
    /// The response that the next row is made of.
    next: usize,
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
        let mut states = Vec::with_capacity(plan.bindings.len());
        for binding in &plan.bindings {
            if binding.expression.is_null() {
                states.push(std::ptr::null_mut());
                continue;
            }
            states.push(pg_sys::ExecInitExpr(
                binding.expression.cast(),
                &raw mut (*node).ss.ps,
            ));
            collect_parameters(binding.expression, (&raw mut walk).cast());
        }
        let writers = layout
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
            parameters: walk.parameters,
            writers,
            batch_context,
            table: (*relation).rd_id,
            user: compat::scan_user(node),
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
            batch.next = 0;
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
        let mut batch = match self.batch.take() {
            Some(batch) => batch,
            // SAFETY: the executor's expression context.
            None => unsafe { self.start(econtext)? },
        };
        let row = if batch.next < batch.responses.len() {
            true
        } else if batch.invoked < batch.combinations {
            // SAFETY: the batch's values are in the batch context.
            let request = InvokeRequest::new(unsafe { batch.inputs(batch.invoked) })?;
            batch.invoked += 1;
            self.invocations += 1;
            let mut flight = backend::invoke(&batch.config, request)?;
            batch.responses.push(wait::wait_for(&mut flight)??);
            true
        } else {
            false
        };
        if row {
            let place = batch.next;
            batch.next += 1;
            // SAFETY: the slot is the scan's own.
            unsafe { self.store(&batch, place, slot)? };
        }
        self.batch = Some(batch);
        Ok(row)
    }

    /// Evaluates the bindings.
    unsafe fn start(&mut self, econtext: *mut pg_sys::ExprContext) -> Result<Batch, Error> {
        // SAFETY: the batch context is the scan's own; look-ups go to the per-tuple context, values to the batch's.
        unsafe {
            let config = Config::read(self.table, self.user)?;
            match self.plan.missing {
                Some((Column::FunctionName, false)) if config.fixed.function_name.is_some() => (),
                Some((column, in_join)) => {
                    return Err(Error::NotBound {
                        column: column.name(),
                        table: self.layout.table.clone(),
                        in_join,
                    });
                }
                None => (),
            }
            let context = pg_sys::MemoryContextSwitchTo(self.batch_context);
            let lists = self.lists(&config, econtext)?;
            pg_sys::MemoryContextSwitchTo(context);
            let combinations = lists
                .iter()
                .map(|(_, _, values)| values.len() as u64)
                .fold(1, u64::saturating_mul);
            Ok(Batch {
                config,
                lists,
                combinations,
                invoked: 0,
                responses: Vec::new(),
                next: 0,
            })
        }
    }

    unsafe fn lists(
        &self,
        config: &Config,
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<Vec<(Column, pg_sys::Oid, Vec<Value>)>, Error> {
        let mut lists = Vec::new();
        for column in Column::INPUTS {
            let fixed = config.fixed.get(column);
            let mut values = fixed.map(|text| vec![values::from_text(text)]);
            let mut kept_type = pg_sys::TEXTOID;
            for (binding, state) in self.plan.bindings.iter().zip(&self.states) {
                if binding.attribute.column == column {
                    kept_type = value_type(&binding.attribute);
                    // SAFETY: the state is that of the binding.
                    let by = unsafe { values::evaluate(binding, *state, econtext)? };
                    values = Some(values::narrow(binding, values, by));
                }
            }
            if let Some(values) = values {
                lists.push((column, kept_type, values));
            }
        }
        Ok(lists)
    }

    unsafe fn store(
        &mut self,
        batch: &Batch,
        place: usize,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<(), Error> {
        // SAFETY: the slot has a place for each column of the table, and the store is a virtual tuple whose
        // datums live in the per-tuple context or, the inputs, in the batch's.
        unsafe {
            pg_sys::ExecStoreAllNullTuple(slot);
            let put = |attribute: &Attribute, datum: pg_sys::Datum| {
                let column = attribute.number as usize - 1;
                *(*slot).tts_values.add(column) = datum;
                *(*slot).tts_isnull.add(column) = false;
            };
            for (column, value) in batch.combination(place as u64) {
                if let (Some(attribute), Some(datum)) = (self.layout.find(column), value.datum) {
                    put(attribute, datum);
                }
            }
            let response = &batch.responses[place];
            for writer in &mut self.writers {
                let attribute = writer.attribute;
                let datum = match attribute.column {
                    Column::StatusCode => Some(response.status_code.into()),
                    Column::Response => write(writer, response.payload.as_deref())?,
                    Column::ExecutedVersion => write_text(writer, &response.executed_version)?,
                    Column::LogResult => write_text(writer, &response.log_result)?,
                    Column::Log => write_text(writer, &decoded_log(response))?,
                    Column::RequestId => write_text(writer, &response.request_id)?,
                    // A function's error ends the statement, so a row has none.
                    _ => None,
                };
                if let Some(datum) = datum {
                    put(&attribute, datum);
                }
            }
            Ok(())
        }
    }

    fn forget(&mut self) {
        self.batch = None;
        // SAFETY: nothing else points into the scan's own context.
        unsafe { pg_sys::MemoryContextReset(self.batch_context) };
    }
}

impl Batch {
    /// The values of one combination; the last column varies fastest.
    fn combination(&self, number: u64) -> impl Iterator<Item = (Column, &Value)> {
        let mut rest = number;
        self.lists.iter().rev().map(move |(column, _, values)| {
            let length = values.len() as u64;
            let value = &values[(rest % length) as usize];
            rest /= length;
            (*column, value)
        })
    }

    unsafe fn inputs(&self, number: u64) -> Inputs {
        let mut inputs = self.config.fixed.clone();
        for (column, value) in self.combination(number) {
            let kept_type = self
                .lists
                .iter()
                .find(|(listed, _, _)| *listed == column)
                .map_or(pg_sys::TEXTOID, |(_, kept_type, _)| *kept_type);
            // SAFETY: the values are of that type.
            inputs.set(column, unsafe { values::print(value, kept_type) });
        }
        inputs
    }
}

impl Inputs {
    /// The value of an input column; the payload, being bytes, has none here.
    pub fn get(&self, column: Column) -> Option<&str> {
        match column {
            Column::FunctionName => self.function_name.as_deref(),
            Column::Region => self.region.as_deref(),
            Column::Qualifier => self.qualifier.as_deref(),
            Column::InvocationType => self.invocation_type.as_deref(),
            Column::LogType => self.log_type.as_deref(),
            Column::Context => self.context.as_deref(),
            _ => None,
        }
    }

    fn set(&mut self, column: Column, value: Option<Vec<u8>>) {
        if column == Column::Payload {
            self.payload = value;
            return;
        }
        let text = value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        match column {
            Column::FunctionName => self.function_name = text,
            Column::Region => self.region = text,
            Column::Qualifier => self.qualifier = text,
            Column::InvocationType => self.invocation_type = text,
            Column::LogType => self.log_type = text,
            Column::Context => self.context = text,
            _ => (),
        }
    }
}

fn write(writer: &mut Writer, bytes: Option<&[u8]>) -> Result<Option<pg_sys::Datum>, Error> {
    bytes.map(|bytes| writer.write(bytes)).transpose()
}

fn write_text(writer: &mut Writer, text: &Option<String>) -> Result<Option<pg_sys::Datum>, Error> {
    write(writer, text.as_ref().map(String::as_bytes))
}

/// The log's tail as text. A cut tail may begin inside a character, and a log may hold zero bytes; what
/// PostgreSQL's text can't hold is replaced. Null when it is not base64: `log_result` has it as it came.
fn decoded_log(response: &InvokeResponse) -> Option<String> {
    let encoded = response.log_result.as_ref()?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}"))
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
