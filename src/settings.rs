//! The settings (`SET aws_lambda.…`). Options of a server or table come before them; see config.rs.

use crate::options::TIMEOUT_RANGE_MS;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::CString;

static CONNECT_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(1000);
static REQUEST_TIMEOUT_MS: GucSetting<i32> = GucSetting::<i32>::new(3000);
static ENDPOINT_OVERRIDE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static REGION: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

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
    reserve_prefix();
}

/// Lets PostgreSQL refuse settings that only look like ours.
fn reserve_prefix() {
    // SAFETY: the prefix is a constant.
    #[cfg(not(any(feature = "pg13", feature = "pg14")))]
    unsafe {
        pgrx::pg_sys::MarkGUCPrefixReserved(c"aws_lambda".as_ptr());
    }
}

/// Milliseconds.
pub fn connect_timeout_ms() -> i32 {
    CONNECT_TIMEOUT_MS.get()
}

/// Milliseconds.
pub fn request_timeout_ms() -> i32 {
    REQUEST_TIMEOUT_MS.get()
}

/// The URL, unchecked; `None` when empty.
pub fn endpoint_override() -> Option<String> {
    text(&ENDPOINT_OVERRIDE)
}

/// The region, unchecked; `None` when empty.
pub fn region() -> Option<String> {
    text(&REGION)
}

fn text(setting: &'static GucSetting<Option<CString>>) -> Option<String> {
    setting
        .get()
        .map(|value| value.to_string_lossy().into_owned())
        .filter(|value| !value.is_empty())
}
