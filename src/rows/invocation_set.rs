//! The invocations of one set of parameters: one for each combination of values, taken in that order.

use super::conditions::{Choice, Conditions, Digits};
use super::sources::Source;
use super::values::{self, Value};
use crate::columns::Column;
use crate::dispatch::{Dispatch, InvocationHandle, Outcome};
use crate::error::Error;
use crate::lambda::request::{Inputs, InvokeRequest};
use crate::plan::clause::{Binding, value_type};
use bytes::Bytes;
use pgrx::pg_sys;
use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

/// A combination, and what became of it.
pub type Taken = (u64, Rc<Outcome>);

/// An input column with values.
#[derive(Clone)]
pub struct List {
    /// The column.
    pub column: Column,
    /// The type of the values: text or jsonb.
    value_type: pg_sys::Oid,
    /// At least one, where anything is invoked.
    pub values: Vec<Value>,
    /// Its one value as it is sent, where that is all that is wanted of it: it may have megabytes.
    printed: Option<Bytes>,
}

impl List {
    /// Keeps of values that were not copied only what is sent, where there is one; or else copies them.
    ///
    /// # Safety
    /// The values are of the list's type.
    unsafe fn print_or_copy(&mut self) -> Result<(), Error> {
        // SAFETY: see above.
        unsafe {
            if let [value] = &mut self.values[..] {
                self.printed = values::print(value, self.value_type)?.map(Bytes::from);
                if let Some(datum) = value.datum.take()
                    && value.is_copy
                {
                    pg_sys::pfree(datum.cast_mut_ptr());
                }
            }
            for value in self.values.iter_mut().filter(|value| !value.is_copy) {
                value.datum = value.datum.map(|datum| values::copy(datum));
                value.is_copy = true;
            }
        }
        Ok(())
    }
}

/// What a scan invokes until its parameters change.
pub struct InvocationSet {
    lists: Vec<List>,
    /// Values that options fix, for columns that the table does not have.
    fixed: Inputs,
    /// The combinations of values that are invoked.
    choice: Choice,
    /// Whether others may be chosen later.
    may_choose_again: bool,
    /// What was started for other choices of the same values.
    known: HashMap<Digits, Rc<InvocationHandle>>,
    /// The source row that gives the values, if it may come again.
    source: Option<Source>,
    /// The number of the first row of the foreign table, which it has as a ctid.
    first_row: u64,
    /// Why its one combination can't be invoked.
    refused: Option<Error>,
    /// How many of them were started.
    started: u64,
    /// The combination that the next row is made of.
    next: u64,
    /// What came back for the first combinations, if a rescan may want it.
    kept: Vec<Rc<Outcome>>,
    /// Those that were started and not yet taken.
    handles: VecDeque<Rc<InvocationHandle>>,
}

impl InvocationSet {
    fn of(fixed: Inputs, lists: Vec<List>, choice: Choice) -> InvocationSet {
        InvocationSet {
            lists,
            fixed,
            choice,
            may_choose_again: false,
            known: HashMap::new(),
            source: None,
            first_row: 0,
            refused: None,
            started: 0,
            next: 0,
            kept: Vec::new(),
            handles: VecDeque::new(),
        }
    }

    /// Evaluates the bindings into the current memory context, which outlives the batch. Combinations are those of which every
    /// condition is true. They have the payload's value where rows show it. What `source` has invoked is not invoked again.
    ///
    /// # Safety
    /// `states` are the initialised expressions of the bindings, and `econtext` is theirs and that of the conditions.
    pub unsafe fn new(
        fixed: &Inputs,
        (bindings, states): (&[Binding], &[*mut pg_sys::ExprState]),
        conditions: &Conditions,
        econtext: *mut pg_sys::ExprContext,
        shows_payload: bool,
        source: Option<Source>,
    ) -> Result<InvocationSet, Error> {
        let is_shown =
            |column| shows_payload || column != Column::Payload || conditions.read(column);
        let keeping = source.as_ref().filter(|source| source.keeps_values);
        let known = keeping.and_then(Source::values);
        let is_known = known.is_some();
        let lists = match known {
            Some(lists) => lists,
            // SAFETY: see above.
            None => unsafe {
                let context = keeping.map(|source| source.context);
                let before = context.map(|context| pg_sys::MemoryContextSwitchTo(context));
                let lists = evaluate(fixed, bindings, states, econtext, &is_shown, conditions);
                before.map(|before| pg_sys::MemoryContextSwitchTo(before));
                lists?
            },
        };
        let mut lists = lists;
        // Conditions not before there is something to invoke: the join would not check them either.
        // SAFETY: see above.
        let choice = unsafe { conditions.choose(&lists, econtext)? };
        for list in (lists.iter_mut()).filter(|list| !is_known && !is_shown(list.column)) {
            // SAFETY: nothing was evaluated for another row meanwhile.
            unsafe { list.print_or_copy()? };
        }
        if let Some(keeping) = keeping.filter(|_| !is_known) {
            keeping.keep_values(&lists);
        }
        let rows = || new_rows(&lists);
        let first_row = (source.as_ref()).map_or_else(rows, |source| source.first_row(rows));
        let mut set = InvocationSet::of(fixed.clone(), lists, choice);
        set.may_choose_again = conditions.may_change;
        set.first_row = first_row;
        set.source = source;
        Ok(set)
    }

    /// Chooses anew among the same values. What was started for them before is not started again.
    ///
    /// # Safety
    /// As for [`InvocationSet::new`].
    pub unsafe fn choose(
        &mut self,
        conditions: &Conditions,
        econtext: *mut pg_sys::ExprContext,
    ) -> Result<(), Error> {
        let kept = std::mem::take(&mut self.kept)
            .into_iter()
            .map(InvocationHandle::of);
        let started = kept.chain(std::mem::take(&mut self.handles));
        for (number, handle) in started.enumerate() {
            self.known.insert(self.choice.digits(number as u64), handle);
        }
        (self.started, self.next) = (0, 0);
        // SAFETY: see above.
        self.choice = unsafe { conditions.choose(&self.lists, econtext)? };
        Ok(())
    }

    /// One invocation.
    pub fn single(inputs: Inputs) -> InvocationSet {
        InvocationSet::of(inputs, Vec::new(), Choice::all(&[]))
    }

    /// One invocation that can't be made.
    pub fn refused(error: Error) -> InvocationSet {
        let mut set = InvocationSet::single(Inputs::default());
        set.refused = Some(error);
        set
    }

    /// How many invocations it is.
    pub fn combinations(&self) -> u64 {
        self.choice.count()
    }

    /// The invocation that the next row is made of, if it is on its way.
    pub fn next_handle(&self) -> Option<Rc<InvocationHandle>> {
        self.handles.front().cloned()
    }

    /// Bytes of what is printed to be sent.
    pub fn printed(&self) -> usize {
        let printed = |list: &List| list.printed.as_ref().map_or(0, Bytes::len);
        self.lists.iter().map(printed).sum()
    }

    /// How many were started and not yet taken.
    pub fn untaken(&self) -> usize {
        self.handles.len()
    }

    /// Whether not every combination was started.
    pub fn can_start(&self) -> bool {
        self.started < self.choice.count()
    }

    /// Starts what may be started, until the next outcome is there.
    pub fn fill(&mut self, table: pg_sys::Oid, dispatch: &mut Dispatch) -> Result<(), Error> {
        dispatch.report_progress();
        if self.next < self.kept.len() as u64 {
            return Ok(());
        }
        while self.can_start() && dispatch.may_start(self.untaken()) {
            self.start(table, dispatch)?;
            if self.outcome()?.is_some() {
                break;
            }
        }
        Ok(())
    }

    /// Whether the next outcome is on its way.
    pub fn is_awaited(&self) -> bool {
        !self.handles.is_empty()
    }

    /// Starts the next combination.
    pub fn start(&mut self, table: pg_sys::Oid, dispatch: &mut Dispatch) -> Result<(), Error> {
        if !self.can_start() {
            return Err(Error::Unexpected(
                "more invocations are started than there are values",
            ));
        }
        let handle = match self.known.get(&self.choice.digits(self.started)) {
            Some(handle) => handle.clone(),
            None => self.start_or_find(table, dispatch)?,
        };
        self.started += 1;
        if !self.can_start() && !self.may_choose_again {
            (self.lists.iter_mut()).for_each(|list| list.printed = None);
        }
        self.handles.push_back(handle);
        Ok(())
    }

    /// Starts the next combination, unless the source row has.
    fn start_or_find(
        &mut self,
        table: pg_sys::Oid,
        dispatch: &mut Dispatch,
    ) -> Result<Rc<InvocationHandle>, Error> {
        let number = self.number(self.started);
        if let Some(source) = &self.source
            && let Some(handle) = source.find(number, dispatch)?
        {
            return Ok(handle);
        }
        let handle = self.start_new(table, dispatch)?;
        if let Some(source) = &self.source {
            source.keep(number, &handle);
        }
        Ok(handle)
    }

    /// The number of a combination among all of the values, whatever is chosen.
    fn number(&self, place: u64) -> u64 {
        let digits = self.choice.digits(place);
        (self.lists.iter().zip(digits)).fold(0, |number: u64, (list, digit)| {
            (number.wrapping_mul(list.values.len() as u64)).wrapping_add(digit as u64)
        })
    }

    /// The number of the row that a combination makes, which no other has while a statement lasts.
    pub fn row_number(&self, place: u64) -> u64 {
        self.first_row.wrapping_add(self.number(place))
    }

    fn start_new(
        &mut self,
        table: pg_sys::Oid,
        dispatch: &mut Dispatch,
    ) -> Result<Rc<InvocationHandle>, Error> {
        let request = match self.refused.take() {
            Some(error) => Err(error),
            None => (self.inputs(self.started)).and_then(InvokeRequest::new),
        };
        match request {
            Ok(request) => dispatch.start(table, request),
            Err(error) => Ok(dispatch.refuse(error)),
        }
    }

    /// Whether a combination was taken.
    pub fn is_begun(&self) -> bool {
        self.next > 0
    }

    /// Whether there is no combination left to take.
    pub fn is_over(&self) -> bool {
        self.next == self.choice.count()
    }

    /// What became of the next combination; `None` as long as that is not known.
    pub fn outcome(&self) -> Result<Option<Rc<Outcome>>, Error> {
        match (self.kept.get(self.next as usize), self.handles.front()) {
            (Some(outcome), _) => Ok(Some(outcome.clone())),
            (None, Some(handle)) => handle.poll(),
            (None, None) => Ok(None),
        }
    }

    /// Takes the next combination, whose outcome is known, and keeps that if it may be wanted again.
    pub fn take(&mut self, outcome: Rc<Outcome>, keep: bool) -> Result<Taken, Error> {
        if let Some(source) = &self.source {
            source.settle(self.number(self.next), &outcome)?;
        }
        if self.next >= self.kept.len() as u64 {
            self.handles.pop_front();
            if keep {
                outcome.keep();
                self.kept.push(outcome.clone());
            }
        }
        self.next += 1;
        Ok((self.next - 1, outcome))
    }

    /// Goes back to before the first combination; false when what was taken is gone.
    pub fn start_over(&mut self) -> bool {
        let whole = self.next <= self.kept.len() as u64;
        self.next = 0;
        whole
    }

    /// The values of a combination.
    pub fn combination(&self, place: u64) -> impl Iterator<Item = (Column, &Value)> {
        self.chosen(place).map(|(list, value)| (list.column, value))
    }

    fn chosen(&self, place: u64) -> impl Iterator<Item = (&List, &Value)> {
        (self.lists.iter())
            .zip(self.choice.digits(place))
            .map(|(list, digit)| (list, &list.values[digit]))
    }

    fn inputs(&self, place: u64) -> Result<Inputs, Error> {
        let mut inputs = self.fixed.clone();
        for (list, value) in self.chosen(place) {
            if list.printed.is_some() {
                inputs.payload = list.printed.clone();
                continue;
            }
            inputs.too_large = inputs.too_large.or(value.too_large);
            // SAFETY: the values are of the list's type, and in the batch's memory context.
            let printed = unsafe { values::print(value, list.value_type) };
            // The payload is the last one, and it is what there may be no memory for.
            let printed = printed.map_err(|error| match &inputs.function_name {
                Some(name) => error.of_unsent(name),
                None => error,
            })?;
            inputs.set(list.column, printed);
        }
        Ok(inputs.with_row_literal_unless_fixed(&self.fixed))
    }
}

/// The values of each input column that has any.
unsafe fn evaluate(
    fixed: &Inputs,
    bindings: &[Binding],
    states: &[*mut pg_sys::ExprState],
    econtext: *mut pg_sys::ExprContext,
    is_shown: &dyn Fn(Column) -> bool,
    conditions: &Conditions,
) -> Result<Vec<List>, Error> {
    let mut lists = Vec::new();
    for column in Column::INPUTS {
        let mut values = fixed.get(column).map(|text| vec![values::from_text(text)]);
        let mut kept_type = pg_sys::TEXTOID;
        for (binding, state) in bindings.iter().zip(states) {
            if binding.attribute.column == column {
                kept_type = value_type(&binding.attribute);
                // What is read by a condition has to be there.
                let most = match column == Column::Payload && !conditions.read(column) {
                    true => fixed.most_payload(),
                    false => usize::MAX,
                };
                // SAFETY: the state is that of the binding.
                let by =
                    unsafe { values::evaluate(binding, *state, econtext, is_shown(column), most)? };
                values = Some(values::narrow(binding, values, by));
            }
        }
        if let Some(values) = values {
            lists.push(List {
                column,
                value_type: kept_type,
                values,
                printed: None,
            });
        }
    }
    Ok(lists)
}

/// Numbers for all combinations of values. Returns the first.
fn new_rows(lists: &[List]) -> u64 {
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(1) };
    }
    let first = NEXT.get();
    let count = (lists.iter()).fold(1, |count: u64, list| {
        count.saturating_mul(list.values.len() as u64)
    });
    NEXT.set(first.wrapping_add(count));
    first
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
            Column::TenantId => self.tenant_id.as_deref(),
            Column::DurableExecutionName => self.durable_execution_name.as_deref(),
            _ => None,
        }
    }

    /// Gives an input column a value, in UTF-8.
    pub fn set(&mut self, column: Column, value: Option<Vec<u8>>) {
        match column {
            Column::Payload => {
                self.payload = value.map(Bytes::from);
                return;
            }
            Column::Context => {
                self.context = value.map(Inputs::text);
                return;
            }
            _ => (),
        }
        let text = value.map(Inputs::word);
        match column {
            Column::FunctionName => self.function_name = text,
            Column::Region => self.region = text,
            Column::Qualifier => self.qualifier = text,
            Column::InvocationType => self.invocation_type = text,
            Column::LogType => self.log_type = text,
            Column::TenantId => self.tenant_id = text,
            Column::DurableExecutionName => self.durable_execution_name = text,
            _ => (),
        }
    }
}
