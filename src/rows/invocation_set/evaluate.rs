//! Makes a set of the values of bindings: evaluated, selected by the conditions, and printed where no row shows them.

use super::{Earlier, InvocationSet, new_rows};
use crate::columns::Column;
use crate::error::Error;
use crate::lambda::request::Inputs;
use crate::rows::combinations::Combinations;
use crate::rows::conditions::{Conditions, Selection};
use crate::rows::lists::{self, List, Lists};
use crate::rows::payload::{InputColumns, PrintedFields, is_of_payload};
use crate::rows::sources::Source;
use crate::rows::values::ReadyBinding;
use bytes::Bytes;
use std::rc::Rc;

impl InvocationSet {
    /// Evaluates the bindings into the current memory context, which outlives the set, and selects the combinations of which every
    /// condition is true. What `source` has invoked is not invoked again.
    pub fn new(
        fixed: &Rc<Inputs>,
        columns: &Rc<InputColumns>,
        bindings: &[ReadyBinding],
        conditions: &Conditions,
        source: Option<Source>,
    ) -> Result<InvocationSet, Error> {
        let is_shown = |column| columns.is_shown(column) || conditions.read(column);
        let storing = source.as_ref().filter(|source| source.stores_values);
        let stored = storing.and_then(Source::values);
        let is_stored = stored.is_some();
        let evaluate = || lists::evaluate(fixed, columns, bindings, &is_shown, conditions);
        let lists = match (stored, storing) {
            (Some(lists), _) => lists,
            (None, Some(source)) => source.context.switch_to(evaluate)?,
            (None, None) => evaluate()?,
        };
        let mut given = Evaluated::new(lists, conditions)?;
        if source.is_none() {
            given.take_fields(columns, fixed, &is_shown)?;
        }
        // What is kept for the source row is copied where that is.
        let mut print_or_copy = || given.print_or_copy(&is_shown);
        match storing {
            _ if is_stored => (),
            Some(storing) => storing.context.switch_to(print_or_copy)?,
            None => print_or_copy()?,
        }
        if let Some(storing) = storing.filter(|_| !is_stored) {
            storing.store_values(&given.lists);
        }
        given.take_printed();
        let mut set = InvocationSet::of(fixed.clone());
        set.columns = Some(columns.clone());
        (set.payload, set.combinations) = given.finish();
        let rows = || new_rows((set.combinations.as_ref()).map_or(1, |all| all.all()));
        set.first_row = (source.as_ref()).map_or_else(rows, |source| source.first_row(rows));
        if source.is_some() || conditions.may_change {
            set.earlier = Some(Box::new(Earlier {
                may_select_again: conditions.may_change,
                source,
                ..Earlier::default()
            }));
        }
        Ok(set)
    }
}

/// The lists of a set that is being made.
struct Evaluated {
    lists: Lists,
    /// `None` where there are no conditions.
    selection: Option<Selection>,
    /// The payload, once it is printed. Its lists are gone then.
    payload: Option<Bytes>,
}

impl Evaluated {
    /// Selects the combinations of which every condition is true. A condition is not checked where there is nothing to invoke, as the join would
    /// not check it either.
    fn new(lists: Lists, conditions: &Conditions) -> Result<Evaluated, Error> {
        let selection = match conditions.is_empty() {
            true => None,
            false => Some(conditions.select(&lists)?),
        };
        Ok(Evaluated {
            lists,
            selection,
            payload: None,
        })
    }

    /// Whether nothing is invoked.
    fn is_empty(&self) -> bool {
        match &self.selection {
            Some(selection) => selection.count() == 0,
            None => self.lists.iter().any(|list| list.values.is_empty()),
        }
    }

    /// Takes a list out that has one value.
    fn take(&mut self, index: usize) -> List {
        if let Some(selection) = &mut self.selection {
            selection.forget(index);
        }
        self.lists.remove(index)
    }

    /// Makes the payload of its fields, where each has one value that no row shows, and something is invoked.
    fn take_fields(
        &mut self,
        columns: &InputColumns,
        fixed: &Inputs,
        is_shown: &dyn Fn(Column) -> bool,
    ) -> Result<(), Error> {
        let is_single = |list: &List| {
            let value = &list.values[..];
            matches!(value, [value] if value.too_large().is_none()) && !is_shown(list.column)
        };
        let mut of_payload = (self.lists.iter()).filter(|list| is_of_payload(list.column));
        let are_fields = of_payload.all(|list| list.column != Column::Payload && is_single(list));
        if !are_fields || self.is_empty() {
            return Ok(());
        }
        let mut fields = PrintedFields::new();
        let next = |lists: &Lists| lists.iter().position(|list| is_of_payload(list.column));
        while let Some(index) = next(&self.lists) {
            let list = self.take(index);
            let print = || columns.print(list.column, &list.values[0]);
            fields.push((list.column, columns.printing(print)?));
        }
        if !fields.is_empty() {
            self.payload = columns.payload(&fields, fixed.are_arguments)?;
        }
        Ok(())
    }

    /// Prints a payload that no row shows, and copies fields.
    fn print_or_copy(&mut self, is_shown: &dyn Fn(Column) -> bool) -> Result<(), Error> {
        let mut hidden = (self.lists.iter_mut()).filter(|list| !is_shown(list.column));
        hidden.try_for_each(List::print_or_copy)
    }

    /// Takes the payload out of the lists if it is printed.
    fn take_printed(&mut self) {
        if let Some(index) = (self.lists.iter()).position(|list| list.printed.is_some()) {
            self.payload = self.take(index).printed;
        }
    }

    /// The payload, and what else there is.
    fn finish(self) -> (Option<Bytes>, Option<Box<Combinations>>) {
        let lists = self.lists;
        let selection = (self.selection).unwrap_or_else(|| Selection::all(&lists));
        let has_others = !lists.is_empty() || selection.count() != 1;
        let combinations = has_others.then(|| Box::new(Combinations { lists, selection }));
        (self.payload, combinations)
    }
}
