//! The functions that an account has.
//!
//! - [`import`] is IMPORT FOREIGN SCHEMA, which makes a foreign table for each function. [`comments`] gives these the functions' descriptions.
//! - [`rows`] is a foreign table whose rows are functions: one for each that is asked for, or all of them. [`columns`] has its columns, and
//!   [`states`] asks for what a list leaves out.
//!
//! `lambda/configuration.rs` reads what Lambda tells of functions.

mod columns;
mod comments;
pub mod import;
pub mod rows;
mod states;
