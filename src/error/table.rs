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
        column: String,
        /// The foreign table's name.
        table: String,
        /// Whether it is an input, which can't be virtual. An output can't be stored.
        input: bool,
    },
    /// Two fields of the payload that cannot both be there.
    KeyConflict {
        /// The columns' names.
        columns: [String; 2],
        /// Their keys.
        keys: [String; 2],
        /// The foreign table's name.
        table: String,
    },
    /// The table has the option `rows`, and no column that is a field of the response.
    RowsWithoutFields {
        /// The foreign table's name.
        table: String,
    },
    /// The key of a field of the payload begins with a sign that only responses have.
    KeyOfPayload {
        /// The column's name.
        column: String,
        /// The key.
        key: String,
        /// The foreign table's name.
        table: String,
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
                    "Known columns are {known}. A column of another name is a field, with the option \"in\" 'payload' or \"in\" 'response'."
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
            TableError::KeyConflict { columns: [first, second], keys: [a, b], table } => Row::new(
                ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
                format!("columns \"{first}\" and \"{second}\" of foreign table \"{table}\" conflict"),
            )
            .detail(match a == b {
                true => format!("Both are the field \"{a}\" of the payload."),
                false => format!("A payload that has the field \"{a}\" as a value of one column cannot have \"{b}\" as that of another."),
            })
            .hint("Give one of them another key, or in 'response' where it is what the function answers."),
            TableError::RowsWithoutFields { table } => Row::new(
                ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
                format!("foreign table \"{table}\" has the option rows, and no column that is a field of the response"),
            )
            .detail("A response has a row for each element of an array, and no column would show the element.")
            .hint("Use ALTER FOREIGN TABLE ... ADD name type OPTIONS (\"in\" 'response'), or drop the option rows."),
            TableError::KeyOfPayload { column, key, table } => Row::new(
                ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE,
                format!("column \"{column}\" of foreign table \"{table}\" has the invalid key \"{key}\""),
            )
            .detail("$ and @ stand for a response and for an element of it, and a payload has neither.")
            .hint("Name the field of the payload, or use in 'response'."),
            TableError::FailuresUnseen { table } => Row::new(
                ERRCODE_FDW_INVALID_COLUMN_NAME,
                format!("foreign table \"{table}\" has no column that tells of a failure"),
            )
            .detail("With its option on_error 'return' a failure would look like a response. No function was invoked.")
            .hint("Use ALTER FOREIGN TABLE ... ADD error_code text, ADD error_message text, or set on_error 'raise'."),
        }
    }
}
