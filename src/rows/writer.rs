//! Makes datums of a column's type.

use crate::columns::{Attribute, Column};
use crate::error::{Error, ResponseProblem, quotable};
use crate::memory;
use crate::postgres::text::for_server;
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};
use std::ffi::CStr;
use std::panic::AssertUnwindSafe;

/// Turns text into datums of one attribute's type.
pub struct Writer {
    /// The column.
    pub attribute: Attribute,
    /// The base type's modifier.
    typmod: i32,
    /// The base type's input function and its argument; `None` for text, whose bytes are copied.
    input: Option<(pg_sys::FmgrInfo, pg_sys::Oid)>,
    /// PostgreSQL's cache of the domain, if the type is one.
    domain: *mut std::ffi::c_void,
    /// Holds that cache.
    context: pg_sys::MemoryContext,
}

impl Writer {
    /// Looks the type up.
    ///
    /// # Safety
    /// Called in a transaction; the writer is not used after `context` is deleted.
    pub unsafe fn new(attribute: Attribute, context: pg_sys::MemoryContext) -> Writer {
        let mut typmod = attribute.typmod;
        // SAFETY: a catalog look-up.
        unsafe { pg_sys::getBaseTypeAndTypmod(attribute.type_oid, &mut typmod) };
        let plain_text = attribute.base_type == pg_sys::TEXTOID;
        let input = (!plain_text).then(|| {
            let mut function = pg_sys::Oid::INVALID;
            let mut element = pg_sys::Oid::INVALID;
            let mut info = pg_sys::FmgrInfo::default();
            // SAFETY: catalog look-ups that fill in the variables above.
            unsafe {
                pg_sys::getTypeInputInfo(attribute.base_type, &mut function, &mut element);
                pg_sys::fmgr_info_cxt(function, &mut info, context);
            }
            (info, element)
        });
        Writer {
            attribute,
            typmod,
            input,
            domain: std::ptr::null_mut(),
            context,
        }
    }

    /// Makes a datum of a response.
    ///
    /// Errors with [`Error::Response`] if the type refuses it, as too long, too large or too deep, or if the database's encoding lacks a
    /// character. A domain's refusal is raised, as its check may run any function.
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<Option<pg_sys::Datum>, Error> {
        let column = self.attribute.column.name();
        let unfit = |error: CaughtError| {
            let (CaughtError::PostgresError(report)
            | CaughtError::ErrorReport(report)
            | CaughtError::RustPanic {
                ereport: report, ..
            }) = error;
            Err(Error::Response {
                column,
                problem: ResponseProblem::Unfit {
                    sqlstate: report.sql_error_code(),
                    message: report.message().to_owned(),
                },
                beginning: beginning(bytes),
            })
        };
        let datum = PgTryBuilder::new(AssertUnwindSafe(|| self.make(bytes)))
            .catch_when(PgSqlErrorCode::ERRCODE_STRING_DATA_RIGHT_TRUNCATION, unfit)
            .catch_when(PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, unfit)
            .catch_when(PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, unfit)
            .catch_when(PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX, unfit)
            .catch_when(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, unfit)
            .execute()?;
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
        if self.attribute.type_oid != self.attribute.base_type {
            let value = datum.unwrap_or(pg_sys::Datum::null());
            // SAFETY: the datum is of the base type. The cache is of this domain, and lives as long as the writer.
            unsafe {
                pg_sys::domain_check(
                    value,
                    datum.is_none(),
                    self.attribute.type_oid,
                    &mut self.domain,
                    self.context,
                );
            }
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
        let server = ServerText::from_utf8(bytes);
        let text = server.bytes();
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
        let Some((info, element)) = &mut self.input else {
            // SAFETY: copies that many bytes.
            return Ok(unsafe {
                pg_sys::cstring_to_text_with_len(text.as_ptr().cast(), text.len() as _).into()
            });
        };
        terminated.reserve_exact(text.len() + 1);
        terminated.extend_from_slice(text);
        terminated.push(0);
        let typmod = self.typmod;
        let input = AssertUnwindSafe(|| {
            // SAFETY: the input function was looked up for this type and reads a zero-terminated string.
            unsafe {
                pg_sys::InputFunctionCall(info, terminated.as_mut_ptr().cast(), *element, typmod)
            }
        });
        if !matches!(self.attribute.base_type, pg_sys::JSONOID | pg_sys::JSONBOID) {
            return Ok(input());
        }
        PgTryBuilder::new(move || Ok(input()))
            .catch_when(PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION, |_| {
                Err(ResponseProblem::NotJson)
            })
            .catch_when(PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, |_| {
                Err(ResponseProblem::NotJsonb)
            })
            .execute()
    }

    fn unfit(&self, problem: ResponseProblem, bytes: &[u8]) -> Error {
        Error::Response {
            column: self.attribute.column.name(),
            problem,
            beginning: beginning(bytes),
        }
    }
}

fn beginning(bytes: &[u8]) -> String {
    quotable(&String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]))
}

/// Text in the database's encoding.
enum ServerText<'a> {
    Same(&'a [u8]),
    Converted(*const std::ffi::c_char, usize),
}

impl<'a> ServerText<'a> {
    fn from_utf8(bytes: &'a [u8]) -> ServerText<'a> {
        // SAFETY: converts that many bytes into a palloc'd string, or gives them back as they are.
        unsafe {
            let given = bytes.as_ptr().cast_mut().cast();
            let converted =
                pg_sys::pg_any_to_server(given, bytes.len() as _, pg_sys::pg_enc::PG_UTF8 as _);
            if converted == given {
                ServerText::Same(bytes)
            } else {
                ServerText::Converted(converted, CStr::from_ptr(converted).count_bytes())
            }
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            ServerText::Same(bytes) => bytes,
            // SAFETY: the length was just measured, and the string lives in the current memory context.
            ServerText::Converted(start, length) => unsafe {
                std::slice::from_raw_parts(start.cast(), *length)
            },
        }
    }
}
