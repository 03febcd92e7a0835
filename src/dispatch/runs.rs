//! Which queries the executor is running, innermost last, and how many rows each was asked for.
//!
//! PostgreSQL tells a scan neither, so a hook notes them while a run lasts.

use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::{pg_guard, pg_sys};
use std::cell::{Cell, RefCell};
use std::sync::OnceLock;

static PREVIOUS: OnceLock<pg_sys::ExecutorRun_hook_type> = OnceLock::new();

thread_local! {
    static RUNS: RefCell<Vec<Run>> = const { RefCell::new(Vec::new()) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// One call of the executor for some rows of a query.
#[derive(Clone, Copy)]
pub struct Run {
    /// The query.
    pub query: *mut pg_sys::QueryDesc,
    /// Rows that are asked for; `None` is all.
    pub rows: Option<u64>,
    /// Tells runs apart.
    pub number: u64,
}

/// Sets the hook. Called once, when the library is loaded.
pub fn install() {
    // SAFETY: hooks are set while the library is loaded, in the backend's thread.
    unsafe {
        PREVIOUS.get_or_init(|| pg_sys::ExecutorRun_hook);
        pg_sys::ExecutorRun_hook = Some(executor_run);
    }
}

/// The run that is going on.
pub fn innermost() -> Option<Run> {
    RUNS.with_borrow(|runs| runs.last().copied())
}

/// The state of the query that all others run inside of.
pub fn outermost() -> Option<*mut pg_sys::EState> {
    RUNS.with_borrow(|runs| {
        // SAFETY: a query that runs is there, and has a state.
        runs.first().map(|run| unsafe { (*run.query).estate })
    })
}

/// A run's place in the list, which it leaves when it ends, also by an error.
struct Entry;

impl Entry {
    fn new(query: *mut pg_sys::QueryDesc, count: u64) -> Entry {
        let number = COUNT.get() + 1;
        COUNT.set(number);
        RUNS.with_borrow_mut(|runs| {
            runs.push(Run {
                query,
                rows: (count > 0).then_some(count),
                number,
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

#[cfg(not(feature = "pg18"))]
#[pg_guard]
unsafe extern "C-unwind" fn executor_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    execute_once: bool,
) {
    let _entry = Entry::new(query, count);
    // SAFETY: the arguments are the executor's. A hook is called through a pointer, so the guard that turns
    // PostgreSQL's errors into unwinding has to be put around it here.
    unsafe {
        match PREVIOUS.get().copied().flatten() {
            Some(previous) => {
                pg_guard_ffi_boundary(|| previous(query, direction, count, execute_once));
            }
            None => pg_sys::standard_ExecutorRun(query, direction, count, execute_once),
        }
    }
}

#[cfg(feature = "pg18")]
#[pg_guard]
unsafe extern "C-unwind" fn executor_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
) {
    let _entry = Entry::new(query, count);
    // SAFETY: as above.
    unsafe {
        match PREVIOUS.get().copied().flatten() {
            Some(previous) => pg_guard_ffi_boundary(|| previous(query, direction, count)),
            None => pg_sys::standard_ExecutorRun(query, direction, count),
        }
    }
}
