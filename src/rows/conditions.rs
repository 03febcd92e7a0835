//! Conditions that are checked before an invocation: they read input columns alone.
//!
//! A condition on one column narrows the column's values. A condition on several is checked with each combination of values.

use super::lists::List;
use super::{new_context, values};
use crate::columns::{Column, Layout};
use crate::error::Error;
use crate::postgres::slots;
use pgrx::pg_sys;

/// Conditions of a scan, ready to be checked.
pub struct Conditions {
    /// Whether a rescan may change which of the same values they select.
    pub may_change: bool,
    all: Vec<Condition>,
    /// The row that they read.
    slot: *mut pg_sys::TupleTableSlot,
    /// The input columns with their numbers in that row.
    inputs: Vec<(Column, i16)>,
    /// Holds what one check allocates.
    context: pg_sys::MemoryContext,
}

struct Condition {
    state: *mut pg_sys::ExprState,
    /// The input columns that it reads.
    reads: Vec<Column>,
}

/// The value of each list that a combination has, by its index.
pub type ValueIndexes = [usize; Column::INPUTS.len()];

/// The combinations of values that are invoked.
pub struct Selection {
    /// The values of each list.
    values: Vec<Values>,
    /// The indexes of the combinations of these values that are invoked; `None` is all.
    passing: Option<Vec<usize>>,
}

enum Values {
    /// All, of which there are so many.
    All(usize),
    /// Those with these indexes.
    Some(Vec<usize>),
}

impl Selection {
    /// All combinations. Without lists there is one.
    pub fn all(lists: &[List]) -> Selection {
        Selection {
            values: (lists.iter())
                .map(|list| Values::All(list.values.len()))
                .collect(),
            passing: None,
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        match &self.passing {
            Some(passing) => passing.len() as u64,
            None => (0..self.values.len())
                .map(|list| self.length(list) as u64)
                .fold(1, u64::saturating_mul),
        }
    }

    /// The values of the combination with an index. The value of the last list varies fastest.
    pub fn value_indexes(&self, index: u64) -> ValueIndexes {
        let mut rest = match &self.passing {
            Some(passing) => passing[index as usize] as u64,
            None => index,
        };
        let mut value_indexes = [0; Column::INPUTS.len()];
        for list in (0..self.values.len()).rev() {
            let length = self.length(list) as u64;
            value_indexes[list] = self.value(list, (rest % length) as usize);
            rest /= length;
        }
        value_indexes
    }

    fn length(&self, list: usize) -> usize {
        match &self.values[list] {
            Values::All(length) => *length,
            Values::Some(values) => values.len(),
        }
    }

    fn value(&self, list: usize, index: usize) -> usize {
        match &self.values[list] {
            Values::All(_) => index,
            Values::Some(values) => values[index],
        }
    }
}

/// The input columns of a table, with their numbers in its rows.
pub fn inputs(layout: &Layout) -> Vec<(Column, i16)> {
    (layout.attributes.iter())
        .filter(|attribute| attribute.column.is_input())
        .map(|attribute| (attribute.column, attribute.number))
        .collect()
}

impl Conditions {
    /// Whether any reads a column.
    pub fn read(&self, column: Column) -> bool {
        self.all
            .iter()
            .any(|condition| condition.reads.contains(&column))
    }

    /// Prepares them in the current memory context. They read the row in `slot`, whose table they know as `varno`.
    ///
    /// # Safety
    /// `expressions` are of the plan of `parent`, which is being initialised.
    pub unsafe fn new(
        expressions: &[*mut pg_sys::Node],
        parent: *mut pg_sys::PlanState,
        slot: *mut pg_sys::TupleTableSlot,
        varno: pg_sys::Index,
        inputs: Vec<(Column, i16)>,
    ) -> Conditions {
        // SAFETY: the expressions are of the plan of `parent`.
        let all = unsafe {
            (expressions.iter())
                .map(|expression| {
                    let mut numbers = std::ptr::null_mut();
                    pg_sys::pull_varattnos(*expression, varno, &mut numbers);
                    let is_read = |number: i16| {
                        let member = i32::from(number) - pg_sys::FirstLowInvalidHeapAttributeNumber;
                        pg_sys::bms_is_member(member, numbers)
                    };
                    Condition {
                        state: pg_sys::ExecInitExpr(expression.cast(), parent),
                        reads: (inputs.iter())
                            .filter(|(_, number)| is_read(*number))
                            .map(|(column, _)| *column)
                            .collect(),
                    }
                })
                .collect()
        };
        Conditions {
            may_change: false,
            all,
            slot,
            inputs,
            // SAFETY: a child of the context that the conditions are in.
            context: unsafe { new_context(pg_sys::CurrentMemoryContext) },
        }
    }

    /// Selects the combinations for which all conditions are true.
    ///
    /// # Safety
    /// `econtext` is that of the conditions, with the outer row that they are about.
    pub unsafe fn select(
        &self,
        lists: &[List],
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<Selection, Error> {
        let mut selection = Selection::all(lists);
        if self.all.is_empty() || selection.count() == 0 {
            return Ok(selection);
        }
        // SAFETY: the context is that of the conditions. Each check frees what the one before has allocated.
        unsafe {
            if slots::is_empty(self.slot) {
                pg_sys::ExecStoreAllNullTuple(self.slot);
            }
            (*econtext).ecxt_scantuple = self.slot;
            let memory = (*econtext).ecxt_per_tuple_memory;
            (*econtext).ecxt_per_tuple_memory = self.context;
            let checked = self.narrow(lists, &mut selection, econtext);
            (*econtext).ecxt_per_tuple_memory = memory;
            pg_sys::MemoryContextReset(self.context);
            checked.map(|()| selection)
        }
    }

    /// Narrows the values of single columns first, and then the combinations.
    unsafe fn narrow(
        &self,
        lists: &[List],
        selection: &mut Selection,
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<(), Error> {
        let mut rest = &self.all[..];
        while let Some((condition, others)) = rest.split_first() {
            let varies = |list: &usize| {
                selection.length(*list) > 1 && condition.reads.contains(&lists[*list].column)
            };
            let mut varying = (0..lists.len()).filter(varies);
            let (column, another) = (varying.next(), varying.next());
            if another.is_some() {
                break;
            }
            // SAFETY: the context is that of the conditions.
            let values = unsafe { self.values(condition, lists, selection, column, econtext)? };
            match column {
                _ if values.is_empty() => {
                    selection.passing = Some(values);
                    return Ok(());
                }
                Some(list) => selection.values[list] = Values::Some(values),
                None => (),
            }
            rest = others;
        }
        if !rest.is_empty() {
            // SAFETY: the context is that of the conditions.
            selection.passing = Some(unsafe { self.passing(rest, lists, selection, econtext)? });
        }
        Ok(())
    }

    /// The values of a list for which a condition is true, by their indexes. Without a list, 0 if the condition is true.
    unsafe fn values(
        &self,
        condition: &Condition,
        lists: &[List],
        selection: &Selection,
        list: Option<usize>,
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<Vec<usize>, Error> {
        let mut value_indexes = selection.value_indexes(0);
        let mut values = Vec::new();
        for index in 0..list.map_or(1, |list| selection.length(list)) {
            if let Some(list) = list {
                value_indexes[list] = selection.value(list, index);
            }
            let condition = std::slice::from_ref(condition);
            // SAFETY: the context is that of the conditions.
            if unsafe { self.are_true(condition, lists, value_indexes, econtext)? } {
                values.push(list.map_or(0, |list| value_indexes[list]));
            }
        }
        Ok(values)
    }

    /// The combinations for which conditions are true, by their indexes.
    unsafe fn passing(
        &self,
        conditions: &[Condition],
        lists: &[List],
        selection: &Selection,
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<Vec<usize>, Error> {
        let mut passing = Vec::new();
        for index in 0..selection.count() {
            let value_indexes = selection.value_indexes(index);
            // SAFETY: the context is that of the conditions.
            if unsafe { self.are_true(conditions, lists, value_indexes, econtext)? } {
                let room = passing.try_reserve(1);
                room.map_err(|_| Error::OutOfMemory {
                    what: "list of combinations",
                    bytes: passing.len() * size_of::<usize>() * 2,
                })?;
                passing.push(index as usize);
            }
        }
        Ok(passing)
    }

    /// Whether conditions are true of a combination.
    unsafe fn are_true(
        &self,
        conditions: &[Condition],
        lists: &[List],
        value_indexes: ValueIndexes,
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<bool, Error> {
        pgrx::check_for_interrupts!();
        // SAFETY: the slot has a value for each input column.
        unsafe {
            for (column, number) in &self.inputs {
                let list = lists.iter().position(|list| list.column == *column);
                let datum = list.and_then(|list| lists[list].values[value_indexes[list]].datum);
                let position = *number as usize - 1;
                *(*self.slot).tts_values.add(position) = datum.unwrap_or(pg_sys::Datum::null());
                *(*self.slot).tts_isnull.add(position) = datum.is_none();
            }
            pg_sys::MemoryContextReset(self.context);
            for condition in conditions {
                if !values::is_true(condition.state, econtext)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}
