//! Values as jsonb, and back: PostgreSQL's to_jsonb (jsonb.c) and jsonb_to_record (jsonfuncs.c).

use super::compat;
use super::expressions::make_null;
use super::list::List;
use super::memory_context::MemoryContext;
use super::refs::{Ref, calls};
use super::varlena::{Toasted, Varlena};
use pgrx::pg_sys;

calls! {
    fn look_up(function: pg_sys::Oid, info: &mut pg_sys::FmgrInfo, context: MemoryContext) = fmgr_info_cxt(function, info, context);
}

/// `to_jsonb` for values of one type.
pub struct ToJsonb {
    info: pg_sys::FmgrInfo,
}

impl ToJsonb {
    /// Looks the function up. It is not used after `context` is deleted.
    pub fn new(type_oid: pg_sys::Oid, context: MemoryContext<'static>) -> ToJsonb {
        let mut info = pg_sys::FmgrInfo::default();
        let function = pg_sys::Oid::from(pg_sys::F_TO_JSONB);
        look_up(function, &mut info, context);
        // The function asks the expression of its call which type the argument has.
        let call = context.switch_to(|| {
            let mut call = pg_sys::FuncExpr::default();
            call.xpr.type_ = pg_sys::NodeTag::T_FuncExpr;
            call.funcid = function;
            call.funcresulttype = pg_sys::JSONBOID;
            call.args = List::of([make_null(type_oid)]).as_ptr();
            Ref::allocate(call)
        });
        info.fn_expr = call.as_ptr().cast();
        ToJsonb { info }
    }

    /// The jsonb of a value, in the current memory context.
    pub fn call(&mut self, value: Varlena) -> Varlena {
        // SAFETY: the value is of the function's argument type. The result is a jsonb.
        unsafe {
            let no_collation = pg_sys::InvalidOid;
            let jsonb = pg_sys::FunctionCall1Coll(&mut self.info, no_collation, value.datum());
            Toasted::new(jsonb, pg_sys::JSONBOID).detoast()
        }
    }
}

/// `jsonb_to_record` for one column of a type.
pub struct ToRecord {
    info: Box<pg_sys::FmgrInfo>,
    /// Tells the function which row is expected.
    expected: Box<pg_sys::ReturnSetInfo>,
}

impl ToRecord {
    /// The name of the column.
    pub const COLUMN: &str = "v";

    /// Prepares the call. It is not used after `context` is deleted.
    pub fn new(type_oid: pg_sys::Oid, typmod: i32, context: MemoryContext<'static>) -> ToRecord {
        let mut info = Box::new(pg_sys::FmgrInfo::default());
        look_up(
            pg_sys::Oid::from(pg_sys::F_JSONB_TO_RECORD),
            &mut info,
            context,
        );
        let mut expected = Box::new(pg_sys::ReturnSetInfo::default());
        expected.type_ = pg_sys::NodeTag::T_ReturnSetInfo;
        // SAFETY: the descriptor has one column, whose name ends in a zero byte.
        expected.expectedDesc = context.switch_to(|| unsafe {
            let descriptor = pg_sys::CreateTemplateTupleDesc(1);
            pg_sys::TupleDescInitEntry(descriptor, 1, c"v".as_ptr(), type_oid, typmod, 0);
            compat::finish_descriptor(descriptor);
            descriptor
        });
        ToRecord { info, expected }
    }

    /// The column's value in an object, in the current memory context.
    pub fn call(&mut self, object: Toasted) -> Option<pg_sys::Datum> {
        let size =
            size_of::<pg_sys::FunctionCallInfoBaseData>() + size_of::<pg_sys::NullableDatum>();
        let mut memory = vec![0_u64; size.div_ceil(size_of::<u64>())];
        // SAFETY: the memory has room for a call with one argument, and is aligned as its pointers. The function gives a row of the expected
        // columns, or null. What it caches is in the memory of its `FmgrInfo`, which stays where it is.
        unsafe {
            let call = memory
                .as_mut_ptr()
                .cast::<pg_sys::FunctionCallInfoBaseData>();
            (*call).flinfo = &mut *self.info;
            (*call).resultinfo = (&raw mut *self.expected).cast();
            (*call).nargs = 1;
            (*call).args.as_mut_slice(1)[0].value = object.datum();
            let row = pg_sys::jsonb_to_record(call);
            if (*call).isnull {
                return None;
            }
            let header = row.cast_mut_ptr::<pg_sys::HeapTupleHeaderData>();
            let mut tuple = pg_sys::HeapTupleData {
                t_len: pgrx::varlena::varsize(header.cast()) as u32,
                t_data: header,
                ..Default::default()
            };
            let (mut value, mut is_null) = (pg_sys::Datum::null(), true);
            let descriptor = self.expected.expectedDesc;
            pg_sys::heap_deform_tuple(&mut tuple, descriptor, &mut value, &mut is_null);
            (!is_null).then_some(value)
        }
    }
}
