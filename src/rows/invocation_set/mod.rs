//! The invocations of one set of parameters: one for each combination of the lists' values, in that order.
//!
//! An invocation has two numbers. Its index counts those of the set that the conditions select. Its number counts all
//! combinations of values, so another selection does not change it.
//!
//! [`evaluate`] makes a set of the values of bindings.

mod evaluate;

use super::combinations::Combinations;
use super::conditions::Conditions;
use super::lists::List;
use super::payload::{InputColumns, PrintedFields};
use super::sources::Source;
use super::values::Value;
use crate::columns::Column;
use crate::dispatch::window::{Requests, Window};
use crate::dispatch::{Dispatch, InvocationHandle, Outcome, Started};
use crate::error::Error;
use crate::lambda::request::{Given, Inputs};
use crate::options::TableObject;
use bytes::Bytes;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// An outcome that was taken.
pub struct TakenOutcome {
    /// The invocation's index.
    pub index: u64,
    /// What came of the invocation.
    pub outcome: Rc<Outcome>,
}

/// What a scan invokes until its parameters change. Many sets wait at once, so what few of them have is in boxes.
pub struct InvocationSet {
    /// The values beside `fixed` and `payload`; `None` where one invocation has no others.
    combinations: Option<Box<Combinations>>,
    /// The payload as it is sent, where there is only one and rows do not show it. It is in no list then.
    payload: Option<Bytes>,
    /// Values that options fix, or those of a row that is inserted.
    fixed: Rc<Inputs>,
    /// The table's input columns; `None` where the values are those of one row.
    columns: Option<Rc<InputColumns>>,
    /// Invocations that may be found again.
    earlier: Option<Box<Earlier>>,
    /// The ctid of the first of the foreign table's rows, as a number.
    first_row: u64,
    /// The same for each invocation, where one makes several rows.
    first_rows: OnceCell<Box<RefCell<BTreeMap<u64, u64>>>>,
    /// Why the only request can't be made.
    refusal: Option<Box<Error>>,
    /// How many were started.
    started: u64,
    /// The index of the invocation that is taken next.
    next: u64,
    /// The outcomes of the first ones, if a rescan may want them.
    kept: Vec<Rc<Outcome>>,
}

/// Where invocations are looked for before they are started.
#[derive(Default)]
struct Earlier {
    /// Whether others may be selected later.
    may_select_again: bool,
    /// The invocations of earlier selections, by the indexes of the values that they have.
    started: BTreeMap<Vec<usize>, Rc<InvocationHandle>>,
    /// The source row that gives the values, if it may come again.
    source: Option<Source>,
}

impl InvocationSet {
    fn of(fixed: Rc<Inputs>) -> InvocationSet {
        InvocationSet {
            combinations: None,
            payload: None,
            fixed,
            columns: None,
            earlier: None,
            first_row: 0,
            first_rows: OnceCell::new(),
            refusal: None,
            started: 0,
            next: 0,
            kept: Vec::new(),
        }
    }

    /// Selects anew among the same values. What was started before, and is in the window or kept, is not started again.
    pub fn select_again(
        &mut self,
        conditions: &Conditions,
        window: &mut Window,
    ) -> Result<(), Error> {
        let kept = std::mem::take(&mut self.kept).into_iter();
        let kept = kept.map(InvocationHandle::completed);
        let in_window = std::iter::from_fn(|| window.take_first().map(Started::into_handle));
        let combinations = self.combinations.get_or_insert_default();
        let earlier = self.earlier.get_or_insert_default();
        for (index, handle) in kept.chain(in_window).enumerate() {
            let values = combinations.selection.value_indexes(index as u64).collect();
            earlier.started.insert(values, handle);
        }
        (self.started, self.next) = (0, 0);
        combinations.selection = conditions.select(&combinations.lists)?;
        Ok(())
    }

    /// One invocation. Its payload is apart, so that rows which differ in nothing else have equal inputs.
    pub fn single(mut inputs: Inputs) -> InvocationSet {
        let payload = inputs.payload.take();
        let mut set = InvocationSet::of(Rc::new(inputs));
        set.payload = payload;
        set
    }

    /// One invocation whose request can't be made.
    pub fn refused(error: Error) -> InvocationSet {
        let mut set = InvocationSet::single(Inputs::default());
        set.refusal = Some(Box::new(error));
        set
    }

    /// How many invocations there are.
    pub fn len(&self) -> u64 {
        (self.combinations.as_ref()).map_or(1, |all| all.selection.count())
    }

    /// Bytes of the value that is printed and waits to be sent.
    pub fn printed(&self) -> usize {
        self.payload.as_ref().map_or(0, Bytes::len)
    }

    /// Whether one was not started yet.
    pub fn can_start(&self) -> bool {
        self.started < self.len()
    }

    /// Whether one was taken.
    pub fn has_taken(&self) -> bool {
        self.next > 0
    }

    /// Whether all were taken.
    pub fn is_over(&self) -> bool {
        self.next == self.len()
    }

    /// Starts the next one.
    pub fn start(&mut self, dispatch: &mut Dispatch) -> Result<Started, Error> {
        if !self.can_start() {
            return Err(Error::Unexpected(
                "more invocations are started than there are values",
            ));
        }
        let started = match self.started_before() {
            Some(handle) => handle.into(),
            None => self.start_or_find(dispatch)?,
        };
        if self.is_last() {
            self.payload = None;
        }
        self.started += 1;
        Ok(started)
    }

    /// Whether no further one is started than the next.
    fn is_last(&self) -> bool {
        let may_select_again = (self.earlier.as_ref()).is_some_and(|it| it.may_select_again);
        self.started + 1 >= self.len() && !may_select_again
    }

    /// The next one, if an earlier selection had it.
    fn started_before(&self) -> Option<Rc<InvocationHandle>> {
        let earlier = (self.earlier.as_ref()).filter(|earlier| !earlier.started.is_empty())?;
        let selection = &self.combinations.as_ref()?.selection;
        let values: Vec<usize> = selection.value_indexes(self.started).collect();
        earlier.started.get(&values).cloned()
    }

    fn source(&self) -> Option<&Source> {
        self.earlier.as_ref()?.source.as_ref()
    }

    /// Starts the next one, unless the source row has.
    fn start_or_find(&mut self, dispatch: &mut Dispatch) -> Result<Started, Error> {
        let Some(source) = self.source() else {
            return self.start_new(dispatch);
        };
        let number = self.number(self.started);
        if let Some(handle) = source.find(number, dispatch)? {
            return Ok(handle.into());
        }
        let handle = self.start_new(dispatch)?.into_handle();
        if let Some(source) = self.source() {
            source.note_started(number, &handle);
        }
        Ok(handle.into())
    }

    fn start_new(&mut self, dispatch: &mut Dispatch) -> Result<Started, Error> {
        let payload = match self.is_last() {
            true => self.payload.take(),
            false => self.payload.clone(),
        };
        let given = match (self.refusal.take(), &self.columns) {
            (Some(error), _) => Err(*error),
            (None, Some(columns)) => columns.printing(|| self.given(self.started, payload)),
            (None, None) => self.given(self.started, payload),
        };
        match dispatch.config.object {
            TableObject::Invocations => dispatch.invoke(given),
            TableObject::Functions => dispatch.ask(given),
        }
    }

    /// The number of an invocation among all combinations of values, whatever is selected.
    fn number(&self, index: u64) -> u64 {
        (self.combinations.as_ref()).map_or(0, |all| all.number(index))
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
        let given = self.given(index, None)?;
        Ok(given.inputs.region.as_deref().map(str::to_owned))
    }

    /// The ctid of the first of the rows that an invocation makes, of which each has another number below `most`. They are reserved once.
    pub fn first_row_of(&self, index: u64, most: u64) -> u64 {
        let number = self.number(index);
        match self.source() {
            Some(source) => source.first_row_of(number, || new_rows(most)),
            None => {
                let mut known = self.first_rows.get_or_init(Box::default).borrow_mut();
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
        if let Some(source) = self.source() {
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
        (self.combinations.iter()).flat_map(move |all| all.values(index))
    }

    /// What an invocation is given. `payload` is the set's own, if it has one.
    fn given(&self, index: u64, payload: Option<Bytes>) -> Result<Given, Error> {
        let mut own: Option<Inputs> = None;
        let mut fields = PrintedFields::new();
        let mut has_payload = payload.is_some();
        let mut payload = payload.or_else(|| self.fixed.payload.clone());
        let mut too_large = self.fixed.too_large;
        for (list, value) in self.values_in_lists(index) {
            has_payload |= list.column == Column::Payload;
            // Clauses leave no other value than the option's.
            if self.fixed.get(list.column).is_some() {
                continue;
            }
            too_large = too_large.or(value.too_large());
            // The payload and its fields are the last lists, and the only values that may be too large for memory. So the name is known.
            let unsent = |error: Error| {
                let inputs = own.as_ref().unwrap_or(&self.fixed);
                match &inputs.function_name {
                    Some(name) => error.of_unsent(name),
                    None => error,
                }
            };
            match (&self.columns, list.column) {
                // What is too large is not here, and nothing is sent without it.
                (Some(_), _) if value.too_large().is_some() => (),
                (Some(columns), field) if field.part().is_some() => {
                    let printed = columns.print(field, value).map_err(unsent)?;
                    fields.push((field, printed));
                }
                (_, Column::Payload) => payload = value.print().map_err(unsent)?.map(Bytes::from),
                (_, column) => {
                    let printed = value.print().map_err(unsent)?;
                    let own = own.get_or_insert_with(|| (*self.fixed).clone());
                    own.set(column, printed);
                }
            }
        }
        let is_whole = !has_payload && too_large.is_none();
        if let Some(columns) = self.columns.as_ref().filter(|_| is_whole) {
            payload = columns.payload(&fields, self.fixed.are_arguments)?;
        }
        let own = own.map(|own| Rc::new(own.with_row_literal_unless_fixed(&self.fixed)));
        Ok(Given {
            inputs: own.unwrap_or_else(|| self.fixed.clone()),
            payload,
            too_large,
        })
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

/// Reserves row numbers, and returns the first.
pub fn new_rows(count: u64) -> u64 {
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(1) };
    }
    let first = NEXT.get();
    NEXT.set(first.wrapping_add(count));
    first
}
