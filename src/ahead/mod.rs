//! Reading the outer rows of a join ahead, so that the invocations of many are in flight.
//!
//! A join with invocations is PostgreSQL's nested loop. It asks for an outer row, then for the rows that the scan has for
//! it, so one invocation would be in flight at a time. This puts a node between the loop and its outer side. The node
//! reads rows ahead, evaluates the scan's bindings with them and starts the invocations, then hands the rows on in their order; the
//! scan takes what has been started for the row. The join itself, of whatever kind, its filters and all that is above it stay
//! PostgreSQL's.
//!
//! The rows of an INSERT that returns what came back are read ahead in the same way.
//!
//! - [`paths`] puts the node into paths and plans, [`node`] runs it.

pub mod node;
mod paths;

pub use node::Ahead;
#[cfg(not(feature = "pg13"))]
pub use paths::{new_parameter, wrap};

use crate::dispatch::Dispatch;
use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::CStr;

/// That whose invocations are made ahead.
pub trait Invoker {
    /// Its invocations, which are made as fast as `node` is asked for rows.
    ///
    /// # Safety
    /// Called while the query runs that both are part of.
    unsafe fn dispatch(&mut self, node: *mut pg_sys::PlanState) -> Result<&mut Dispatch, Error>;

    /// Its foreign table.
    fn table(&self) -> pg_sys::Oid;

    /// Whether the outer rows are what it inserts.
    fn inserts(&self) -> bool;
}

/// The node's name in EXPLAIN.
const NAME: &CStr = c"LambdaReadAhead";

/// PostgreSQL's structures of callbacks, which it only reads.
struct Methods<T>(T);

// SAFETY: constants, made of pointers to functions and to a constant string.
unsafe impl<T> Sync for Methods<T> {}

static PATH_METHODS: Methods<pg_sys::CustomPathMethods> = Methods(pg_sys::CustomPathMethods {
    CustomName: NAME.as_ptr(),
    PlanCustomPath: Some(paths::plan_custom_path),
    ReparameterizeCustomPathByChild: None,
});

static SCAN_METHODS: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: NAME.as_ptr(),
    CreateCustomScanState: Some(node::create_custom_scan_state),
});

static EXEC_METHODS: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: NAME.as_ptr(),
    BeginCustomScan: Some(node::begin_custom_scan),
    ExecCustomScan: Some(node::exec_custom_scan),
    EndCustomScan: Some(node::end_custom_scan),
    ReScanCustomScan: Some(node::rescan_custom_scan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(crate::explain::explain_custom_scan),
});

/// Makes the node known. Called once, when the library is loaded, which is before a join with a foreign table of ours
/// is planned.
pub fn install() {
    paths::install();
    // SAFETY: the methods are constants.
    unsafe { pg_sys::RegisterCustomScanMethods(&SCAN_METHODS.0) };
}
