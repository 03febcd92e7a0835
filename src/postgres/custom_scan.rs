//! Custom scans: paths (pathnodes.h), plans (plannodes.h) and nodes (execnodes.h) of a kind that PostgreSQL has not.

use super::executor::CustomScanState;
use std::ffi::CStr;

impl<'p> CustomScanState<'p> {
    /// The name of the kind.
    pub fn kind(self) -> &'p CStr {
        // SAFETY: a custom scan has callbacks with a name, which are constants of the library that it comes from.
        unsafe { CStr::from_ptr((*self.methods).CustomName) }
    }
}
