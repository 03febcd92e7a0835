//! Joins with invocations that a nested loop would run again for each outer row, though nothing of that row goes into them: their rows are kept.
//!
//! PostgreSQL puts a Material node above such a join only where it takes that to be cheaper.

use super::memoize;
use super::paths::is_ours;
use crate::postgres::{compat, nodes};
use crate::prefetch::of_parents_too;
use pgrx::pg_sys;

/// Has a nested loop keep the rows of its inner side, if that invokes and nothing of the outer side goes into it.
///
/// # Safety
/// All are the planner's.
pub unsafe fn keep_inner_side(root: *mut pg_sys::PlannerInfo, join: &mut pg_sys::JoinPath) {
    // SAFETY: see above.
    unsafe {
        let inner = join.innerjoinpath;
        let is_given = ((*inner).param_info.as_ref()).is_some_and(|info| {
            let outer = of_parents_too((*join.outerjoinpath).parent);
            pg_sys::bms_overlap(info.ppi_req_outer, outer)
        });
        let may_invoke = invokes(root, inner) || memoize::is_marked((*inner).parent);
        if !is_given && runs_again(inner) && may_invoke {
            join.innerjoinpath = compat::create_material_path(inner);
        }
    }
}

/// Whether more than scans is run once more, and nothing keeps its rows.
unsafe fn runs_again(path: *mut pg_sys::Path) -> bool {
    use pg_sys::NodeTag::{T_AppendPath, T_ForeignPath, T_ProjectionPath, T_SubqueryScanPath};
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        match (*path.cast::<pg_sys::Node>()).type_ {
            T_ForeignPath => false,
            T_AppendPath => nodes::pointers((*path.cast::<pg_sys::AppendPath>()).subpaths)
                .any(|part| runs_again(part)),
            T_ProjectionPath => runs_again((*path.cast::<pg_sys::ProjectionPath>()).subpath),
            T_SubqueryScanPath => runs_again((*path.cast::<pg_sys::SubqueryScanPath>()).subpath),
            _ => !pg_sys::ExecMaterializesOutput((*path).pathtype),
        }
    }
}

/// Whether a path invokes, as far as that can be told.
unsafe fn invokes(root: *mut pg_sys::PlannerInfo, path: *mut pg_sys::Path) -> bool {
    use pg_sys::NodeTag::*;
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        if path.is_null() {
            return false;
        }
        let below: Vec<*mut pg_sys::Path> = match (*path.cast::<pg_sys::Node>()).type_ {
            T_ForeignPath => return is_ours((*path).parent),
            T_Path if (*path).pathtype == T_FunctionScan => {
                let entry = *(*root)
                    .simple_rte_array
                    .add((*(*path).parent).relid as usize);
                return pg_sys::contain_volatile_functions((*entry).functions.cast());
            }
            T_NestPath | T_MergePath | T_HashPath => {
                let join = &*path.cast::<pg_sys::JoinPath>();
                vec![join.outerjoinpath, join.innerjoinpath]
            }
            T_AppendPath => {
                nodes::pointers((*path.cast::<pg_sys::AppendPath>()).subpaths).collect()
            }
            T_MergeAppendPath => {
                nodes::pointers((*path.cast::<pg_sys::MergeAppendPath>()).subpaths).collect()
            }
            T_CustomPath => {
                nodes::pointers((*path.cast::<pg_sys::CustomPath>()).custom_paths).collect()
            }
            T_MaterialPath => vec![(*path.cast::<pg_sys::MaterialPath>()).subpath],
            T_ProjectionPath => vec![(*path.cast::<pg_sys::ProjectionPath>()).subpath],
            T_ProjectSetPath => vec![(*path.cast::<pg_sys::ProjectSetPath>()).subpath],
            T_SortPath => vec![(*path.cast::<pg_sys::SortPath>()).subpath],
            T_IncrementalSortPath => {
                vec![(*path.cast::<pg_sys::IncrementalSortPath>()).spath.subpath]
            }
            T_GroupPath => vec![(*path.cast::<pg_sys::GroupPath>()).subpath],
            T_AggPath => vec![(*path.cast::<pg_sys::AggPath>()).subpath],
            T_GroupingSetsPath => vec![(*path.cast::<pg_sys::GroupingSetsPath>()).subpath],
            T_WindowAggPath => vec![(*path.cast::<pg_sys::WindowAggPath>()).subpath],
            T_UniquePath => vec![(*path.cast::<pg_sys::UniquePath>()).subpath],
            T_LimitPath => vec![(*path.cast::<pg_sys::LimitPath>()).subpath],
            T_LockRowsPath => vec![(*path.cast::<pg_sys::LockRowsPath>()).subpath],
            T_SubqueryScanPath => {
                let subpath = (*path.cast::<pg_sys::SubqueryScanPath>()).subpath;
                return invokes((*(*path).parent).subroot, subpath);
            }
            _ => Vec::new(),
        };
        below.into_iter().any(|below| invokes(root, below))
    }
}
