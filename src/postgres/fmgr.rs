//! Calls of functions (fmgr.h), their planner support functions (supportnodes.h), and their results (funcapi.h).

use super::planner::Root;
use super::refs::{Ref, fields, setters};
use pgrx::pg_sys;
use std::ffi::CStr;

/// A call.
pub type Call<'p> = Ref<'p, pg_sys::FunctionCallInfoBaseData>;

fields! {
    /// The query that has the call.
    SupportRequestSimplify.root as root: Option<Root<'p>>;
    /// The call.
    SupportRequestSimplify.fcall as function_call: Ref<'p, pg_sys::FuncExpr>;
}

setters! {
    /// Sets whether the result is null.
    FunctionCallInfoBaseData.isnull as set_is_null: bool;
    /// Sets the cost before the first call.
    SupportRequestCost.startup as set_startup: f64;
    /// Sets the cost of each call.
    SupportRequestCost.per_tuple as set_per_tuple: f64;
}

impl Call<'_> {
    /// The function that is called, the invalid one where PostgreSQL does not tell.
    pub fn function(self) -> pg_sys::Oid {
        // SAFETY: the pointer is null or the function's.
        unsafe { self.flinfo.as_ref() }.map_or(pg_sys::InvalidOid, |function| function.fn_oid)
    }

    /// The argument at an index from 0; `None` where that is null.
    pub fn argument(self, index: usize) -> Option<pg_sys::Datum> {
        // SAFETY: a call has `nargs` arguments.
        let argument = (index < self.nargs as usize)
            .then(|| unsafe { (*self.as_ptr()).args.as_slice(index + 1)[index] })?;
        (!argument.isnull).then_some(argument.value)
    }
}

/// A type of rows that lives as long as the backend, of columns with name and type.
pub fn make_row_type<const N: usize>(
    columns: [(&CStr, pg_sys::Oid); N],
) -> Ref<'static, pg_sys::TupleDescData> {
    // SAFETY: there are as many columns as the descriptor has. It is made in memory that is there as long as the backend.
    unsafe {
        let before = pg_sys::MemoryContextSwitchTo(pg_sys::TopMemoryContext);
        let made = pg_sys::CreateTemplateTupleDesc(N as _);
        for (number, (name, type_oid)) in (1..).zip(columns) {
            pg_sys::TupleDescInitEntry(made, number, name.as_ptr(), type_oid, -1, 0);
        }
        let made = pg_sys::BlessTupleDesc(made);
        pg_sys::MemoryContextSwitchTo(before);
        Ref::new(made)
    }
}
