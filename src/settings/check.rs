//! Checks of the values of settings.
//!
//! PostgreSQL checks a value when it is set, if the library is loaded by then. A value that was set before is checked when the library is
//! loaded.

use super::{Kind, Setting, all};
use crate::error::{ConfigurationError, Error, shortened};
use crate::lambda::region::check_region;
use crate::options::endpoint_url;
use crate::postgres::text::{LONGEST, Text, for_server};
use pgrx::{GucFlags, pg_guard, pg_sys};
use std::ffi::{CStr, c_char, c_void};

/// Which texts a setting takes. Every setting takes the empty text.
pub(super) struct TextCheck {
    is_valid: fn(&str) -> bool,
    /// A sentence for HINT.
    allowed: &'static CStr,
    pub(super) hook: pg_sys::GucStringCheckHook,
}

pub(super) const fn region_check() -> TextCheck {
    TextCheck {
        is_valid: |value| check_region(value).is_ok(),
        allowed: c"A region looks like us-east-1 or us-gov-west-1.",
        hook: Some(check_region_setting),
    }
}

pub(super) const fn url_check() -> TextCheck {
    TextCheck {
        is_valid: |value| endpoint_url(value).is_ok(),
        allowed:
            c"It is a URL such as https://lambda.us-east-1.amazonaws.com or http://127.0.0.1:4566.",
        hook: Some(check_url_setting),
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn check_region_setting(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a place with null or a zero-terminated string.
    unsafe { region_check().accepts(c"aws_lambda.region", *value) }
}

#[pg_guard]
unsafe extern "C-unwind" fn check_url_setting(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL passes a place with null or a zero-terminated string.
    unsafe { url_check().accepts(c"aws_lambda.endpoint_override", *value) }
}

impl TextCheck {
    /// The body of a check hook (guc.h): whether the value is valid, with message and hint for PostgreSQL where it is not.
    ///
    /// # Safety
    /// `value` is null or a zero-terminated string.
    unsafe fn accepts(&self, name: &CStr, value: *const c_char) -> bool {
        // SAFETY: `value` is null or zero-terminated. PostgreSQL copies the message, and the hint is static.
        unsafe {
            if value.is_null() || self.is_valid(CStr::from_ptr(value)) {
                return true;
            }
            let message = for_server(&invalid(name, CStr::from_ptr(value)));
            pg_sys::pre_format_elog_string(0, std::ptr::null());
            pg_sys::GUC_check_errmsg_string =
                pg_sys::format_elog_string(c"%s".as_ptr(), message.as_ptr());
            pg_sys::GUC_check_errhint_string = self.allowed.as_ptr().cast_mut();
            false
        }
    }

    /// Valid values are ASCII, so the database's encoding does not matter.
    fn is_valid(&self, value: &CStr) -> bool {
        let bytes = value.to_bytes();
        let text = (bytes.len() <= LONGEST).then(|| std::str::from_utf8(bytes));
        bytes.is_empty() || matches!(text, Some(Ok(text)) if (self.is_valid)(text))
    }
}

/// PostgreSQL's message for an invalid value. The value is shortened, printable, and without what may be a password before a host.
fn invalid(name: &CStr, value: &CStr) -> String {
    let bytes = value.to_bytes();
    let shown = Text::of_server(&bytes[..bytes.len().min(LONGEST)]).shown();
    let value = shown.rsplit('@').next().unwrap_or_default();
    format!(
        "invalid value for parameter \"{}\": \"{}\"",
        name.to_string_lossy(),
        shortened(value, 200)
    )
}

impl Setting {
    /// The values that the setting takes, as a sentence, where `value` is none of them.
    fn allowed_unless_valid(&self, value: &CStr) -> Option<String> {
        match &self.kind {
            Kind::Number { range, unit, .. } => {
                let mut number = 0;
                // SAFETY: reads a zero-terminated string.
                let is_number = unsafe {
                    let no_hint = std::ptr::null_mut();
                    pg_sys::parse_int(value.as_ptr(), &mut number, unit.bits(), no_hint)
                };
                let units = [
                    (GucFlags::UNIT_MS, " ms"),
                    (GucFlags::UNIT_S, " s"),
                    (GucFlags::UNIT_KB, " kB"),
                ];
                let unit = units
                    .iter()
                    .find(|(flag, _)| unit.contains(*flag))
                    .map_or("", |(_, name)| name);
                (!is_number || !range.contains(&number)).then(|| {
                    format!(
                        "It is from {}{unit} to {}{unit}.",
                        range.start(),
                        range.end()
                    )
                })
            }
            Kind::Text { check, .. } => {
                (!check.is_valid(value)).then(|| check.allowed.to_string_lossy().into_owned())
            }
        }
    }
}

/// Checks, before the settings are defined, that PostgreSQL will give them the values that the session has set.
///
/// PostgreSQL drops these values in a parallel query, so that is an error here. A worker that is starting is no such case: it gets the
/// leader's values afterwards. PostgreSQL also replaces an invalid value by the default, with a warning. A function would then be
/// invoked in another region, or more often, than the session said, so that is an error too. Where the library is loaded as the session
/// starts, the warning stands, so that the session can start.
pub fn check_can_be_defined() -> Result<(), Error> {
    // SAFETY: asks for the state of the transaction, and of the process.
    unsafe {
        let begins = pg_sys::Mode != pg_sys::ProcessingMode::NormalProcessing;
        if pg_sys::InitializingParallelWorker || begins || !pg_sys::IsTransactionState() {
            return Ok(());
        }
        if pg_sys::IsInParallelMode() {
            return Err(Error::Configuration(
                ConfigurationError::LoadedInParallelQuery,
            ));
        }
    }
    all().iter().try_for_each(|setting| {
        // SAFETY: a string of PostgreSQL's, which is read before anything can change it.
        let value = unsafe {
            let value = pg_sys::GetConfigOption(setting.name.as_ptr(), true, false);
            match value.is_null() {
                true => return Ok(()),
                false => CStr::from_ptr(value),
            }
        };
        // One that was reset is empty, since 18.
        if value.is_empty() {
            return Ok(());
        }
        match setting.allowed_unless_valid(value) {
            None => Ok(()),
            Some(allowed) => Err(Error::Configuration(ConfigurationError::InvalidSetting {
                message: invalid(setting.name, value),
                allowed,
            })),
        }
    })
}
