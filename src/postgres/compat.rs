//! Where PostgreSQL 13 to 18 differ in what this extension calls, and what pgrx leaves out. Nothing here decides anything.

use crate::postgres::nodes;
use pgrx::pg_sys;

/// The relations that an expression uses.
///
/// # Safety
/// `root` and `node` are the planner's.
pub unsafe fn pull_varnos(
    root: *mut pg_sys::PlannerInfo,
    node: *mut pg_sys::Node,
) -> pg_sys::Relids {
    #[cfg(feature = "pg13")]
    // SAFETY: see above.
    return unsafe {
        let _ = root;
        pg_sys::pull_varnos(node)
    };
    #[cfg(not(feature = "pg13"))]
    // SAFETY: see above.
    return unsafe { pg_sys::pull_varnos(root, node) };
}

/// An empty set of events that lives as long as the process.
///
/// # Safety
/// Called in the backend's thread.
pub unsafe fn create_wait_event_set(most: i32) -> *mut pg_sys::WaitEventSet {
    // Before 17 it belongs to a memory context, then to a resource owner or to nobody.
    #[cfg(not(any(feature = "pg17", feature = "pg18")))]
    // SAFETY: see above.
    return unsafe { pg_sys::CreateWaitEventSet(pg_sys::TopMemoryContext, most) };
    #[cfg(any(feature = "pg17", feature = "pg18"))]
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
        #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
        return nodes::pointers::<pg_sys::Var>(not_null).any(|var| {
            (*var).varno as pg_sys::Index == relid
                && (*var).varattno == column
                && (*var).varlevelsup == 0
        });
        #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
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
    #[cfg(feature = "pg13")]
    let _ = relation;
    #[cfg(not(feature = "pg13"))]
    // SAFETY: a relation has a target.
    unsafe {
        (*(*relation).reltarget).has_volatile_expr =
            pg_sys::VolatileFunctionStatus::VOLATILITY_VOLATILE;
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
            #[cfg(any(feature = "pg16", feature = "pg17", feature = "pg18"))]
            std::ptr::null_mut(),
        )
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
    /// Whether any other path should win; before 18 the cost alone decides that.
    #[cfg_attr(not(feature = "pg18"), allow(dead_code))]
    pub last_resort: bool,
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
            #[cfg(feature = "pg18")]
            if path.last_resort { 1000 } else { 0 },
            0.0,
            path.total_cost,
            nil,
            path.required_outer,
            std::ptr::null_mut(),
            #[cfg(any(feature = "pg17", feature = "pg18"))]
            nil,
            path.fdw_private,
        )
        .cast()
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
        #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
        let user = {
            let estate = (*node).ss.ps.state;
            let place = (*plan).scan.scanrelid as usize - 1;
            nodes::nth::<pg_sys::RangeTblEntry>((*estate).es_range_table, place)
                .map_or(pg_sys::InvalidOid, |entry| (*entry).checkAsUser)
        };
        #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
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
        #[cfg(any(feature = "pg13", feature = "pg14", feature = "pg15"))]
        let user = {
            let mut relation = relation;
            if (*relation).ri_RangeTableIndex == 0 && !(*relation).ri_RootResultRelInfo.is_null() {
                relation = (*relation).ri_RootResultRelInfo;
            }
            let place = ((*relation).ri_RangeTableIndex as usize).saturating_sub(1);
            nodes::nth::<pg_sys::RangeTblEntry>((*estate).es_range_table, place)
                .map_or(pg_sys::InvalidOid, |entry| (*entry).checkAsUser)
        };
        #[cfg(not(any(feature = "pg13", feature = "pg14", feature = "pg15")))]
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
    unsafe { pg_sys::ffi::pg_guard_ffi_boundary(|| RelationGetPartitionQual(relation)) }
}
