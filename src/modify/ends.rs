//! The end of an INSERT or COPY: all rows are accepted before PostgreSQL goes on.
//!
//! PostgreSQL calls a wrapper again when the executor ends: after triggers of the statement, and outside of what EXPLAIN and
//! pg_stat_statements count. So an INSERT settles when its source has no more rows, while its node runs. A COPY has no node, and settles
//! when the first trigger of the statement is called, if there is one.

use super::Insert;
use crate::error::OrReport;
use crate::postgres::slots;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{PgMemoryContexts, pg_guard, pg_sys};
use std::cell::RefCell;

thread_local! {
    static SOURCES: RefCell<Vec<Entry<pg_sys::PlanState, pg_sys::ExecProcNodeMtd>>> = const { RefCell::new(Vec::new()) };
    static TRIGGERS: RefCell<Vec<Entry<pg_sys::FmgrInfo, pg_sys::PGFunction>>> = const { RefCell::new(Vec::new()) };
}

/// What PostgreSQL is going to call before it goes on, with the function that is called in truth.
struct Entry<T, F> {
    called: *mut T,
    function: F,
    inserts: Vec<*mut Insert>,
}

type RowFunction =
    unsafe extern "C-unwind" fn(*mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot;
type Entries<T, F> = std::thread::LocalKey<RefCell<Vec<Entry<T, F>>>>;

/// Forgets the entries of an INSERT with its query's memory.
struct Registration(*mut Insert);

impl Drop for Registration {
    fn drop(&mut self) {
        fn forget<T, F>(entries: &'static Entries<T, F>, insert: *mut Insert) {
            let _ = entries.try_with(|entries| {
                if let Ok(mut entries) = entries.try_borrow_mut() {
                    (entries.iter_mut())
                        .for_each(|entry| entry.inserts.retain(|other| *other != insert));
                    entries.retain(|entry| !entry.inserts.is_empty());
                }
            });
        }
        forget(&SOURCES, self.0);
        forget(&TRIGGERS, self.0);
    }
}

/// Adds an INSERT to an entry; true if it is the first one there.
fn note<T, F>(
    entries: &'static Entries<T, F>,
    called: *mut T,
    function: F,
    insert: *mut Insert,
) -> bool {
    entries.with_borrow_mut(|entries| {
        match entries.iter_mut().find(|entry| entry.called == called) {
            Some(entry) => {
                entry.inserts.push(insert);
                false
            }
            None => {
                entries.push(Entry {
                    called,
                    function,
                    inserts: vec![insert],
                });
                true
            }
        }
    })
}

/// The function that is called in truth.
fn function_of<T, F: Copy>(entries: &'static Entries<T, F>, called: *mut T) -> Option<F> {
    entries.with_borrow(|entries| {
        let entry = entries.iter().find(|entry| entry.called == called)?;
        Some(entry.function)
    })
}

/// Settles the INSERTs of an entry.
unsafe fn settle_all<T, F>(entries: &'static Entries<T, F>, called: *mut T) {
    let inserts = entries.with_borrow(|entries| {
        let entry = entries.iter().find(|entry| entry.called == called);
        entry.map_or_else(Vec::new, |entry| entry.inserts.clone())
    });
    for insert in inserts {
        // SAFETY: an entry has those whose query's memory is there.
        unsafe { (*insert).settle() }.or_report();
    }
}

/// Has an INSERT settle before PostgreSQL goes on.
///
/// # Safety
/// The INSERT has just been begun for `relation` and `state`, and lives as long as its query.
pub unsafe fn settle(
    insert: *mut Insert,
    state: *mut pg_sys::ModifyTableState,
    relation: *mut pg_sys::ResultRelInfo,
) {
    // SAFETY: the source was initialised before. PostgreSQL's pointer to its function is this node's alone.
    unsafe {
        let query_context = (*(*state).ps.state).es_query_cxt;
        PgMemoryContexts::For(query_context).leak_and_drop_on_delete(Registration(insert));
        match (*state).ps.lefttree.as_mut() {
            Some(source) => {
                if note(&SOURCES, &raw mut *source, source.ExecProcNode, insert) {
                    source.ExecProcNode = Some(next);
                }
            }
            None => settle_before_triggers(insert, relation, query_context),
        }
    }
}

/// Puts a function of ours in the place of each trigger that follows the statement. Of a partition's statement they are the partitioned table's.
unsafe fn settle_before_triggers(
    insert: *mut Insert,
    relation: *mut pg_sys::ResultRelInfo,
    query_context: pg_sys::MemoryContext,
) {
    // SAFETY: a relation with triggers has a place for the function of each, which PostgreSQL fills in when it is empty.
    unsafe {
        let named = match (*relation).ri_RootResultRelInfo.is_null() {
            true => relation,
            false => (*relation).ri_RootResultRelInfo,
        };
        let Some(triggers) = (*named).ri_TrigDesc.as_ref() else {
            return;
        };
        for place in 0..triggers.numtriggers.max(0) as usize {
            let trigger = &*triggers.triggers.add(place);
            let kind = pg_sys::TRIGGER_TYPE_ROW
                | pg_sys::TRIGGER_TYPE_BEFORE
                | pg_sys::TRIGGER_TYPE_INSTEAD
                | pg_sys::TRIGGER_TYPE_INSERT;
            if trigger.tgtype as u32 & kind != pg_sys::TRIGGER_TYPE_INSERT {
                continue;
            }
            let function = (*named).ri_TrigFunctions.add(place);
            if (*function).fn_oid == pg_sys::InvalidOid {
                pg_sys::fmgr_info_cxt(trigger.tgfoid, function, query_context);
            }
            if note(&TRIGGERS, function, (*function).fn_addr, insert) {
                (*function).fn_addr = Some(call);
            }
        }
    }
}

/// Gives the source's next row. Once there is none, all that came before it are settled.
#[pg_guard]
unsafe extern "C-unwind" fn next(source: *mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: called in the place of what is called here. The guard is for the call through a pointer.
    unsafe {
        let Some(Some(function)) = function_of(&SOURCES, source) else {
            return std::ptr::null_mut();
        };
        let slot = pg_guard_ffi_boundary(|| function(source));
        // When it is first called, a node chooses another function.
        let chosen = (*source).ExecProcNode;
        if !chosen.is_some_and(|chosen| std::ptr::fn_addr_eq(chosen, next as RowFunction)) {
            SOURCES.with_borrow_mut(|entries| {
                (entries.iter_mut())
                    .filter(|entry| entry.called == source)
                    .for_each(|entry| entry.function = chosen);
            });
            (*source).ExecProcNode = Some(next);
        }
        if slots::is_empty(slot) {
            settle_all(&SOURCES, source);
        }
        slot
    }
}

/// Calls a trigger, once all rows are settled.
#[pg_guard]
unsafe extern "C-unwind" fn call(arguments: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: called in the place of what is called here. The guard is for the call through a pointer.
    unsafe {
        let trigger = (*arguments).flinfo;
        let Some(Some(function)) = function_of(&TRIGGERS, trigger) else {
            return pg_sys::Datum::null();
        };
        settle_all(&TRIGGERS, trigger);
        pg_guard_ffi_boundary(|| function(arguments))
    }
}
