//! Slots and the nodes that fill them, where PostgreSQL has inline functions (executor.h, tuptable.h).
//!
//! A call through a pointer needs the guard around it that turns PostgreSQL's errors into unwinding.

use super::compat;
use super::plans::PlanState;
use super::refs::{FromRaw, Ref, calls, fields, setters};
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

/// A slot for a row.
pub type Slot<'p> = Ref<'p, pg_sys::TupleTableSlot>;

fields! {
    /// The columns.
    TupleTableSlot.tts_tupleDescriptor as descriptor: Ref<'p, pg_sys::TupleDescData>;
}

setters! {
    /// Gives the row a table that it is of.
    TupleTableSlot.tts_tableOid as set_table: pg_sys::Oid;
    TupleTableSlot.tts_tid as set_tid: pg_sys::ItemPointerData;
}

calls! {
    fn read_columns(slot: Slot, count: i32) = slot_getsomeattrs_int(slot, count);
    fn rescan(node: PlanState) = ExecReScan(node);
    /// Has the slot hold the row whose columns were set.
    pub(super) fn store_virtual(slot: Slot) -> Slot = ExecStoreVirtualTuple(slot);
    fn store_all_nulls(slot: Slot) -> Slot = ExecStoreAllNullTuple(slot);
}

impl Slot<'_> {
    /// Whether the slot has no row.
    pub fn is_empty(self) -> bool {
        u32::from(self.tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0
    }

    /// How many columns rows have.
    pub fn columns(self) -> usize {
        self.descriptor().natts as usize
    }

    /// Makes all of the row's columns readable.
    pub fn deform(self) {
        let count = self.columns();
        if (self.tts_nvalid as usize) < count && !self.is_empty() {
            read_columns(self, count as i32);
        }
    }

    /// The value of a column, whose number is from 1, of a row that was deformed; `None` is null.
    pub fn get(self, number: i16) -> Option<pg_sys::Datum> {
        let index = self
            .index(number)
            .filter(|index| *index < self.tts_nvalid as usize)?;
        // SAFETY: both arrays have an element for each column.
        unsafe { (!*self.tts_isnull.add(index)).then(|| *self.tts_values.add(index)) }
    }

    /// Sets the value of a column of a virtual row; `None` is null.
    pub fn set(self, number: i16, value: Option<pg_sys::Datum>) {
        let Some(index) = self.index(number) else {
            return;
        };
        // SAFETY: both arrays have an element for each column.
        unsafe {
            *self.tts_values.add(index) = value.unwrap_or(pg_sys::Datum::null());
            *self.tts_isnull.add(index) = value.is_none();
        }
    }

    /// The index of a column in the slot's arrays.
    fn index(self, number: i16) -> Option<usize> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        (index < self.columns()).then_some(index)
    }

    /// Empties the slot.
    pub fn clear(self) {
        // SAFETY: each kind of slot has the operation.
        unsafe {
            if let Some(clear) = (*self.tts_ops).clear {
                pg_guard_ffi_boundary(|| clear(self.as_ptr()));
            }
        }
    }

    /// Puts a row of nulls into the slot.
    pub fn store_nulls(self) {
        store_all_nulls(self);
    }

    /// Gives the row a number that a query reads as its ctid.
    pub fn set_ctid(self, number: u64) {
        let block = (number >> 16) as u32;
        let ctid = pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData {
                bi_hi: (block >> 16) as u16,
                bi_lo: block as u16,
            },
            ip_posid: number as u16,
        };
        self.set_tid(ctid);
    }

    /// Copies the row into the current memory context; null where there is none.
    pub fn copy(self) -> pg_sys::MinimalTuple {
        match self.is_empty() {
            true => std::ptr::null_mut(),
            false => compat::copy_minimal_tuple(self),
        }
    }

    /// Stores a row, which PostgreSQL frees later if `frees` says so.
    ///
    /// # Safety
    /// The row has the slot's columns, and lives as long as the slot has it.
    pub unsafe fn store(self, row: pg_sys::MinimalTuple, frees: bool) {
        // SAFETY: the contract of this function says that the slot may have the row.
        unsafe { pg_sys::ExecForceStoreMinimalTuple(row, self.as_ptr(), frees) };
    }
}

impl<'p> PlanState<'p> {
    /// The node's next row; `None` after the last.
    pub fn next_row(self) -> Option<Slot<'p>> {
        if !self.chgParam.is_null() {
            rescan(self);
        }
        let run = self.ExecProcNode?;
        // SAFETY: the node is initialised, and its function is the executor's. The result is null or a slot of the query's.
        let row: Option<Slot> =
            unsafe { FromRaw::from_raw(pg_guard_ffi_boundary(|| run(self.as_ptr()))) };
        row.filter(|row| !row.is_empty())
    }

    /// Starts over, unless the node does when it is asked for a row, as parameters have changed.
    pub fn start_over(self) {
        if self.chgParam.is_null() {
            rescan(self);
        }
    }
}
