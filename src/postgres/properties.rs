//! Properties of a node in EXPLAIN (explain.h), and expressions in them (ruleutils.h).

use super::list::List;
use super::plans::{Plan, ancestors};
use super::refs::{Node, Ref, fields};
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// The state of EXPLAIN.
pub type Explain<'p> = Ref<'p, pg_sys::ExplainState>;

fields! {
    /// The statement that is explained.
    ExplainState.pstmt as statement: Option<Ref<'p, pg_sys::PlannedStmt>>;
    /// The range table.
    ExplainState.rtable as range_table: List<'p, pg_sys::RangeTblEntry>;
}

impl<'p> Explain<'p> {
    /// Whether the output is text.
    pub fn is_text(self) -> bool {
        self.format == pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT
    }

    /// Adds a property whose value is in the database's encoding.
    pub fn text(self, label: &CStr, value: &[u8]) {
        // A zero byte can't come from a zero-terminated deparsed expression.
        if let Ok(value) = CString::new(value) {
            // SAFETY: both strings outlive the call.
            unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), self.as_ptr()) };
        }
    }

    /// Adds a number.
    pub fn number(self, label: &CStr, value: u64) {
        let unit = std::ptr::null();
        // SAFETY: the label outlives the call.
        unsafe { pg_sys::ExplainPropertyUInteger(label.as_ptr(), unit, value, self.as_ptr()) };
    }

    /// Adds a number of milliseconds.
    pub fn milliseconds(self, label: &CStr, value: f64) {
        let unit = c"ms".as_ptr();
        // SAFETY: both strings outlive the call.
        unsafe { pg_sys::ExplainPropertyFloat(label.as_ptr(), unit, value, 3, self.as_ptr()) };
    }
}

/// Prints expressions of one plan, parameters as the expressions that they stand for.
pub struct Printer {
    context: *mut pg_sys::List,
    prefix: bool,
}

impl Printer {
    /// A printer for a plan of the statement that is explained.
    pub fn new<'p>(explain: Explain<'p>, plan: Plan<'p>) -> Printer {
        let above = explain
            .statement()
            .map_or(List::EMPTY, |statement| above(statement, plan));
        // SAFETY: EXPLAIN has made the context for the statement, and the plan is one of its.
        let context = unsafe {
            pg_sys::set_deparse_context_plan(explain.deparse_cxt, plan.as_ptr(), above.as_ptr())
        };
        Printer {
            context,
            prefix: explain.verbose || explain.range_table().len() > 1,
        }
    }

    /// The expression, which is one of the plan's, in the database's encoding.
    pub fn print(&self, expression: Node) -> Vec<u8> {
        // SAFETY: the expression is valid. The result is a string that ends in a zero byte.
        unsafe {
            let expression = expression.as_ptr();
            let text = pg_sys::deparse_expression(expression, self.context, self.prefix, false);
            CStr::from_ptr(text).to_bytes().to_vec()
        }
    }
}

/// The plans above a plan, the nearest first. Above the top of a subplan is the SubPlan that runs it, and the plan that has that in
/// an expression. PostgreSQL's EXPLAIN knows them but does not hand them to a foreign scan.
fn above<'p>(statement: Ref<'p, pg_sys::PlannedStmt>, plan: Plan<'p>) -> List<'p, pg_sys::Node> {
    // A subplan's number is its position behind the top.
    let subplans = statement.subplans();
    let root = |number: usize| match number {
        0 => statement.top(),
        _ => subplans.get(number - 1),
    };
    let roots: Vec<(usize, Plan)> = (0..=subplans.len())
        .filter_map(|number| Some((number, root(number)?)))
        .collect();
    let mut found = Vec::new();
    let mut plan = plan;
    while let Some((number, above)) = (roots.iter())
        .find_map(|(number, root)| Some((*number, ancestors(*root, plan, Plan::children)?)))
    {
        found.extend(above.into_iter().rev().map(Plan::as_node));
        let user = (roots.iter()).find_map(|(_, root)| root.user_of_subplan(number as i32));
        let Some((subplan, user)) = user.filter(|_| number > 0) else {
            break;
        };
        found.extend([subplan.as_node(), user.as_node()]);
        plan = user;
    }
    List::of(found)
}
