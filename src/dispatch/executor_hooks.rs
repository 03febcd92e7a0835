//! The queries that the executor is running, innermost last, and how many rows each was asked for.
//!
//! A scan can't learn either from PostgreSQL, so hooks note them while a run lasts. The end of a statement (triggers, and WITH clauses
//! that write) counts as a run for all rows.

use crate::error::{Error, StatementError};
use crate::plan;
use crate::postgres::{compat, nodes};
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
#[derive(Clone, Copy)]
pub struct ExecutorRun {
    /// The query.
    pub query: *mut pg_sys::QueryDesc,
    /// Rows that are asked for; `None` is all.
    pub rows: Option<u64>,
    /// No other run of this backend has it.
    pub number: u64,
    /// Whether its plan was checked for scans that can't run.
    is_checked: bool,
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
    // SAFETY: a portal that is active has its memory context.
    unsafe {
        if let Some(portal) = pg_sys::ActivePortal.as_ref()
            && !portal.portalContext.is_null()
            // Each statement of a procedure or a DO block counts for itself.
            && nodes::nth::<pg_sys::PlannedStmt>(portal.stmts, 0)
                .is_some_and(|statement| (*statement).commandType != pg_sys::CmdType::CMD_UTILITY)
        {
            pgrx::PgMemoryContexts::For(portal.portalContext).leak_and_drop_on_delete(LoadedIn);
            let now = pg_sys::GetCurrentStatementStartTimestamp();
            LOADED_IN.set((portal.portalContext, now));
        }
    }
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

/// The innermost run.
pub fn innermost() -> Option<ExecutorRun> {
    RUNS.with_borrow(|runs| runs.last().copied())
}

/// Whether the innermost run is inside no other.
pub fn is_outermost() -> bool {
    RUNS.with_borrow(|runs| runs.len() <= 1)
}

/// The memory context of the statement that all runs are inside of.
pub fn outermost() -> Option<pg_sys::MemoryContext> {
    let (loaded_in, statement) = LOADED_IN.get();
    // SAFETY: reads a time.
    let now = unsafe { pg_sys::GetCurrentStatementStartTimestamp() };
    if !loaded_in.is_null() && statement == now {
        return Some(loaded_in);
    }
    RUNS.with_borrow(|runs| {
        // SAFETY: a query that runs is there, and has a state.
        let run = runs.first()?;
        Some(unsafe { (*(*run.query).estate).es_query_cxt })
    })
}

/// Refuses to invoke for queries with a scan that can't run, before the first invocation of each. The error says whether the statement
/// `has_invoked` before.
pub fn refuse_unrunnable(has_invoked: bool) -> Result<(), Error> {
    let unchecked: Vec<ExecutorRun> = RUNS.with_borrow(|runs| match runs.last() {
        Some(last) if !last.is_checked => {
            (runs.iter().filter(|run| !run.is_checked).copied()).collect()
        }
        _ => Vec::new(),
    });
    for run in &unchecked {
        // SAFETY: a query that runs has a plan.
        unsafe { plan::not_bound::refuse((*run.query).plannedstmt, has_invoked)? };
    }
    if !unchecked.is_empty() {
        RUNS.with_borrow_mut(|runs| runs.iter_mut().for_each(|run| run.is_checked = true));
    }
    Ok(())
}

/// Errors if a node is rescanned outside of a run, which means that a cursor is rewound. Its rows were not kept, so its invocations would be
/// made once more. Later versions of PostgreSQL raise the same error themselves.
///
/// # Safety
/// `estate` is that of a node that is being rescanned.
pub unsafe fn refuse_rewind(estate: *mut pg_sys::EState) -> Result<(), Error> {
    if !compat::REWINDS_ANY_CURSOR {
        return Ok(());
    }
    // SAFETY: a query that runs has a state. A row that is rechecked has another state.
    let is_run = unsafe {
        !(*estate).es_epq_active.is_null()
            || RUNS.with_borrow(|runs| runs.iter().any(|run| (*run.query).estate == estate))
    };
    match is_run {
        true => Ok(()),
        false => Err(Error::Statement(StatementError::CursorRewound)),
    }
}

/// A run in the list, which is removed when the run ends, also by an error.
struct Entry;

impl Entry {
    fn new(query: *mut pg_sys::QueryDesc, count: u64) -> Entry {
        Entry::make(query, count, false)
    }

    fn make(query: *mut pg_sys::QueryDesc, count: u64, is_checked: bool) -> Entry {
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
    // A scan that was not reached by now will not be.
    let _entry = Entry::make(query, 0, true);
    // SAFETY: the argument is the executor's; the guard is for the call through a pointer.
    unsafe {
        match PREVIOUS_FINISH.get().copied().flatten() {
            Some(previous) => pg_guard_ffi_boundary(|| previous(query)),
            None => pg_sys::standard_ExecutorFinish(query),
        }
    }
}
