//! Planning: which clauses become bindings, which paths there are, and what the plan carries to the scan.
//!
//! The rule that paths follow: a clause that can give an input column its values always does. Otherwise
//! the same query would make other invocations with another plan. So a scan has one path for each choice of outer
//! relations that covers all such clauses, and a last resort that names what is missing when it is run.

use crate::clause::{self, Binding, Kind};
use crate::columns::{Column, Layout};
use crate::compat;
use crate::error::OrReport;
use crate::nodes;
use pgrx::{PgMemoryContexts, pg_guard, pg_sys};

/// Cost of one invocation: a hundred times a page read, so that everything that can be filtered first is.
const INVOCATION_COST: f64 = 100.0;
/// Cost of a plan that cannot run: beyond any plan that PostgreSQL was told to avoid (1e10), joined with anything.
const IMPOSSIBLE_COST: f64 = 1e30;
/// Values taken for an array whose length is not known.
const UNKNOWN_LENGTH: f64 = 10.0;
/// Most choices of outer relations that are looked at.
const MAX_CHOICES: usize = 64;

/// What planning one relation learns first and uses later.
struct Relation {
    layout: Layout,
}

/// What a plan carries to the scan, beside its expressions: lists of integers, since a cached plan is copied.
pub struct PlanData {
    /// The bindings, whose expressions are `fdw_exprs` of the plan.
    pub bindings: Vec<Binding>,
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
        });
        (*baserel).fdw_private = relation.cast();

        let (mut bound, mut filters) = (Vec::new(), std::ptr::null_mut());
        for info in infos((*baserel).baserestrictinfo) {
            match clause::classify(
                root,
                (*baserel).relid,
                &(*relation).layout,
                (*info).clause.cast(),
            ) {
                Some(binding) => bound.push(binding),
                None => filters = pg_sys::lappend(filters, info.cast()),
            }
        }
        let selectivity = pg_sys::clauselist_selectivity(
            root,
            filters,
            (*baserel).relid as _,
            pg_sys::JoinType::JOIN_INNER,
            std::ptr::null_mut(),
        );
        (*baserel).tuples = estimate(&bound);
        (*baserel).rows = pg_sys::clamp_row_est((*baserel).tuples * selectivity);
    }
}

/// Callback: offers the paths.
///
/// # Safety
/// Called by the planner.
#[pg_guard]
pub unsafe extern "C-unwind" fn get_foreign_paths(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    _table: pg_sys::Oid,
) {
    // SAFETY: as above; `fdw_private` is what the size estimate left.
    unsafe {
        let layout = &(*(*baserel).fdw_private.cast::<Relation>()).layout;
        let own: Vec<Binding> = infos((*baserel).baserestrictinfo)
            .filter_map(|info| {
                clause::classify(root, (*baserel).relid, layout, (*info).clause.cast())
            })
            .collect();
        let needs = join_needs(root, baserel, layout);
        // The last resort, or the one path where no join gives any values.
        let missing = needs
            .iter()
            .find_map(|need| need.column)
            .map(|column| (column, true))
            .or_else(|| unbound(layout, &own));
        let invocations = (*baserel).tuples;
        add_path(
            root,
            baserel,
            (*baserel).lateral_relids,
            invocations,
            missing,
        );

        for outer in choices(&needs, (*baserel).lateral_relids, (*baserel).relid) {
            let info = pg_sys::get_baserel_parampathinfo(root, baserel, outer);
            if info.is_null() {
                continue;
            }
            let mut bound = own.clone();
            bound.extend(infos((*info).ppi_clauses).filter_map(|info| {
                clause::classify(root, (*baserel).relid, layout, (*info).clause.cast())
            }));
            compat::forbid_memoize(root, baserel, info);
            add_path(
                root,
                baserel,
                outer,
                estimate(&bound),
                unbound(layout, &bound),
            );
        }
        compat::forbid_memoize(root, baserel, std::ptr::null_mut());
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
        let layout = &(*(*baserel).fdw_private.cast::<Relation>()).layout;
        let nil: *mut pg_sys::List = std::ptr::null_mut();
        let (mut filters, mut expressions, mut recheck, mut bindings) = (nil, nil, nil, nil);
        for info in infos(scan_clauses) {
            // A clause without variables is checked once, by a Result node above the scan.
            if (*info).pseudoconstant {
                continue;
            }
            let clause = (*info).clause.cast::<pg_sys::Node>();
            let Some(binding) = clause::classify(root, (*baserel).relid, layout, clause) else {
                filters = pg_sys::lappend(filters, clause.cast());
                continue;
            };
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
            recheck = pg_sys::lappend(recheck, clause.cast());
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
            recheck,
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
            let mut next_expression = nodes::pointers((*plan).fdw_exprs);
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
                            _ => next_expression.next()?,
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
                used: (!used.contains(&0)).then_some(used),
                missing,
            }
        }
    }
}

unsafe fn infos(list: *mut pg_sys::List) -> impl Iterator<Item = *mut pg_sys::RestrictInfo> {
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

/// The invocations that bindings make: the product of their values, each clause on a column narrowing it.
fn estimate(bindings: &[Binding]) -> f64 {
    Column::INPUTS
        .into_iter()
        .filter_map(|column| {
            bindings
                .iter()
                .filter(|binding| binding.attribute.column == column)
                .map(|binding| match binding.kind {
                    // SAFETY: the expression is the planner's.
                    Kind::Any => unsafe { array_length(binding.expression) },
                    _ => 1.0,
                })
                .reduce(f64::min)
        })
        .product()
}

/// How many combinations of values there are at most, where the plan alone tells.
pub fn known_values(bindings: &[Binding]) -> Option<u64> {
    bindings
        .iter()
        // SAFETY: the expression is the plan's.
        .all(|binding| binding.kind != Kind::Any || unsafe { has_known_length(binding.expression) })
        .then(|| estimate(bindings) as u64)
}

unsafe fn has_known_length(array: *mut pg_sys::Node) -> bool {
    // SAFETY: the caller's.
    unsafe {
        pgrx::is_a(array, pg_sys::NodeTag::T_Const)
            || pgrx::is_a(array, pg_sys::NodeTag::T_ArrayExpr)
    }
}

unsafe fn array_length(array: *mut pg_sys::Node) -> f64 {
    // SAFETY: each cast follows the node's own tag; a constant array that is not null is whole.
    unsafe {
        if pgrx::is_a(array, pg_sys::NodeTag::T_Const) {
            let constant = &*array.cast::<pg_sys::Const>();
            if constant.constisnull {
                return 0.0;
            }
            let array = pg_sys::pg_detoast_datum(constant.constvalue.cast_mut_ptr());
            let array = array.cast::<pg_sys::ArrayType>();
            let dimensions = array.add(1).cast::<i32>();
            return pg_sys::ArrayGetNItems((*array).ndim, dimensions).into();
        }
        if pgrx::is_a(array, pg_sys::NodeTag::T_ArrayExpr) {
            let elements = (*array.cast::<pg_sys::ArrayExpr>()).elements;
            return nodes::length(elements) as f64;
        }
        UNKNOWN_LENGTH
    }
}

/// A column that join conditions give values, or a lateral reference.
struct Need {
    /// `None` for a lateral reference.
    column: Option<Column>,
    /// Any one of these sets of outer relations satisfies it.
    alternatives: Vec<pg_sys::Relids>,
}

/// The join conditions that give input columns their values.
unsafe fn join_needs(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    layout: &Layout,
) -> Vec<Need> {
    // SAFETY: the planner's structures; the callback's argument lives across the call.
    unsafe {
        let relid = (*baserel).relid;
        let usable = |info: *mut pg_sys::RestrictInfo| {
            pg_sys::join_clause_is_movable_to(info, baserel)
                .then(|| clause::classify(root, relid, layout, (*info).clause.cast()))
                .flatten()
        };
        let mut needs: Vec<Need> = infos((*baserel).joininfo)
            .filter_map(|info| {
                let binding = usable(info)?;
                Some(Need {
                    column: Some(binding.attribute.column),
                    alternatives: vec![(*info).clause_relids],
                })
            })
            .collect();
        if (*baserel).has_eclass_joins {
            for column in Column::INPUTS {
                let mut wanted = Wanted {
                    layout,
                    relid,
                    column,
                };
                let clauses = pg_sys::generate_implied_equalities_for_column(
                    root,
                    baserel,
                    Some(matches_column),
                    (&raw mut wanted).cast(),
                    (*baserel).lateral_referencers,
                );
                let alternatives: Vec<pg_sys::Relids> = infos(clauses)
                    .filter(|info| usable(*info).is_some())
                    .map(|info| (*info).clause_relids)
                    .collect();
                if !alternatives.is_empty() {
                    needs.push(Need {
                        column: Some(column),
                        alternatives,
                    });
                }
            }
        }
        needs
    }
}

struct Wanted<'a> {
    layout: &'a Layout,
    relid: pg_sys::Index,
    column: Column,
}

/// Whether a member of an equivalence class is the wanted column.
#[pg_guard]
unsafe extern "C-unwind" fn matches_column(
    _root: *mut pg_sys::PlannerInfo,
    _rel: *mut pg_sys::RelOptInfo,
    _class: *mut pg_sys::EquivalenceClass,
    member: *mut pg_sys::EquivalenceMember,
    wanted: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the argument is the Wanted that join_needs passed.
    unsafe {
        let wanted = &*wanted.cast::<Wanted>();
        clause::is_column(
            wanted.relid,
            wanted.layout,
            (*member).em_expr.cast(),
            wanted.column,
        )
    }
}

/// The sets of outer relations that satisfy every need, each once.
unsafe fn choices(
    needs: &[Need],
    lateral: pg_sys::Relids,
    relid: pg_sys::Index,
) -> Vec<pg_sys::Relids> {
    if needs.is_empty() {
        return Vec::new();
    }
    let mut sets = vec![lateral];
    for need in needs {
        let mut wider: Vec<pg_sys::Relids> = Vec::new();
        for set in &sets {
            for alternative in &need.alternatives {
                // SAFETY: bms_union makes a new set, from which the scan's own relation is then taken.
                let (union, known) = unsafe {
                    let union =
                        pg_sys::bms_del_member(pg_sys::bms_union(*set, *alternative), relid as _);
                    (
                        union,
                        wider.iter().any(|known| pg_sys::bms_equal(*known, union)),
                    )
                };
                if !known && wider.len() < MAX_CHOICES {
                    wider.push(union);
                }
            }
        }
        sets = wider;
    }
    sets
}

/// The input column that has no value although the scan needs one, with no join condition on it.
fn unbound(layout: &Layout, bound: &[Binding]) -> Option<(Column, bool)> {
    [Column::Payload, Column::FunctionName]
        .into_iter()
        .find(|column| {
            layout.find(*column).is_some()
                && !bound
                    .iter()
                    .any(|binding| binding.attribute.column == *column)
        })
        .map(|column| (column, false))
}

unsafe fn add_path(
    root: *mut pg_sys::PlannerInfo,
    baserel: *mut pg_sys::RelOptInfo,
    required_outer: pg_sys::Relids,
    invocations: f64,
    missing: Option<(Column, bool)>,
) {
    // A table option may still name the function; whether it does is seen when the scan starts.
    let impossible =
        matches!(missing, Some((column, in_join)) if in_join || column != Column::FunctionName);
    // SAFETY: the planner's structures.
    unsafe {
        let mut fdw_private = std::ptr::null_mut();
        if let Some((column, in_join)) = missing {
            fdw_private = pg_sys::lappend_int(fdw_private, column as _);
            fdw_private = pg_sys::lappend_int(fdw_private, in_join as _);
        }
        let share = (*baserel).rows / (*baserel).tuples.max(1.0);
        let path = compat::create_foreignscan_path(
            root,
            baserel,
            compat::ForeignPath {
                rows: pg_sys::clamp_row_est(invocations * share.min(1.0)),
                total_cost: if impossible {
                    IMPOSSIBLE_COST
                } else {
                    INVOCATION_COST * invocations
                },
                required_outer,
                fdw_private,
                last_resort: impossible,
            },
        );
        pg_sys::add_path(baserel, path);
    }
}
