//! The response to a batch, split into one answer for each row.
//!
//! The function is not trusted to keep to the format. What it says is checked before a row has an answer: all rows have theirs, or none.

use super::PER_ROW;
use crate::error::{BatchProblem, quotable, shortened};
use crate::memory;
use crate::options::BatchFormat;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt::Formatter;
use std::ops::Range;

/// One answer for each row.
#[derive(Debug, Clone)]
pub struct Answers {
    body: Bytes,
    ranges: Vec<Range<u32>>,
}

impl Answers {
    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.body.len() + self.ranges.len() * (size_of::<Range<u32>>() + PER_ROW)
    }

    /// The answer to a row, whose bytes are those of the response.
    pub fn get(&self, row: usize) -> Option<Bytes> {
        let range = self.ranges.get(row)?;
        Some(self.body.slice(range.start as usize..range.end as usize))
    }
}

/// Splits the response to so many rows.
pub fn split(body: &Bytes, rows: usize, format: BatchFormat) -> Result<Answers, BatchProblem> {
    let shape = |text: &[u8]| BatchProblem::Shape {
        format,
        beginning: beginning(text),
    };
    let text = std::str::from_utf8(body).map_err(|_| shape(body))?;
    // AWS's samples return JSON in a JSON string.
    let within = unquoted(text)?;
    let (body, text) = match &within {
        Some(within) => (within, std::str::from_utf8(within).unwrap_or_default()),
        None => (body, text),
    };
    let results = match format {
        BatchFormat::Array => text,
        BatchFormat::Redshift => {
            memory::check_available(text.len(), "response")
                .map_err(|_| BatchProblem::NoMemory { bytes: text.len() })?;
            let answer: Redshift = serde_json::from_str(text).map_err(|_| shape(body))?;
            answer.check(rows)?;
            answer.results.ok_or_else(|| shape(body))?.get()
        }
    };
    let within = unquoted(results)?;
    let (body, results) = match &within {
        Some(within) => (within, std::str::from_utf8(within).unwrap_or_default()),
        None => (body, results),
    };
    let ranges = ranges(body, results, rows)?.ok_or_else(|| shape(body))?;
    Ok(Answers {
        body: body.clone(),
        ranges,
    })
}

/// The text of a JSON string; `None` for other JSON.
fn unquoted(json: &str) -> Result<Option<Bytes>, BatchProblem> {
    let json = json.trim_ascii();
    if !json.starts_with('"') {
        return Ok(None);
    }
    // The text grows to its size by doubling.
    let bytes = 2 * json.len();
    memory::check_available(bytes, "response").map_err(|_| BatchProblem::NoMemory { bytes })?;
    Ok(serde_json::from_str::<String>(json).ok().map(Bytes::from))
}

/// Where the elements of an array are in `body`, which the array is a part of. `None` if it is no array.
fn ranges(body: &Bytes, array: &str, rows: usize) -> Result<Option<Vec<Range<u32>>>, BatchProblem> {
    let most = rows.min(array.len());
    let bytes = most * size_of::<Range<u32>>();
    memory::check_available(bytes, "response").map_err(|_| BatchProblem::NoMemory { bytes })?;
    let elements = Elements {
        start: body.as_ptr() as usize,
        rows,
        most,
    };
    let mut deserializer = serde_json::Deserializer::from_str(array);
    let Ok((ranges, answers)) = deserializer.deserialize_seq(elements) else {
        return Ok(None);
    };
    if deserializer.end().is_err() {
        return Ok(None);
    }
    match answers == rows {
        true => Ok(Some(ranges)),
        false => Err(BatchProblem::Count { answers, rows }),
    }
}

/// Visits an array: where its first elements are, and how many it has.
struct Elements {
    /// The address of the text that positions are counted from.
    start: usize,
    rows: usize,
    /// For how many there is memory.
    most: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = (Vec<Range<u32>>, usize);

    fn expecting(&self, formatter: &mut Formatter) -> std::fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut ranges = Vec::with_capacity(self.most);
        while ranges.len() < self.rows {
            let Some(element) = array.next_element::<&'de RawValue>()? else {
                let answers = ranges.len();
                return Ok((ranges, answers));
            };
            let start = element.get().as_ptr() as usize - self.start;
            ranges.push(start as u32..(start + element.get().len()) as u32);
        }
        let mut answers = ranges.len();
        while array.next_element::<IgnoredAny>()?.is_some() {
            answers += 1;
        }
        Ok((ranges, answers))
    }
}

/// The answer of a Lambda UDF of Redshift. Of a key that comes twice the last counts.
#[derive(Default)]
struct Redshift<'a> {
    success: Option<&'a RawValue>,
    error_msg: Option<&'a RawValue>,
    num_records: Option<&'a RawValue>,
    results: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for Redshift<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Redshift<'de>;

            fn expecting(&self, formatter: &mut Formatter) -> std::fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut answer = Redshift::default();
                while let Some(key) = map.next_key::<String>()? {
                    let value = Some(map.next_value::<&'de RawValue>()?);
                    match key.as_str() {
                        "success" => answer.success = value,
                        "error_msg" => answer.error_msg = value,
                        "num_records" => answer.num_records = value,
                        "results" => answer.results = value,
                        _ => (),
                    }
                }
                Ok(answer)
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

impl Redshift<'_> {
    /// Errors if the function says that it has failed, or that it has answered another number of rows.
    fn check(&self, rows: usize) -> Result<(), BatchProblem> {
        let success = self.success.map_or("null", RawValue::get);
        let success = success.trim_matches('"');
        if !["true", "null"].contains(&success.to_ascii_lowercase().as_str()) {
            return Err(BatchProblem::Unsuccessful {
                message: self.error_msg.map(text),
            });
        }
        let number = self.num_records.map_or("null", RawValue::get);
        match number.trim_matches('"').parse::<f64>() {
            Ok(stated) if stated != rows as f64 => Err(BatchProblem::NumRecords {
                stated: beginning(number.as_bytes()),
                rows,
            }),
            _ => Ok(()),
        }
    }
}

/// The text of a JSON string, or other JSON as it is.
fn text(json: &RawValue) -> String {
    let json = json.get();
    match serde_json::from_str::<Cow<str>>(json) {
        Ok(text) => shortened(&text, MAX_MESSAGE),
        Err(_) => shortened(json, MAX_MESSAGE),
    }
}

/// Most bytes of a message that a function gives.
const MAX_MESSAGE: usize = 8192;

fn beginning(bytes: &[u8]) -> String {
    quotable(&String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]))
}
