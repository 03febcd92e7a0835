//! From requests to outcomes: how many invocations of a scan are on their way, and the waiting for them.
//!
//! - [`executor_hooks`] knows which query runs, [`rows_wanted`] what it is going to ask of a scan, [`prefetch_limit`] how far a scan may
//!   therefore go ahead.
//! - [`statement`] is what all scans of a statement share.
//!
//! Outcomes are taken in the order of their requests, so this decides when something is invoked, and not what.

pub mod executor_hooks;
pub mod prefetch_limit;
pub mod rows_wanted;
pub mod statement;

use crate::backend::config::Config;
use crate::backend::task::Task;
use crate::backend::{self, SharedClient, wait};
use crate::error::{Error, StatementError};
use crate::lambda::budget::{Budget, Share};
use crate::lambda::limiter::Limiter;
use crate::lambda::request::InvokeRequest;
use crate::lambda::response::InvokeResponse;
use crate::memory;
use crate::options::OnError;
use bytes::Bytes;
use pgrx::pg_sys;
use prefetch_limit::PrefetchLimit;
use statement::Statement;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// Whether the statement that runs has invoked functions.
pub fn has_invoked() -> bool {
    Statement::current().started() > 0
}

/// How many times `max_concurrency` outcomes may wait behind one that is late, while they fit into `max_memory`.
const MOST_KEPT: usize = 4;

/// The invocations of one scan.
pub struct Dispatch {
    /// What options and settings say.
    pub config: Config,
    /// How far to go ahead.
    pub prefetch_limit: PrefetchLimit,
    /// Attempts, and what was counted of them.
    pub limiter: Arc<Limiter>,
    /// The memory of what is sent, read ahead, and comes back.
    pub budget: Arc<Budget>,
    /// How many failures have nothing to do with the current values.
    forgiven: u64,
    /// Time spent waiting for the network.
    pub waited: Duration,
    /// Whether the function's response is read, which otherwise need not be kept.
    keeps_payload: bool,
    statement: Rc<Statement>,
    /// Where equal invocations are looked for.
    equal: Option<Rc<Statement>>,
    /// The client used last, and its region.
    client: Option<(Option<String>, SharedClient)>,
    /// What was started, where it is going to be counted.
    counted: Option<Vec<Weak<InvocationHandle>>>,
}

impl Dispatch {
    /// Prepares invocations of a scan that `node` asks.
    ///
    /// # Safety
    /// `node` is an initialised node, or null where rows come from elsewhere; `estate` is that of its query.
    pub unsafe fn new(
        config: Config,
        estate: *mut pg_sys::EState,
        node: *mut pg_sys::PlanState,
        keeps_payload: bool,
    ) -> Dispatch {
        // An equal invocation may be one of a scan that reads the response.
        let keeps_payload = keeps_payload || config.deduplicate;
        // SAFETY: see above.
        unsafe {
            let equal = (config.deduplicate).then(|| Statement::of_query(estate));
            let counted = ((*estate).es_instrument != 0).then(Vec::new);
            Dispatch {
                counted,
                ..Dispatch::make(config, Statement::of(estate), equal, node, keeps_payload)
            }
        }
    }

    /// Prepares one invocation that no query's node asks for.
    pub fn alone(config: Config) -> Dispatch {
        // SAFETY: there is no node.
        unsafe {
            Dispatch::make(
                config,
                Statement::current(),
                None,
                std::ptr::null_mut(),
                true,
            )
        }
    }

    unsafe fn make(
        config: Config,
        statement: Rc<Statement>,
        equal: Option<Rc<Statement>>,
        node: *mut pg_sys::PlanState,
        keeps_payload: bool,
    ) -> Dispatch {
        Dispatch {
            limiter: Limiter::new(statement.limit(&config.limits)),
            budget: statement.budget(&config.limits),
            prefetch_limit: PrefetchLimit::new(node, config.limits.max_concurrency),
            keeps_payload,
            equal,
            config,
            forgiven: 0,
            waited: Duration::ZERO,
            statement,
            client: None,
            counted: None,
        }
    }

    /// Notes how many invocations are to be made beyond those that were announced before; `None` if that is not known.
    ///
    /// Errors when all of them are going to be asked for, and are more than the statement may make.
    pub fn expect(&self, count: Option<u64>) -> Result<(), Error> {
        let known = count.filter(|count| {
            !self.config.deduplicate && (*count <= 1 || !self.prefetch_limit.may_end_early())
        });
        let wanted = known.map(|count| count.min(self.prefetch_limit.wanted()));
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

    /// Whether to start one more while so many were started and not yet taken.
    pub fn may_start(&self, untaken: usize) -> bool {
        if untaken == 0 {
            return true;
        }
        let counters = &self.limiter.counters;
        let limits = &self.config.limits;
        let doomed =
            self.config.on_error == OnError::Raise && counters.failed.load(Relaxed) > self.forgiven;
        let spent = (limits.max_invocations).is_some_and(|most| self.statement.started() >= most);
        let allowed = self.prefetch_limit.allowed();
        if doomed || spent || counters.unfinished.load(Relaxed) >= allowed {
            return false;
        }
        untaken < self.most_kept() && self.budget.has_room()
    }

    /// Whether to read one more row to invoke for while so many rows wait.
    pub fn may_read(&self, rows: usize, untaken: usize) -> bool {
        let first = rows == 0 && untaken == 0;
        first
            || rows < self.most_kept() && self.may_start(untaken) && self.budget.has_room_for_row()
    }

    /// Most invocations that are started and not yet taken.
    fn most_kept(&self) -> usize {
        let most = self.config.limits.max_concurrency * MOST_KEPT;
        self.prefetch_limit.wanted().min(most as u64) as usize
    }

    /// Starts an invocation, or finds the equal one of this statement that was started before.
    ///
    /// Errors when the statement has made all that it may.
    pub fn start(
        &mut self,
        table: pg_sys::Oid,
        request: InvokeRequest,
    ) -> Result<Rc<InvocationHandle>, Error> {
        let Some(equal) = self.equal.clone() else {
            return self.start_new(request);
        };
        let client = self.config.client(request.region.as_deref());
        let key = (table, self.config.user, client, request);
        if let Some(handle) = equal.find(&key) {
            return Ok(handle);
        }
        let handle = self.start_new(key.3.clone())?;
        equal.keep(key, &handle);
        Ok(handle)
    }

    fn start_new(&mut self, request: InvokeRequest) -> Result<Rc<InvocationHandle>, Error> {
        executor_hooks::refuse_doomed()?;
        let made = self.statement.started();
        match self.config.limits.max_invocations {
            Some(most) if made >= most => {
                return Err(Error::Statement(StatementError::TooManyInvocations {
                    most,
                    made,
                    wanted: None,
                }));
            }
            _ => (),
        }
        if memory::is_short() && (made > 0 || !memory::recover()) {
            return Err(Error::MemoryIsShort);
        }
        let name: Arc<str> = request.full_name().into();
        let unsent = |error: Error| error.of_unsent(&name);
        let client = (self.client(request.region.as_deref())).map_err(unsent)?;
        let unfinished = InFlightGuard::new(self.limiter.clone(), &self.statement);
        let (retry_policy, keeps_payload) = (self.config.retry_policy, self.keeps_payload);
        let function_name = name.clone();
        let is_kept = self.config.deduplicate;
        let sent = self
            .budget
            .payload(request.payload.as_ref().map_or(0, Bytes::len));
        let share = self.budget.response();
        let room = share.clone();
        let task = backend::spawn(async move {
            let limiter = &unfinished.limiter;
            let result = client.invoke(&request, retry_policy, limiter, &room).await;
            drop((request, sent));
            let outcome = unfinished.ended(function_name, result, keeps_payload, room);
            if is_kept {
                outcome.keep();
            }
            outcome
        })
        .map_err(unsent)?;
        self.statement.count();
        let handle = InvocationHandle::new(State::InFlight(task, name), Some(share));
        if let Some(counted) = &mut self.counted {
            if counted.len() == counted.capacity() {
                counted.retain(|handle| handle.strong_count() > 0);
            }
            counted.push(Rc::downgrade(&handle));
        }
        Ok(handle)
    }

    /// Gives up what nobody has asked for, as nobody will any more, so that what was sent can be counted.
    pub fn give_up(&mut self) -> Result<(), Error> {
        let counted = self.counted.take().unwrap_or_default();
        for handle in counted.into_iter().filter_map(|handle| handle.upgrade()) {
            handle.give_up();
        }
        while self.limiter.counters.unfinished.load(Relaxed) > 0 {
            wait::wait(Some(Duration::from_millis(1)))?;
        }
        Ok(())
    }

    /// What has come back before, and was kept elsewhere meanwhile.
    pub fn again(
        &self,
        response: InvokeResponse,
        function_name: Option<String>,
    ) -> Rc<InvocationHandle> {
        let share = self.budget.share();
        share.set(response.payload.as_ref().map_or(0, Vec::len));
        InvocationHandle::of(Rc::new(Outcome {
            result: Ok(response),
            function_name: function_name.map(Arc::from),
            share: Some(share),
        }))
    }

    /// What stands in the place of an invocation that can't be made.
    pub fn refuse(&self, error: Error) -> Rc<InvocationHandle> {
        let unfinished = InFlightGuard::new(self.limiter.clone(), &self.statement);
        let outcome = unfinished.failure(None, Err(error), None);
        InvocationHandle::of(Rc::new(outcome))
    }

    fn client(&mut self, region: Option<&str>) -> Result<SharedClient, Error> {
        if let Some((known, client)) = &self.client
            && known.as_deref() == region
        {
            return Ok(client.clone());
        }
        let run = executor_hooks::innermost().map(|run| run.number);
        let client = backend::client(&self.config, region, run)?;
        self.client = Some((region.map(str::to_owned), client.clone()));
        Ok(client)
    }

    /// Other values have come: neither what was asked nor what has failed so far says anything of them.
    pub fn start_over(&mut self) {
        self.prefetch_limit.start_over();
        self.forgiven = self.limiter.counters.failed.load(Relaxed);
    }

    /// Tells the user how far the statement is, if it is time to.
    pub fn report_progress(&self) {
        self.statement.report_progress();
    }

    /// Waits until something has come from the network, which is to be this invocation, and tells the user now and then.
    pub fn wait(&mut self, handle: Option<&InvocationHandle>) -> Result<(), Error> {
        if let Some(share) = handle.and_then(|handle| handle.share.as_ref()) {
            share.await_this();
        }
        let start = Instant::now();
        let result = wait::wait(self.statement.progress_interval());
        self.waited += start.elapsed();
        self.statement.report_progress();
        result
    }
}

/// An invocation on its way, or what became of it. Dropped by all who hold it, it is aborted.
pub struct InvocationHandle {
    state: RefCell<State>,
    /// Where the response is counted.
    share: Option<Arc<Share>>,
}

enum State {
    /// With the function's name, which an outcome has too.
    InFlight(Task<Outcome>, Arc<str>),
    Completed(Rc<Outcome>),
    Abandoned,
}

impl InvocationHandle {
    fn new(state: State, share: Option<Arc<Share>>) -> Rc<InvocationHandle> {
        let state = RefCell::new(state);
        Rc::new(InvocationHandle { state, share })
    }

    /// What has come back.
    pub fn of(outcome: Rc<Outcome>) -> Rc<InvocationHandle> {
        InvocationHandle::new(State::Completed(outcome), None)
    }

    /// It is one of those that an Append waits for.
    pub fn await_too(&self) {
        if let Some(share) = &self.share {
            share.await_this_too();
        }
    }

    /// What became of it; `None` as long as it is on its way.
    pub fn poll(&self) -> Result<Option<Rc<Outcome>>, Error> {
        let mut state = self.state.borrow_mut();
        let (task, name) = match &mut *state {
            State::Completed(outcome) => return Ok(Some(outcome.clone())),
            State::InFlight(task, name) => (task, name),
            State::Abandoned => return Err(Error::Unexpected("row was asked for after the end")),
        };
        match task.poll() {
            None if memory::is_short() => Err(Error::MemoryIsShort),
            None => Ok(None),
            Some(Ok(outcome)) => {
                if outcome.result.is_err() {
                    backend::drain_connections();
                }
                let outcome = Rc::new(outcome);
                *state = State::Completed(outcome.clone());
                Ok(Some(outcome))
            }
            Some(Err(())) => Err(Error::Panicked.of(name, None)),
        }
    }

    fn give_up(&self) {
        self.state.replace_with(|state| match state {
            State::Completed(outcome) => State::Completed(outcome.clone()),
            _ => State::Abandoned,
        });
    }
}

/// The end of an invocation.
pub struct Outcome {
    /// What came back, or why nothing did.
    pub result: Result<InvokeResponse, Error>,
    /// The function's name or ARN, with its qualifier; `None` where nothing could be invoked.
    pub function_name: Option<Arc<str>>,
    /// Where the response is counted.
    share: Option<Arc<Share>>,
}

impl Outcome {
    /// It is kept for whoever may want it again, and waiting would not end that.
    pub fn keep(&self) {
        if let Some(share) = &self.share {
            share.set(0);
        }
    }
}

/// Counts an invocation as long as it is on its way, wherever it ends.
struct InFlightGuard {
    limiter: Arc<Limiter>,
    totals: Arc<statement::Totals>,
}

impl InFlightGuard {
    fn new(limiter: Arc<Limiter>, statement: &Statement) -> InFlightGuard {
        let totals = statement.totals.clone();
        limiter.counters.unfinished.fetch_add(1, Relaxed);
        totals.unfinished.fetch_add(1, Relaxed);
        InFlightGuard { limiter, totals }
    }

    fn ended(
        self,
        name: Arc<str>,
        mut result: Result<InvokeResponse, Error>,
        keeps_payload: bool,
        share: Arc<Share>,
    ) -> Outcome {
        let Ok(response) = &mut result else {
            return self.failure(Some(name), result, Some(share));
        };
        let payload = response.payload.as_ref();
        let bytes = payload.map_or(0, Vec::len) as u64;
        self.limiter.counters.bytes_in.fetch_add(bytes, Relaxed);
        share.note(bytes as usize);
        if response.function_error.is_some() {
            return self.failure(Some(name), result, Some(share));
        }
        if !keeps_payload {
            response.payload = None;
        }
        self.outcome(Some(name), result, Some(share))
    }

    fn failure(
        &self,
        name: Option<Arc<str>>,
        result: Result<InvokeResponse, Error>,
        share: Option<Arc<Share>>,
    ) -> Outcome {
        self.limiter.counters.failed.fetch_add(1, Relaxed);
        self.totals.failed.fetch_add(1, Relaxed);
        self.outcome(name, result, share)
    }

    fn outcome(
        &self,
        function_name: Option<Arc<str>>,
        result: Result<InvokeResponse, Error>,
        share: Option<Arc<Share>>,
    ) -> Outcome {
        let payload = result
            .as_ref()
            .ok()
            .and_then(|response| response.payload.as_ref());
        if let Some(share) = &share {
            share.set(payload.map_or(0, Vec::len));
            share.is_over();
        }
        self.totals.done.fetch_add(1, Relaxed);
        Outcome {
            result,
            function_name,
            share,
        }
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.limiter.counters.unfinished.fetch_sub(1, Relaxed);
        self.totals.unfinished.fetch_sub(1, Relaxed);
    }
}
