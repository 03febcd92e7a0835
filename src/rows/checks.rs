//! Makes the checks of a view's WITH CHECK OPTION and of a row policy's WITH CHECK before a row is sent.
//!
//! PostgreSQL makes a view's check after a row is inserted. A policy's, which a partitioned table above can have, it does not make at all
//! where the row goes to a foreign table. Output columns are null before the row is sent. A policy's check that reads them fails, and a
//! view's is left to PostgreSQL.

use crate::columns::Layout;
use crate::postgres::compat;
use crate::postgres::executor::{EState, ModifyTableState, ResultRel};
use crate::postgres::list::List;
use crate::postgres::refs::{Node, Ref};
use crate::postgres::slots::Slot;
use pgrx::pg_sys;

/// The checks of one foreign table.
pub struct Checks {
    /// A copy of PostgreSQL's with the checks that are made before a row is sent.
    relation: ResultRel<'static>,
    state: ModifyTableState<'static>,
}

/// A check and its state, which is null where there is nothing to check.
type Check = (
    Ref<'static, pg_sys::WithCheckOption>,
    Option<Ref<'static, pg_sys::ExprState>>,
);

impl Checks {
    /// Takes those that can be made before a row is sent from PostgreSQL's list. Called once, in the query's memory context.
    pub fn take(
        relation: ResultRel<'static>,
        state: ModifyTableState<'static>,
        layout: &Layout,
    ) -> Option<Checks> {
        let (all, states) = (relation.checks(), relation.check_states());
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for index in 0..all.len() {
            let Some(check) = all.get(index) else {
                continue;
            };
            let (inputs, others): (Vec<_>, Vec<_>) =
                (check.clauses().iter()).partition(|clause| reads_inputs_alone(*clause, layout));
            if others.is_empty() || check.kind != pg_sys::WCOKind::WCO_VIEW_CHECK {
                before.push((check, states.get(index)));
                continue;
            }
            after.push((check, states.get(index)));
            if !inputs.is_empty() {
                let part = check.with_clauses(List::of(inputs));
                before.push((part, state.init_clauses(part.clauses())));
            }
        }
        if before.is_empty() {
            return None;
        }
        let set = |relation: ResultRel<'static>, checks: Vec<Check>| {
            let (checks, states): (Vec<_>, Vec<_>) = checks.into_iter().unzip();
            relation.set_checks(List::of(checks));
            relation.set_check_states(List::of_optional(states));
        };
        let own = relation.duplicate();
        set(own, before);
        set(relation, after);
        Some(Checks {
            relation: own,
            state,
        })
    }

    /// Makes the checks with a row of the table. Errors as PostgreSQL does where one is not true.
    pub fn make(&self, slot: Slot, estate: EState) {
        slot.set_table(self.relation.table().rd_id);
        for kind in kinds(self.state) {
            self.relation.check(*kind, slot, estate);
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
fn kinds(state: ModifyTableState) -> &'static [pg_sys::WCOKind::Type] {
    use pg_sys::CmdType::{CMD_INSERT, CMD_UPDATE};
    use pg_sys::WCOKind::*;
    let command = match state.operation {
        CMD_INSERT | CMD_UPDATE => Some(state.operation),
        _ => compat::merge_action(state),
    };
    match command {
        Some(CMD_INSERT) => &[WCO_RLS_INSERT_CHECK, WCO_VIEW_CHECK],
        Some(CMD_UPDATE) => &[WCO_RLS_UPDATE_CHECK, WCO_VIEW_CHECK],
        _ => &[WCO_RLS_INSERT_CHECK, WCO_RLS_UPDATE_CHECK, WCO_VIEW_CHECK],
    }
}
