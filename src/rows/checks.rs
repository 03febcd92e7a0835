//! Makes the checks of a view's WITH CHECK OPTION and of a row policy's WITH CHECK before a row is sent.
//!
//! PostgreSQL makes a view's check after a row is inserted. A policy's, which a partitioned table above can have, it does not make at all
//! where the row goes to a foreign table. Output columns are null before the row is sent. A policy's check that reads them fails, and a
//! view's is left to PostgreSQL.

use crate::columns::Layout;
use crate::postgres::refs::{Node, Ref};
use crate::postgres::{compat, nodes};
use pgrx::{PgBox, pg_sys};

/// The checks of one foreign table.
pub struct Checks {
    /// A copy of PostgreSQL's with the checks that are made before a row is sent.
    relation: pg_sys::ResultRelInfo,
    state: *mut pg_sys::ModifyTableState,
}

impl Checks {
    /// Takes those that can be made before a row is sent from PostgreSQL's list.
    ///
    /// # Safety
    /// `relation` and `state` are initialised, and the checks were not taken before. Called in the query's memory context.
    pub unsafe fn take(
        relation: *mut pg_sys::ResultRelInfo,
        state: *mut pg_sys::ModifyTableState,
        layout: &Layout,
    ) -> Option<Checks> {
        // SAFETY: there is a state for each check.
        unsafe {
            let all = nodes::pointers::<pg_sys::WithCheckOption>((*relation).ri_WithCheckOptions);
            let states = nodes::pointers::<pg_sys::ExprState>((*relation).ri_WithCheckOptionExprs);
            let (mut before, mut after) = (Vec::new(), Vec::new());
            for check in all.zip(states) {
                let clauses: Vec<*mut pg_sys::Node> =
                    nodes::pointers((*check.0).qual.cast()).collect();
                let (inputs, others): (Vec<_>, Vec<_>) = (clauses.into_iter())
                    .partition(|clause| reads_inputs_alone(Ref::new(*clause), layout));
                if others.is_empty() || (*check.0).kind != pg_sys::WCOKind::WCO_VIEW_CHECK {
                    before.push(check);
                    continue;
                }
                after.push(check);
                if !inputs.is_empty() {
                    let mut part = PgBox::<pg_sys::WithCheckOption>::alloc_node(
                        pg_sys::NodeTag::T_WithCheckOption,
                    );
                    *part = *check.0;
                    let clauses = nodes::list(&inputs);
                    part.qual = clauses.cast();
                    let state = pg_sys::ExecInitQual(clauses, &raw mut (*state).ps);
                    before.push((part.into_pg(), state));
                }
            }
            if before.is_empty() {
                return None;
            }
            let set = |relation: *mut pg_sys::ResultRelInfo, checks: Vec<(_, _)>| {
                let (checks, states): (Vec<_>, Vec<_>) = checks.into_iter().unzip();
                (*relation).ri_WithCheckOptions = nodes::list(&checks);
                (*relation).ri_WithCheckOptionExprs = nodes::list(&states);
            };
            let mut own = *relation;
            set(&mut own, before);
            set(relation, after);
            Some(Checks {
                relation: own,
                state,
            })
        }
    }

    /// Makes the checks with a row. Errors as PostgreSQL does where one is not true.
    ///
    /// # Safety
    /// The slot has a row of the table, and `estate` is the query's.
    pub unsafe fn make(&mut self, slot: *mut pg_sys::TupleTableSlot, estate: *mut pg_sys::EState) {
        // SAFETY: the relation is open as long as the query runs.
        unsafe {
            (*slot).tts_tableOid = (*self.relation.ri_RelationDesc).rd_id;
            for kind in kinds(self.state) {
                pg_sys::ExecWithCheckOptions(*kind, &mut self.relation, slot, estate);
            }
        }
    }
}

/// Whether a clause about a row reads no other columns than inputs.
fn reads_inputs_alone(clause: Node, layout: &Layout) -> bool {
    let mut tables = clause.relids_in_plan().iter();
    tables.all(|table| layout.inputs(&clause.columns(table as _)).is_some())
}

/// The kinds of checks that a statement makes of a row that it inserts now. An UPDATE inserts a row that it moves to another partition, and
/// so may a MERGE. Where PostgreSQL does not say which action of a MERGE runs, both kinds are checked.
unsafe fn kinds(state: *mut pg_sys::ModifyTableState) -> &'static [pg_sys::WCOKind::Type] {
    use pg_sys::WCOKind::*;
    let inserts = &[WCO_RLS_INSERT_CHECK, WCO_VIEW_CHECK];
    let updates = &[WCO_RLS_UPDATE_CHECK, WCO_VIEW_CHECK];
    // SAFETY: the node has an operation, and runs.
    unsafe {
        match (*state).operation {
            pg_sys::CmdType::CMD_INSERT => inserts,
            pg_sys::CmdType::CMD_UPDATE => updates,
            _ => match compat::merge_action(crate::postgres::refs::Ref::new(state)) {
                Some(pg_sys::CmdType::CMD_INSERT) => inserts,
                Some(pg_sys::CmdType::CMD_UPDATE) => updates,
                _ => &[WCO_RLS_INSERT_CHECK, WCO_RLS_UPDATE_CHECK, WCO_VIEW_CHECK],
            },
        }
    }
}
