//! Raises errors as PostgreSQL's.

use super::{Error, InvokedBy, Row};
use crate::postgres::context;
use crate::postgres::text::for_server;
use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use pgrx::{PgLogLevel, pg_sys};
use std::ffi::CStr;

/// Raises an error the way PostgreSQL does, unwinding through Rust's destructors.
pub trait OrReport<T> {
    /// The value. An error does not return.
    fn or_report(self) -> T;
}

impl<T> OrReport<T> for Result<T, Error> {
    fn or_report(self) -> T {
        self.unwrap_or_else(|error| raise(&error))
    }
}

/// Reports an error as a warning.
pub fn warn(error: &Error) {
    report(error, PgLogLevel::WARNING);
}

/// Raises an error.
pub fn raise(error: &Error) -> ! {
    loop {
        // An error does not return.
        report(error, PgLogLevel::ERROR);
    }
}

/// The CONTEXT of errors of `aws_lambda.invoke`. They have it on RDS, where the functions are in SQL.
pub const CALL_CONTEXT: &CStr = c"SQL function \"invoke\" statement 1";

/// Raises an error of a call that was planned as a part of a query, as the function does.
pub fn raise_of_call(error: Error, by: InvokedBy) -> ! {
    let line = || CALL_CONTEXT.to_string_lossy().into_owned();
    context::with(&line, || raise(&error.invoked_by(by)))
}

/// What a caught error says.
pub fn report_of(caught: &CaughtError) -> &ErrorReportWithLevel {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic {
        ereport: report, ..
    }) = caught;
    report
}

/// Raises an error of PostgreSQL's that was caught and that PostgreSQL has forgotten.
pub fn raise_caught(caught: CaughtError) -> ! {
    let CaughtError::PostgresError(report) = &caught else {
        caught.rethrow()
    };
    let row = Row {
        sqlstate: report.sql_error_code(),
        message: report.message().to_owned(),
        detail: report.detail().map(str::to_owned),
        hint: report.hint().map(str::to_owned),
    };
    loop {
        // An error does not return.
        throw(&row, PgLogLevel::ERROR);
    }
}

/// pgrx's errors are not used: their messages are Rust strings, and PostgreSQL's are in the database's encoding.
fn report(error: &Error, level: PgLogLevel) {
    throw(&error.row(), level);
}

fn throw(row: &Row, level: PgLogLevel) {
    let message = for_server(&row.message);
    let detail = row.detail.as_deref().map(for_server);
    let hint = row.hint.as_deref().map(for_server);
    let null = std::ptr::null_mut();
    let mut report = pg_sys::ErrorData {
        elevel: level as _,
        sqlerrcode: row.sqlstate as _,
        message: message.as_ptr().cast_mut(),
        detail: detail
            .as_ref()
            .map_or(null, |text| text.as_ptr().cast_mut()),
        hint: hint.as_ref().map_or(null, |text| text.as_ptr().cast_mut()),
        filename: c"report.rs".as_ptr(),
        lineno: line!() as _,
        funcname: c"aws_lambda_fdw".as_ptr(),
        ..Default::default()
    };
    // SAFETY: PostgreSQL copies the texts, and the names are static.
    unsafe { pg_sys::ThrowErrorData(&mut report) };
}
