//! EXPLAIN of a scan and of an INSERT: bindings, the number of values, and counts of invocations and rows.

use crate::backend::config::{self, Limits};
use crate::columns::{Column, Layout};
use crate::dispatch::Dispatch;
use crate::error::OrReport;
use crate::lambda::batch::Batching;
use crate::modify::Insert;
use crate::plan::clause::{Binding, Kind};
use crate::plan::sources::Decoded;
use crate::plan::{Mode, PlanData, estimate};
use crate::postgres::executor::{ForeignScanState, ResultRel};
use crate::postgres::properties::{Explain, Printer};
use crate::postgres::refs::{Node, Ref};
use crate::postgres::text::for_server;
use crate::scan::Scan;
use pgrx::{pg_guard, pg_sys};
use std::ffi::CStr;
use std::sync::atomic::Ordering::Relaxed;

/// Callback: adds to a scan's part of EXPLAIN.
///
/// # Safety
/// Called by EXPLAIN.
#[pg_guard]
pub unsafe extern "C-unwind" fn explain_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: EXPLAIN passes its state, and a node that is initialised.
    let (explain, node): (Explain, ForeignScanState) = unsafe { (Ref::new(es), Ref::new(node)) };
    let (plan, table) = (node.plan(), node.table());
    let layout = Layout::read(table).or_report();
    let data = PlanData::read(plan, &layout);
    let fixed = config::fixed_inputs(table.rd_id);
    let fixed = |column: Column| Some(format!("{} = '{}'", column.name(), fixed.get(column)?));
    let fixed: Vec<String> = Column::INPUTS.into_iter().filter_map(fixed).collect();
    let printer = Printer::new(explain, plan.as_plan());
    let of_functions = layout.is_of_functions();
    if of_functions {
        explain.text(c"Request", requests(&layout, &data));
    }
    explain_plan(explain, &printer, (&data, &layout), &fixed);
    let several = estimate::known_values(&data.bindings) != Some(1);
    if several && data.mode == Mode::Plain {
        let mut limits = Limits::read(table.rd_id);
        if data.call.is_some() {
            limits.limit_calls();
        }
        explain.number(c"Max Concurrency", limits.max_concurrency as u64);
        if !of_functions {
            batching(explain, config::batching(table.rd_id).as_ref());
        }
    }
    if explain.analyze
        && let Ok(Some(mut scan)) = Scan::of(node)
    {
        scan.with_dispatch(|dispatch| counters(explain, dispatch, of_functions))
            .or_report();
    }
}

/// Adds how many rows share an invocation, where they do.
pub fn batching(explain: Explain, batching: Option<&Batching>) {
    if let Some(batching) = batching {
        explain.number(c"Batch Rows", batching.rows as u64);
        explain.text(c"Batch Format", batching.format.name().as_bytes());
    }
}

/// The requests that a scan of functions makes.
fn requests(layout: &Layout, data: &PlanData) -> &'static [u8] {
    let mut bindings = data.bindings.iter();
    let state = layout.find(Column::State);
    if bindings.any(|binding| binding.attribute.column == Column::FunctionName) {
        b"GetFunctionConfiguration"
    } else if state.is_some_and(|state| data.reads(state.number)) {
        b"ListFunctions, GetFunctionConfiguration"
    } else {
        b"ListFunctions"
    }
}

/// Adds the properties of the plan.
fn explain_plan<'p>(
    explain: Explain<'p>,
    printer: &Printer<'p>,
    (data, layout): (&PlanData<'p>, &Layout),
    fixed: &[String],
) {
    let add = |label, values: &[Vec<u8>], separator: &[u8]| {
        if !values.is_empty() {
            explain.text(label, &values.join(separator));
        }
    };
    if !fixed.is_empty() {
        explain.text(c"Fixed", for_server(&fixed.join(", ")).to_bytes());
    }
    bound(explain, printer, &data.bindings, layout);
    let print = |condition: &Node<'p>| printer.print(*condition);
    let conditions: Vec<Vec<u8>> = data.conditions.iter().map(print).collect();
    add(c"Only If", &conditions, b" AND ");
    match (data.mode, estimate::known_values(&data.bindings)) {
        (Mode::Missing(column, _), _) => {
            explain.text(c"Not Bound", for_server(layout.name(column)).to_bytes())
        }
        (_, Some(values)) => explain.number(c"Values", values),
        (_, None) => explain.text(c"Values", b"known when run"),
    }
    if data.mode == Mode::Plain {
        let (source, ids) = &data.source;
        sources(explain, printer, source, ids.iter().copied());
    }
}

/// Adds what input columns are given.
pub fn bound<'p>(
    explain: Explain<'p>,
    printer: &Printer<'p>,
    bindings: &[Binding<'p>],
    layout: &Layout,
) {
    let printed = print_bindings(printer, bindings, layout);
    if !printed.is_empty() {
        explain.text(c"Bound", &printed.join(&b", "[..]));
    }
}

/// Adds the rows that invoke once, however often they come. `ids` are the expressions that identify them.
pub fn sources<'p>(
    explain: Explain,
    printer: &Printer<'p>,
    source: &Decoded,
    mut ids: impl Iterator<Item = Node<'p>>,
) {
    let mut printed = Vec::new();
    for member in &source.members {
        let ctid = ids.next();
        if member.has_parts {
            ids.next();
        }
        printed.extend(
            ctid.filter(|_| member.gives)
                .map(|ctid| printer.print(ctid)),
        );
    }
    if !printed.is_empty() {
        explain.text(c"Once For Each", &printed.join(&b", "[..]));
    }
}

/// How many expressions bindings have in a plan, by the numbers of `plan::encode`.
pub fn expressions_of(numbers: &[i32]) -> usize {
    (numbers.chunks_exact(3))
        .filter(|binding| Kind::from_number(binding[1]) != Some(Kind::Null))
        .count()
}

/// Callback: adds to an INSERT's part of EXPLAIN.
///
/// # Safety
/// Called by EXPLAIN, once the statement has run.
#[pg_guard]
pub unsafe extern "C-unwind" fn explain_foreign_modify(
    _state: *mut pg_sys::ModifyTableState,
    relation: *mut pg_sys::ResultRelInfo,
    private: *mut pg_sys::List,
    _subplan_index: std::ffi::c_int,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: the relation is open, and `ri_FdwState` is null or an Insert.
    let (explain, relation, insert): (Explain, ResultRel, Option<Ref<Insert>>) = unsafe {
        let relation = ResultRel::new(relation);
        (Ref::new(es), relation, relation.state())
    };
    // The node that prefetches rows shows the limit, where there is one.
    if private.is_null() {
        let limits = Limits::read(relation.table().rd_id);
        explain.number(c"Max Concurrency", limits.max_concurrency as u64);
        batching(explain, config::batching(relation.table().rd_id).as_ref());
    }
    if let Some(insert) = insert
        && explain.analyze
    {
        insert
            .with_dispatch(|dispatch| counters(explain, dispatch, false))
            .or_report();
    }
}

/// Adds counts of invocations, or of requests `of_functions`, once none is in flight any more. In text these are two lines.
pub fn counters(explain: Explain, dispatch: Option<&mut Dispatch>, of_functions: bool) {
    let label = match of_functions {
        true => c"Requests",
        false => c"Invocations",
    };
    let Some(dispatch) = dispatch else {
        explain.number(label, 0);
        return;
    };
    dispatch.give_up().or_report();
    let counters = &dispatch.limiter.counters;
    let rows = counters.rows.load(Relaxed);
    let sent = counters.sent.load(Relaxed);
    let rows_of_each = rows as f64 / sent.max(1) as f64;
    let is_batched = dispatch.config.batching.is_some();
    let waited = dispatch.waited.as_secs_f64() * 1000.0;
    let counts = [
        (label, sent),
        (c"Retries", counters.retries.load(Relaxed)),
        (c"Throttles", counters.throttles.load(Relaxed)),
        (c"Errors", counters.failed.load(Relaxed)),
        (
            c"Most In Flight",
            counters.most_in_flight.load(Relaxed) as u64,
        ),
        (c"Bytes Sent", counters.bytes_out.load(Relaxed)),
        (c"Bytes Received", counters.bytes_in.load(Relaxed)),
    ];
    if !explain.is_text() {
        for (label, count) in counts {
            explain.number(label, count);
        }
        if is_batched {
            explain.number(c"Rows Sent", rows);
            explain.decimal(c"Rows per Invocation", rows_of_each);
        }
        if explain.timing {
            explain.milliseconds(c"Time Waited", waited);
        }
        return;
    }
    let line = |counts: &[(&CStr, u64)]| {
        let counts: Vec<String> = (counts.iter())
            .map(|(label, count)| format!("{}: {count}", label.to_string_lossy()))
            .collect();
        counts.join("  ")
    };
    let (first, count) = counts[0];
    explain.text(
        first,
        format!("{count}  {}", line(&counts[1..5])).as_bytes(),
    );
    if is_batched {
        let line = format!("{rows}  Rows per Invocation: {rows_of_each:.1}");
        explain.text(c"Rows Sent", line.as_bytes());
    }
    let (first, count) = counts[5];
    let mut second = format!("{count}  {}", line(&counts[6..]));
    if explain.timing {
        second.push_str(&format!("  Time Waited: {waited:.3} ms"));
    }
    explain.text(first, second.as_bytes());
}

/// The bindings in the order of the columns, whatever order the clauses had.
fn print_bindings<'p>(
    printer: &Printer<'p>,
    bindings: &[Binding<'p>],
    layout: &Layout,
) -> Vec<Vec<u8>> {
    let of = |column| {
        let bindings = bindings.iter();
        bindings.filter(move |binding| binding.attribute.column == column)
    };
    (layout.inputs_in_order().flat_map(of))
        .map(|binding| {
            let (column, operator) = (
                layout.name(binding.attribute.column),
                binding.kind.operator(),
            );
            let left = for_server(&format!("{column} {operator}")).into_bytes();
            let Some(right) = binding.expression.map(|right| printer.print(right)) else {
                return left;
            };
            match binding.kind {
                Kind::Any => [&left, &b" ("[..], &right, b")"].concat(),
                _ => [&left, &b" "[..], &right].concat(),
            }
        })
        .collect()
}
