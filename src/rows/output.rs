//! An outcome as the output columns of its rows: the columns about the invocation, and the fields of the response.

use super::field::FieldWriter;
use super::invocation_columns::{
    error, of_invocation, with_context, write, write_but_failure, write_failure,
};
use super::response::{Response, ResponseShape};
use super::tree::FieldText;
use super::writer::Writer;
use crate::columns::{Column, Layout};
use crate::dispatch::Outcome;
use crate::error::Error;
use crate::lambda::response::Thrown;
use crate::options::OnError;
use crate::postgres::context;
use crate::postgres::memory_context::MemoryContext;
use pgrx::pg_sys;

/// The output columns of a table that a statement reads.
pub struct Output {
    writers: Vec<Writer>,
    fields: Option<Fields>,
    /// Holds what the rows of the outcome share that was begun last.
    shared_context: MemoryContext<'static>,
}

/// Those that are fields of the response.
struct Fields {
    shape: ResponseShape,
    /// One for each field of the shape.
    writers: Vec<FieldWriter>,
}

/// An outcome whose rows are being made.
pub struct Begun {
    /// Whether the one row of an outcome without a response that is taken apart was made.
    is_made: bool,
    /// `None` where no column is a field.
    parts: Option<Box<Parts>>,
}

/// What the fields of an outcome's rows are made of.
struct Parts {
    /// The response, if the function gave one that can be taken apart.
    response: Option<Response>,
    /// Why it can't be taken apart, where that is a row.
    problem: Option<Error>,
    shared: Shared,
}

impl Begun {
    fn response(&self) -> Option<&Response> {
        self.parts.as_ref()?.response.as_ref()
    }

    /// The position of the row that was made last, which no other row of the outcome has.
    pub fn position(&self) -> u64 {
        self.response().map_or(0, Response::position)
    }

    /// A number above each position.
    pub fn most_positions(&self) -> u64 {
        self.response().map_or(1, Response::most_positions)
    }

    /// Whether a row is there, unless it fails.
    pub fn has_next(&self, outcome: &Outcome) -> bool {
        (self.response()).is_some_and(|response| response.has_next(payload_of(outcome)))
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
        Output {
            writers,
            fields,
            shared_context: context.child(),
        }
    }

    /// Those of a row that INSERT returns: all that are no fields, and of the fields those that are read. A field of an element has no value there.
    pub fn of_insert(
        layout: &Layout,
        is_read: impl Fn(i16) -> bool,
        context: MemoryContext<'static>,
    ) -> Output {
        let of_elements: Vec<Column> = layout.fields_of_elements().map(|it| it.column).collect();
        let is_read = |number| {
            let column = layout.attribute(number).map(|attribute| attribute.column);
            column.is_some_and(|column| {
                column.part().is_none() || is_read(number) && !of_elements.contains(&column)
            })
        };
        let mut output = Output::new(layout, is_read, context);
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
            is_made: false,
            parts: None,
        };
        let Some(fields) = &self.fields else {
            return Ok(begun);
        };
        // SAFETY: nobody reads a row of the outcome before any more.
        unsafe { self.shared_context.reset() };
        let parts = begun.parts.insert(Box::new(Parts {
            response: None,
            problem: None,
            shared: Shared {
                context: self.shared_context,
                columns: None,
                fields: Vec::new(),
            },
        }));
        let response = outcome.result.as_ref().ok();
        let answer = response.filter(|response| response.function_error.is_none());
        let Some(payload) = answer.and_then(|answer| answer.payload.as_deref()) else {
            return Ok(begun);
        };
        match fields.shape.begin(payload) {
            Ok(response) => parts.response = Some(response),
            Err(error) if on_error == OnError::Return => parts.problem = Some(error),
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
        if begun.response().is_none() && std::mem::replace(&mut begun.is_made, true) {
            return Ok(false);
        }
        let writers = &mut self.writers;
        let (Some(fields), Some(parts)) = (&mut self.fields, begun.parts.as_deref_mut()) else {
            return write(writers, outcome, on_error, put).map(|()| true);
        };
        with_context(outcome, || {
            let mut problem = parts.problem.take();
            let shared = &mut parts.shared;
            if let Some(response) = &parts.response {
                match fields.write(response, shared, payload_of(outcome), on_error, &mut put) {
                    Ok(true) => (),
                    Ok(false) => return Ok(false),
                    Err(error) if on_error == OnError::Return => problem = Some(error),
                    Err(error) => return Err(of_invocation(error, outcome)),
                }
            }
            let misfit = match fields.shape.has_rows() {
                true => shared.columns(writers, outcome, on_error, &mut put)?,
                false => write_but_failure(writers, outcome, on_error, &mut put)?,
            };
            write_failure(writers, outcome, problem.as_ref(), misfit.as_ref(), put)?;
            Ok(true)
        })
    }
}

impl Fields {
    /// Gives the fields of the next row to `put`; false after the last row. The first field that does not fit is an error, once all that fit were given.
    fn write(
        &mut self,
        response: &Response,
        shared: &mut Shared,
        payload: &[u8],
        on_error: OnError,
        put: &mut dyn FnMut(i16, Option<pg_sys::Datum>),
    ) -> Result<bool, Error> {
        let Some(texts) = self.shape.next(response, payload)? else {
            return Ok(false);
        };
        let mut first = None;
        let fields = self.shape.fields.iter().zip(&texts);
        for (index, (writer, (field, text))) in self.writers.iter_mut().zip(fields).enumerate() {
            let mut make = |text: &FieldText| {
                let line = || format!("column \"{}\", field \"{}\"", field.name, field.key);
                context::with(&line, || writer.write(field, text, on_error))
            };
            let made = match self.shape.has_rows() && field.key.is_of_response() {
                true => shared.field(index, || make(self.shape.common(response, index))),
                false => make(text),
            };
            match made {
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

/// A column's number and its datum.
type ColumnDatum = (i16, Option<pg_sys::Datum>);

/// What the rows of one outcome share: columns about the invocation, and fields in the response as a whole. Made once, as they may have megabytes.
struct Shared {
    /// Holds the datums until the next outcome.
    context: MemoryContext<'static>,
    columns: Option<(Vec<ColumnDatum>, Option<Thrown>)>,
    fields: Vec<(usize, Result<Option<pg_sys::Datum>, Error>)>,
}

impl Shared {
    fn field(
        &mut self,
        index: usize,
        make: impl FnOnce() -> Result<Option<pg_sys::Datum>, Error>,
    ) -> Result<Option<pg_sys::Datum>, Error> {
        if let Some((_, made)) = self.fields.iter().find(|(known, _)| *known == index) {
            return made.clone();
        }
        let made = self.context.switch_to(make);
        self.fields.push((index, made.clone()));
        made
    }

    fn columns(
        &mut self,
        writers: &mut [Writer],
        outcome: &Outcome,
        on_error: OnError,
        mut put: impl FnMut(i16, Option<pg_sys::Datum>),
    ) -> Result<Option<Thrown>, Error> {
        let (columns, misfit) = match &self.columns {
            Some(columns) => columns,
            None => {
                let mut columns = Vec::new();
                let add = |number, datum| columns.push((number, datum));
                let write = || write_but_failure(writers, outcome, on_error, add);
                let misfit = self.context.switch_to(write)?;
                self.columns.insert((columns, misfit))
            }
        };
        (columns.iter()).for_each(|(number, datum)| put(*number, *datum));
        Ok(misfit.clone())
    }
}
