//! The errors of this extension, and how PostgreSQL reports them: SQLSTATE, message, DETAIL and HINT.
//!
//! Each kind of error has its file, with the variants and a table of their [`Row`]s. No secret ever becomes part of an [`Error`].
//! PostgreSQL's own errors are not wrapped here.

mod api;
mod batch;
mod cause;
mod configuration;
mod field;
mod import;
mod invocation;
mod no_value;
mod option;
mod printable;
mod question;
mod report;
mod request;
mod response;
mod statement;
mod table;
mod wrong_argument;

pub use api::{Answer, ApiFailure};
pub use batch::{BatchFailure, BatchProblem};
pub use cause::Cause;
pub use configuration::ConfigurationError;
pub use field::FieldProblem;
pub use import::ImportError;
pub use invocation::{Invocation, InvokedBy};
pub use no_value::NoValueReason;
pub use option::OptionError;
#[cfg(any(test, fuzzing))]
pub use printable::is_visible;
use printable::printable;
pub use printable::{quotable, shortened};
pub use question::Question;
pub use report::{CALL_CONTEXT, OrReport, raise, raise_caught, raise_of_call, report_of, warn};
pub use request::RequestError;
pub use response::ResponseProblem;
pub use statement::StatementError;
pub use table::TableError;

use pgrx::PgSqlErrorCode;

/// An error of this extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The outcome of a queued invocation cannot be written.
    Unwritten {
        /// The row's id.
        id: i64,
        /// Why.
        problem: String,
    },
    /// The options of an object.
    Option(OptionError),
    /// The definition of a foreign table.
    Table(TableError),
    /// Settings, credentials, and the release of the library.
    Configuration(ConfigurationError),
    /// A statement that can't be executed.
    Statement(StatementError),
    /// The values of an invocation.
    Request(RequestError),
    /// The function reported an error.
    Function {
        /// Name or ARN, as it was given.
        function_name: String,
        /// `Handled` or `Unhandled`.
        function_error: String,
        /// The response payload.
        payload: String,
    },
    /// The Invoke API did not give a result.
    Api(ApiFailure),
    /// An invocation of several rows did not answer each.
    Batch(Box<BatchFailure>),
    /// A response that its column cannot hold.
    Response {
        /// The column's name.
        column: String,
        /// The reason.
        problem: ResponseProblem,
        /// The first characters of the response.
        beginning: String,
    },
    /// A field of a response that its column cannot hold.
    Field {
        /// The column's name.
        column: String,
        /// The field's key.
        key: String,
        /// The reason.
        problem: FieldProblem,
        /// The first characters of the field.
        beginning: String,
    },
    /// A response that has no array where its rows ought to be.
    Rows {
        /// The table option `rows`.
        key: String,
        /// The first characters of the response.
        beginning: String,
    },
    /// Another error, and the invocation that failed with it.
    Of(Box<Invocation>, Box<Error>),
    /// Another error, and the question about functions that got no answer because of it.
    Asked(Box<Question>, Box<Error>),
    /// IMPORT FOREIGN SCHEMA.
    Import(ImportError),
    /// There is no memory for a value.
    OutOfMemory {
        /// Name of the value.
        what: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// An allocation that does not check for memory found none. The reserve served it, and the statement ends.
    MemoryIsShort,
    /// The backend could not start its network thread.
    Runtime(String),
    /// The network thread panicked over an invocation.
    Panicked,
    /// A state that only a plan changed by another extension can cause.
    Unexpected(&'static str),
}

/// What PostgreSQL reports of an error.
struct Row {
    sqlstate: PgSqlErrorCode,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl Row {
    fn new(sqlstate: PgSqlErrorCode, message: impl Into<String>) -> Row {
        Row {
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    fn detail(mut self, detail: impl Into<String>) -> Row {
        self.detail = Some(detail.into());
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Row {
        self.hint = Some(hint.into());
        self
    }
}

impl Error {
    /// What PostgreSQL reports. Names and values in it come from roles, functions and endpoints, so all of it is made printable.
    fn row(&self) -> Row {
        let row = self.raw_row();
        Row {
            message: printable(&row.message),
            detail: row.detail.as_deref().map(printable),
            hint: row.hint.as_deref().map(printable),
            ..row
        }
    }

    fn raw_row(&self) -> Row {
        use PgSqlErrorCode::*;
        const MORE_MEMORY: &str = "Lower aws_lambda.max_memory or aws_lambda.max_concurrency, or give the server more memory.";
        match self {
            Error::Option(error) => error.row(),
            Error::Table(error) => error.row(),
            Error::Configuration(error) => error.row(),
            Error::Statement(error) => error.row(),
            Error::Request(error) => error.row(),
            Error::Function {
                function_name,
                function_error,
                payload,
            } => Row::new(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, "lambda invocation failed").detail(
                format!("\"{function_name}\" returned error \"{function_error}\", details: \"{payload}\"."),
            ),
            Error::Api(failure) => failure.row(),
            Error::Batch(failure) => failure.problem.row(),
            Error::Response { column, problem, beginning } => problem.row(column, beginning),
            Error::Field { column, key, problem, beginning } => problem.row(column, key, beginning),
            Error::Rows { key, beginning } => field::not_rows(key, beginning),
            Error::Of(invocation, error) => invocation.row(error),
            Error::Asked(question, error) => question.row(error),
            Error::Import(error) => error.row(),
            Error::OutOfMemory { what, bytes } => Row::new(ERRCODE_OUT_OF_MEMORY, "out of memory")
                .detail(format!("There are no {bytes} bytes for a {what}."))
                .hint(MORE_MEMORY),
            Error::MemoryIsShort => Row::new(ERRCODE_OUT_OF_MEMORY, "out of memory")
                .detail("There was none left for invocations. Functions that were invoked may have run.")
                .hint(MORE_MEMORY),
            Error::Runtime(problem) => Row::new(
                ERRCODE_INSUFFICIENT_RESOURCES,
                "could not start the AWS Lambda client",
            )
            .detail(problem),
            Error::Unwritten { id, problem } => Row::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "could not write the outcome of a queued invocation",
            )
            .detail(format!("Row {id} of aws_lambda.queue: {problem}"))
            .hint("It is tried again for as long as this delivery runs. The invocation is not sent again meanwhile."),
            Error::Panicked => Row::new(ERRCODE_INTERNAL_ERROR, "the AWS Lambda client failed")
                .detail("The function may have run. It was not invoked again.")
                .hint("The server's log has the reason. Please report it."),
            Error::Unexpected(what) => Row::new(ERRCODE_INTERNAL_ERROR, *what)
                .hint("Please report it, with the output of EXPLAIN."),
        }
    }

    /// Whether no function ran for a reason that lies in no single invocation, and that may pass.
    pub fn may_pass(&self) -> bool {
        match self {
            Error::Of(_, error) | Error::Asked(_, error) => error.may_pass(),
            Error::Api(failure) => failure.cause.may_pass(),
            Error::Configuration(
                ConfigurationError::DroppedTable(_) | ConfigurationError::DroppedRole(_),
            ) => false,
            Error::Configuration(_) | Error::MemoryIsShort | Error::Runtime(_) => true,
            _ => false,
        }
    }

    /// The primary message and DETAIL.
    #[cfg(any(test, fuzzing))]
    pub fn texts(&self) -> (String, Option<String>) {
        let row = self.row();
        (row.message, row.detail)
    }

    /// The values of `error_code` and `error_message` in a row of a foreign table.
    pub fn as_columns(&self) -> (&str, String) {
        let code = match self {
            Error::Of(_, error) | Error::Asked(_, error) => return error.as_columns(),
            Error::Api(failure) => return (failure.code(), failure.column_message()),
            Error::Batch(failure) => failure.problem.code(),
            Error::Response { .. } | Error::Field { .. } | Error::Rows { .. } => "InvalidResponse",
            Error::Request(RequestError::PayloadTooLarge { .. }) => "RequestTooLargeException",
            Error::OutOfMemory { .. } | Error::MemoryIsShort => "OutOfMemory",
            Error::Runtime(_) | Error::Panicked => "ClientFailure",
            _ => "InvalidParameterValue",
        };
        if let Error::Batch(failure) = self
            && let BatchProblem::Unsuccessful {
                message: Some(message),
            } = &failure.problem
        {
            return (code, message.clone());
        }
        let row = self.row();
        let message = match self {
            Error::Response {
                problem: ResponseProblem::Unfit { .. },
                ..
            } => format!(
                "response of the function is not what its column can hold: {}",
                row.message
            ),
            _ => row.message,
        };
        let message = match row.detail {
            Some(detail) => format!("{message}. {detail}"),
            None => message,
        };
        (code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_texts() {
        let row = Error::Function {
            function_name: "arn:aws:lambda:us-west-2:123456789012:function:my-function".into(),
            function_error: "Unhandled".into(),
            payload: "<Error details string>".into(),
        }
        .row();
        assert_eq!(row.message, "lambda invocation failed");
        assert_eq!(
            row.detail.as_deref(),
            Some(
                "\"arn:aws:lambda:us-west-2:123456789012:function:my-function\" returned error \"Unhandled\", details: \"<Error details string>\"."
            )
        );
        let row = Error::Api(ApiFailure::new(
            Cause::Connect,
            "Unable to connect to endpoint",
            String::new(),
        ))
        .row();
        assert_eq!(row.message, "invoke API failed");
        assert_eq!(
            row.detail.as_deref(),
            Some("AWS Lambda client returned 'Unable to connect to endpoint'.")
        );
    }

    #[test]
    fn failures_name_their_invocation() {
        let failure = ApiFailure::new(Cause::RequestTimeout, "Request timed out", String::new());
        let error = Error::Api(failure).of("geocode", Some("1-2"));
        let detail =
            "AWS Lambda client returned 'Request timed out'. Function \"geocode\", request id 1-2.";
        let row = error.row();
        assert_eq!(
            row.message,
            "could not invoke \"geocode\": request timed out"
        );
        assert_eq!(row.detail.as_deref(), Some(detail));
        let row = error
            .of("another", None)
            .invoked_by(InvokedBy::Function)
            .row();
        assert_eq!(row.message, "invoke API failed");
        assert_eq!(row.detail.as_deref(), Some(detail));
    }

    #[test]
    fn errors_of_functions_have_their_documented_text_in_a_call() {
        let error = Error::Function {
            function_name: "f".into(),
            function_error: "Unhandled".into(),
            payload: "x".into(),
        }
        .of("f", Some("1-2"));
        let documented = "\"f\" returned error \"Unhandled\", details: \"x\".";
        let row = error.clone().invoked_by(InvokedBy::Function).row();
        assert_eq!(row.detail.as_deref(), Some(documented));
        assert_eq!(
            row.hint.as_deref(),
            Some("Its log in CloudWatch has request id 1-2.")
        );
        let detail = format!("{documented} Request id 1-2.");
        assert_eq!(error.row().detail.as_deref(), Some(&*detail));
    }
}
