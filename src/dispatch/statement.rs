//! What the scans of one statement share: the count of invocations, the equal ones, and the progress that is reported.
//!
//! An invocation counts for the outermost running query, so those of a function count for the query that calls it. Equal
//! invocations are looked for in the scan's own query, as a function that asks again wants a new answer.

use super::{InvocationHandle, executor_hooks};
use crate::backend::config::{Limits, Owner};
use crate::lambda::ClientConfig;
use crate::lambda::api_request::ApiRequest;
use crate::lambda::budget::Budget;
use crate::lambda::limiter::ConcurrencyLimit;
use crate::postgres::executor::EState;
use crate::postgres::process;
use crate::settings;
use pgrx::{PgMemoryContexts, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Invocations with the same key are equal: foreign table, role, configuration of the client, and request.
pub type Key = (pg_sys::Oid, pg_sys::Oid, ClientConfig, ApiRequest);

type Budgets = HashMap<(Option<Owner>, usize), Arc<Budget>>;

/// The invocations of one statement.
pub struct Statement {
    /// Counted by the network thread.
    pub totals: Arc<Totals>,
    started: Cell<u64>,
    /// Invocations that still take rows.
    open: Cell<u64>,
    number: u64,
    expected: Cell<Expected>,
    handles: RefCell<HashMap<Key, Rc<InvocationHandle>>>,
    /// By the owner of the option `max_concurrency`, and its value.
    limits: RefCell<HashMap<(Owner, usize), Arc<ConcurrencyLimit>>>,
    /// By the owner of the option `max_memory`, and its value.
    budgets: RefCell<Budgets>,
    /// When progress was last reported, and how many invocations had ended by then. Set by the first invocation.
    last_report: Cell<Option<(Instant, u64)>>,
}

/// Counts of a statement.
#[derive(Default)]
pub struct Totals {
    /// Invocations that have not ended.
    pub unfinished: AtomicUsize,
    /// Invocations that ended.
    pub done: AtomicU64,
    /// Those among them that failed.
    pub failed: AtomicU64,
}

#[derive(Clone, Copy)]
enum Expected {
    Known(u64),
    Unknown,
}

thread_local! {
    /// The statements of this backend that have invoked, by the memory context that is deleted with each.
    static STATEMENTS: RefCell<Vec<(pg_sys::MemoryContext, Rc<Statement>)>> = const { RefCell::new(Vec::new()) };
}

/// Forgets a statement when its memory context is deleted.
struct Registration(pg_sys::MemoryContext);

impl Drop for Registration {
    fn drop(&mut self) {
        let forgotten = STATEMENTS.try_with(|statements| {
            let mut statements = statements.borrow_mut();
            let index = statements
                .iter()
                .position(|(context, _)| *context == self.0)?;
            Some(statements.swap_remove(index))
        });
        // Dropped without the borrow, as that may abort invocations in flight. A batch that was not sent holds its statement.
        if let Ok(Some((_, statement))) = &forgotten {
            drop(statement.handles.take());
        }
        drop(forgotten);
    }
}

impl Statement {
    /// The statement that a query belongs to.
    pub fn of(estate: EState) -> Rc<Statement> {
        match executor_hooks::outermost() {
            Some(context) => Statement::of_context(context),
            None => Statement::of_query(estate),
        }
    }

    /// The statement that runs. A new one where PostgreSQL evaluates an expression without a query.
    pub fn current() -> Rc<Statement> {
        match executor_hooks::outermost() {
            Some(context) => Statement::of_context(context),
            None => Rc::new(Statement::new()),
        }
    }

    /// The query itself as a statement.
    pub fn of_query(estate: EState) -> Rc<Statement> {
        Statement::of_context(estate.es_query_cxt)
    }

    fn of_context(context: pg_sys::MemoryContext) -> Rc<Statement> {
        let known = STATEMENTS.with_borrow(|statements| {
            let known = statements.iter().find(|(known, _)| *known == context);
            known.map(|(_, statement)| statement.clone())
        });
        known.unwrap_or_else(|| {
            let statement = Rc::new(Statement::new());
            PgMemoryContexts::For(context).leak_and_drop_on_delete(Registration(context));
            STATEMENTS.with_borrow_mut(|all| all.push((context, statement.clone())));
            statement
        })
    }

    fn new() -> Statement {
        Statement {
            totals: Arc::default(),
            started: Cell::new(0),
            open: Cell::new(0),
            number: next_number(),
            expected: Cell::new(Expected::Known(0)),
            handles: RefCell::default(),
            limits: RefCell::default(),
            budgets: RefCell::default(),
            last_report: Cell::new(None),
        }
    }

    /// A number that no other statement of the server has while this backend runs.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Invocations started so far.
    pub fn started(&self) -> u64 {
        self.started.get()
    }

    /// Invocations started so far, and those that still take rows.
    pub fn begun(&self) -> u64 {
        self.started.get() + self.open.get()
    }

    /// Adds to the number of those that still take rows.
    pub fn count_open(&self, more: i64) {
        self.open.set(self.open.get().saturating_add_signed(more));
    }

    /// Counts one that is started.
    pub fn count(&self) {
        self.started.set(self.started.get() + 1);
        if self.last_report.get().is_none() {
            self.last_report.set(Some((Instant::now(), 0)));
        }
    }

    /// Adds to the number of invocations that are expected; `None` if that is not known.
    pub fn add_expected(&self, count: Option<u64>) {
        self.expected.set(match (self.expected.get(), count) {
            (Expected::Known(before), Some(count)) => Expected::Known(before.saturating_add(count)),
            _ => Expected::Unknown,
        });
    }

    /// The equal invocation, if there was one.
    pub fn find(&self, key: &Key) -> Option<Rc<InvocationHandle>> {
        self.handles.borrow().get(key).cloned()
    }

    /// Remembers an invocation for equal ones.
    pub fn insert(&self, key: Key, handle: &Rc<InvocationHandle>) {
        self.handles.borrow_mut().insert(key, handle.clone());
    }

    /// The concurrency limit of a scan's attempts. All scans with the same owner of the option share one.
    pub fn limit(&self, limits: &Limits) -> Arc<ConcurrencyLimit> {
        let most = limits.max_concurrency;
        match limits.concurrency_of {
            Some(owner) => (self.limits.borrow_mut().entry((owner, most)))
                .or_insert_with(|| ConcurrencyLimit::new(most))
                .clone(),
            None => ConcurrencyLimit::new(most),
        }
    }

    /// The budget of a scan. All scans with the same owner of the option share one, and so do all without an owner.
    pub fn budget(&self, limits: &Limits) -> Arc<Budget> {
        let key = (limits.memory_of, limits.max_memory);
        (self.budgets.borrow_mut().entry(key))
            .or_insert_with(|| Budget::new(limits.max_memory))
            .clone()
    }

    /// How long until progress is reported; `None` if never.
    pub fn progress_interval(&self) -> Option<Duration> {
        let seconds = Some(settings::progress_interval()).filter(|seconds| *seconds > 0)?;
        let interval = Duration::from_secs(seconds.into());
        let (reported, _) = self.last_report.get()?;
        Some(interval.saturating_sub(reported.elapsed()))
    }

    /// Reports the progress to the user, if it is time to.
    pub fn report_progress(&self) {
        let Some((reported, done_then)) = self.last_report.get() else {
            return;
        };
        if self.progress_interval().is_none_or(|time| !time.is_zero()) {
            return;
        }
        let done = self.totals.done.load(Relaxed);
        let rate = (done - done_then) as f64 / reported.elapsed().as_secs_f64();
        self.last_report.set(Some((Instant::now(), done)));
        let of = match self.expected.get() {
            Expected::Known(expected) if expected >= done => format!(" of {expected}"),
            _ => String::new(),
        };
        pgrx::notice!(
            "{done}{of} invocations done, {} failed, {} in flight, {rate:.0} per second",
            self.totals.failed.load(Relaxed),
            self.totals.unfinished.load(Relaxed),
        );
    }
}

/// A number of the process, and one of the statement. Together they have fewer bits than a number of JavaScript.
fn next_number() -> u64 {
    const STATEMENTS: u64 = 1 << 28;
    thread_local! {
        static LAST: Cell<u64> = const { Cell::new(0) };
    }
    LAST.set((LAST.get() + 1) % STATEMENTS);
    process::id().unsigned_abs() as u64 * STATEMENTS + LAST.get()
}
