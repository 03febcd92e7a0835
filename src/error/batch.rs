//! Responses to several rows that are not one answer for each.

use super::Row;
use crate::lambda::response::InvokeResponse;
use crate::options::BatchFormat;
use pgrx::PgSqlErrorCode::*;

/// An invocation of several rows that has no answers to them. All of its rows fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchFailure {
    /// Why.
    pub problem: BatchProblem,
    /// The response, without its payload.
    pub response: InvokeResponse,
}

/// Why a response has no answers to rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchProblem {
    /// It has another number of answers.
    Count {
        /// How many it has.
        answers: usize,
        /// How many rows were sent.
        rows: usize,
    },
    /// It states another number of rows.
    NumRecords {
        /// The number as it is stated.
        stated: String,
        /// How many rows were sent.
        rows: usize,
    },
    /// It is not what the format asks for.
    Shape {
        /// The format.
        format: BatchFormat,
        /// The first characters of the response.
        beginning: String,
    },
    /// It says that the function has failed.
    Unsuccessful {
        /// What the function says of it.
        message: Option<String>,
    },
    /// There is no memory to take it apart.
    NoMemory {
        /// Bytes that it takes.
        bytes: usize,
    },
}

impl BatchProblem {
    /// The value of `error_code`.
    pub(super) fn code(&self) -> &'static str {
        match self {
            BatchProblem::Unsuccessful { .. } => "Unsuccessful",
            BatchProblem::NoMemory { .. } => "OutOfMemory",
            _ => "InvalidBatchResponse",
        }
    }

    /// What PostgreSQL reports.
    pub(super) fn row(&self) -> Row {
        const EACH: &str = "All rows of the invocation fail, and it is not repeated. Let the function answer each row, in the order of the rows.";
        let row = |message: &str| Row::new(ERRCODE_PROTOCOL_VIOLATION, message);
        match self {
            BatchProblem::Count { answers, rows } => row("response does not have one answer for each row")
                .detail(format!("The function ran for {rows} rows, and answered {answers}."))
                .hint(EACH),
            BatchProblem::NumRecords { stated, rows } => row("response does not have one answer for each row")
                .detail(format!("The function ran for {rows} rows, and its num_records is {stated}."))
                .hint(EACH),
            BatchProblem::Shape { format, beginning } => row(match format {
                BatchFormat::Array => "response is not a JSON array of answers",
                BatchFormat::Redshift => "response is not that of a Lambda UDF of Redshift",
            })
            .detail(format!("The function ran. Its response begins: {beginning}"))
            .hint(match format {
                BatchFormat::Array => "Let the function answer with a JSON array that has one element for each row, or leave out the option batch_rows.",
                BatchFormat::Redshift => "Let the function answer with a JSON object whose \"results\" has one element for each row.",
            }),
            BatchProblem::Unsuccessful { message } => {
                Row::new(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, "lambda invocation failed").detail(
                    match message {
                        Some(message) => format!("The function ran, and its error_msg is: {message}."),
                        None => "The function ran, and gives no error_msg.".to_owned(),
                    },
                )
            }
            BatchProblem::NoMemory { bytes } => Row::new(ERRCODE_OUT_OF_MEMORY, "out of memory")
                .detail(format!("There are no {bytes} bytes for the answers. The function ran."))
                .hint("Lower the server or table option batch_rows, or give the server more memory."),
        }
    }
}
