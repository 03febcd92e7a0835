//! The settings (`SET aws_lambda.…`): one table of them, with their checks. Options of a server or table come before them; see config.rs.
//!
//! PostgreSQL checks a value when it is set, if the library is loaded by then. What was set before is checked when it is loaded.

use crate::error::{Error, shortened};
use crate::lambda::name::check_region;
use crate::options::{
    CONCURRENCY_RANGE, INVOCATIONS_RANGE, MEMORY_RANGE_KB, RETRIES_RANGE, TIMEOUT_RANGE_MS,
    endpoint_url,
};
use crate::postgres::compat;
use crate::postgres::text::{LONGEST, Text, for_server};
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_guard, pg_sys};
use std::ffi::{CStr, CString, c_char, c_void};
use std::ops::RangeInclusive;
use std::time::Duration;

static CONNECT_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(1000);
static REQUEST_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(3000);
static MAX_RETRIES: GucSetting<i32> = GucSetting::<i32>::new(10);
static RETRY_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(20_000);
static ENDPOINT_OVERRIDE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static REGION: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static MAX_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(64);
static MAX_MEMORY_KB: GucSetting<i32> = GucSetting::<i32>::new(64 << 10);
static MAX_INVOCATIONS: GucSetting<i32> = GucSetting::<i32>::new(0);
static PROGRESS_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(0);

/// One setting.
struct Setting {
    name: &'static CStr,
    short_description: &'static CStr,
    long_description: &'static CStr,
    context: GucContext,
    kind: Kind,
}

enum Kind {
    Number {
        value: &'static GucSetting<i32>,
        range: RangeInclusive<i32>,
        /// Its unit.
        flags: GucFlags,
    },
    Text {
        value: &'static GucSetting<Option<CString>>,
        check: Check,
        hook: pg_sys::GucStringCheckHook,
    },
}

/// Which texts a setting takes. Empty is always one.
struct Check {
    is_valid: fn(&str) -> bool,
    allowed: &'static CStr,
}

fn number(
    name: &'static CStr,
    value: &'static GucSetting<i32>,
    range: RangeInclusive<i32>,
    flags: GucFlags,
    [short_description, long_description]: [&'static CStr; 2],
) -> Setting {
    Setting {
        name,
        short_description,
        long_description,
        context: GucContext::Userset,
        kind: Kind::Number {
            value,
            range,
            flags,
        },
    }
}

const IS_REGION: Check = Check {
    is_valid: |value| check_region(value).is_ok(),
    allowed: c"A region looks like us-east-1 or us-gov-west-1.",
};
const IS_URL: Check = Check {
    is_valid: |value| endpoint_url(value).is_ok(),
    allowed:
        c"It is a URL such as https://lambda.us-east-1.amazonaws.com or http://127.0.0.1:4566.",
};

/// Every setting there is.
fn all() -> [Setting; 10] {
    [
        number(
            c"aws_lambda.connect_timeout_ms",
            &CONNECT_TIMEOUT_MS,
            TIMEOUT_RANGE_MS,
            GucFlags::UNIT_MS,
            [
                c"Sets the longest time to wait for a connection to AWS Lambda.",
                c"",
            ],
        ),
        number(
            c"aws_lambda.request_timeout_ms",
            &REQUEST_TIMEOUT_MS,
            TIMEOUT_RANGE_MS,
            GucFlags::UNIT_MS,
            [
                c"Sets the longest time to wait for the answer to an invocation.",
                c"",
            ],
        ),
        number(
            c"aws_lambda.max_retries",
            &MAX_RETRIES,
            RETRIES_RANGE,
            GucFlags::empty(),
            [
                c"Sets the most further attempts at an invocation that failed.",
                c"",
            ],
        ),
        number(
            c"aws_lambda.retry_timeout_ms",
            &RETRY_TIMEOUT_MS,
            TIMEOUT_RANGE_MS,
            GucFlags::UNIT_MS,
            [
                c"Sets the time in attempts and pauses after which there is no further attempt.",
                c"",
            ],
        ),
        number(
            c"aws_lambda.max_concurrency",
            &MAX_CONCURRENCY,
            CONCURRENCY_RANGE,
            GucFlags::empty(),
            [
                c"Sets the most invocations that one scan keeps in flight.",
                c"",
            ],
        ),
        number(
            c"aws_lambda.max_invocations",
            &MAX_INVOCATIONS,
            INVOCATIONS_RANGE,
            GucFlags::empty(),
            [
                c"Sets the most invocations that one statement makes.",
                c"0 means no limit.",
            ],
        ),
        number(
            c"aws_lambda.max_memory",
            &MAX_MEMORY_KB,
            MEMORY_RANGE_KB,
            GucFlags::UNIT_KB,
            [
                c"Sets the most memory for payloads, outer rows and responses of one statement.",
                c"What exceeds it waits.",
            ],
        ),
        number(
            c"aws_lambda.progress_interval",
            &PROGRESS_INTERVAL,
            0..=86_400,
            GucFlags::UNIT_S,
            [
                c"Sets how often a statement tells how many invocations it has made.",
                c"0 means never.",
            ],
        ),
        Setting {
            name: c"aws_lambda.region",
            short_description: c"Sets the AWS Region of functions for which none is given.",
            long_description: c"Empty leaves it to the AWS configuration of the machine.",
            context: GucContext::Userset,
            kind: Kind::Text {
                value: &REGION,
                check: IS_REGION,
                hook: Some(check_region_setting),
            },
        },
        Setting {
            name: c"aws_lambda.endpoint_override",
            short_description: c"Sets the URL where AWS Lambda is.",
            long_description: c"Empty means AWS's own endpoint for the region.",
            context: GucContext::Suset,
            kind: Kind::Text {
                value: &ENDPOINT_OVERRIDE,
                check: IS_URL,
                hook: Some(check_url_setting),
            },
        },
    ]
}

#[pg_guard]
unsafe extern "C-unwind" fn check_region_setting(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL's.
    unsafe { IS_REGION.hook("aws_lambda.region", *value) }
}

#[pg_guard]
unsafe extern "C-unwind" fn check_url_setting(
    value: *mut *mut c_char,
    _extra: *mut *mut c_void,
    _source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL's.
    unsafe { IS_URL.hook("aws_lambda.endpoint_override", *value) }
}

impl Check {
    /// What a check hook of PostgreSQL's does (guc.h).
    ///
    /// # Safety
    /// `value` is null or a zero-terminated string.
    unsafe fn hook(&self, name: &str, value: *const c_char) -> bool {
        // SAFETY: the caller's. The hint is there as long as the library, and PostgreSQL copies the message.
        unsafe {
            if value.is_null() || self.takes(CStr::from_ptr(value)) {
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

    /// Whether a value is one. All that are have ASCII alone, whatever the database's encoding.
    fn takes(&self, value: &CStr) -> bool {
        let bytes = value.to_bytes();
        let text = (bytes.len() <= LONGEST).then(|| std::str::from_utf8(bytes));
        bytes.is_empty() || matches!(text, Some(Ok(text)) if (self.is_valid)(text))
    }
}

/// PostgreSQL's message for a value that is none, in characters that are seen, short, and without what may be a password before a host.
fn invalid(name: &str, value: &CStr) -> String {
    let bytes = value.to_bytes();
    let shown = Text::of_server(&bytes[..bytes.len().min(LONGEST)]).shown();
    let value = shown.rsplit('@').next().unwrap_or_default();
    format!(
        "invalid value for parameter \"{name}\": \"{}\"",
        shortened(value, 200)
    )
}

impl Setting {
    fn define(self) {
        let Setting {
            name,
            short_description,
            long_description,
            context,
            kind,
        } = self;
        match kind {
            Kind::Number {
                value,
                range,
                flags,
            } => GucRegistry::define_int_guc(
                name,
                short_description,
                long_description,
                value,
                *range.start(),
                *range.end(),
                context,
                flags,
            ),
            // SAFETY: the hook is one for strings.
            Kind::Text { value, hook, .. } => unsafe {
                GucRegistry::define_string_guc_with_hooks(
                    name,
                    short_description,
                    long_description,
                    value,
                    context,
                    GucFlags::empty(),
                    hook,
                    None,
                    None,
                )
            },
        }
    }

    /// What it takes, where a value is none of that.
    fn refuses(&self, value: &CStr) -> Option<String> {
        match &self.kind {
            Kind::Number { range, flags, .. } => {
                let mut number = 0;
                // SAFETY: reads a zero-terminated string.
                let is_number = unsafe {
                    let no_hint = std::ptr::null_mut();
                    pg_sys::parse_int(value.as_ptr(), &mut number, flags.bits(), no_hint)
                };
                let units = [
                    (GucFlags::UNIT_MS, " ms"),
                    (GucFlags::UNIT_S, " s"),
                    (GucFlags::UNIT_KB, " kB"),
                ];
                let unit = units
                    .iter()
                    .find(|(flag, _)| flags.contains(*flag))
                    .map_or("", |(_, unit)| unit);
                (!is_number || !range.contains(&number)).then(|| {
                    format!(
                        "It is from {}{unit} to {}{unit}.",
                        range.start(),
                        range.end()
                    )
                })
            }
            Kind::Text { check, .. } => {
                (!check.takes(value)).then(|| check.allowed.to_string_lossy().into_owned())
            }
        }
    }
}

/// Whether PostgreSQL gives the settings the values that the session has for them.
///
/// Errors in a parallel query, where it drops them. A worker that is starting has the leader's applied afterwards. Errors too where a
/// value is none: PostgreSQL would say so in a warning and take the default, and a function would be invoked in another region, or more
/// often, than was said. Where a session begins with the library, it is a warning, as the session is to begin.
pub fn check_can_be_defined() -> Result<(), Error> {
    // SAFETY: asks for the state of the transaction, and of the process.
    unsafe {
        let begins = pg_sys::Mode != pg_sys::ProcessingMode::NormalProcessing;
        if pg_sys::InitializingParallelWorker || begins || !pg_sys::IsTransactionState() {
            return Ok(());
        }
        if pg_sys::IsInParallelMode() {
            return Err(Error::LoadedInParallelQuery);
        }
    }
    all().iter().try_for_each(|setting| {
        // SAFETY: PostgreSQL's own string, which is read before anything can change it.
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
        let Some(allowed) = setting.refuses(value) else {
            return Ok(());
        };
        Err(Error::InvalidSetting {
            message: invalid(&setting.name.to_string_lossy(), value),
            allowed,
        })
    })
}

/// Tells PostgreSQL about the settings. Called once, when the library is loaded.
pub fn define() {
    all().into_iter().for_each(Setting::define);
    compat::reserve_setting_prefix(c"aws_lambda");
}

/// Milliseconds.
pub fn connect_timeout_ms() -> i32 {
    CONNECT_TIMEOUT_MS.get()
}

/// Milliseconds.
pub fn request_timeout_ms() -> i32 {
    REQUEST_TIMEOUT_MS.get()
}

/// Further attempts at one invocation.
pub fn max_retries() -> i32 {
    MAX_RETRIES.get()
}

/// Milliseconds.
pub fn retry_timeout_ms() -> i32 {
    RETRY_TIMEOUT_MS.get()
}

/// Invocations in flight.
pub fn max_concurrency() -> i32 {
    MAX_CONCURRENCY.get()
}

/// Kilobytes.
pub fn max_memory_kb() -> i32 {
    MAX_MEMORY_KB.get()
}

/// Invocations of a statement; 0 is no limit.
pub fn max_invocations() -> i32 {
    MAX_INVOCATIONS.get()
}

/// `None` when no progress is to be told.
pub fn progress_interval() -> Option<Duration> {
    u64::try_from(PROGRESS_INTERVAL.get())
        .ok()
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
}

/// The URL; `None` when empty.
pub fn endpoint_override() -> Option<String> {
    text(&ENDPOINT_OVERRIDE)
}

/// The region, likewise.
pub fn region() -> Option<String> {
    text(&REGION)
}

fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    let text = setting.get()?.into_string().ok()?;
    (!text.is_empty()).then_some(text)
}
