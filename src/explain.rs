//! What EXPLAIN says of a scan: what is bound to what, how many values, and what was invoked.

use crate::clause::Kind;
use crate::columns::Layout;
use crate::error::OrReport;
use crate::nodes;
use crate::plan::{self, PlanData};
use crate::scan::Scan;
use pgrx::{pg_guard, pg_sys};
use std::ffi::{CStr, CString};

/// Callback: adds to a scan's part of EXPLAIN.
///
/// # Safety
/// Called by EXPLAIN.
#[pg_guard]
pub unsafe extern "C-unwind" fn explain_foreign_scan(
    node: *mut pg_sys::ForeignScanState,
    es: *mut pg_sys::ExplainState,
) {
    // SAFETY: the node is initialised, so its plan and relation are there; `fdw_state` is null or a Scan.
    unsafe {
        let plan = (*node).ss.ps.plan.cast::<pg_sys::ForeignScan>();
        let layout = Layout::read((*node).ss.ss_currentRelation).or_report();
        let data = PlanData::read(plan, &layout);
        let prefix = (*es).verbose || nodes::length((*es).rtable) > 1;
        // The ancestors are known only to EXPLAIN's own walk; without them a join's parameters print as $n.
        let context =
            pg_sys::set_deparse_context_plan((*es).deparse_cxt, plan.cast(), std::ptr::null_mut());
        let bindings: Vec<String> = data
            .bindings
            .iter()
            .map(|binding| {
                let left = format!(
                    "{} {}",
                    binding.attribute.column.name(),
                    binding.kind.operator()
                );
                if binding.kind == Kind::Null {
                    return left;
                }
                let right = CStr::from_ptr(pg_sys::deparse_expression(
                    binding.expression,
                    context,
                    prefix,
                    false,
                ))
                .to_string_lossy();
                match binding.kind {
                    Kind::Any => format!("{left} ({right})"),
                    _ => format!("{left} {right}"),
                }
            })
            .collect();
        text(es, c"Bindings", &bindings.join(", "));
        if let Some((column, _)) = data.missing {
            text(es, c"Not Bound", column.name());
        }
        match plan::known_values(&data.bindings) {
            Some(values) => number(es, c"Values", values),
            None => text(es, c"Values", "known when run"),
        }
        if let Some(scan) = (*node).fdw_state.cast::<Scan>().as_ref()
            && (*es).analyze
        {
            number(es, c"Invocations", scan.invocations);
        }
    }
}

unsafe fn text(es: *mut pg_sys::ExplainState, label: &CStr, value: &str) {
    // A zero byte can't come from a zero-terminated deparsed expression.
    if let Ok(value) = CString::new(value) {
        // SAFETY: both strings outlive the call.
        unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), es) };
    }
}

unsafe fn number(es: *mut pg_sys::ExplainState, label: &CStr, value: u64) {
    // SAFETY: the label outlives the call.
    unsafe {
        pg_sys::ExplainPropertyUInteger(label.as_ptr(), std::ptr::null(), value, es);
    }
}
