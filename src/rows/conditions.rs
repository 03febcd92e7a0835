//! What is checked of values before they are invoked: conditions that read nothing of the answer.
//!
//! A condition on one column narrows the column's values; one on several is checked with each combination.

use super::invocation_set::List;
use super::{new_context, values};
use crate::columns::{Column, Layout};
use crate::error::Error;
use crate::postgres::slots;
use pgrx::pg_sys;

/// Conditions of a scan, ready to be checked.
pub struct Conditions {
    /// Whether they may be true of other values later, for the same lists.
    pub may_change: bool,
    all: Vec<Condition>,
    /// Where they look for the input columns, by number.
    slot: *mut pg_sys::TupleTableSlot,
    inputs: Vec<(Column, i16)>,
    /// Holds what is made by one check.
    context: pg_sys::MemoryContext,
}

struct Condition {
    state: *mut pg_sys::ExprState,
    /// The input columns that it reads.
    reads: Vec<Column>,
}

/// Which value of each list a combination has.
pub type Digits = [usize; Column::INPUTS.len()];

/// The combinations that are invoked.
pub struct Choice {
    /// Of each list, which values.
    values: Vec<Values>,
    /// Of the combinations of these, which, if not all.
    passing: Option<Vec<usize>>,
}

enum Values {
    /// So many.
    All(usize),
    Some(Vec<usize>),
}

impl Choice {
    /// All combinations. Without lists there is one.
    pub fn all(lists: &[List]) -> Choice {
        Choice {
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
                .map(|place| self.length(place) as u64)
                .fold(1, u64::saturating_mul),
        }
    }

    /// The values of one, counted from 0; that of the last list varies fastest.
    pub fn digits(&self, number: u64) -> Digits {
        let mut rest = match &self.passing {
            Some(passing) => passing[number as usize] as u64,
            None => number,
        };
        let mut digits = [0; Column::INPUTS.len()];
        for place in (0..self.values.len()).rev() {
            let length = self.length(place) as u64;
            digits[place] = self.value(place, (rest % length) as usize);
            rest /= length;
        }
        digits
    }

    fn length(&self, place: usize) -> usize {
        match &self.values[place] {
            Values::All(length) => *length,
            Values::Some(values) => values.len(),
        }
    }

    fn value(&self, place: usize, number: usize) -> usize {
        match &self.values[place] {
            Values::All(_) => number,
            Values::Some(values) => values[number],
        }
    }
}

/// The input columns of a table, with their numbers in the row that conditions look at.
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

    /// Prepares them in the current memory context. They look at `slot`, whose columns have the table number `varno` in them.
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
        // SAFETY: see above.
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

    /// Chooses the combinations for which all conditions are true.
    ///
    /// # Safety
    /// `econtext` is that of the conditions, with the outer row that they are about.
    pub unsafe fn choose(
        &self,
        lists: &[List],
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<Choice, Error> {
        let mut choice = Choice::all(lists);
        if self.all.is_empty() || choice.count() == 0 {
            return Ok(choice);
        }
        // SAFETY: see above. What one check makes is gone with the next.
        unsafe {
            if slots::is_empty(self.slot) {
                pg_sys::ExecStoreAllNullTuple(self.slot);
            }
            (*econtext).ecxt_scantuple = self.slot;
            let memory = (*econtext).ecxt_per_tuple_memory;
            (*econtext).ecxt_per_tuple_memory = self.context;
            let checked = self.narrow(lists, &mut choice, econtext);
            (*econtext).ecxt_per_tuple_memory = memory;
            pg_sys::MemoryContextReset(self.context);
            checked.map(|()| choice)
        }
    }

    unsafe fn narrow(
        &self,
        lists: &[List],
        choice: &mut Choice,
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<(), Error> {
        let mut rest = &self.all[..];
        while let Some((condition, others)) = rest.split_first() {
            let varies = |place: &usize| {
                choice.length(*place) > 1 && condition.reads.contains(&lists[*place].column)
            };
            let mut varying = (0..lists.len()).filter(varies);
            let (column, another) = (varying.next(), varying.next());
            if another.is_some() {
                break;
            }
            let mut digits = choice.digits(0);
            let mut kept = Vec::new();
            for number in 0..column.map_or(1, |place| choice.length(place)) {
                if let Some(place) = column {
                    digits[place] = choice.value(place, number);
                }
                // SAFETY: the caller's.
                if unsafe {
                    self.are_true(std::slice::from_ref(condition), lists, digits, econtext)?
                } {
                    kept.push(column.map_or(0, |place| digits[place]));
                }
            }
            match column {
                _ if kept.is_empty() => {
                    choice.passing = Some(kept);
                    return Ok(());
                }
                Some(place) => choice.values[place] = Values::Some(kept),
                None => (),
            }
            rest = others;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let mut passing = Vec::new();
        for combination in 0..choice.count() {
            let digits = choice.digits(combination);
            // SAFETY: the caller's.
            if unsafe { self.are_true(rest, lists, digits, econtext)? } {
                let room = passing.try_reserve(1);
                room.map_err(|_| Error::OutOfMemory {
                    what: "list of combinations",
                    bytes: passing.len() * size_of::<usize>() * 2,
                })?;
                passing.push(combination as usize);
            }
        }
        choice.passing = Some(passing);
        Ok(())
    }

    /// Whether conditions are true of a combination.
    unsafe fn are_true(
        &self,
        conditions: &[Condition],
        lists: &[List],
        digits: Digits,
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<bool, Error> {
        pgrx::check_for_interrupts!();
        // SAFETY: the slot has a place for each input column.
        unsafe {
            for (column, number) in &self.inputs {
                let list = lists.iter().position(|list| list.column == *column);
                let datum = list.and_then(|place| lists[place].values[digits[place]].datum);
                let place = *number as usize - 1;
                *(*self.slot).tts_values.add(place) = datum.unwrap_or(pg_sys::Datum::null());
                *(*self.slot).tts_isnull.add(place) = datum.is_none();
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
