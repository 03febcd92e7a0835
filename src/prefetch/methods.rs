//! How the node's callbacks are handed to PostgreSQL.

/// The node's name in EXPLAIN, and the name of the kind that makes calls.
pub use crate::dispatch::rows_wanted::{INVOKE, PREFETCH as NAME};

/// PostgreSQL's structures of callbacks, which it only reads.
pub struct Methods<T>(pub T);

// SAFETY: constants, made of pointers to functions and to a constant string.
unsafe impl<T> Sync for Methods<T> {}
