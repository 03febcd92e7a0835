//! Properties of a node in EXPLAIN (explain.h), and expressions in them (ruleutils.h).

use super::list::List;
use super::plans::{Plan, ancestors};
use super::refs::{Node, Ref, calls, fields};
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// The state of EXPLAIN.
pub type Explain<'p> = Ref<'p, pg_sys::ExplainState>;

fields! {
    /// The statement that is explained.
    ExplainState.pstmt as statement: Option<Ref<'p, pg_sys::PlannedStmt>>;
    /// What the statement's expressions are printed with.
    ExplainState.deparse_cxt as deparse_context: List<'p, pg_sys::Node>;
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
            self.string(label, &value);
        }
    }

    calls! {
        fn string(self, label: &CStr, value: &CStr) = ExplainPropertyText(label, value, self);
        /// Adds a number.
        pub fn number(self, label: &CStr, value: u64) = ExplainPropertyUInteger(label, None::<&CStr>, value, self);
        /// Adds a number with a decimal.
        pub fn decimal(self, label: &CStr, value: f64) = ExplainPropertyFloat(label, None::<&CStr>, value, 1, self);
        /// Adds a number of milliseconds.
        pub fn milliseconds(self, label: &CStr, value: f64) = ExplainPropertyFloat(label, Some(c"ms"), value, 3, self);
    }
}

calls! {
    fn context_of<'p>(context: Context<'p>, plan: Plan<'p>, above: List<'p, pg_sys::Node>) -> Context<'p>
        = set_deparse_context_plan(context, plan, above);
    fn deparsed<'p>(expression: Node<'p>, context: Context<'p>, prefix: bool) -> Option<&'p CStr> = deparse_expression(expression, context, prefix, false);
}

/// What PostgreSQL prints expressions with.
type Context<'p> = List<'p, pg_sys::Node>;

/// Prints expressions of one plan, parameters as the expressions that they stand for.
pub struct Printer<'p> {
    context: Context<'p>,
    prefix: bool,
}

impl<'p> Printer<'p> {
    /// A printer for a plan of the statement that is explained.
    pub fn new(explain: Explain<'p>, plan: Plan<'p>) -> Printer<'p> {
        let above = explain
            .statement()
            .map_or(List::EMPTY, |statement| above(statement, plan));
        Printer {
            context: context_of(explain.deparse_context(), plan, above),
            prefix: explain.verbose || explain.range_table().len() > 1,
        }
    }

    /// The expression, which is one of the plan's, in the database's encoding.
    pub fn print(&self, expression: Node<'p>) -> Vec<u8> {
        let text = deparsed(expression, self.context, self.prefix);
        text.unwrap_or_default().to_bytes().to_vec()
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
