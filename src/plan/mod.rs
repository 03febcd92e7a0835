//! Planning: how large a scan is, and what its plan carries to the executor.
//!
//! - [`clause`] recognises the clauses that give input columns their values, [`bind`] sorts them.
//! - [`paths`] offers the ways to run a scan, alone and inside joins; [`memoize`] forbids one.

mod bind;
pub mod clause;
mod memoize;
pub mod paths;

use crate::backend::config;
use crate::columns::{Column, Layout};
use crate::error::OrReport;
use crate::lambda::request::Inputs;
use crate::postgres::nodes;
use bind::Bound;
use clause::{Binding, Kind};
use paths::estimate;
use pgrx::{PgMemoryContexts, pg_guard, pg_sys};

/// What planning one relation learns first and uses later.
pub struct Relation {
    /// Its columns.
    pub layout: Layout,
    /// The values that its options fix. A change of options makes PostgreSQL plan again.
    pub fixed: Inputs,
}

impl Relation {
    /// Whether the table has an input column to which neither a binding nor an option gives a value.
    pub fn needs(&self, column: Column, bindings: &[Binding]) -> bool {
        self.layout.find(column).is_some()
            && self.fixed.get(column).is_none()
            && !bindings
                .iter()
                .any(|binding| binding.attribute.column == column)
    }
}

/// What a plan carries to the scan, beside its expressions: lists of integers, since a cached plan is copied.
pub struct PlanData {
    /// The bindings, whose expressions are `fdw_exprs` of the plan.
    pub bindings: Vec<Binding>,
    /// Conditions without which nothing is invoked: the expressions behind those of the bindings.
    pub conditions: Vec<*mut pg_sys::Node>,
    /// Columns that the query reads; `None` reads all.
    pub used: Option<Vec<i16>>,
    /// The input column without which the scan cannot run, and whether a join condition on it was there.
    pub missing: Option<(Column, bool)>,
}

/// Callback: estimates a relation's size.
///
/// # Safety
/// Called by the planner.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_foreign_rel_size(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    table: pg_sys::Oid,
) {
    // SAFETY: the planner holds a lock on the table, and its structures live until planning ends, as does
    // the current memory context, which drops what is kept in it also after an error.
    unsafe {
        let open = pg_sys::table_open(table, pg_sys::NoLock as _);
        let layout = Layout::read(open);
        pg_sys::table_close(open, pg_sys::NoLock as _);
        let relation = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(Relation {
            layout: layout.or_report(),
            fixed: config::fixed_inputs(table),
        });
        (*baserel).fdw_private = relation.cast();

        let own = infos((*baserel).baserestrictinfo);
        let bound = Bound::sort(root, (*baserel).relid, &*relation, own);
        let filters = nodes::list(&bound.filters);
        let selectivity = pg_sys::clauselist_selectivity(
            root,
            filters,
            (*baserel).relid as _,
            pg_sys::JoinType::JOIN_INNER,
            std::ptr::null_mut(),
        );
        (*baserel).tuples = estimate(&bound.bindings);
        (*baserel).rows = pg_sys::clamp_row_est((*baserel).tuples * selectivity);
    }
}

/// Callback: turns the chosen path into a plan.
///
/// # Safety
/// Called by the planner.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_foreign_plan(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    _table: pg_sys::Oid,
    best_path: *mut pg_sys::ForeignPath,
    tlist: *mut pg_sys::List,
    scan_clauses: *mut pg_sys::List,
    outer_plan: *mut pg_sys::Plan,
) -> *mut pg_sys::ForeignScan {
    // SAFETY: as above. Only palloc'd lists go into the plan.
    unsafe {
        let relation = &*(*baserel).fdw_private.cast::<Relation>();
        let nil: *mut pg_sys::List = std::ptr::null_mut();
        let (mut expressions, mut bindings) = (nil, nil);
        let bound = Bound::sort(root, (*baserel).relid, relation, infos(scan_clauses));
        for binding in &bound.bindings {
            for number in [
                binding.attribute.number.into(),
                binding.kind as i32,
                binding.collation.to_u32() as i32,
            ] {
                bindings = pg_sys::lappend_int(bindings, number);
            }
            if !binding.expression.is_null() {
                expressions = pg_sys::lappend(expressions, binding.expression.cast());
            }
        }
        let clauses = |infos: &[*mut pg_sys::RestrictInfo]| {
            let clauses: Vec<_> = infos.iter().map(|info| (**info).clause).collect();
            nodes::list(&clauses)
        };
        let filters = clauses(&bound.filters);
        let param_info = (*best_path).path.param_info;
        if !param_info.is_null() {
            for info in paths::conditions(baserel, (*param_info).ppi_req_outer) {
                expressions = pg_sys::lappend(expressions, (*info).clause.cast());
            }
        }
        let mut private = pg_sys::lappend(nil, bindings.cast());
        private = pg_sys::lappend(private, used_columns(baserel, filters).cast());
        private = pg_sys::lappend(private, (*best_path).fdw_private.cast());
        pg_sys::make_foreignscan(
            tlist,
            filters,
            (*baserel).relid,
            expressions,
            private,
            nil,
            clauses(&bound.taken),
            outer_plan,
        )
    }
}

impl PlanData {
    /// Whether the query reads a column.
    pub fn reads(&self, number: i16) -> bool {
        self.used.as_ref().is_none_or(|used| used.contains(&number))
    }

    /// Reads back what [`get_foreign_plan`] put into a plan.
    ///
    /// # Safety
    /// `plan` is a plan of this wrapper's for a table of that layout.
    pub unsafe fn read(plan: *mut pg_sys::ForeignScan, layout: &Layout) -> PlanData {
        // SAFETY: the lists have the shape that get_foreign_plan gave them.
        unsafe {
            let numbers = |place: usize| -> Vec<i32> {
                let list = nodes::nth((*plan).fdw_private, place);
                nodes::integers(list.unwrap_or(std::ptr::null_mut())).collect()
            };
            let mut expressions = nodes::pointers((*plan).fdw_exprs);
            let bindings = numbers(0)
                .chunks_exact(3)
                .filter_map(|binding| {
                    let kind = Kind::from_number(binding[1])?;
                    Some(Binding {
                        attribute: *layout.attribute(binding[0] as i16)?,
                        kind,
                        collation: pg_sys::Oid::from(binding[2] as u32),
                        expression: match kind {
                            Kind::Null => std::ptr::null_mut(),
                            _ => expressions.next()?,
                        },
                    })
                })
                .collect();
            let used: Vec<i16> = numbers(1).iter().map(|number| *number as i16).collect();
            let missing = match numbers(2)[..] {
                [column, in_join] => {
                    Column::from_number(column).map(|column| (column, in_join != 0))
                }
                _ => None,
            };
            PlanData {
                bindings,
                conditions: expressions.collect(),
                used: (!used.contains(&0)).then_some(used),
                missing,
            }
        }
    }
}

/// The clauses of one of the planner's lists.
///
/// # Safety
/// `list` is a list of RestrictInfos.
pub unsafe fn infos(list: *mut pg_sys::List) -> impl Iterator<Item = *mut pg_sys::RestrictInfo> {
    // SAFETY: the planner's clause lists hold RestrictInfos.
    unsafe { nodes::pointers(list) }
}

/// The columns that the target list and the filters read, 0 standing for the whole row.
unsafe fn used_columns(
    baserel: *mut pg_sys::RelOptInfo,
    filters: *mut pg_sys::List,
) -> *mut pg_sys::List {
    // SAFETY: both are expressions of the planner's.
    unsafe {
        let mut used = std::ptr::null_mut();
        let targets = (*(*baserel).reltarget).exprs;
        pg_sys::pull_varattnos(targets.cast(), (*baserel).relid, &mut used);
        pg_sys::pull_varattnos(filters.cast(), (*baserel).relid, &mut used);
        let mut columns = std::ptr::null_mut();
        let mut member = pg_sys::bms_next_member(used, -1);
        while member >= 0 {
            let number = member + pg_sys::FirstLowInvalidHeapAttributeNumber;
            if number >= 0 {
                columns = pg_sys::lappend_int(columns, number);
            }
            member = pg_sys::bms_next_member(used, member);
        }
        columns
    }
}
