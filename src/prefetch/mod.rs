//! Prefetching the outer rows of a join, so that many invocations are in flight.
//!
//! A join with invocations is PostgreSQL's nested loop. The loop asks for an outer row, and then for the scan's rows for it. So one
//! invocation at a time would be in flight. This module puts a node between the loop and its outer side. The node reads
//! rows ahead, evaluates the scan's bindings with them and starts the invocations. It hands the rows on in their order, and
//! the scan takes the outcomes. The join, of whatever kind, its filters and all nodes above it stay PostgreSQL's.
//!
//! The rows of an INSERT with RETURNING are prefetched in the same way. So are those of calls of `aws_lambda.invoke` in a select list, whose outcomes a
//! node takes itself.
//!
//! - [`paths`] puts the node into paths, [`plans`] into plans. [`targets`] does both for calls in a select list.
//! - [`node`] has the callbacks. [`rows`] is what the node and the scan share: the rows that were read, and their invocations.
//! - [`reader`] reads a row and evaluates what it invokes. [`row_memory`] holds what was read. [`consumer`] says whose invocations they are.

mod consumer;
mod methods;
mod node;
mod paths;
mod plans;
mod reader;
mod row_memory;
mod rows;
mod targets;

pub use consumer::{Consumer, ScanConsumer};
pub use plans::wrap;
pub use rows::SharedPrefetch;

use pgrx::pg_sys;

/// Makes the node known. Called once, when the library is loaded, which is before a join with a foreign table of ours
/// is planned.
pub fn install() {
    paths::install();
    targets::install();
    // SAFETY: the methods are constants.
    unsafe {
        pg_sys::RegisterCustomScanMethods(&node::SCAN_METHODS.0);
        pg_sys::RegisterCustomScanMethods(&node::INVOKE_METHODS.0);
    }
}
