//! The handler and the validator of the foreign-data wrapper. supabase-wrappers makes the handler's routine, and this extension's callbacks replace its own.
//!
//! The scan of supabase-wrappers calls the wrapper before parameters have values, and keeps rows for a scan's whole life. That would cost
//! invocations; see DESIGN.md.

use crate::error::{Error, OrReport};
use crate::explain;
use crate::functions::import;
use crate::options::{self, Object};
use crate::postgres::list::List;
use crate::postgres::refs::{FromRaw, Ref};
use crate::scan::append;
use crate::{modify, plan, scan};
use pgrx::{pg_guard, pg_sys};

/// The routine of supabase-wrappers. Its scan is never called, as all callbacks that call it are replaced. Its macro
/// is not used, since the macro's validator takes bytes of any encoding for Rust's strings.
#[cfg(not(feature = "pg19"))]
mod wrapper {
    use super::set_callbacks;
    use pgrx::pg_sys::panic::ErrorReport;
    use pgrx::{AllocatedByRust, pg_sys};
    use std::collections::HashMap;
    use supabase_wrappers::FdwRoutine;
    use supabase_wrappers::prelude::*;

    struct LambdaFdw;

    impl ForeignDataWrapper<ErrorReport> for LambdaFdw {
        fn new(_server: ForeignServer) -> Result<LambdaFdw, ErrorReport> {
            Ok(LambdaFdw)
        }

        fn begin_scan(
            &mut self,
            _quals: &[Qual],
            _columns: &[Column],
            _sorts: &[Sort],
            _limit: &Option<Limit>,
            _options: &HashMap<String, String>,
        ) -> Result<(), ErrorReport> {
            Ok(())
        }

        fn iter_scan(&mut self, _row: &mut Row) -> Result<Option<()>, ErrorReport> {
            Ok(None)
        }

        fn end_scan(&mut self) -> Result<(), ErrorReport> {
            Ok(())
        }

        fn fdw_routine_hook(routine: &mut FdwRoutine<AllocatedByRust>) {
            set_callbacks(routine);
        }
    }

    pub fn routine() -> *mut pg_sys::FdwRoutine {
        LambdaFdw::fdw_routine().into_pg()
    }
}

/// The routine for 19, which supabase-wrappers 0.2.4 does not know.
#[cfg(feature = "pg19")]
mod wrapper {
    use super::set_callbacks;
    use crate::postgres::refs::Ref;
    use pgrx::pg_sys;

    pub fn routine() -> *mut pg_sys::FdwRoutine {
        let mut routine = pg_sys::FdwRoutine::default();
        routine.type_ = pg_sys::NodeTag::T_FdwRoutine;
        set_callbacks(&mut routine);
        Ref::allocate(routine).as_ptr()
    }
}

/// The handler.
#[unsafe(no_mangle)]
#[pg_guard]
pub extern "C-unwind" fn lambda_fdw_handler_wrapper(
    _call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    wrapper::routine().into()
}

/// The validator, of options as an array of `name=value` and the catalog of the object that has them.
///
/// # Safety
/// Called by PostgreSQL.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn lambda_fdw_validator_wrapper(
    call: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: there are two arguments, a text array and an oid, and PostgreSQL makes a list of a null array too.
    let (options, catalog): (List<pg_sys::DefElem>, _) = unsafe {
        let call = Ref::new(call);
        let [options, catalog] =
            [0, 1].map(|index| call.argument(index).unwrap_or(pg_sys::Datum::null()));
        (
            FromRaw::from_raw(pg_sys::untransformRelOptions(options)),
            pg_sys::Oid::from(catalog.value() as u32),
        )
    };
    check_options(options, catalog).or_report();
    pg_sys::Datum::null()
}

/// The calling convention of the handler (fmgr.h).
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_lambda_fdw_handler_wrapper() -> &'static pg_sys::Pg_finfo_record {
    &pg_sys::Pg_finfo_record { api_version: 1 }
}

/// The calling convention of the validator.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_lambda_fdw_validator_wrapper() -> &'static pg_sys::Pg_finfo_record {
    &pg_sys::Pg_finfo_record { api_version: 1 }
}

/// Puts the callbacks in their places.
fn set_callbacks(routine: &mut pg_sys::FdwRoutine) {
    routine.GetForeignRelSize = Some(plan::get_foreign_rel_size);
    routine.GetForeignPaths = Some(plan::paths::get_foreign_paths);
    routine.GetForeignPlan = Some(plan::get_foreign_plan);
    routine.GetForeignUpperPaths = None;
    routine.BeginForeignScan = Some(scan::begin_foreign_scan);
    routine.IterateForeignScan = Some(scan::iterate_foreign_scan);
    routine.ReScanForeignScan = Some(scan::rescan_foreign_scan);
    routine.EndForeignScan = Some(scan::end_foreign_scan);
    routine.ExplainForeignScan = Some(explain::explain_foreign_scan);
    routine.PlanForeignModify = Some(modify::plan::plan_foreign_modify);
    routine.IsForeignPathAsyncCapable = Some(append::is_foreign_path_async_capable);
    routine.ForeignAsyncRequest = Some(append::foreign_async_request);
    routine.ForeignAsyncConfigureWait = Some(append::foreign_async_configure_wait);
    routine.ForeignAsyncNotify = Some(append::foreign_async_notify);
    routine.BeginForeignModify = Some(modify::begin_foreign_modify);
    routine.ExecForeignInsert = Some(modify::exec_foreign_insert);
    routine.EndForeignModify = Some(modify::end_foreign_insert);
    routine.BeginForeignInsert = Some(modify::begin_foreign_insert);
    routine.EndForeignInsert = Some(modify::end_foreign_insert);
    routine.ExplainForeignModify = Some(explain::explain_foreign_modify);
    routine.IsForeignRelUpdatable = Some(modify::refused::is_foreign_rel_updatable);
    routine.ExecForeignUpdate = Some(modify::refused::exec_foreign_change);
    routine.ExecForeignDelete = Some(modify::refused::exec_foreign_change);
    // Without these PostgreSQL itself refuses the statement and says so.
    routine.AddForeignUpdateTargets = None;
    routine.ImportForeignSchema = Some(import::import_foreign_schema);
}

/// Checks the options of an object of a catalog.
fn check_options(options: List<pg_sys::DefElem>, catalog: pg_sys::Oid) -> Result<(), Error> {
    let object = match catalog {
        pg_sys::ForeignServerRelationId => Object::Server,
        pg_sys::UserMappingRelationId => Object::UserMapping,
        pg_sys::ForeignTableRelationId => Object::Table,
        pg_sys::AttributeRelationId => Object::Column,
        _ => Object::Wrapper,
    };
    let mut names = Vec::new();
    for option in options.iter() {
        names.push(options::check_given(object, option)?.name);
    }
    options::check_together(&names)
}
