//! The backend's process: its state (miscadmin.h, xact.h), what it calls at its ends (ipc.h, resowner.h), and its file descriptors (fd.h).

use super::compat;
use super::refs::{calls, variables};
use crate::error::{Error, OrReport};
use nix::errno::Errno;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_sys};
use std::ffi::{CStr, c_int, c_void};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

variables! {
    /// Whether the postmaster loads libraries for all backends.
    pub fn is_preloading() -> bool = process_shared_preload_libraries_in_progress;
    /// Whether the process starts, or works.
    pub fn mode() -> pg_sys::ProcessingMode::Type = Mode;
    /// Whether pg_upgrade has started the server.
    pub fn is_upgrading() -> bool = IsBinaryUpgrade;
    /// Whether a parallel worker is starting.
    pub fn is_starting_worker() -> bool = InitializingParallelWorker;
    /// The owner of the resources that are acquired now. Owners are compared by address.
    pub fn resource_owner() -> pg_sys::ResourceOwner = CurrentResourceOwner;
    /// The database of the process.
    pub fn database() -> pg_sys::Oid = MyDatabaseId;
    /// The setting `cluster_name`.
    pub fn cluster_name<'p>() -> Option<&'p CStr> = cluster_name;
    /// The process id.
    pub fn id() -> c_int = MyProcPid;
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
    /// Raises an error where the transaction is read-only.
    pub fn prevent_if_read_only(command: &CStr) = PreventCommandIfReadOnly(command);
    /// Whether the process applies the changes of a publisher.
    pub fn is_subscriber() -> bool = IsLogicalWorker();
    /// Whether the current role is a superuser.
    pub fn is_superuser() -> bool = superuser();
    /// Reserves a file descriptor, even if none can be spared.
    pub fn reserve_descriptor() = ReserveExternalFD();
    /// Reserves a file descriptor, if one can be spared.
    pub fn try_reserve_descriptor() -> bool = AcquireExternalFD();
    /// Has the transaction on disk before its commit ends, even where synchronous_commit is off. So is all that was committed before.
    pub fn force_sync_commit() = ForceSyncCommit();
    /// Releases one of the reserved file descriptors.
    pub fn release_descriptor() = ReleaseExternalFD();
}

/// Random bytes.
pub fn random_bytes() -> [u8; 16] {
    let mut bytes = [0; 16];
    // SAFETY: fills the bytes, and takes no reference of them.
    let is_random = unsafe { pg_sys::pg_strong_random(bytes.as_mut_ptr().cast(), bytes.len()) };
    match is_random {
        true => bytes,
        false => fastrand::u128(..).to_ne_bytes(),
    }
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

/// Registers a function of this library, which is never unloaded, for the end of each transaction.
pub fn at_end_of_transactions(
    end: unsafe extern "C-unwind" fn(pg_sys::XactEvent::Type, *mut c_void),
) {
    // SAFETY: PostgreSQL calls the function at the ends of transactions.
    unsafe { pg_sys::RegisterXactCallback(Some(end), std::ptr::null_mut()) };
}

/// What pg_stat_activity shows of a background worker.
pub enum Activity {
    /// It works.
    Running,
    /// It waits for work.
    Idle,
}

/// Shows in pg_stat_activity what a background worker does. Called outside of a transaction.
pub fn report(activity: Activity, what: &CStr) {
    if matches!(activity, Activity::Idle) {
        // SAFETY: no transaction runs.
        unsafe { pg_sys::pgstat_report_stat(true) };
    }
    let state = match activity {
        Activity::Running => pg_sys::BackendState::STATE_RUNNING,
        Activity::Idle => pg_sys::BackendState::STATE_IDLE,
    };
    // SAFETY: PostgreSQL copies the text.
    unsafe { pg_sys::pgstat_report_activity(state, what.as_ptr()) };
}

/// Works in a transaction of a background worker, and commits it unless the work fails.
pub fn in_transaction<T, E>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    // SAFETY: no transaction runs.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
        read_committed();
        // SPI wants one, where no portal has any.
        pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot());
        let done = work();
        if done.is_err() {
            pg_sys::AbortCurrentTransaction();
            return done;
        }
        pg_sys::PopActiveSnapshot();
        pg_sys::CommitTransactionCommand();
        // Autovacuum hears of dead rows by this. PostgreSQL does it for sessions, and at most once a second.
        pg_sys::pgstat_report_stat(false);
        done
    }
}

/// Has this background worker end its wait for a lock, a standby or the network when it is told to stop, as a session does.
pub fn note_when_terminated() {
    compat::handle_sigterm();
}

/// Has the postmaster not start this background worker again when it was told to stop.
pub fn stay_away_when_terminated() {
    // SAFETY: the function can be called at any time, with any arguments.
    unsafe { pg_sys::on_proc_exit(Some(exit_when_terminated), pg_sys::Datum::null()) };
}

/// Whether termination ends a wait for a standby alone, and not the work.
static DEFERS_TERMINATION: AtomicBool = AtomicBool::new(false);

/// Has a background worker go on with its work when it is told to stop, or not. It has to look at [`should_stop`] then.
pub fn defer_termination(defers: bool) {
    DEFERS_TERMINATION.store(defers, Relaxed);
}

/// Tells this process that it was terminated, as PostgreSQL's own handler does (postgres.c). Called by a signal handler.
pub fn note_termination() {
    let errno = Errno::last_raw();
    // SAFETY: a signal handler may write the variables and set the latch.
    unsafe {
        (&raw mut pg_sys::ShutdownRequestPending).write_volatile(1);
        (&raw mut pg_sys::ProcDiePending).write_volatile(1);
        if !DEFERS_TERMINATION.load(Relaxed) {
            (&raw mut pg_sys::InterruptPending).write_volatile(1);
        }
        pg_sys::SetLatch(pg_sys::MyLatch);
    }
    Errno::set_raw(errno);
}

extern "C-unwind" fn exit_when_terminated(code: c_int, _arg: pg_sys::Datum) {
    if code != 0 && should_stop() {
        exit(0);
    }
}

/// Works in a subtransaction. An error, also one of PostgreSQL's, takes back what was done in it and is returned. PostgreSQL has forgotten it by then, so
/// [`raise_caught`](crate::error::raise_caught) raises it.
pub fn in_subtransaction<T>(
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Box<CaughtError>> {
    // SAFETY: a transaction runs. Memory context and resource owner are those from before at the end, as PL/pgSQL has it.
    unsafe {
        let (context, owner) = (pg_sys::CurrentMemoryContext, resource_owner());
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        pg_sys::MemoryContextSwitchTo(context);
        let done = PgTryBuilder::new(AssertUnwindSafe(|| Ok(work().or_report())))
            .catch_others(|caught| Err(Box::new(caught)))
            .execute();
        match &done {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
        done
    }
}

/// Works with a bound for each wait for a lock, beside that of lock_timeout.
pub fn with_lock_timeout<T>(most: Duration, work: impl FnOnce() -> T) -> T {
    struct Before(c_int);
    impl Drop for Before {
        fn drop(&mut self) {
            // SAFETY: the variable of a setting, which nothing but its waits for locks reads.
            unsafe { pg_sys::LockTimeout = self.0 };
        }
    }
    // SAFETY: reads the variable of a setting.
    let before = unsafe { Before(pg_sys::LockTimeout) };
    let most = most.as_millis() as c_int;
    if before.0 == 0 || before.0 > most {
        // SAFETY: the setting takes any number of milliseconds from 0 on.
        unsafe { pg_sys::LockTimeout = most };
    }
    work()
}

/// Whether a background worker was told to stop.
pub fn should_stop() -> bool {
    // SAFETY: a signal handler may write the variable.
    unsafe { (&raw const pg_sys::ShutdownRequestPending).read_volatile() != 0 }
}

/// Reads the configuration files if a background worker was told to.
pub fn reload_if_asked() {
    // SAFETY: a signal handler may write the variable. Called outside of a transaction.
    unsafe {
        if (&raw const pg_sys::ConfigReloadPending).read_volatile() != 0 {
            (&raw mut pg_sys::ConfigReloadPending).write_volatile(0);
            pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP);
        }
    }
}

/// Sets the latch of a process of this server, if there is one with this id. Raises no error.
pub fn wake(pid: i32) {
    // SAFETY: entries of processes are never freed. A latch may be set for nothing.
    unsafe {
        if let Some(process) = pg_sys::BackendPidGetProc(pid).as_mut() {
            pg_sys::SetLatch(&mut process.procLatch);
        }
    }
}

/// Ends a background worker. What Rust would drop is dropped before.
pub fn exit(code: i32) {
    // SAFETY: runs the functions for the end of a process, and does not return.
    unsafe { pg_sys::proc_exit(code) };
}

/// Has a transaction that has just begun see what others commit meanwhile, whatever the default is.
pub fn read_committed() {
    // SAFETY: a transaction has just begun, and has no snapshot.
    unsafe { pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as _ };
}
