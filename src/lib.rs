//! AWS Lambda as a PostgreSQL table.
//!
//! # Contents
//!
//! A SELECT goes through these modules from top to bottom:
//!
//! - [`fdw`]: the wrapper and its callbacks.
//! - [`plan`]: paths and plans, with [`clause`] recognising the clauses that give input columns their values.
//! - [`scan`]: the running scan, with [`values`] evaluating those clauses and [`config`] reading options.
//! - [`request`]: a checked invocation, with [`name`] holding the grammar of names.
//! - [`backend`]: the backend's network thread and clients; [`runtime`] is the thread, [`wait`] the waiting for it.
//! - [`lambda`]: the SDK.
//! - [`columns`]: the columns, and how a response becomes a row.
//! - [`explain`]: what EXPLAIN shows.
//!
//! Used by all: [`options`] (the one table of options), [`settings`], [`error`] (the one table of errors),
//! [`nodes`] (PostgreSQL's lists) and [`compat`] (differences between PostgreSQL's versions).

pgrx::pg_module_magic!();

mod backend;
mod clause;
mod columns;
mod compat;
mod config;
mod error;
mod explain;
mod fdw;
mod lambda;
mod name;
mod nodes;
mod options;
mod plan;
mod request;
mod runtime;
mod scan;
mod settings;
mod values;
mod wait;

/// Called by PostgreSQL when it loads the library.
#[pgrx::pg_guard]
pub extern "C-unwind" fn _PG_init() {
    settings::define();
}
