//! The end of an INSERT or COPY: all rows are accepted before PostgreSQL goes on.
//!
//! PostgreSQL calls a wrapper again when the executor ends. That is after the statement's triggers, and outside of the time that EXPLAIN and
//! pg_stat_statements count. So an INSERT waits when its source has no more rows, while its node runs. A COPY has no node. It waits
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

/// Something that PostgreSQL calls before it goes on. Its own function is replaced by one of this file, which calls it.
struct Entry<T, F> {
    called: *mut T,
    /// The function that was there before.
    function: F,
    /// The INSERTs that have to end before.
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

/// Adds an INSERT to an entry. True if the entry is new.
fn add<T, F>(
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

/// The function that was there before.
fn function_of<T, F: Copy>(entries: &'static Entries<T, F>, called: *mut T) -> Option<F> {
    entries.with_borrow(|entries| {
        let entry = entries.iter().find(|entry| entry.called == called)?;
        Some(entry.function)
    })
}

/// Waits for the rows of an entry's INSERTs.
unsafe fn wait_for_inserts<T, F>(entries: &'static Entries<T, F>, called: *mut T) {
    let inserts = entries.with_borrow(|entries| {
        let entry = entries.iter().find(|entry| entry.called == called);
        entry.map_or_else(Vec::new, |entry| entry.inserts.clone())
    });
    for insert in inserts {
        // SAFETY: an entry has those whose query's memory is there.
        unsafe { (*insert).wait_for_all() }.or_report();
    }
}

/// Has all rows of an INSERT accepted before PostgreSQL goes on.
///
/// # Safety
/// The INSERT has just been begun for `relation` and `state`, and lives as long as its query.
pub unsafe fn wait_at_end(
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
                if add(&SOURCES, &raw mut *source, source.ExecProcNode, insert) {
                    source.ExecProcNode = Some(next);
                }
            }
            None => wait_before_triggers(insert, relation, query_context),
        }
    }
}

/// Replaces the function of each trigger that follows the statement. Where a partition gets the rows, the triggers are those of the partitioned table.
unsafe fn wait_before_triggers(
    insert: *mut Insert,
    relation: *mut pg_sys::ResultRelInfo,
    query_context: pg_sys::MemoryContext,
) {
    // SAFETY: a relation with triggers has an array of their functions. PostgreSQL looks up a function when its entry is empty.
    unsafe {
        let named = match (*relation).ri_RootResultRelInfo.is_null() {
            true => relation,
            false => (*relation).ri_RootResultRelInfo,
        };
        let Some(triggers) = (*named).ri_TrigDesc.as_ref() else {
            return;
        };
        for index in 0..triggers.numtriggers.max(0) as usize {
            let trigger = &*triggers.triggers.add(index);
            let kind = pg_sys::TRIGGER_TYPE_ROW
                | pg_sys::TRIGGER_TYPE_BEFORE
                | pg_sys::TRIGGER_TYPE_INSTEAD
                | pg_sys::TRIGGER_TYPE_INSERT;
            if trigger.tgtype as u32 & kind != pg_sys::TRIGGER_TYPE_INSERT {
                continue;
            }
            let function = (*named).ri_TrigFunctions.add(index);
            if (*function).fn_oid == pg_sys::InvalidOid {
                pg_sys::fmgr_info_cxt(trigger.tgfoid, function, query_context);
            }
            if add(&TRIGGERS, function, (*function).fn_addr, insert) {
                (*function).fn_addr = Some(call);
            }
        }
    }
}

/// Gives the source's next row. After the last one, waits until all rows are accepted.
#[pg_guard]
unsafe extern "C-unwind" fn next(source: *mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: PostgreSQL's arguments are passed on to PostgreSQL's function. A call through a pointer needs the guard.
    unsafe {
        let Some(Some(function)) = function_of(&SOURCES, source) else {
            return std::ptr::null_mut();
        };
        let slot = pg_guard_ffi_boundary(|| function(source));
        // A node sets another function when it is called for the first time.
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
            wait_for_inserts(&SOURCES, source);
        }
        slot
    }
}

/// Waits until all rows are accepted, and calls the trigger.
#[pg_guard]
unsafe extern "C-unwind" fn call(arguments: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: PostgreSQL's arguments are passed on to PostgreSQL's function. A call through a pointer needs the guard.
    unsafe {
        let trigger = (*arguments).flinfo;
        let Some(Some(function)) = function_of(&TRIGGERS, trigger) else {
            return pg_sys::Datum::null();
        };
        wait_for_inserts(&TRIGGERS, trigger);
        pg_guard_ffi_boundary(|| function(arguments))
    }
}
