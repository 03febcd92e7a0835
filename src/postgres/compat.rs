//! Where PostgreSQL 14 to 19 differ in what this extension calls, and what pgrx leaves out. Nothing here decides anything.

use crate::postgres::nodes;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

/// The relations that an expression uses.
///
/// # Safety
/// `root` and `node` are the planner's.
pub unsafe fn pull_varnos(
    root: *mut pg_sys::PlannerInfo,
    node: *mut pg_sys::Node,
) -> pg_sys::Relids {
    // SAFETY: see above.
    unsafe { pg_sys::pull_varnos(root, node) }
}

/// A Material node above a path. 19 wants to be told that it is enabled.
///
/// # Safety
/// `path` is the planner's.
pub unsafe fn create_material_path(path: *mut pg_sys::Path) -> *mut pg_sys::Path {
    // SAFETY: see above.
    unsafe {
        #[cfg(not(feature = "pg19"))]
        let material = pg_sys::create_material_path((*path).parent, path);
        #[cfg(feature = "pg19")]
        let material = pg_sys::create_material_path((*path).parent, path, true);
        material.cast()
    }
}

/// Whether PostgreSQL rewinds any cursor for MOVE BACKWARD ALL, also one that was declared or planned without; since 15 it refuses.
pub const REWINDS_ANY_CURSOR: bool = cfg!(feature = "pg14");

/// Has the rows of this query, and of those around it, grouped after they are joined, and not before, which 19 could do.
///
/// # Safety
/// `root` is the planner's or null, before it has made grouped relations.
pub unsafe fn group_after_joins(root: *mut pg_sys::PlannerInfo) {
    #[cfg(feature = "pg19")]
    // SAFETY: see above. Without aggregates to push down it pushes none. A subquery in FROM is planned while the relation that it is gets
    // its size. One in an expression is planned before aggregates are looked at, so it has to be said that they can't be.
    unsafe {
        let mut root = root;
        while !root.is_null() {
            (*root).agg_clause_list = std::ptr::null_mut();
            (*root).hasNonPartialAggs = true;
            root = (*root).parent_root;
        }
    }
    #[cfg(not(feature = "pg19"))]
    let _ = root;
}

/// An empty set of events that lives as long as the process.
///
/// # Safety
/// Called in the backend's thread.
pub unsafe fn create_wait_event_set(most: i32) -> *mut pg_sys::WaitEventSet {
    // Before 17 it belongs to a memory context, then to a resource owner or to nobody.
    #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
    // SAFETY: see above.
    return unsafe { pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, most) };
    #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
    // SAFETY: see above.
    return unsafe { pg_sys::CreateWaitEventSet(std::ptr::null_mut(), most) };
}

/// Whether clauses can be true together only if a column is not null.
///
/// # Safety
/// The clauses are the planner's.
pub unsafe fn refuse_null(
    clauses: &[*mut pg_sys::RestrictInfo],
    relid: pg_sys::Index,
    column: i16,
) -> bool {
    // SAFETY: a RestrictInfo has a clause. Before 16 the result is a list of Vars, then one of sets of column
    // numbers, a set for each relation.
    unsafe {
        let clauses: Vec<_> = clauses.iter().map(|info| (**info).clause).collect();
        let not_null = pg_sys::find_nonnullable_vars(nodes::list(&clauses).cast());
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        return nodes::pointers::<pg_sys::Var>(not_null).any(|var| {
            (*var).varno as pg_sys::Index == relid
                && (*var).varattno == column
                && (*var).varlevelsup == 0
        });
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        return nodes::nth::<pg_sys::Bitmapset>(not_null, relid as usize).is_some_and(|columns| {
            let number = i32::from(column) - pg_sys::FirstLowInvalidHeapAttributeNumber;
            pg_sys::bms_is_member(number, columns)
        });
    }
}

/// Tells the planner that a relation's rows are volatile, which it asks before it puts a Memoize above them.
///
/// # Safety
/// `relation` is the planner's.
pub unsafe fn mark_volatile(relation: *mut pg_sys::RelOptInfo) {
    // SAFETY: a relation has a target.
    unsafe {
        (*(*relation).reltarget).has_volatile_expr =
            pg_sys::VolatileFunctionStatus::VOLATILITY_VOLATILE;
    }
}

/// Lets the planner count each row for which a clause is asked, as one that satisfies it.
///
/// # Safety
/// `info` is the planner's.
pub unsafe fn always_true_in_estimates(info: *mut pg_sys::RestrictInfo) {
    // Before 16 a selectivity over 1 says so in every place (pathnodes.h). Since then it would be taken for a number of rows, and
    // what is written here is what PostgreSQL would keep of an estimate, one for inner joins and one for others.
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let selectivity = 2.0;
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    let selectivity = 1.0;
    // SAFETY: see above.
    unsafe {
        (*info).norm_selec = selectivity;
        (*info).outer_selec = selectivity;
    }
}

/// Whether a clause is another form of one that the planner has too, for use above an outer join that may be done later. Before 16
/// there is only one form.
///
/// # Safety
/// `info` is the planner's.
pub unsafe fn is_clone(info: *mut pg_sys::RestrictInfo) -> bool {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    {
        let _ = info;
        false
    }
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    // SAFETY: see above.
    unsafe {
        (*info).is_clone
    }
}

/// Relations without the outer joins among them, which have numbers of their own since 16.
///
/// # Safety
/// All are the planner's.
pub unsafe fn without_outer_joins(
    root: *mut pg_sys::PlannerInfo,
    relids: pg_sys::Relids,
) -> pg_sys::Relids {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    {
        let _ = root;
        relids
    }
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    // SAFETY: see above; the difference is a new set.
    unsafe {
        pg_sys::bms_difference(relids, (*root).outer_join_rels)
    }
}

/// Whether a column's value comes from above an outer join that may have made it null. Before 16 a Var does not tell.
pub fn is_nulled(var: &pg_sys::Var) -> bool {
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

/// What a placeholder holds that no outer join has made null: since 18 any column of a subquery can be in one, where rows are grouped in
/// sets. Before 16 a placeholder does not tell.
///
/// # Safety
/// `node` is an expression of the planner's.
pub unsafe fn held_by_placeholder(node: *mut pg_sys::Node) -> Option<*mut pg_sys::Node> {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    {
        let _ = node;
        None
    }
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    // SAFETY: the cast follows the node's own tag.
    unsafe {
        if !pgrx::is_a(node, pg_sys::NodeTag::T_PlaceHolderVar) {
            return None;
        }
        let holder = &*node.cast::<pg_sys::PlaceHolderVar>();
        (holder.phlevelsup == 0 && holder.phnullingrels.is_null()).then(|| holder.phexpr.cast())
    }
}

/// The actions of a MERGE, which 14 does not have.
pub fn merge_actions(modify: &pg_sys::ModifyTable) -> Option<*mut pg_sys::List> {
    #[cfg(feature = "pg14")]
    {
        let _ = modify;
        None
    }
    #[cfg(not(feature = "pg14"))]
    Some(modify.mergeActionLists)
}

/// What the action of a MERGE does that runs now; before 17 PostgreSQL does not tell.
///
/// # Safety
/// `state` is that of a running statement.
pub unsafe fn merge_action(state: *mut pg_sys::ModifyTableState) -> Option<pg_sys::CmdType::Type> {
    #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
    {
        let _ = state;
        None
    }
    #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
    // SAFETY: see above; null where no action runs.
    unsafe {
        let action = (*state).mt_merge_action.as_ref()?;
        Some((*action.mas_action).commandType)
    }
}

/// Where a program of expressions that has no result of its own leaves that it is null. Since 18 it has to be nowhere.
pub fn no_result(is_null: &mut bool) -> *mut bool {
    if cfg!(any(feature = "pg18", feature = "pg19")) {
        std::ptr::null_mut()
    } else {
        is_null
    }
}

/// The clauses that a path has checked because of its parameters, of which the join above it checks none again. Before 16 it compares
/// the clauses themselves.
///
/// # Safety
/// `info` is a new one, and `path` the planner's.
pub unsafe fn keep_checked_clauses(info: &mut pg_sys::ParamPathInfo, path: *mut pg_sys::Path) {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let _ = (info, path);
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    // SAFETY: see above.
    unsafe {
        info.ppi_serials = pg_sys::get_param_path_clause_serials(path);
    }
}

/// Gives the columns that expressions use the marks of outer joins that the same columns have in a plan's list. A join
/// clause is kept in a form for one order of joins, and since 16 a plan's own expressions have to match its columns to the mark.
///
/// # Safety
/// Both are lists of the planner's, and nobody else has the expressions.
pub unsafe fn take_marks(expressions: *mut pg_sys::List, columns: *mut pg_sys::List) {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let _ = (expressions, columns);
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    // SAFETY: see above.
    unsafe {
        marks::take(expressions.cast(), columns.cast());
    }
}

#[cfg(not(any(feature = "pg14", feature = "pg15")))]
mod marks {
    use crate::postgres::nodes;
    use pgrx::{is_a, pg_guard, pg_sys};
    use std::ffi::c_void;

    /// A walker of expression trees (nodeFuncs.h).
    #[pg_guard]
    pub unsafe extern "C-unwind" fn take(node: *mut pg_sys::Node, columns: *mut c_void) -> bool {
        // SAFETY: each cast follows the node's own tag; the columns are target entries.
        unsafe {
            if node.is_null() {
                return false;
            }
            let mut known = nodes::pointers::<pg_sys::TargetEntry>(columns.cast())
                .map(|entry| (*entry).expr.cast::<pg_sys::Node>());
            if is_a(node, pg_sys::NodeTag::T_Var) {
                let var = &mut *node.cast::<pg_sys::Var>();
                let same = known
                    .filter(|column| is_a(*column, pg_sys::NodeTag::T_Var))
                    .map(|column| &*column.cast::<pg_sys::Var>())
                    .find(|column| (column.varno, column.varattno) == (var.varno, var.varattno));
                if let Some(same) = same.filter(|_| var.varlevelsup == 0) {
                    var.varnullingrels = pg_sys::bms_copy(same.varnullingrels);
                }
                return false;
            }
            if is_a(node, pg_sys::NodeTag::T_PlaceHolderVar) {
                let holder = &mut *node.cast::<pg_sys::PlaceHolderVar>();
                let same = known
                    .by_ref()
                    .filter(|column| is_a(*column, pg_sys::NodeTag::T_PlaceHolderVar))
                    .map(|column| &*column.cast::<pg_sys::PlaceHolderVar>())
                    .find(|column| column.phid == holder.phid);
                if let Some(same) = same.filter(|_| holder.phlevelsup == 0) {
                    holder.phnullingrels = pg_sys::bms_copy(same.phnullingrels);
                    return false;
                }
            }
            pg_sys::expression_tree_walker(node, Some(take), columns)
        }
    }
}

/// Defines a hook on ExecutorRun (executor.h): `enter(query, count)` is called, and what it gives is held while the hook that was there
/// before, or the executor, runs.
#[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17"))]
macro_rules! executor_run_hook {
    ($name:ident, $enter:expr, $previous:expr) => {
        #[pgrx::pg_guard]
        unsafe extern "C-unwind" fn $name(
            query: *mut pg_sys::QueryDesc,
            direction: pg_sys::ScanDirection::Type,
            count: u64,
            execute_once: bool,
        ) {
            let _held = $enter(query, count);
            // SAFETY: the arguments are the executor's. A hook is called through a pointer, so the guard that turns
            // PostgreSQL's errors into unwinding has to be put around it here.
            unsafe {
                match $previous {
                    Some(previous) => pg_sys::ffi::pg_guard_ffi_boundary(|| {
                        previous(query, direction, count, execute_once)
                    }),
                    None => pg_sys::standard_ExecutorRun(query, direction, count, execute_once),
                }
            }
        }
    };
}
/// As above. Since 18 it is not told whether it is called once.
#[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17")))]
macro_rules! executor_run_hook {
    ($name:ident, $enter:expr, $previous:expr) => {
        #[pgrx::pg_guard]
        unsafe extern "C-unwind" fn $name(
            query: *mut pg_sys::QueryDesc,
            direction: pg_sys::ScanDirection::Type,
            count: u64,
        ) {
            let _held = $enter(query, count);
            // SAFETY: the arguments are the executor's. A hook is called through a pointer, so the guard that turns
            // PostgreSQL's errors into unwinding has to be put around it here.
            unsafe {
                match $previous {
                    Some(previous) => {
                        pg_sys::ffi::pg_guard_ffi_boundary(|| previous(query, direction, count))
                    }
                    None => pg_sys::standard_ExecutorRun(query, direction, count),
                }
            }
        }
    };
}
pub(crate) use executor_run_hook;

/// Lets PostgreSQL refuse settings that only look like ones of a prefix. Before 15 it does not.
pub fn reserve_setting_prefix(prefix: &'static std::ffi::CStr) {
    #[cfg(feature = "pg14")]
    let _ = prefix;
    #[cfg(not(feature = "pg14"))]
    // SAFETY: the prefix lives as long as the process.
    unsafe {
        pg_sys::MarkGUCPrefixReserved(prefix.as_ptr());
    }
}

/// Has relations give columns to the joins up to that with others.
///
/// # Safety
/// All are the planner's; the list is one of Vars.
pub unsafe fn add_vars_to_targetlist(
    root: *mut pg_sys::PlannerInfo,
    columns: *mut pg_sys::List,
    needed_by: pg_sys::Relids,
) {
    // SAFETY: see above. There are no placeholders among them.
    unsafe {
        pg_sys::add_vars_to_targetlist(
            root,
            columns,
            needed_by,
            #[cfg(any(feature = "pg14", feature = "pg15"))]
            false,
        );
    }
}

/// Writes to a temporary file (buffile.h).
///
/// # Safety
/// The file is open.
pub unsafe fn write_file(file: *mut pg_sys::BufFile, bytes: &[u8]) {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let start = bytes.as_ptr().cast_mut().cast();
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    let start = bytes.as_ptr().cast();
    // SAFETY: it only reads them.
    unsafe { pg_sys::BufFileWrite(file, start, bytes.len()) };
}

/// Copies the row of a slot into the current memory context.
///
/// # Safety
/// `copy` is the operation of the slot, which has a row.
pub unsafe fn copy_minimal_tuple(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::MinimalTuple {
    // SAFETY: each kind of slot has the operation.
    unsafe {
        match (*(*slot).tts_ops).copy_minimal_tuple {
            #[cfg(not(any(feature = "pg18", feature = "pg19")))]
            Some(copy) => pg_guard_ffi_boundary(|| copy(slot)),
            #[cfg(any(feature = "pg18", feature = "pg19"))]
            Some(copy) => pg_guard_ffi_boundary(|| copy(slot, 0)),
            None => std::ptr::null_mut(),
        }
    }
}

/// The equalities that equivalence classes imply between a relation and others.
///
/// # Safety
/// All are the planner's.
pub unsafe fn generate_join_implied_equalities(
    root: *mut pg_sys::PlannerInfo,
    join_relids: pg_sys::Relids,
    outer_relids: pg_sys::Relids,
    inner_rel: *mut pg_sys::RelOptInfo,
) -> *mut pg_sys::List {
    // SAFETY: see above; no clause of an outer join is asked for.
    unsafe {
        pg_sys::generate_join_implied_equalities(
            root,
            join_relids,
            outer_relids,
            inner_rel,
            #[cfg(not(any(feature = "pg14", feature = "pg15")))]
            std::ptr::null_mut(),
        )
    }
}

/// What PostgreSQL calls `set_join_pathlist_hook` with (paths.h): one way to make a join of two relations.
pub struct JoinHook {
    /// The query being planned.
    pub root: *mut pg_sys::PlannerInfo,
    /// The join.
    pub joinrel: *mut pg_sys::RelOptInfo,
    /// Its outer side.
    pub outerrel: *mut pg_sys::RelOptInfo,
    /// Its inner side.
    pub innerrel: *mut pg_sys::RelOptInfo,
    /// Its kind.
    pub jointype: pg_sys::JoinType::Type,
    /// Its clauses, among others.
    pub extra: *mut pg_sys::JoinPathExtraData,
}

/// A nested loop with the clauses of a join.
///
/// # Safety
/// All are the planner's, with which it calls the hook for the paths of a join.
pub unsafe fn create_nestloop_path(
    hook: &JoinHook,
    jointype: pg_sys::JoinType::Type,
    outer: *mut pg_sys::Path,
    inner: *mut pg_sys::Path,
) -> *mut pg_sys::Path {
    let JoinHook {
        root,
        joinrel,
        extra,
        ..
    } = *hook;
    let nil = std::ptr::null_mut();
    let parameters = |path: *mut pg_sys::Path| {
        // SAFETY: see above.
        unsafe { (*path).param_info.as_ref() }
            .map_or(std::ptr::null_mut(), |info| info.ppi_req_outer)
    };
    // SAFETY: see above; the costs are made in two steps.
    unsafe {
        let mut costs = std::mem::zeroed();
        pg_sys::initial_cost_nestloop(
            root,
            &mut costs,
            jointype,
            #[cfg(feature = "pg19")]
            (*joinrel).pgs_mask,
            outer,
            inner,
            extra,
        );
        let required_outer = pg_sys::calc_nestloop_required_outer(
            (*(*outer).parent).relids,
            parameters(outer),
            (*(*inner).parent).relids,
            parameters(inner),
        );
        pg_sys::create_nestloop_path(
            root,
            joinrel,
            jointype,
            &mut costs,
            extra,
            outer,
            inner,
            (*extra).restrictlist,
            nil,
            required_outer,
        )
        .cast()
    }
}

/// What a foreign path is made of, whatever the arguments are called in this version.
pub struct ForeignPath {
    /// Estimated rows.
    pub rows: f64,
    /// Total cost; the start costs nothing.
    pub total_cost: f64,
    /// The other relations that the path's parameters come from.
    pub required_outer: pg_sys::Relids,
    /// The path's own list.
    pub fdw_private: *mut pg_sys::List,
    /// How many disabled nodes it counts as, so that others win; before 18 the cost alone decides that.
    #[cfg_attr(not(any(feature = "pg18", feature = "pg19")), allow(dead_code))]
    pub disabled_nodes: i32,
}

/// Makes a foreign path.
///
/// # Safety
/// `root` and `baserel` are the planner's.
pub unsafe fn create_foreignscan_path(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    path: ForeignPath,
) -> *mut pg_sys::Path {
    let nil = std::ptr::null_mut();
    // SAFETY: no pathkeys, no outer path and the relation's own target are what a plain scan has.
    unsafe {
        pg_sys::create_foreignscan_path(
            root,
            baserel,
            std::ptr::null_mut(),
            path.rows,
            #[cfg(any(feature = "pg18", feature = "pg19"))]
            path.disabled_nodes,
            0.0,
            path.total_cost,
            nil,
            path.required_outer,
            std::ptr::null_mut(),
            #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
            nil,
            path.fdw_private,
        )
        .cast()
    }
}

/// Lets an Append of one path be as undesirable as that path. On 18 it counts no disabled nodes, so that what can't run would win against
/// what PostgreSQL was told to avoid.
///
/// # Safety
/// `path` is the planner's.
pub unsafe fn take_disabled_nodes(path: *mut pg_sys::Path) {
    #[cfg(not(any(feature = "pg18", feature = "pg19")))]
    let _ = path;
    #[cfg(any(feature = "pg18", feature = "pg19"))]
    // SAFETY: the cast follows the node's own tag.
    unsafe {
        if pgrx::is_a(path.cast(), pg_sys::NodeTag::T_AppendPath) {
            let below = (*path.cast::<pg_sys::AppendPath>()).subpaths;
            if nodes::length(below) == 1
                && let Some(only) = nodes::nth::<pg_sys::Path>(below, 0)
            {
                (*path).disabled_nodes = (*path).disabled_nodes.max((*only).disabled_nodes);
            }
        }
    }
}

/// The role as which a foreign scan runs.
///
/// # Safety
/// `node` is an initialised scan.
pub unsafe fn scan_user(node: *mut pg_sys::ForeignScanState) -> pg_sys::Oid {
    // SAFETY: a foreign scan's plan is a ForeignScan, whose relation is in the range table.
    unsafe {
        let plan = (*node).ss.ps.plan.cast::<pg_sys::ForeignScan>();
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let user = {
            let estate = (*node).ss.ps.state;
            let place = (*plan).scan.scanrelid as usize - 1;
            nodes::nth::<pg_sys::RangeTblEntry>((*estate).es_range_table, place)
                .map_or(pg_sys::InvalidOid, |entry| (*entry).checkAsUser)
        };
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let user = (*plan).checkAsUser;
        if user == pg_sys::InvalidOid {
            pg_sys::GetUserId()
        } else {
            user
        }
    }
}

/// The role as which rows are inserted.
///
/// # Safety
/// `relation` is initialised for a statement of that state.
pub unsafe fn insert_user(
    estate: *mut pg_sys::EState,
    relation: *mut pg_sys::ResultRelInfo,
) -> pg_sys::Oid {
    // SAFETY: a relation that rows are routed to has no place of its own in the range table, but its parent has.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let user = {
            let mut relation = relation;
            if (*relation).ri_RangeTableIndex == 0 && !(*relation).ri_RootResultRelInfo.is_null() {
                relation = (*relation).ri_RootResultRelInfo;
            }
            let place = ((*relation).ri_RangeTableIndex as usize).saturating_sub(1);
            nodes::nth::<pg_sys::RangeTblEntry>((*estate).es_range_table, place)
                .map_or(pg_sys::InvalidOid, |entry| (*entry).checkAsUser)
        };
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let user = pg_sys::ExecGetResultRelCheckAsUser(relation, estate);
        if user == pg_sys::InvalidOid {
            pg_sys::GetUserId()
        } else {
            user
        }
    }
}

unsafe extern "C-unwind" {
    /// A copy of what holds for a partition's rows (partcache.h).
    fn RelationGetPartitionQual(relation: pg_sys::Relation) -> *mut pg_sys::List;
}

/// What holds for the rows of a partition, as a list of expressions; null for what is none.
///
/// # Safety
/// `relation` is open.
pub unsafe fn partition_qual(relation: pg_sys::Relation) -> *mut pg_sys::List {
    // SAFETY: see above.
    unsafe { pg_guard_ffi_boundary(|| RelationGetPartitionQual(relation)) }
}

/// Whether an Append or MergeAppend leaves out partitions when it is run, by values that it has only then.
///
/// # Safety
/// `plan` is a plan.
pub unsafe fn chooses_parts(plan: *mut pg_sys::Plan) -> bool {
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        let (append, merge) = (
            plan.cast::<pg_sys::Append>(),
            plan.cast::<pg_sys::MergeAppend>(),
        );
        match (*plan.cast::<pg_sys::Node>()).type_ {
            #[cfg(any(feature = "pg18", feature = "pg19"))]
            pg_sys::NodeTag::T_Append => (*append).part_prune_index >= 0,
            #[cfg(any(feature = "pg18", feature = "pg19"))]
            pg_sys::NodeTag::T_MergeAppend => (*merge).part_prune_index >= 0,
            #[cfg(not(any(feature = "pg18", feature = "pg19")))]
            pg_sys::NodeTag::T_Append => !(*append).part_prune_info.is_null(),
            #[cfg(not(any(feature = "pg18", feature = "pg19")))]
            pg_sys::NodeTag::T_MergeAppend => !(*merge).part_prune_info.is_null(),
            _ => false,
        }
    }
}
