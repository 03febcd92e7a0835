//! Memory contexts (palloc.h, memutils.h).
//!
//! What is allocated in a context may be referred to as long as the context is not reset. So resetting it is unsafe.

use super::refs::{Ref, calls, variables};
use pgrx::{PgMemoryContexts, pg_sys};
use std::ffi::CStr;

/// A memory context.
pub type MemoryContext<'p> = Ref<'p, pg_sys::MemoryContextData>;

calls! {
    fn new_context<'p>(parent: MemoryContext, name: &CStr, least: usize, first: usize, most: usize) -> MemoryContext<'p>
        = AllocSetContextCreateInternal(parent, name, least, first, most);
    fn enter(context: MemoryContext) -> MemoryContext = MemoryContextSwitchTo(context);
}

variables! {
    fn current<'p>() -> MemoryContext<'p> = CurrentMemoryContext;
    fn work_mem_in_kilobytes() -> i32 = work_mem;
}

impl<'p> MemoryContext<'p> {
    /// The current one.
    pub fn current() -> MemoryContext<'p> {
        current()
    }

    /// A new context for values below this one.
    pub fn child(self) -> MemoryContext<'p> {
        let (least, first) = (
            pg_sys::ALLOCSET_SMALL_MINSIZE,
            pg_sys::ALLOCSET_SMALL_INITSIZE,
        );
        let most = pg_sys::ALLOCSET_DEFAULT_MAXSIZE;
        let name = c"aws_lambda_fdw values";
        new_context(self, name, least as usize, first as usize, most as usize)
    }

    /// Works in the context. After an error PostgreSQL chooses the context.
    pub fn switch_to<T>(self, work: impl FnOnce() -> T) -> T {
        let before = enter(self);
        let result = work();
        enter(before);
        result
    }

    /// Moves a value out of Rust's hands. It is dropped with the context, also after an error.
    pub fn own<T>(self, value: T) -> &'p T {
        let value = PgMemoryContexts::For(self.as_ptr()).leak_and_drop_on_delete(value);
        // SAFETY: the value lives as long as the context.
        unsafe { &*value }
    }

    /// How many bytes the context has. Those below it do not count.
    pub fn allocated(self) -> usize {
        self.mem_allocated
    }

    /// Frees all that is in the context.
    ///
    /// # Safety
    /// Nothing that is in the context is used afterwards.
    pub unsafe fn reset(self) {
        // Nothing was allocated, as often for a row.
        if self.isReset && self.firstchild.is_null() {
            return;
        }
        // SAFETY: the contract of this function says that nothing of the context is used afterwards.
        unsafe { pg_sys::MemoryContextReset(self.as_ptr()) };
    }

    /// Frees the context and all that is in it.
    ///
    /// # Safety
    /// Neither the context nor what is in it is used afterwards.
    pub unsafe fn delete(self) {
        // SAFETY: the contract of this function says that nothing of the context is used afterwards.
        unsafe { pg_sys::MemoryContextDelete(self.as_ptr()) };
    }
}

/// The bytes that an operation may take before it uses temporary files: the setting `work_mem`.
pub fn work_mem() -> usize {
    work_mem_in_kilobytes().unsigned_abs() as usize * 1024
}
