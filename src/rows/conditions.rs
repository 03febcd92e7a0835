//! Conditions that are checked before an invocation: they read input columns alone.
//!
//! A condition on one column narrows the column's values. A condition on several is checked with each combination of values.

use super::lists::List;
use crate::columns::{Column, Layout};
use crate::error::Error;
use crate::postgres::executor::{ExprContext, Expression};
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::plans::PlanState;
use crate::postgres::refs::Node;
use crate::postgres::slots::Slot;
use crate::postgres::varlena::Varlena;
use pgrx::pg_sys;
use smallvec::SmallVec;

/// Conditions of a scan, ready to be checked.
pub struct Conditions {
    /// Whether a rescan may change which of the same values they select.
    pub may_change: bool,
    all: Vec<Condition>,
    /// What they are evaluated with, which has the outer row that they are about.
    econtext: ExprContext<'static>,
    /// The row that they read.
    slot: Slot<'static>,
    /// The input columns with their numbers in that row.
    inputs: Vec<(Column, i16)>,
    /// Holds what one check allocates.
    context: MemoryContext<'static>,
}

struct Condition {
    expression: Expression<'static>,
    /// The input columns that it reads.
    reads: Vec<Column>,
}

/// The combinations of values that are invoked.
#[derive(Default)]
pub struct Selection {
    lists: SmallVec<[Selected; 1]>,
    /// The indexes of the combinations of these values that are invoked; `None` is all.
    passing: Option<Vec<usize>>,
}

/// The values of a list.
struct Selected {
    values: Values,
    /// How many combinations in a row have the same one of them. A `u64` that can't hold it has its largest value, which no index reaches.
    stride: u64,
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
        let selected = |list: &List| Selected {
            values: Values::All(list.values.len()),
            stride: 1,
        };
        let mut selection = Selection {
            lists: lists.iter().map(selected).collect(),
            passing: None,
        };
        selection.set_strides();
        selection
    }

    fn set_strides(&mut self) {
        let mut stride = 1;
        for list in self.lists.iter_mut().rev() {
            list.stride = stride;
            stride = stride.saturating_mul(list.len() as u64);
        }
    }

    /// Leaves a list out that has one value.
    pub fn forget(&mut self, list: usize) {
        self.lists.remove(list);
    }

    fn narrow(&mut self, list: usize, values: Vec<usize>) {
        self.lists[list].values = Values::Some(values);
        self.set_strides();
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        match &self.passing {
            Some(passing) => passing.len() as u64,
            None => (self.lists.first())
                .map_or(1, |first| first.stride.saturating_mul(first.len() as u64)),
        }
    }

    /// The value of each list that the combination with an index has, by its index. The value of the last list varies fastest.
    pub fn value_indexes(&self, index: u64) -> impl Iterator<Item = usize> {
        let index = match &self.passing {
            Some(passing) => passing[index as usize] as u64,
            None => index,
        };
        // A division takes longer than all else here.
        let is_alone = self.lists.len() == 1;
        let of_list = move |list: &Selected| {
            let position = match is_alone {
                true => index,
                false => index / list.stride % list.len() as u64,
            };
            list.value(position as usize)
        };
        self.lists.iter().map(of_list)
    }

    fn len(&self, list: usize) -> usize {
        self.lists[list].len()
    }
}

impl Selected {
    fn len(&self) -> usize {
        match &self.values {
            Values::All(length) => *length,
            Values::Some(values) => values.len(),
        }
    }

    fn value(&self, index: usize) -> usize {
        match &self.values {
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
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether any reads a column.
    pub fn read(&self, column: Column) -> bool {
        self.all
            .iter()
            .any(|condition| condition.reads.contains(&column))
    }

    /// Prepares conditions of the plan of `parent` in the current memory context. They are evaluated with `econtext`, and read the row in `slot`,
    /// whose table they know as `varno`.
    pub fn new(
        expressions: &[Node],
        (parent, econtext): (PlanState<'static>, ExprContext<'static>),
        slot: Slot<'static>,
        varno: pg_sys::Index,
        inputs: Vec<(Column, i16)>,
    ) -> Conditions {
        let prepare = |expression: &Node| {
            let columns = expression.columns(varno);
            Condition {
                expression: Expression::init(*expression, parent, econtext),
                reads: (inputs.iter())
                    .filter(|(_, number)| columns.contains(&i32::from(*number)))
                    .map(|(column, _)| *column)
                    .collect(),
            }
        };
        Conditions {
            may_change: false,
            all: expressions.iter().map(prepare).collect(),
            econtext,
            slot,
            inputs,
            context: MemoryContext::current().child(),
        }
    }

    /// Selects the combinations for which all conditions are true.
    pub fn select(&self, lists: &[List]) -> Result<Selection, Error> {
        let mut selection = Selection::all(lists);
        if self.all.is_empty() || selection.count() == 0 {
            return Ok(selection);
        }
        if self.slot.is_empty() {
            self.slot.store_nulls();
        }
        self.econtext.set_scan_row(self.slot);
        let narrow = || self.narrow(lists, &mut selection);
        let checked = self.econtext.with_row_context(self.context, narrow);
        self.free();
        checked.map(|()| selection)
    }

    /// Frees what a check has allocated.
    fn free(&self) {
        // SAFETY: nothing that a check allocates is used after it.
        unsafe { self.context.reset() };
    }

    /// Narrows the values of single columns first, and then the combinations.
    fn narrow(&self, lists: &[List], selection: &mut Selection) -> Result<(), Error> {
        let mut rest = &self.all[..];
        while let Some((condition, others)) = rest.split_first() {
            let varies = |list: &usize| {
                selection.len(*list) > 1 && condition.reads.contains(&lists[*list].column)
            };
            let mut varying = (0..lists.len()).filter(varies);
            let (column, another) = (varying.next(), varying.next());
            if another.is_some() {
                break;
            }
            let values = self.values(condition, lists, selection, column);
            match column {
                _ if values.is_empty() => {
                    selection.passing = Some(values);
                    return Ok(());
                }
                Some(list) => selection.narrow(list, values),
                None => (),
            }
            rest = others;
        }
        if !rest.is_empty() {
            selection.passing = Some(self.passing(rest, lists, selection)?);
        }
        Ok(())
    }

    /// The values of a list for which a condition is true, by their indexes. Without a list, 0 if the condition is true.
    fn values(
        &self,
        condition: &Condition,
        lists: &[List],
        selection: &Selection,
        list: Option<usize>,
    ) -> Vec<usize> {
        let mut value_indexes: Vec<usize> = selection.value_indexes(0).collect();
        let mut values = Vec::new();
        for index in 0..list.map_or(1, |list| selection.len(list)) {
            if let Some(list) = list {
                value_indexes[list] = selection.lists[list].value(index);
            }
            let condition = std::slice::from_ref(condition);
            if self.are_true(condition, lists, &value_indexes) {
                values.push(list.map_or(0, |list| value_indexes[list]));
            }
        }
        values
    }

    /// The combinations for which conditions are true, by their indexes.
    fn passing(
        &self,
        conditions: &[Condition],
        lists: &[List],
        selection: &Selection,
    ) -> Result<Vec<usize>, Error> {
        let mut passing = Vec::new();
        for index in 0..selection.count() {
            let value_indexes: Vec<usize> = selection.value_indexes(index).collect();
            if self.are_true(conditions, lists, &value_indexes) {
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
    fn are_true(&self, conditions: &[Condition], lists: &[List], value_indexes: &[usize]) -> bool {
        pgrx::check_for_interrupts!();
        for (column, number) in &self.inputs {
            let list = lists.iter().position(|list| list.column == *column);
            let datum = list.and_then(|list| lists[list].values[value_indexes[list]].datum);
            self.slot.set(*number, datum.map(Varlena::datum));
        }
        self.free();
        (conditions.iter()).all(|condition| condition.expression.is_true())
    }
}
