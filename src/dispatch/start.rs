//! Starts requests: each is checked, or refused with an error that its row has, and sent alone where rows do not share invocations.

use super::counted::Counted;
use super::handle::InFlightGuard;
use super::{Dispatch, InvocationHandle, Outcome, Started, executor_hooks};
use crate::backend::{self, SharedClient};
use crate::error::{Error, StatementError};
use crate::lambda::api_request::ApiRequest;
use crate::lambda::request::Given;
use crate::lambda::response::InvokeResponse;
use crate::memory;
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;

impl Dispatch {
    /// Starts the invocation of a row's inputs. One that can't be made fails with its error.
    ///
    /// Errors if the statement has made all invocations that it may make.
    pub fn invoke(&mut self, given: Result<Given, Error>) -> Result<Started, Error> {
        match given.and_then(|given| self.checker.request(given)) {
            Ok(request) => self.start(request),
            Err(error) => Ok(self.refuse(error)),
        }
    }

    /// Asks the question about functions that a row's inputs stand for.
    pub fn ask(&mut self, given: Result<Given, Error>) -> Result<Started, Error> {
        match given.and_then(|given| ApiRequest::of_functions(&given.inputs)) {
            Ok(Some(request)) => self.start(request),
            Ok(None) => Ok(self.completed(InvokeResponse::empty(404, None), None)),
            Err(error) => Ok(self.refuse(error)),
        }
    }

    /// Starts an invocation, or finds the equal one that this statement has started before.
    ///
    /// Errors if the statement has made all invocations that it may make.
    pub fn start(&mut self, request: impl Into<ApiRequest>) -> Result<Started, Error> {
        let request = request.into();
        let Some(equal) = self.equal.clone() else {
            return self.start_new(request);
        };
        let client = self.config.client(request.region());
        let key = (self.table, self.config.user, client, request);
        if let Some(handle) = equal.find(&key) {
            return Ok(handle.into());
        }
        let handle = self.start_new(key.3.clone())?.into_handle();
        equal.insert(key, &handle);
        Ok(handle.into())
    }

    fn start_new(&mut self, request: ApiRequest) -> Result<Started, Error> {
        let request = match (request, self.config.batching.clone()) {
            (ApiRequest::Invoke(request), Some(batching)) => {
                return self.start_in_batch(request, &batching);
            }
            (request, _) => request,
        };
        executor_hooks::refuse_unrunnable(self.statement.started() > 0)?;
        let is_question = request.question().is_some();
        self.check_limits()?;
        let name: Arc<str> = request.full_name().into();
        let client = match self.client(request.region()) {
            Ok(client) => client,
            Err(error) => return Err(request.unsent(error)),
        };
        // Progress is that of invocations.
        let totals = match is_question {
            true => Arc::default(),
            false => self.statement.totals.clone(),
        };
        let unfinished = InFlightGuard::new(self.limiter.clone(), totals);
        let unsent = request.question();
        let (retry_policy, keeps_payload) = (self.config.retry_policy, self.keeps_payload);
        let function_name = name.clone();
        let is_shared = self.config.deduplicate;
        let payload_share = self.budget.payload(request.payload_bytes());
        let share = self.budget.response();
        let response_share = share.clone();
        let task = backend::spawn(self.lifetime, async move {
            let limiter = unfinished.limiter();
            let sent = client.send(&request, retry_policy, limiter, &response_share);
            let result = request.settle(sent.await);
            drop((request, payload_share));
            let outcome = unfinished.ended(function_name, result, keeps_payload, response_share);
            if is_shared {
                outcome.leave_budget();
            }
            outcome
        })
        .map_err(|error| match unsent {
            Some(question) => error.of_question(question),
            None => error.of_unsent(&name),
        })?;
        if !is_question {
            self.statement.count();
        }
        let handle = InvocationHandle::in_flight(task, name, share);
        self.count(Counted::Invocation(Rc::downgrade(&handle)));
        Ok(handle.into())
    }

    /// Errors if the statement may make no more invocations, or if memory is short.
    pub(super) fn check_limits(&self) -> Result<(), Error> {
        let made = self.statement.begun();
        match self.config.limits.max_invocations {
            Some(most) if made >= most => {
                Err(Error::Statement(StatementError::TooManyInvocations {
                    most,
                    made,
                    wanted: None,
                }))
            }
            _ if memory::is_short() && (made > 0 || !memory::recover()) => {
                Err(Error::MemoryIsShort)
            }
            _ => Ok(()),
        }
    }

    /// A completed invocation, made of a response that was in a temporary file.
    pub fn completed(&self, response: InvokeResponse, function_name: Option<Arc<str>>) -> Started {
        let share = self.budget.share();
        share.set(response.payload.as_ref().map_or(0, Bytes::len));
        let outcome = Outcome::new(Ok(response), function_name, Some(share));
        Started::completed(Rc::new(outcome))
    }

    /// A completed invocation of a request that can't be made. It fails with the error.
    pub fn refuse(&self, error: Error) -> Started {
        let unfinished = InFlightGuard::new(self.limiter.clone(), self.statement.totals.clone());
        let outcome = unfinished.failure(None, Err(error), None);
        Started::completed(Rc::new(outcome))
    }

    pub(super) fn client(&mut self, region: Option<&str>) -> Result<SharedClient, Error> {
        if let Some((known, client)) = &self.client
            && known.as_deref() == region
        {
            return Ok(client.clone());
        }
        let run = executor_hooks::with_innermost(|run| run.number);
        let client = backend::client(&self.config, region, run)?;
        self.client = Some((region.map(str::to_owned), client.clone()));
        Ok(client)
    }
}
