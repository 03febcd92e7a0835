//! Datums of a type made of text: encodings (mb/pg_wchar.h), input functions (fmgr.h) and domains (builtins.h).

use super::memory_context::MemoryContext;
use super::refs::calls;
use pgrx::pg_sys;
use std::ffi::{CStr, c_void};

calls! {
    fn base_type_and_typmod(type_oid: pg_sys::Oid, typmod: &mut i32) -> pg_sys::Oid = getBaseTypeAndTypmod(type_oid, typmod);
    fn input_function(type_oid: pg_sys::Oid, function: &mut pg_sys::Oid, element: &mut pg_sys::Oid) = getTypeInputInfo(type_oid, function, element);
    fn look_up(function: pg_sys::Oid, info: &mut pg_sys::FmgrInfo, context: MemoryContext) = fmgr_info_cxt(function, info, context);
}

/// The modifier of a type, or of the base type of a domain.
pub fn base_typmod(type_oid: pg_sys::Oid, typmod: i32) -> i32 {
    let mut typmod = typmod;
    base_type_and_typmod(type_oid, &mut typmod);
    typmod
}

/// Text in the database's encoding: these bytes, or others in the current memory context.
pub fn server_bytes(utf8: &[u8]) -> &[u8] {
    // ASCII is a part of all encodings of a database.
    if utf8.is_ascii() {
        return utf8;
    }
    let given = utf8.as_ptr().cast_mut().cast();
    // SAFETY: PostgreSQL reads that many bytes. It gives them back as they are, or a string that ends in a zero byte.
    unsafe {
        let converted =
            pg_sys::pg_any_to_server(given, utf8.len() as _, pg_sys::pg_enc::PG_UTF8 as _);
        match converted == given {
            true => utf8,
            false => CStr::from_ptr(converted).to_bytes(),
        }
    }
}

/// The input function of a type that is no domain.
pub struct InputFunction {
    info: pg_sys::FmgrInfo,
    /// The function's argument.
    element: pg_sys::Oid,
}

impl InputFunction {
    /// Looks it up. `context` has what the function caches.
    pub fn new(base_type: pg_sys::Oid, context: MemoryContext<'static>) -> InputFunction {
        let (mut function, mut element) = (pg_sys::Oid::INVALID, pg_sys::Oid::INVALID);
        let mut info = pg_sys::FmgrInfo::default();
        input_function(base_type, &mut function, &mut element);
        look_up(function, &mut info, context);
        InputFunction { info, element }
    }

    /// The datum of a text in the database's encoding.
    pub fn call(&mut self, mut text: Vec<u8>, typmod: i32) -> pg_sys::Datum {
        text.push(0);
        let start = text.as_mut_ptr().cast();
        // SAFETY: the function reads a string that ends in a zero byte.
        unsafe { pg_sys::InputFunctionCall(&mut self.info, start, self.element, typmod) }
    }
}

/// A domain.
pub struct Domain {
    type_oid: pg_sys::Oid,
    /// PostgreSQL's cache of the domain.
    cache: *mut c_void,
    /// Holds that cache.
    context: MemoryContext<'static>,
}

impl Domain {
    /// A domain, which is looked up when it is first checked.
    pub fn new(type_oid: pg_sys::Oid, context: MemoryContext<'static>) -> Domain {
        Domain {
            type_oid,
            cache: std::ptr::null_mut(),
            context,
        }
    }

    /// Raises PostgreSQL's error if the domain refuses a datum, or null.
    ///
    /// # Safety
    /// The datum is of the domain's base type.
    pub unsafe fn check(&mut self, datum: Option<pg_sys::Datum>) {
        let value = datum.unwrap_or(pg_sys::Datum::null());
        let context = self.context.as_ptr();
        // SAFETY: the datum is of the base type. The cache is of this domain, and in the context.
        unsafe {
            let cache = &mut self.cache;
            pg_sys::domain_check(value, datum.is_none(), self.type_oid, cache, context);
        }
    }
}
