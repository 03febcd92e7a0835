//! Errors of the definition of a foreign table.

use super::Row;
use pgrx::PgSqlErrorCode::*;

/// Why a foreign table's definition is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TableError {
    /// A column that this wrapper does not know.
    UnknownColumn {
        /// The column's name.
        column: String,
        /// The foreign table's name.
        table: String,
        /// Every known column.
        known: String,
    },
    /// A known column of an unsuitable type.
    ColumnType {
        /// The column's name.
        column: &'static str,
        /// The foreign table's name.
        table: String,
        /// The type it has.
        found: String,
        /// The types it may have.
        allowed: &'static str,
    },
    /// A generated column of a kind that the column can't have.
    GeneratedColumn {
        /// The column's name.
        column: &'static str,
        /// The foreign table's name.
        table: String,
        /// Whether it is an input, which can't be virtual. An output can't be stored.
        input: bool,
    },
    /// The table returns failures as rows, and has no column that shows a failure.
    FailuresUnseen {
        /// The foreign table's name.
        table: String,
    },
}

impl TableError {
    /// What PostgreSQL reports.
    pub(super) fn row(&self) -> Row {
        match self {
            TableError::UnknownColumn {
                column,
                table,
                known,
            } => Row::new(
                ERRCODE_FDW_INVALID_COLUMN_NAME,
                format!("column \"{column}\" of foreign table \"{table}\" is not known to aws_lambda_fdw"),
            )
            .hint(match known.contains("payload") {
                true => format!(
                    "Known columns are {known}. Fields of the payload go into payload; take the response apart in a view."
                ),
                false => format!("Known columns are {known}."),
            }),
            TableError::ColumnType {
                column,
                table,
                found,
                allowed,
            } => Row::new(
                ERRCODE_FDW_INVALID_DATA_TYPE,
                format!("column \"{column}\" of foreign table \"{table}\" cannot have type {found}"),
            )
            .hint(format!("It can be of type {allowed}.")),
            TableError::GeneratedColumn {
                column,
                table,
                input,
            } => {
                let row = |kind| {
                    Row::new(
                        ERRCODE_FDW_INVALID_COLUMN_NAME,
                        format!("column \"{column}\" of foreign table \"{table}\" cannot be a {kind} generated column"),
                    )
                };
                if *input {
                    row("virtual")
                        .detail("It is what the function is invoked with, and a virtual column has no value until it is read.")
                        .hint("Make it STORED, which INSERT sends, or an ordinary column that a clause gives its value.")
                } else {
                    row("stored")
                        .detail("It tells what the function answered, which is not there yet when a stored column is computed.")
                        .hint("Make it VIRTUAL, or compute the value in the query.")
                }
            }
            TableError::FailuresUnseen { table } => Row::new(
                ERRCODE_FDW_INVALID_COLUMN_NAME,
                format!("foreign table \"{table}\" has no column that tells of a failure"),
            )
            .detail("With its option on_error 'return' a failure would look like a response. No function was invoked.")
            .hint("Use ALTER FOREIGN TABLE ... ADD error_code text, ADD error_message text, or set on_error 'raise'."),
        }
    }
}
