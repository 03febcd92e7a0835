//! Rows of one batch, one behind the other: what a window holds of a batch, in one place for all of them.

use super::Outcome;
use super::batch::Batch;
use crate::error::Error;
use crate::lambda::budget::Share;
use std::ops::Range;
use std::rc::Rc;

/// Rows of a batch. A row that is dropped before the batch was sent is not sent.
pub struct BatchRows {
    batch: Rc<Batch>,
    rows: Range<usize>,
}

impl BatchRows {
    /// One row.
    pub(super) fn one(batch: Rc<Batch>, row: usize) -> BatchRows {
        BatchRows {
            batch,
            rows: row..row + 1,
        }
    }

    /// Adds rows that follow these. Gives them back where they do not.
    pub fn append(&mut self, mut other: BatchRows) -> Option<BatchRows> {
        if !Rc::ptr_eq(&self.batch, &other.batch) || other.rows.start != self.rows.end {
            return Some(other);
        }
        self.rows.end = other.rows.end;
        other.rows.start = other.rows.end;
        None
    }

    /// Takes the first row out.
    pub fn take_first(&mut self) -> Option<BatchRows> {
        let first = self.rows.next()?;
        Some(BatchRows::one(self.batch.clone(), first))
    }

    /// Drops the first row.
    pub fn drop_first(&mut self) {
        if let Some(first) = self.rows.next() {
            self.batch.note_dropped(first);
        }
    }

    /// How many rows are left.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Sends the batch, if it was not sent.
    pub(super) fn send(&self) -> Result<(), Error> {
        self.batch.send()
    }

    /// The outcome of the first row; `None` as long as it is not known.
    pub(super) fn poll(&self) -> Result<Option<Rc<Outcome>>, Error> {
        self.batch.poll(self.rows.start)
    }

    /// The response's part of the budget.
    pub(super) fn share(&self) -> &Share {
        self.batch.share()
    }
}

impl Drop for BatchRows {
    fn drop(&mut self) {
        self.rows
            .clone()
            .for_each(|row| self.batch.note_dropped(row));
    }
}
