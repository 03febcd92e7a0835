//! The foreign-data wrapper as supabase-wrappers sees it, and the callbacks of our own in its places.
//!
//! Its own scan calls the wrapper before parameters have values and keeps rows for a scan's whole life, which a
//! table whose every scan costs money can't afford; see DESIGN.md.

use crate::error::Error;
use crate::explain;
use crate::options::{self, Object};
use crate::scan::append;
use crate::{modify, plan, scan};
use pgrx::pg_sys;

/// What supabase-wrappers makes of a wrapper: handler and validator. None of the wrapper's own scan is called: the callbacks that would
/// are replaced.
#[cfg(not(feature = "pg19"))]
mod wrapper {
    use super::{check_options, set_callbacks};
    use crate::error::Error;
    use pgrx::{AllocatedByRust, pg_sys};
    use std::collections::HashMap;
    use supabase_wrappers::FdwRoutine;
    use supabase_wrappers::prelude::*;

    /// The wrapper.
    #[wrappers_fdw(error_type = "Error")]
    pub struct LambdaFdw;

    impl ForeignDataWrapper<Error> for LambdaFdw {
        fn new(_server: ForeignServer) -> Result<LambdaFdw, Error> {
            Ok(LambdaFdw)
        }

        fn begin_scan(
            &mut self,
            _quals: &[Qual],
            _columns: &[Column],
            _sorts: &[Sort],
            _limit: &Option<Limit>,
            _options: &HashMap<String, String>,
        ) -> Result<(), Error> {
            Ok(())
        }

        fn iter_scan(&mut self, _row: &mut Row) -> Result<Option<()>, Error> {
            Ok(None)
        }

        fn end_scan(&mut self) -> Result<(), Error> {
            Ok(())
        }

        fn fdw_routine_hook(routine: &mut FdwRoutine<AllocatedByRust>) {
            set_callbacks(routine);
        }

        fn validator(
            options: Vec<Option<String>>,
            catalog: Option<pg_sys::Oid>,
        ) -> Result<(), Error> {
            check_options(&options, catalog)
        }
    }
}

/// The same for 19, which supabase-wrappers 0.2.4 does not know.
#[cfg(feature = "pg19")]
mod wrapper {
    use super::{check_options, set_callbacks};
    use crate::error::OrReport;
    use pgrx::{PgBox, pg_extern, pg_sys};

    #[pg_extern(sql = false)]
    fn lambda_fdw_handler() -> PgBox<pg_sys::FdwRoutine> {
        // SAFETY: the node's tag is that of the structure.
        let mut routine =
            unsafe { PgBox::<pg_sys::FdwRoutine>::alloc_node(pg_sys::NodeTag::T_FdwRoutine) };
        set_callbacks(&mut routine);
        routine.into_pg_boxed()
    }

    #[pg_extern(sql = false)]
    fn lambda_fdw_validator(options: Vec<Option<String>>, catalog: Option<pg_sys::Oid>) {
        check_options(&options, catalog).or_report();
    }
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
    // Without these PostgreSQL itself refuses the statement and says so.
    routine.AddForeignUpdateTargets = None;
    routine.ExecForeignUpdate = None;
    routine.ExecForeignDelete = None;
    routine.ImportForeignSchema = None;
}

/// Checks options as `name=value`, which is how PostgreSQL hands them to a validator.
fn check_options(options: &[Option<String>], catalog: Option<pg_sys::Oid>) -> Result<(), Error> {
    let object = match catalog {
        Some(pg_sys::ForeignServerRelationId) => Object::Server,
        Some(pg_sys::UserMappingRelationId) => Object::UserMapping,
        Some(pg_sys::ForeignTableRelationId) => Object::Table,
        Some(pg_sys::AttributeRelationId) => Object::Column,
        _ => Object::Wrapper,
    };
    let options: Vec<(&str, &str)> = options
        .iter()
        .flatten()
        .map(|option| option.split_once('=').unwrap_or((option, "")))
        .collect();
    let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
    for (name, value) in options {
        let definition = options::check(object, name, value)?;
        // SAFETY: asks for the current role.
        if definition.superuser && !unsafe { pg_sys::superuser() } {
            return Err(Error::OptionNeedsSuperuser {
                name: definition.name,
            });
        }
    }
    options::check_together(&names)
}
