//! Paths: the ways to run a scan, alone and as the inner side of joins, and their costs.
//!
//! Paths follow a rule: a clause that can give an input column its values always does. Otherwise
//! the same query would make other invocations with another plan. So a scan has one path for each choice of outer
//! relations that covers all such clauses, and a last resort that raises an error when it is run.

use super::clause::Binding;
use super::estimate::{Estimate, INVOCATION_COST, estimate_scan};
use super::join_order::{self, OtherRelations};
use super::relation::{ForeignRel, JoinClause};
use super::scan_order::ScanOrder;
use super::{Mode, clause, path_private, semijoins};
use crate::columns::Column;
use crate::postgres::list::List;
use crate::postgres::planner::{Clause, Rel, clamp_row_estimate};
use crate::postgres::refs::{Node, Ref};
use crate::postgres::relids::Relids;
use crate::postgres::{compat, nulls};
use pgrx::{pg_guard, pg_sys};

/// Cost of a plan that invokes before it is known whether it has to: beyond any plan that is disabled (1e10).
pub const AVOIDED_COST: f64 = 1e20;
/// Cost of a plan that cannot run: beyond that too, joined with anything.
pub const IMPOSSIBLE_COST: f64 = 1e30;
/// Most choices of outer relations that are offered.
const MAX_CHOICES: usize = 64;

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
    // SAFETY: the planner passes its structures, which live until planning ends.
    let scan = unsafe { ForeignRel::of(Ref::new(root), Ref::new(baserel)) };
    if let Some(scan) = scan {
        offer_paths(scan);
    }
}

fn offer_paths(scan: ForeignRel) {
    let own = scan.own_clauses();
    let refused = column_that_joins_refuse(scan);
    let order = ScanOrder::of(scan.root);
    let is_in_order = |requirement: &&OuterRequirement| {
        order.is_none_or(|order| order.satisfies(scan, requirement))
    };
    let requirements: Vec<&OuterRequirement> = (scan.outer_requirements().iter())
        .filter(is_in_order)
        .collect();
    // The column of the last resort. There is none where no join gives values, and the scan has its own.
    let missing = (requirements
        .iter()
        .find_map(|requirement| requirement.column))
    .or_else(|| column_of_hashed_exists(scan, &own.bindings))
    .map(|column| (column, true))
    .or_else(|| {
        let column = own.missing_column(scan)?;
        Some((column, has_join_clause(scan, column)))
    });
    let lateral = scan.rel.lateral_relids();
    if let Some((column, in_join)) = missing {
        let mode = Mode::Missing(column, in_join);
        let estimated = Estimate::of_invocations(scan.rel.tuples);
        let rank = match in_join {
            // A path for which a join gives this column, and that lacks another, can tell which.
            true => Rank::Unjoined,
            false => Rank::LastResort,
        };
        add_path(scan, lateral, estimated, mode, rank);
    }
    let mut choices = choices(&requirements, lateral, scan.rel.relid as i32);
    if missing.is_none() {
        choices.push(lateral);
    }
    // Functions can be listed, or be asked for by the names that a join gives.
    let by_name = requirements_of_names(scan);
    for name in by_name.iter().filter(is_in_order) {
        let all: Vec<_> = requirements.iter().copied().chain([name]).collect();
        choices.extend(self::choices(&all, lateral, scan.rel.relid as i32));
    }
    let others = OtherRelations::of(scan, order);
    // A call comes where PostgreSQL has it come.
    let all_come_before = scan.relation.call.is_none()
        && !scan.relation.layout.is_of_functions()
        && (requirements.is_empty() || join_order::is_behind_barrier(scan.root));
    for giving in choices {
        let mut rank = Rank::Any;
        let before = others.before(giving).union(giving);
        if all_come_before && !before.equals(giving) {
            offer(scan, before, rank, refused);
            rank = Rank::Avoided;
        }
        offer(scan, giving, rank, refused);
    }
}

/// Offers the path that has the values of its own clauses, and of those that relations before it give. It raises an error if joins refuse a column.
fn offer<'p>(scan: ForeignRel<'p>, before: Relids<'p>, rank: Rank, refused: Option<Column>) {
    let clauses = scan.scan_clauses(scan.root.path_parameters(scan.rel, before));
    let (mode, rank) = match clauses.missing_column(scan).or(refused) {
        Some(column) => (Mode::Missing(column, false), Rank::LastResort),
        None => (Mode::Plain, rank),
    };
    let requests = estimate_scan(scan, &clauses.bindings);
    add_path(scan, before, requests, mode, rank);
}

/// The other relations that have to be on the outer side of a join with a scan, for the sake of one clause.
#[derive(Clone)]
pub struct OuterRequirement<'p> {
    /// The column to which a join condition gives values; `None` for a condition on other relations alone.
    pub column: Option<Column>,
    /// Any one of these sets of outer relations satisfies the requirement.
    pub alternatives: Vec<Relids<'p>>,
    /// Whether none of these can come before the scan. Then other clauses on the column are used instead.
    comes_after: bool,
}

/// The requirements of the join conditions that give input columns their values. Sizes have to be estimated.
pub fn outer_requirements(scan: ForeignRel) -> Vec<OuterRequirement> {
    let rel = scan.rel;
    let usable: Vec<(&JoinClause, Column)> = usable_clauses(scan)
        .filter(|(_, column)| !is_optional(scan, *column))
        .collect();
    let comes_after = |joined: &JoinClause| semijoins::comes_after(scan, joined.clause);
    let mut requirements: Vec<OuterRequirement> = (usable.iter())
        .filter(|(joined, _)| joined.implied_for.is_none())
        .map(|(joined, column)| OuterRequirement {
            column: Some(*column),
            alternatives: vec![joined.clause.relids()],
            comes_after: comes_after(joined),
        })
        .collect();
    for column in scan.relation.layout.inputs_in_order() {
        let (after, before): (Vec<_>, Vec<_>) = (usable.iter())
            .map(|(joined, _)| *joined)
            .filter(|joined| joined.implied_for == Some(column))
            .partition(|joined| comes_after(joined));
        let comes_after = before.is_empty();
        let alternatives: Vec<_> = (if comes_after { after } else { before })
            .into_iter()
            .map(|joined| joined.clause.relids())
            .collect();
        if !alternatives.is_empty() {
            requirements.push(OuterRequirement {
                column: Some(column),
                alternatives,
                comes_after,
            });
        }
    }
    let all = requirements.clone();
    let has_others = |column: Column| {
        let is_other =
            |other: &OuterRequirement| other.column == Some(column) && !other.comes_after;
        scan.has_own(column) || all.iter().any(is_other)
    };
    requirements.retain(|requirement| {
        !requirement.comes_after || !requirement.column.is_some_and(has_others)
    });
    if !requirements.is_empty() {
        // A relation that is joined to the scan before the outer join can't give it parameters.
        let from_outside = |clause: &Clause| clause.relids().is_subset(clause.outer_side());
        requirements.extend((outer_conditions(rel).filter(from_outside)).map(|clause| {
            OuterRequirement {
                column: None,
                alternatives: vec![clause.relids()],
                comes_after: false,
            }
        }));
    }
    requirements
}

/// The join clauses that can give input columns their values.
fn usable_clauses<'p>(scan: ForeignRel<'p>) -> impl Iterator<Item = (&'p JoinClause<'p>, Column)> {
    (scan.join_clauses().iter())
        .filter(move |joined| joined.clause.is_movable_to(scan.rel))
        .filter_map(|joined| Some((joined, joined.column()?)))
}

/// An input column that nothing gives a value, and for which a join has a condition that no row without one meets. All rows would be paid for and
/// dropped.
fn column_that_joins_refuse(scan: ForeignRel) -> Option<Column> {
    let (layout, relid) = (&scan.relation.layout, scan.rel.relid);
    if scan.relation.call.is_some() || layout.is_of_functions() {
        return None;
    }
    let written: Vec<_> = (scan.rel.join_clauses().iter())
        .filter(|clause| clause.is_movable_to(scan.rel))
        .collect();
    if written.is_empty() && !scan.rel.has_eclass_joins {
        return None;
    }
    let own = scan.own_clauses();
    // The column may have the value of another one, which it equals.
    let read: Vec<i32> = (own.all_filters().iter())
        .filter_map(|clause| clause.expression())
        .flat_map(|node| node.columns(relid))
        .collect();
    let refuse = |number: i16| {
        let is_null_with = |node: Node| nulls::is_null_with(node, relid, number);
        let implied = || scan.root.implied_equalities(scan.rel, &is_null_with);
        nulls::refuse_null(&written, relid, number)
            || scan.rel.has_eclass_joins && !implied().is_empty()
    };
    (layout.inputs_in_order())
        .filter(|column| scan.relation.needs(*column, &own.bindings))
        .filter(|column| usable_clauses(scan).all(|(_, given)| given != *column))
        .find(|column| {
            let number = layout.find(*column).map(|found| found.number);
            number.is_some_and(|number| !read.contains(&number.into()) && refuse(number))
        })
}

/// Whether a scan has the same rows also where no clause gives a column its values: all functions are listed then.
fn is_optional(scan: ForeignRel, column: Column) -> bool {
    scan.relation.layout.is_of_functions() && column == Column::FunctionName
}

/// The ways in which a join gives a table of functions the names of functions.
fn requirements_of_names<'p>(scan: ForeignRel<'p>) -> Vec<OuterRequirement<'p>> {
    usable_clauses(scan)
        .filter(|(_, column)| is_optional(scan, *column))
        .map(|(joined, column)| OuterRequirement {
            column: Some(column),
            alternatives: vec![joined.clause.relids()],
            comes_after: false,
        })
        .collect()
}

/// Whether a join clause gives a column values. The scan itself can't use it, as only an outer join above the scan may check it. The message of the
/// error says so.
fn has_join_clause(scan: ForeignRel, column: Column) -> bool {
    (scan.join_clauses().iter())
        .any(|joined| joined.implied_for.is_none() && joined.column() == Some(column))
}

/// The conditions in the ON of an outer join, with the scan on its nullable side, that are about the relations of
/// `outer` alone. Some of these may be on the nullable side too. Where a condition is not true, the join takes no row of the scan, so the scan need not invoke.
pub fn conditions<'p>(scan: ForeignRel<'p>, outer: Relids<'p>) -> Vec<Node<'p>> {
    // PostgreSQL calls a function before it checks them.
    if scan.relation.call.is_some() {
        return Vec::new();
    }
    let is_part = scan.rel.reloptkind == pg_sys::RelOptKind::RELOPT_OTHER_MEMBER_REL;
    outer_conditions(scan.rel)
        .filter_map(|clause| clause.expression())
        .map(|condition| match is_part {
            true => scan.root.for_partitions(condition, outer),
            false => condition,
        })
        .filter(|condition| scan.root.relids(*condition).is_subset(outer))
        .collect()
}

/// The clauses of the ON of outer joins. The outer side is empty for other clauses.
fn outer_conditions(rel: Rel) -> impl Iterator<Item = Clause> {
    rel.join_clauses().iter().filter(move |clause| {
        !clause.outer_side().is_empty()
            && !clause.pseudoconstant
            && !clause.outer_side().contains(rel.relid as i32)
            && !compat::is_clone(*clause)
            && !clause.is_volatile()
            // A subquery would run here and in the join once more, and may itself invoke.
            && !clause.has_subplans()
    })
}

/// The sets of outer relations that satisfy every requirement, each once.
fn choices<'p>(
    requirements: &[&OuterRequirement<'p>],
    lateral: Relids<'p>,
    relid: i32,
) -> Vec<Relids<'p>> {
    if requirements.is_empty() {
        return Vec::new();
    }
    let mut sets = vec![lateral];
    for requirement in requirements {
        let mut wider: Vec<Relids> = Vec::new();
        for set in &sets {
            for alternative in &requirement.alternatives {
                let union = set.union(*alternative).without(relid);
                let is_known = wider.iter().any(|known| known.equals(union));
                if !is_known && wider.len() < MAX_CHOICES {
                    wider.push(union);
                }
            }
        }
        sets = wider;
    }
    sets
}

/// The input column whose clause PostgreSQL took out of an EXISTS in order to hash its rows, if this is such a
/// subquery. Its rows would come of invocations without that value. PostgreSQL plans the subquery as it was written too,
/// and that plan wins.
///
/// PostgreSQL does not mark such a subquery (`convert_EXISTS_to_ANY`). But the parser names each column of a target list that is not junk. So a column
/// without a name is one that the hash is made of.
fn column_of_hashed_exists(scan: ForeignRel, bindings: &[Binding]) -> Option<Column> {
    scan.root.parent()?;
    let targets = scan.root.query()?.targets();
    targets
        .iter()
        .filter(|target| target.resname.is_null() && !target.resjunk)
        .filter_map(|target| target.expression())
        .find_map(|expression| {
            (scan.relation.layout.inputs_in_order()).find(|column| {
                clause::is_column(scan, expression, *column)
                    && !is_optional(scan, *column)
                    && scan.relation.needs(*column, bindings)
            })
        })
}

/// Which paths come before others, whatever they cost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// Those that cost less.
    Any,
    /// Any other that can run.
    Avoided,
    /// Any other.
    LastResort,
    /// One that a join gives no values.
    Unjoined,
}

fn add_path(scan: ForeignRel, required_outer: Relids, estimated: Estimate, mode: Mode, rank: Rank) {
    let (total_cost, disabled_nodes) = match rank {
        Rank::Any => (INVOCATION_COST * estimated.requests, 0),
        Rank::Avoided => (AVOIDED_COST, 100),
        Rank::LastResort => (IMPOSSIBLE_COST, 1000),
        // A join multiplies the cost of a path by the rows of its other side.
        Rank::Unjoined => (1e12 * IMPOSSIBLE_COST, 2000),
    };
    let share = scan.rel.rows / scan.rel.tuples.max(1.0);
    let path = compat::create_foreignscan_path(
        scan.root,
        scan.rel,
        compat::ForeignPath {
            rows: clamp_row_estimate(estimated.rows * share.min(1.0)),
            total_cost,
            required_outer,
            fdw_private: path_private(mode, List::EMPTY),
            disabled_nodes,
        },
    );
    scan.rel.add_path(path);
}
