//! Makes datums of the fields of a response, as `jsonb_populate_record` does.
//!
//! A string is given to the type's input function as text, and so is a number or a boolean. Arrays and composite types go through PostgreSQL's
//! own `jsonb_to_record`.

use super::json;
use super::tree::{FieldText, beginning};
use super::writer::Writer;
use crate::columns::Attribute;
use crate::error::{Error, FieldProblem, raise_caught, report_of};
use crate::fields::Field;
use crate::memory;
use crate::options::OnError;
use crate::postgres::catalog;
use crate::postgres::input::{InputFunction, base_typmod, server_bytes};
use crate::postgres::jsonb::ToRecord;
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::process;
use crate::postgres::varlena::{Toasted, Varlena};
use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgTryBuilder, pg_sys};
use std::panic::AssertUnwindSafe;

/// Turns JSON into datums of one column's type.
pub struct FieldWriter {
    writer: Writer,
    jsonb: InputFunction,
    kind: Kind,
    /// Whether reading a value runs no code but PostgreSQL's own, so that nothing is left behind where it fails.
    is_built_in: bool,
}

/// How a type takes JSON.
enum Kind {
    Json,
    Jsonb,
    /// By its input function.
    Scalar,
    /// An array or a composite type.
    Nested(ToRecord),
}

impl FieldWriter {
    /// Looks the type up. The writer is not used after `context` is deleted.
    pub fn new(attribute: Attribute, context: MemoryContext<'static>) -> FieldWriter {
        let base_type = attribute.base_type;
        let typmod = base_typmod(attribute.type_oid, attribute.typmod);
        let element = catalog::element_type(base_type);
        let kind = match base_type {
            pg_sys::JSONOID => Kind::Json,
            pg_sys::JSONBOID => Kind::Jsonb,
            _ if element != pg_sys::InvalidOid || catalog::is_composite(base_type) => {
                Kind::Nested(ToRecord::new(base_type, typmod, context))
            }
            _ => Kind::Scalar,
        };
        let is_built_in = [attribute.type_oid, element]
            .iter()
            .all(|oid| oid.to_u32() < pg_sys::FirstNormalObjectId);
        FieldWriter {
            writer: Writer::new(attribute, context),
            jsonb: InputFunction::new(pg_sys::JSONBOID, context),
            kind,
            is_built_in,
        }
    }

    /// The column.
    pub fn number(&self) -> i16 {
        self.writer.attribute.number
    }

    /// Null, which a domain may refuse.
    pub fn write_null(&mut self) -> Option<pg_sys::Datum> {
        self.writer.check(None)
    }

    /// Makes a datum of a field, in the current memory context;
    ///
    /// Errors with [`Error::Field`] if the type refuses it. Where the failure becomes a row, and reading the value may run any function, it is read
    /// in a subtransaction, which leaves nothing of it behind. A parallel query can have none, and PostgreSQL's error ends it.
    pub fn write(
        &mut self,
        field: &Field,
        text: &FieldText,
        on_error: OnError,
    ) -> Result<Option<pg_sys::Datum>, Error> {
        let value = match text {
            FieldText::Missing => None,
            FieldText::Json(text) => Some(&**text),
            FieldText::NotJson(beginning) => {
                return Err(Error::Field {
                    column: field.name.clone(),
                    key: field.key.to_string(),
                    problem: FieldProblem::NotJson,
                    beginning: beginning.clone(),
                });
            }
        };
        memory::check_available(value.map_or(0, str::len) * COPIES, "field")?;
        let goes_on = on_error == OnError::Return && !self.is_built_in;
        let made = match goes_on {
            false => PgTryBuilder::new(AssertUnwindSafe(|| self.make(value)))
                .catch_others(problem)
                .execute(),
            true if process::is_in_parallel_mode() => self.make(value),
            true => process::in_subtransaction(|| Ok(self.make(value))).unwrap_or_else(|caught| {
                if !is_refusal(&caught) {
                    raise_caught(*caught)
                }
                problem(*caught)
            }),
        };
        made.map_err(|problem| Error::Field {
            column: field.name.clone(),
            key: field.key.to_string(),
            problem,
            beginning: beginning(value.unwrap_or("null")),
        })
    }

    fn make(&mut self, value: Option<&str>) -> Result<Option<pg_sys::Datum>, FieldProblem> {
        let value = value.map(str::trim_ascii);
        let Some(value) = value.filter(|value| !json::is_null(value)) else {
            return Ok(self.write_null());
        };
        let datum = match (&mut self.kind, json::first(value)) {
            (Kind::Jsonb, _) => Some(self.jsonb(value)),
            (Kind::Json, _) => Some(Varlena::of_server(&self.normal_form(value)).datum()),
            (_, b'"') => Some(self.scalar(&json::text(value).ok_or(FieldProblem::NotText)?)?),
            (Kind::Nested(to_record), _) => {
                let object = format!("{{\"{}\": {value}}}", ToRecord::COLUMN);
                let object = self
                    .jsonb
                    .call(server_bytes(object.as_bytes()).to_vec(), -1);
                // SAFETY: the datum is a jsonb.
                to_record.call(unsafe { Toasted::new(object, pg_sys::JSONBOID) })
            }
            (Kind::Scalar, _) if is_in_normal_form(value) => Some(self.scalar(value)?),
            (Kind::Scalar, _) => {
                let normal_form = self.normal_form(value);
                Some(self.writer.read_server(&normal_form))
            }
        };
        Ok(self.writer.check(datum))
    }

    fn jsonb(&mut self, value: &str) -> pg_sys::Datum {
        self.jsonb.call(server_bytes(value.as_bytes()).to_vec(), -1)
    }

    /// JSON as jsonb prints it, in the database's encoding.
    fn normal_form(&mut self, value: &str) -> Vec<u8> {
        let jsonb = self.jsonb(value);
        // SAFETY: the datum is a jsonb.
        let jsonb = unsafe { Toasted::new(jsonb, pg_sys::JSONBOID) };
        jsonb.detoast().print_for_server()
    }

    fn scalar(&mut self, text: &str) -> Result<pg_sys::Datum, FieldProblem> {
        match memchr::memchr(0, text.as_bytes()) {
            Some(_) => Err(FieldProblem::NotText),
            None => Ok(self.writer.read_server(server_bytes(text.as_bytes()))),
        }
    }
}

/// Most copies of a field in memory at once.
const COPIES: usize = 3;

/// Most characters of a number that surely is one for PostgreSQL's numeric too.
const LONGEST_NUMBER: usize = 100;

/// Whether jsonb prints a scalar as it is: all but numbers with an exponent, and negative zero.
fn is_in_normal_form(value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    match json::first(value) {
        b't' | b'f' => true,
        b'{' | b'[' => false,
        _ => {
            let number = value.strip_prefix('-').unwrap_or(value);
            let is_negative_zero = number.len() < value.len() && number.starts_with('0');
            number.len() <= LONGEST_NUMBER && number.bytes().all(is_plain) && !is_negative_zero
        }
    }
}

/// Why the type of a column has refused a value. Another error goes on.
fn problem<T>(caught: CaughtError) -> Result<T, FieldProblem> {
    if !is_refusal(&caught) {
        caught.rethrow()
    }
    let report = report_of(&caught);
    Err(FieldProblem::Unfit {
        sqlstate: report.sql_error_code(),
        message: report.message().to_owned(),
    })
}

/// Whether an error says that a value does not fit.
fn is_refusal(caught: &CaughtError) -> bool {
    REFUSALS.contains(&(report_of(caught).sql_error_code() as u32 & CLASS))
}

/// The bits of a SQLSTATE that have its class (ERRCODE_TO_CATEGORY in elog.h).
const CLASS: u32 = (1 << 12) - 1;

/// The classes of a refusal: data exception, integrity constraint violation, and program limit exceeded.
const REFUSALS: [u32; 3] = [class(b"22"), class(b"23"), class(b"54")];

/// A class as PostgreSQL has it: six bits for each character.
const fn class(name: &[u8; 2]) -> u32 {
    (name[0] - b'0') as u32 | ((name[1] - b'0') as u32) << 6
}

#[cfg(test)]
mod tests {
    use super::*;
    use pgrx::PgSqlErrorCode;

    #[test]
    fn numbers() {
        for plain in ["0", "-1", "12.50", "true", "false", "0.0"] {
            assert!(is_in_normal_form(plain), "{plain}");
        }
        for other in ["1e3", "1E-3", "-0", "-0.0", "[1]", "{}", &"1".repeat(101)] {
            assert!(!is_in_normal_form(other), "{other}");
        }
    }

    #[test]
    fn classes() {
        let class_of = |sqlstate: PgSqlErrorCode| sqlstate as u32 & CLASS;
        for refusal in [
            PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            PgSqlErrorCode::ERRCODE_CHECK_VIOLATION,
            PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX,
        ] {
            assert!(REFUSALS.contains(&class_of(refusal)));
        }
        for other in [
            PgSqlErrorCode::ERRCODE_QUERY_CANCELED,
            PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        ] {
            assert!(!REFUSALS.contains(&class_of(other)));
        }
    }
}
