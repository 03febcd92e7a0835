//! The foreign-data wrapper as supabase-wrappers sees it, and the callbacks of our own in its places.
//!
//! Its own scan calls the wrapper before parameters have values and keeps rows for a scan's whole life, which a
//! table whose every scan costs money can't afford; see DESIGN.md.

use crate::error::Error;
use crate::explain;
use crate::options::{self, Object};
#[cfg(not(feature = "pg13"))]
use crate::scan::append;
use crate::{modify, plan, scan};
use pgrx::{AllocatedByRust, pg_sys};
use std::collections::HashMap;
use supabase_wrappers::FdwRoutine;
use supabase_wrappers::prelude::*;

/// The wrapper.
#[wrappers_fdw(
    version = "1.0.0",
    author = "aws_lambda_fdw",
    website = "",
    error_type = "Error"
)]
pub struct LambdaFdw;

impl ForeignDataWrapper<Error> for LambdaFdw {
    // None of it is called: the callbacks that would are replaced below.
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
        routine.GetForeignRelSize = Some(plan::get_foreign_rel_size);
        routine.GetForeignPaths = Some(plan::paths::get_foreign_paths);
        routine.GetForeignPlan = Some(plan::get_foreign_plan);
        routine.GetForeignUpperPaths = None;
        routine.BeginForeignScan = Some(scan::begin_foreign_scan);
        routine.IterateForeignScan = Some(scan::iterate_foreign_scan);
        routine.ReScanForeignScan = Some(scan::rescan_foreign_scan);
        routine.EndForeignScan = Some(scan::end_foreign_scan);
        routine.ExplainForeignScan = Some(explain::explain_foreign_scan);
        #[cfg(not(feature = "pg13"))]
        {
            routine.PlanForeignModify = Some(modify::plan::plan_foreign_modify);
            routine.IsForeignPathAsyncCapable = Some(append::is_foreign_path_async_capable);
            routine.ForeignAsyncRequest = Some(append::foreign_async_request);
            routine.ForeignAsyncConfigureWait = Some(append::foreign_async_configure_wait);
            routine.ForeignAsyncNotify = Some(append::foreign_async_notify);
        }
        #[cfg(feature = "pg13")]
        {
            routine.PlanForeignModify = None;
        }
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
    fn validator(options: Vec<Option<String>>, catalog: Option<pg_sys::Oid>) -> Result<(), Error> {
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
}
