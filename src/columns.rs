//! The columns that a foreign table can have: which it has, what types they may be, and how a value
//! becomes a datum of that type.
//!
//! What a clause binds to an input column is clause.rs's and values.rs's.

use crate::error::{Error, ResponseProblem, quotable};
use pgrx::{PgSqlErrorCode, PgTryBuilder, PgTupleDesc, pg_sys};
use std::ffi::CStr;
use std::panic::AssertUnwindSafe;

/// A column with a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Column {
    /// Input: name or ARN of the function.
    FunctionName,
    /// Input: where it is.
    Region,
    /// Input: alias or version.
    Qualifier,
    /// Input: RequestResponse, Event or DryRun.
    InvocationType,
    /// Input: None or Tail.
    LogType,
    /// Input: client context.
    Context,
    /// Input: what the function is given. Last of the inputs, so that in a product of lists it varies fastest.
    Payload,
    /// Output: HTTP status.
    StatusCode,
    /// Output: what the function returned.
    Response,
    /// Output: the version that ran.
    ExecutedVersion,
    /// Output: base64 of the log's tail.
    LogResult,
    /// Output: the log's tail as text.
    Log,
    /// Output: Handled or Unhandled.
    FunctionError,
    /// Output: AWS's id of the request.
    RequestId,
    /// Output, null unless the invocation failed: the name of the error.
    ErrorCode,
    /// Output, null unless the invocation failed: what it says.
    ErrorMessage,
}

impl Column {
    /// Every input column, in the order in which lists are multiplied.
    pub const INPUTS: [Column; 7] = [
        Column::FunctionName,
        Column::Region,
        Column::Qualifier,
        Column::InvocationType,
        Column::LogType,
        Column::Context,
        Column::Payload,
    ];
    const OUTPUTS: [Column; 9] = [
        Column::StatusCode,
        Column::Response,
        Column::ExecutedVersion,
        Column::LogResult,
        Column::Log,
        Column::FunctionError,
        Column::RequestId,
        Column::ErrorCode,
        Column::ErrorMessage,
    ];

    /// The name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Column::FunctionName => "function_name",
            Column::Region => "region",
            Column::Qualifier => "qualifier",
            Column::InvocationType => "invocation_type",
            Column::LogType => "log_type",
            Column::Context => "context",
            Column::Payload => "payload",
            Column::StatusCode => "status_code",
            Column::Response => "response",
            Column::ExecutedVersion => "executed_version",
            Column::LogResult => "log_result",
            Column::Log => "log",
            Column::FunctionError => "function_error",
            Column::RequestId => "request_id",
            Column::ErrorCode => "error_code",
            Column::ErrorMessage => "error_message",
        }
    }

    fn all() -> impl Iterator<Item = Column> {
        Column::INPUTS.into_iter().chain(Column::OUTPUTS)
    }

    /// Whether a clause can bind it.
    pub fn is_input(self) -> bool {
        Column::INPUTS.contains(&self)
    }

    /// The column with a number that `column as i32` gave.
    pub fn from_number(number: i32) -> Option<Column> {
        Column::all().find(|column| *column as i32 == number)
    }

    fn allowed_types(self) -> (&'static [pg_sys::Oid], &'static str) {
        match self {
            Column::Payload | Column::Context | Column::Response => (
                &[
                    pg_sys::JSONBOID,
                    pg_sys::JSONOID,
                    pg_sys::TEXTOID,
                    pg_sys::VARCHAROID,
                ],
                "jsonb, json, text or varchar",
            ),
            Column::StatusCode => (&[pg_sys::INT4OID], "integer"),
            _ => (&[pg_sys::TEXTOID, pg_sys::VARCHAROID], "text or varchar"),
        }
    }
}

/// A column of a foreign table.
#[derive(Debug, Clone, Copy)]
pub struct Attribute {
    /// Number from 1.
    pub number: i16,
    /// What it means.
    pub column: Column,
    /// Its declared type, maybe a domain.
    pub type_oid: pg_sys::Oid,
    /// Its type with domains looked through.
    pub base_type: pg_sys::Oid,
    /// Its type modifier.
    pub typmod: i32,
}

/// The columns of one foreign table.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Every column that is not dropped.
    pub attributes: Vec<Attribute>,
    /// The foreign table's name.
    pub table: String,
}

impl Layout {
    /// Reads the columns of an open foreign table.
    ///
    /// Errors with [`Error::UnknownColumn`] or [`Error::ColumnType`].
    ///
    /// # Safety
    /// `relation` is open.
    pub unsafe fn read(relation: pg_sys::Relation) -> Result<Layout, Error> {
        // SAFETY: the relation is open, so its descriptor and catalog row are there.
        let (descriptor, table) = unsafe {
            (
                PgTupleDesc::from_pg_unchecked((*relation).rd_att),
                name_of(&(*(*relation).rd_rel).relname),
            )
        };
        let mut attributes = Vec::with_capacity(descriptor.len());
        for attribute in descriptor
            .iter()
            .filter(|attribute| !attribute.attisdropped)
        {
            let name = name_of(&attribute.attname);
            let column = Column::all()
                .find(|column| column.name() == name)
                .ok_or_else(|| Error::UnknownColumn {
                    column: name,
                    table: table.clone(),
                    known: Column::all()
                        .map(Column::name)
                        .collect::<Vec<_>>()
                        .join(", "),
                })?;
            // SAFETY: a catalog look-up.
            let base_type = unsafe { pg_sys::getBaseType(attribute.atttypid) };
            let (types, allowed) = column.allowed_types();
            if !types.contains(&base_type) {
                return Err(Error::ColumnType {
                    column: column.name(),
                    table,
                    found: type_name(attribute.atttypid),
                    allowed,
                });
            }
            attributes.push(Attribute {
                number: attribute.attnum,
                column,
                type_oid: attribute.atttypid,
                base_type,
                typmod: attribute.atttypmod,
            });
        }
        Ok(Layout { attributes, table })
    }

    /// The attribute with a number.
    pub fn attribute(&self, number: i16) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.number == number)
    }

    /// The attribute with a meaning.
    pub fn find(&self, column: Column) -> Option<&Attribute> {
        self.attributes
            .iter()
            .find(|attribute| attribute.column == column)
    }
}

fn name_of(name: &pg_sys::NameData) -> String {
    // SAFETY: a NameData always ends in a zero byte.
    unsafe { CStr::from_ptr(name.data.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

fn type_name(oid: pg_sys::Oid) -> String {
    // SAFETY: format_type_be gives a palloc'd string for any oid.
    unsafe { CStr::from_ptr(pg_sys::format_type_be(oid)) }
        .to_string_lossy()
        .into_owned()
}

/// Turns text into datums of one attribute's type.
pub struct Writer {
    /// The column.
    pub attribute: Attribute,
    /// The type's own input function, where a text's bytes alone would not do.
    input: Option<(pg_sys::FmgrInfo, pg_sys::Oid)>,
}

impl Writer {
    /// Looks the type up.
    ///
    /// # Safety
    /// Called in a transaction; the writer is not used after `context` is deleted.
    pub unsafe fn new(attribute: Attribute, context: pg_sys::MemoryContext) -> Writer {
        let plain_text = attribute.type_oid == pg_sys::TEXTOID;
        let input = (!plain_text).then(|| {
            let mut function = pg_sys::Oid::INVALID;
            let mut element = pg_sys::Oid::INVALID;
            let mut info = pg_sys::FmgrInfo::default();
            // SAFETY: catalog look-ups that fill in the variables above.
            unsafe {
                pg_sys::getTypeInputInfo(attribute.type_oid, &mut function, &mut element);
                pg_sys::fmgr_info_cxt(function, &mut info, context);
            }
            (info, element)
        });
        Writer { attribute, input }
    }

    /// Makes a datum, or lets a domain refuse null.
    pub fn write_or_null(&mut self, bytes: Option<&[u8]>) -> Result<Option<pg_sys::Datum>, Error> {
        match bytes {
            Some(bytes) => self.write(bytes).map(Some),
            None => {
                self.write_null();
                Ok(None)
            }
        }
    }

    /// Makes a datum as `write` does, and errors with [`Error::Response`] also for what the type refuses as too long, too
    /// large or too deep. What a domain refuses is still raised: its check may be anything.
    pub fn try_write(&mut self, bytes: &[u8]) -> Result<pg_sys::Datum, Error> {
        if self.attribute.type_oid != self.attribute.base_type {
            return self.write(bytes);
        }
        let column = self.attribute.column.name();
        let unfit = || {
            Err(Error::Response {
                column,
                problem: ResponseProblem::Unfit,
                beginning: beginning(bytes),
            })
        };
        PgTryBuilder::new(AssertUnwindSafe(|| self.write(bytes)))
            .catch_when(PgSqlErrorCode::ERRCODE_STRING_DATA_RIGHT_TRUNCATION, |_| {
                unfit()
            })
            .catch_when(PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE, |_| {
                unfit()
            })
            .catch_when(PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, |_| {
                unfit()
            })
            .catch_when(PgSqlErrorCode::ERRCODE_STATEMENT_TOO_COMPLEX, |_| unfit())
            .catch_when(PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED, |_| unfit())
            .execute()
    }

    /// Makes a datum of what tells about an invocation, or lets a domain refuse null. Characters that the database's encoding
    /// lacks are replaced, and what tells of a failure is shortened to a varchar's length: such a row is not to fail.
    pub fn write_about(&mut self, text: Option<&str>) -> Result<Option<pg_sys::Datum>, Error> {
        let Some(text) = text else {
            return self.write_or_null(None);
        };
        let mut text = fit_for_server(text);
        // A varchar's modifier is its length and the size of a header (varchar.c).
        let longest = self.attribute.typmod - pg_sys::VARHDRSZ as i32;
        let of_failure = matches!(
            self.attribute.column,
            Column::ErrorCode | Column::ErrorMessage
        );
        if of_failure && self.attribute.base_type == pg_sys::VARCHAROID && longest > 0 {
            text = text.chars().take(longest as usize).collect();
        }
        self.write(text.as_bytes()).map(Some)
    }

    fn write_null(&mut self) {
        let typmod = self.attribute.typmod;
        if let Some((info, element)) = &mut self.input
            && self.attribute.type_oid != self.attribute.base_type
        {
            // SAFETY: a domain's input function takes null, and raises an error if the domain doesn't.
            unsafe { pg_sys::InputFunctionCall(info, std::ptr::null_mut(), *element, typmod) };
        }
    }

    /// Makes a datum, in the current memory context, of UTF-8 that came from Lambda.
    ///
    /// Errors with [`Error::Response`], and raises PostgreSQL's own errors for whatever else the type refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<pg_sys::Datum, Error> {
        let column = self.attribute.column.name();
        let unfit = |problem| Error::Response {
            column,
            problem,
            beginning: beginning(bytes),
        };
        if std::str::from_utf8(bytes).is_err() {
            return Err(unfit(ResponseProblem::NotUtf8));
        }
        if bytes.contains(&0) {
            return Err(unfit(ResponseProblem::ZeroByte));
        }
        let Some((info, element)) = &mut self.input else {
            let server = ServerText::from_utf8(bytes);
            // SAFETY: copies that many bytes.
            return Ok(unsafe {
                pg_sys::cstring_to_text_with_len(server.as_ptr(), server.len() as _).into()
            });
        };
        let mut terminated = Vec::with_capacity(bytes.len() + 1);
        terminated.extend_from_slice(ServerText::from_utf8(bytes).bytes());
        terminated.push(0);
        let typmod = self.attribute.typmod;
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
            .map_err(unfit)
    }
}

/// Text of which each character can be converted to the database's encoding.
fn fit_for_server(text: &str) -> String {
    // SAFETY: asks for a number.
    let encoding = unsafe { pg_sys::GetDatabaseEncoding() };
    if text.is_ascii() || encoding == pg_sys::pg_enc::PG_UTF8 as i32 {
        return text.to_owned();
    }
    let converts = AssertUnwindSafe(|| {
        ServerText::from_utf8(text.as_bytes());
        true
    });
    let fits = PgTryBuilder::new(converts)
        .catch_when(PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER, |_| false)
        .execute();
    match fits {
        true => text.to_owned(),
        false => (text.chars())
            .map(|letter| if letter.is_ascii() { letter } else { '?' })
            .collect(),
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

    fn as_ptr(&self) -> *const std::ffi::c_char {
        self.bytes().as_ptr().cast()
    }

    fn len(&self) -> usize {
        self.bytes().len()
    }
}
