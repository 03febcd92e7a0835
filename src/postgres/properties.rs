//! Properties of a node in EXPLAIN (explain.h).

use pgrx::pg_sys;
use std::ffi::{CStr, CString};

/// Adds a line of text, which is in the database's encoding.
///
/// # Safety
/// `es` is EXPLAIN's.
pub unsafe fn text(es: *mut pg_sys::ExplainState, label: &CStr, value: &[u8]) {
    // A zero byte can't come from a zero-terminated deparsed expression.
    if let Ok(value) = CString::new(value) {
        // SAFETY: both strings outlive the call.
        unsafe { pg_sys::ExplainPropertyText(label.as_ptr(), value.as_ptr(), es) };
    }
}

/// Adds a number.
///
/// # Safety
/// `es` is EXPLAIN's.
pub unsafe fn number(es: *mut pg_sys::ExplainState, label: &CStr, value: u64) {
    // SAFETY: the label outlives the call.
    unsafe {
        pg_sys::ExplainPropertyUInteger(label.as_ptr(), std::ptr::null(), value, es);
    }
}
