//! PostgreSQL's structures where pgrx leaves them as they are.

pub mod compat;
pub mod context;
pub mod extensions;
pub mod nodes;
pub mod properties;
pub mod slots;
pub mod temporary;
pub mod text;
