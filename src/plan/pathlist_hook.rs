//! The hook for the paths of a relation, once PostgreSQL has made them. A partitioned table or a UNION ALL with a scan gets the disabled nodes of
//! that, and Memoize is kept away from what may invoke.

use super::memoize;
use crate::postgres::compat;
use crate::postgres::planner::{Rel, Root};
use crate::postgres::refs::Ref;
use pgrx::{pg_guard, pg_sys};
use std::sync::OnceLock;

static PREVIOUS: OnceLock<pg_sys::set_rel_pathlist_hook_type> = OnceLock::new();

/// Sets the hook.
pub fn install() {
    // SAFETY: hooks are set while the library is loaded, in the backend's thread.
    unsafe {
        PREVIOUS.get_or_init(|| pg_sys::set_rel_pathlist_hook);
        pg_sys::set_rel_pathlist_hook = Some(set_rel_pathlist);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn set_rel_pathlist(
    root: *mut pg_sys::PlannerInfo,
    rel: *mut pg_sys::RelOptInfo,
    index: pg_sys::Index,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: the planner passes its structures, which live until planning ends. A hook is called through a pointer, so the guard that turns
    // PostgreSQL's errors into unwinding has to be put around it here.
    let (root, rel, entry): (Root, Rel, _) = unsafe {
        if let Some(previous) = PREVIOUS.get().copied().flatten() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous(root, rel, index, entry));
        }
        (Ref::new(root), Ref::new(rel), Ref::new(entry))
    };
    rel.paths().iter().for_each(compat::take_disabled_nodes);
    memoize::mark_relation(root, rel, entry);
}
