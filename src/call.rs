//! `aws_lambda.invoke`: one invocation of which the arguments are known, without a plan and a scan.
//!
//! In SQL the functions would be planned anew in each call, which takes longer than the rest of it. They do what a SELECT from the
//! extension's own tables does with a clause for each argument, and follow those tables' options.

use crate::backend::config::Config;
use crate::columns::{Attribute, Column};
use crate::dispatch::Dispatch;
use crate::error::{Error, InvokedBy, OrReport};
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::options::OnError;
use crate::plan::estimate::INVOCATION_COST;
use crate::postgres::{compat, context};
use crate::rows::output;
use crate::rows::values::{self, Value};
use crate::rows::writer::Writer;
use pgrx::{is_a, pg_guard, pg_sys};
use std::cell::Cell;
use std::ffi::CStr;

/// How the arguments are arranged.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
enum Signature {
    /// structure, payload, invocation_type, log_type, context, qualifier.
    Structure,
    /// name, payload, region, invocation_type, log_type, context, qualifier.
    Name,
    /// Six: as the first, if the name is a structure's text, and otherwise as the second, without its last.
    Either,
}

/// What the payload is, and with it context and response: json or jsonb.
struct Kind {
    type_oid: pg_sys::Oid,
    /// The foreign table whose options are followed.
    table: &'static CStr,
    input: u32,
}

const JSON: Kind = Kind {
    type_oid: pg_sys::JSONOID,
    table: c"lambda_invocations_json",
    input: pg_sys::F_JSON_IN,
};
const JSONB: Kind = Kind {
    type_oid: pg_sys::JSONBOID,
    table: c"lambda_invocations",
    input: pg_sys::F_JSONB_IN,
};

/// The columns of a result: what they mean, and their names where those are others.
const RESULT: [(Column, &CStr); 4] = [
    (Column::StatusCode, c"status_code"),
    (Column::Response, c"payload"),
    (Column::ExecutedVersion, c"executed_version"),
    (Column::LogResult, c"log_result"),
];

/// Defines functions of PostgreSQL's, each with what it is called by and the record that tells of its calling convention (fmgr.h).
macro_rules! functions {
    ($($name:ident $record:ident $signature:ident $kind:ident)*) => {$(
        /// Invokes a function.
        ///
        /// # Safety
        /// Called by PostgreSQL, with the arguments of the signature.
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            // SAFETY: see above.
            unsafe { in_context(call, Signature::$signature, &$kind) }
        }

        /// Tells how it is called.
        #[unsafe(no_mangle)]
        pub extern "C" fn $record() -> &'static pg_sys::Pg_finfo_record {
            &pg_sys::Pg_finfo_record { api_version: 1 }
        }
    )*};
}

functions! {
    invoke_structure_json pg_finfo_invoke_structure_json Structure JSON
    invoke_name_json pg_finfo_invoke_name_json Name JSON
    invoke_either_json pg_finfo_invoke_either_json Either JSON
    invoke_structure_jsonb pg_finfo_invoke_structure_jsonb Structure JSONB
    invoke_name_jsonb pg_finfo_invoke_name_jsonb Name JSONB
    invoke_either_jsonb pg_finfo_invoke_either_jsonb Either JSONB
}

/// Tells how it is called.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_invoke_support() -> &'static pg_sys::Pg_finfo_record {
    &pg_sys::Pg_finfo_record { api_version: 1 }
}

/// The planner support function of all of these. That it is called has loaded the library, and with it the session's settings. It
/// forbids what would make one call of equal rows: grouping them before they are joined. And it tells what a call costs, which is
/// what an invocation of a table does.
///
/// # Safety
/// Called by PostgreSQL, with a request (supportnodes.h).
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn invoke_support(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the one argument is a node; the cast follows its tag.
    unsafe {
        let request = (*call).args.as_slice(1)[0].value.cast_mut_ptr();
        if is_a(request, pg_sys::NodeTag::T_SupportRequestSimplify) {
            let request = &*request.cast::<pg_sys::SupportRequestSimplify>();
            compat::group_after_joins(request.root);
        } else if is_a(request, pg_sys::NodeTag::T_SupportRequestCost) {
            let request = &mut *request.cast::<pg_sys::SupportRequestCost>();
            request.startup = 0.0;
            request.per_tuple = INVOCATION_COST;
            return pg_sys::Datum::from(&raw mut *request);
        }
        // Nothing is to be put in the place of a call.
        pg_sys::Datum::null()
    }
}

/// Calls with the CONTEXT that errors have on RDS, where the functions are in SQL. Errors jump over this, which has nothing to drop.
unsafe fn in_context(
    call: pg_sys::FunctionCallInfo,
    signature: Signature,
    kind: &'static Kind,
) -> pg_sys::Datum {
    // SAFETY: as each function of PostgreSQL's does that tells of itself (elog.h).
    unsafe {
        let mut told = pg_sys::ErrorContextCallback {
            previous: pg_sys::error_context_stack,
            callback: Some(tell),
            arg: std::ptr::null_mut(),
        };
        pg_sys::error_context_stack = &mut told;
        let row = guarded(call, signature, kind);
        pg_sys::error_context_stack = told.previous;
        row
    }
}

unsafe extern "C-unwind" fn tell(_arg: *mut std::ffi::c_void) {
    // SAFETY: called while an error is put together.
    unsafe { context::errcontext_msg(c"SQL function \"invoke\" statement 1".as_ptr()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn guarded(
    call: pg_sys::FunctionCallInfo,
    signature: Signature,
    kind: &'static Kind,
) -> pg_sys::Datum {
    // SAFETY: the caller's.
    unsafe {
        invoke(call, signature, kind).map_err(|error| error.of_call(by(call, signature, kind)))
    }
    .or_report()
}

/// By what it is called. What psql's \gset keeps of a structure is one, though it comes as text.
unsafe fn by(call: pg_sys::FunctionCallInfo, signature: Signature, kind: &Kind) -> InvokedBy {
    if signature == Signature::Structure {
        return InvokedBy::FunctionWithStructure;
    }
    // SAFETY: the first argument of the other signatures is a text.
    match unsafe { Arguments { call, kind }.print(0, pg_sys::TEXTOID) } {
        Ok(Some(name)) if name.starts_with(b"(") => InvokedBy::FunctionWithStructure,
        _ => InvokedBy::Function,
    }
}

unsafe fn invoke(
    call: pg_sys::FunctionCallInfo,
    signature: Signature,
    kind: &Kind,
) -> Result<pg_sys::Datum, Error> {
    // SAFETY: the arguments are those of the signature, and what they are made into is used before the call ends.
    unsafe {
        let table = own_table(kind);
        let config = Config::read(table, pg_sys::GetUserId())?;
        let inputs = Inputs {
            // No argument is for this one.
            tenant_id: config.fixed.tenant_id.clone(),
            ..Arguments { call, kind }.inputs(signature, config.fixed.max_payload)?
        };
        // A clause that contradicts an option selects nothing.
        let contradicts = |column: &Column| {
            let fixed = config.fixed.get(*column);
            fixed.is_some() && fixed != inputs.get(*column)
        };
        if Column::INPUTS.iter().any(contradicts) {
            (*call).isnull = true;
            return Ok(pg_sys::Datum::null());
        }
        let inputs = inputs.with_row_literal_unless_fixed(&config.fixed);
        let mut dispatch = Dispatch::alone(config);
        dispatch.expect(None)?;
        let handle = match InvokeRequest::new(inputs) {
            Ok(request) => dispatch.start(table, request)?,
            Err(error) => dispatch.refuse(error),
        };
        let outcome = loop {
            match handle.poll()? {
                Some(outcome) => break outcome,
                None => dispatch.wait(Some(&handle))?,
            }
        };
        let mut writers = RESULT.map(|(column, _)| writer(column, kind));
        let mut values = [pg_sys::Datum::null(); RESULT.len()];
        let mut nulls = [true; RESULT.len()];
        // Whatever the table's option says: none of the four columns would tell of a failure.
        output::write(&mut writers, &outcome, OnError::Raise, |writer, datum| {
            let place = writer.attribute.number as usize - 1;
            nulls[place] = datum.is_none();
            values[place] = datum.unwrap_or(pg_sys::Datum::null());
        })?;
        let row =
            pg_sys::heap_form_tuple(descriptor(kind), values.as_mut_ptr(), nulls.as_mut_ptr());
        Ok(pg_sys::HeapTupleHeaderGetDatum((*row).t_data))
    }
}

/// The arguments of a call.
struct Arguments<'a> {
    call: pg_sys::FunctionCallInfo,
    kind: &'a Kind,
}

impl Arguments<'_> {
    /// What they say, each where it belongs; but behind a structure's text in the place of a name they are one place
    /// further right, see [`Inputs::with_row_literal`].
    unsafe fn inputs(
        &self,
        signature: Signature,
        max_payload: Option<usize>,
    ) -> Result<Inputs, Error> {
        // SAFETY: each argument is of the type that the signature says.
        unsafe {
            let text = |place| self.print(place, pg_sys::TEXTOID);
            let json = |place| self.print(place, self.kind.type_oid);
            let mut inputs = Inputs {
                max_payload,
                ..Inputs::default()
            };
            let most = inputs.most_payload();
            inputs.too_large = (self.get(1))
                .and_then(|payload| values::too_large(payload, self.kind.type_oid, most));
            if inputs.too_large.is_none() {
                let payload = json(1).map_err(|error| self.of_unsent(error, signature))?;
                inputs.set(Column::Payload, payload);
            }
            if signature == Signature::Structure {
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
            if signature == Signature::Either && is_structure {
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
            let context = match signature {
                Signature::Either => self.cast(5)?,
                _ if moved => self.cast(4)?,
                _ => json(5)?,
            };
            inputs.set(Column::Context, context);
            if signature == Signature::Name {
                inputs.set(Column::Qualifier, text(6)?);
            }
            Ok(inputs)
        }
    }

    /// An error with the function that is not invoked because of it, if that can be read.
    unsafe fn of_unsent(&self, error: Error, signature: Signature) -> Error {
        // SAFETY: as above.
        let name = unsafe {
            match signature {
                Signature::Structure => self.structure().map(|[name, _]| name),
                _ => self.print(0, pg_sys::TEXTOID),
            }
        };
        match name {
            Ok(Some(name)) => error.of_unsent(&Inputs::word(name)),
            _ => error,
        }
    }

    unsafe fn get(&self, place: usize) -> Option<pg_sys::Datum> {
        // SAFETY: there are as many arguments as the signature has.
        let argument = unsafe { (*self.call).args.as_slice(place + 1)[place] };
        (!argument.isnull).then_some(argument.value)
    }

    /// The bytes of a text, json or jsonb, as UTF-8.
    unsafe fn print(&self, place: usize, type_oid: pg_sys::Oid) -> Result<Option<Vec<u8>>, Error> {
        // SAFETY: the argument is of the type.
        unsafe {
            let Some(datum) = self.get(place) else {
                return Ok(None);
            };
            let whole = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            values::print(&Value::borrowed(whole.into()), type_oid)
        }
    }

    /// The same of a text that is json.
    unsafe fn cast(&self, place: usize) -> Result<Option<Vec<u8>>, Error> {
        // SAFETY: the argument is a text, and a type's input function reads a zero-terminated string.
        unsafe {
            let Some(datum) = self.get(place) else {
                return Ok(None);
            };
            let text = pg_sys::text_to_cstring(datum.cast_mut_ptr());
            let datum = pg_sys::OidInputFunctionCall(
                pg_sys::Oid::from(self.kind.input),
                text,
                pg_sys::InvalidOid,
                -1,
            );
            values::print(&Value::borrowed(datum), self.kind.type_oid)
        }
    }

    /// Name and region of an `aws_commons._lambda_function_arn_1`.
    unsafe fn structure(&self) -> Result<[Option<Vec<u8>>; 2], Error> {
        // SAFETY: the first argument is one, with two texts.
        unsafe {
            let Some(datum) = self.get(0) else {
                return Ok([None, None]);
            };
            let structure = pg_sys::pg_detoast_datum(datum.cast_mut_ptr());
            let field = |number| {
                let mut is_null = false;
                let field = pg_sys::GetAttributeByNum(structure.cast(), number, &mut is_null);
                if is_null {
                    return Ok(None);
                }
                let whole = pg_sys::pg_detoast_datum(field.cast_mut_ptr());
                values::print(&Value::borrowed(whole.into()), pg_sys::TEXTOID)
            };
            Ok([field(1)?, field(2)?])
        }
    }
}

/// The extension's table, locked as long as the transaction lasts. The role whose rights count may read it, as for a SELECT.
unsafe fn own_table(kind: &Kind) -> pg_sys::Oid {
    // SAFETY: catalog look-ups, and PostgreSQL's own errors if there is no such table or it may not be read.
    unsafe {
        let schema = c"aws_lambda".as_ptr().cast_mut();
        let name = kind.table.as_ptr().cast_mut();
        let range = pg_sys::makeRangeVar(schema, name, -1);
        let lock = pg_sys::AccessShareLock as _;
        let table = pg_sys::RangeVarGetRelidExtended(range, lock, 0, None, std::ptr::null_mut());
        let allowed =
            pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), pg_sys::ACL_SELECT as _);
        if allowed != pg_sys::AclResult::ACLCHECK_OK {
            pg_sys::aclcheck_error(allowed, pg_sys::ObjectType::OBJECT_FOREIGN_TABLE, name);
        }
        table
    }
}

unsafe fn writer(column: Column, kind: &Kind) -> Writer {
    let type_oid = type_of(column, kind);
    let number = RESULT.iter().position(|(known, _)| *known == column);
    let attribute = Attribute {
        number: number.unwrap_or_default() as i16 + 1,
        column,
        type_oid,
        base_type: type_oid,
        typmod: -1,
    };
    // SAFETY: the writer is used during the call.
    unsafe { Writer::new(attribute, pg_sys::CurrentMemoryContext) }
}

fn type_of(column: Column, kind: &Kind) -> pg_sys::Oid {
    match column {
        Column::StatusCode => pg_sys::INT4OID,
        Column::Response => kind.type_oid,
        _ => pg_sys::TEXTOID,
    }
}

/// The type of a result, which is registered once and kept.
unsafe fn descriptor(kind: &Kind) -> pg_sys::TupleDesc {
    thread_local! {
        static KNOWN: [Cell<pg_sys::TupleDesc>; 2] = const {
            [Cell::new(std::ptr::null_mut()), Cell::new(std::ptr::null_mut())]
        };
    }
    let place = usize::from(kind.type_oid == pg_sys::JSONBOID);
    let known = KNOWN.with(|known| known[place].get());
    if !known.is_null() {
        return known;
    }
    // SAFETY: made in memory that is there as long as the backend.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let made = pg_sys::CreateTemplateTupleDesc(RESULT.len() as _);
        for (place, (column, name)) in RESULT.iter().enumerate() {
            let number = place as i16 + 1;
            pg_sys::TupleDescInitEntry(made, number, name.as_ptr(), type_of(*column, kind), -1, 0);
        }
        let made = pg_sys::BlessTupleDesc(made);
        pg_sys::MemoryContextSwitchTo(before);
        KNOWN.with(|known| known[place].set(made));
        made
    }
}
