//! PostgreSQL's structures where pgrx leaves them as they are: small typed wrappers, which have the `unsafe` that reading them takes.
//!
//! Most wrappers are lines of the macros in [`refs`]: fields, arrays, calls of functions, and variables.

pub mod async_append;
pub mod catalog;
pub mod compat;
pub mod context;
pub mod custom_scan;
mod def_elem;
pub mod executor;
pub mod expressions;
pub mod extensions;
pub mod fmgr;
pub mod guc;
pub mod input;
pub mod jsonb;
pub mod list;
pub mod memory_context;
pub mod modify_table;
pub mod nulls;
pub mod operands;
pub mod paths;
pub mod planner;
pub mod plans;
pub mod process;
pub mod properties;
pub mod range_table;
pub mod refs;
pub mod rel;
pub mod relids;
pub mod running;
pub mod slots;
pub mod spi;
pub mod temporary;
pub mod text;
pub mod upper_paths;
pub mod utility;
pub mod varlena;
pub mod waiting;
