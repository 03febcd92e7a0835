//! The functions that an account has.
//!
//! - [`import`] is IMPORT FOREIGN SCHEMA, which makes a foreign table for each function. [`comments`] gives these the functions' descriptions.
//!
//! `lambda/configuration.rs` reads what Lambda tells of functions.

mod comments;
pub mod import;
