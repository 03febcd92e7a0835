//! Finished plans (plannodes.h), and their states in the executor (execnodes.h).

use super::compat;
use super::expressions::{Walk, columns, walk};
use super::list::List;
use super::refs::{Node, Ref, arrays, calls, fields, parts};
use super::relids::Relids;
use pgrx::pg_sys;
use pgrx::pg_sys::PgNode;

/// A plan.
pub type Plan<'p> = Ref<'p, pg_sys::Plan>;
/// The state of a plan that is run.
pub type PlanState<'p> = Ref<'p, pg_sys::PlanState>;

calls! {
    /// Has cached plans made again before they run.
    pub fn forget_plans() = ResetPlanCache();
}

fields! {
    /// The plan at the top.
    PlannedStmt.planTree as top: Option<Plan<'p>>;
    /// The plans of subplans. A subplan's number is its position from 1. A plan that is not used is null.
    PlannedStmt.subplans as subplans: List<'p, pg_sys::Plan>;
    /// The range table.
    PlannedStmt.rtable as range_table: List<'p, pg_sys::RangeTblEntry>;
    /// The outer plan.
    Plan.lefttree as left: Option<Plan<'p>>;
    /// The inner plan.
    Plan.righttree as right: Option<Plan<'p>>;
    /// The subplans that run for their parameters.
    Plan.initPlan as init_plans: List<'p, pg_sys::SubPlan>;
    /// The columns that the plan gives.
    Plan.targetlist as targets: List<'p, pg_sys::TargetEntry>;
    /// The parameters from outside that the plan depends on.
    Plan.extParam as external_parameters: Relids<'p>;
    /// The filters.
    Plan.qual as filters: List<'p, pg_sys::Node>;
    /// The plans of the parts.
    Append.appendplans as parts: List<'p, pg_sys::Plan>;
    /// The plans of the parts.
    MergeAppend.mergeplans as parts: List<'p, pg_sys::Plan>;
    /// The plan of the subquery.
    SubqueryScan.subplan as subquery: Option<Plan<'p>>;
    /// The conditions of the join.
    Join.joinqual as conditions: List<'p, pg_sys::Node>;
    /// The conditions that rows are merged by.
    MergeJoin.mergeclauses as merge_clauses: List<'p, pg_sys::Node>;
    /// The conditions that rows are hashed by.
    HashJoin.hashclauses as hash_clauses: List<'p, pg_sys::Node>;
    /// The expressions of the outer side that are hashed.
    HashJoin.hashkeys as hash_keys: List<'p, pg_sys::Node>;
    /// The expressions that are hashed.
    Hash.hashkeys as hash_keys: List<'p, pg_sys::Node>;
    /// The condition that is checked once.
    Result.resconstantqual as constant_filter: Option<Node<'p>>;
    /// The wrapper's expressions.
    ForeignScan.fdw_exprs as expressions: List<'p, pg_sys::Node>;
    /// The wrapper's own list.
    ForeignScan.fdw_private as private: List<'p, pg_sys::Node>;
    /// The provider's expressions.
    CustomScan.custom_exprs as expressions: List<'p, pg_sys::Node>;
    /// The functions.
    FunctionScan.functions as functions: List<'p, pg_sys::Node>;
    /// XMLTABLE or JSON_TABLE.
    TableFuncScan.tablefunc as table_function: Option<Node<'p>>;
    /// TABLESAMPLE.
    SampleScan.tablesample as table_sample: Option<Node<'p>>;
    /// The rows.
    ValuesScan.values_lists as values: List<'p, pg_sys::Node>;
    /// The conditions.
    IndexScan.indexqual as conditions: List<'p, pg_sys::Node>;
    /// The conditions.
    IndexOnlyScan.indexqual as conditions: List<'p, pg_sys::Node>;
    /// The conditions.
    BitmapIndexScan.indexqual as conditions: List<'p, pg_sys::Node>;
    /// RETURNING.
    ModifyTable.returningLists as returning: List<'p, pg_sys::Node>;
    /// SET of ON CONFLICT.
    ModifyTable.onConflictSet as on_conflict_set: List<'p, pg_sys::Node>;
    /// WHERE of ON CONFLICT.
    ModifyTable.onConflictWhere as on_conflict_where: Option<Node<'p>>;
    /// OFFSET.
    Limit.limitOffset as offset: Option<Node<'p>>;
    /// LIMIT.
    Limit.limitCount as count: Option<Node<'p>>;
    /// The outer node.
    PlanState.lefttree as left: Option<PlanState<'p>>;
    /// The inner node.
    PlanState.righttree as right: Option<PlanState<'p>>;
    /// The node of the subquery.
    SubqueryScanState.subplan as subquery: Option<PlanState<'p>>;
}

parts! {
    /// The plan.
    ForeignScan.scan.plan as as_plan: Plan;
    /// The join.
    NestLoop.join as as_join: Join;
    /// The plan.
    Join.plan as as_plan: Plan;
}

arrays! {
    /// The node of a part.
    AppendState.appendplans[as_nplans] as part: Option<PlanState<'p>>;
    /// The node of a part.
    MergeAppendState.mergeplans[ms_nplans] as part: Option<PlanState<'p>>;
}

impl<'p> Ref<'p, pg_sys::PlannedStmt> {
    /// The nested loop that has a plan as its inner side.
    pub fn join_above(self, inner: Plan<'p>) -> Option<Ref<'p, pg_sys::NestLoop>> {
        fn find<'p>(plan: Plan<'p>, inner: Plan<'p>) -> Option<Ref<'p, pg_sys::NestLoop>> {
            match plan.cast::<pg_sys::NestLoop>() {
                Some(join) if plan.right() == Some(inner) => Some(join),
                _ => (plan.children().into_iter()).find_map(|child| find(child, inner)),
            }
        }
        (self.top().into_iter().chain(self.subplans().iter())).find_map(|plan| find(plan, inner))
    }
}

impl<'p> Ref<'p, pg_sys::NestLoop> {
    /// The columns of the relation on the inner side that the join or the scan of that side reads, 0 for the whole row.
    pub fn columns_of_inner(self, relation: pg_sys::Index) -> Vec<i32> {
        let join = self.as_join();
        let Some(inner) = join.as_plan().right() else {
            return vec![0];
        };
        let read = [
            join.as_plan().targets().as_node(),
            join.as_plan().filters().as_node(),
            join.conditions().as_node(),
        ];
        let numbers = (read.into_iter())
            .flat_map(|expressions| columns(expressions, pg_sys::INNER_VAR as pg_sys::Index));
        let of_target = |number: i32| {
            let target = inner.targets().get(usize::try_from(number - 1).ok()?)?;
            Some(columns(target.expression(), relation))
        };
        let mut found = columns(inner.filters().as_node(), relation);
        for number in numbers {
            match of_target(number) {
                Some(columns) => found.extend(columns),
                None => found.push(0),
            }
        }
        found
    }
}

impl<'p> Plan<'p> {
    /// The plans directly below.
    pub fn children(self) -> Vec<Plan<'p>> {
        let parts = (self
            .cast()
            .map(|append: Ref<pg_sys::Append>| append.parts()))
        .or_else(|| Some(self.cast::<pg_sys::MergeAppend>()?.parts()))
        .unwrap_or(List::EMPTY);
        let subquery = self
            .cast()
            .and_then(|scan: Ref<pg_sys::SubqueryScan>| scan.subquery());
        [self.left(), self.right(), subquery]
            .into_iter()
            .flatten()
            .chain(parts.iter())
            .collect()
    }

    /// The expressions, and lists of them, that are evaluated when the plan is run. Subplans that run for their parameters are not among them, nor
    /// are expressions that are evaluated only for some of the rows that are written.
    pub fn own_expressions(self) -> Vec<Node<'p>> {
        use pg_sys::NodeTag::*;
        /// The field of a plan that has this tag.
        fn of<'p, T: PgNode, F>(plan: Plan<'p>, field: fn(Ref<'p, T>) -> F) -> Option<Node<'p>>
        where
            F: Into<OptionalNode<'p>>,
        {
            field(plan.cast()?).into().0
        }
        let conditions = |plan: Plan<'p>| of(plan, Ref::<pg_sys::Join>::conditions);
        let own = match self.tag() {
            T_NestLoop => vec![conditions(self)],
            T_MergeJoin => vec![
                conditions(self),
                of(self, Ref::<pg_sys::MergeJoin>::merge_clauses),
            ],
            T_HashJoin => vec![
                conditions(self),
                of(self, Ref::<pg_sys::HashJoin>::hash_clauses),
                of(self, Ref::<pg_sys::HashJoin>::hash_keys),
            ],
            T_Hash => vec![of(self, Ref::<pg_sys::Hash>::hash_keys)],
            T_Result => vec![of(self, Ref::<pg_sys::Result>::constant_filter)],
            T_ForeignScan => vec![of(self, Ref::<pg_sys::ForeignScan>::expressions)],
            T_CustomScan => vec![of(self, Ref::<pg_sys::CustomScan>::expressions)],
            T_FunctionScan => vec![of(self, Ref::<pg_sys::FunctionScan>::functions)],
            T_TableFuncScan => vec![of(self, Ref::<pg_sys::TableFuncScan>::table_function)],
            T_SampleScan => vec![of(self, Ref::<pg_sys::SampleScan>::table_sample)],
            T_ValuesScan => vec![of(self, Ref::<pg_sys::ValuesScan>::values)],
            T_IndexScan => vec![of(self, Ref::<pg_sys::IndexScan>::conditions)],
            T_IndexOnlyScan => vec![of(self, Ref::<pg_sys::IndexOnlyScan>::conditions)],
            T_BitmapIndexScan => vec![of(self, Ref::<pg_sys::BitmapIndexScan>::conditions)],
            T_ModifyTable => vec![of(self, Ref::<pg_sys::ModifyTable>::returning)],
            T_Limit => vec![
                of(self, Ref::<pg_sys::Limit>::offset),
                of(self, Ref::<pg_sys::Limit>::count),
            ],
            _ => Vec::new(),
        };
        [self.targets().as_node(), self.filters().as_node()]
            .into_iter()
            .chain(own)
            .flatten()
            .collect()
    }

    /// The expressions, and lists of them, that may run a subplan.
    fn expressions(self) -> Vec<Node<'p>> {
        let mut all = self.own_expressions();
        all.extend(self.init_plans().as_node());
        if let Some(modify) = self.cast::<pg_sys::ModifyTable>() {
            all.extend(modify.on_conflict_set().as_node());
            all.extend(modify.on_conflict_where());
            all.extend(compat::merge_actions(modify).as_node());
        }
        all
    }

    /// The SubPlan that runs the subplan with a number, and the plan in or below this one that has the SubPlan in an expression.
    pub fn user_of_subplan(self, number: i32) -> Option<(Ref<'p, pg_sys::SubPlan>, Plan<'p>)> {
        let mut found: Option<Ref<pg_sys::SubPlan>> = None;
        for expression in self.expressions() {
            walk(Some(expression), &mut |node| {
                found = node
                    .cast()
                    .filter(|it: &Ref<pg_sys::SubPlan>| it.plan_id == number);
                match found {
                    Some(_) => Walk::Stop,
                    None => Walk::Into,
                }
            });
            if let Some(found) = found {
                return Some((found, self));
            }
        }
        (self.children().into_iter()).find_map(|child| child.user_of_subplan(number))
    }
}

/// A node or a list, which is none where it is null.
struct OptionalNode<'p>(Option<Node<'p>>);

impl<'p> From<Option<Node<'p>>> for OptionalNode<'p> {
    fn from(node: Option<Node<'p>>) -> Self {
        OptionalNode(node)
    }
}

impl<'p, T> From<List<'p, T>> for OptionalNode<'p> {
    fn from(list: List<'p, T>) -> Self {
        OptionalNode(list.as_node())
    }
}

impl<'p> PlanState<'p> {
    /// The nodes directly below.
    pub fn children(self) -> Vec<PlanState<'p>> {
        let append = self.cast::<pg_sys::AppendState>();
        let merge = self.cast::<pg_sys::MergeAppendState>();
        let subquery = self
            .cast()
            .and_then(|scan: Ref<pg_sys::SubqueryScanState>| scan.subquery());
        let parts = append.map(|append| (0..append.as_nplans).filter_map(move |n| append.part(n)));
        let merged = merge.map(|merge| (0..merge.ms_nplans).filter_map(move |n| merge.part(n)));
        [self.left(), self.right(), subquery]
            .into_iter()
            .flatten()
            .chain(parts.into_iter().flatten())
            .chain(merged.into_iter().flatten())
            .collect()
    }
}

/// The plans, or states of plans, above one that is in or below `top`, the top first; `None` where it is not there.
pub fn ancestors<'p, T>(
    top: Ref<'p, T>,
    wanted: Ref<'p, T>,
    children: fn(Ref<'p, T>) -> Vec<Ref<'p, T>>,
) -> Option<Vec<Ref<'p, T>>> {
    if top == wanted {
        return Some(Vec::new());
    }
    let mut found =
        (children(top).into_iter()).find_map(|child| ancestors(child, wanted, children))?;
    found.insert(0, top);
    Some(found)
}
