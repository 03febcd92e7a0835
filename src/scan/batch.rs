//! The invocations of one set of parameters: one for each combination of values, made as rows are asked for.

use super::values::{self, Value};
use crate::backend::config::Config;
use crate::backend::{self, wait};
use crate::columns::Column;
use crate::error::Error;
use crate::lambda::InvokeResponse;
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::plan::clause::{Binding, value_type};
use pgrx::pg_sys;

/// An input column with values.
struct List {
    column: Column,
    /// The type of the values: text or jsonb.
    value_type: pg_sys::Oid,
    values: Vec<Value>,
}

/// What a scan invokes until its parameters change.
pub struct Batch {
    lists: Vec<List>,
    /// Values that options fix, for columns that the table does not have.
    fixed: Inputs,
    /// How many combinations of values there are.
    combinations: u64,
    /// What came back, in the order of the combinations, kept for rescans.
    responses: Vec<InvokeResponse>,
    /// The combination that the next row is made of.
    next: u64,
}

impl Batch {
    /// No invocations.
    pub fn empty() -> Batch {
        Batch {
            lists: Vec::new(),
            fixed: Inputs::default(),
            combinations: 0,
            responses: Vec::new(),
            next: 0,
        }
    }

    /// Whether there is nothing to invoke.
    pub fn is_empty(&self) -> bool {
        self.combinations == 0
    }

    /// Evaluates the bindings into the current memory context, which outlives the batch.
    ///
    /// # Safety
    /// `states` are the initialised expressions of the bindings, and `econtext` is the scan's.
    pub unsafe fn new(
        fixed: &Inputs,
        bindings: &[Binding],
        states: &[*mut pg_sys::ExprState],
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<Batch, Error> {
        let mut lists = Vec::new();
        for column in Column::INPUTS {
            let mut values = fixed.get(column).map(|text| vec![values::from_text(text)]);
            let mut kept_type = pg_sys::TEXTOID;
            for (binding, state) in bindings.iter().zip(states) {
                if binding.attribute.column == column {
                    kept_type = value_type(&binding.attribute);
                    // SAFETY: the state is that of the binding.
                    let by = unsafe { values::evaluate(binding, *state, econtext)? };
                    values = Some(values::narrow(binding, values, by));
                }
            }
            if let Some(values) = values {
                lists.push(List {
                    column,
                    value_type: kept_type,
                    values,
                });
            }
        }
        Ok(Batch {
            combinations: lists
                .iter()
                .map(|list| list.values.len() as u64)
                .fold(1, u64::saturating_mul),
            lists,
            fixed: fixed.clone(),
            responses: Vec::new(),
            next: 0,
        })
    }

    /// Goes to the next combination and sees to it that its response is there, which invokes unless that was done
    /// before a rescan. `None` after the last one.
    pub fn advance(
        &mut self,
        config: &Config,
        keep_payload: bool,
        invocations: &mut u64,
    ) -> Result<Option<u64>, Error> {
        if self.next >= self.combinations {
            return Ok(None);
        }
        let place = self.next;
        if place == self.responses.len() as u64 {
            let request = InvokeRequest::new(self.inputs(place))?;
            let mut flight = backend::invoke(config, request)?;
            *invocations += 1;
            let mut response = wait::wait_for(&mut flight)??;
            if !keep_payload {
                response.payload = None;
            }
            self.responses.push(response);
        }
        self.next += 1;
        Ok(Some(place))
    }

    /// Goes back to before the first combination.
    pub fn start_over(&mut self) {
        self.next = 0;
    }

    /// The response of a combination that `advance` gave.
    pub fn response(&self, place: u64) -> &InvokeResponse {
        &self.responses[place as usize]
    }

    /// The values of a combination; the last column varies fastest.
    pub fn combination(&self, place: u64) -> impl Iterator<Item = (Column, &Value)> {
        self.chosen(place).map(|(list, value)| (list.column, value))
    }

    fn chosen(&self, place: u64) -> impl Iterator<Item = (&List, &Value)> {
        let mut rest = place;
        self.lists.iter().rev().map(move |list| {
            let length = list.values.len() as u64;
            let value = &list.values[(rest % length) as usize];
            rest /= length;
            (list, value)
        })
    }

    fn inputs(&self, place: u64) -> Inputs {
        let mut inputs = self.fixed.clone();
        for (list, value) in self.chosen(place) {
            // SAFETY: the values are of the list's type, and in the batch's memory context.
            inputs.set(list.column, unsafe {
                values::print(value, list.value_type)
            });
        }
        inputs
    }
}

impl Inputs {
    /// The value of an input column; the payload, being bytes, has none here.
    pub fn get(&self, column: Column) -> Option<&str> {
        match column {
            Column::FunctionName => self.function_name.as_deref(),
            Column::Region => self.region.as_deref(),
            Column::Qualifier => self.qualifier.as_deref(),
            Column::InvocationType => self.invocation_type.as_deref(),
            Column::LogType => self.log_type.as_deref(),
            Column::Context => self.context.as_deref(),
            _ => None,
        }
    }

    fn set(&mut self, column: Column, value: Option<Vec<u8>>) {
        if column == Column::Payload {
            self.payload = value;
            return;
        }
        let text = value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        match column {
            Column::FunctionName => self.function_name = text,
            Column::Region => self.region = text,
            Column::Qualifier => self.qualifier = text,
            Column::InvocationType => self.invocation_type = text,
            Column::LogType => self.log_type = text,
            Column::Context => self.context = text,
            _ => (),
        }
    }
}
