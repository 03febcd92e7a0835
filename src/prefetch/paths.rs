//! Puts a node that reads ahead below nested loops.
//!
//! Which plan wins is not changed: a nested loop that PostgreSQL has found gets the node, at no cost.

use super::methods::{Methods, NAME};
use super::plans::plan_custom_path;
use crate::plan::bind::Bound;
use crate::plan::{
    self, Mode, Relation, infos, memoize, order, paths, replay, semijoins, sorted, sources,
};
use crate::postgres::{compat, nodes};
use pgrx::{PgBox, is_a, pg_guard, pg_sys};
use std::sync::OnceLock;

static PATH_METHODS: Methods<pg_sys::CustomPathMethods> = Methods(pg_sys::CustomPathMethods {
    CustomName: NAME.as_ptr(),
    PlanCustomPath: Some(plan_custom_path),
    ReparameterizeCustomPathByChild: None,
});

static PREVIOUS: OnceLock<pg_sys::set_join_pathlist_hook_type> = OnceLock::new();

/// The parameter's number in paths. Of many paths one becomes a plan, and only a plan gets a parameter.
const UNNUMBERED: i32 = -1;

/// Sets the hook.
pub fn install() {
    // SAFETY: hooks are set while the library is loaded, in the backend's thread.
    unsafe {
        PREVIOUS.get_or_init(|| pg_sys::set_join_pathlist_hook);
        pg_sys::set_join_pathlist_hook = Some(set_join_pathlist);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn set_join_pathlist(
    root: *mut pg_sys::PlannerInfo,
    joinrel: *mut pg_sys::RelOptInfo,
    outerrel: *mut pg_sys::RelOptInfo,
    innerrel: *mut pg_sys::RelOptInfo,
    jointype: pg_sys::JoinType::Type,
    extra: *mut pg_sys::JoinPathExtraData,
) {
    // SAFETY: the arguments are the planner's. A hook is called through a pointer, so the guard that turns PostgreSQL's
    // errors into unwinding has to be put around it here.
    unsafe {
        if let Some(previous) = PREVIOUS.get().copied().flatten() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                previous(root, joinrel, outerrel, innerrel, jointype, extra)
            });
        }
        let hook = compat::JoinHook {
            root,
            joinrel,
            outerrel,
            innerrel,
            jointype,
            extra,
        };
        memoize::mark_join(&hook);
        semijoins::read_right_side_first(&hook);
        order::wait_on(&hook);
        sorted::sort_before(&hook);
        for path in nodes::pointers::<pg_sys::Path>((*joinrel).pathlist) {
            if is_a(path.cast(), pg_sys::NodeTag::T_NestPath) {
                read_ahead(root, path.cast());
            }
        }
    }
}

/// Gives a nested loop the node, if its inner side is a scan, or begins with one, that takes parameters from its outer side.
unsafe fn read_ahead(root: *mut pg_sys::PlannerInfo, join: *mut pg_sys::JoinPath) {
    // SAFETY: the paths are the planner's; a ForeignPath's relation has its wrapper's callbacks.
    unsafe {
        let join = &mut *join;
        let outer = join.outerjoinpath;
        let joined = clauses_of_outer_side(join);
        let (inner, between) = first_scan(join.innerjoinpath);
        let Some(inner) = inner.filter(|inner| {
            can_read_ahead(root, *inner, outer)
                && !(between.iter())
                    .any(|between| is_gated((*between.cast::<pg_sys::JoinPath>()).joinrestrictinfo))
        }) else {
            match joined.is_empty() || (*join.innerjoinpath).param_info.is_null() {
                true => replay::keep_inner_side(root, join),
                false => join.innerjoinpath = checking(join.innerjoinpath, outer, &joined),
            }
            return;
        };
        let scan = copy_of(inner);
        let joined = checked_by(scan, outer, &joined);
        (*scan).fdw_private = plan::path_private(Mode::Prefetch(UNNUMBERED), joined);
        join.innerjoinpath = in_place(scan, between);
        put_above_outer(root, join, scan);
    }
}

/// Whether the invocations of a scan can be made ahead, with rows of `outer`.
unsafe fn can_read_ahead(
    root: *mut pg_sys::PlannerInfo,
    scan: *mut pg_sys::ForeignPath,
    outer: *mut pg_sys::Path,
) -> bool {
    // SAFETY: the planner's structures.
    unsafe {
        let relids = of_parents_too((*outer).parent);
        let Some(param_info) = (*scan).path.param_info.as_ref() else {
            return false;
        };
        paths::is_ours((*scan).path.parent)
            && (*scan).fdw_private.is_null()
            && pg_sys::bms_overlap(param_info.ppi_req_outer, relids)
            // A join of partitions has its paths translated, but not what this keeps of a scan.
            && (!is_of_partitions(outer) || pg_sys::bms_is_subset(param_info.ppi_req_outer, relids))
            && takes_values(root, scan, relids)
    }
}

/// A path whose scans check clauses about parameters before they invoke. Other joins may share it, so it is copied.
unsafe fn checking(
    path: *mut pg_sys::Path,
    outer: *mut pg_sys::Path,
    clauses: &[*mut pg_sys::RestrictInfo],
) -> *mut pg_sys::Path {
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        match (*path.cast::<pg_sys::Node>()).type_ {
            pg_sys::NodeTag::T_ForeignPath => {
                let scan = path.cast::<pg_sys::ForeignPath>();
                if !paths::is_ours((*path).parent)
                    || (*path).param_info.is_null()
                    || !(*scan).fdw_private.is_null()
                {
                    return path;
                }
                let copy = copy_of(scan);
                (*copy).fdw_private =
                    plan::path_private(Mode::Plain, checked_by(scan, outer, clauses));
                copy.cast()
            }
            pg_sys::NodeTag::T_NestPath => {
                let mut copy = PgBox::<pg_sys::NestPath>::alloc_node(pg_sys::NodeTag::T_NestPath);
                *copy = *path.cast::<pg_sys::NestPath>();
                let join = copy.into_pg().cast::<pg_sys::JoinPath>();
                (*join).outerjoinpath = checking((*join).outerjoinpath, outer, clauses);
                join.cast()
            }
            pg_sys::NodeTag::T_AppendPath => {
                let mut copy =
                    PgBox::<pg_sys::AppendPath>::alloc_node(pg_sys::NodeTag::T_AppendPath);
                *copy = *path.cast::<pg_sys::AppendPath>();
                let parts: Vec<_> = nodes::pointers::<pg_sys::Path>(copy.subpaths)
                    .map(|part| checking(part, outer, clauses))
                    .collect();
                copy.subpaths = nodes::list(&parts);
                copy.into_pg().cast()
            }
            _ => path,
        }
    }
}

unsafe fn copy_of(scan: *mut pg_sys::ForeignPath) -> *mut pg_sys::ForeignPath {
    // SAFETY: the path is the planner's.
    unsafe {
        let mut copy = PgBox::<pg_sys::ForeignPath>::alloc_node(pg_sys::NodeTag::T_ForeignPath);
        *copy = *scan;
        copy.into_pg()
    }
}

/// The scan in the place of the one that some joins begin with. Other joins may share these, so they are copied.
unsafe fn in_place(
    scan: *mut pg_sys::ForeignPath,
    between: Vec<*mut pg_sys::NestPath>,
) -> *mut pg_sys::Path {
    let mut below: *mut pg_sys::Path = scan.cast();
    for between in between.into_iter().rev() {
        // SAFETY: the path is the planner's.
        unsafe {
            let mut copy = PgBox::<pg_sys::NestPath>::alloc_node(pg_sys::NodeTag::T_NestPath);
            *copy = *between;
            let copy = copy.into_pg();
            (*copy.cast::<pg_sys::JoinPath>()).outerjoinpath = below;
            below = copy.cast();
        }
    }
    below
}

/// The clauses of a join that are about its outer side alone, and perhaps parameters from further up: some belong to a join further up, which
/// gives this one its rows as parameters. Where one is not true there is no match, so nothing is invoked.
unsafe fn clauses_of_outer_side(join: &pg_sys::JoinPath) -> Vec<*mut pg_sys::RestrictInfo> {
    // SAFETY: the planner's structures.
    unsafe {
        let inner = of_parents_too((*join.innerjoinpath).parent);
        // A join of partitions has its paths translated, but not what this keeps of a scan.
        if is_of_partitions(join.outerjoinpath) || is_of_partitions(join.innerjoinpath) {
            return Vec::new();
        }
        infos(join.joinrestrictinfo)
            .filter(|info| {
                !(**info).pseudoconstant
                    && !pg_sys::bms_overlap((**info).clause_relids, inner)
                    && !pg_sys::contain_volatile_functions((**info).clause.cast())
                    // A subquery would run here and in the join once more, and may itself invoke.
                    && !pg_sys::contain_subplans((**info).clause.cast())
            })
            .collect()
    }
}

/// Of clauses, those that a scan can check: about the outer side, and what else it takes parameters from.
unsafe fn checked_by(
    scan: *mut pg_sys::ForeignPath,
    outer: *mut pg_sys::Path,
    clauses: &[*mut pg_sys::RestrictInfo],
) -> *mut pg_sys::List {
    // SAFETY: the planner's structures; the scan has parameters.
    unsafe {
        let known = pg_sys::bms_union(
            (*(*outer).parent).relids,
            (*(*scan).path.param_info).ppi_req_outer,
        );
        let clauses: Vec<_> = (clauses.iter())
            .filter(|info| pg_sys::bms_is_subset((***info).clause_relids, known))
            .map(|info| (**info).clause)
            .collect();
        nodes::list(&clauses)
    }
}

unsafe fn is_of_partitions(path: *mut pg_sys::Path) -> bool {
    use pg_sys::RelOptKind::{RELOPT_OTHER_JOINREL, RELOPT_OTHER_MEMBER_REL};
    // SAFETY: a path has a relation.
    let kind = unsafe { (*(*path).parent).reloptkind };
    matches!(kind, RELOPT_OTHER_MEMBER_REL | RELOPT_OTHER_JOINREL)
}

/// Puts the node above the outer side of a join, for a scan on its inner side.
unsafe fn put_above_outer(
    root: *mut pg_sys::PlannerInfo,
    join: &mut pg_sys::JoinPath,
    scan: *mut pg_sys::ForeignPath,
) {
    // SAFETY: the paths are the planner's; the scan has parameters.
    unsafe {
        let outer = join.outerjoinpath;
        let baserel = (*scan).path.parent;
        // A semijoin wants only the first match of a row.
        let first_only = matches!(
            join.jointype,
            pg_sys::JoinType::JOIN_SEMI | pg_sys::JoinType::JOIN_ANTI
        );
        let keeps_rows = matches!(
            join.jointype,
            pg_sys::JoinType::JOIN_LEFT | pg_sys::JoinType::JOIN_ANTI
        );
        let table = (*(*baserel).fdw_private.cast::<Relation>()).table;
        let mut ahead = PgBox::<pg_sys::CustomPath>::alloc_node(pg_sys::NodeTag::T_CustomPath);
        ahead.path = *outer;
        ahead.path.type_ = pg_sys::NodeTag::T_CustomPath;
        ahead.path.pathtype = pg_sys::NodeTag::T_CustomScan;
        ahead.path.parallel_safe = false;
        ahead.path.parallel_aware = false;
        ahead.path.param_info = parameters((*(*scan).path.param_info).ppi_req_outer, outer);
        ahead.custom_paths = nodes::list(&[outer]);
        ahead.custom_private = nodes::list(&[
            scan.cast::<pg_sys::Node>(),
            nodes::integer_list([
                UNNUMBERED,
                table.to_u32() as i32,
                first_only.into(),
                keeps_rows.into(),
                may_repeat(root, outer, scan).into(),
            ])
            .cast(),
        ]);
        ahead.methods = &PATH_METHODS.0;
        let ahead: *mut pg_sys::Path = ahead.into_pg().cast();
        join.outerjoinpath = match has_row_identities(ahead) {
            true => by_position(ahead),
            false => ahead,
        };
    }
}

/// A relation's members. Since 17 what is joined to a partition is parameterised by the partitioned table until plans are made.
///
/// # Safety
/// `rel` is the planner's.
pub unsafe fn of_parents_too(rel: *mut pg_sys::RelOptInfo) -> pg_sys::Relids {
    // SAFETY: the relation is the planner's, and the union a new set.
    unsafe { pg_sys::bms_union((*rel).relids, (*rel).top_parent_relids) }
}

/// Whether a path gives columns by which an UPDATE of a table with partitions finds its rows. They have a name of the
/// planner's only, as each partition has its own.
unsafe fn has_row_identities(path: *mut pg_sys::Path) -> bool {
    // SAFETY: a path has a target.
    unsafe { nodes::pointers((*(*path).pathtarget).exprs).any(|column| is_row_identity(column)) }
}

/// Whether a column is one of these.
///
/// # Safety
/// `column` is an expression of the planner's.
pub unsafe fn is_row_identity(column: *mut pg_sys::Node) -> bool {
    // SAFETY: the cast follows the node's own tag.
    unsafe {
        is_a(column, pg_sys::NodeTag::T_Var)
            && (*column.cast::<pg_sys::Var>()).varno == pg_sys::ROWID_VAR
    }
}

/// An Append of one path. It matches columns by their place, where a custom scan's have to have names that may stay in the
/// plan; then PostgreSQL removes it, and the join has the path's columns.
unsafe fn by_position(path: *mut pg_sys::Path) -> *mut pg_sys::Path {
    // SAFETY: the path is the planner's.
    unsafe {
        let mut append = PgBox::<pg_sys::AppendPath>::alloc_node(pg_sys::NodeTag::T_AppendPath);
        append.path = *path;
        append.path.type_ = pg_sys::NodeTag::T_AppendPath;
        append.path.pathtype = pg_sys::NodeTag::T_Append;
        append.path.pathkeys = std::ptr::null_mut();
        append.subpaths = nodes::list(&[path]);
        append.first_partial_path = 1;
        append.limit_tuples = -1.0;
        append.into_pg().cast()
    }
}

/// Whether a scan's values come from a relation, and nothing is checked before it is run.
unsafe fn takes_values(
    root: *mut pg_sys::PlannerInfo,
    scan: *mut pg_sys::ForeignPath,
    relids: pg_sys::Relids,
) -> bool {
    // SAFETY: the planner's structures; the scan has parameters.
    unsafe {
        let baserel = (*scan).path.parent;
        let (own, joined) = (
            (*baserel).baserestrictinfo,
            (*(*scan).path.param_info).ppi_clauses,
        );
        if is_gated(own) || is_gated(joined) {
            return false;
        }
        (bound(root, scan).bindings.iter()).any(|binding| {
            pg_sys::bms_overlap(compat::pull_varnos(root, binding.expression), relids)
        })
    }
}

/// The clauses of a scan that takes parameters, sorted.
unsafe fn bound(root: *mut pg_sys::PlannerInfo, scan: *mut pg_sys::ForeignPath) -> Bound {
    // SAFETY: the planner's structures; the scan has parameters.
    unsafe {
        let baserel = (*scan).path.parent;
        let relation = &*(*baserel).fdw_private.cast::<Relation>();
        let joined = (*(*scan).path.param_info).ppi_clauses;
        let clauses = infos((*baserel).baserestrictinfo).chain(infos(joined));
        Bound::sort(root, (*baserel).relid, relation, clauses)
    }
}

/// Whether rows of a path may have the same row that gives a scan its values.
unsafe fn may_repeat(
    root: *mut pg_sys::PlannerInfo,
    outer: *mut pg_sys::Path,
    scan: *mut pg_sys::ForeignPath,
) -> bool {
    // SAFETY: the planner's structures.
    unsafe {
        let bound = bound(root, scan);
        let giving = sources::giving(root, (*scan).path.parent, &bound.bindings);
        !pg_sys::bms_is_subset(giving, of_parents_too((*outer).parent)) || repeats(outer, giving)
    }
}

unsafe fn repeats(path: *mut pg_sys::Path, giving: pg_sys::Relids) -> bool {
    use pg_sys::{JoinType::*, NodeTag::*, RelOptKind::*};
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        if matches!(
            (*(*path).parent).reloptkind,
            RELOPT_BASEREL | RELOPT_OTHER_MEMBER_REL
        ) {
            return false;
        }
        match (*path.cast::<pg_sys::Node>()).type_ {
            T_NestPath | T_MergePath | T_HashPath => {
                let join = &*path.cast::<pg_sys::JoinPath>();
                let gives = |path: *mut pg_sys::Path| {
                    pg_sys::bms_overlap(giving, of_parents_too((*path).parent))
                };
                let one_at_most =
                    join.inner_unique || matches!(join.jointype, JOIN_SEMI | JOIN_ANTI);
                match (gives(join.outerjoinpath), gives(join.innerjoinpath)) {
                    (true, true) => {
                        repeats(join.outerjoinpath, giving) || repeats(join.innerjoinpath, giving)
                    }
                    (true, false) => !one_at_most || repeats(join.outerjoinpath, giving),
                    _ => true,
                }
            }
            T_CustomPath => nodes::pointers((*path.cast::<pg_sys::CustomPath>()).custom_paths)
                .any(|below| repeats(below, giving)),
            _ => true,
        }
    }
}

/// Whether a clause without variables is among others. A Result node checks it, once for each rescan.
unsafe fn is_gated(clauses: *mut pg_sys::List) -> bool {
    // SAFETY: the planner's clause lists hold RestrictInfos.
    unsafe { infos(clauses).any(|info| (*info).pseudoconstant) }
}

/// The scan that a path runs before anything else and once, if it is one, and the nested loops on the way to it.
unsafe fn first_scan(
    path: *mut pg_sys::Path,
) -> (Option<*mut pg_sys::ForeignPath>, Vec<*mut pg_sys::NestPath>) {
    let mut path = path;
    let mut between: Vec<*mut pg_sys::NestPath> = Vec::new();
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        while is_a(path.cast(), pg_sys::NodeTag::T_NestPath) {
            between.push(path.cast());
            path = (*path.cast::<pg_sys::JoinPath>()).outerjoinpath;
        }
        let found = is_a(path.cast(), pg_sys::NodeTag::T_ForeignPath);
        (found.then_some(path.cast()), between)
    }
}

/// What the node takes from joins further up: all that the outer path does, and of a scan's parameters those that the
/// outer path does not give. Null for nothing.
unsafe fn parameters(
    required: pg_sys::Relids,
    outer: *mut pg_sys::Path,
) -> *mut pg_sys::ParamPathInfo {
    // SAFETY: the planner's structures; sets are copied before they are changed.
    unsafe {
        let of_outer = (*outer).param_info;
        let rest = pg_sys::bms_difference(required, of_parents_too((*outer).parent));
        if of_outer.is_null() && pg_sys::bms_next_member(rest, -1) < 0 {
            return of_outer;
        }
        let mut info = PgBox::<pg_sys::ParamPathInfo>::alloc_node(pg_sys::NodeTag::T_ParamPathInfo);
        if let Some(of_outer) = of_outer.as_ref() {
            *info = *of_outer;
            info.ppi_clauses = std::ptr::null_mut();
        }
        info.ppi_req_outer = pg_sys::bms_union(info.ppi_req_outer, rest);
        info.ppi_rows = (*outer).rows;
        compat::keep_checked_clauses(&mut info, outer);
        info.into_pg()
    }
}
