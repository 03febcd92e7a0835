//! Rows that share an invocation: one payload made of theirs, and each row's part of the response.
//!
//! This file makes the payload, and [`answers`] splits the response. Which rows share an invocation is dispatch/'s to decide.
//!
//! Payloads and answers are copied as they are. Numbers, escapes, the order of keys and keys that come twice stay what they were.

pub mod answers;

use crate::error::{Error, RequestError};
use crate::lambda::request::{InvocationType, InvokeRequest};
use crate::memory;
use crate::options::BatchFormat;
use bytes::Bytes;
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// How rows share invocations, as options say.
#[derive(Debug, Clone)]
pub struct Batching {
    /// Most rows of an invocation.
    pub rows: usize,
    /// Most bytes of an invocation's payload, unless it has one row alone.
    pub bytes: usize,
    /// What payload and response look like.
    pub format: BatchFormat,
    /// Who invokes, where the format tells the function.
    pub caller: Arc<Caller>,
}

/// What Redshift's protocol tells a function about its caller.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The name of the cluster, for the ARN.
    pub cluster: String,
    /// The role that invokes.
    pub user: String,
    /// The database.
    pub database: String,
    /// The foreign table with its schema.
    pub external_function: String,
}

/// What Redshift's protocol has to tell invocations apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    /// A UUID that no other invocation has.
    pub request_id: String,
    /// A number that the invocations of one statement share.
    pub query_id: u64,
}

impl Ids {
    /// Those of an invocation of a statement.
    pub fn of_statement(random: [u8; 16], query_id: u64) -> Ids {
        Ids {
            request_id: uuid::Builder::from_random_bytes(random)
                .into_uuid()
                .to_string(),
            query_id,
        }
    }

    /// Those of a durable execution. They depend on it alone: Lambda refuses an execution that is there already if its payload is another one.
    pub fn of_execution(function: &str, name: &str) -> Ids {
        let digest = Sha256::new()
            .chain_update(function)
            .chain_update([0])
            .chain_update(name)
            .finalize();
        let (id, number) = (first_bytes(&digest[..]), first_bytes(&digest[16..]));
        Ids {
            request_id: uuid::Builder::from_custom_bytes(id).into_uuid().to_string(),
            // JavaScript's numbers have no more bits.
            query_id: u64::from_be_bytes(number) >> 11,
        }
    }
}

fn first_bytes<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.first_chunk().copied().unwrap_or([0; N])
}

/// A payload that grows by a row at a time.
#[derive(Debug)]
pub struct BatchPayload {
    format: BatchFormat,
    /// What is before and behind the rows. The number of rows comes behind the first part.
    frame: [String; 3],
    /// Most bytes of the payload with more than one row, and with one.
    most: usize,
    most_of_one: usize,
    is_event: bool,
    rows: Vec<u8>,
    /// The end of each row.
    ends: Vec<usize>,
}

impl BatchPayload {
    /// An empty payload of an invocation like `request`.
    pub fn new(batching: &Batching, request: &InvokeRequest, ids: &Ids) -> BatchPayload {
        BatchPayload {
            format: batching.format,
            frame: match batching.format {
                BatchFormat::Array => [String::new(), "[".to_owned(), "]".to_owned()],
                BatchFormat::Redshift => redshift_frame(request, &batching.caller, ids),
            },
            most: batching.bytes.min(request.head.most_payload),
            most_of_one: request.head.most_payload,
            is_event: request.head.invocation_type == InvocationType::Event,
            rows: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Errors if the row of a request can't be sent, even alone. Its ids are as long as ids get.
    pub fn check(batching: &Batching, request: &InvokeRequest) -> Result<(), Error> {
        let ids = Ids {
            request_id: uuid::Uuid::nil().to_string(),
            query_id: u64::MAX >> 11,
        };
        BatchPayload::new(batching, request, &ids)
            .add(request.payload.as_ref())
            .map_err(|error| error.of_unsent(&request.head.full_name()))
    }

    /// How many rows it has.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of the payload with one more row.
    fn bytes_with(&self, payload: &[u8]) -> usize {
        let frame: usize = self.frame.iter().map(String::len).sum();
        let digits = match self.frame[0].is_empty() {
            true => 0,
            false => (self.ends.len() + 1).ilog10() as usize + 1,
        };
        let comma = usize::from(!self.ends.is_empty());
        let brackets = if self.has_brackets(payload) { 2 } else { 0 };
        frame + digits + self.rows.len() + comma + brackets + payload.len()
    }

    /// Whether a row's payload is its only argument.
    fn has_brackets(&self, payload: &[u8]) -> bool {
        self.format == BatchFormat::Redshift && !is_array(payload)
    }

    /// Whether one more row fits.
    pub fn fits(&self, payload: Option<&Bytes>) -> bool {
        self.bytes_with(payload.map_or(NULL, |payload| &payload[..])) <= self.most
    }

    /// Adds a row, which fits or is the first. Errors if the row alone is more than Lambda takes, if it is not JSON, or if there is no memory.
    pub fn add(&mut self, payload: Option<&Bytes>) -> Result<(), Error> {
        let payload = payload.map_or(NULL, |payload| &payload[..]);
        let bytes = self.bytes_with(payload);
        if bytes > self.most_of_one {
            return Err(Error::Request(RequestError::PayloadTooLarge {
                is_event: self.is_event,
                bytes,
                limit: self.most_of_one,
            }));
        }
        if serde_json::from_slice::<IgnoredAny>(payload).is_err() {
            return Err(Error::Request(RequestError::PayloadNotJson));
        }
        self.reserve(payload.len() + 3)?;
        if !self.ends.is_empty() {
            self.rows.push(b',');
        }
        match self.has_brackets(payload) {
            true => {
                self.rows.push(b'[');
                self.rows.extend_from_slice(payload);
                self.rows.push(b']');
            }
            false => self.rows.extend_from_slice(payload),
        }
        self.ends.push(self.rows.len());
        Ok(())
    }

    /// Doubles the capacity where it does not suffice, if there is memory.
    fn reserve(&mut self, more: usize) -> Result<(), Error> {
        if self.ends.len() == self.ends.capacity() {
            let bytes = 2 * self.ends.len() * size_of::<usize>();
            memory::check_available(bytes, "payload")?;
        }
        if self.rows.capacity() - self.rows.len() >= more {
            return Ok(());
        }
        let more = more.max(self.rows.len());
        memory::try_reserve(&mut self.rows, more).map_err(|()| no_memory(more))
    }

    /// The payload without the rows of these indexes, which ascend.
    pub fn finish(self, without: &[usize]) -> Result<Bytes, Error> {
        let [mut head, behind_number, tail] = self.frame;
        if !head.is_empty() {
            head.push_str(&(self.ends.len() - without.len()).to_string());
        }
        head.push_str(&behind_number);
        let bytes = head.len() + self.rows.len() + tail.len();
        let mut payload = Vec::new();
        memory::try_reserve(&mut payload, bytes).map_err(|()| no_memory(bytes))?;
        payload.extend_from_slice(head.as_bytes());
        if without.is_empty() {
            payload.extend_from_slice(&self.rows);
        } else {
            let mut start = 0;
            let mut is_first = true;
            for (index, end) in self.ends.iter().enumerate() {
                if without.binary_search(&index).is_err() {
                    if !std::mem::take(&mut is_first) {
                        payload.push(b',');
                    }
                    payload.extend_from_slice(&self.rows[start..*end]);
                }
                start = end + 1;
            }
        }
        payload.extend_from_slice(tail.as_bytes());
        Ok(Bytes::from(payload))
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.rows.capacity() + self.ends.capacity() * size_of::<usize>() + self.len() * PER_ROW
    }
}

/// Bytes of a row beside its payload, from its start until it is taken.
pub const PER_ROW: usize = 128;

/// The payload of a row that has none.
const NULL: &[u8] = b"null";

/// Whether JSON text is an array.
fn is_array(json: &[u8]) -> bool {
    let first = json.iter().find(|byte| !byte.is_ascii_whitespace());
    first == Some(&b'[')
}

fn no_memory(bytes: usize) -> Error {
    Error::OutOfMemory {
        what: "payload",
        bytes,
    }
}

/// The request of Redshift's Lambda UDFs, before and behind the number of rows and the rows.
fn redshift_frame(request: &InvokeRequest, caller: &Caller, ids: &Ids) -> [String; 3] {
    let cluster = cluster_arn(request, &caller.cluster);
    let text = |text: &str| serde_json::Value::from(text).to_string();
    let head = format!(
        r#"{{"request_id":{},"cluster":{},"user":{},"database":{},"external_function":{},"query_id":{},"num_records":"#,
        text(&ids.request_id),
        text(&cluster),
        text(&caller.user),
        text(&caller.database),
        text(&caller.external_function),
        ids.query_id,
    );
    [head, r#","arguments":["#.to_owned(), "]}".to_owned()]
}

/// The ARN that the cluster would have in the region and the account of the function, as far as the request tells them.
fn cluster_arn(request: &InvokeRequest, name: &str) -> String {
    let parts: Vec<&str> = request.head.function_name.split(':').collect();
    let (partition, account) = match parts[..] {
        ["arn", partition, "lambda", _, account, ..] => (partition, account),
        _ => ("aws", ""),
    };
    let region = request.head.region.as_deref().unwrap_or_default();
    format!("arn:{partition}:redshift:{region}:{account}:cluster:{name}")
}

#[cfg(test)]
mod tests;
