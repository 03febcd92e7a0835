//! AWS Lambda as a PostgreSQL table.
//!
//! # Contents
//!
//! A SELECT goes through these modules from top to bottom:
//!
//! - [`fdw`]: the wrapper and its callbacks.
//! - [`plan`]: from clauses to a plan.
//! - [`scan`]: from a plan to invocations, and from responses to rows.
//! - [`rows`]: between rows and invocations.
//! - [`prefetch`]: the outer rows of a join, read ahead so that many of their invocations are in flight.
//! - [`modify`]: INSERT and COPY.
//! - [`call`]: `aws_lambda.invoke`, which needs no plan.
//! - [`functions`]: the functions of an account, and the import of tables for them.
//! - [`queue`]: invocations that are written to a table and made after the transaction has committed.
//! - [`dispatch`]: how many invocations are on their way, and the waiting for them.
//! - [`backend`]: what a backend has: configuration, clients, the network thread, the waiting.
//! - [`lambda`]: requests, names, and the AWS SDK.
//! - [`explain`]: what EXPLAIN shows of the plan and of the scan.
//!
//! Used by all: [`columns`] (the columns that a table can have), [`fields`] (those that are fields of a document), [`options`] (the one table of options),
//! [`settings`], [`error`] (the one table of errors), [`memory`] and [`postgres`] (lists and versions).

pgrx::pg_module_magic!();

mod backend;
mod call;
mod columns;
mod dispatch;
mod error;
mod explain;
mod fdw;
mod fields;
mod functions;
mod lambda;
mod memory;
mod modify;
mod options;
mod plan;
mod postgres;
mod prefetch;
mod queue;
mod rows;
mod scan;
mod settings;

#[cfg(fuzzing)]
pub use lambda::fuzzing;

use error::OrReport;

/// Called by PostgreSQL when it loads the library.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::check_can_be_defined().or_report();
    settings::define();
    if postgres::process::is_preloading() {
        // For all backends, which this process forks.
        lambda::preload_root_certificates();
        queue::worker::register();
    }
    dispatch::executor_hooks::install();
    plan::pathlist_hook::install();
    prefetch::install();
}
