//! From requests to outcomes: how many invocations of a scan are in flight, and the waiting for them.
//!
//! - [`executor_hooks`] knows which query runs. [`rows_wanted`] finds out how many rows that query wants of a scan.
//!   [`prefetch_limit`] makes of it how many invocations the scan may start.
//! - [`start`] starts a request, and [`start_in_batch`] puts rows into batches. [`handle`] is one invocation, or a row of a [`batch`], which rows
//!   share. [`batch_rows`] is several of those rows.
//! - [`window`] is the invocations that were started and not yet taken, in order.
//! - [`counted`] is the invocations that EXPLAIN counts. [`statement`] is what all scans of a statement share.
//!
//! This module decides when a request is sent. It does not decide what is sent.

mod batch;
mod batch_rows;
mod counted;
pub mod executor_hooks;
mod handle;
pub mod prefetch_limit;
pub mod rows_wanted;
mod start;
mod start_in_batch;
pub mod statement;
pub mod window;

pub use handle::{InvocationHandle, Outcome, Started};

use crate::backend::config::Config;
use crate::backend::{Lifetime, SharedClient, wait};
use crate::columns::Layout;
use crate::error::{Error, StatementError};
use crate::lambda::budget::Budget;
use crate::lambda::limiter::Limiter;
use crate::lambda::request::Checker;
use crate::options::{OnError, TableObject};
use crate::postgres::executor::EState;
use crate::postgres::plans::PlanState;
use batch::Batch;
use counted::Counted;
use pgrx::pg_sys;
use prefetch_limit::PrefetchLimit;
use statement::Statement;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Whether the statement that runs has invoked functions.
pub fn has_invoked() -> bool {
    Statement::current().started() > 0
}

/// How many times `max_concurrency` invocations may be started and not yet taken, while they fit into `max_memory`. One that is late
/// holds up the outcomes behind it.
const MOST_UNTAKEN: usize = 4;

/// Waits until any invocation has ended, or for `longest`. `oldest` is read over the budget, so that those that wait for its memory go on.
pub fn wait_for_any(oldest: &Started, longest: Option<Duration>) -> Result<(), Error> {
    oldest.note_awaited_too();
    wait::wait(longest)
}

/// Starts the invocations of one scan, INSERT or call, and waits for them.
pub struct Dispatch {
    /// What options and settings say.
    pub config: Config,
    /// How many invocations may be started.
    pub prefetch_limit: PrefetchLimit,
    /// Limits the attempts, and counts them.
    pub limiter: Arc<Limiter>,
    /// The memory of payloads, prefetched rows and responses.
    pub budget: Arc<Budget>,
    /// Time spent waiting for the network.
    pub waited: Duration,
    table: pg_sys::Oid,
    /// How many invocations had failed when the current values came.
    failed_before: u64,
    /// Whether the response is read. It is dropped on arrival otherwise.
    keeps_payload: bool,
    lifetime: Lifetime,
    statement: Rc<Statement>,
    /// Where equal invocations are looked for.
    equal: Option<Rc<Statement>>,
    /// The client used last, and its region.
    client: Option<(Option<String>, SharedClient)>,
    /// The invocations that EXPLAIN will count.
    counted: Option<Vec<Counted>>,
    /// The batch that takes further rows, which its rows hold.
    open: Weak<Batch>,
    checker: Checker,
}

impl Dispatch {
    /// Prepares invocations of a table for rows that `node` is asked for; `None` where rows come from elsewhere.
    pub fn new(
        table: pg_sys::Oid,
        config: Config,
        estate: EState,
        node: Option<PlanState<'static>>,
        keeps_payload: bool,
    ) -> Dispatch {
        // A scan that reads the response may find the invocation of one that does not.
        let keeps_payload = keeps_payload || config.deduplicate;
        let equal = (config.deduplicate).then(|| Statement::of_query(estate));
        let counted = (estate.es_instrument != 0).then(Vec::new);
        let statement = Statement::of(estate);
        Dispatch {
            keeps_payload,
            equal,
            counted,
            ..Dispatch::in_statement(table, config, statement, node)
        }
    }

    /// Prepares the invocations of a scan for rows that `node` is asked for.
    pub fn of_scan(
        table: pg_sys::Oid,
        user: pg_sys::Oid,
        layout: &Layout,
        node: PlanState<'static>,
        reads_response: bool,
        is_call: bool,
    ) -> Result<Dispatch, Error> {
        let mut config = Config::read(table, user)?;
        if is_call {
            // None of a function's columns would show a failure, and each call is one.
            config.on_error = OnError::Raise;
            config.deduplicate = false;
            config.limits.limit_calls();
        }
        layout.check_failure_columns(config.on_error)?;
        let keeps_payload = reads_response
            || config.on_error == OnError::Return
            || config.object == TableObject::Functions;
        let estate = node.estate();
        let mut dispatch = Dispatch::new(table, config, estate, Some(node), keeps_payload);
        if layout.rows.is_some() {
            dispatch.prefetch_limit.note_gives_rows();
        }
        Ok(dispatch)
    }

    /// Prepares one invocation that no query's node asks for.
    pub fn alone(table: pg_sys::Oid, config: Config) -> Dispatch {
        Dispatch::in_statement(table, config, Statement::current(), None)
    }

    /// Prepares invocations that no query asks for, and that go on while transactions end. Their owner has to drop them.
    pub fn across_transactions(
        table: pg_sys::Oid,
        config: Config,
        keeps_payload: bool,
    ) -> Dispatch {
        Dispatch {
            keeps_payload,
            lifetime: Lifetime::Handle,
            ..Dispatch::alone(table, config)
        }
    }

    /// Has further invocations made with another configuration, and their responses kept or not.
    pub fn set_config(&mut self, config: Config, keeps_payload: bool) {
        self.config = config;
        self.keeps_payload = keeps_payload;
        self.client = None;
    }

    fn in_statement(
        table: pg_sys::Oid,
        config: Config,
        statement: Rc<Statement>,
        node: Option<PlanState<'static>>,
    ) -> Dispatch {
        let rows = config.batching.as_ref().map_or(1, |batching| batching.rows);
        let most = config.limits.max_concurrency.saturating_mul(rows);
        Dispatch {
            limiter: Limiter::new(statement.limit(&config.limits)),
            budget: statement.budget(&config.limits),
            prefetch_limit: PrefetchLimit::new(node, most, rows > 1),
            waited: Duration::ZERO,
            table,
            config,
            failed_before: 0,
            keeps_payload: true,
            lifetime: Lifetime::Query,
            statement,
            equal: None,
            client: None,
            counted: None,
            open: Weak::new(),
            checker: Checker::default(),
        }
    }

    /// Adds to the number of invocations that the statement is expected to make; `None` if that is not known. Of `rows` that share
    /// invocations it is the least.
    ///
    /// Errors if all of them will be asked for, and are more than the statement may make.
    pub fn note_expected(&self, rows: Option<u64>) -> Result<(), Error> {
        if self.config.object == TableObject::Functions {
            return Ok(());
        }
        let share = self.rows_of_invocation() as u64;
        let count = rows.map(|rows| rows.div_ceil(share));
        let known = count.filter(|count| {
            !self.config.deduplicate && (*count <= 1 || !self.prefetch_limit.may_end_early())
        });
        let most = self.prefetch_limit.wanted().div_ceil(share);
        let wanted = known.map(|count| count.min(most));
        (self.statement).add_expected(wanted.filter(|_| executor_hooks::is_outermost()));
        match (self.config.limits.max_invocations, count) {
            (Some(most), Some(count))
                if self.prefetch_limit.all_are_wanted()
                    && !self.config.deduplicate
                    && self.statement.started().saturating_add(count) > most =>
            {
                Err(Error::Statement(StatementError::TooManyInvocations {
                    most,
                    made: self.statement.started(),
                    wanted: Some(count),
                }))
            }
            _ => Ok(()),
        }
    }

    /// Whether one more invocation may be started beside so many that were not yet taken.
    pub fn may_start(&self, untaken: usize) -> bool {
        if untaken == 0 {
            return true;
        }
        let limits = &self.config.limits;
        let is_spent = (limits.max_invocations).is_some_and(|most| self.statement.begun() >= most);
        let wanted = self.prefetch_limit.wanted();
        let (unfinished, allowed) = self.in_flight(wanted);
        let is_full = is_spent || unfinished >= allowed;
        // A row that does not fit into the open batch has that sent, which is one more than may be in flight. It waits for a permit.
        if self.will_raise() || unfinished > allowed || is_full && self.open_batch().is_none() {
            return false;
        }
        untaken < self.most_untaken(wanted) && self.budget.has_room()
    }

    /// How many invocations are in flight, and how many may be where so many rows are wanted.
    fn in_flight(&self, wanted: u64) -> (usize, usize) {
        let most = self.config.limits.max_concurrency as u64;
        let allowed = wanted.min(most) as usize;
        (self.limiter.counters.unfinished.load(Relaxed), allowed)
    }

    /// Whether one more invocation may be in flight.
    fn has_room(&self) -> bool {
        let (unfinished, allowed) = self.in_flight(self.prefetch_limit.wanted());
        unfinished < allowed
    }

    /// Whether one more outer row may be read beside so many that wait.
    pub fn may_read(&self, rows: usize, untaken: usize) -> bool {
        let is_first = rows == 0 && untaken == 0;
        is_first
            || rows < self.most_untaken(self.prefetch_limit.wanted())
                && self.may_start(untaken)
                && self.budget.has_room_for_row()
    }

    /// Most rows that are started and not yet taken, where so many are wanted.
    fn most_untaken(&self, wanted: u64) -> usize {
        let most = self
            .prefetch_limit
            .most()
            .saturating_mul(MOST_UNTAKEN as u64);
        wanted.min(most) as usize
    }

    /// Notes that the scan has other values now. Rows that were asked for before, and failures, do not count any more.
    pub fn start_over(&mut self) {
        self.prefetch_limit.start_over();
        self.failed_before = self.limiter.counters.failed.load(Relaxed);
    }

    /// Reports the statement's progress to the user, if it is time to.
    pub fn report_progress(&self) {
        self.statement.report_progress();
    }

    /// Waits until any invocation has ended. The network thread hears that `first` is the one that is waited for. Callers look at its
    /// outcome first; [`window::Window::wait_until`] is the loop.
    fn wait(&mut self, first: Option<&Started>) -> Result<(), Error> {
        if let Some(first) = first {
            first.send()?;
            first.note_awaited();
        }
        let start = Instant::now();
        let result = wait::wait(self.statement.progress_interval());
        self.waited += start.elapsed();
        self.statement.report_progress();
        result
    }
}
