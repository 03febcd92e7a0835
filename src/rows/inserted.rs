//! The rows that a statement inserts into a foreign table: checked, and made into inputs of invocations.

use super::checks::Checks;
use super::missing_payload;
use super::values::{self, Value};
use crate::backend::config::Config;
use crate::columns::{Column, Layout};
use crate::dispatch::Dispatch;
use crate::error::{Error, StatementError};
use crate::lambda::request::Inputs;
use crate::options::OnError;
use crate::plan::clause::value_type;
use crate::postgres::refs::Ref;
use crate::postgres::{compat, slots};
use pgrx::pg_sys;

/// The invocation type of a row that has none, where the table's options have none either.
const DEFAULT_TYPE: &str = "Event";

/// The rows of one foreign table that a statement inserts.
pub struct InsertedRows {
    /// The columns of the table.
    pub layout: Layout,
    table: pg_sys::Oid,
    user: pg_sys::Oid,
    estate: *mut pg_sys::EState,
    relation: *mut pg_sys::ResultRelInfo,
    /// The statement's node.
    state: *mut pg_sys::ModifyTableState,
    /// What is checked of a row before it is sent. Made when the first row comes, as `are_read` is.
    checks: Option<Checks>,
    are_read: Option<bool>,
    /// The payload's number, if the statement leaves the column out.
    missing_payload: Option<i16>,
}

impl InsertedRows {
    /// Prepares for rows of a statement that is about to insert.
    ///
    /// # Safety
    /// `state` and `relation` are being initialised, and the relation is open.
    pub unsafe fn begin(
        state: *mut pg_sys::ModifyTableState,
        relation: *mut pg_sys::ResultRelInfo,
    ) -> Result<InsertedRows, Error> {
        // SAFETY: the relation is open, and the node has a query.
        unsafe {
            let estate = (*state).ps.state;
            let layout = Layout::read(Ref::new((*relation).ri_RelationDesc))?;
            Ok(InsertedRows {
                table: (*(*relation).ri_RelationDesc).rd_id,
                user: compat::insert_user(
                    crate::postgres::refs::Ref::new(estate),
                    crate::postgres::refs::Ref::new(relation),
                ),
                estate,
                relation,
                state,
                checks: None,
                are_read: None,
                missing_payload: missing_payload::number(relation, estate, &layout),
                layout,
            })
        }
    }

    /// Errors if all rows are going to lack a payload that the statement leaves out.
    ///
    /// # Safety
    /// Called while the statement begins, before its source is read.
    pub unsafe fn refuse_without_payload(&self) -> Result<(), Error> {
        match self.missing_payload {
            // SAFETY: node and relation are initialised.
            Some(payload) => unsafe {
                missing_payload::refuse_all(payload, self.relation, self.state, &self.layout)
            },
            None => Ok(()),
        }
    }

    /// Prepares the invocations, made as fast as `node` is asked for rows; null where rows come from elsewhere.
    ///
    /// # Safety
    /// Called while the statement runs.
    pub unsafe fn dispatch(&mut self, node: *mut pg_sys::PlanState) -> Result<Dispatch, Error> {
        // SAFETY: the executor runs in a transaction.
        unsafe {
            let are_read = self.are_read();
            let mut config = Config::read(self.table, self.user)?;
            if (*self.relation).ri_projectReturning.is_null() {
                // Nobody would see a row that tells of the failure.
                config.on_error = OnError::Raise;
            }
            self.layout.check_failure_columns(config.on_error)?;
            Ok(Dispatch::new(
                self.table,
                config,
                crate::postgres::refs::Ref::new(self.estate),
                crate::postgres::refs::FromRaw::from_raw(node),
                are_read,
            ))
        }
    }

    /// Whether RETURNING, a trigger or a view's check reads a row once it is inserted.
    ///
    /// # Safety
    /// Called while the statement runs.
    pub unsafe fn are_read(&mut self) -> bool {
        if let Some(are_read) = self.are_read {
            return are_read;
        }
        // SAFETY: PostgreSQL has initialised all of these before the first row.
        let are_read = unsafe {
            let before = pg_sys::MemoryContextSwitchTo((*self.estate).es_query_cxt);
            self.checks = Checks::take(self.relation, self.state, &self.layout);
            pg_sys::MemoryContextSwitchTo(before);
            let relation = &*self.relation;
            !relation.ri_projectReturning.is_null()
                || !relation.ri_WithCheckOptions.is_null()
                || (relation.ri_TrigDesc.as_ref())
                    .is_some_and(|triggers| triggers.trig_insert_after_row)
        };
        *self.are_read.insert(are_read)
    }

    /// Refuses a row that may not be inserted, with PostgreSQL's error or one of ours.
    ///
    /// # Safety
    /// Called while the statement runs; the slot has a row of the table.
    pub unsafe fn check(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<(), Error> {
        // SAFETY: the slot has a row of the table.
        unsafe {
            self.are_read();
            if let Some(checks) = &mut self.checks {
                checks.make(slot, self.estate);
            }
            match self.missing_payload {
                Some(payload) => missing_payload::refuse(payload, slot, self.state, &self.layout),
                None => Ok(()),
            }
        }
    }

    /// The inputs that a row holds. A null is a value that was not given, and the table's option stands in for it.
    ///
    /// Errors if the row has a value in an output column, or another value than the table's option.
    ///
    /// # Safety
    /// The slot has a row of the table. Memory is taken from the current context.
    pub unsafe fn inputs(
        &self,
        fixed: &Inputs,
        slot: *mut pg_sys::TupleTableSlot,
    ) -> Result<Inputs, Error> {
        let mut inputs = fixed.clone();
        // SAFETY: the slot has a value for each column of the table.
        unsafe { slots::deform(slot) };
        for attribute in &self.layout.attributes {
            let index = attribute.number as usize - 1;
            // SAFETY: the slot is deformed. The types of input columns were checked: they are of variable length.
            let value = unsafe {
                if *(*slot).tts_isnull.add(index) {
                    continue;
                }
                if !attribute.column.is_input() {
                    return Err(Error::Statement(StatementError::OutputColumn {
                        column: attribute.column.name(),
                        table: self.layout.table.clone(),
                    }));
                }
                let datum = *(*slot).tts_values.add(index);
                if attribute.column == Column::Payload {
                    let most = fixed.most_payload();
                    inputs.too_large = values::too_large(datum, value_type(attribute), most);
                    if inputs.too_large.is_some() {
                        continue;
                    }
                }
                let whole = values::copy(datum);
                values::print(&Value::borrowed(whole), value_type(attribute))?
            };
            match (fixed.get(attribute.column), &value) {
                (Some(fixed), Some(value)) if fixed.as_bytes() != value.as_slice() => {
                    return Err(Error::Statement(StatementError::FixedColumn {
                        column: attribute.column.name(),
                        value: Inputs::word(value.clone()),
                        fixed: fixed.to_owned(),
                    }));
                }
                _ => inputs.set(attribute.column, value),
            }
        }
        if inputs.invocation_type.is_none() {
            inputs.set(Column::InvocationType, Some(DEFAULT_TYPE.into()));
        }
        Ok(inputs)
    }
}
