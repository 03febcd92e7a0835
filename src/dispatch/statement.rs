//! What the scans of one statement share: the count of invocations, equal ones, and what the user is told meanwhile.
//!
//! Invocations are counted for the query that is not run by another one: what a function's queries invoke counts for
//! the query that calls the function. Equal ones are looked for in the scan's own query: a function that asks again
//! wants to know again.

use super::{InvocationHandle, executor_hooks};
use crate::backend::config::{Limits, Owner};
use crate::lambda::ClientConfig;
use crate::lambda::budget::Budget;
use crate::lambda::limiter::ConcurrencyLimit;
use crate::lambda::request::InvokeRequest;
use crate::settings;
use pgrx::{PgMemoryContexts, pg_sys};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What makes invocations equal: foreign table, role, where and with which keys it is sent, and what is sent.
pub type Key = (pg_sys::Oid, pg_sys::Oid, ClientConfig, InvokeRequest);

type Budgets = HashMap<(Option<Owner>, usize), Arc<Budget>>;

/// The invocations of one statement.
pub struct Statement {
    /// Counted by the network thread.
    pub totals: Arc<Totals>,
    started: Cell<u64>,
    expected: Cell<Expected>,
    handles: RefCell<HashMap<Key, Rc<InvocationHandle>>>,
    /// By the table or server whose option each is, and its number.
    limits: RefCell<HashMap<(Owner, usize), Arc<ConcurrencyLimit>>>,
    /// By whose option each is, and its bytes.
    budgets: RefCell<Budgets>,
    told: Cell<Option<(Instant, u64)>>,
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
    /// The statements of this backend that have invoked, by the memory context that they end with.
    static STATEMENTS: RefCell<Vec<(pg_sys::MemoryContext, Rc<Statement>)>> = const { RefCell::new(Vec::new()) };
}

/// Forgets a statement with its memory context.
struct Registration(pg_sys::MemoryContext);

impl Drop for Registration {
    fn drop(&mut self) {
        let forgotten = STATEMENTS.try_with(|statements| {
            let mut statements = statements.borrow_mut();
            let place = statements
                .iter()
                .position(|(context, _)| *context == self.0)?;
            Some(statements.swap_remove(place))
        });
        // Dropped only now, as it may abort what is on its way.
        drop(forgotten);
    }
}

impl Statement {
    /// The statement that a query belongs to.
    ///
    /// # Safety
    /// `estate` is that of a query being executed.
    pub unsafe fn of(estate: *mut pg_sys::EState) -> Rc<Statement> {
        match executor_hooks::outermost() {
            Some(context) => Statement::of_context(context),
            // SAFETY: see above.
            None => unsafe { Statement::of_query(estate) },
        }
    }

    /// The statement that runs; one of its own where PostgreSQL evaluates an expression without a query.
    pub fn current() -> Rc<Statement> {
        match executor_hooks::outermost() {
            Some(context) => Statement::of_context(context),
            None => Rc::new(Statement::new()),
        }
    }

    /// The query itself as a statement.
    ///
    /// # Safety
    /// As above.
    pub unsafe fn of_query(estate: *mut pg_sys::EState) -> Rc<Statement> {
        // SAFETY: see above.
        Statement::of_context(unsafe { (*estate).es_query_cxt })
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
            expected: Cell::new(Expected::Known(0)),
            handles: RefCell::default(),
            limits: RefCell::default(),
            budgets: RefCell::default(),
            told: Cell::new(None),
        }
    }

    /// Invocations started so far.
    pub fn started(&self) -> u64 {
        self.started.get()
    }

    /// Counts one that is started.
    pub fn count(&self) {
        self.started.set(self.started.get() + 1);
        if self.told.get().is_none() {
            self.told.set(Some((Instant::now(), 0)));
        }
    }

    /// Adds to the number of invocations that are to be made; `None` if that is not known.
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

    /// Keeps an invocation for equal ones.
    pub fn keep(&self, key: Key, handle: &Rc<InvocationHandle>) {
        self.handles.borrow_mut().insert(key, handle.clone());
    }

    /// What lets out the attempts of a scan: one for all scans for which an owner has set the most.
    pub fn limit(&self, limits: &Limits) -> Arc<ConcurrencyLimit> {
        let most = limits.max_concurrency;
        match limits.concurrency_of {
            Some(owner) => (self.limits.borrow_mut().entry((owner, most)))
                .or_insert_with(|| ConcurrencyLimit::new(most))
                .clone(),
            None => ConcurrencyLimit::new(most),
        }
    }

    /// The memory of a scan: one for all scans of the owner who has set it, and one for all for which nobody has.
    pub fn budget(&self, limits: &Limits) -> Arc<Budget> {
        let key = (limits.memory_of, limits.max_memory);
        (self.budgets.borrow_mut().entry(key))
            .or_insert_with(|| Budget::new(limits.max_memory))
            .clone()
    }

    /// How long until the user is to be told; `None` if never.
    pub fn progress_interval(&self) -> Option<Duration> {
        let seconds = Some(settings::progress_interval()).filter(|seconds| *seconds > 0)?;
        let interval = Duration::from_secs(seconds.into());
        let (told, _) = self.told.get()?;
        Some(interval.saturating_sub(told.elapsed()))
    }

    /// Tells the user how far the statement is, if it is time to.
    pub fn report_progress(&self) {
        let Some((told, done_then)) = self.told.get() else {
            return;
        };
        if self.progress_interval().is_none_or(|time| !time.is_zero()) {
            return;
        }
        let done = self.totals.done.load(Relaxed);
        let rate = (done - done_then) as f64 / told.elapsed().as_secs_f64();
        self.told.set(Some((Instant::now(), done)));
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
