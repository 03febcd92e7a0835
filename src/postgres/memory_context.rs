//! Memory contexts (palloc.h, memutils.h).
//!
//! What is allocated in a context may be referred to as long as the context is not reset. So resetting it is unsafe.

#![allow(dead_code)]

use super::refs::Ref;
use pgrx::{PgMemoryContexts, pg_sys};

/// A memory context.
pub type MemoryContext<'p> = Ref<'p, pg_sys::MemoryContextData>;

impl<'p> MemoryContext<'p> {
    /// The current one.
    pub fn current() -> MemoryContext<'p> {
        // SAFETY: the backend always has a current context.
        unsafe { Ref::new(pg_sys::CurrentMemoryContext) }
    }

    /// A new context for values below this one.
    pub fn child(self) -> MemoryContext<'p> {
        // SAFETY: makes a new context.
        unsafe {
            Ref::new(pg_sys::AllocSetContextCreateInternal(
                self.as_ptr(),
                c"aws_lambda_fdw values".as_ptr(),
                pg_sys::ALLOCSET_SMALL_MINSIZE as _,
                pg_sys::ALLOCSET_SMALL_INITSIZE as _,
                pg_sys::ALLOCSET_DEFAULT_MAXSIZE as _,
            ))
        }
    }

    /// Works in the context. After an error PostgreSQL chooses the context.
    pub fn switch_to<T>(self, work: impl FnOnce() -> T) -> T {
        // SAFETY: both contexts are valid.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.as_ptr());
            let result = work();
            pg_sys::MemoryContextSwitchTo(before);
            result
        }
    }

    /// Moves a value out of Rust's hands. It is dropped with the context, also after an error.
    pub fn own<T>(self, value: T) -> *mut T {
        PgMemoryContexts::For(self.as_ptr()).leak_and_drop_on_delete(value)
    }

    /// How many bytes the context and those below it have.
    pub fn allocated(self) -> usize {
        // SAFETY: the context is valid.
        unsafe { pg_sys::MemoryContextMemAllocated(self.as_ptr(), true) }
    }

    /// Frees all that is in the context.
    ///
    /// # Safety
    /// Nothing that is in the context is used afterwards.
    pub unsafe fn reset(self) {
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
    // SAFETY: reads a setting, in kilobytes.
    unsafe { pg_sys::work_mem }.unsigned_abs() as usize * 1024
}
