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
//! - [`paths`] puts the node into paths, [`plans`] into plans.
//! - [`node`] has its callbacks, [`rows`] the rows that were read ahead.

mod methods;
mod node;
mod paths;
mod plans;
mod rows;

pub use plans::{new_parameter, wrap};
pub use rows::{Invoker, Prefetch};

use pgrx::pg_sys;

/// Makes the node known. Called once, when the library is loaded, which is before a join with a foreign table of ours
/// is planned.
pub fn install() {
    paths::install();
    // SAFETY: the methods are constants.
    unsafe { pg_sys::RegisterCustomScanMethods(&node::SCAN_METHODS.0) };
}
