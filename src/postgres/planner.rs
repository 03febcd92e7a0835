//! The planner's structures (pathnodes.h), and its functions.
//!
//! They live in the planner's memory contexts until planning ends. Nobody but the planner changes them, and it does so only while it is called.

use super::compat;
use super::expressions::is_volatile;
use super::list::List;
use super::memory_context::MemoryContext;
use super::paths::Path;
use super::refs::{FromRaw, Node, Ref, Untyped, arrays, calls, fields, setters};
use super::relids::Relids;
use pgrx::{pg_guard, pg_sys};
use std::ffi::c_void;

/// What the planner knows of a query.
pub type Root<'p> = Ref<'p, pg_sys::PlannerInfo>;
/// What the planner knows of a relation or a join.
pub type Rel<'p> = Ref<'p, pg_sys::RelOptInfo>;
/// A clause of WHERE or ON.
pub type Clause<'p> = Ref<'p, pg_sys::RestrictInfo>;

fields! {
    /// The query.
    PlannerInfo.parse as query: Option<Ref<'p, pg_sys::Query>>;
    /// What is shared by all queries of the statement.
    PlannerInfo.glob as global: Option<Ref<'p, pg_sys::PlannerGlobal>>;
    /// The query around this one.
    PlannerInfo.parent_root as parent: Option<Root<'p>>;
    /// The joins that are not inner joins.
    PlannerInfo.join_info_list as special_joins: List<'p, pg_sys::SpecialJoinInfo>;
    /// The equivalence classes.
    PlannerInfo.eq_classes as equivalence_classes: List<'p, pg_sys::EquivalenceClass>;
    /// How parts of partitioned tables and UNION ALLs come from these.
    PlannerInfo.append_rel_list as append_relations: List<'p, pg_sys::AppendRelInfo>;
    /// The subplans that run for their parameters.
    PlannerInfo.init_plans as init_plans: List<'p, pg_sys::SubPlan>;
    /// All relations of the range table.
    PlannerInfo.all_baserels as base_relids: Relids<'p>;
    /// The order that the query wants.
    PlannerInfo.query_pathkeys as query_pathkeys: List<'p, pg_sys::PathKey>;
    /// The relations on the outer sides of the nested loops around the plan that is made.
    PlannerInfo.curOuterRels as outer_relids: Relids<'p>;
    /// The plans of the subplans. A subplan's number is its position from 1.
    PlannerGlobal.subplans as subplans: List<'p, pg_sys::Plan>;
    /// The queries of the subplans.
    PlannerGlobal.subroots as queries: List<'p, pg_sys::PlannerInfo>;
    /// The select list.
    Query.targetList as targets: List<'p, pg_sys::TargetEntry>;
    /// The range table.
    Query.rtable as range_table: List<'p, pg_sys::RangeTblEntry>;
    /// FROM and WHERE.
    Query.jointree as join_tree: Option<Ref<'p, pg_sys::FromExpr>>;
    /// The functions of a function in FROM.
    RangeTblEntry.functions as functions: List<'p, pg_sys::Node>;
    /// The rows of VALUES.
    RangeTblEntry.values_lists as values: List<'p, pg_sys::Node>;
    /// XMLTABLE or JSON_TABLE.
    RangeTblEntry.tablefunc as table_function: Option<Node<'p>>;
    /// TABLESAMPLE.
    RangeTblEntry.tablesample as table_sample: Option<Node<'p>>;
    /// The clauses about the relation alone.
    RelOptInfo.baserestrictinfo as restrictions: List<'p, pg_sys::RestrictInfo>;
    /// The join clauses that are in no equivalence class.
    RelOptInfo.joininfo as join_clauses: List<'p, pg_sys::RestrictInfo>;
    /// The relation, or the members of the join.
    RelOptInfo.relids as relids: Relids<'p>;
    /// The relations that the relation refers to (LATERAL).
    RelOptInfo.lateral_relids as lateral_relids: Relids<'p>;
    /// The relations that refer to the relation.
    RelOptInfo.lateral_referencers as lateral_referencers: Relids<'p>;
    /// The partitioned tables or UNION ALLs that the relation is a part of.
    RelOptInfo.top_parent_relids as top_parent_relids: Relids<'p>;
    /// The paths.
    RelOptInfo.pathlist as paths: List<'p, pg_sys::Path>;
    /// The path of the lowest total cost.
    RelOptInfo.cheapest_total_path as cheapest_path: Option<Path<'p>>;
    /// The columns that the relation gives.
    RelOptInfo.reltarget as target: Option<Ref<'p, pg_sys::PathTarget>>;
    /// The planner's query for a subquery in FROM.
    RelOptInfo.subroot as subquery: Option<Root<'p>>;
    /// The callbacks of a foreign table's wrapper.
    RelOptInfo.fdwroutine as routine: Option<Ref<'p, pg_sys::FdwRoutine>>;
    /// The expressions.
    PathTarget.exprs as expressions: List<'p, pg_sys::Node>;
    /// The clause's expression.
    RestrictInfo.clause as expression: Option<Node<'p>>;
    /// The relations that the clause is about.
    RestrictInfo.clause_relids as relids: Relids<'p>;
    /// The outer side of the outer join whose ON has the clause.
    RestrictInfo.outer_relids as outer_side: Relids<'p>;
    /// The relations of the members.
    EquivalenceClass.ec_relids as relids: Relids<'p>;
    /// The members.
    EquivalenceClass.ec_members as members: List<'p, pg_sys::EquivalenceMember>;
    /// The expression.
    EquivalenceMember.em_expr as expression: Option<Node<'p>>;
    /// The least relations that have to be on the left side.
    SpecialJoinInfo.min_lefthand as least_left: Relids<'p>;
    /// The least relations that have to be on the right side.
    SpecialJoinInfo.min_righthand as least_right: Relids<'p>;
    /// The relations that are written on the left side.
    SpecialJoinInfo.syn_lefthand as left: Relids<'p>;
    /// The relations that are written on the right side.
    SpecialJoinInfo.syn_righthand as right: Relids<'p>;
    /// The equivalence class.
    PathKey.pk_eclass as class: Option<Ref<'p, pg_sys::EquivalenceClass>>;
}

arrays! {
    /// The relation with an index in the range table.
    PlannerInfo.simple_rel_array[simple_rel_array_size] as relation: Option<Rel<'p>>;
    /// The member of the range table with an index.
    PlannerInfo.simple_rte_array[simple_rel_array_size] as entry: Option<Ref<'p, pg_sys::RangeTblEntry>>;
    /// How a part of a partitioned table or UNION ALL comes from that.
    PlannerInfo.append_rel_array[simple_rel_array_size] as append_relation: Option<Ref<'p, pg_sys::AppendRelInfo>>;
}

setters! {
    PathTarget.exprs as set_expressions: List<'p, pg_sys::Node>;
    PathTarget.width as set_width: i32;
    PathTarget.has_volatile_expr as set_volatility: pg_sys::VolatileFunctionStatus::Type;
    RelOptInfo.tuples as set_tuples: f64;
    RelOptInfo.rows as set_rows: f64;
}

impl<'p> Root<'p> {
    /// The relations that are there so far.
    pub fn relations(self) -> impl Iterator<Item = Rel<'p>> {
        (1..self.simple_rel_array_size).filter_map(move |index| self.relation(index))
    }

    calls! {
        /// The relations that an expression, or a list of them, reads.
        pub fn relids(self, node: Node) -> Relids<'p> = pull_varnos(self, node);
        /// The share of a relation's rows for which clauses are true.
        pub fn selectivity(self, rel: Rel<'p>, clauses: List<'p, pg_sys::RestrictInfo>) -> f64
            = clauselist_selectivity(self, clauses, rel.relid as i32, pg_sys::JoinType::JOIN_INNER, None);
        /// The parameters of a path of a relation that takes them from others; `None` where there are no others.
        pub fn path_parameters(self, rel: Rel<'p>, required_outer: Relids<'p>) -> Option<Ref<'p, pg_sys::ParamPathInfo>>
            = get_baserel_parampathinfo(self, rel, required_outer);
    }

    /// Relations without the numbers of outer joins.
    pub fn without_outer_joins(self, relids: Relids<'p>) -> Relids<'p> {
        relids.difference(compat::outer_joins(self))
    }

    /// The placeholders in an expression.
    pub fn placeholders(
        self,
        node: Node<'p>,
    ) -> impl Iterator<Item = Ref<'p, pg_sys::PlaceHolderVar>> {
        let flags = pg_sys::PVC_RECURSE_AGGREGATES
            | pg_sys::PVC_RECURSE_WINDOWFUNCS
            | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
        let found = columns_and_placeholders(node, flags as i32);
        found.iter().filter_map(|node| node.cast())
    }

    /// An expression about partitioned tables as one about their partitions among `relids`. Where partitions are joined, the join clauses of one
    /// are still about the others' parents.
    pub fn for_partitions(self, expression: Node<'p>, relids: Relids) -> Node<'p> {
        let mut expression = expression;
        for member in relids.iter() {
            let mut steps: Vec<_> = std::iter::successors(self.append_relation(member), |step| {
                self.append_relation(step.parent_relid as i32)
            })
            .collect();
            while let Some(step) = steps.pop() {
                let mut step = step.as_ptr();
                // SAFETY: the expression is valid; the result is a new one.
                expression = unsafe {
                    Ref::new(pg_sys::adjust_appendrel_attrs(
                        self.as_ptr(),
                        expression.as_ptr(),
                        1,
                        &mut step,
                    ))
                };
            }
        }
        expression
    }

    /// The equalities between an expression of a relation's and others that equivalence classes imply. `is_wanted` chooses the expression.
    pub fn implied_equalities(
        self,
        rel: Rel<'p>,
        is_wanted: &dyn Fn(Node) -> bool,
    ) -> List<'p, pg_sys::RestrictInfo> {
        let mut is_wanted = is_wanted;
        // SAFETY: the callback gets a pointer to the function, which lives across the call.
        unsafe {
            FromRaw::from_raw(pg_sys::generate_implied_equalities_for_column(
                self.as_ptr(),
                rel.as_ptr(),
                Some(is_wanted_member),
                (&raw mut is_wanted).cast(),
                rel.lateral_referencers().as_ptr(),
            ))
        }
    }

    /// The equalities between a relation and others that equivalence classes imply.
    pub fn join_equalities(
        self,
        rel: Rel<'p>,
        outer: Relids<'p>,
        both: Relids<'p>,
    ) -> List<'p, pg_sys::RestrictInfo> {
        compat::generate_join_implied_equalities(self, rel, outer, both)
    }
}

/// Whether a member of an equivalence class is the wanted expression.
#[pg_guard]
unsafe extern "C-unwind" fn is_wanted_member(
    _root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    _class: *mut pg_sys::EquivalenceClass,
    member: *mut pg_sys::EquivalenceMember,
    is_wanted: *mut c_void,
) -> bool {
    // SAFETY: `implied_equalities` passes a function. The planner passes a member, which has an expression.
    unsafe {
        let expression = Ref::new(member).expression();
        let is_wanted = *is_wanted.cast::<&dyn Fn(Node) -> bool>();
        expression.is_some_and(is_wanted)
    }
}

impl<'p> Rel<'p> {
    /// The index in the range table, of the partitioned table or UNION ALL where the relation is a part of one.
    pub fn top_index(self) -> i32 {
        let parent = self.top_parent_relids().iter().next();
        parent.unwrap_or(self.relid as i32)
    }

    /// The members, and the partitioned tables that these are parts of. Since 17 what is joined to a partition is parameterised by the partitioned
    /// table until plans are made.
    pub fn relids_and_parents(self) -> Relids<'p> {
        self.relids().union(self.top_parent_relids())
    }

    /// The expressions that the relation gives.
    pub fn output(self) -> List<'p, pg_sys::Node> {
        self.target()
            .map_or(List::EMPTY, |target| target.expressions())
    }

    /// Adds to the expressions that the relation gives, and to their width in bytes.
    pub fn add_output(self, expressions: impl IntoIterator<Item = Node<'p>>, width: i32) {
        let Some(target) = self.target() else { return };
        for expression in expressions {
            target.set_expressions(target.expressions().append(expression));
        }
        target.set_width(target.width + width);
    }

    /// The relations whose joins need a column; `None` where the relation has no such column.
    pub fn needed_by(self, column: i16) -> Option<Relids<'p>> {
        let (needed, least) = (self.attr_needed, self.min_attr);
        if needed.is_null() || column < least || column > self.max_attr {
            return None;
        }
        // SAFETY: the array has an element for each column from `min_attr` to `max_attr`.
        unsafe { Some(FromRaw::from_raw(*needed.add((column - least) as usize))) }
    }

    /// Whether the planner knows that rows are volatile, or finds out.
    pub fn is_volatile(self) -> bool {
        is_volatile(self.target().map(Ref::as_node))
    }

    /// Tells the planner that rows are volatile. It puts no Memoize above such a relation.
    pub fn mark_volatile(self) {
        let volatile = pg_sys::VolatileFunctionStatus::VOLATILITY_VOLATILE;
        if let Some(target) = self.target() {
            target.set_volatility(volatile);
        }
    }

    /// Whether the relation is a table or another member of FROM, and not a part of one.
    pub fn is_base(self) -> bool {
        self.reloptkind == pg_sys::RelOptKind::RELOPT_BASEREL
    }

    /// Whether the relation is a part of a partitioned table or UNION ALL, or a join of such parts.
    pub fn is_part(self) -> bool {
        use pg_sys::RelOptKind::{RELOPT_OTHER_JOINREL, RELOPT_OTHER_MEMBER_REL};
        matches!(
            self.reloptkind,
            RELOPT_OTHER_MEMBER_REL | RELOPT_OTHER_JOINREL
        )
    }

    /// Sets the estimates of a foreign table.
    pub fn set_size(self, tuples: f64, rows: f64) {
        self.set_tuples(tuples);
        self.set_rows(clamp_row_estimate(rows));
    }

    calls! {
        /// Offers a path of the relation to the planner.
        pub fn add_path(self, path: Path<'p>) = add_path(self, path);
    }

    /// Works in the memory context of the relation, which outlives those of a join search.
    pub fn in_context<T>(self, work: impl FnOnce() -> T) -> T {
        context_of(self.into()).switch_to(work)
    }
}

impl<'p> Clause<'p> {
    calls! {
        /// Whether a scan of a relation can check the clause, with parameters from others.
        pub fn is_movable_to(self, rel: Rel<'p>) -> bool = join_clause_is_movable_to(self, rel);
    }

    /// Whether the clause has a volatile function.
    pub fn is_volatile(self) -> bool {
        is_volatile(self.expression())
    }

    /// Whether the clause has a subplan.
    pub fn has_subplans(self) -> bool {
        self.expression().is_some_and(Node::has_subplans)
    }
}

calls! {
    /// An estimate of rows as the planner keeps it: a whole number, and at least one.
    pub fn clamp_row_estimate(rows: f64) -> f64 = clamp_row_est(rows);
    fn context_of(allocated: Untyped) -> MemoryContext = GetMemoryChunkContext(allocated);
    fn columns_and_placeholders(node: Node, flags: i32) -> List<pg_sys::Node> = pull_var_clause(node, flags);
}
