//! Tables that are written: their plan (plannodes.h), their triggers (trigger.h), and the nodes that give their rows (execnodes.h).

use super::executor::{EState, ResultRel};
use super::list::IntList;
use super::memory_context::MemoryContext;
use super::refs::{FromRaw, Ref, Untyped, fields, parts, setters};
use super::slots::Slot;
use pgrx::pg_sys;

fields! {
    /// The indexes of the tables in the range table.
    ModifyTable.resultRelations as relations: IntList<'p>;
    /// The triggers.
    RelationData.trigdesc as triggers: Option<Ref<'p, pg_sys::TriggerDesc>>;
    /// The constraints and computed columns.
    TupleDescData.constr as constraints: Option<Ref<'p, pg_sys::TupleConstr>>;
}

parts! {
    /// The plan.
    ModifyTable.plan as as_plan: Plan;
}

setters! {
    ResultRelInfo.ri_FdwState as set_own_state: Untyped<'p>;
    /// Sets the function that is called.
    FmgrInfo.fn_addr as set_function: pg_sys::PGFunction;
    /// Sets the function that gives the next row.
    PlanState.ExecProcNode as set_function: pg_sys::ExecProcNodeMtd;
}

impl<'p> ResultRel<'p> {
    /// Gives the table a state, which is dropped with the query.
    pub fn set_state<T>(self, query: EState<'p>, state: T) -> Ref<'p, T> {
        let state = Ref::from(query.query_context().own(state));
        self.set_own_state(state.into());
        state
    }

    /// The state that the table was given; `None` where it has none.
    ///
    /// # Safety
    /// The state is a `T`.
    pub unsafe fn state<T>(self) -> Option<Ref<'p, T>> {
        // SAFETY: the contract of this function says so, and the state lives as long as the query.
        unsafe { FromRaw::from_raw(self.ri_FdwState.cast()) }
    }

    /// The functions of the triggers that follow an INSERT as a whole. A function that was not looked up yet is, in a memory context.
    pub fn triggers_after_insert(
        self,
        context: MemoryContext<'p>,
    ) -> impl Iterator<Item = Ref<'p, pg_sys::FmgrInfo>> {
        let count = self
            .triggers()
            .map_or(0, |triggers| triggers.numtriggers.max(0));
        let kind = pg_sys::TRIGGER_TYPE_ROW
            | pg_sys::TRIGGER_TYPE_BEFORE
            | pg_sys::TRIGGER_TYPE_INSTEAD
            | pg_sys::TRIGGER_TYPE_INSERT;
        (0..count as usize).filter_map(move |index| {
            // SAFETY: a table with triggers has an array of so many, and one of their functions. PostgreSQL looks up a function when its entry is
            // empty.
            unsafe {
                let trigger = &*self.triggers()?.triggers.add(index);
                if trigger.tgtype as u32 & kind != pg_sys::TRIGGER_TYPE_INSERT {
                    return None;
                }
                let function = self.ri_TrigFunctions.add(index);
                if (*function).fn_oid == pg_sys::InvalidOid {
                    pg_sys::fmgr_info_cxt(trigger.tgfoid, function, context.as_ptr());
                }
                Some(Ref::new(function))
            }
        })
    }
}

impl Slot<'_> {
    /// The values of the row, and which of them are null.
    pub fn values(self) -> (Vec<pg_sys::Datum>, Vec<bool>) {
        let count = self.columns();
        if self.is_empty() {
            return (vec![pg_sys::Datum::null(); count], vec![true; count]);
        }
        self.deform();
        // SAFETY: both arrays have an element for each column, and the row is deformed.
        unsafe {
            (
                std::slice::from_raw_parts(self.tts_values, count).to_vec(),
                std::slice::from_raw_parts(self.tts_isnull, count).to_vec(),
            )
        }
    }

    /// Stores a row of the same table, which is made in the current memory context.
    ///
    /// # Safety
    /// There is a value of its type, or null, for each column. The memory context lives as long as the slot has the row.
    pub unsafe fn store_values(self, values: &mut [pg_sys::Datum], nulls: &mut [bool]) {
        let (descriptor, table) = (self.tts_tupleDescriptor, self.tts_tableOid);
        // SAFETY: the contract of this function says that the values are the columns', and that the row lives long enough.
        unsafe {
            let tuple =
                pg_sys::heap_form_tuple(descriptor, values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::ExecForceStoreHeapTuple(tuple, self.as_ptr(), false);
        }
        self.set_table(table);
    }
}
