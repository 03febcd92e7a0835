//! The settings (`SET aws_lambda.…`). Options of a server or table come before them; see config.rs.

use crate::error::Error;
use crate::options::{CONCURRENCY_RANGE, INVOCATIONS_RANGE, TIMEOUT_RANGE_MS};
use crate::postgres::compat;
use crate::postgres::text::{LONGEST, Text};
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_sys};
use std::ffi::{CStr, CString};
use std::time::Duration;

static CONNECT_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(1000);
static REQUEST_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(3000);
static ENDPOINT_OVERRIDE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static REGION: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static MAX_CONCURRENCY: GucSetting<i32> = GucSetting::<i32>::new(64);
static MAX_INVOCATIONS: GucSetting<i32> = GucSetting::<i32>::new(0);
static PROGRESS_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(0);

/// Whether PostgreSQL gives the settings the values that the session has for them.
///
/// Errors in a parallel query, where it drops them. A worker that is starting has the leader's applied afterwards.
pub fn check_can_be_defined() -> Result<(), Error> {
    // SAFETY: asks for the state of the transaction, and of the process.
    match unsafe { pg_sys::IsInParallelMode() && !pg_sys::InitializingParallelWorker } {
        true => Err(Error::LoadedInParallelQuery),
        false => Ok(()),
    }
}

/// Tells PostgreSQL about the settings. Called once, when the library is loaded.
pub fn define() {
    GucRegistry::define_int_guc(
        c"aws_lambda.connect_timeout_ms",
        c"Sets the longest time to wait for a connection to AWS Lambda, in milliseconds.",
        c"",
        &CONNECT_TIMEOUT_MS,
        *TIMEOUT_RANGE_MS.start(),
        *TIMEOUT_RANGE_MS.end(),
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"aws_lambda.request_timeout_ms",
        c"Sets the longest time to wait for the answer to an invocation, in milliseconds.",
        c"",
        &REQUEST_TIMEOUT_MS,
        *TIMEOUT_RANGE_MS.start(),
        *TIMEOUT_RANGE_MS.end(),
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"aws_lambda.endpoint_override",
        c"Sets the URL where AWS Lambda is.",
        c"Empty means AWS's own endpoint for the region.",
        &ENDPOINT_OVERRIDE,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_string_guc(
        c"aws_lambda.region",
        c"Sets the AWS Region of functions for which none is given.",
        c"Empty leaves it to the AWS configuration of the machine.",
        &REGION,
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"aws_lambda.max_concurrency",
        c"Sets the most invocations that one scan keeps in flight.",
        c"",
        &MAX_CONCURRENCY,
        *CONCURRENCY_RANGE.start(),
        *CONCURRENCY_RANGE.end(),
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"aws_lambda.max_invocations",
        c"Sets the most invocations that one statement makes.",
        c"0 means no limit.",
        &MAX_INVOCATIONS,
        *INVOCATIONS_RANGE.start(),
        *INVOCATIONS_RANGE.end(),
        GucContext::Userset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"aws_lambda.progress_interval",
        c"Sets how often a statement tells how many invocations it has made.",
        c"0 means never.",
        &PROGRESS_INTERVAL,
        0,
        86_400,
        GucContext::Userset,
        GucFlags::UNIT_S,
    );
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

/// Invocations in flight.
pub fn max_concurrency() -> i32 {
    MAX_CONCURRENCY.get()
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

/// The URL, unchecked but for its length and encoding; `None` when empty.
pub fn endpoint_override() -> Result<Option<String>, Error> {
    text(c"aws_lambda.endpoint_override")
}

/// The region, likewise.
pub fn region() -> Result<Option<String>, Error> {
    text(c"aws_lambda.region")
}

fn text(name: &'static CStr) -> Result<Option<String>, Error> {
    // SAFETY: PostgreSQL's own string, which is read before anything can change it.
    let value = unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        match value.is_null() {
            true => return Ok(None),
            false => CStr::from_ptr(value).to_bytes(),
        }
    };
    let what = || name.to_string_lossy().into_owned();
    if value.is_empty() {
        return Ok(None);
    }
    if value.len() > LONGEST {
        return Err(Error::TooLong {
            what: what(),
            bytes: value.len(),
            most: LONGEST,
        });
    }
    let text = Text::of_server(value).checked();
    text.map(Some)
        .ok_or_else(|| Error::NotText { what: what() })
}
