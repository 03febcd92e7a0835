//! The columns about an invocation: the response as a whole, its status, and its failure.
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
pub(super) fn of_invocation(error: Error, outcome: &Outcome) -> Error {
    match &outcome.function_name {
        Some(name) => error.of(name, request_id(outcome)),
        None => error,
    }
}

/// Gives each writer's datum, made in the current memory context, to `put`, with the column's number.
///
/// Errors if the outcome is a failure that ends the statement.
pub fn write(
    writers: &mut [Writer],
    outcome: &Outcome,
    on_error: OnError,
    mut put: impl FnMut(i16, Option<pg_sys::Datum>),
) -> Result<(), Error> {
    with_context(outcome, || {
        let misfit = write_but_failure(writers, outcome, on_error, &mut put)?;
        write_failure(writers, outcome, None, misfit.as_ref(), put)
    })
}

/// Works, and says in PostgreSQL's own errors which invocation the row is of.
pub(super) fn with_context<T>(outcome: &Outcome, work: impl FnOnce() -> T) -> T {
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
    context::with(&line, work)
}

/// Gives the datum of each writer to `put` but of those that tell of a failure. Returns the failure of a response that does not fit into its column,
/// where that is a row.
///
/// Errors if the outcome is a failure that ends the statement.
pub(super) fn write_but_failure(
    writers: &mut [Writer],
    outcome: &Outcome,
    on_error: OnError,
    mut put: impl FnMut(i16, Option<pg_sys::Datum>),
) -> Result<Option<Thrown>, Error> {
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
    let mut misfit = None;
    let response = outcome.response();
    for writer in writers.iter_mut().filter(|writer| !is_of_failure(writer)) {
        let payload = response.and_then(|response| response.payload.as_deref());
        let datum = match (writer.attribute.column, payload) {
            (Column::Response, Some(payload)) => match writer.try_write(payload) {
                Err(error) if on_error == OnError::Return => {
                    misfit.get_or_insert(of_error(&error));
                    writer.check(None)
                }
                written => written.map_err(|error| of_invocation(error, outcome))?,
            },
            (Column::Response, None) => writer.check(None),
            (Column::StatusCode, _) => writer.check(status_code(outcome).map(pg_sys::Datum::from)),
            (column, _) => writer.write_about(text(column, outcome, None).as_deref())?,
        };
        put(writer.attribute.number, datum);
    }
    Ok(misfit)
}

/// Gives the datums of the columns that tell of a failure to `put`: that of the invocation, of a field, or of the response as a whole.
pub(super) fn write_failure(
    writers: &mut [Writer],
    outcome: &Outcome,
    problem: Option<&Error>,
    misfit: Option<&Thrown>,
    mut put: impl FnMut(i16, Option<pg_sys::Datum>),
) -> Result<(), Error> {
    if !writers.iter().any(is_of_failure) {
        return Ok(());
    }
    let failure = failure(outcome).or_else(|| problem.map(of_error));
    let failure = failure.as_ref().or(misfit);
    for writer in writers.iter_mut().filter(|writer| is_of_failure(writer)) {
        let text = text(writer.attribute.column, outcome, failure);
        let datum = writer.write_about(text.as_deref())?;
        put(writer.attribute.number, datum);
    }
    Ok(())
}

fn is_of_failure(writer: &Writer) -> bool {
    let column = writer.attribute.column;
    matches!(column, Column::ErrorCode | Column::ErrorMessage)
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
        Err(error) => Some(of_error(error)),
    }
}

fn of_error(error: &Error) -> Thrown {
    let (code, message) = error.as_columns();
    Thrown {
        code: code.to_owned(),
        message: Some(message.replace('\0', "?")),
    }
}
