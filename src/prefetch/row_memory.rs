//! The memory of outer rows that were read ahead.
//!
//! Small rows that were read one after the other share a memory context, which goes with the last of them: to make one for each would take as long as
//! to read the row.

use super::reader::Row;
use crate::dispatch::Dispatch;
use crate::lambda::budget::Share;
use crate::postgres::memory_context::MemoryContext;
use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

/// Bytes of rows that are not joined by further ones. They are free for others when the last of the rows goes.
const FULL: usize = 16 << 10;

/// The same, as a part of the budget.
const FULL_PART: usize = 16;

/// Bytes of a row that are in no context.
const PER_ROW: usize = size_of::<Row>();

/// Most bytes that the budget does not know of.
const MOST_UNCOUNTED: usize = 2048;

/// The smallest printed value that is counted for itself.
const COUNTED: usize = 512;

/// A context for rows.
pub struct RowMemory {
    context: MemoryContext<'static>,
    /// The rows' part of the budget.
    share: Arc<Share>,
    rows: Cell<usize>,
    /// Bytes of values that are printed and wait to be sent.
    printed: Cell<usize>,
    /// Bytes of the context when the last row was read.
    allocated: Cell<usize>,
    /// Bytes that the budget knows of.
    counted: Cell<usize>,
}

impl RowMemory {
    /// The one for the next row: `last`, or a new one in `parent`.
    pub fn next(
        last: &mut Weak<RowMemory>,
        parent: MemoryContext<'static>,
        dispatch: &Dispatch,
    ) -> Rc<RowMemory> {
        let full = FULL.min(dispatch.budget.most() / FULL_PART);
        if let Some(open) = last.upgrade().filter(|open| open.bytes() < full) {
            return open;
        }
        let memory = Rc::new(RowMemory {
            context: parent.child(),
            share: dispatch.budget.share(),
            rows: Cell::new(0),
            printed: Cell::new(0),
            allocated: Cell::new(0),
            counted: Cell::new(0),
        });
        *last = Rc::downgrade(&memory);
        memory
    }

    /// The context.
    pub fn context(&self) -> MemoryContext<'static> {
        self.context
    }

    /// Counts a row that was read into the context, and that has so many printed bytes.
    pub fn note_row(&self, printed: usize, dispatch: &Dispatch) {
        let before = self.allocated.replace(self.context.allocated());
        let allocated = self.allocated.get();
        self.rows.set(self.rows.get() + 1);
        let bytes = match allocated < FULL {
            // Blocks double, so the last one tells little of the next row.
            true => allocated / self.rows.get(),
            false => allocated.saturating_sub(before),
        };
        dispatch.budget.note_row(bytes + PER_ROW + printed);
        self.note_printed(0, printed);
        self.set_share();
    }

    /// Notes that a row has other printed bytes than before.
    pub fn note_printed(&self, before: usize, now: usize) {
        let count = |bytes: usize| if bytes < COUNTED { 0 } else { bytes };
        let (before, now) = (count(before), count(now));
        if before != now {
            self.printed.set(self.printed.get() + now - before);
            self.set_share();
        }
    }

    fn bytes(&self) -> usize {
        self.allocated.get() + self.printed.get() + self.rows.get() * PER_ROW
    }

    /// Tells the budget, unless little has changed.
    fn set_share(&self) {
        let bytes = self.bytes();
        if bytes.abs_diff(self.counted.get()) > MOST_UNCOUNTED {
            self.counted.set(bytes);
            self.share.set(bytes);
        }
    }

    /// Lets go of a row. The last one frees all.
    ///
    /// # Safety
    /// Nothing else points to what was read into the context for the row.
    pub unsafe fn free(self: Rc<Self>) {
        if let Some(last) = Rc::into_inner(self) {
            // SAFETY: this was the last row of the context.
            unsafe { last.context.delete() };
        }
    }
}
