//! Puts a node that prefetches below nested loops.
//!
//! A nested loop that PostgreSQL has found gets the node at no cost, so the same plan wins as without it. Among equals
//! one wins that prefetches all rows at once.

use super::methods::{Methods, NAME};
use super::plans::plan_custom_path;
use crate::plan::clause::Kind;
use crate::plan::estimate::INVOCATION_COST;
use crate::plan::relation::{is_call, is_ours};
use crate::plan::{
    self, ForeignRel, Mode, join_order, materialize, memoize, semijoins, sort_outer, sources,
};
use crate::postgres::compat;
use crate::postgres::list::{IntList, List};
use crate::postgres::paths::{JoinHook, Path};
use crate::postgres::planner::{Clause, Root};
use crate::postgres::refs::{Node, Ref, as_ptr};
use crate::postgres::relids::Relids;
use pgrx::{pg_guard, pg_sys};
use std::sync::OnceLock;

static PATH_METHODS: Methods<pg_sys::CustomPathMethods> = Methods(pg_sys::CustomPathMethods {
    CustomName: NAME.as_ptr(),
    PlanCustomPath: Some(plan_custom_path),
    ReparameterizeCustomPathByChild: None,
});

static PREVIOUS: OnceLock<pg_sys::set_join_pathlist_hook_type> = OnceLock::new();

/// What it costs to prefetch anew for each row of another join. It is little beside an invocation, and more than what the planner takes for the same.
const BEGINNING_COST: f64 = INVOCATION_COST / 20.0;

/// The parameter's number in a path. Only a plan gets a parameter, and one of many paths becomes a plan.
const UNNUMBERED: i32 = -1;

type Join<'p> = Ref<'p, pg_sys::JoinPath>;
type ForeignPath<'p> = Ref<'p, pg_sys::ForeignPath>;

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
    // SAFETY: the planner passes its structures, which live until planning ends. A hook is called through a pointer, so the guard that turns
    // PostgreSQL's errors into unwinding has to be put around it here.
    let hook = unsafe {
        if let Some(previous) = PREVIOUS.get().copied().flatten() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| {
                previous(root, joinrel, outerrel, innerrel, jointype, extra)
            });
        }
        JoinHook {
            root: Ref::new(root),
            joinrel: Ref::new(joinrel),
            outerrel: Ref::new(outerrel),
            innerrel: Ref::new(innerrel),
            jointype,
            extra: Ref::new(extra),
        }
    };
    memoize::mark_join(&hook);
    semijoins::read_right_side_first(&hook);
    join_order::join_waiting_scans(&hook);
    sort_outer::sort_outer_sides(&hook);
    for path in hook.joinrel.paths().iter() {
        if let Some(join) = path.as_nested_loop() {
            prefetch(hook.root, join);
        }
    }
}

/// Gives a nested loop the node, if its inner side is or begins with a scan whose values come from the outer side.
fn prefetch(root: Root, join: Join) {
    let (Some(outer), Some(inner)) = (join.outer(), join.inner()) else {
        return;
    };
    let joined = clauses_of_outer_side(join, outer, inner);
    let (scan, between) = first_scan(inner);
    let is_gated = between.iter().any(|join| is_gated(join.clauses()));
    match scan.filter(|scan| !is_gated && can_prefetch(root, *scan, outer)) {
        Some(scan) => {
            if between.is_empty() && gives_one_row(root, scan) {
                join.set_inner_unique(true);
            }
            let joined = checked_by(scan, outer, &joined);
            let scan = scan.with_private(plan::path_private(Mode::Prefetch(UNNUMBERED), joined));
            join.set_inner(replace_first(scan, between));
            put_above_outer(root, join, outer, scan);
        }
        None if joined.is_empty() || inner.parameters().is_none() => {
            materialize::keep_inner_side(root, join);
        }
        None => join.set_inner(checking(inner, outer, &joined)),
    }
}

/// Whether rows of `outer` can be prefetched for a scan.
fn can_prefetch(root: Root, scan: ForeignPath, outer: Path) -> bool {
    let relids = relids(outer);
    let required = scan.as_path().required_outer();
    scan.as_path().relation().is_some_and(is_ours)
        && scan.private().is_empty()
        && required.overlaps(relids)
        // A join of partitions has its paths translated, but not what this keeps of a scan.
        && (!is_of_partitions(outer) || required.is_subset(relids))
        && takes_values(root, scan, relids)
}

/// A copy of a path whose scans check clauses about parameters before they invoke. Other joins may share the path.
fn checking<'p>(path: Path<'p>, outer: Path<'p>, clauses: &[Clause<'p>]) -> Path<'p> {
    if let Some(scan) = path.cast::<pg_sys::ForeignPath>() {
        let can_check = path.relation().is_some_and(is_ours)
            && scan.parameters().is_some()
            && scan.private().is_empty();
        if !can_check {
            return path;
        }
        let clauses = checked_by(scan, outer, clauses);
        scan.with_private(plan::path_private(Mode::Plain, clauses))
            .as_path()
    } else if let Some(join) = path.as_nested_loop() {
        (join.outer())
            .and_then(|first| join.nested_loop_with_outer(checking(first, outer, clauses)))
            .unwrap_or(path)
    } else if let Some(append) = path.cast::<pg_sys::AppendPath>() {
        let parts = append.parts().iter();
        append.with_parts(List::of(parts.map(|part| checking(part, outer, clauses))))
    } else {
        path
    }
}

/// Copies of joins that begin with another scan. Other joins may share these.
fn replace_first<'p>(scan: ForeignPath<'p>, between: Vec<Join<'p>>) -> Path<'p> {
    (between.into_iter().rev()).fold(scan.as_path(), |below, join| {
        join.nested_loop_with_outer(below).unwrap_or(below)
    })
}

/// The clauses of a join about its outer side alone, and perhaps parameters from further up. Some belong to a join further up, which gives
/// this one its rows as parameters. Where one is not true there is no match, so nothing is invoked.
fn clauses_of_outer_side<'p>(join: Join<'p>, outer: Path<'p>, inner: Path<'p>) -> Vec<Clause<'p>> {
    // A join of partitions has its paths translated, but not what this keeps of a scan.
    if is_of_partitions(outer) || is_of_partitions(inner) {
        return Vec::new();
    }
    let inner = relids(inner);
    (join.clauses().iter())
        .filter(|clause| {
            !clause.pseudoconstant
                && !clause.relids().overlaps(inner)
                && !clause.is_volatile()
                // A subquery would run here and in the join once more, and may itself invoke.
                && !clause.has_subplans()
        })
        .collect()
}

/// The clauses that a scan can check: those about the outer side and about the other relations that it takes parameters from.
fn checked_by<'p>(
    scan: ForeignPath<'p>,
    outer: Path<'p>,
    clauses: &[Clause<'p>],
) -> List<'p, pg_sys::Node> {
    // PostgreSQL calls a function before it checks a join's clauses.
    if scan.as_path().relation().is_some_and(is_call) {
        return List::EMPTY;
    }
    let known = outer.relids().union(scan.as_path().required_outer());
    let checked = (clauses.iter())
        .filter(|clause| clause.relids().is_subset(known))
        .filter_map(|clause| clause.expression());
    List::of(checked)
}

fn is_of_partitions(path: Path) -> bool {
    path.relation().is_some_and(|rel| rel.is_part())
}

/// The relations of a path. Since 17 a path that is joined to a partition is parameterised by the partitioned table until plans are made.
fn relids(path: Path) -> Relids {
    (path.relation()).map_or(Relids::EMPTY, |rel| rel.relids_and_parents())
}

/// Puts the node above the outer side of a join, for a scan on its inner side.
fn put_above_outer<'p>(root: Root<'p>, join: Join<'p>, outer: Path<'p>, scan: ForeignPath<'p>) {
    use pg_sys::JoinType::{JOIN_ANTI, JOIN_LEFT, JOIN_SEMI};
    let rel = scan.as_path().relation();
    let Some(foreign) = rel.and_then(|rel| ForeignRel::of(root, rel)) else {
        return;
    };
    // A semijoin wants only the first match of a row.
    let first_only = matches!(join.jointype, JOIN_SEMI | JOIN_ANTI);
    let keeps_rows = matches!(join.jointype, JOIN_LEFT | JOIN_ANTI);
    let numbers = IntList::of([
        UNNUMBERED,
        foreign.relation.table.to_u32() as i32,
        first_only.into(),
        keeps_rows.into(),
        may_repeat(foreign, outer, scan).into(),
    ]);
    // All of the outer path but its kind, its parameters and the lists.
    let mut node = pg_sys::CustomPath {
        path: *outer,
        ..Default::default()
    };
    node.path.type_ = pg_sys::NodeTag::T_CustomPath;
    node.path.pathtype = pg_sys::NodeTag::T_CustomScan;
    node.path.parallel_safe = false;
    node.path.parallel_aware = false;
    node.path.param_info = as_ptr(parameters(scan.as_path().required_outer(), outer));
    node.custom_paths = List::of([outer]).as_ptr();
    node.custom_private = List::of_optional([Some(scan.as_node()), numbers.as_node()]).as_ptr();
    node.methods = &PATH_METHODS.0;
    let node = Ref::allocate(node).as_path();
    if !outer.required_outer().is_empty() {
        join.add_cost(BEGINNING_COST);
    }
    join.set_outer(match has_row_identities(node) {
        true => by_position(node),
        false => node,
    });
}

/// Whether a path gives row identities.
fn has_row_identities(path: Path) -> bool {
    let mut columns = (path.target().into_iter()).flat_map(|target| target.expressions().iter());
    columns.any(Node::is_row_identity)
}

/// An Append of one path. It matches columns by their position, where those of a custom scan need names that may stay in the plan.
/// PostgreSQL removes it later, and the join has the path's columns.
fn by_position(path: Path) -> Path {
    // All of the other path but its kind and its part.
    let mut append = pg_sys::AppendPath {
        path: *path,
        ..Default::default()
    };
    append.path.type_ = pg_sys::NodeTag::T_AppendPath;
    append.path.pathtype = pg_sys::NodeTag::T_Append;
    append.path.pathkeys = std::ptr::null_mut();
    append.subpaths = List::of([path]).as_ptr();
    append.first_partial_path = 1;
    append.limit_tuples = -1.0;
    Ref::allocate(append).as_path()
}

/// Whether a scan takes values from relations, and no clause without variables is checked before it runs.
fn takes_values(root: Root, scan: ForeignPath, relids: Relids) -> bool {
    let parameters = scan.parameters();
    let rel = scan.as_path().relation();
    let Some(foreign) = rel.and_then(|rel| ForeignRel::of(root, rel)) else {
        return false;
    };
    if is_gated(foreign.rel.restrictions())
        || parameters.is_some_and(|info| is_gated(info.clauses()))
    {
        return false;
    }
    let clauses = foreign.scan_clauses(parameters);
    let mut values = clauses
        .bindings
        .iter()
        .filter_map(|binding| binding.expression);
    values.any(|value| root.relids(value).overlaps(relids))
}

/// Whether a scan gives one row at most for each set of its parameters. The executor does not ask for a second one then.
fn gives_one_row(root: Root, scan: ForeignPath) -> bool {
    let rel = scan.as_path().relation();
    let Some(foreign) = rel.and_then(|rel| ForeignRel::of(root, rel)) else {
        return false;
    };
    let layout = &foreign.relation.layout;
    let clauses = foreign.scan_clauses(scan.parameters());
    layout.rows.is_none()
        && !layout.is_of_functions()
        && (clauses.bindings.iter()).all(|binding| binding.kind != Kind::Any)
}

/// Whether several rows of a path may have the same source row.
fn may_repeat<'p>(foreign: ForeignRel<'p>, outer: Path<'p>, scan: ForeignPath<'p>) -> bool {
    let clauses = foreign.scan_clauses(scan.parameters());
    let giving = sources::giving(foreign, &clauses.bindings);
    !giving.is_subset(relids(outer)) || repeats(outer, giving)
}

fn repeats(path: Path, giving: Relids) -> bool {
    use pg_sys::JoinType::{JOIN_ANTI, JOIN_SEMI};
    use pg_sys::RelOptKind::{RELOPT_BASEREL, RELOPT_OTHER_MEMBER_REL};
    let kind = path.relation().map(|rel| rel.reloptkind);
    if matches!(kind, Some(RELOPT_BASEREL | RELOPT_OTHER_MEMBER_REL)) {
        return false;
    }
    if let Some(node) = path.cast::<pg_sys::CustomPath>() {
        return node.parts().iter().any(|below| repeats(below, giving));
    }
    let Some(join) = path.as_join() else {
        return true;
    };
    let (Some(outer), Some(inner)) = (join.outer(), join.inner()) else {
        return true;
    };
    let one_at_most = join.inner_unique || matches!(join.jointype, JOIN_SEMI | JOIN_ANTI);
    match (
        giving.overlaps(relids(outer)),
        giving.overlaps(relids(inner)),
    ) {
        (true, true) => repeats(outer, giving) || repeats(inner, giving),
        (true, false) => !one_at_most || repeats(outer, giving),
        _ => true,
    }
}

/// Whether one of the clauses has no variables. A Result node checks such a clause, once for each rescan.
fn is_gated(clauses: List<pg_sys::RestrictInfo>) -> bool {
    clauses.iter().any(|clause| clause.pseudoconstant)
}

/// The scan that a path runs first and once, if it begins with a scan, and the nested loops above that scan.
fn first_scan(path: Path) -> (Option<ForeignPath>, Vec<Join>) {
    let mut path = path;
    let mut between = Vec::new();
    while let Some(join) = path.as_nested_loop() {
        between.push(join);
        let Some(outer) = join.outer() else { break };
        path = outer;
    }
    (path.cast(), between)
}

/// The parameters that the node takes from joins further up: all those of the outer path, and of a scan's those that the
/// outer path does not give. `None` for none.
fn parameters<'p>(required: Relids<'p>, outer: Path<'p>) -> Option<Ref<'p, pg_sys::ParamPathInfo>> {
    let of_outer = outer.parameters();
    let rest = required.difference(relids(outer));
    if of_outer.is_none() && rest.is_empty() {
        return None;
    }
    let mut info = of_outer.map_or_else(pg_sys::ParamPathInfo::default, |of_outer| *of_outer);
    info.type_ = pg_sys::NodeTag::T_ParamPathInfo;
    info.ppi_clauses = std::ptr::null_mut();
    info.ppi_req_outer = outer.required_outer().union(rest).as_ptr();
    info.ppi_rows = outer.rows;
    compat::keep_checked_clauses(&mut info, outer);
    Some(Ref::allocate(info))
}
