//! An outcome as the output columns of a row.
//!
//! Where `on_error` is `return`, a failure is a row too, and so is a response that does not fit into its column.

use super::writer::Writer;
use crate::columns::Column;
use crate::dispatch::Outcome;
use crate::error::{Error, StatementError, quotable, shortened};
use crate::lambda::response::Thrown;
use crate::options::OnError;
use crate::postgres::context;
use pgrx::pg_sys;
use std::borrow::Cow;

/// Most bytes of a function's error payload that a message carries.
const MAX_ERROR_PAYLOAD: usize = 8192;

/// The error that an outcome raises, if it is a failure.
pub fn error(outcome: &Outcome) -> Option<Error> {
    let response = match &outcome.result {
        Ok(response) => response,
        Err(error) => return Some(of_invocation(error.clone(), outcome)),
    };
    let function_error = response.function_error.as_deref()?;
    let payload = response.payload.as_deref().unwrap_or_default();
    let shown = &payload[..payload.len().min(MAX_ERROR_PAYLOAD)];
    let error = Error::Function {
        function_name: outcome
            .function_name
            .as_deref()
            .unwrap_or_default()
            .to_owned(),
        function_error: quotable(function_error),
        payload: shortened(&String::from_utf8_lossy(shown), MAX_ERROR_PAYLOAD),
    };
    Some(of_invocation(error, outcome))
}

/// An error with the function and the request id.
fn of_invocation(error: Error, outcome: &Outcome) -> Error {
    match &outcome.function_name {
        Some(name) => error.of(name, request_id(outcome)),
        None => error,
    }
}

/// Gives each writer's datum, made in the current memory context, to `put`.
///
/// Errors if the outcome is a failure that ends the statement.
pub fn write(
    writers: &mut [Writer],
    outcome: &Outcome,
    on_error: OnError,
    put: impl FnMut(&Writer, Option<pg_sys::Datum>),
) -> Result<(), Error> {
    // The CONTEXT of PostgreSQL's own errors, for example of a domain that refuses a value.
    let line = || {
        let name = (outcome.function_name.as_deref()).map(quotable);
        let id = request_id(outcome).map(quotable);
        match (name, id) {
            (Some(name), Some(id)) => format!("answer of function \"{name}\", request id {id}"),
            (Some(name), None) => format!("answer of function \"{name}\""),
            (None, _) => "row of an invocation that was not made".to_owned(),
        }
    };
    context::with(&line, || write_columns(writers, outcome, on_error, put))
}

fn write_columns(
    writers: &mut [Writer],
    outcome: &Outcome,
    on_error: OnError,
    mut put: impl FnMut(&Writer, Option<pg_sys::Datum>),
) -> Result<(), Error> {
    if on_error == OnError::Raise
        && let Some(error) = error(outcome)
    {
        return Err(error);
    }
    // The statement is wrong, and not one of its rows.
    if let Err(
        error @ Error::Statement(
            StatementError::OutputColumn { .. } | StatementError::TooManyInvocations { .. },
        ),
    ) = &outcome.result
    {
        return Err(error.clone());
    }
    let mut failure = failure(outcome);
    let response = outcome.response();
    // The response comes first: if it does not fit into its column, the columns of the failure say so.
    let (first, others): (Vec<&mut Writer>, Vec<&mut Writer>) =
        (writers.iter_mut()).partition(|writer| writer.attribute.column == Column::Response);
    for writer in first {
        let payload = response.and_then(|response| response.payload.as_deref());
        let written = match payload {
            Some(payload) => writer.try_write(payload),
            None => Ok(writer.check(None)),
        };
        let datum = match written {
            Err(error) if on_error == OnError::Return => {
                let (code, message) = error.as_columns();
                failure.get_or_insert(Thrown {
                    code: code.to_owned(),
                    message: Some(message),
                });
                writer.check(None)
            }
            written => written.map_err(|error| of_invocation(error, outcome))?,
        };
        put(writer, datum);
    }
    for writer in others {
        let datum = match writer.attribute.column {
            Column::StatusCode => writer.check(status_code(outcome).map(pg_sys::Datum::from)),
            column => writer.write_about(text(column, outcome, failure.as_ref()).as_deref())?,
        };
        put(writer, datum);
    }
    Ok(())
}

/// The text of a column about the invocation.
fn text<'a>(
    column: Column,
    outcome: &'a Outcome,
    failure: Option<&'a Thrown>,
) -> Option<Cow<'a, str>> {
    let response = outcome.response();
    let text = match (column, response) {
        (Column::RequestId, _) => request_id(outcome),
        (Column::ErrorCode, _) => failure.map(|failure| failure.code.as_str()),
        (Column::ErrorMessage, _) => failure.and_then(|failure| failure.message.as_deref()),
        (Column::Log, Some(response)) => return response.log().map(Cow::from),
        (Column::ExecutedVersion, Some(response)) => response.executed_version.as_deref(),
        (Column::LogResult, Some(response)) => response.log_result.as_deref(),
        (Column::FunctionError, Some(response)) => response.function_error.as_deref(),
        (Column::DurableExecutionArn, Some(response)) => response.durable_execution_arn.as_deref(),
        _ => None,
    };
    text.map(Cow::from)
}

fn status_code(outcome: &Outcome) -> Option<i32> {
    match &outcome.result {
        Err(Error::Api(failure)) => Some(failure.answer.as_ref()?.status.into()),
        _ => Some(outcome.response()?.status_code),
    }
}

fn request_id(outcome: &Outcome) -> Option<&str> {
    match &outcome.result {
        Err(Error::Api(failure)) => failure.answer.as_ref()?.request_id.as_deref(),
        _ => outcome.response()?.request_id.as_deref(),
    }
}

/// Code and message of a failure, for its columns.
fn failure(outcome: &Outcome) -> Option<Thrown> {
    match &outcome.result {
        Ok(response) => response.thrown(),
        Err(error) => {
            let (code, message) = error.as_columns();
            Some(Thrown {
                code: code.to_owned(),
                message: Some(message.replace('\0', "?")),
            })
        }
    }
}
