//! Settings, as PostgreSQL keeps and checks them (guc.h).

use super::refs::calls;
use pgrx::pg_sys;
use std::ffi::{CStr, CString};

calls! {
    fn config_option<'p>(name: &CStr, missing_ok: bool) -> Option<&'p CStr> = GetConfigOption(name, missing_ok, false).cast_mut();
}

/// The value of a setting; `None` where there is no such setting.
pub fn value(name: &CStr) -> Option<CString> {
    config_option(name, true).map(CStr::to_owned)
}

/// The number that a value is, in the unit that the setting's flags name.
pub fn parse_int(value: &CStr, flags: i32) -> Option<i32> {
    let mut number = 0;
    // SAFETY: the value ends in a zero byte, and no hint is wanted.
    let is_number =
        unsafe { pg_sys::parse_int(value.as_ptr(), &mut number, flags, std::ptr::null_mut()) };
    is_number.then_some(number)
}

/// Sets the message and the hint of the error that PostgreSQL raises when a check hook refuses a value.
pub fn set_check_error(message: &CStr, hint: &'static CStr) {
    // SAFETY: PostgreSQL copies the message, and the hint is static.
    unsafe {
        pg_sys::pre_format_elog_string(0, std::ptr::null());
        pg_sys::GUC_check_errmsg_string =
            pg_sys::format_elog_string(c"%s".as_ptr(), message.as_ptr());
        pg_sys::GUC_check_errhint_string = hint.as_ptr().cast_mut();
    }
}
