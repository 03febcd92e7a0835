//! Raises errors as PostgreSQL's.

use super::Error;
use pgrx::pg_sys;
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportable};

/// Raises an error the way PostgreSQL does, unwinding through Rust's destructors.
pub trait OrReport<T> {
    /// The value, or no return.
    fn or_report(self) -> T;
}

impl<T> OrReport<T> for Result<T, Error> {
    fn or_report(self) -> T {
        self.map_err(ErrorReport::from).unwrap_or_report()
    }
}

/// PostgreSQL takes a message as being in the database's encoding.
fn in_server_encoding(text: String) -> String {
    // SAFETY: asks for a number.
    if text.is_ascii() || unsafe { pg_sys::GetDatabaseEncoding() } == pg_sys::pg_enc::PG_UTF8 as i32
    {
        return text;
    }
    text.chars()
        .map(|c| if c.is_ascii() { c } else { '?' })
        .collect()
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> ErrorReport {
        let row = error.row();
        let mut report = ErrorReport::new(
            row.sqlstate,
            in_server_encoding(row.message),
            "aws_lambda_fdw",
        );
        if let Some(detail) = row.detail {
            report = report.set_detail(in_server_encoding(detail));
        }
        if let Some(hint) = row.hint {
            report = report.set_hint(in_server_encoding(hint));
        }
        report
    }
}
