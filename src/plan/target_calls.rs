//! Calls of `aws_lambda.invoke` in a select list, in SET or in RETURNING, that are made for each row.
//!
//! `(SELECT payload FROM aws_lambda.invoke('f', t.x))` is such a call, too.
//!
//! The list is taken apart: into columns that the plan below evaluates, calls whose arguments are made of such columns, and expressions of
//! both. The columns are evaluated in the order of the list, as without this. A call that CASE, COALESCE, AND, OR or FILTER may leave out stays where it is.

use super::calls::{self, Call, Callee, FunctionCall};
use crate::postgres::expressions::{Walk, change, make_field, make_null, make_text, walk};
use crate::postgres::list::List;
use crate::postgres::planner::Root;
use crate::postgres::plans::Plan;
use crate::postgres::refs::{Node, Ref};
use crate::postgres::upper_paths::Target;
use pgrx::pg_sys;

/// A list of targets that was taken apart.
pub struct TargetCalls<'p> {
    root: Root<'p>,
    /// Whether each column has a placeholder, so that their number does not depend on which of them are equal.
    names_all: bool,
    /// What the plan below gives.
    pub columns: Vec<Column<'p>>,
    /// The calls. One may use the results of those before it.
    pub calls: Vec<TargetCall<'p>>,
    /// The targets, made of columns and of calls.
    pub targets: Vec<Node<'p>>,
    /// Whether something volatile is evaluated with the result of a call, and not with the columns.
    is_volatile: bool,
}

/// A column of the plan below.
pub struct Column<'p> {
    /// What the plan below evaluates.
    pub expression: Node<'p>,
    /// What stands for it in calls and targets.
    pub reference: Node<'p>,
    /// Its number in GROUP BY, DISTINCT and ORDER BY, 0 for none.
    pub sort_group: u32,
}

/// A call.
pub struct TargetCall<'p> {
    /// What stands for its result.
    pub reference: Node<'p>,
    /// What it is made like.
    pub callee: Callee,
    /// Its function and arguments.
    pub call: Call<'p>,
}

impl<'p> TargetCalls<'p> {
    /// Takes a list of targets apart; `None` where no call is made for each row.
    pub fn of(root: Root<'p>, target: Target<'p>) -> Option<TargetCalls<'p>> {
        let targets = target.expressions().iter().enumerate();
        let targets = targets.map(|(index, expression)| (expression, target.sort_group(index)));
        TargetCalls::of_targets(root, &targets.collect::<Vec<_>>(), false)
    }

    /// Takes the list of RETURNING apart, or that of one of several tables; `None` where no call is made for each row.
    pub fn of_returning(
        root: Root<'p>,
        targets: List<'p, pg_sys::TargetEntry>,
    ) -> Option<TargetCalls<'p>> {
        let targets = targets.iter().map(|entry| Some((entry.expression()?, 0)));
        let targets: Option<Vec<_>> = targets.collect();
        TargetCalls::of_targets(root, &targets?, true)
    }

    fn of_targets(
        root: Root<'p>,
        targets: &[(Node<'p>, u32)],
        names_all: bool,
    ) -> Option<TargetCalls<'p>> {
        // PostgreSQL finds a sort key by its expression, unless that is volatile, which a subquery with a call is not.
        let is_kept = |(it, sort_group): &(Node, u32)| *sort_group != 0 && !it.is_volatile();
        let is_call = |target: &&(Node<'p>, u32)| !is_kept(target) && has_call(root, target.0);
        targets.iter().find(is_call)?;
        let mut parts = TargetCalls {
            root,
            names_all,
            columns: Vec::new(),
            calls: Vec::new(),
            targets: Vec::new(),
            is_volatile: false,
        };
        for target in targets {
            let (expression, sort_group) = *target;
            let made = match is_kept(target) {
                true => parts.column(expression, sort_group)?,
                false => parts.take_apart(expression, sort_group)?,
            };
            parts.targets.push(made);
        }
        // Their order would be another.
        let mut columns = parts.columns.iter();
        let is_mixed = parts.is_volatile && columns.any(|column| column.expression.is_volatile());
        (!is_mixed).then_some(parts)
    }

    /// The expression with columns and calls in their places; `None` where it can't be taken apart after all.
    fn take_apart(&mut self, node: Node<'p>, sort_group: u32) -> Option<Node<'p>> {
        if !has_call(self.root, node) {
            return self.column(node, sort_group);
        }
        if let Some(subquery) = Subquery::of(self.root, node) {
            let call = self.take_apart(subquery.call.as_node(), 0)?;
            return self.result_of(&subquery, call);
        }
        let mut is_whole = true;
        let changed = node.with_operands(&mut |operand| {
            let part = self.take_apart(operand, 0);
            is_whole &= part.is_some();
            part.unwrap_or(operand)
        });
        is_whole.then_some(())?;
        if let Some(callee) = eligible(self.root, node) {
            return self.call(changed.cast()?, callee);
        }
        let itself = node.with_operands(&mut |operand| make_null(operand.type_oid()));
        self.is_volatile |= itself.is_volatile();
        Some(changed)
    }

    /// A subquery's result, made of that of its call.
    fn result_of(&mut self, subquery: &Subquery<'p>, call: Node<'p>) -> Option<Node<'p>> {
        self.is_volatile |= subquery.result.is_volatile();
        let mut is_whole = true;
        let result = change(subquery.result, &mut |node| {
            if let Some(var) = node.cast::<pg_sys::Var>() {
                // A function's row as a whole has names of its own.
                is_whole &= var.varattno != 0;
                let index = (subquery.columns.iter()).position(|number| *number == var.varattno);
                return Some(match index {
                    Some(index) => make_field(call, index as i16 + 1, var.vartype),
                    // That a call has a row is what other columns are asked for.
                    None => make_text(c"there"),
                });
            }
            let given = subquery.given(node)?;
            let column = self.take_apart(given, 0);
            is_whole &= column.is_some();
            column
        });
        is_whole.then_some(result)
    }

    /// What stands for an expression without calls.
    fn column(&mut self, expression: Node<'p>, sort_group: u32) -> Option<Node<'p>> {
        let belongs_below = belongs_below(expression);
        let is_given = !belongs_below
            && (expression.cast::<pg_sys::Const>().is_some()
                || expression.cast::<pg_sys::Param>().is_some());
        if is_given && sort_group == 0 {
            return Some(expression);
        }
        // Two volatile expressions that are equal have values of their own.
        let is_named = self.names_all || belongs_below || expression.is_volatile();
        let known = (self.columns.iter()).find(|column| {
            !is_named && column.sort_group == sort_group && column.expression.equals(expression)
        });
        if let Some(known) = known {
            return Some(known.reference);
        }
        let reference = match is_named {
            true => self.root.make_placeholder(expression)?,
            false => expression,
        };
        self.columns.push(Column {
            expression,
            reference,
            sort_group,
        });
        Some(reference)
    }

    /// What stands for the result of a call, whose arguments were taken apart.
    fn call(&mut self, call: FunctionCall<'p>, callee: Callee) -> Option<Node<'p>> {
        let reference = self.root.make_placeholder(call.as_node())?;
        let call = Call::new(call, &callee.layout)?;
        self.calls.push(TargetCall {
            reference,
            callee,
            call,
        });
        Some(reference)
    }
}

/// Whether a node means something in the plan below alone: a row identity is a name that may not stay in a plan, a window function has a window,
/// and what `SET (a, b) = (SELECT ...)` gives goes with the row that is read.
pub fn is_of_below(node: Node) -> bool {
    let parameter = node.cast::<pg_sys::Param>();
    node.is_row_identity()
        || node.cast::<pg_sys::WindowFunc>().is_some()
        || parameter.is_some_and(|it| it.paramkind == pg_sys::ParamKind::PARAM_MULTIEXPR)
}

fn belongs_below(expression: Node) -> bool {
    walk(Some(expression), &mut |node| match is_of_below(node) {
        true => Walk::Stop,
        false => Walk::Into,
    })
}

/// A subquery that is a call in FROM and nothing else, as a scalar. The call is planned as a scan of a table.
struct Subquery<'p> {
    plan: Ref<'p, pg_sys::SubPlan>,
    /// The table's column for each of the call's.
    columns: Vec<i16>,
    /// The call, with what the subquery is given in the place of parameters.
    call: FunctionCall<'p>,
    /// The only target.
    result: Node<'p>,
}

impl<'p> Subquery<'p> {
    fn of(root: Root<'p>, node: Node<'p>) -> Option<Subquery<'p>> {
        let plan: Ref<pg_sys::SubPlan> = node.cast()?;
        if plan.subLinkType != pg_sys::SubLinkType::EXPR_SUBLINK {
            return None;
        }
        let index = usize::try_from(plan.plan_id).ok()?.checked_sub(1)?;
        let below: Plan = root.global()?.subplans().get(index)?;
        let result = below.targets().get(0)?.expression()?;
        let is_alone = below.targets().len() == 1
            && below.filters().is_empty()
            && below.init_plans().is_empty()
            && !result.has_subqueries();
        if !is_alone {
            return None;
        }
        let query = root.global()?.queries().get(index)?;
        let (call, columns) = scanned(query, below)?;
        // Of a call that depends on nothing that the subquery is given, PostgreSQL keeps the row.
        let depends = |node: Node<'p>| {
            let number = node.cast::<pg_sys::Param>().map(|it| it.paramid);
            (plan.given_parameters().iter()).any(|given| Some(given) == number)
        };
        let is_given = walk(Some(call.as_node()), &mut |node| match depends(node) {
            true => Walk::Stop,
            false => Walk::Into,
        });
        if !is_given || call.as_node().has_subqueries() {
            return None;
        }
        let mut subquery = Subquery {
            plan,
            columns,
            call,
            result,
        };
        let given = change(call.as_node(), &mut |node| subquery.given(node));
        subquery.call = given.cast()?;
        Some(subquery)
    }

    /// The expression that the subquery is given for a parameter.
    fn given(&self, node: Node<'p>) -> Option<Node<'p>> {
        let parameter = node.cast::<pg_sys::Param>()?;
        let is_executors = parameter.paramkind == pg_sys::ParamKind::PARAM_EXEC;
        let mut numbers = self.plan.given_parameters().iter();
        let index = numbers.position(|number| is_executors && number == parameter.paramid)?;
        self.plan.arguments().get(index)
    }
}

/// The call that a scan makes, and the number of the scan's column for each of the call's. A call that uses another one's result is a scan of the
/// function, one that does not is a scan of a table.
fn scanned<'p>(query: Root<'p>, plan: Plan<'p>) -> Option<(FunctionCall<'p>, Vec<i16>)> {
    if let Some(scan) = plan.cast::<pg_sys::FunctionScan>() {
        let function: Ref<pg_sys::RangeTblFunction> = scan.functions().get(0)?.cast()?;
        let is_alone = scan.functions().len() == 1 && !scan.funcordinality;
        let call: FunctionCall = function.call()?.cast()?;
        let columns = 1..=calls::RESULT.len() as i16;
        return (is_alone && calls::is_call(call)).then(|| (call, columns.collect()));
    }
    let scan: Ref<pg_sys::ForeignScan> = plan.cast()?;
    let entry = query.entry(scan.scan.scanrelid as i32)?;
    let call = calls::scanned_call(entry).filter(|call| calls::is_call(*call))?;
    let columns = Callee::of(call)?.columns()?;
    let columns = columns.iter().map(|(number, _)| *number);
    Some((call, columns.collect()))
}

/// Whether an expression has a call that it makes whenever it is evaluated.
fn has_call<'p>(root: Root<'p>, node: Node<'p>) -> bool {
    if let Some(subquery) = Subquery::of(root, node) {
        return eligible(root, subquery.call.as_node()).is_some();
    }
    eligible(root, node).is_some() || node.operands().into_iter().any(|it| has_call(root, it))
}

/// What a call can be made like; `None` where the expression is no call, or one that stays where it is.
fn eligible<'p>(root: Root<'p>, node: Node<'p>) -> Option<Callee> {
    let call: FunctionCall = node.cast().filter(|call| calls::is_call(*call))?;
    // A structure is evaluated for each of its fields.
    let structure = calls::structure(call).is_none_or(|structure| !has_call(root, structure));
    structure.then(|| Callee::of(call))?
}
