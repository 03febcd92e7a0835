//! INSERT and COPY into a foreign table: a row is an event that is sent.
//!
//! - [`plan`] has rows prefetched where each is returned with what came back.
//! - [`refused`] refuses UPDATE and DELETE.
//! - [`ends`] waits for the last rows, as all are accepted before the statement ends.
//!
//! How a row is checked and becomes a request is rows/'s.

mod ends;
pub mod plan;
pub mod refused;

use crate::backend;
use crate::backend::config::Config;
use crate::columns::Layout;
use crate::dispatch::window::{Pushed, Window};
use crate::dispatch::{Dispatch, Outcome, Started};
use crate::error::{Error, OrReport};
use crate::lambda::request::{Given, Inputs};
use crate::options::{Events, OnError};
use crate::postgres::executor::{ModifyTableState, ResultRel};
use crate::postgres::list::IntList;
use crate::postgres::memory_context::MemoryContext;
use crate::postgres::refs::{FromRaw, Ref};
use crate::postgres::slots::Slot;
use crate::prefetch::{Consumer, SharedPrefetch};
use crate::queue::Entry;
use crate::rows::inserted::InsertedRows;
use crate::rows::invocation_columns;
use crate::rows::output::Output;
use pgrx::{pg_guard, pg_sys};
use std::cell::{RefCell, RefMut};
use std::ffi::c_int;
use std::rc::Rc;

/// What a statement inserts into one foreign table, dropped with the query's memory context.
pub struct Insert {
    /// Holds what is made of one row.
    row_context: MemoryContext<'static>,
    state: RefCell<State>,
}

struct State {
    relation: ResultRel<'static>,
    query_context: MemoryContext<'static>,
    layout: Rc<Layout>,
    /// Made when the first row is read. PostgreSQL does not know before which columns are.
    output: Option<Output>,
    invocations: Invocations,
}

/// Where the invocations of rows are.
enum Invocations {
    /// They are started as rows come.
    Own(Box<OwnInvocations>),
    /// A node below the statement's has started them.
    Prefetched(SharedPrefetch),
}

struct OwnInvocations {
    rows: InsertedRows,
    /// Made when the first row comes.
    dispatch: Option<Dispatch>,
    /// The invocations of rows that nobody reads once they are inserted.
    window: Window,
}

/// Callback: prepares an INSERT.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn begin_foreign_modify(
    state: *mut pg_sys::ModifyTableState,
    relation: *mut pg_sys::ResultRelInfo,
    private: *mut pg_sys::List,
    _subplan_index: c_int,
    eflags: c_int,
) {
    // SAFETY: the executor passes a node that is being initialised for the relation, and the list of `plan_foreign_modify`. What is made here
    // is dropped with the query.
    let (state, relation, parameters): (_, _, IntList) = unsafe {
        let parameters = FromRaw::from_raw(private);
        (Ref::new(state), Ref::new(relation), parameters)
    };
    refused::refuse(state, relation).or_report();
    if eflags as u32 & pg_sys::EXEC_FLAG_EXPLAIN_ONLY != 0 {
        return;
    }
    let rows = InsertedRows::begin(state, relation).or_report();
    rows.refuse_without_payload().or_report();
    // The node below was initialised before.
    let prefetch = (parameters.iter().next())
        .and_then(|parameter| SharedPrefetch::of(state.estate(), parameter));
    begin(state, relation, rows, prefetch).or_report();
}

/// Callback: prepares a COPY, or rows that come by way of a partitioned table.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn begin_foreign_insert(
    state: *mut pg_sys::ModifyTableState,
    relation: *mut pg_sys::ResultRelInfo,
) {
    // SAFETY: the node has a query. COPY makes up such a node. What is made here is dropped with the query.
    let (state, relation) = unsafe { (Ref::new(state), Ref::new(relation)) };
    let rows = InsertedRows::begin(state, relation).or_report();
    begin(state, relation, rows, None).or_report();
}

fn begin(
    state: ModifyTableState<'static>,
    relation: ResultRel<'static>,
    rows: InsertedRows,
    prefetch: Option<SharedPrefetch>,
) -> Result<(), Error> {
    let estate = state.estate();
    let layout = rows.layout.clone();
    let invocations = match prefetch {
        Some(prefetch) => {
            prefetch.get()?.serve(Consumer::Insert(Box::new(rows)));
            Invocations::Prefetched(prefetch)
        }
        None => Invocations::Own(Box::new(OwnInvocations {
            rows,
            dispatch: None,
            window: Window::default(),
        })),
    };
    let insert = Insert {
        row_context: estate.query_context().child(),
        state: RefCell::new(State {
            relation,
            query_context: estate.query_context(),
            layout,
            output: None,
            invocations,
        }),
    };
    ends::wait_at_end(relation.set_state(estate, insert), state, relation);
    Ok(())
}

/// Callback: inserts a row.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn exec_foreign_insert(
    _estate: *mut pg_sys::EState,
    relation: *mut pg_sys::ResultRelInfo,
    slot: *mut pg_sys::TupleTableSlot,
    _plan_slot: *mut pg_sys::TupleTableSlot,
) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the executor passes a relation whose state is an Insert, and a row of it. The row before is not used any more.
    let (insert, row): (Option<Ref<Insert>>, Slot) = unsafe {
        let insert: Option<Ref<Insert>> = ResultRel::new(relation).state();
        if let Some(insert) = insert {
            insert.row_context.reset();
        }
        (insert, Ref::new(slot))
    };
    let insert = insert.ok_or(Error::Unexpected("INSERT was not begun"));
    insert.and_then(|insert| insert.insert(row)).or_report();
    slot
}

/// Callback: ends an INSERT or a COPY.
///
/// # Safety
/// Called by the executor.
#[pg_guard]
pub unsafe extern "C-unwind" fn end_foreign_insert(
    _estate: *mut pg_sys::EState,
    relation: *mut pg_sys::ResultRelInfo,
) {
    // SAFETY: the relation's state is an Insert, except that EXPLAIN began nothing.
    let insert: Option<Ref<Insert>> = unsafe { ResultRel::new(relation).state() };
    if let Some(insert) = insert {
        // Of an INSERT nothing is left by now; see ends.rs.
        insert.wait_for_all().or_report();
    }
}

impl Insert {
    /// The state, for one callback of PostgreSQL's.
    fn state(&self) -> Result<RefMut<'_, State>, Error> {
        (self.state.try_borrow_mut())
            .map_err(|_| Error::Unexpected("rows are inserted twice at once"))
    }

    /// Does something with the invocations, which are there once a row was inserted.
    pub fn with_dispatch<T>(
        &self,
        work: impl FnOnce(Option<&mut Dispatch>) -> T,
    ) -> Result<T, Error> {
        match &mut self.state()?.invocations {
            Invocations::Own(own) => Ok(work(own.dispatch.as_mut())),
            Invocations::Prefetched(prefetch) => Ok(work(prefetch.get()?.dispatch())),
        }
    }

    /// Waits until all rows are accepted.
    pub fn wait_for_all(&self) -> Result<(), Error> {
        match &mut self.state()?.invocations {
            Invocations::Own(own) => own.wait_for_all(),
            // Each was waited for when its row was inserted.
            Invocations::Prefetched(_) => Ok(()),
        }
    }

    /// Inserts a row. What came back is added to it, if it is read afterwards.
    fn insert(&self, row: Slot) -> Result<(), Error> {
        let mut state = self.state()?;
        self.row_context.switch_to(|| {
            state.insert(row)?;
            backend::flush()
        })
    }
}

impl State {
    /// Inserts a row. The current memory context is the row's.
    fn insert(&mut self, row: Slot) -> Result<(), Error> {
        match &mut self.invocations {
            Invocations::Own(own) => match own.insert(row)? {
                Some((outcome, on_error)) => self.put(row, &outcome, on_error),
                None => Ok(()),
            },
            Invocations::Prefetched(prefetch) => {
                let (outcome, on_error) = {
                    let mut prefetch = prefetch.get()?;
                    let (_, taken, on_error) = (prefetch.next_outcome()?)
                        .ok_or(Error::Unexpected("inserted row was not prefetched"))?;
                    (taken.outcome, on_error)
                };
                self.put(row, &outcome, on_error)
            }
        }
    }

    /// Adds what came back to a row, in the current memory context, which is the row's.
    fn put(&mut self, row: Slot, outcome: &Outcome, on_error: OnError) -> Result<(), Error> {
        let output = self.output.get_or_insert_with(|| {
            let read = InsertedRows::columns_read(self.relation);
            let is_read = |number| {
                let among = |read: &Vec<i32>| read.contains(&i32::from(number));
                read.as_ref().is_none_or(among)
            };
            Output::of_insert(&self.layout, is_read, self.query_context)
        });
        let (mut values, mut nulls) = row.values();
        let mut begun = output.begin(outcome, on_error)?;
        output.write(&mut begun, outcome, on_error, |number, datum| {
            let index = number as usize - 1;
            nulls[index] = datum.is_none();
            values[index] = datum.unwrap_or(pg_sys::Datum::from(0));
        })?;
        // SAFETY: the writers make values of their columns' types. The memory context is reset before the next row comes.
        unsafe { row.store_values(&mut values, &mut nulls) };
        Ok(())
    }
}

impl OwnInvocations {
    /// Starts the invocation of a row. Its outcome is waited for if the row is read afterwards.
    fn insert(&mut self, row: Slot) -> Result<Option<(Rc<Outcome>, OnError)>, Error> {
        let is_read = self.rows.are_read();
        self.rows.check(row)?;
        let OwnInvocations {
            rows,
            dispatch,
            window,
        } = self;
        let dispatch = match dispatch {
            Some(dispatch) => dispatch,
            none => none.insert(rows.dispatch(None)?),
        };
        make_room(window, dispatch)?;
        dispatch.note_expected(None)?;
        let inputs = rows.inputs(&dispatch.config.fixed, row);
        let started = match inputs {
            Ok(inputs) if is_queued(&dispatch.config, &inputs) => {
                Entry::of_config(rows.table(), &dispatch.config, inputs).insert()?;
                Started::completed(Rc::new(Outcome::accepted()))
            }
            inputs => dispatch.invoke(inputs.map(Given::from))?,
        };
        if !is_read {
            window.push(started);
            return Ok(None);
        }
        let outcome = dispatch.wait_for(started)?;
        Ok(Some((outcome, dispatch.config.on_error)))
    }

    /// Waits until all rows are accepted.
    fn wait_for_all(&mut self) -> Result<(), Error> {
        let Some(dispatch) = &mut self.dispatch else {
            return Ok(());
        };
        take_completed(&mut self.window)?;
        let mut last = Pushed { has_ended: true };
        self.window.fill(&mut last, dispatch)?;
        (self.window).wait_until(&mut last, dispatch, |window, _, _| {
            take_completed(window)?;
            Ok(window.is_empty().then_some(()))
        })
    }
}

/// Whether a row is written to the queue.
fn is_queued(config: &Config, inputs: &Inputs) -> bool {
    config.events == Some(Events::Queue) && inputs.is_event()
}

/// Waits until one more invocation may be started.
fn make_room(window: &mut Window, dispatch: &mut Dispatch) -> Result<(), Error> {
    let mut more = Pushed { has_ended: false };
    window.wait_until(&mut more, dispatch, |window, _, dispatch| {
        take_completed(window)?;
        if !dispatch.may_start(window.len()) {
            return Ok(None);
        }
        window.reserve().map(Some)
    })
}

/// Takes the invocations that have ended, as far as none before them is in flight. Errors with the first failure.
fn take_completed(window: &mut Window) -> Result<(), Error> {
    while let Some(outcome) = window.poll()? {
        if let Some(error) = invocation_columns::error(&outcome) {
            return Err(error);
        }
        window.pop();
    }
    Ok(())
}
