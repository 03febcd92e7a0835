//! Checks of the values of settings.
//!
//! PostgreSQL checks a value when it is set, if the library is loaded by then. A value that was set before is checked when the library is
//! loaded.

use super::{Kind, Setting, all};
use crate::error::{ConfigurationError, Error, shortened};
use crate::lambda::region::check_region;
use crate::options::{EVENTS, endpoint_url};
use crate::postgres::refs::FromRaw;
use crate::postgres::text::{LONGEST, Text, for_server};
use crate::postgres::{guc, process};
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

pub(super) const fn any_text_check() -> TextCheck {
    TextCheck {
        is_valid: |_| true,
        allowed: c"It is any text.",
        hook: None,
    }
}

pub(super) const fn events_check() -> TextCheck {
    TextCheck {
        is_valid: |value| EVENTS.contains(&value),
        allowed: c"It is send or queue.",
        hook: Some(check_events_setting),
    }
}

/// Defines check hooks (guc.h): `hook = check of setting`.
macro_rules! hooks {
    ($($hook:ident = $check:ident of $name:literal;)*) => {
        $(#[pg_guard]
        unsafe extern "C-unwind" fn $hook(
            value: *mut *mut c_char,
            _extra: *mut *mut c_void,
            _source: pg_sys::GucSource::Type,
        ) -> bool {
            // SAFETY: PostgreSQL passes a place with null or a string that ends in a zero byte.
            let value = unsafe { FromRaw::from_raw(*value) };
            $check().accepts($name, value)
        })*
    };
}

hooks! {
    check_events_setting = events_check of c"aws_lambda.events";
    check_region_setting = region_check of c"aws_lambda.region";
    check_url_setting = url_check of c"aws_lambda.endpoint_override";
}

impl TextCheck {
    /// The body of a check hook: whether the value is valid, with message and hint for PostgreSQL where it is not.
    fn accepts(&self, name: &CStr, value: Option<&CStr>) -> bool {
        let Some(value) = value.filter(|value| !self.is_valid(value)) else {
            return true;
        };
        guc::set_check_error(&for_server(&invalid(name, value)), self.allowed);
        false
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
                let number = guc::parse_int(value, unit.bits());
                let units = [
                    (GucFlags::UNIT_MS, " ms"),
                    (GucFlags::UNIT_S, " s"),
                    (GucFlags::UNIT_KB, " kB"),
                ];
                let unit = units
                    .iter()
                    .find(|(flag, _)| unit.contains(*flag))
                    .map_or("", |(_, name)| name);
                (!number.is_some_and(|number| range.contains(&number))).then(|| {
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
    let begins = process::mode() != pg_sys::ProcessingMode::NormalProcessing;
    if process::is_starting_worker() || begins || !process::is_in_transaction() {
        return Ok(());
    }
    if process::is_in_parallel_mode() {
        return Err(Error::Configuration(
            ConfigurationError::LoadedInParallelQuery,
        ));
    }
    all().iter().try_for_each(|setting| {
        // A value that was reset is empty, since 18.
        let value = guc::value(setting.name).filter(|value| !value.is_empty());
        let Some(value) = value else { return Ok(()) };
        match setting.allowed_unless_valid(&value) {
            None => Ok(()),
            Some(allowed) => Err(Error::Configuration(ConfigurationError::InvalidSetting {
                message: invalid(setting.name, &value),
                allowed,
            })),
        }
    })
}
