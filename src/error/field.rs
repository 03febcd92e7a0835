//! Fields of a response that their column cannot hold.

use super::Row;
use pgrx::PgSqlErrorCode::{self, *};

/// Why a column cannot hold a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldProblem {
    /// The column's type refuses it.
    Unfit {
        /// PostgreSQL's.
        sqlstate: PgSqlErrorCode,
        /// PostgreSQL's.
        message: String,
    },
    /// It has a zero byte, or half of a character.
    NotText,
    /// The key goes on behind a text that is not JSON.
    NotJson,
}

impl FieldProblem {
    /// What PostgreSQL reports of a field of which this is known.
    pub(super) fn row(&self, column: &str, key: &str, beginning: &str) -> Row {
        let (sqlstate, problem) = match self {
            FieldProblem::Unfit { sqlstate, message } => (*sqlstate, message.as_str()),
            FieldProblem::NotText => (
                ERRCODE_UNTRANSLATABLE_CHARACTER,
                "it escapes a character that text cannot hold",
            ),
            FieldProblem::NotJson => (
                ERRCODE_INVALID_TEXT_REPRESENTATION,
                "its key goes on behind a text that is not JSON",
            ),
        };
        let row = Row::new(
            sqlstate,
            format!(
                "column \"{column}\" cannot hold the field \"{key}\" of the response: {problem}"
            ),
        );
        match self {
            FieldProblem::NotJson => row
                .detail(format!("The function ran. The text begins: {beginning}"))
                .hint("Give the text a column of its own, with the key of the text."),
            _ => row
                .detail(format!("The function ran. The field begins: {beginning}"))
                .hint(match sqlstate {
                    ERRCODE_UNTRANSLATABLE_CHARACTER | ERRCODE_STATEMENT_TOO_COMPLEX => {
                        "To read it as it is, use a foreign table with a column \"response\" of type text.".to_owned()
                    }
                    _ => format!("To read it whatever it is, give column \"{column}\" the type text."),
                }),
        }
    }
}

/// What PostgreSQL reports of a response that has no array where the rows ought to be.
pub(super) fn not_rows(key: &str, beginning: &str) -> Row {
    Row::new(
        ERRCODE_INVALID_TEXT_REPRESENTATION,
        match key {
            "$" => "response of the function is not an array".to_owned(),
            _ => format!("response of the function has no array \"{key}\""),
        },
    )
    .detail(format!("The function ran. Its response begins: {beginning}"))
    .hint("The table option rows names the array that has an element for each row. An empty one, or null, has no row.")
}
