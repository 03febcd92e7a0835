//! Between PostgreSQL's rows and invocations.
//!
//! - [`values`] evaluates what the clauses give the input columns.
//! - [`invocation_set`] makes requests of the values, and has them started and taken in order.
//! - [`conditions`] is what is checked of the values before.
//! - [`sources`] remembers what the rows that give the values have invoked.
//! - [`inserted`] makes inputs of a row that is inserted.
//! - [`output`] makes columns of what came back, [`writer`] datums of their values.

pub mod conditions;
pub mod inserted;
pub mod invocation_set;
pub mod output;
pub mod sources;
pub mod values;
pub mod writer;

use pgrx::pg_sys;

/// A memory context for values.
///
/// # Safety
/// Called in the backend's thread; `parent` is a memory context.
pub unsafe fn new_context(parent: pg_sys::MemoryContext) -> pg_sys::MemoryContext {
    // SAFETY: see above.
    unsafe {
        pg_sys::AllocSetContextCreateInternal(
            parent,
            c"aws_lambda_fdw values".as_ptr(),
            pg_sys::ALLOCSET_SMALL_MINSIZE as _,
            pg_sys::ALLOCSET_SMALL_INITSIZE as _,
            pg_sys::ALLOCSET_DEFAULT_MAXSIZE as _,
        )
    }
}
