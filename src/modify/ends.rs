//! The end of an INSERT or COPY: all rows are accepted before PostgreSQL goes on.
//!
//! PostgreSQL calls a wrapper again when the executor ends. That is after the statement's triggers, and outside of the time that EXPLAIN and
//! pg_stat_statements count. So an INSERT waits when its source has no more rows, while its node runs. A COPY has no node. It waits
//! when the first trigger of the statement is called, if there is one.

use super::Insert;
use crate::error::OrReport;
use crate::postgres::executor::{ModifyTableState, ResultRel};
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::plans::PlanState;
use crate::postgres::refs::{FromRaw, Ref};
use crate::postgres::slots::Slot;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{pg_guard, pg_sys};
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
    /// The INSERTs that have to end before. Each is there as long as its query's memory.
    inserts: Vec<Ref<'static, Insert>>,
}

type RowFunction =
    unsafe extern "C-unwind" fn(*mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot;
type Entries<T, F> = std::thread::LocalKey<RefCell<Vec<Entry<T, F>>>>;

/// Forgets the entries of an INSERT with its query's memory.
struct Registration(Ref<'static, Insert>);

impl Drop for Registration {
    fn drop(&mut self) {
        fn forget<T, F>(entries: &'static Entries<T, F>, insert: Ref<'static, Insert>) {
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
    insert: Ref<'static, Insert>,
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
fn wait_for_inserts<T, F>(entries: &'static Entries<T, F>, called: *mut T) {
    let inserts = entries.with_borrow(|entries| {
        let entry = entries.iter().find(|entry| entry.called == called);
        entry.map_or_else(Vec::new, |entry| entry.inserts.clone())
    });
    for insert in inserts {
        insert.wait_for_all().or_report();
    }
}

/// Has all rows of an INSERT accepted before PostgreSQL goes on. It has just been begun for `relation` and `state`, whose source was
/// initialised before.
pub fn wait_at_end(
    insert: Ref<'static, Insert>,
    state: ModifyTableState<'static>,
    relation: ResultRel<'static>,
) {
    let query_context = state.estate().query_context();
    query_context.own(Registration(insert));
    match state.as_plan_state().left() {
        Some(source) => {
            // PostgreSQL's pointer to the function is this node's alone.
            if add(&SOURCES, source.as_ptr(), source.ExecProcNode, insert) {
                source.set_function(Some(next));
            }
        }
        None => wait_before_triggers(insert, relation, query_context),
    }
}

/// Replaces the function of each trigger that follows the statement. Where a partition gets the rows, the triggers are those of the partitioned table.
fn wait_before_triggers(
    insert: Ref<'static, Insert>,
    relation: ResultRel<'static>,
    query_context: MemoryContext<'static>,
) {
    let named = relation.root().unwrap_or(relation);
    for function in named.triggers_after_insert(query_context) {
        if add(&TRIGGERS, function.as_ptr(), function.fn_addr, insert) {
            function.set_function(Some(call));
        }
    }
}

/// Gives the source's next row. After the last one, waits until all rows are accepted.
#[pg_guard]
unsafe extern "C-unwind" fn next(source: *mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: PostgreSQL's arguments are passed on to PostgreSQL's function, which gives null or a slot. A call through a pointer needs the guard.
    let (source, slot, row) = unsafe {
        let Some(Some(function)) = function_of(&SOURCES, source) else {
            return std::ptr::null_mut();
        };
        let slot = pg_guard_ffi_boundary(|| function(source));
        (PlanState::new(source), slot, Option::<Slot>::from_raw(slot))
    };
    // A node sets another function when it is called for the first time.
    let chosen = source.ExecProcNode;
    if !chosen.is_some_and(|chosen| std::ptr::fn_addr_eq(chosen, next as RowFunction)) {
        SOURCES.with_borrow_mut(|entries| {
            (entries.iter_mut())
                .filter(|entry| entry.called == source.as_ptr())
                .for_each(|entry| entry.function = chosen);
        });
        source.set_function(Some(next));
    }
    if row.is_none_or(Slot::is_empty) {
        wait_for_inserts(&SOURCES, source.as_ptr());
    }
    slot
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
