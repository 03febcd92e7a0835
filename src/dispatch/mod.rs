//! From requests to outcomes: how many invocations of a scan are on their way, and the waiting for them.
//!
//! - [`runs`] knows which query runs, [`demand`] what it is going to ask of a scan, [`pace`] how far a scan may
//!   therefore go ahead.
//! - [`statement`] is what all scans of a statement share.
//!
//! Outcomes are taken in the order of their requests, so this decides when something is invoked, and not what.

pub mod demand;
pub mod pace;
pub mod runs;
pub mod statement;

use crate::backend::config::Config;
use crate::backend::task::Task;
use crate::backend::{self, SharedClient, wait};
use crate::error::Error;
use crate::lambda::budget::{Budget, Share};
use crate::lambda::request::InvokeRequest;
use crate::lambda::response::InvokeResponse;
use crate::lambda::traffic::Traffic;
use crate::memory;
use crate::options::OnError;
use bytes::Bytes;
use pace::Pace;
use pgrx::pg_sys;
use statement::Statement;
use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How many times `max_concurrency` outcomes may wait behind one that is late, while they fit into `max_memory`.
const MOST_KEPT: usize = 4;

/// The invocations of one scan.
pub struct Dispatch {
    /// What options and settings say.
    pub config: Config,
    /// How far to go ahead.
    pub pace: Pace,
    /// Attempts, and what was counted of them.
    pub traffic: Arc<Traffic>,
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
    counted: Option<Vec<Weak<Flight>>>,
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
            traffic: Traffic::new(statement.limit(&config.limits)),
            budget: statement.budget(&config.limits),
            pace: Pace::new(node, config.limits.max_concurrency),
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
    pub fn announce(&self, count: Option<u64>) -> Result<(), Error> {
        let known = count
            .filter(|count| !self.config.deduplicate && (*count <= 1 || !self.pace.may_stop()));
        let wanted = known.map(|count| count.min(self.pace.wanted()));
        (self.statement).add_expected(wanted.filter(|_| runs::is_outermost()));
        match (self.config.limits.max_invocations, count) {
            (Some(most), Some(count))
                if self.pace.all_are_wanted()
                    && !self.config.deduplicate
                    && self.statement.started().saturating_add(count) > most =>
            {
                Err(Error::TooManyInvocations {
                    most,
                    made: self.statement.started(),
                    wanted: Some(count),
                })
            }
            _ => Ok(()),
        }
    }

    /// Whether to start one more while so many were started and not yet taken.
    pub fn may_start(&self, untaken: usize) -> bool {
        if untaken == 0 {
            return true;
        }
        let counters = &self.traffic.counters;
        let limits = &self.config.limits;
        let doomed =
            self.config.on_error == OnError::Raise && counters.failed.load(Relaxed) > self.forgiven;
        let spent = (limits.max_invocations).is_some_and(|most| self.statement.started() >= most);
        let allowed = self.pace.allowed();
        if doomed || spent || counters.pending.load(Relaxed) >= allowed {
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
        self.pace.wanted().min(most as u64) as usize
    }

    /// Starts an invocation, or finds the equal one of this statement that was started before.
    ///
    /// Errors when the statement has made all that it may.
    pub fn start(
        &mut self,
        table: pg_sys::Oid,
        request: InvokeRequest,
    ) -> Result<Rc<Flight>, Error> {
        let Some(equal) = self.equal.clone() else {
            return self.start_new(request);
        };
        let client = self.config.client(request.region.as_deref());
        let key = (table, self.config.user, client, request);
        if let Some(flight) = equal.find(&key) {
            return Ok(flight);
        }
        let flight = self.start_new(key.3.clone())?;
        equal.keep(key, &flight);
        Ok(flight)
    }

    fn start_new(&mut self, request: InvokeRequest) -> Result<Rc<Flight>, Error> {
        runs::refuse_doomed()?;
        let made = self.statement.started();
        match self.config.limits.max_invocations {
            Some(most) if made >= most => {
                return Err(Error::TooManyInvocations {
                    most,
                    made,
                    wanted: None,
                });
            }
            _ => (),
        }
        if memory::is_short() && (made > 0 || !memory::recover()) {
            return Err(Error::MemoryIsShort);
        }
        let name: Arc<str> = request.full_name().into();
        let unsent = |error: Error| error.of_unsent(&name);
        let client = (self.client(request.region.as_deref())).map_err(unsent)?;
        let pending = Pending::new(self.traffic.clone(), &self.statement);
        let (patience, keeps_payload) = (self.config.patience, self.keeps_payload);
        let function_name = name.clone();
        let is_kept = self.config.deduplicate;
        let sent = self
            .budget
            .payload(request.payload.as_ref().map_or(0, Bytes::len));
        let share = self.budget.response();
        let room = share.clone();
        let task = backend::spawn(async move {
            let traffic = &pending.traffic;
            let result = client.invoke(&request, patience, traffic, &room).await;
            drop((request, sent));
            let outcome = pending.ended(function_name, result, keeps_payload, room);
            if is_kept {
                outcome.keep();
            }
            outcome
        })
        .map_err(unsent)?;
        self.statement.count();
        let flight = Flight::new(State::Flying(task, name), Some(share));
        if let Some(counted) = &mut self.counted {
            if counted.len() == counted.capacity() {
                counted.retain(|flight| flight.strong_count() > 0);
            }
            counted.push(Rc::downgrade(&flight));
        }
        Ok(flight)
    }

    /// Gives up what nobody has asked for, as nobody will any more, so that what was sent can be counted.
    pub fn give_up(&mut self) -> Result<(), Error> {
        let counted = self.counted.take().unwrap_or_default();
        for flight in counted.into_iter().filter_map(|flight| flight.upgrade()) {
            flight.give_up();
        }
        while self.traffic.counters.pending.load(Relaxed) > 0 {
            wait::wait(Some(Duration::from_millis(1)))?;
        }
        Ok(())
    }

    /// What has come back before, and was kept elsewhere meanwhile.
    pub fn again(&self, response: InvokeResponse, function_name: Option<String>) -> Rc<Flight> {
        let share = self.budget.share();
        share.set(response.payload.as_ref().map_or(0, Vec::len));
        Flight::of(Rc::new(Outcome {
            result: Ok(response),
            function_name: function_name.map(Arc::from),
            share: Some(share),
        }))
    }

    /// What stands in the place of an invocation that can't be made.
    pub fn refuse(&self, error: Error) -> Rc<Flight> {
        let pending = Pending::new(self.traffic.clone(), &self.statement);
        let outcome = pending.failure(None, Err(error), None);
        Flight::of(Rc::new(outcome))
    }

    fn client(&mut self, region: Option<&str>) -> Result<SharedClient, Error> {
        if let Some((known, client)) = &self.client
            && known.as_deref() == region
        {
            return Ok(client.clone());
        }
        let run = runs::innermost().map(|run| run.number);
        let client = backend::client(&self.config, region, run)?;
        self.client = Some((region.map(str::to_owned), client.clone()));
        Ok(client)
    }

    /// Other values have come: neither what was asked nor what has failed so far says anything of them.
    pub fn start_over(&mut self) {
        self.pace.start_over();
        self.forgiven = self.traffic.counters.failed.load(Relaxed);
    }

    /// Tells the user how far the statement is, if it is time to.
    pub fn tell(&self) {
        self.statement.tell();
    }

    /// Waits until something has come from the network, which is to be this invocation, and tells the user now and then.
    pub fn wait(&mut self, flight: Option<&Flight>) -> Result<(), Error> {
        if let Some(share) = flight.and_then(|flight| flight.share.as_ref()) {
            share.await_this();
        }
        let start = Instant::now();
        let result = wait::wait(self.statement.time_to_tell());
        self.waited += start.elapsed();
        self.statement.tell();
        result
    }
}

/// An invocation on its way, or what became of it. Dropped by all who hold it, it is aborted.
pub struct Flight {
    state: RefCell<State>,
    /// Where the response is counted.
    share: Option<Arc<Share>>,
}

enum State {
    /// With the function's name, which an outcome has too.
    Flying(Task<Outcome>, Arc<str>),
    Landed(Rc<Outcome>),
    GivenUp,
}

impl Flight {
    fn new(state: State, share: Option<Arc<Share>>) -> Rc<Flight> {
        let state = RefCell::new(state);
        Rc::new(Flight { state, share })
    }

    /// What has come back.
    pub fn of(outcome: Rc<Outcome>) -> Rc<Flight> {
        Flight::new(State::Landed(outcome), None)
    }

    /// It is one of those that an Append waits for.
    pub fn await_too(&self) {
        if let Some(share) = &self.share {
            share.await_this_too();
        }
    }

    /// What became of it; `None` as long as it is on its way.
    pub fn landed(&self) -> Result<Option<Rc<Outcome>>, Error> {
        let mut state = self.state.borrow_mut();
        let (task, name) = match &mut *state {
            State::Landed(outcome) => return Ok(Some(outcome.clone())),
            State::Flying(task, name) => (task, name),
            State::GivenUp => return Err(Error::Unexpected("row was asked for after the end")),
        };
        match task.poll() {
            None if memory::is_short() => Err(Error::MemoryIsShort),
            None => Ok(None),
            Some(Ok(outcome)) => {
                if outcome.result.is_err() {
                    backend::tidy_up();
                }
                let outcome = Rc::new(outcome);
                *state = State::Landed(outcome.clone());
                Ok(Some(outcome))
            }
            Some(Err(())) => Err(Error::Panicked.of(name, None)),
        }
    }

    fn give_up(&self) {
        self.state.replace_with(|state| match state {
            State::Landed(outcome) => State::Landed(outcome.clone()),
            _ => State::GivenUp,
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
struct Pending {
    traffic: Arc<Traffic>,
    totals: Arc<statement::Totals>,
}

impl Pending {
    fn new(traffic: Arc<Traffic>, statement: &Statement) -> Pending {
        let totals = statement.totals.clone();
        traffic.counters.pending.fetch_add(1, Relaxed);
        totals.pending.fetch_add(1, Relaxed);
        Pending { traffic, totals }
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
        self.traffic.counters.bytes_in.fetch_add(bytes, Relaxed);
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
        self.traffic.counters.failed.fetch_add(1, Relaxed);
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

impl Drop for Pending {
    fn drop(&mut self) {
        self.traffic.counters.pending.fetch_sub(1, Relaxed);
        self.totals.pending.fetch_sub(1, Relaxed);
    }
}
