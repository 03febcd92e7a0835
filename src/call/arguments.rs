//! The arguments of a call, as inputs of an invocation.

use crate::columns::Column;
use crate::error::{Error, InvokedBy};
use crate::lambda::request::Inputs;
use crate::plan::calls;
use crate::postgres::fmgr::Call;
use crate::postgres::refs::Ref;
use crate::postgres::varlena::Toasted;
use pgrx::pg_sys;
use std::ffi::CStr;

/// How the arguments are arranged.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub enum Signature {
    /// structure, payload, invocation_type, log_type, context, qualifier.
    Structure,
    /// name, payload, region, invocation_type, log_type, context, qualifier.
    Name,
    /// Six arguments: as the first where the name is a structure's text, and otherwise as the second without its last.
    Either,
}

/// The type of payload, context and response: json or jsonb.
pub struct Kind {
    /// The type.
    pub type_oid: pg_sys::Oid,
    /// The foreign table whose options hold.
    pub table: &'static CStr,
    /// The type's input function.
    input: u32,
}

/// json.
pub const JSON: Kind = Kind {
    type_oid: pg_sys::JSONOID,
    table: calls::TABLE_OF_JSON,
    input: pg_sys::F_JSON_IN,
};
/// jsonb.
pub const JSONB: Kind = Kind {
    type_oid: pg_sys::JSONBOID,
    table: calls::TABLE_OF_JSONB,
    input: pg_sys::F_JSONB_IN,
};

/// The arguments of a call.
#[derive(Clone, Copy)]
pub struct Arguments<'a> {
    /// The call.
    pub call: Call<'a>,
    /// The type of payload and context.
    pub kind: &'a Kind,
    signature: Signature,
}

impl<'a> Arguments<'a> {
    /// The arguments of a call.
    ///
    /// # Safety
    /// The call is a valid one, and its arguments are those of the signature.
    pub unsafe fn new(
        call: pg_sys::FunctionCallInfo,
        signature: Signature,
        kind: &'a Kind,
    ) -> Arguments<'a> {
        Arguments {
            // SAFETY: the call is a valid one.
            call: unsafe { Ref::new(call) },
            kind,
            signature,
        }
    }

    /// The inputs that they give. Where a structure's text is given as a name, the arguments behind it are one position further right; see
    /// [`Inputs::with_row_literal`].
    pub fn inputs(self, max_payload: Option<usize>) -> Result<Inputs, Error> {
        let text = |index| self.print(index, pg_sys::TEXTOID);
        let json = |index| self.print(index, self.kind.type_oid);
        let mut inputs = Inputs {
            max_payload,
            ..Inputs::default()
        };
        let payload = self.get(1, self.kind.type_oid);
        inputs.too_large = payload.and_then(|payload| payload.longer_than(inputs.most_payload()));
        if inputs.too_large.is_none() {
            let payload = json(1).map_err(|error| self.of_unsent(error))?;
            inputs.set(Column::Payload, payload);
        }
        if self.signature == Signature::Structure {
            let [name, region] = self.structure()?;
            inputs.set(Column::FunctionName, name);
            inputs.set(Column::Region, region);
            inputs.set(Column::InvocationType, text(2)?);
            inputs.set(Column::LogType, text(3)?);
            inputs.set(Column::Context, json(4)?);
            inputs.set(Column::Qualifier, text(5)?);
            return Ok(inputs);
        }
        inputs.set(Column::FunctionName, text(0)?);
        let name = inputs.function_name.as_deref().unwrap_or_default();
        let is_structure = name.starts_with('(');
        if self.signature == Signature::Either && is_structure {
            inputs.set(Column::InvocationType, text(2)?);
            inputs.set(Column::LogType, text(3)?);
            inputs.set(Column::Context, self.cast(4)?);
            inputs.set(Column::Qualifier, text(5)?);
            return Ok(inputs.with_row_literal());
        }
        inputs.set(Column::Region, text(2)?);
        inputs.set(Column::InvocationType, text(3)?);
        inputs.set(Column::LogType, text(4)?);
        let moved = is_structure
            && inputs.region.is_some()
            && !matches!(inputs.log_type.as_deref(), None | Some("None" | "Tail"));
        let context = match self.signature {
            Signature::Either => self.cast(5)?,
            _ if moved => self.cast(4)?,
            _ => json(5)?,
        };
        inputs.set(Column::Context, context);
        if self.signature == Signature::Name {
            inputs.set(Column::Qualifier, text(6)?);
        }
        Ok(inputs)
    }

    /// The indexes of the two arguments behind those of the signature.
    pub fn further(self) -> [usize; 2] {
        let first = match self.signature {
            Signature::Structure | Signature::Either => 6,
            Signature::Name => 7,
        };
        [first, first + 1]
    }

    /// An error with the function that is not invoked because of it, if that can be read.
    fn of_unsent(self, error: Error) -> Error {
        let name = match self.signature {
            Signature::Structure => self.structure().map(|[name, _]| name),
            _ => self.print(0, pg_sys::TEXTOID),
        };
        match name {
            Ok(Some(name)) => error.of_unsent(&Inputs::word(name)),
            _ => error,
        }
    }

    /// A text, json or jsonb.
    fn get(self, index: usize, type_oid: pg_sys::Oid) -> Option<Toasted> {
        let datum = self.call.argument(index)?;
        // SAFETY: the signature says that the argument is of the type.
        Some(unsafe { Toasted::new(datum, type_oid) })
    }

    /// The bytes of a text, json or jsonb, as UTF-8.
    pub fn print(self, index: usize, type_oid: pg_sys::Oid) -> Result<Option<Vec<u8>>, Error> {
        let value = self.get(index, type_oid);
        value.map(|value| value.detoast().print()).transpose()
    }

    /// The bytes of a text that is cast to json or jsonb, as UTF-8.
    fn cast(self, index: usize) -> Result<Option<Vec<u8>>, Error> {
        let Some(datum) = self.call.argument(index) else {
            return Ok(None);
        };
        let input = pg_sys::Oid::from(self.kind.input);
        // SAFETY: the signature says that the argument is a text, and a type's input function reads a zero-terminated string.
        unsafe {
            let text = pg_sys::text_to_cstring(datum.cast_mut_ptr());
            let datum = pg_sys::OidInputFunctionCall(input, text, pg_sys::InvalidOid, -1);
            let value = Toasted::new(datum, self.kind.type_oid);
            value.detoast().print().map(Some)
        }
    }

    /// Name and region of an `aws_commons._lambda_function_arn_1`.
    fn structure(self) -> Result<[Option<Vec<u8>>; 2], Error> {
        let Some(datum) = self.call.argument(0) else {
            return Ok([None, None]);
        };
        // SAFETY: the signature says that the first argument is one, with two texts.
        unsafe {
            let structure = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            let field = |number| {
                let mut is_null = false;
                let field = pg_sys::GetAttributeByNum(structure.cast(), number, &mut is_null);
                if is_null {
                    return Ok(None);
                }
                let value = Toasted::new(field, pg_sys::TEXTOID);
                value.detoast().print().map(Some)
            };
            Ok([field(1)?, field(2)?])
        }
    }

    /// What the function is called by. A structure that psql's \gset has kept comes as text.
    pub fn by(self) -> InvokedBy {
        if self.signature == Signature::Structure {
            return InvokedBy::FunctionWithStructure;
        }
        match self.print(0, pg_sys::TEXTOID) {
            Ok(Some(name)) if name.starts_with(b"(") => InvokedBy::FunctionWithStructure,
            _ => InvokedBy::Function,
        }
    }
}
