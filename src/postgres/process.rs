//! The backend's process: its state (miscadmin.h, xact.h), what it calls at its ends (ipc.h, resowner.h), and its file descriptors (fd.h).

use super::refs::{calls, variables};
use pgrx::pg_sys;
use std::ffi::{c_int, c_void};

variables! {
    /// Whether the postmaster loads libraries for all backends.
    pub fn is_preloading() -> bool = process_shared_preload_libraries_in_progress;
    /// Whether the process starts, or works.
    pub fn mode() -> pg_sys::ProcessingMode::Type = Mode;
    /// Whether a parallel worker is starting.
    pub fn is_starting_worker() -> bool = InitializingParallelWorker;
    /// The owner of the resources that are acquired now. Owners are compared by address.
    pub fn resource_owner() -> pg_sys::ResourceOwner = CurrentResourceOwner;
    /// How many files PostgreSQL may have open.
    pub fn max_safe_fds() -> c_int = max_safe_fds;
}

calls! {
    /// Raises an error where the stack is too deep.
    pub fn check_stack_depth() = check_stack_depth();
    /// Whether a transaction runs, and has not failed.
    pub fn is_in_transaction() -> bool = IsTransactionState();
    /// Whether a parallel query runs.
    pub fn is_in_parallel_mode() -> bool = IsInParallelMode();
    /// Whether the current role is a superuser.
    pub fn is_superuser() -> bool = superuser();
    /// Reserves a file descriptor, even if none can be spared.
    pub fn reserve_descriptor() = ReserveExternalFD();
    /// Reserves a file descriptor, if one can be spared.
    pub fn try_reserve_descriptor() -> bool = AcquireExternalFD();
    /// Releases one of the reserved file descriptors.
    pub fn release_descriptor() = ReleaseExternalFD();
}

/// Registers functions of this library, which is never unloaded: one for the exit of the process, and one for the end of a resource owner.
pub fn at_ends(
    exit: extern "C-unwind" fn(c_int, pg_sys::Datum),
    release: extern "C-unwind" fn(pg_sys::ResourceReleasePhase::Type, bool, bool, *mut c_void),
) {
    // SAFETY: the functions can be called at any time, with any arguments.
    unsafe {
        pg_sys::on_proc_exit(Some(exit), pg_sys::Datum::null());
        pg_sys::RegisterResourceReleaseCallback(Some(release), std::ptr::null_mut());
    }
}
