//! The table of settings (`SET aws_lambda.…`). Options of a table or server precede them; `backend/config.rs` decides which applies.
//!
//! The checks of their values are in [`check`].

mod check;

use crate::options::{
    CONCURRENCY_RANGE, INVOCATIONS_RANGE, MEMORY_RANGE_KB, RETRIES_RANGE, TIMEOUT_RANGE_MS,
};
use crate::postgres::{compat, plans};
pub use check::check_can_be_defined;
use check::{TextCheck, any_text_check, events_check, region_check, url_check};
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting, pg_guard};
use std::ffi::{CStr, CString, c_char, c_void};
use std::ops::RangeInclusive;

/// Definition of one setting.
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
        unit: GucFlags,
    },
    Text {
        value: &'static GucSetting<Option<CString>>,
        check: TextCheck,
    },
}

/// PostgreSQL's name of a setting, from bytes that end in zero.
const fn name_of(bytes: &'static [u8]) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes) {
        Ok(name) => name,
        Err(_) => c"",
    }
}

/// Makes a function that gives the value of each setting, and [`all`]. A row has the setting's name, its default, range and unit, or its
/// check, then who sets it, and two descriptions.
macro_rules! settings {
    (
        numbers { $(
            $(#[$number_doc:meta])*
            $number:ident = $default:expr, $range:expr, $unit:expr, $number_context:expr, $number_short:literal, $number_long:literal;
        )* }
        texts { $(
            $(#[$text_doc:meta])*
            $text:ident = $text_default:expr, $check:expr, $context:expr, $text_short:literal, $text_long:literal;
        )* }
    ) => {
        #[allow(non_upper_case_globals, reason = "a setting and its function have one name")]
        mod values {
            use super::{CString, GucSetting};
            $(pub static $number: GucSetting<i32> = GucSetting::<i32>::new($default);)*
            $(pub static $text: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new($text_default);)*
        }

        $(
            $(#[$number_doc])*
            pub fn $number() -> u32 {
                values::$number.get().unsigned_abs()
            }
        )*

        $(
            $(#[$text_doc])*
            pub fn $text() -> Option<String> {
                let text = values::$text.get()?.into_string().ok()?;
                (!text.is_empty()).then_some(text)
            }
        )*

        /// Every setting there is.
        fn all() -> Vec<Setting> {
            vec![
                $(Setting {
                    name: name_of(concat!("aws_lambda.", stringify!($number), "\0").as_bytes()),
                    short_description: $number_short,
                    long_description: $number_long,
                    context: $number_context,
                    kind: Kind::Number { value: &values::$number, range: $range, unit: $unit },
                },)*
                $(Setting {
                    name: name_of(concat!("aws_lambda.", stringify!($text), "\0").as_bytes()),
                    short_description: $text_short,
                    long_description: $text_long,
                    context: $context,
                    kind: Kind::Text { value: &values::$text, check: $check },
                },)*
            ]
        }
    };
}

settings! {
    numbers {
        /// Milliseconds.
        connect_timeout_ms = 1000, TIMEOUT_RANGE_MS, GucFlags::UNIT_MS, GucContext::Userset,
            c"Sets the longest time to wait for a connection to AWS Lambda.", c"";
        /// Milliseconds.
        request_timeout_ms = 3000, TIMEOUT_RANGE_MS, GucFlags::UNIT_MS, GucContext::Userset,
            c"Sets the longest time to wait for the answer to an invocation.", c"";
        /// Attempts after the first.
        max_retries = 10, RETRIES_RANGE, GucFlags::empty(), GucContext::Userset,
            c"Sets the most further attempts at an invocation that failed.", c"";
        /// Milliseconds.
        retry_timeout_ms = 20_000, TIMEOUT_RANGE_MS, GucFlags::UNIT_MS, GucContext::Userset,
            c"Sets the time in attempts and pauses after which there is no further attempt.", c"";
        /// Invocations in flight.
        max_concurrency = 64, CONCURRENCY_RANGE, GucFlags::empty(), GucContext::Userset,
            c"Sets the most invocations that one scan keeps in flight.", c"";
        /// Invocations in flight.
        invoke_concurrency = 1, CONCURRENCY_RANGE, GucFlags::empty(), GucContext::Userset,
            c"Sets the most invocations that the calls of aws_lambda.invoke in one place of a query keep in flight.", c"";
        /// Invocations of a statement; 0 is no limit.
        max_invocations = 0, INVOCATIONS_RANGE, GucFlags::empty(), GucContext::Userset,
            c"Sets the most invocations that one statement makes.", c"0 means no limit.";
        /// Kilobytes.
        max_memory = 64 << 10, MEMORY_RANGE_KB, GucFlags::UNIT_KB, GucContext::Userset,
            c"Sets the most memory for payloads, outer rows and responses of one statement.", c"What exceeds it waits.";
        /// Seconds; 0 is never.
        progress_interval = 0, 0..=86_400, GucFlags::UNIT_S, GucContext::Userset,
            c"Sets how often a statement tells how many invocations it has made.", c"0 means never.";
        /// Attempts of a queued invocation.
        queue_max_attempts = 5, 1..=1000, GucFlags::empty(), GucContext::Suset,
            c"Sets the most attempts at a queued invocation.", c"Attempts that reached no function do not count.";
        /// Seconds.
        queue_max_age = 86_400, 1..=i32::MAX, GucFlags::UNIT_S, GucContext::Suset,
            c"Sets how long a queued invocation is tried again.", c"";
        /// Seconds; 0 keeps none.
        queue_keep = 0, 0..=i32::MAX, GucFlags::UNIT_S, GucContext::Suset,
            c"Sets how long delivered rows of the queue are kept.", c"0 means that they are deleted at once.";
    }
    texts {
        /// `None` when empty.
        region = None, region_check(), GucContext::Userset,
            c"Sets the AWS Region of functions for which none is given.",
            c"Empty leaves it to the AWS configuration of the machine.";
        /// `send` or `queue`; `None` when empty, which is `send`.
        events = Some(c"send"), events_check(), GucContext::Userset,
            c"Sets whether aws_lambda.invoke sends an event at once or writes it to the queue.", c"It is send or queue.";
        /// Names of databases, with commas between them; `None` when empty.
        worker_databases = None, any_text_check(), GucContext::Sighup,
            c"Sets the databases in which a background worker delivers the queue.",
            c"Names with commas between them. The library has to be preloaded.";
        /// A URL; `None` when empty.
        endpoint_override = None, url_check(), GucContext::Suset,
            c"Sets the URL where AWS Lambda is.", c"Empty means AWS's own endpoint for the region.";
    }
}

/// The settings by which calls are planned in another way.
const CHANGE_PLANS: [&CStr; 2] = [c"aws_lambda.invoke_concurrency", c"aws_lambda.events"];

#[pg_guard]
unsafe extern "C-unwind" fn number_was_set(value: i32, _extra: *mut c_void) {
    if (value > 1) != (invoke_concurrency() > 1) {
        plans::forget_plans();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn text_was_set(value: *const c_char, _extra: *mut c_void) {
    // SAFETY: PostgreSQL passes null or a text.
    let value = (!value.is_null()).then(|| unsafe { CStr::from_ptr(value) });
    let queues = |text: Option<&str>| text == Some("queue");
    if queues(value.and_then(|value| value.to_str().ok())) != queues(events().as_deref()) {
        plans::forget_plans();
    }
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
        let changes_plans = CHANGE_PLANS.contains(&name);
        match kind {
            // SAFETY: the hook is an assign hook for integers.
            Kind::Number { value, range, unit } => unsafe {
                GucRegistry::define_int_guc_with_hooks(
                    name,
                    short_description,
                    long_description,
                    value,
                    *range.start(),
                    *range.end(),
                    context,
                    unit,
                    None,
                    changes_plans.then_some(number_was_set as _),
                    None,
                )
            },
            // SAFETY: the hooks are a check hook and an assign hook for strings.
            Kind::Text { value, check } => unsafe {
                GucRegistry::define_string_guc_with_hooks(
                    name,
                    short_description,
                    long_description,
                    value,
                    context,
                    GucFlags::empty(),
                    check.hook,
                    changes_plans.then_some(text_was_set as _),
                    None,
                )
            },
        }
    }
}

/// Defines the settings. Called once, when the library is loaded.
pub fn define() {
    all().into_iter().for_each(Setting::define);
    compat::reserve_setting_prefix(c"aws_lambda");
}
