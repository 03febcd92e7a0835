//! Makes datums of a column's type.

use crate::columns::{Attribute, Column};
use crate::error::{Error, ResponseProblem, quotable, report_of};
use crate::memory;
use crate::postgres::input::{Domain, InputFunction, base_typmod, server_bytes};
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::text::for_server;
use crate::postgres::varlena::Varlena;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};
use std::panic::AssertUnwindSafe;

/// The errors of a type that cannot hold a text.
const UNFIT: [PgSqlErrorCode; 5] = [
    PgSqlErrorCode::ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
    PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
    PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
    PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX,
    PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
];

/// Turns text into datums of one attribute's type.
pub struct Writer {
    /// The column.
    pub attribute: Attribute,
    /// The base type's modifier.
    typmod: i32,
    /// The base type's input function; `None` for text, whose bytes are copied.
    input: Option<InputFunction>,
    /// The type, if it is a domain.
    domain: Option<Domain>,
}

impl Writer {
    /// Looks the type up. The writer is not used after `context` is deleted.
    pub fn new(attribute: Attribute, context: MemoryContext<'static>) -> Writer {
        let (type_oid, base_type) = (attribute.type_oid, attribute.base_type);
        let is_text = base_type == pg_sys::TEXTOID;
        Writer {
            attribute,
            typmod: base_typmod(type_oid, attribute.typmod),
            input: (!is_text).then(|| InputFunction::new(base_type, context)),
            domain: (type_oid != base_type).then(|| Domain::new(type_oid, context)),
        }
    }

    /// Makes a datum of a response.
    ///
    /// Errors with [`Error::Response`] if the type refuses it, as too long, too large or too deep, or if the database's encoding lacks a
    /// character. A domain's refusal is raised, as its check may run any function.
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<Option<pg_sys::Datum>, Error> {
        let column = self.attribute.column;
        let unfit = |error: CaughtError| {
            let report = report_of(&error);
            if !UNFIT.contains(&report.sql_error_code()) {
                error.rethrow();
            }
            Err(Error::Response {
                column: column.name().to_owned(),
                problem: ResponseProblem::Unfit {
                    sqlstate: report.sql_error_code(),
                    message: report.message().to_owned(),
                },
                beginning: beginning(bytes),
            })
        };
        // A handler is allocated for each row. ASCII is text without one, and has no characters to check.
        let is_plain = self.input.is_none() && bytes.is_ascii();
        let datum = match is_plain && memchr::memchr(0, bytes).is_none() {
            true => Varlena::of_server(bytes).datum(),
            false => PgTryBuilder::new(AssertUnwindSafe(|| self.make(bytes)))
                .catch_others(unfit)
                .execute()?,
        };
        Ok(self.check(Some(datum)))
    }

    /// Makes a datum of a text about an invocation. Characters that the database's encoding lacks are replaced. A text about a failure is
    /// shortened to a varchar's length, as a row that reports a failure must not fail.
    pub fn write_about(&mut self, text: Option<&str>) -> Result<Option<pg_sys::Datum>, Error> {
        let Some(text) = text else {
            return Ok(self.check(None));
        };
        // A varchar's modifier is its length and the size of a header (varchar.c).
        let longest = self.typmod - pg_sys::VARHDRSZ as i32;
        let of_failure = matches!(
            self.attribute.column,
            Column::ErrorCode | Column::ErrorMessage
        );
        let cut = of_failure && self.attribute.base_type == pg_sys::VARCHAROID && longest > 0;
        let end = text.char_indices().nth(longest as usize).filter(|_| cut);
        let text = &text[..end.map_or(text.len(), |(end, _)| end)];
        let datum = self.read(for_server(text).to_bytes());
        let datum = datum.map_err(|problem| self.unfit(problem, text.as_bytes()))?;
        Ok(self.check(Some(datum)))
    }

    /// Has the domain, if the type is one, check a datum of its base type, or null.
    pub fn check(&mut self, datum: Option<pg_sys::Datum>) -> Option<pg_sys::Datum> {
        if let Some(domain) = &mut self.domain {
            // SAFETY: the datum is of the base type.
            unsafe { domain.check(datum) };
        }
        datum
    }

    /// Makes a datum of the base type, in the current memory context, of a response that ought to be UTF-8.
    ///
    /// Errors with [`Error::Response`] if it is not. Raises PostgreSQL's own errors if the type refuses it.
    fn make(&mut self, bytes: &[u8]) -> Result<pg_sys::Datum, Error> {
        if std::str::from_utf8(bytes).is_err() {
            return Err(self.unfit(ResponseProblem::NotUtf8, bytes));
        }
        if memchr::memchr(0, bytes).is_some() {
            return Err(self.unfit(ResponseProblem::ZeroByte, bytes));
        }
        let text = server_bytes(bytes);
        let mut terminated = Vec::new();
        if self.input.is_some() {
            memory::try_reserve(&mut terminated, text.len() + 1).map_err(|()| {
                Error::OutOfMemory {
                    what: "response",
                    bytes: text.len(),
                }
            })?;
        }
        self.read_into(terminated, text)
            .map_err(|problem| self.unfit(problem, bytes))
    }

    /// Makes a datum of the base type, which is not json or jsonb, of text in the database's encoding.
    pub(super) fn read_server(&mut self, text: &[u8]) -> pg_sys::Datum {
        match &mut self.input {
            Some(function) => function.call(text.to_vec(), self.typmod),
            None => Varlena::of_server(text).datum(),
        }
    }

    /// Makes a datum of the base type of text in the database's encoding.
    fn read(&mut self, text: &[u8]) -> Result<pg_sys::Datum, ResponseProblem> {
        self.read_into(Vec::new(), text)
    }

    /// The same as [`Writer::read`]. `terminated` is memory for a copy, where the type has an input function.
    fn read_into(
        &mut self,
        mut terminated: Vec<u8>,
        text: &[u8],
    ) -> Result<pg_sys::Datum, ResponseProblem> {
        let Some(function) = &mut self.input else {
            return Ok(Varlena::of_server(text).datum());
        };
        terminated.reserve_exact(text.len() + 1);
        terminated.extend_from_slice(text);
        let typmod = self.typmod;
        let input = AssertUnwindSafe(|| function.call(terminated, typmod));
        if !matches!(self.attribute.base_type, pg_sys::JSONOID | pg_sys::JSONBOID) {
            return Ok(input());
        }
        PgTryBuilder::new(move || Ok(input()))
            .catch_others(|error| match report_of(&error).sql_error_code() {
                PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION => {
                    Err(ResponseProblem::NotJson)
                }
                PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER => Err(ResponseProblem::NotJsonb),
                _ => error.rethrow(),
            })
            .execute()
    }

    fn unfit(&self, problem: ResponseProblem, bytes: &[u8]) -> Error {
        Error::Response {
            column: self.attribute.column.name().to_owned(),
            problem,
            beginning: beginning(bytes),
        }
    }
}

fn beginning(bytes: &[u8]) -> String {
    quotable(&String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]))
}
