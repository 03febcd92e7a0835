//! Slots and the nodes that fill them, where PostgreSQL has inline functions (executor.h, tuptable.h).
//!
//! A call through a pointer needs the guard around it that turns PostgreSQL's errors into unwinding.

use super::compat;
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
    fn store_all_nulls<'p>(slot: Slot<'p>) -> Slot<'p> = ExecStoreAllNullTuple(slot);
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
        if (self.tts_nvalid as usize) < count {
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

    /// Copies the row into the current memory context.
    pub fn copy(self) -> pg_sys::MinimalTuple {
        compat::copy_minimal_tuple(self)
    }
}

/// The next row of a node; an empty slot or null after the last.
///
/// # Safety
/// `node` is initialised.
pub unsafe fn next(node: *mut pg_sys::PlanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: the node is initialised, and its function is the executor's.
    unsafe {
        if !(*node).chgParam.is_null() {
            pg_sys::ExecReScan(node);
        }
        match (*node).ExecProcNode {
            Some(run) => pg_guard_ffi_boundary(|| run(node)),
            None => std::ptr::null_mut(),
        }
    }
}

/// Whether a slot has no row.
///
/// # Safety
/// `slot` is null or a slot.
pub unsafe fn is_empty(slot: *mut pg_sys::TupleTableSlot) -> bool {
    // SAFETY: the slot is null or valid.
    unsafe { Option::<Slot>::from_raw(slot) }.is_none_or(Slot::is_empty)
}

/// Makes all of a row's columns readable.
///
/// # Safety
/// `slot` is a slot with a row.
pub unsafe fn deform(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the slot has a row, and its descriptor.
    unsafe { Ref::new(slot) }.deform();
}

/// Empties a slot.
///
/// # Safety
/// `slot` is a slot.
pub unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the slot is valid.
    unsafe { Ref::new(slot) }.clear();
}

/// Copies the row of a slot into the current memory context.
///
/// # Safety
/// `slot` is a slot with a row.
pub unsafe fn copy(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::MinimalTuple {
    // SAFETY: the slot has a row.
    unsafe { Ref::new(slot) }.copy()
}

/// Evaluates a projection into its slot.
///
/// # Safety
/// The projection is initialised, and its expression context has the row that it is about.
pub unsafe fn project(projection: *mut pg_sys::ProjectionInfo) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: these are the steps of ExecProject (executor.h). The function belongs to the state.
    unsafe {
        let state = &raw mut (*projection).pi_state;
        let slot = (*state).resultslot;
        clear(slot);
        if let Some(evaluate) = (*state).evalfunc {
            let mut is_null = false;
            let is_null = compat::no_result(&mut is_null);
            pg_guard_ffi_boundary(|| evaluate(state, (*projection).pi_exprContext, is_null));
        }
        pg_sys::ExecStoreVirtualTuple(slot)
    }
}
