//! Errors of statements on foreign tables.

use super::{NoValueReason, Row, quotable};
use pgrx::PgSqlErrorCode::*;

/// Why a statement can't be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatementError {
    /// An input column that the statement needs has no value.
    NoValue {
        /// The names of the columns, at least one.
        columns: Vec<String>,
        /// The foreign table's name.
        table: String,
        /// Why they have none.
        reason: NoValueReason,
        /// Whether the statement has invoked functions before, for other tables.
        has_invoked: bool,
    },
    /// A statement that changes or deletes rows of a foreign table.
    NoSuchRows {
        /// `update` or `delete from`.
        verb: &'static str,
        /// The foreign table's name.
        table: String,
    },
    /// `aws_lambda.deliver` is called where it cannot commit.
    DeliversInTransaction,
    /// An event is queued in a parallel query, where nothing can be written.
    QueuesInParallelQuery,
    /// A row would be queued that never becomes due.
    NeverDue,
    /// There can be no further background worker.
    NoWorker,
    /// A cursor that was not declared with SCROLL is rewound.
    CursorRewound,
    /// An inserted row has a value for an output column.
    OutputColumn {
        /// The column's name.
        column: String,
        /// The foreign table's name.
        table: String,
    },
    /// The payload and a field of it both have a value.
    TwoPayloads {
        /// The field's column.
        column: String,
        /// The foreign table's name.
        table: String,
    },
    /// An inserted row has no value for a field that is NOT NULL.
    NullField {
        /// The column's name.
        column: String,
        /// The foreign table's name.
        table: String,
    },
    /// RETURNING reads a field of an element, where a response may have several.
    ReturnsElements {
        /// The column's name.
        column: String,
        /// The foreign table's name.
        table: String,
    },
    /// An inserted row has another value than the table's option of that name.
    FixedColumn {
        /// The column's name.
        column: &'static str,
        /// The row's value.
        value: String,
        /// The option's value.
        fixed: String,
    },
    /// The statement exceeds `max_invocations`.
    TooManyInvocations {
        /// The limit.
        most: u64,
        /// Invocations made so far.
        made: u64,
        /// Further invocations that the statement is known to need.
        wanted: Option<u64>,
    },
}

impl StatementError {
    /// What PostgreSQL reports.
    pub(super) fn row(&self) -> Row {
        match self {
            StatementError::NoValue {
                columns,
                table,
                reason,
                has_invoked,
            } => reason.row(columns, table, *has_invoked),
            StatementError::NoSuchRows { verb, table } => Row::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot {verb} foreign table \"{table}\""),
            )
            .detail("Its rows are invocations. No function was invoked.")
            .hint("To store responses, UPDATE your own table FROM this one."),
            StatementError::DeliversInTransaction => Row::new(
                ERRCODE_INVALID_TRANSACTION_TERMINATION,
                "aws_lambda.deliver cannot run inside a transaction block",
            )
            .detail("It commits what became of each invocation. No function was invoked.")
            .hint("CALL it by itself: not after BEGIN, and in no function and no block with EXCEPTION."),
            StatementError::QueuesInParallelQuery => Row::new(
                ERRCODE_INVALID_TRANSACTION_STATE,
                "cannot queue an event in a parallel query",
            )
            .detail("Nothing was queued.")
            .hint("SET max_parallel_workers_per_gather = 0, or use aws_lambda.enqueue, with which no query is parallel."),
            StatementError::NeverDue => Row::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                "not_before must be a finite time",
            )
            .detail("It is infinity. Nothing was queued.")
            .hint("Queue the invocation once it is known when it is due."),
            StatementError::NoWorker => Row::new(
                ERRCODE_INSUFFICIENT_RESOURCES,
                "could not start a background worker",
            )
            .detail("The server has as many as it may have.")
            .hint("Raise max_worker_processes, and restart the server."),
            StatementError::CursorRewound => Row::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "cursor can only scan forward",
            )
            .hint("Declare it with SCROLL option to enable backward scan."),
            StatementError::OutputColumn { column, table } => Row::new(
                ERRCODE_GENERATED_ALWAYS,
                format!("cannot insert a value into column \"{column}\" of foreign table \"{table}\""),
            )
            .detail("The column tells what the function answered.")
            .hint("Leave the column out, and read it with RETURNING."),
            StatementError::TwoPayloads { column, table } => Row::new(
                ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION,
                format!("foreign table \"{table}\" has a value for both \"payload\" and its field \"{column}\""),
            )
            .detail("The payload is either given as a whole or made of its fields. No function was invoked for it.")
            .hint(format!("Give either \"payload\" or \"{column}\" a value.")),
            StatementError::NullField { column, table } => Row::new(
                ERRCODE_NOT_NULL_VIOLATION,
                format!("null value in column \"{column}\" of foreign table \"{table}\" violates not-null constraint"),
            )
            .detail("The function was not invoked.")
            .hint("Give the column a value, or drop its NOT NULL: a field without a value is left out."),
            StatementError::ReturnsElements { column, table } => Row::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot return column \"{column}\" of foreign table \"{table}\" from INSERT"),
            )
            .detail("With the table option rows a response has any number of rows, and INSERT returns one for each row. No function was invoked.")
            .hint("SELECT from the table, or return other columns."),
            StatementError::FixedColumn {
                column,
                value,
                fixed,
            } => Row::new(
                ERRCODE_CHECK_VIOLATION,
                format!("{column} \"{}\" conflicts with the table option {column}", quotable(value)),
            )
            .detail(format!("The table option is \"{fixed}\". The function was not invoked."))
            .hint("Leave the column out, or insert into a foreign table without the option."),
            StatementError::TooManyInvocations { most, made, wanted } => Row::new(
                ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "too many invocations in one statement",
            )
            .detail(match wanted {
                Some(wanted) => format!("It may make {most}. It has made {made}, and needs {wanted} more."),
                None => format!("It may make {most}, and has made {made}."),
            })
            .hint("Raise aws_lambda.max_invocations or the server or table option max_invocations, or let the statement invoke for fewer rows."),
        }
    }
}
