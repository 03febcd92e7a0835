//! Refuses rows without a payload where the statement does not name the column, as a SELECT without a payload is refused.
//!
//! A NULL in a column that the statement names means that no payload is to be sent.

use crate::columns::{Column, Layout};
use crate::error::{Error, NoValueReason, StatementError};
use crate::postgres::compat;
use crate::postgres::executor::{EState, ModifyTableState, ResultRel};
use crate::postgres::slots::Slot;
use crate::postgres::text;
use pgrx::pg_sys;

/// The payload's number, if an INSERT leaves the column out and the table that the statement names has no default for it.
pub fn number(relation: ResultRel, estate: EState, layout: &Layout) -> Option<i16> {
    // A payload of fields may have none.
    let payload = (layout.find(Column::Payload)).filter(|_| !layout.has_payload_fields());
    let number = payload?.number;
    let has_default = match relation.root() {
        None => has_default(relation),
        // A partition's default does not count, but a column that it computes does.
        Some(root) => has_default(root) || is_computed(relation),
    };
    (!has_default && !relation.names_column(estate, number)).then_some(number)
}

/// Whether the payload has a default, or is computed.
fn has_default(relation: ResultRel) -> bool {
    attribute(relation).is_some_and(|it| it.atthasdef)
}

fn is_computed(relation: ResultRel) -> bool {
    attribute(relation).is_some_and(|it| it.attgenerated != 0)
}

/// The column of the payload. It has the same name in a partition and in the table above.
fn attribute(relation: ResultRel) -> Option<pg_sys::FormData_pg_attribute> {
    let name = Column::Payload.name().as_bytes();
    let mut columns = relation.table().columns();
    columns.find(|it| text::name(&it.attname).to_bytes() == name)
}

/// Errors if all rows of an INSERT are going to lack a payload. Its source was not read by then, as that may invoke.
///
/// A view may have a default for the column, and a trigger may set it.
pub fn refuse_all(
    payload: i16,
    relation: ResultRel,
    state: ModifyTableState,
    layout: &Layout,
) -> Result<(), Error> {
    // The plan below an INSERT has a column for each of the table's. A null constant of the planner's is one in each node above.
    let below = state.plan().and_then(|plan| plan.left());
    let column = below.and_then(|plan| plan.targets().get(payload as usize - 1));
    let value = column.and_then(|column| column.expression()?.cast::<pg_sys::Const>());
    let triggers = relation.triggers();
    let lacks = state.operation == pg_sys::CmdType::CMD_INSERT
        && !triggers.is_some_and(|triggers| triggers.trig_insert_before_row)
        && value.is_some_and(|value| value.constisnull);
    match lacks {
        true => Err(error(layout)),
        false => Ok(()),
    }
}

fn error(layout: &Layout) -> Error {
    Error::Statement(StatementError::NoValue {
        columns: vec![Column::Payload.name().to_owned()],
        table: layout.table.clone(),
        reason: NoValueReason::LeftOut,
        has_invoked: false,
    })
}

/// Errors if a row lacks the payload that the statement leaves out. A trigger may have set it.
pub fn refuse(
    payload: i16,
    slot: Slot,
    state: ModifyTableState,
    layout: &Layout,
) -> Result<(), Error> {
    // An UPDATE moves a row to another partition that was a row before.
    let inserts = match state.operation {
        pg_sys::CmdType::CMD_INSERT => true,
        _ => compat::merge_action(state) == Some(pg_sys::CmdType::CMD_INSERT),
    };
    slot.deform();
    match inserts && slot.get(payload).is_none() {
        true => Err(error(layout)),
        false => Ok(()),
    }
}
