//! Puts a node of its own kind above the rows of which a query makes calls of `aws_lambda.invoke` in its select list, in SET or in RETURNING.
//!
//! The node reads rows ahead like the one of a join, with the call's arguments as bindings. It takes the outcomes itself, and evaluates the list
//! with them. It is in the place where PostgreSQL evaluates the list: above grouping and sorting, below LIMIT.

use super::methods::{INVOKE, Methods};
use super::node::INVOKE_METHODS;
use crate::error::{Error, OrReport};
use crate::plan;
use crate::plan::calls::{self, Called};
use crate::plan::target_calls::{self, TargetCall, TargetCalls};
use crate::postgres::custom_scan::make_target;
use crate::postgres::expressions::{change, make_null};
use crate::postgres::list::{IntList, List};
use crate::postgres::paths::Path;
use crate::postgres::planner::{Rel, Root};
use crate::postgres::plans::Plan;
use crate::postgres::refs::{FromRaw, Node, Ref, as_ptr};
use crate::postgres::upper_paths::Target;
use crate::postgres::{catalog, range_table};
use crate::settings;
use pgrx::{pg_guard, pg_sys};
use std::ffi::c_void;
use std::sync::OnceLock;

static PATH_METHODS: Methods<pg_sys::CustomPathMethods> = Methods(pg_sys::CustomPathMethods {
    CustomName: INVOKE.as_ptr(),
    PlanCustomPath: Some(plan_custom_path),
    ReparameterizeCustomPathByChild: None,
});

static PREVIOUS: OnceLock<pg_sys::create_upper_paths_hook_type> = OnceLock::new();

/// Sets the hook.
pub fn install() {
    // SAFETY: hooks are set while the library is loaded, in the backend's thread.
    unsafe {
        PREVIOUS.get_or_init(|| pg_sys::create_upper_paths_hook);
        pg_sys::create_upper_paths_hook = Some(create_upper_paths);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn create_upper_paths(
    root: *mut pg_sys::PlannerInfo,
    stage: pg_sys::UpperRelationKind::Type,
    input: *mut pg_sys::RelOptInfo,
    output: *mut pg_sys::RelOptInfo,
    extra: *mut c_void,
) {
    // SAFETY: the planner passes its structures, which live until planning ends. A hook is called through a pointer, so the guard that turns
    // PostgreSQL's errors into unwinding has to be put around it here.
    let (root, output): (Root, Rel) = unsafe {
        if let Some(previous) = PREVIOUS.get().copied().flatten() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous(root, stage, input, output, extra));
        }
        (Ref::new(root), Ref::new(output))
    };
    let is_last = stage == pg_sys::UpperRelationKind::UPPERREL_FINAL;
    if is_last && calls::may_be_there() && settings::invoke_concurrency() > 1 {
        make_calls_ahead(root, output);
    }
}

/// Has the paths of a query make the calls of its targets ahead.
fn make_calls_ahead(root: Root, rel: Rel) {
    // Set-returning functions are evaluated in a node of their own. Without tables there is one row.
    let is_left_out = root.query().is_none_or(|query| {
        query.hasTargetSRFs || (query.join_tree()).is_none_or(|tree| tree.members().is_empty())
    });
    if !is_left_out {
        rel.set_paths(List::of(rel.paths().iter().map(|path| changed(root, path))));
    }
}

/// The path, with calls made ahead where it or a path below evaluates them.
fn changed<'p>(root: Root<'p>, path: Path<'p>) -> Path<'p> {
    if is_invoking(path) {
        return path;
    }
    if path.change_child(&mut |child| changed(root, child)) {
        let modify = path.cast::<pg_sys::ModifyTablePath>();
        return modify
            .and_then(|modify| returning(root, modify))
            .unwrap_or(path);
    }
    let made = || {
        let (target, rel) = (path.target()?, path.relation()?);
        let calls = TargetCalls::of(root, target)?;
        if passes_calls_on(root, path) {
            return None;
        }
        let columns = calls.columns.iter();
        let below = columns.map(|column| (column.expression, column.sort_group));
        let below = root.project(rel, path, root.make_target(below));
        Some(make_path(root, [path, below], target, &calls, false))
    };
    made().unwrap_or(path)
}

/// Whether a path gives what one below has evaluated, as one for DISTINCT does.
fn passes_calls_on<'p>(root: Root<'p>, path: Path<'p>) -> bool {
    let is_subquery = path.cast::<pg_sys::SubqueryScanPath>().is_some();
    !is_subquery
        && (path.children().into_iter()).any(|child| {
            let target = child.target();
            target.is_some_and(|target| TargetCalls::of(root, target).is_some())
        })
}

/// A path that makes the calls of RETURNING, above the one that writes. That one returns what the calls are made of. A WITH clause stays as it is:
/// PostgreSQL writes the rows that nobody reads without the nodes above.
fn returning<'p>(root: Root<'p>, modify: Ref<'p, pg_sys::ModifyTablePath>) -> Option<Path<'p>> {
    let query = root
        .query()
        .filter(|_| modify.canSetTag && root.query_level == 1)?;
    let calls = TargetCalls::of_returning(root, query.returning())?;
    let mut lists = Vec::new();
    for list in modify.returning().iter() {
        let of_table = TargetCalls::of_returning(root, list.as_list().as_targets())?;
        if of_table.columns.len() != calls.columns.len() || calls.columns.is_empty() {
            return None;
        }
        let columns = (1..).zip(of_table.columns);
        let columns = columns.map(|(number, column)| make_target(column.expression, number));
        lists.push(List::of(columns).as_node()?);
    }
    let targets = query.returning().iter();
    let target = root.make_target(targets.filter_map(|entry| Some((entry.expression()?, 0))));
    modify.set_returning(List::of(lists));
    let path = modify.as_path();
    Some(make_path(root, [path, path], target, &calls, true))
}

/// Whether a path is of this kind of node.
fn is_invoking(path: Path) -> bool {
    let custom = path.cast::<pg_sys::CustomPath>();
    custom.is_some_and(|custom| std::ptr::eq(custom.methods, &PATH_METHODS.0))
}

/// A node for each call: the first one above `below`, which gives the columns, and the last one in the place of `path`.
fn make_path<'p>(
    root: Root<'p>,
    [path, below]: [Path<'p>; 2],
    target: Target<'p>,
    parts: &TargetCalls<'p>,
    is_returning: bool,
) -> Path<'p> {
    let mut node = below;
    // For a custom path PostgreSQL would check the relation's clauses without columns once more, in a node above that evaluates the calls again.
    let parent = path.relation().map(Rel::without_clauses);
    let columns = parts.columns.iter().map(|column| column.reference);
    let mut columns: Vec<Node> = columns.collect();
    for (number, call) in (1..).zip(&parts.calls) {
        columns.push(call.reference);
        let is_last = number == parts.calls.len();
        let given = match is_last {
            true => target,
            false => root.make_target(columns.iter().map(|column| (*column, 0))),
        };
        let targets = is_last.then(|| List::of(parts.targets.iter().copied()));
        // All of the path but its kind, its columns and the lists.
        let mut made = pg_sys::CustomPath {
            path: *path,
            ..Default::default()
        };
        made.path.type_ = pg_sys::NodeTag::T_CustomPath;
        made.path.pathtype = pg_sys::NodeTag::T_CustomScan;
        made.path.pathtarget = given.as_ptr();
        made.path.parent = as_ptr(parent);
        made.path.param_info = std::ptr::null_mut();
        made.path.parallel_safe = false;
        made.path.parallel_aware = false;
        made.path.parallel_workers = 0;
        made.custom_paths = List::of([node]).as_ptr();
        made.custom_private = private(&columns, targets, call, is_returning).as_ptr();
        made.methods = &PATH_METHODS.0;
        node = Ref::allocate(made).as_path();
    }
    node
}

/// What a path carries to its plan.
fn private<'p>(
    columns: &[Node<'p>],
    targets: Option<List<'p, pg_sys::Node>>,
    call: &TargetCall<'p>,
    is_returning: bool,
) -> List<'p, pg_sys::Node> {
    let numbers = [call.callee.table, call.callee.role];
    let numbers = numbers.map(|oid| oid.to_u32() as i32).into_iter();
    let numbers = IntList::of(numbers.chain([is_returning.into()]));
    let (bindings, expressions) = plan::encode(&call.call.bindings);
    List::of_optional([
        List::of(columns.iter().copied()).as_node(),
        targets.and_then(List::as_node),
        numbers.as_node(),
        bindings.as_node(),
        expressions.as_node(),
        call.call.called.encode().as_node(),
    ])
}

/// Callback: makes the node's plan.
///
/// # Safety
/// Called by the planner.
#[pg_guard]
pub unsafe extern "C-unwind" fn plan_custom_path(
    root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    best_path: *mut pg_sys::CustomPath,
    targets: *mut pg_sys::List,
    _clauses: *mut pg_sys::List,
    custom_plans: *mut pg_sys::List,
) -> *mut pg_sys::Plan {
    // SAFETY: the planner passes its structures, which live until planning ends. The path is one that this module has made.
    let (root, path, targets, plans) = unsafe {
        let targets: List<pg_sys::TargetEntry> = FromRaw::from_raw(targets);
        let plans: List<pg_sys::Plan> = FromRaw::from_raw(custom_plans);
        (Ref::new(root), Ref::new(best_path), targets, plans)
    };
    let plan = plan_node(root, path, targets, plans);
    let plan = plan.ok_or(Error::Unexpected("path of calls is incomplete"));
    plan.or_report().as_ptr()
}

/// The plan of a path of the node. `targets` are the columns that it gives.
fn plan_node<'p>(
    root: Root<'p>,
    path: Ref<'p, pg_sys::CustomPath>,
    targets: List<'p, pg_sys::TargetEntry>,
    plans: List<'p, pg_sys::Plan>,
) -> Option<Plan<'p>> {
    let list = |index| path.private().get(index).map(Node::as_list);
    let numbers = path.private().get(2)?.as_integers();
    let [table, role, is_returning] = numbers.iter().collect::<Vec<_>>()[..] else {
        return None;
    };
    let called: Vec<i32> = path.private().get(5)?.as_integers().iter().collect();
    let called = Called::decode(&called)?;
    let columns = list(0)?;
    // What stands for columns and for calls takes the place of these.
    let named: Vec<Option<Node>> = match list(1) {
        Some(named) => named.iter().map(Some).collect(),
        None => vec![None; targets.len()],
    };
    if targets.len() != named.len() {
        return None;
    }
    let given = targets.iter().zip(named).map(|(entry, named)| {
        let entry = entry.duplicate();
        if let Some(named) = named {
            entry.set_expression(named.copy());
        }
        entry
    });
    let scanned = (1..).zip(columns.iter());
    let scanned = scanned.map(|(number, column)| make_target(scanned_column(column), number));
    let mut plan = pg_sys::CustomScan::default();
    plan.scan.plan.type_ = pg_sys::NodeTag::T_CustomScan;
    plan.methods = &INVOKE_METHODS.0;
    plan.scan.plan.targetlist = List::of(given).as_ptr();
    plan.scan.plan.lefttree = plans.get(0)?.as_ptr();
    plan.custom_scan_tlist = List::of(scanned).as_ptr();
    plan.custom_exprs = List::of(list(4)?.iter().map(Node::copy)).as_ptr();
    let private = [
        IntList::of([-1, table, 0, 1]).as_node(),
        path.private().get(3),
        None,
        path.private().get(5),
        IntList::of([role, columns.len() as i32]).as_node(),
    ];
    plan.custom_private = List::of_optional(private).as_ptr();
    if let Some(query) = root.query().filter(|_| is_returning == 1) {
        // The planner takes the columns' names from here.
        root.set_targets(query.returning());
    }
    let oid = |number: i32| pg_sys::Oid::from(number as u32);
    range_table::add_table(root, oid(table), oid(role));
    catalog::depend_on_function(root, called.function);
    Some(Ref::allocate(plan).as_plan())
}

/// A column of the rows that the node scans. What means something in the plan below alone is no more than its type.
fn scanned_column(column: Node) -> Node {
    change(column.copy(), &mut |node| {
        target_calls::is_of_below(node).then(|| make_null(node.type_oid()))
    })
}
