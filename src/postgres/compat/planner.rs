//! Differences between PostgreSQL 14 and 19 in the planner.

#[cfg(not(any(feature = "pg14", feature = "pg15")))]
use crate::postgres::expressions::{Walk, walk};
use crate::postgres::list::List;
use crate::postgres::paths::{JoinHook, Path};
use crate::postgres::planner::{Clause, Rel, Root};
use crate::postgres::refs::fields;
use crate::postgres::refs::{FromRaw, Node, Ref, calls, parts, setters};
use crate::postgres::rel::OpenRelation;
use crate::postgres::relids::Relids;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

calls! {
    #[cfg(not(feature = "pg19"))]
    fn material_path<'p>(rel: Rel<'p>, path: Path<'p>) -> Ref<'p, pg_sys::MaterialPath> = create_material_path(rel, path);
    #[cfg(feature = "pg19")]
    fn material_path<'p>(rel: Rel<'p>, path: Path<'p>) -> Ref<'p, pg_sys::MaterialPath> = create_material_path(rel, path, true);
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    fn not_null_columns(clauses: Option<Node>) -> List<pg_sys::Var> = find_nonnullable_vars(clauses);
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    fn not_null_columns(clauses: Option<Node>) -> List<pg_sys::Bitmapset> = find_nonnullable_vars(clauses);
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    fn checked_clauses(path: Path) -> Relids = get_param_path_clause_serials(path);
    /// Has relations give columns to the joins up to that with others. The columns are Vars, none of them in a placeholder.
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    pub fn add_vars_to_targetlist(root: Root, columns: List<pg_sys::Node>, needed_by: Relids)
        = add_vars_to_targetlist(root, columns, needed_by, false);
    /// Has relations give columns to the joins up to that with others. The columns are Vars, none of them in a placeholder.
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    pub fn add_vars_to_targetlist(root: Root, columns: List<pg_sys::Node>, needed_by: Relids)
        = add_vars_to_targetlist(root, columns, needed_by);
    /// The equalities that equivalence classes imply between a relation and others.
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    pub fn generate_join_implied_equalities<'p>(root: Root<'p>, rel: Rel<'p>, outer: Relids<'p>, both: Relids<'p>) -> List<'p, pg_sys::RestrictInfo>
        = generate_join_implied_equalities(root, both, outer, rel);
    /// The equalities that equivalence classes imply between a relation and others. No clause of an outer join is asked for.
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    pub fn generate_join_implied_equalities<'p>(root: Root<'p>, rel: Rel<'p>, outer: Relids<'p>, both: Relids<'p>) -> List<'p, pg_sys::RestrictInfo>
        = generate_join_implied_equalities(root, both, outer, rel, None);
}

parts! {
    /// The path.
    MaterialPath.path as as_path: Path;
}

/// A Material node above a path of a relation. 19 is told that it is enabled.
pub fn create_material_path<'p>(rel: Rel<'p>, path: Path<'p>) -> Path<'p> {
    material_path(rel, path).as_path()
}

/// Has the rows of this query, and of those around it, grouped after they are joined. 19 could group them before.
///
/// Without aggregates to push down it pushes none. A subquery in FROM is planned while its relation gets its size. One in an expression is planned
/// before aggregates are looked at, so the flag says that they can't be pushed down.
pub fn group_after_joins(root: Option<Root>) {
    #[cfg(feature = "pg19")]
    for root in std::iter::successors(root, |root| root.parent()) {
        root.set_aggregates(List::EMPTY);
        root.set_has_unpushable(true);
    }
    #[cfg(not(feature = "pg19"))]
    let _ = root;
}

#[cfg(feature = "pg19")]
setters! {
    PlannerInfo.agg_clause_list as set_aggregates: List<'p, pg_sys::Node>;
    PlannerInfo.hasNonPartialAggs as set_has_unpushable: bool;
}

/// Whether expressions can be true together only if a column is not null. Before 16 PostgreSQL gives a list of Vars, then a list of sets of
/// column numbers, one set for each relation.
pub fn refuse_null(expressions: List<pg_sys::Node>, relid: pg_sys::Index, column: i16) -> bool {
    let not_null = not_null_columns(expressions.as_node());
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    {
        not_null.iter().any(|var| {
            var.varno as pg_sys::Index == relid && var.varattno == column && var.varlevelsup == 0
        })
    }
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    {
        let number = i32::from(column) - pg_sys::FirstLowInvalidHeapAttributeNumber;
        (not_null.get(relid as usize)).is_some_and(|columns| Relids::from(columns).contains(number))
    }
}

setters! {
    RestrictInfo.norm_selec as set_selectivity: f64;
    RestrictInfo.outer_selec as set_outer_selectivity: f64;
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    Var.varnullingrels as set_nulled_by: Relids<'p>;
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    PlaceHolderVar.phnullingrels as set_nulled_by: Relids<'p>;
    #[cfg(any(feature = "pg18", feature = "pg19"))]
    Path.disabled_nodes as set_disabled_nodes: i32;
}

#[cfg(not(any(feature = "pg14", feature = "pg15")))]
fields! {
    Var.varnullingrels as nulled_by: Relids<'p>;
    PlaceHolderVar.phnullingrels as nulled_by: Relids<'p>;
    PlannerInfo.outer_join_rels as outer_join_relids: Relids<'p>;
}

/// Lets the planner take a clause for true in each row that it estimates.
pub fn always_true_in_estimates(clause: Clause) {
    // Before 16 a selectivity over 1 says so in every place (pathnodes.h). Since then it would be taken for a number of rows. So this is what PostgreSQL
    // would keep of an estimate, one for inner joins and one for others.
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let selectivity = 2.0;
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    let selectivity = 1.0;
    clause.set_selectivity(selectivity);
    clause.set_outer_selectivity(selectivity);
}

/// Whether a clause is another form of one that the planner has too, for use above an outer join that may be done later. Before 16
/// there is only one form.
pub fn is_clone(clause: Clause) -> bool {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    {
        let _ = clause;
        false
    }
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    clause.is_clone
}

/// The numbers of outer joins, which they have since 16.
pub fn outer_joins(root: Root) -> Relids {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    {
        let _ = root;
        Relids::EMPTY
    }
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    root.outer_join_relids()
}

/// Whether a column's value comes from above an outer join that may have made it null. Before 16 a Var does not tell.
pub fn is_nulled(var: Ref<pg_sys::Var>) -> bool {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    {
        let _ = var;
        false
    }
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    {
        !var.varnullingrels.is_null()
    }
}

/// The expression of a placeholder that no outer join has made null. Since 18 any column of a subquery can be in a placeholder, where rows are grouped in
/// sets. Before 16 a placeholder does not tell.
pub fn held_by_placeholder(node: Node) -> Option<Node> {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    {
        let _ = node;
        None
    }
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    {
        let holder = node.cast::<pg_sys::PlaceHolderVar>()?;
        (holder.phlevelsup == 0 && holder.phnullingrels.is_null())
            .then(|| holder.expression())
            .flatten()
    }
}

/// Notes the clauses that a path checks because of its parameters. The join above checks none of them again. Before 16 it compares
/// the clauses themselves.
pub fn keep_checked_clauses(info: &mut pg_sys::ParamPathInfo, path: Path) {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let _ = (info, path);
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    {
        info.ppi_serials = checked_clauses(path).as_ptr();
    }
}

/// Gives the columns that expressions use the marks of outer joins that the same columns have in a plan's list. A join
/// clause is kept in a form for one order of joins, and since 16 a plan's own expressions have to match its columns to the mark.
/// Nobody else has the expressions.
pub fn take_marks(expressions: List<pg_sys::Node>, columns: List<pg_sys::TargetEntry>) {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let _ = (expressions, columns);
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    walk(expressions.as_node(), &mut |node| take_mark(node, columns));
}

/// Gives one column or placeholder the marks of the same one in a list. Nobody else has the node.
#[cfg(not(any(feature = "pg14", feature = "pg15")))]
fn take_mark(node: Node, columns: List<pg_sys::TargetEntry>) -> Walk {
    let mut known = columns.iter().filter_map(|entry| entry.expression());
    if let Some(var) = node.cast::<pg_sys::Var>() {
        let same = known
            .filter_map(|column| column.cast::<pg_sys::Var>())
            .find(|column| (column.varno, column.varattno) == (var.varno, var.varattno));
        if let Some(same) = same.filter(|_| var.varlevelsup == 0) {
            var.set_nulled_by(same.nulled_by().copy());
        }
        return Walk::Over;
    }
    if let Some(holder) = node.cast::<pg_sys::PlaceHolderVar>() {
        let same = known
            .by_ref()
            .filter_map(|column| column.cast::<pg_sys::PlaceHolderVar>())
            .find(|column| column.phid == holder.phid);
        if let Some(same) = same.filter(|_| holder.phlevelsup == 0) {
            holder.set_nulled_by(same.nulled_by().copy());
            return Walk::Over;
        }
    }
    Walk::Into
}

/// A nested loop with the clauses of a join, of paths of its sides.
pub fn create_nestloop_path<'p>(
    hook: &JoinHook<'p>,
    jointype: pg_sys::JoinType::Type,
    outer: Path<'p>,
    inner: Path<'p>,
) -> Path<'p> {
    let (root, joinrel, extra) = (
        hook.root.as_ptr(),
        hook.joinrel.as_ptr(),
        hook.extra.as_ptr(),
    );
    // SAFETY: the structures are the planner's. It makes the costs in two steps, and then a new path.
    unsafe {
        let mut costs = std::mem::zeroed();
        pg_sys::initial_cost_nestloop(
            root,
            &mut costs,
            jointype,
            #[cfg(feature = "pg19")]
            (*joinrel).pgs_mask,
            outer.as_ptr(),
            inner.as_ptr(),
            extra,
        );
        let required_outer = pg_sys::calc_nestloop_required_outer(
            outer.relids().as_ptr(),
            outer.required_outer().as_ptr(),
            inner.relids().as_ptr(),
            inner.required_outer().as_ptr(),
        );
        let path = pg_sys::create_nestloop_path(
            root,
            joinrel,
            jointype,
            &mut costs,
            extra,
            outer.as_ptr(),
            inner.as_ptr(),
            hook.extra.clauses().as_ptr(),
            std::ptr::null_mut(),
            required_outer,
        );
        Ref::new(path.cast())
    }
}

/// The arguments of a foreign path, whose number differs between versions.
pub struct ForeignPath<'p> {
    /// Estimated rows.
    pub rows: f64,
    /// Total cost; the start costs nothing.
    pub total_cost: f64,
    /// The other relations that the path's parameters come from.
    pub required_outer: Relids<'p>,
    /// The path's own list.
    pub fdw_private: List<'p, pg_sys::Node>,
    /// How many disabled nodes it counts as, so that others win; before 18 the cost alone decides that.
    #[cfg_attr(not(any(feature = "pg18", feature = "pg19")), allow(dead_code))]
    pub disabled_nodes: i32,
}

/// Makes a foreign path.
pub fn create_foreignscan_path<'p>(root: Root<'p>, rel: Rel<'p>, path: ForeignPath) -> Path<'p> {
    let nil = std::ptr::null_mut();
    // SAFETY: a plain scan has no pathkeys, no outer path and the relation's own target. The result is a new path.
    unsafe {
        let path = pg_sys::create_foreignscan_path(
            root.as_ptr(),
            rel.as_ptr(),
            std::ptr::null_mut(),
            path.rows,
            #[cfg(any(feature = "pg18", feature = "pg19"))]
            path.disabled_nodes,
            0.0,
            path.total_cost,
            nil,
            path.required_outer.as_ptr(),
            std::ptr::null_mut(),
            #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
            nil,
            path.fdw_private.as_ptr(),
        );
        Ref::new(path.cast())
    }
}

/// Lets an Append of one path be as undesirable as that path. 18 counts no disabled nodes for it, so that a scan that can't run would win against
/// a plan that is disabled.
pub fn take_disabled_nodes(path: Path) {
    #[cfg(not(any(feature = "pg18", feature = "pg19")))]
    let _ = path;
    #[cfg(any(feature = "pg18", feature = "pg19"))]
    if let Some(parts) = path.cast::<pg_sys::AppendPath>().map(|path| path.parts())
        && parts.len() == 1
        && let Some(only) = parts.get(0)
    {
        let disabled_nodes = path.disabled_nodes.max(only.disabled_nodes);
        path.set_disabled_nodes(disabled_nodes);
    }
}

unsafe extern "C-unwind" {
    /// A copy of a partition's bounds (partcache.h).
    fn RelationGetPartitionQual(relation: pg_sys::Relation) -> *mut pg_sys::List;
}

/// The bounds of a partition, as a list of expressions, which is empty for another table.
pub fn partition_qual<'p>(relation: OpenRelation) -> List<'p, pg_sys::Node> {
    let relation = relation.as_ptr();
    // SAFETY: the relation is open, and the list a copy in the current memory context.
    unsafe { FromRaw::from_raw(pg_guard_ffi_boundary(|| RelationGetPartitionQual(relation))) }
}

/// Has the rights of a role on a new member of the range table checked when the query runs. Since 16 they are in a list of their own.
///
/// # Safety
/// The member was made with the parse state alone.
pub unsafe fn check_rights_of(
    root: Root,
    entry: *mut pg_sys::RangeTblEntry,
    state: *mut pg_sys::ParseState,
    role: pg_sys::Oid,
) {
    // SAFETY: the member is valid, and the parse state has its rights.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        {
            let _ = (root, state);
            (*entry).requiredPerms = pg_sys::ACL_SELECT as _;
            (*entry).checkAsUser = role;
        }
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        {
            let _ = state;
            let query = (*root.as_ptr()).parse;
            (*entry).perminfoindex = 0;
            let rights = pg_sys::addRTEPermissionInfo(&mut (*query).rteperminfos, entry);
            (*rights).requiredPerms = pg_sys::ACL_SELECT as _;
            (*rights).checkAsUser = role;
        }
    }
}

mod left_out {
    use pgrx::pg_sys::{Node, PlannerInfo};

    unsafe extern "C-unwind" {
        pub fn SS_process_sublinks(
            root: *mut PlannerInfo,
            node: *mut Node,
            is_qual: bool,
        ) -> *mut Node;
        pub fn SS_replace_correlation_vars(root: *mut PlannerInfo, node: *mut Node) -> *mut Node;
    }
}

/// Does with an expression of a query what the planner does after it has simplified one (subselect.h): subqueries become subplans, and columns of
/// queries around this one become parameters.
pub fn finish_expression<'p>(root: Root<'p>, expression: Node<'p>) -> Node<'p> {
    let mut node = expression.as_ptr();
    // SAFETY: the functions take any expression of the query.
    unsafe {
        if root.query().is_some_and(|query| query.hasSubLinks) {
            node =
                pg_guard_ffi_boundary(|| left_out::SS_process_sublinks(root.as_ptr(), node, false));
        }
        if root.query_level > 1 {
            node = pg_guard_ffi_boundary(|| {
                left_out::SS_replace_correlation_vars(root.as_ptr(), node)
            });
        }
        Ref::new(node)
    }
}

/// The path below one that makes sorted rows unique, which is of a kind of its own before 19.
pub fn path_made_unique(path: Path) -> Option<Path> {
    #[cfg(feature = "pg19")]
    {
        let _ = path;
        None
    }
    #[cfg(not(feature = "pg19"))]
    {
        path.cast::<pg_sys::UpperUniquePath>()?.child()
    }
}

#[cfg(not(feature = "pg19"))]
fields! {
    UpperUniquePath.subpath as child: Option<Path<'p>>;
}

/// The column that PostgreSQL passes to a callback of `replace_rte_variables`.
#[cfg(not(feature = "pg19"))]
pub type PassedVar = *mut pg_sys::Var;
/// The same: since 19 the callback may not change it.
#[cfg(feature = "pg19")]
pub type PassedVar = *const pg_sys::Var;

/// A function that gives a node or null for one that PostgreSQL passes, with what it was passed.
pub type Mutator =
    unsafe extern "C-unwind" fn(*mut pg_sys::Node, *mut std::ffi::c_void) -> *mut pg_sys::Node;

/// A copy of a node with what a mutator gives for each of the nodes directly below (nodeFuncs.h). Before 16 the mutator is declared without arguments.
///
/// # Safety
/// The mutator takes the nodes and `passed`.
pub unsafe fn mutate_children(
    node: *mut pg_sys::Node,
    mutator: Mutator,
    passed: *mut std::ffi::c_void,
) -> *mut pg_sys::Node {
    // SAFETY: the contract of this function says that the mutator may be called so. PostgreSQL calls it with these arguments in each version.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        {
            type Declared = unsafe extern "C-unwind" fn() -> *mut pg_sys::Node;
            let mutator = std::mem::transmute::<Mutator, Declared>(mutator);
            pg_sys::expression_tree_mutator(node, Some(mutator), passed)
        }
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        pg_sys::expression_tree_mutator_impl(node, Some(mutator), passed)
    }
}
