//! The states of listed functions, which Lambda's list leaves out. Each function is asked for by itself, with many requests in flight.

use crate::dispatch::window::{Requests, Window};
use crate::dispatch::{Dispatch, Outcome, Started};
use crate::error::Error;
use crate::lambda::api_request::{GetFunctionConfiguration, is_bare_name};
use crate::lambda::configuration::{self, FunctionConfiguration};
use crate::lambda::response::InvokeResponse;
use std::rc::Rc;

/// The requests for the states of a list's rows, in the order of the rows.
#[derive(Default)]
pub struct States {
    /// Where the functions are; `None` leaves it to the configuration.
    region: Option<String>,
    window: Window,
    /// How many were asked for.
    asked: usize,
    /// How many are known.
    known: usize,
}

impl States {
    /// The states of functions in a region.
    pub fn of_region(region: Option<String>) -> States {
        States {
            region,
            ..States::default()
        }
    }

    /// Begins with the first of other rows.
    pub fn start_over(&mut self) {
        *self = States::of_region(self.region.take());
    }

    /// Puts the states into the rows up to an index. Those of further rows may be asked for.
    pub fn fetch(
        &mut self,
        rows: &mut [(u64, FunctionConfiguration)],
        index: usize,
        dispatch: &mut Dispatch,
    ) -> Result<(), Error> {
        while self.known <= index {
            let mut unasked = Unasked {
                rows,
                region: &self.region,
                asked: &mut self.asked,
            };
            self.window.fill(&mut unasked, dispatch)?;
            let Some(outcome) = self.window.wait(&mut unasked, dispatch)? else {
                return Ok(());
            };
            self.window.pop();
            let function = &mut rows[self.known].1;
            let response = outcome.result.as_ref().map_err(Error::clone)?;
            // A function that was deleted meanwhile has no state.
            if let Some(body) = response.payload.as_deref() {
                function.state = configuration::read(body, &function.function_name)?.state;
            }
            self.known += 1;
        }
        Ok(())
    }
}

/// The rows whose states were not asked for yet.
struct Unasked<'a> {
    rows: &'a [(u64, FunctionConfiguration)],
    region: &'a Option<String>,
    asked: &'a mut usize,
}

impl Unasked<'_> {
    fn ask(
        &self,
        function: &FunctionConfiguration,
        dispatch: &mut Dispatch,
    ) -> Result<Started, Error> {
        // An endpoint may list any names, and may tell the state.
        if function.state.is_some() || !is_bare_name(&function.function_name) {
            return Ok(dispatch.completed(InvokeResponse::empty(204, None), None));
        }
        dispatch.start(GetFunctionConfiguration {
            function_name: function.function_name.clone(),
            region: self.region.clone(),
            qualifier: None,
        })
    }
}

impl Requests for Unasked<'_> {
    fn start_next(&mut self, window: &mut Window, dispatch: &mut Dispatch) -> Result<bool, Error> {
        let Some((_, function)) = self.rows.get(*self.asked) else {
            return Ok(false);
        };
        if !dispatch.may_start(window.len()) {
            return Ok(false);
        }
        window.reserve()?;
        window.push(self.ask(function, dispatch)?);
        *self.asked += 1;
        Ok(true)
    }

    fn poll(&self, window: &Window) -> Result<Option<Rc<Outcome>>, Error> {
        window.poll()
    }

    fn has_ended(&self) -> bool {
        *self.asked == self.rows.len()
    }

    fn is_over(&self, window: &Window) -> bool {
        window.is_empty() && self.has_ended()
    }
}
