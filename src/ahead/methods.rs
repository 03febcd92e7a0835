//! The node's name, and how its callbacks are handed to PostgreSQL.

use std::ffi::CStr;

/// The node's name in EXPLAIN.
pub const NAME: &CStr = c"LambdaReadAhead";

/// PostgreSQL's structures of callbacks, which it only reads.
pub struct Methods<T>(pub T);

// SAFETY: constants, made of pointers to functions and to a constant string.
unsafe impl<T> Sync for Methods<T> {}
