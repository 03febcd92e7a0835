//! The paths of relations once PostgreSQL has made them: those of what scans are parts of, a partitioned table or a UNION ALL, are mended,
//! and Memoize is forbidden above what may invoke.

use super::memoize;
use crate::postgres::{compat, nodes};
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
    place: pg_sys::Index,
    entry: *mut pg_sys::RangeTblEntry,
) {
    // SAFETY: the arguments are the planner's. A hook is called through a pointer, so the guard that turns PostgreSQL's
    // errors into unwinding has to be put around it here.
    unsafe {
        if let Some(previous) = PREVIOUS.get().copied().flatten() {
            pg_sys::ffi::pg_guard_ffi_boundary(|| previous(root, rel, place, entry));
        }
        for path in nodes::pointers::<pg_sys::Path>((*rel).pathlist) {
            compat::take_disabled_nodes(path);
        }
        memoize::mark_relation(root, rel, entry);
    }
}
