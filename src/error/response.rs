//! Responses that their column cannot hold.

use super::Row;
use pgrx::PgSqlErrorCode::{self, *};

/// Why a column cannot hold a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseProblem {
    /// It is not JSON, and the column is json or jsonb.
    NotJson,
    /// It is JSON with `\u0000`, or with a character that the database's encoding lacks, and the column is jsonb.
    NotJsonb,
    /// It is too long, too large or too deep for the column's type, or has a character that the database's encoding lacks.
    Unfit {
        /// PostgreSQL's.
        sqlstate: PgSqlErrorCode,
        /// PostgreSQL's.
        message: String,
    },
    /// It is not UTF-8.
    NotUtf8,
    /// It has a zero byte, which PostgreSQL's text cannot hold.
    ZeroByte,
}

impl ResponseProblem {
    /// What PostgreSQL reports of a response that begins so.
    pub(super) fn row(&self, column: &str, beginning: &str) -> Row {
        let (sqlstate, message) = match self {
            ResponseProblem::NotJson => (
                ERRCODE_INVALID_TEXT_REPRESENTATION,
                "response of the function is not valid JSON",
            ),
            ResponseProblem::NotJsonb => (
                ERRCODE_UNTRANSLATABLE_CHARACTER,
                "response of the function is not valid jsonb: it escapes a character that text cannot hold",
            ),
            ResponseProblem::Unfit { sqlstate, message } => (*sqlstate, message.as_str()),
            ResponseProblem::NotUtf8 => (
                ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
                "response of the function is not valid UTF-8",
            ),
            ResponseProblem::ZeroByte => (
                ERRCODE_UNTRANSLATABLE_CHARACTER,
                "response of the function is not text: it has a zero byte",
            ),
        };
        let row = Row::new(sqlstate, message).detail(format!(
            "The function ran. Its response begins: {beginning}"
        ));
        match self {
            ResponseProblem::NotUtf8 | ResponseProblem::ZeroByte => row,
            _ => row.hint(format!(
                "To read it as it is, use a foreign table whose column \"{column}\" is text."
            )),
        }
    }
}
