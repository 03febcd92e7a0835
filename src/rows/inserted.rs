//! The rows that a statement inserts into a foreign table: checked, and made into inputs of invocations.

use super::checks::Checks;
use super::missing_payload;
use super::payload::{InputColumns, PrintedFields};
use super::values::Value;
use crate::backend::config::Config;
use crate::columns::{Attribute, Column, Layout};
use crate::dispatch::Dispatch;
use crate::error::{Error, StatementError};
use crate::fields::Part;
use crate::lambda::request::Inputs;
use crate::options::OnError;
use crate::plan::clause::value_type;
use crate::postgres::compat;
use crate::postgres::executor::{EState, ModifyTableState, ResultRel};
use crate::postgres::plans::PlanState;
use crate::postgres::refs::Ref;
use crate::postgres::slots::Slot;
use crate::postgres::varlena::Toasted;
use pgrx::pg_sys;
use std::rc::Rc;

/// The invocation type of a row that has none, where the table's options have none either.
const DEFAULT_TYPE: &str = "Event";

/// The rows of one foreign table that a statement inserts.
pub struct InsertedRows {
    /// The columns of the table.
    pub layout: Rc<Layout>,
    columns: InputColumns,
    table: pg_sys::Oid,
    user: pg_sys::Oid,
    estate: EState<'static>,
    relation: ResultRel<'static>,
    /// The statement's node.
    state: ModifyTableState<'static>,
    /// What is checked of a row before it is sent. Made when the first row comes, as `are_read` is.
    checks: Option<Checks>,
    are_read: Option<bool>,
    /// The payload's number, if the statement leaves the column out.
    missing_payload: Option<i16>,
}

impl InsertedRows {
    /// Prepares for rows of a statement that is about to insert. Node and relation are being initialised.
    pub fn begin(
        state: ModifyTableState<'static>,
        relation: ResultRel<'static>,
    ) -> Result<InsertedRows, Error> {
        let estate = state.estate();
        let layout = Rc::new(Layout::read(relation.table())?);
        Ok(InsertedRows {
            table: relation.table().rd_id,
            user: compat::insert_user(estate, relation),
            estate,
            relation,
            state,
            checks: None,
            are_read: None,
            missing_payload: missing_payload::number(relation, estate, &layout),
            columns: InputColumns::new(&layout, |_| false, estate.query_context()),
            layout,
        })
    }

    /// Errors if all rows are going to lack a payload that the statement leaves out. Called while the statement begins, before its source is read.
    pub fn refuse_without_payload(&self) -> Result<(), Error> {
        match self.missing_payload {
            Some(payload) => {
                missing_payload::refuse_all(payload, self.relation, self.state, &self.layout)
            }
            None => Ok(()),
        }
    }

    /// The foreign table.
    pub fn table(&self) -> pg_sys::Oid {
        self.table
    }

    /// Prepares the invocations, made as fast as `node` is asked for rows; `None` where rows come from elsewhere.
    pub fn dispatch(&mut self, node: Option<PlanState<'static>>) -> Result<Dispatch, Error> {
        let are_read = self.are_read();
        let mut config = Config::read(self.table, self.user)?;
        if self.relation.ri_projectReturning.is_null() {
            // Nobody would see a row that tells of the failure.
            config.on_error = OnError::Raise;
        }
        self.layout.check_failure_columns(config.on_error)?;
        Ok(Dispatch::new(
            self.table,
            config,
            self.estate,
            node,
            are_read,
        ))
    }

    /// Whether RETURNING, a trigger or a view's check reads a row once it is inserted. PostgreSQL has initialised all of these before the first
    /// row, and not before the statement runs.
    pub fn are_read(&mut self) -> bool {
        if let Some(are_read) = self.are_read {
            return are_read;
        }
        let relation = self.relation;
        let take = || Checks::take(relation, self.state, &self.layout);
        self.checks = self.estate.query_context().switch_to(take);
        let are_read = !relation.ri_projectReturning.is_null()
            || !relation.ri_WithCheckOptions.is_null()
            || (relation.triggers()).is_some_and(|triggers| triggers.trig_insert_after_row);
        *self.are_read.insert(are_read)
    }

    /// The columns that are read of a row once it is inserted; `None` for all of them. PostgreSQL knows them when the first row comes.
    pub fn columns_read(relation: ResultRel) -> Option<Vec<i32>> {
        let reads_all = |triggers: Ref<pg_sys::TriggerDesc>| triggers.trig_insert_after_row;
        if !relation.ri_WithCheckOptions.is_null() || relation.triggers().is_some_and(reads_all) {
            return None;
        }
        let targets = relation.returning()?;
        // In a partition the numbers are those of its own columns, and the relation is that of the statement.
        let columns: Vec<i32> = (targets.relids_in_plan().iter())
            .flat_map(|table| targets.columns(table as pg_sys::Index))
            .collect();
        (!columns.contains(&0)).then_some(columns)
    }

    /// Refuses a row of the table that may not be inserted, with PostgreSQL's error or one of ours.
    pub fn check(&mut self, slot: Slot) -> Result<(), Error> {
        self.are_read();
        if let Some(checks) = &self.checks {
            checks.make(slot, self.estate);
        }
        match self.missing_payload {
            Some(payload) => missing_payload::refuse(payload, slot, self.state, &self.layout),
            None => Ok(()),
        }
    }

    /// The inputs that a row of the table holds. A null is a value that was not given, and the table's option stands in for it. Memory is taken
    /// from the current context.
    ///
    /// Errors if the row has a value in an output column, or another value than the table's option.
    pub fn inputs(&self, fixed: &Inputs, slot: Slot) -> Result<Inputs, Error> {
        let mut inputs = fixed.clone();
        let mut fields = PrintedFields::new();
        slot.deform();
        for attribute in &self.layout.attributes {
            let datum = slot.get(attribute.number);
            if attribute.column.part() == Some(Part::Payload) {
                fields.extend(self.field(attribute, datum)?);
                continue;
            }
            let Some(datum) = datum else {
                continue;
            };
            let name = || self.layout.name(attribute.column).to_owned();
            if !attribute.column.is_input() {
                return Err(Error::Statement(StatementError::OutputColumn {
                    column: name(),
                    table: self.layout.table.clone(),
                }));
            }
            // SAFETY: the row is one of the table, and the types of its input columns were checked.
            let value = unsafe { Toasted::new(datum, value_type(attribute)) };
            if attribute.column == Column::Payload {
                inputs.too_large = value.longer_than(fixed.most_payload());
                if inputs.too_large.is_some() {
                    continue;
                }
            }
            let value = value.copy().print()?;
            match fixed.get(attribute.column) {
                Some(fixed) if fixed.as_bytes() != value.as_slice() => {
                    return Err(Error::Statement(StatementError::FixedColumn {
                        column: attribute.column.name(),
                        value: Inputs::word(value).to_string(),
                        fixed: fixed.to_owned(),
                    }));
                }
                _ => inputs.set(attribute.column, Some(value)),
            }
        }
        self.set_payload(&mut inputs, fields)?;
        if inputs.invocation_type.is_none() {
            inputs.set(Column::InvocationType, Some(DEFAULT_TYPE.into()));
        }
        Ok(inputs)
    }

    /// A field of the payload, printed. A null that the statement does not name is left out.
    fn field(
        &self,
        attribute: &Attribute,
        datum: Option<pg_sys::Datum>,
    ) -> Result<Option<(Column, Vec<u8>)>, Error> {
        let column = attribute.column;
        let value = match datum {
            None if attribute.is_required => return Ok(None),
            None if !self.relation.names_column(self.estate, attribute.number) => return Ok(None),
            None => Value::NULL,
            // SAFETY: the row is one of the table, whose column has the type.
            Some(datum) => Value::of_row(unsafe { Toasted::new(datum, attribute.base_type) }),
        };
        Ok(Some((column, self.columns.print(column, &value)?)))
    }

    /// Makes the payload of its fields, if the row does not have it as a whole.
    fn set_payload(&self, inputs: &mut Inputs, fields: PrintedFields) -> Result<(), Error> {
        let has_whole = inputs.payload.is_some() || inputs.too_large.is_some();
        let given = fields.iter().find(|(_, printed)| printed != b"null");
        match given {
            Some((column, _)) if has_whole => Err(Error::Statement(StatementError::TwoPayloads {
                column: self.layout.name(*column).to_owned(),
                table: self.layout.table.clone(),
            })),
            _ if has_whole => Ok(()),
            _ => {
                let is_missing = |attribute: &&Attribute| {
                    let mut given = fields.iter().map(|(column, _)| *column);
                    attribute.is_required && !given.any(|column| column == attribute.column)
                };
                if let Some(missing) = self.layout.attributes.iter().find(is_missing) {
                    return Err(Error::Statement(StatementError::NullField {
                        column: self.layout.name(missing.column).to_owned(),
                        table: self.layout.table.clone(),
                    }));
                }
                let payload = self.columns.payload(&fields, inputs.are_arguments)?;
                inputs.payload = payload.or(inputs.payload.take());
                Ok(())
            }
        }
    }
}
