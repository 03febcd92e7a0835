//! The invocations of one set of parameters: one for each combination of the lists' values, in that order.
//!
//! An invocation has two numbers. Its index counts those of the set that the conditions select. Its number counts all
//! combinations of values, so another selection does not change it.

use super::conditions::{Conditions, Selection};
use super::lists::{self, List, Lists};
use super::payload::{InputColumns, PrintedFields};
use super::sources::Source;
use super::values::{ReadyBinding, Value};
use crate::columns::Column;
use crate::dispatch::window::{Requests, Window};
use crate::dispatch::{Dispatch, InvocationHandle, Outcome};
use crate::error::Error;
use crate::lambda::request::Inputs;
use crate::options::TableObject;
use bytes::Bytes;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// An outcome that was taken.
pub struct TakenOutcome {
    /// The invocation's index.
    pub index: u64,
    /// What came of the invocation.
    pub outcome: Rc<Outcome>,
}

/// What a scan invokes until its parameters change.
pub struct InvocationSet {
    lists: Lists,
    /// The payload as it is sent, where there is only one and rows do not show it. It is in no list then.
    payload: Option<Bytes>,
    /// Values that options fix, or those of a row that is inserted.
    fixed: Rc<Inputs>,
    /// The table's input columns; `None` where the values are those of one row.
    columns: Option<Rc<InputColumns>>,
    /// The combinations of values that are invoked.
    selection: Selection,
    /// Whether others may be selected later.
    may_select_again: bool,
    /// The invocations of earlier selections, by the indexes of the values that they have.
    started_before: BTreeMap<Vec<usize>, Rc<InvocationHandle>>,
    /// The source row that gives the values, if it may come again.
    source: Option<Source>,
    /// The ctid of the first of the foreign table's rows, as a number.
    first_row: u64,
    /// The same for each invocation, where one makes several rows.
    first_rows: RefCell<BTreeMap<u64, u64>>,
    /// Why the only request can't be made.
    refusal: Option<Box<Error>>,
    /// How many were started.
    started: u64,
    /// The index of the invocation that is taken next.
    next: u64,
    /// The outcomes of the first ones, if a rescan may want them.
    kept: Vec<Rc<Outcome>>,
}

impl InvocationSet {
    fn of(fixed: Rc<Inputs>, lists: Lists, selection: Selection) -> InvocationSet {
        InvocationSet {
            lists,
            payload: None,
            fixed,
            columns: None,
            selection,
            may_select_again: false,
            started_before: BTreeMap::new(),
            source: None,
            first_row: 0,
            first_rows: RefCell::default(),
            refusal: None,
            started: 0,
            next: 0,
            kept: Vec::new(),
        }
    }

    /// Evaluates the bindings into the current memory context, which outlives the set, and selects the combinations of which every
    /// condition is true. Rows show the payload if `shows_payload` says so. What `source` has invoked is not invoked again.
    pub fn new(
        fixed: &Rc<Inputs>,
        columns: &Rc<InputColumns>,
        bindings: &[ReadyBinding],
        conditions: &Conditions,
        shows_payload: bool,
        source: Option<Source>,
    ) -> Result<InvocationSet, Error> {
        let is_shown =
            |column| shows_payload || column != Column::Payload || conditions.read(column);
        let storing = source.as_ref().filter(|source| source.stores_values);
        let stored = storing.and_then(Source::values);
        let is_stored = stored.is_some();
        let evaluate = || lists::evaluate(fixed, columns, bindings, &is_shown, conditions);
        let mut lists = match (stored, storing) {
            (Some(lists), _) => lists,
            (None, Some(source)) => source.context.switch_to(evaluate)?,
            (None, None) => evaluate()?,
        };
        // A condition is not checked where there is nothing to invoke, as the join would not check it either.
        let mut selection = conditions.select(&lists)?;
        for list in (lists.iter_mut()).filter(|list| !is_stored && !is_shown(list.column)) {
            list.print_or_copy()?;
        }
        if let Some(storing) = storing.filter(|_| !is_stored) {
            storing.store_values(&lists);
        }
        let printed = lists.iter().position(|list| list.printed.is_some());
        let payload = printed.and_then(|index| {
            selection.forget(index);
            lists.remove(index).printed
        });
        let rows = || new_rows(combinations(&lists));
        let first_row = (source.as_ref()).map_or_else(rows, |source| source.first_row(rows));
        let mut set = InvocationSet::of(fixed.clone(), lists, selection);
        set.payload = payload;
        set.columns = Some(columns.clone());
        set.may_select_again = conditions.may_change;
        set.first_row = first_row;
        set.source = source;
        Ok(set)
    }

    /// Selects anew among the same values. What was started before, and is in the window or kept, is not started again.
    pub fn select_again(
        &mut self,
        conditions: &Conditions,
        window: &mut Window,
    ) -> Result<(), Error> {
        let kept = std::mem::take(&mut self.kept).into_iter();
        let started = kept
            .map(InvocationHandle::completed)
            .chain(window.take_all());
        for (index, handle) in started.enumerate() {
            let values = self.selection.value_indexes(index as u64).collect();
            self.started_before.insert(values, handle);
        }
        (self.started, self.next) = (0, 0);
        self.selection = conditions.select(&self.lists)?;
        Ok(())
    }

    /// One invocation.
    pub fn single(inputs: Inputs) -> InvocationSet {
        InvocationSet::of(Rc::new(inputs), Lists::new(), Selection::all(&[]))
    }

    /// One invocation whose request can't be made.
    pub fn refused(error: Error) -> InvocationSet {
        let mut set = InvocationSet::single(Inputs::default());
        set.refusal = Some(Box::new(error));
        set
    }

    /// How many invocations there are.
    pub fn len(&self) -> u64 {
        self.selection.count()
    }

    /// Bytes of the value that is printed and waits to be sent.
    pub fn printed(&self) -> usize {
        self.payload.as_ref().map_or(0, Bytes::len)
    }

    /// Whether one was not started yet.
    pub fn can_start(&self) -> bool {
        self.started < self.selection.count()
    }

    /// Whether one was taken.
    pub fn has_taken(&self) -> bool {
        self.next > 0
    }

    /// Whether all were taken.
    pub fn is_over(&self) -> bool {
        self.next == self.selection.count()
    }

    /// Starts the next one.
    pub fn start(&mut self, dispatch: &mut Dispatch) -> Result<Rc<InvocationHandle>, Error> {
        if !self.can_start() {
            return Err(Error::Unexpected(
                "more invocations are started than there are values",
            ));
        }
        let handle = match self.started_before() {
            Some(handle) => handle,
            None => self.start_or_find(dispatch)?,
        };
        self.started += 1;
        if !self.can_start() && !self.may_select_again {
            self.payload = None;
        }
        Ok(handle)
    }

    /// The next one, if an earlier selection had it.
    fn started_before(&self) -> Option<Rc<InvocationHandle>> {
        if self.started_before.is_empty() {
            return None;
        }
        let values: Vec<usize> = self.selection.value_indexes(self.started).collect();
        self.started_before.get(&values).cloned()
    }

    /// Starts the next one, unless the source row has.
    fn start_or_find(&mut self, dispatch: &mut Dispatch) -> Result<Rc<InvocationHandle>, Error> {
        let number = self.number(self.started);
        if let Some(source) = &self.source
            && let Some(handle) = source.find(number, dispatch)?
        {
            return Ok(handle);
        }
        let handle = self.start_new(dispatch)?;
        if let Some(source) = &self.source {
            source.note_started(number, &handle);
        }
        Ok(handle)
    }

    fn start_new(&mut self, dispatch: &mut Dispatch) -> Result<Rc<InvocationHandle>, Error> {
        let inputs = match (self.refusal.take(), &self.columns) {
            (Some(error), _) => Err(*error),
            (None, Some(columns)) => columns.printing(|| self.inputs(self.started)),
            (None, None) => self.inputs(self.started),
        };
        match dispatch.config.object {
            TableObject::Invocations => dispatch.invoke(inputs),
            TableObject::Functions => dispatch.ask(inputs),
        }
    }

    /// The number of an invocation among all combinations of values, whatever is selected.
    fn number(&self, index: u64) -> u64 {
        let values = self.selection.value_indexes(index);
        (self.lists.iter().zip(values)).fold(0, |number: u64, (list, value)| {
            (number.wrapping_mul(list.values.len() as u64)).wrapping_add(value as u64)
        })
    }

    /// The ctid of the row that an invocation makes, as a number. No other row has it while a statement lasts.
    pub fn row_number(&self, index: u64) -> u64 {
        self.first_row.wrapping_add(self.number(index))
    }

    /// The number that the rows of the set begin with. No other set has it.
    pub fn first_row(&self) -> u64 {
        self.first_row
    }

    /// The region of an invocation, if it is given one.
    pub fn region(&self, index: u64) -> Result<Option<String>, Error> {
        Ok(self.inputs(index)?.region.as_deref().map(str::to_owned))
    }

    /// The ctid of the first of the rows that an invocation makes, of which each has another number below `most`. They are reserved once.
    pub fn first_row_of(&self, index: u64, most: u64) -> u64 {
        let number = self.number(index);
        match &self.source {
            Some(source) => source.first_row_of(number, || new_rows(most)),
            None => {
                let mut known = self.first_rows.borrow_mut();
                *known.entry(number).or_insert_with(|| new_rows(most))
            }
        }
    }

    /// Takes the next outcome, which is known. It is kept if a rescan may want it.
    pub fn take(
        &mut self,
        window: &mut Window,
        outcome: Rc<Outcome>,
        is_kept: bool,
    ) -> Result<TakenOutcome, Error> {
        if let Some(source) = &self.source {
            source.note_taken(self.number(self.next), &outcome)?;
        }
        if !self.replays() {
            window.pop();
            if is_kept {
                outcome.leave_budget();
                self.kept.push(outcome.clone());
            }
        }
        let index = self.next;
        self.next += 1;
        Ok(TakenOutcome { index, outcome })
    }

    /// Whether the next outcome was taken before, and kept.
    fn replays(&self) -> bool {
        self.next < self.kept.len() as u64
    }

    /// Goes back to before the first invocation. False if an outcome that was taken is gone.
    pub fn rewind(&mut self) -> bool {
        let is_whole = self.next <= self.kept.len() as u64;
        self.next = 0;
        is_whole
    }

    /// The values of an invocation.
    pub fn values(&self, index: u64) -> impl Iterator<Item = (Column, &Value)> {
        self.values_in_lists(index)
            .map(|(list, value)| (list.column, value))
    }

    /// Whether an invocation has a value of a column that is no part of the payload.
    pub fn gives(&self, index: u64, column: Column) -> bool {
        self.fixed.get(column).is_some() || self.values(index).any(|(known, _)| known == column)
    }

    fn values_in_lists(&self, index: u64) -> impl Iterator<Item = (&List, &Value)> {
        (self.lists.iter())
            .zip(self.selection.value_indexes(index))
            .map(|(list, value)| (list, &list.values[value]))
    }

    fn inputs(&self, index: u64) -> Result<Inputs, Error> {
        let mut inputs = (*self.fixed).clone();
        let mut fields = PrintedFields::new();
        let mut has_payload = self.payload.is_some();
        if has_payload {
            inputs.payload = self.payload.clone();
        }
        for (list, value) in self.values_in_lists(index) {
            has_payload |= list.column == Column::Payload;
            // Clauses leave no other value than the option's.
            if self.fixed.get(list.column).is_some() {
                continue;
            }
            inputs.too_large = inputs.too_large.or(value.too_large);
            // The payload and its fields are the last lists, and the only values that may be too large for memory. So the name is known.
            let unsent = |error: Error| match &inputs.function_name {
                Some(name) => error.of_unsent(name),
                None => error,
            };
            match &self.columns {
                // What is too large is not here, and nothing is sent without it.
                Some(_) if value.too_large.is_some() => (),
                Some(columns) if list.column.part().is_some() => {
                    let printed = columns.print(list.column, value).map_err(unsent)?;
                    fields.push((list.column, printed));
                }
                _ => {
                    let printed = value.print().map_err(unsent)?;
                    inputs.set(list.column, printed);
                }
            }
        }
        let is_whole = !has_payload && inputs.too_large.is_none();
        if let Some(columns) = self.columns.as_ref().filter(|_| is_whole) {
            inputs.payload = columns.payload(&fields, self.fixed.are_arguments)?;
        }
        Ok(inputs.with_row_literal_unless_fixed(&self.fixed))
    }
}

impl Requests for InvocationSet {
    fn start_next(&mut self, window: &mut Window, dispatch: &mut Dispatch) -> Result<bool, Error> {
        if self.replays() || !self.can_start() || !dispatch.may_start(window.len()) {
            return Ok(false);
        }
        window.reserve()?;
        window.push(self.start(dispatch)?);
        Ok(true)
    }

    fn poll(&self, window: &Window) -> Result<Option<Rc<Outcome>>, Error> {
        match self.kept.get(self.next as usize) {
            Some(outcome) => Ok(Some(outcome.clone())),
            None => window.poll(),
        }
    }

    fn has_ended(&self) -> bool {
        !self.can_start()
    }

    fn is_over(&self, _window: &Window) -> bool {
        self.is_over()
    }
}

/// How many combinations of values there are.
fn combinations(lists: &[List]) -> u64 {
    (lists.iter()).fold(1, |count: u64, list| {
        count.saturating_mul(list.values.len() as u64)
    })
}

/// Reserves row numbers, and returns the first.
pub fn new_rows(count: u64) -> u64 {
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(1) };
    }
    let first = NEXT.get();
    NEXT.set(first.wrapping_add(count));
    first
}
