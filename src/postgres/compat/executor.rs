//! Differences between PostgreSQL 14 and 19 in the executor, around it, and in finished plans.

use crate::postgres::catalog;
use crate::postgres::executor::{EState, ForeignScanState, ModifyTableState, ResultRel};
use crate::postgres::list::List;
use crate::postgres::plans::Plan;
use crate::postgres::refs::{Ref, calls, fields};
use crate::postgres::slots::Slot;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

/// Whether PostgreSQL rewinds any cursor for MOVE BACKWARD ALL, also one that was declared or planned without; since 15 it refuses.
pub const REWINDS_ANY_CURSOR: bool = cfg!(feature = "pg14");

/// An empty set of events that lives as long as the process. Before 17 it belongs to a memory context, then to a resource owner or to nobody.
pub fn create_wait_event_set<'p>(most: i32) -> Ref<'p, pg_sys::WaitEventSet> {
    // SAFETY: the context lives as long as the process. Without an owner the set is nobody's to free.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
        let owner = pg_sys::TopMemoryContext;
        #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
        let owner = std::ptr::null_mut();
        Ref::new(pg_sys::CreateWaitEventSet(owner, most))
    }
}

#[cfg(any(feature = "pg14", feature = "pg15"))]
fields! {
    EState.es_range_table as range_table: List<'p, pg_sys::RangeTblEntry>;
}

#[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
fields! {
    ModifyTableState.mt_merge_action as running_action: Option<Ref<'p, pg_sys::MergeActionState>>;
    MergeActionState.mas_action as action: Ref<'p, pg_sys::MergeAction>;
}

#[cfg(not(feature = "pg14"))]
fields! {
    ModifyTable.mergeActionLists as merge_action_lists: List<'p, pg_sys::Node>;
}

/// The actions of a MERGE, which 14 does not have.
pub fn merge_actions(modify: Ref<pg_sys::ModifyTable>) -> List<pg_sys::Node> {
    #[cfg(feature = "pg14")]
    {
        let _ = modify;
        List::EMPTY
    }
    #[cfg(not(feature = "pg14"))]
    modify.merge_action_lists()
}

/// The command of the action of a MERGE that runs now. Before 17 PostgreSQL does not tell.
pub fn merge_action(state: ModifyTableState) -> Option<pg_sys::CmdType::Type> {
    #[cfg(any(feature = "pg14", feature = "pg15", feature = "pg16"))]
    {
        let _ = state;
        None
    }
    #[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16")))]
    state
        .running_action()
        .map(|running| running.action().commandType)
}

/// Where a program of expressions that has no result of its own leaves that it is null. Since 18 it has to be nowhere.
pub fn no_result(is_null: &mut bool) -> *mut bool {
    if cfg!(any(feature = "pg18", feature = "pg19")) {
        std::ptr::null_mut()
    } else {
        is_null
    }
}

/// Defines a hook on ExecutorRun (executor.h): `enter(query, count)` is called, and its result is held while the hook that was there
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
            // SAFETY: the arguments are the executor's, and the query is there until the hook returns. A hook is called through a
            // pointer, so the guard that turns PostgreSQL's errors into unwinding has to be put around it here.
            unsafe {
                let _held = $enter($crate::postgres::refs::Ref::new(query), count);
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

/// Defines the same hook. Since 18 it has no argument for whether it is called once.
#[cfg(not(any(feature = "pg14", feature = "pg15", feature = "pg16", feature = "pg17")))]
macro_rules! executor_run_hook {
    ($name:ident, $enter:expr, $previous:expr) => {
        #[pgrx::pg_guard]
        unsafe extern "C-unwind" fn $name(
            query: *mut pg_sys::QueryDesc,
            direction: pg_sys::ScanDirection::Type,
            count: u64,
        ) {
            // SAFETY: the arguments are the executor's, and the query is there until the hook returns. A hook is called through a
            // pointer, so the guard that turns PostgreSQL's errors into unwinding has to be put around it here.
            unsafe {
                let _held = $enter($crate::postgres::refs::Ref::new(query), count);
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

calls! {
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    fn user_of_table(table: ResultRel, estate: EState) -> pg_sys::Oid = ExecGetResultRelCheckAsUser(table, estate);
    /// Lets PostgreSQL refuse settings that only look like ones of a prefix.
    #[cfg(not(feature = "pg14"))]
    pub fn reserve_setting_prefix(prefix: &'static std::ffi::CStr) = MarkGUCPrefixReserved(prefix);
}

/// Before 15 PostgreSQL does not.
#[cfg(feature = "pg14")]
pub fn reserve_setting_prefix(_prefix: &'static std::ffi::CStr) {}

/// Writes to a temporary file (buffile.h) that is open.
pub fn write_file(file: Ref<pg_sys::BufFile>, bytes: &[u8]) {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let start = bytes.as_ptr().cast_mut().cast();
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    let start = bytes.as_ptr().cast();
    // SAFETY: it only reads them.
    unsafe { pg_sys::BufFileWrite(file.as_ptr(), start, bytes.len()) };
}

/// Copies the row of a slot into the current memory context.
pub fn copy_minimal_tuple(slot: Slot) -> pg_sys::MinimalTuple {
    // SAFETY: each kind of slot has the operation.
    unsafe {
        let operation = (*slot.tts_ops).copy_minimal_tuple;
        let slot = slot.as_ptr();
        match operation {
            #[cfg(not(any(feature = "pg18", feature = "pg19")))]
            Some(copy) => pg_guard_ffi_boundary(|| copy(slot)),
            #[cfg(any(feature = "pg18", feature = "pg19"))]
            Some(copy) => pg_guard_ffi_boundary(|| copy(slot, 0)),
            None => std::ptr::null_mut(),
        }
    }
}

/// The role as which a foreign scan runs.
pub fn scan_user(node: ForeignScanState) -> pg_sys::Oid {
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let user = user_of_entry(node.estate(), node.plan().scan.scanrelid);
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    let user = node.plan().checkAsUser;
    or_current_user(user)
}

/// The role as which rows are inserted.
pub fn insert_user(estate: EState, table: ResultRel) -> pg_sys::Oid {
    // A relation that rows are routed to is not in the range table, but its parent is.
    #[cfg(any(feature = "pg14", feature = "pg15"))]
    let user = {
        let root = table.root().filter(|_| table.ri_RangeTableIndex == 0);
        user_of_entry(estate, root.unwrap_or(table).ri_RangeTableIndex)
    };
    #[cfg(not(any(feature = "pg14", feature = "pg15")))]
    let user = user_of_table(table, estate);
    or_current_user(user)
}

/// The role of the member of the range table with an index from 1. Before 16 it is there.
#[cfg(any(feature = "pg14", feature = "pg15"))]
fn user_of_entry(estate: EState, index: pg_sys::Index) -> pg_sys::Oid {
    (estate.range_table().get((index as usize).saturating_sub(1)))
        .map_or(pg_sys::InvalidOid, |entry| entry.checkAsUser)
}

fn or_current_user(user: pg_sys::Oid) -> pg_sys::Oid {
    if user != pg_sys::InvalidOid {
        return user;
    }
    catalog::current_role()
}

/// Whether an Append or MergeAppend leaves out partitions when it is run, by values that it has only then.
pub fn prunes_at_run_time(plan: Plan) -> bool {
    #[cfg(any(feature = "pg18", feature = "pg19"))]
    let (append, merge) = (
        |append: Ref<pg_sys::Append>| append.part_prune_index >= 0,
        |merge: Ref<pg_sys::MergeAppend>| merge.part_prune_index >= 0,
    );
    #[cfg(not(any(feature = "pg18", feature = "pg19")))]
    let (append, merge) = (
        |append: Ref<pg_sys::Append>| !append.part_prune_info.is_null(),
        |merge: Ref<pg_sys::MergeAppend>| !merge.part_prune_info.is_null(),
    );
    plan.cast().is_some_and(append) || plan.cast().is_some_and(merge)
}

/// Whether a role may execute a function.
pub fn may_execute(function: pg_sys::Oid, role: pg_sys::Oid) -> pg_sys::AclResult::Type {
    let execute = pg_sys::ACL_EXECUTE as pg_sys::AclMode;
    // SAFETY: look-ups in caches.
    unsafe {
        #[cfg(any(feature = "pg14", feature = "pg15"))]
        let result = pg_sys::pg_proc_aclcheck(function, role, execute);
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        let result = pg_sys::object_aclcheck(pg_sys::ProcedureRelationId, function, role, execute);
        result
    }
}

/// Prepares a descriptor whose columns are set, which 19 wants.
///
/// # Safety
/// All columns of the descriptor are set.
pub unsafe fn finish_descriptor(_descriptor: pg_sys::TupleDesc) {
    // SAFETY: the contract of this function says that the descriptor is complete.
    #[cfg(feature = "pg19")]
    unsafe {
        pg_sys::TupleDescFinalize(_descriptor);
    }
}
