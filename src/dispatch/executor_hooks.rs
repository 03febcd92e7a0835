//! The queries that the executor is running, innermost last, and how many rows each was asked for.
//!
//! A scan can't learn either from PostgreSQL, so hooks note them while a run lasts. The end of a statement (triggers, and WITH clauses
//! that write) counts as a run for all rows.

use crate::error::{Error, StatementError};
use crate::plan;
use crate::postgres::compat;
use crate::postgres::executor::EState;
use crate::postgres::refs::Ref;
use crate::postgres::running::{Query, statement_start, with_active_portal};
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::sync::OnceLock;

static PREVIOUS: OnceLock<pg_sys::ExecutorRun_hook_type> = OnceLock::new();
static PREVIOUS_FINISH: OnceLock<pg_sys::ExecutorFinish_hook_type> = OnceLock::new();

thread_local! {
    static RUNS: RefCell<Vec<ExecutorRun>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// One call of the executor for some rows of a query.
pub struct ExecutorRun {
    query: Query<'static>,
    /// Rows that are asked for; `None` is all.
    pub rows: Option<u64>,
    /// No other run of this backend has it.
    pub number: u64,
    /// Whether its plan was checked for scans that can't run.
    is_checked: bool,
}

impl ExecutorRun {
    /// The query, which is there as long as this is in the list.
    pub fn query(&self) -> Query<'_> {
        self.query
    }
}

thread_local! {
    /// The memory context of the query that has loaded the library, as no hook has seen that query begin; and the time of the client's
    /// statement, as a cursor's memory outlives the statement.
    static LOADED_IN: Cell<(pg_sys::MemoryContext, i64)> = const { Cell::new((std::ptr::null_mut(), 0)) };
}

/// Forgets the statement when its memory context is deleted.
struct LoadedIn;

impl Drop for LoadedIn {
    fn drop(&mut self) {
        LOADED_IN.set((std::ptr::null_mut(), 0));
    }
}

/// Notes the statement that is running while the library is loaded. A query inside of a function may load it.
fn note_statement() {
    with_active_portal(|portal| {
        // Each statement of a procedure or a DO block counts for itself.
        let is_query = (portal.statements().get(0))
            .is_some_and(|statement| statement.commandType != pg_sys::CmdType::CMD_UTILITY);
        let context = portal.portalContext;
        if is_query && !context.is_null() {
            pgrx::PgMemoryContexts::For(context).leak_and_drop_on_delete(LoadedIn);
            LOADED_IN.set((context, statement_start()));
        }
    });
}

/// Sets the hooks. Called once, when the library is loaded.
pub fn install() {
    note_statement();
    // SAFETY: hooks are set while the library is loaded, in the backend's thread.
    unsafe {
        PREVIOUS.get_or_init(|| pg_sys::ExecutorRun_hook);
        pg_sys::ExecutorRun_hook = Some(executor_run);
        PREVIOUS_FINISH.get_or_init(|| pg_sys::ExecutorFinish_hook);
        pg_sys::ExecutorFinish_hook = Some(executor_finish);
    }
}

/// Does something with the innermost run, which does not run anything.
pub fn with_innermost<T>(work: impl FnOnce(&ExecutorRun) -> T) -> Option<T> {
    RUNS.with_borrow(|runs| runs.last().map(work))
}

/// Whether the innermost run is inside no other.
pub fn is_outermost() -> bool {
    RUNS.with_borrow(|runs| runs.len() <= 1)
}

/// The memory context of the statement that all runs are inside of.
pub fn outermost() -> Option<pg_sys::MemoryContext> {
    let (loaded_in, statement) = LOADED_IN.get();
    if !loaded_in.is_null() && statement == statement_start() {
        return Some(loaded_in);
    }
    RUNS.with_borrow(|runs| Some(runs.first()?.query.estate().es_query_cxt))
}

/// Refuses to invoke for queries with a scan that can't run, before the first invocation of each. The error says whether the statement
/// `has_invoked` before.
pub fn refuse_unrunnable(has_invoked: bool) -> Result<(), Error> {
    let unchecked: Vec<_> = RUNS.with_borrow(|runs| match runs.last() {
        Some(last) if !last.is_checked => (runs.iter().filter(|run| !run.is_checked))
            .map(|run| run.query.statement())
            .collect(),
        _ => Vec::new(),
    });
    for statement in &unchecked {
        plan::not_bound::refuse(*statement, has_invoked)?;
    }
    if !unchecked.is_empty() {
        RUNS.with_borrow_mut(|runs| runs.iter_mut().for_each(|run| run.is_checked = true));
    }
    Ok(())
}

/// Errors if a node is rescanned outside of a run, which means that a cursor is rewound. Its rows were not kept, so its invocations would be
/// made once more. Later versions of PostgreSQL raise the same error themselves. `estate` is that of the node.
pub fn refuse_rewind(estate: EState) -> Result<(), Error> {
    if !compat::REWINDS_ANY_CURSOR {
        return Ok(());
    }
    // A row that is rechecked has another state.
    let is_run = !estate.es_epq_active.is_null()
        || RUNS.with_borrow(|runs| runs.iter().any(|run| run.query.estate() == estate));
    match is_run {
        true => Ok(()),
        false => Err(Error::Statement(StatementError::CursorRewound)),
    }
}

/// A run in the list, which is removed when the run ends, also by an error.
struct Entry;

impl Entry {
    fn new(query: Query<'static>, count: u64) -> Entry {
        Entry::make(query, count, false)
    }

    fn make(query: Query<'static>, count: u64, is_checked: bool) -> Entry {
        let number = COUNT.get() + 1;
        COUNT.set(number);
        RUNS.with_borrow_mut(|runs| {
            runs.push(ExecutorRun {
                query,
                rows: (count > 0).then_some(count),
                number,
                is_checked,
            });
        });
        Entry
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        RUNS.with_borrow_mut(|runs| runs.pop());
    }
}

compat::executor_run_hook!(executor_run, Entry::new, PREVIOUS.get().copied().flatten());

#[pg_guard]
unsafe extern "C-unwind" fn executor_finish(query: *mut pg_sys::QueryDesc) {
    // SAFETY: the executor passes a query that it runs, which is there until the hook returns. The guard is for the call through a pointer.
    unsafe {
        // A scan that was not reached by now will not be.
        let _entry = Entry::make(Ref::new(query), 0, true);
        match PREVIOUS_FINISH.get().copied().flatten() {
            Some(previous) => pg_guard_ffi_boundary(|| previous(query)),
            None => pg_sys::standard_ExecutorFinish(query),
        }
    }
}
