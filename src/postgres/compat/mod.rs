//! Where PostgreSQL 14 to 19 differ in what this extension calls, and what pgrx leaves out. Nothing here decides anything.

mod executor;
mod planner;
mod process;

pub use executor::*;
pub(crate) use executor_run_hook;
pub use planner::*;
pub use process::*;
