//! Options of catalog objects, as PostgreSQL passes them (defrem.h).

use super::refs::Ref;
use super::text;
use pgrx::pg_sys;
use std::ffi::CStr;

impl<'p> Ref<'p, pg_sys::DefElem> {
    /// The option's name.
    pub fn name(self) -> String {
        // SAFETY: a name ends in a zero byte.
        unsafe { text::shown(self.defname) }
    }

    /// The option's value in the database's encoding, empty where it has none.
    pub fn value(self) -> &'p [u8] {
        if self.arg.is_null() {
            return b"";
        }
        // SAFETY: the value is a string that ends in a zero byte, and lives as long as the option.
        unsafe { CStr::from_ptr(pg_sys::defGetString(self.as_ptr())) }.to_bytes()
    }
}
