//! The invocations of source rows. A row that comes again does not invoke again.
//!
//! The key of a source row is made of the ctids that its plan carries; see plan/sources.rs. Outcomes are kept in memory as far as half of
//! `work_mem`, and then in a temporary file of PostgreSQL's.

use super::lists::{List, Lists};
use super::parameters::Parameters;
use super::values::not_initialised;
use crate::dispatch::{Dispatch, InvocationHandle, Outcome};
use crate::error::Error;
use crate::lambda::response::InvokeResponse;
use crate::memory;
use crate::plan::sources::Decoded;
use crate::postgres::executor::{ExprContext, Expression};
use crate::postgres::memory_context::{MemoryContext, work_mem};
use crate::postgres::plans::PlanState;
use crate::postgres::refs::Node;
use crate::postgres::relids::Relids;
use crate::postgres::temporary::{File, Place};
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// Bytes of an outcome beside its payload.
const PER_OUTCOME: usize = 512;
/// Bytes of a ctid (ItemPointerData).
const CTID: usize = 6;

/// The source rows of a scan.
pub struct Sources {
    plan: Decoded,
    /// Those that identify the rows.
    expressions: Vec<Expression<'static>>,
    /// The parameters that the values depend on beside the row.
    outside: Parameters,
    known: Rc<RefCell<Known>>,
}

/// A source row.
pub struct Source {
    known: Rc<RefCell<Known>>,
    key: Vec<u8>,
    /// Whether its values are stored, so that they are evaluated once.
    pub stores_values: bool,
    /// The memory context of stored values.
    pub context: MemoryContext<'static>,
}

struct Known {
    /// By source row, and the number of an invocation among its values.
    outcomes: HashMap<Vec<u8>, Kept>,
    values: HashMap<Vec<u8>, Lists>,
    /// The ctid of the foreign table's first row for each source row, as a number.
    rows: HashMap<Vec<u8>, u64>,
    /// The same for each invocation, where one makes several rows.
    rows_of: HashMap<Vec<u8>, u64>,
    /// Bytes of outcomes in memory.
    held: usize,
    file: File,
    /// Holds the values.
    values_context: MemoryContext<'static>,
}

enum Kept {
    /// It was started and not yet taken.
    Started(Rc<InvocationHandle>),
    /// It was taken, and is in memory.
    Held(Rc<InvocationHandle>),
    /// It is in the file.
    Stored(Place),
}

impl Sources {
    /// Prepares them in the current memory context, which is the query's; `None` where rows can't be told apart. `expressions` are of the plan
    /// of `parent`, and `bindings` those of the values. They are evaluated with `econtext`.
    pub fn begin<'p>(
        plan: Decoded,
        expressions: &[Node],
        bindings: impl Iterator<Item = Option<Node<'p>>>,
        parent: PlanState<'static>,
        econtext: ExprContext<'static>,
    ) -> Option<Sources> {
        if plan.members.is_empty() {
            return None;
        }
        let mut outside = Parameters::none(parent.estate());
        (plan.outside.iter()).for_each(|number| outside.add_number(*number));
        bindings.for_each(|binding| outside.add_of_subplans(binding));
        let context = MemoryContext::current();
        Some(Sources {
            expressions: (expressions.iter())
                .map(|expression| Expression::init(*expression, parent, econtext))
                .collect(),
            plan,
            outside,
            known: Rc::new(RefCell::new(Known {
                outcomes: HashMap::new(),
                values: HashMap::new(),
                rows: HashMap::new(),
                rows_of: HashMap::new(),
                held: 0,
                file: File::new(context),
                values_context: context.child(),
            })),
        })
    }

    /// Whether the same row may come again without a rescan.
    pub fn repeat(&self) -> bool {
        self.plan.repeats
    }

    /// Forgets all if a parameter that the values depend on is in the executor's set of changed ones.
    pub fn forget_if(&mut self, changed: Relids) {
        if self.outside.overlap(changed) {
            self.known.borrow_mut().forget();
        }
    }

    /// Forgets all while the query ends, and closes the file, as PostgreSQL warns of files that are open at the end of a query.
    pub fn end(&mut self) {
        let mut known = self.known.borrow_mut();
        known.forget();
        known.file.close();
    }

    /// The source row of the current outer row, with which the expressions are evaluated.
    pub fn now(&self) -> Result<Source, Error> {
        let mut expressions = self.expressions.iter();
        let mut next = || {
            let expression = expressions.next().ok_or_else(not_initialised)?;
            Ok::<_, Error>(expression.evaluate())
        };
        let mut ids = Vec::new();
        for member in &self.plan.members {
            let ctid = next()?;
            let part = if member.has_parts { next()? } else { None };
            let part = part.map_or(0, |oid| oid.value() as u32);
            // SAFETY: the expression is a ctid, which is passed by reference.
            ids.push(ctid.map(|ctid| unsafe { (part, *ctid.cast_mut_ptr::<[u8; CTID]>()) }));
        }
        let mut wanted: Vec<bool> = self
            .plan
            .members
            .iter()
            .map(|member| member.gives)
            .collect();
        let mut nulls: Vec<usize> = (0..ids.len())
            .filter(|index| wanted[*index] && ids[*index].is_none())
            .collect();
        while let Some(index) = nulls.pop() {
            for kept_by in &self.plan.members[index].kept_by {
                if !std::mem::replace(&mut wanted[*kept_by], true) && ids[*kept_by].is_none() {
                    nulls.push(*kept_by);
                }
            }
        }
        let mut key = Vec::new();
        for (id, wanted) in ids.iter().zip(wanted) {
            match id {
                Some((part, bytes)) if wanted => {
                    key.push(1);
                    key.extend(part.to_ne_bytes());
                    key.extend(bytes);
                }
                _ => key.push(0),
            }
        }
        Ok(Source {
            key,
            stores_values: self.plan.keeps_values,
            context: self.known.borrow().values_context,
            known: self.known.clone(),
        })
    }
}

impl Source {
    fn key_of(&self, number: u64) -> Vec<u8> {
        [&self.key[..], &number.to_ne_bytes()].concat()
    }

    /// What it has invoked with the values that have this number.
    pub fn find(
        &self,
        number: u64,
        dispatch: &Dispatch,
    ) -> Result<Option<Rc<InvocationHandle>>, Error> {
        let known = &mut *self.known.borrow_mut();
        match known.outcomes.get(&self.key_of(number)) {
            None => Ok(None),
            Some(Kept::Started(handle) | Kept::Held(handle)) => Ok(Some(handle.clone())),
            Some(Kept::Stored(place)) => {
                memory::check_available(place.length, "response")?;
                let bytes = known.file.read(place)?;
                let (response, name) = decode(&bytes)?;
                Ok(Some(dispatch.completed(response, name).into_handle()))
            }
        }
    }

    /// Notes an invocation that was started.
    pub fn note_started(&self, number: u64, handle: &Rc<InvocationHandle>) {
        let mut known = self.known.borrow_mut();
        let kept = Kept::Started(handle.clone());
        known.outcomes.insert(self.key_of(number), kept);
    }

    /// Notes that an outcome was taken. It goes into the file if there is no more room in memory.
    pub fn note_taken(&self, number: u64, outcome: &Rc<Outcome>) -> Result<(), Error> {
        let Known {
            outcomes,
            held,
            file,
            ..
        } = &mut *self.known.borrow_mut();
        let Some(kept) = outcomes.get_mut(&self.key_of(number)) else {
            return Ok(());
        };
        let Kept::Started(handle) = kept else {
            return Ok(());
        };
        let most = work_mem() / 2;
        let response = outcome.result.as_ref().ok();
        let payload = response.and_then(|response| response.payload.as_ref());
        let bytes = payload.map_or(0, Bytes::len) + PER_OUTCOME;
        *kept = match response.filter(|_| *held + bytes > most) {
            Some(response) => {
                let encoded = encode(response, outcome.function_name.as_deref())?;
                Kept::Stored(file.write(&encoded))
            }
            None => {
                // The outcome stays until the query ends, so its part of the budget would never be free.
                outcome.leave_budget();
                *held += bytes;
                Kept::Held(handle.clone())
            }
        };
        Ok(())
    }

    /// Its stored values.
    pub fn values(&self) -> Option<Lists> {
        self.known.borrow().values.get(&self.key).cloned()
    }

    /// Stores its values.
    pub fn store_values(&self, values: &[List]) {
        let mut known = self.known.borrow_mut();
        known
            .values
            .insert(self.key.clone(), values.iter().cloned().collect());
    }

    /// The number of its first row of the foreign table, which `make` gives if it has none yet.
    pub fn first_row(&self, make: impl FnOnce() -> u64) -> u64 {
        let mut known = self.known.borrow_mut();
        *known.rows.entry(self.key.clone()).or_insert_with(make)
    }

    /// The number of the first row that an invocation makes, which `make` gives if it has none yet.
    pub fn first_row_of(&self, number: u64, make: impl FnOnce() -> u64) -> u64 {
        let mut known = self.known.borrow_mut();
        let key = self.key_of(number);
        *known.rows_of.entry(key).or_insert_with(make)
    }
}

impl Known {
    fn forget(&mut self) {
        self.outcomes.clear();
        self.values.clear();
        // SAFETY: whoever had values has dropped them.
        unsafe { self.values_context.reset() };
        self.rows.clear();
        self.rows_of.clear();
        self.held = 0;
    }
}

/// An outcome as bytes: the status, and texts behind their lengths.
fn encode(response: &InvokeResponse, name: Option<&str>) -> Result<Vec<u8>, Error> {
    let texts = [
        response.payload.as_deref(),
        response.function_error.as_deref().map(str::as_bytes),
        response.executed_version.as_deref().map(str::as_bytes),
        response.log_result.as_deref().map(str::as_bytes),
        response.request_id.as_deref().map(str::as_bytes),
        response.durable_execution_arn.as_deref().map(str::as_bytes),
        name.map(str::as_bytes),
    ];
    let length = texts.iter().flatten().map(|text| text.len()).sum::<usize>();
    memory::check_available(length, "response")?;
    let mut bytes = Vec::with_capacity(length + 4 + 8 * texts.len());
    bytes.extend(response.status_code.to_ne_bytes());
    for text in texts {
        let length = text.map_or(-1, |text| text.len() as i64);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(text.unwrap_or_default());
    }
    Ok(bytes)
}

/// Reads an outcome back.
fn decode(bytes: &[u8]) -> Result<(InvokeResponse, Option<Arc<str>>), Error> {
    const BROKEN: Error = Error::Unexpected("what was kept of an invocation can't be read");
    let (status, mut rest) = bytes.split_first_chunk::<4>().ok_or(BROKEN)?;
    let mut next = || -> Result<Option<Vec<u8>>, Error> {
        let (length, behind) = rest.split_first_chunk::<8>().ok_or(BROKEN)?;
        rest = behind;
        let Ok(length) = usize::try_from(i64::from_ne_bytes(*length)) else {
            return Ok(None);
        };
        let (text, behind) = rest.split_at_checked(length).ok_or(BROKEN)?;
        rest = behind;
        Ok(Some(text.to_vec()))
    };
    let payload = next()?.map(Bytes::from);
    let mut text = || -> Result<Option<Arc<str>>, Error> {
        let text = next()?.map(String::from_utf8).transpose();
        Ok(text.map_err(|_| BROKEN)?.map(Arc::from))
    };
    let response = InvokeResponse {
        status_code: i32::from_ne_bytes(*status),
        payload,
        function_error: text()?,
        executed_version: text()?,
        log_result: text()?,
        request_id: text()?,
        durable_execution_arn: text()?,
    };
    Ok((response, text()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read_back() {
        let response = InvokeResponse {
            status_code: 200,
            function_error: None,
            payload: Some(Bytes::from_static(&[0, 255])),
            executed_version: Some("$LATEST".into()),
            log_result: Some("".into()),
            request_id: None,
            durable_execution_arn: None,
        };
        let bytes = encode(&response, Some("f")).unwrap();
        let read = decode(&bytes).unwrap();
        assert_eq!(read, (response, Some("f".into())));
        assert!(decode(&bytes[..bytes.len() - 1]).is_err());
        assert!(decode(&[]).is_err());
    }
}
