//! An outcome as the output columns of a row.
//!
//! Where `on_error` is `return`, a failure is a row too, and so is a response that does not fit into its column.

use super::field::FieldWriter;
use super::response::{Response, ResponseShape};
use super::writer::Writer;
use crate::columns::{Column, Layout};
use crate::dispatch::Outcome;
use crate::error::{Error, StatementError, quotable, shortened};
use crate::lambda::response::Thrown;
use crate::options::OnError;
use crate::postgres::context;
use crate::postgres::memory_context::MemoryContext;
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

/// The output columns of a table that a statement reads.
pub struct Output {
    writers: Vec<Writer>,
    fields: Option<Fields>,
}

/// Those that are fields of the response.
struct Fields {
    shape: ResponseShape,
    /// One for each field of the shape.
    writers: Vec<FieldWriter>,
}

/// An outcome whose rows are being made.
pub struct Begun {
    /// The response, if the function gave one that can be taken apart.
    response: Option<Response>,
    /// Why it can't be taken apart, where that is a row.
    problem: Option<Error>,
    /// Whether the one row of an outcome without such a response was made.
    is_made: bool,
}

impl Begun {
    /// The position of the row that was made last, which no other row of the outcome has.
    pub fn position(&self) -> u64 {
        self.response.as_ref().map_or(0, Response::position)
    }

    /// A number above each position.
    pub fn most_positions(&self) -> u64 {
        (self.response.as_ref()).map_or(1, Response::most_positions)
    }

    /// Whether a row is there, unless it fails.
    pub fn has_next(&self, outcome: &Outcome) -> bool {
        (self.response.as_ref()).is_some_and(|response| response.has_next(payload_of(outcome)))
    }
}

fn payload_of(outcome: &Outcome) -> &[u8] {
    let response = outcome.result.as_ref().ok();
    let payload = response.and_then(|response| response.payload.as_deref());
    payload.unwrap_or_default()
}

impl Output {
    /// Those of a table's columns for which `is_read` is true. It is not used after `context` is deleted.
    pub fn new(
        layout: &Layout,
        is_read: impl Fn(i16) -> bool,
        context: MemoryContext<'static>,
    ) -> Output {
        let read = || (layout.attributes.iter()).filter(|attribute| is_read(attribute.number));
        let is_field = |column: Column| column.part().is_some();
        let writers = read()
            .filter(|attribute| layout.is_output(attribute.column) && !is_field(attribute.column))
            .map(|attribute| Writer::new(*attribute, context))
            .collect();
        let is_wanted = |column| {
            let attribute = layout.find(column);
            attribute.is_some_and(|attribute| is_read(attribute.number))
        };
        let fields = ResponseShape::of(layout, is_wanted).map(|shape| Fields {
            writers: (shape.fields.iter())
                .filter_map(|field| layout.find(field.column))
                .map(|attribute| FieldWriter::new(*attribute, context))
                .collect(),
            shape,
        });
        Output { writers, fields }
    }

    /// Those of a row that INSERT returns. A field of an element has no value there.
    pub fn of_insert(layout: &Layout, context: MemoryContext<'static>) -> Output {
        let mut output = Output::new(layout, |_| true, context);
        if let Some(fields) = &mut output.fields {
            fields.shape.leave_elements_out();
        }
        output
    }

    /// Those that are no fields.
    pub fn writers(&mut self) -> &mut [Writer] {
        &mut self.writers
    }

    /// Whether an outcome may have another number of rows than one.
    pub fn has_rows(&self) -> bool {
        (self.fields.as_ref()).is_some_and(|fields| fields.shape.has_rows())
    }

    /// Begins to make the rows of an outcome.
    ///
    /// Errors if the outcome is a failure that ends the statement, or a response that can't be taken apart.
    pub fn begin(&self, outcome: &Outcome, on_error: OnError) -> Result<Begun, Error> {
        if on_error == OnError::Raise
            && let Some(error) = error(outcome)
        {
            return Err(error);
        }
        let mut begun = Begun {
            response: None,
            problem: None,
            is_made: false,
        };
        let response = outcome.result.as_ref().ok();
        let answer = response.filter(|response| response.function_error.is_none());
        let Some((fields, payload)) = self
            .fields
            .as_ref()
            .zip(answer.and_then(|answer| answer.payload.as_deref()))
        else {
            return Ok(begun);
        };
        match fields.shape.begin(payload) {
            Ok(response) => begun.response = Some(response),
            Err(error) if on_error == OnError::Return => begun.problem = Some(error),
            Err(error) => return Err(of_invocation(error, outcome)),
        }
        Ok(begun)
    }

    /// Gives each column's datum in the outcome's next row, made in the current memory context, to `put`, with the column's number. False after
    /// the last row.
    ///
    /// Errors if the outcome is a failure that ends the statement.
    pub fn write(
        &mut self,
        begun: &mut Begun,
        outcome: &Outcome,
        on_error: OnError,
        mut put: impl FnMut(i16, Option<pg_sys::Datum>),
    ) -> Result<bool, Error> {
        with_context(outcome, || {
            let mut problem = begun.problem.take();
            if begun.response.is_none() && std::mem::replace(&mut begun.is_made, true) {
                return Ok(false);
            }
            if let (Some(fields), Some(response)) = (&mut self.fields, &begun.response) {
                match fields.write(response, payload_of(outcome), on_error, &mut put) {
                    Ok(true) => (),
                    Ok(false) => return Ok(false),
                    Err(error) if on_error == OnError::Return => problem = Some(error),
                    Err(error) => return Err(of_invocation(error, outcome)),
                }
            }
            write_columns(&mut self.writers, outcome, on_error, problem, put)?;
            Ok(true)
        })
    }
}

impl Fields {
    /// Gives the fields of the next row to `put`; false after the last row. The first field that does not fit is an error, once all that fit were given.
    fn write(
        &mut self,
        response: &Response,
        payload: &[u8],
        on_error: OnError,
        put: &mut dyn FnMut(i16, Option<pg_sys::Datum>),
    ) -> Result<bool, Error> {
        let Some(values) = self.shape.next(response, payload)? else {
            return Ok(false);
        };
        let mut first = None;
        let fields = self.shape.fields.iter().zip(&values);
        for (writer, (field, value)) in self.writers.iter_mut().zip(fields) {
            let value = value.as_deref();
            let line = || format!("column \"{}\", field \"{}\"", field.name, field.key);
            match context::with(&line, || writer.write(field, value, on_error)) {
                Ok(datum) => put(writer.number(), datum),
                Err(error @ Error::Field { .. }) if on_error == OnError::Return => {
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        first.map_or(Ok(true), Err)
    }
}

/// Gives each writer's datum, made in the current memory context, to `put`, with the column's number.
///
/// Errors if the outcome is a failure that ends the statement.
pub fn write(
    writers: &mut [Writer],
    outcome: &Outcome,
    on_error: OnError,
    put: impl FnMut(i16, Option<pg_sys::Datum>),
) -> Result<(), Error> {
    with_context(outcome, || {
        write_columns(writers, outcome, on_error, None, put)
    })
}

/// Works, and says in PostgreSQL's own errors which invocation the row is of.
fn with_context<T>(outcome: &Outcome, work: impl FnOnce() -> T) -> T {
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

fn write_columns(
    writers: &mut [Writer],
    outcome: &Outcome,
    on_error: OnError,
    problem: Option<Error>,
    mut put: impl FnMut(i16, Option<pg_sys::Datum>),
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
    let mut failure = failure(outcome).or_else(|| problem.as_ref().map(of_error));
    let response = outcome.response();
    // The response comes first: if it does not fit into its column, the columns of the failure say so.
    let is_response = |writer: &&mut Writer| writer.attribute.column == Column::Response;
    for writer in writers.iter_mut().filter(is_response) {
        let payload = response.and_then(|response| response.payload.as_deref());
        let written = match payload {
            Some(payload) => writer.try_write(payload),
            None => Ok(writer.check(None)),
        };
        let datum = match written {
            Err(error) if on_error == OnError::Return => {
                failure.get_or_insert(of_error(&error));
                writer.check(None)
            }
            written => written.map_err(|error| of_invocation(error, outcome))?,
        };
        put(writer.attribute.number, datum);
    }
    for writer in writers.iter_mut().filter(|writer| !is_response(writer)) {
        let datum = match writer.attribute.column {
            Column::StatusCode => writer.check(status_code(outcome).map(pg_sys::Datum::from)),
            column => writer.write_about(text(column, outcome, failure.as_ref()).as_deref())?,
        };
        put(writer.attribute.number, datum);
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
