//! Options of catalog objects, as PostgreSQL passes them (defrem.h).

use super::refs::{Ref, calls, fields};
use super::text;
use pgrx::pg_sys;
use std::ffi::CStr;

fields! {
    DefElem.defname as name_in_server: Option<&'p CStr>;
    DefElem.arg as argument: Option<Ref<'p, pg_sys::Node>>;
}

calls! {
    fn string(option: Ref<'_, pg_sys::DefElem>) -> Option<&CStr> = defGetString(option);
}

impl<'p> Ref<'p, pg_sys::DefElem> {
    /// The option's name.
    pub fn name(self) -> String {
        text::shown(self.name_in_server())
    }

    /// The option's value in the database's encoding, empty where it has none.
    pub fn value(self) -> &'p [u8] {
        let value = self.argument().and_then(|_| string(self));
        value.map_or(b"", CStr::to_bytes)
    }
}
