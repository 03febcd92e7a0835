//! Slots and the nodes that fill them, where PostgreSQL has inline functions (executor.h, tuptable.h).
//!
//! A call through a pointer needs the guard around it that turns PostgreSQL's errors into unwinding.

use super::compat;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;

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
    unsafe { slot.as_ref() }
        .is_none_or(|slot| u32::from(slot.tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0)
}

/// Makes all of a row's columns readable.
///
/// # Safety
/// `slot` is a slot with a row.
pub unsafe fn deform(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: the slot has a row, and its descriptor.
    unsafe {
        let count = (*(*slot).tts_tupleDescriptor).natts;
        if i32::from((*slot).tts_nvalid) < count {
            pg_sys::slot_getsomeattrs_int(slot, count);
        }
    }
}

/// Empties a slot.
///
/// # Safety
/// `slot` is a slot.
pub unsafe fn clear(slot: *mut pg_sys::TupleTableSlot) {
    // SAFETY: each kind of slot has the operation.
    unsafe {
        if let Some(clear) = (*(*slot).tts_ops).clear {
            pg_guard_ffi_boundary(|| clear(slot));
        }
    }
}

/// Gives a row a number that a query reads as its ctid.
///
/// # Safety
/// `slot` has a row.
pub unsafe fn set_ctid(slot: *mut pg_sys::TupleTableSlot, number: u64) {
    let block = (number >> 16) as u32;
    // SAFETY: the slot is valid.
    unsafe {
        (*slot).tts_tid = pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData {
                bi_hi: (block >> 16) as u16,
                bi_lo: block as u16,
            },
            ip_posid: number as u16,
        };
    }
}

/// Copies the row of a slot into the current memory context.
///
/// # Safety
/// `slot` is a slot with a row.
pub unsafe fn copy(slot: *mut pg_sys::TupleTableSlot) -> pg_sys::MinimalTuple {
    // SAFETY: the slot has a row.
    unsafe { compat::copy_minimal_tuple(slot) }
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
