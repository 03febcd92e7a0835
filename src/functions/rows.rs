//! The rows of a table of functions: those that the outcomes of a scan tell of, with further pages of a list as rows are asked for.
//!
//! Lambda leaves the state out of a list. Where a query reads it, each function of the list is asked for by itself.
//!
//! A scan may ask for the same rows again. Then those of lists are kept, with their ctids, as another list may be another one, and a row that
//! gives values to other scans must not invoke twice.

use super::columns;
use super::states::States;
use crate::columns::{Column, Layout};
use crate::dispatch::Dispatch;
use crate::error::Error;
use crate::lambda::configuration::{self, FunctionConfiguration, Pages};
use crate::postgres::context;
use crate::postgres::slots::Slot;
use crate::postgres::varlena::Varlena;
use crate::rows::invocation_set::{InvocationSet, TakenOutcome, new_rows};
use crate::rows::writer::Writer;
use pgrx::pg_sys;
use std::collections::HashMap;

/// The rows of one scan.
#[derive(Default)]
pub struct FunctionRows {
    /// What the set that is scanned has listed, by the row number of the list's first request.
    lists: HashMap<u64, List>,
    /// The set.
    set: Option<u64>,
    current: Current,
    /// The bound inputs of the current rows, by attribute number. They live as long as the set.
    bound: Vec<(i16, Option<pg_sys::Datum>)>,
}

/// Where the rows come from.
#[derive(Default)]
enum Current {
    #[default]
    Nothing,
    /// One function was asked for.
    One(u64, Box<FunctionConfiguration>),
    /// The list with this key. So many of its rows were given.
    List(u64, usize),
}

/// One list, as far as it was read.
struct List {
    pages: Pages,
    /// The row number of the first of `rows`, and of each page.
    rows: Vec<(u64, FunctionConfiguration)>,
    /// Whether rows that were given stay.
    is_kept: bool,
    /// The states of the functions, where they are read.
    states: States,
}

impl FunctionRows {
    /// Takes an outcome of a set, whose rows come next. Those of lists are kept if `is_kept`.
    pub fn begin(
        &mut self,
        layout: &Layout,
        set: &InvocationSet,
        taken: &TakenOutcome,
        is_kept: bool,
    ) -> Result<(), Error> {
        if self.set != Some(set.first_row()) {
            self.set = Some(set.first_row());
            self.lists.clear();
        }
        self.current = Current::Nothing;
        let response = taken.outcome.result.as_ref().map_err(Error::clone)?;
        let Some(body) = response.payload.as_deref() else {
            return Ok(());
        };
        let values = set.values(taken.index);
        self.bound = (values.filter(|(column, _)| *column != Column::FunctionName))
            .filter_map(|(column, value)| {
                let number = layout.find(column)?.number;
                Some((number, value.datum.map(Varlena::datum)))
            })
            .collect();
        let number = set.row_number(taken.index);
        self.current = if set.gives(taken.index, Column::FunctionName) {
            let name = taken.outcome.function_name.as_deref().unwrap_or_default();
            Current::One(number, Box::new(configuration::read(body, name)?))
        } else {
            if !self.lists.get(&number).is_some_and(|list| list.is_kept) {
                let region = set.region(taken.index)?;
                let mut list = List {
                    pages: Pages::new(region.clone()),
                    rows: Vec::new(),
                    is_kept,
                    states: States::of_region(region),
                };
                list.read(body)?;
                self.lists.insert(number, list);
            }
            Current::List(number, 0)
        };
        Ok(())
    }

    /// Forgets the rows of the last outcome. The next outcome is the first, or one of another set.
    pub fn start_over(&mut self) {
        self.current = Current::Nothing;
    }

    /// Puts the next row into the slot, with the next page of a list if that is needed. False where the next outcome is needed.
    pub fn next(
        &mut self,
        dispatch: &mut Dispatch,
        writers: &mut [Writer],
        slot: Slot,
    ) -> Result<bool, Error> {
        match std::mem::take(&mut self.current) {
            Current::Nothing => Ok(false),
            Current::One(number, function) => {
                let question = || format!("answer about function \"{}\"", function.function_name);
                context::with(&question, || {
                    write(writers, slot, &self.bound, number, &function)
                })?;
                Ok(true)
            }
            Current::List(key, given) => {
                if given > 0 {
                    dispatch.prefetch_limit.note_requested();
                }
                let Some(list) = self.lists.get_mut(&key) else {
                    return Ok(false);
                };
                let Some(given) = list.fetch(given, dispatch)? else {
                    return Ok(false);
                };
                let is_state = |writer: &Writer| writer.attribute.column == Column::State;
                if writers.iter().any(is_state) {
                    list.states.fetch(&mut list.rows, given, dispatch)?;
                }
                let (number, function) = &list.rows[given];
                context::with(&|| "list of functions".to_owned(), || {
                    write(writers, slot, &self.bound, *number, function)
                })?;
                self.current = Current::List(key, given + 1);
                Ok(true)
            }
        }
    }
}

impl List {
    /// Reads a page.
    fn read(&mut self, body: &[u8]) -> Result<(), Error> {
        let functions = self.pages.read(body)?;
        let first = new_rows(functions.len() as u64);
        self.rows.extend((first..).zip(functions));
        Ok(())
    }

    /// The index of the row behind so many that were given, once that is there; `None` after the last.
    fn fetch(&mut self, mut given: usize, dispatch: &mut Dispatch) -> Result<Option<usize>, Error> {
        while given == self.rows.len() {
            let Some(request) = self.pages.next().cloned() else {
                return Ok(None);
            };
            if !self.is_kept {
                self.rows.clear();
                self.states.start_over();
                given = 0;
            }
            let handle = dispatch.start(request)?;
            let outcome = dispatch.wait_for(handle)?;
            let response = outcome.result.as_ref().map_err(Error::clone)?;
            self.read(response.payload.as_deref().unwrap_or_default())?;
        }
        Ok(Some(given))
    }
}

/// Makes a virtual tuple. The datums of outputs are in the current memory context.
fn write(
    writers: &mut [Writer],
    slot: Slot,
    bound: &[(i16, Option<pg_sys::Datum>)],
    number: u64,
    function: &FunctionConfiguration,
) -> Result<(), Error> {
    slot.store_nulls();
    slot.set_ctid(number);
    for (attribute, datum) in bound {
        slot.set(*attribute, *datum);
    }
    for writer in writers {
        let text = columns::text(writer.attribute.column, function);
        let datum = writer.write_about(text.as_deref())?;
        slot.set(writer.attribute.number, datum);
    }
    Ok(())
}
