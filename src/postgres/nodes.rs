//! Walking PostgreSQL's lists, which have been arrays since version 13 (pg_list.h), and its plans (plannodes.h).

use pgrx::pg_sys;

/// The pointers of a list of nodes.
///
/// # Safety
/// `list` is null or a list of pointers to `T`, and is not changed while it is walked.
pub unsafe fn pointers<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: the elements of a list of pointers are pointers.
    unsafe { cells(list) }.map(|cell| unsafe { (*cell).ptr_value.cast() })
}

/// One pointer of a list of nodes, counted from 0.
///
/// # Safety
/// As for [`pointers`].
pub unsafe fn nth<T>(list: *mut pg_sys::List, place: usize) -> Option<*mut T> {
    // SAFETY: as above.
    unsafe { pointers(list) }.nth(place)
}

/// The numbers of a list of integers.
///
/// # Safety
/// `list` is null or a list of integers, and is not changed while it is walked.
pub unsafe fn integers(list: *mut pg_sys::List) -> impl Iterator<Item = i32> {
    // SAFETY: the elements of a list of integers are integers.
    unsafe { cells(list) }.map(|cell| unsafe { (*cell).int_value })
}

/// Changes one number of a list of integers.
///
/// # Safety
/// `list` is a list of integers with that place.
pub unsafe fn set_integer(list: *mut pg_sys::List, place: usize, number: i32) {
    // SAFETY: see above.
    unsafe { (*(*list).elements.add(place)).int_value = number };
}

/// A list of pointers.
pub fn list<T>(pointers: &[*mut T]) -> *mut pg_sys::List {
    pointers
        .iter()
        // SAFETY: null is the empty list.
        .fold(std::ptr::null_mut(), |list, pointer| unsafe {
            pg_sys::lappend(list, pointer.cast())
        })
}

/// A list of integers.
pub fn integer_list(numbers: impl IntoIterator<Item = i32>) -> *mut pg_sys::List {
    numbers
        .into_iter()
        // SAFETY: null is the empty list.
        .fold(std::ptr::null_mut(), |list, number| unsafe {
            pg_sys::lappend_int(list, number)
        })
}

/// A constant bigint.
///
/// # Safety
/// Called in the backend's thread.
pub unsafe fn bigint_const(number: i64) -> *mut pg_sys::Node {
    // SAFETY: 8 bytes that are passed by value wherever PostgreSQL runs with 64 bits.
    unsafe {
        pg_sys::makeConst(
            pg_sys::INT8OID,
            -1,
            pg_sys::InvalidOid,
            8,
            pg_sys::Datum::from(number),
            false,
            true,
        )
        .cast()
    }
}

/// The length of a list of either kind.
///
/// # Safety
/// `list` is null or a list.
pub unsafe fn length(list: *mut pg_sys::List) -> usize {
    // SAFETY: null is the empty list.
    unsafe { list.as_ref() }.map_or(0, |list| list.length as usize)
}

/// The plans directly below a plan, null ones among them.
///
/// # Safety
/// `plan` is a plan.
pub unsafe fn children(plan: *mut pg_sys::Plan) -> impl Iterator<Item = *mut pg_sys::Plan> {
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        let tag = (*plan.cast::<pg_sys::Node>()).type_;
        let listed = match tag {
            pg_sys::NodeTag::T_Append => (*plan.cast::<pg_sys::Append>()).appendplans,
            pg_sys::NodeTag::T_MergeAppend => (*plan.cast::<pg_sys::MergeAppend>()).mergeplans,
            _ => std::ptr::null_mut(),
        };
        let scanned = match tag {
            pg_sys::NodeTag::T_SubqueryScan => (*plan.cast::<pg_sys::SubqueryScan>()).subplan,
            _ => std::ptr::null_mut(),
        };
        [(*plan).lefttree, (*plan).righttree, scanned]
            .into_iter()
            .chain(pointers(listed))
    }
}

/// The expressions of a plan that may run a subplan, and lists of them.
unsafe fn expressions(plan: *mut pg_sys::Plan) -> Vec<*mut pg_sys::Node> {
    // SAFETY: the cast follows the node's own tag.
    unsafe {
        let mut all = own_expressions(plan);
        all.push((*plan).initPlan.cast());
        if pgrx::is_a(plan.cast(), pg_sys::NodeTag::T_ModifyTable) {
            let modify = &*plan.cast::<pg_sys::ModifyTable>();
            all.push(modify.onConflictSet.cast());
            all.push(modify.onConflictWhere);
            all.extend(
                super::compat::merge_actions(modify)
                    .into_iter()
                    .map(|list| list.cast()),
            );
        }
        all
    }
}

/// The same without subplans that are run for their parameters, and without what is done for some rows of those that are written.
///
/// # Safety
/// `plan` is a plan.
pub unsafe fn own_expressions(plan: *mut pg_sys::Plan) -> Vec<*mut pg_sys::Node> {
    use pg_sys::NodeTag::*;
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        let tag = (*plan.cast::<pg_sys::Node>()).type_;
        let mut lists = vec![(*plan).targetlist, (*plan).qual];
        match tag {
            T_NestLoop => lists.push((*plan.cast::<pg_sys::Join>()).joinqual),
            T_MergeJoin => {
                lists.push((*plan.cast::<pg_sys::Join>()).joinqual);
                lists.push((*plan.cast::<pg_sys::MergeJoin>()).mergeclauses);
            }
            T_HashJoin => {
                lists.push((*plan.cast::<pg_sys::Join>()).joinqual);
                lists.push((*plan.cast::<pg_sys::HashJoin>()).hashclauses);
                lists.push((*plan.cast::<pg_sys::HashJoin>()).hashkeys);
            }
            T_Hash => lists.push((*plan.cast::<pg_sys::Hash>()).hashkeys),
            T_Result => lists.push((*plan.cast::<pg_sys::Result>()).resconstantqual.cast()),
            T_ForeignScan => lists.push((*plan.cast::<pg_sys::ForeignScan>()).fdw_exprs),
            T_CustomScan => lists.push((*plan.cast::<pg_sys::CustomScan>()).custom_exprs),
            T_FunctionScan => lists.push((*plan.cast::<pg_sys::FunctionScan>()).functions),
            T_TableFuncScan => lists.push((*plan.cast::<pg_sys::TableFuncScan>()).tablefunc.cast()),
            T_SampleScan => lists.push((*plan.cast::<pg_sys::SampleScan>()).tablesample.cast()),
            T_ValuesScan => lists.push((*plan.cast::<pg_sys::ValuesScan>()).values_lists),
            T_IndexScan => lists.push((*plan.cast::<pg_sys::IndexScan>()).indexqual),
            T_IndexOnlyScan => lists.push((*plan.cast::<pg_sys::IndexOnlyScan>()).indexqual),
            T_BitmapIndexScan => lists.push((*plan.cast::<pg_sys::BitmapIndexScan>()).indexqual),
            T_ModifyTable => lists.push((*plan.cast::<pg_sys::ModifyTable>()).returningLists),
            T_Limit => {
                lists.push((*plan.cast::<pg_sys::Limit>()).limitOffset.cast());
                lists.push((*plan.cast::<pg_sys::Limit>()).limitCount.cast());
            }
            _ => {}
        }
        lists.into_iter().map(|list| list.cast()).collect()
    }
}

/// The SubPlan that runs the subplan with a number (primnodes.h, plan_id), and the plan below `root` that has it in an expression.
///
/// # Safety
/// `root` is null or a plan.
pub unsafe fn user_of_subplan(
    root: *mut pg_sys::Plan,
    number: i32,
) -> Option<(*mut pg_sys::SubPlan, *mut pg_sys::Plan)> {
    if root.is_null() {
        return None;
    }
    // SAFETY: the search lives across the call.
    unsafe {
        let mut search = Search {
            number,
            found: std::ptr::null_mut(),
        };
        for expression in expressions(root) {
            if find_subplan(expression, (&raw mut search).cast()) {
                return Some((search.found, root));
            }
        }
        children(root).find_map(|child| user_of_subplan(child, number))
    }
}

struct Search {
    number: i32,
    found: *mut pg_sys::SubPlan,
}

/// A walker of expression trees (nodeFuncs.h).
#[pgrx::pg_guard]
unsafe extern "C-unwind" fn find_subplan(
    node: *mut pg_sys::Node,
    search: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the argument is the Search that user_of_subplan passed; the cast follows the node's own tag.
    unsafe {
        if node.is_null() {
            return false;
        }
        if pgrx::is_a(node, pg_sys::NodeTag::T_SubPlan) {
            let subplan = node.cast::<pg_sys::SubPlan>();
            let wanted = &mut *search.cast::<Search>();
            if (*subplan).plan_id == wanted.number {
                wanted.found = subplan;
                return true;
            }
        }
        pg_sys::expression_tree_walker(node, Some(find_subplan), search)
    }
}

/// The nodes directly below one that is run (execnodes.h), null ones among them.
///
/// # Safety
/// `node` is a node's state.
pub unsafe fn child_states(node: *mut pg_sys::PlanState) -> Vec<*mut pg_sys::PlanState> {
    // SAFETY: each cast follows the node's own tag; an array has the length that its node tells.
    unsafe {
        let mut children = vec![(*node).lefttree, (*node).righttree];
        let mut array = |start: *mut *mut pg_sys::PlanState, length: i32| {
            children.extend((0..length.max(0) as usize).map(|place| *start.add(place)));
        };
        if pgrx::is_a(node.cast(), pg_sys::NodeTag::T_AppendState) {
            let append = &*node.cast::<pg_sys::AppendState>();
            array(append.appendplans, append.as_nplans);
        } else if pgrx::is_a(node.cast(), pg_sys::NodeTag::T_MergeAppendState) {
            let append = &*node.cast::<pg_sys::MergeAppendState>();
            array(append.mergeplans, append.ms_nplans);
        } else if pgrx::is_a(node.cast(), pg_sys::NodeTag::T_SubqueryScanState) {
            children.push((*node.cast::<pg_sys::SubqueryScanState>()).subplan);
        }
        children
    }
}

/// Looks for a node below another, and leaves the way to it in `above`, the top first.
///
/// # Safety
/// `below` is null or one of a tree that `children` walks.
pub unsafe fn way<T, I: IntoIterator<Item = *mut T>>(
    below: *mut T,
    node: *mut T,
    children: unsafe fn(*mut T) -> I,
    above: &mut Vec<*mut T>,
) -> bool {
    if below.is_null() || below == node {
        return below == node;
    }
    above.push(below);
    // SAFETY: `below` is a node of the tree.
    let found = unsafe { children(below) }
        .into_iter()
        .any(|child| unsafe { way(child, node, children, above) });
    if !found {
        above.pop();
    }
    found
}

unsafe fn cells(list: *mut pg_sys::List) -> impl Iterator<Item = *mut pg_sys::ListCell> {
    // SAFETY: a list has `length` elements.
    (0..unsafe { length(list) }).map(move |place| unsafe { (*list).elements.add(place) })
}
