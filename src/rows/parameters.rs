//! The executor parameters that expressions depend on. A rescan that changes none of them wants the same values.

use crate::postgres::nodes;
use pgrx::{is_a, pg_guard, pg_sys};

/// A set of executor parameters.
pub struct Parameters {
    estate: *mut pg_sys::EState,
    members: *mut pg_sys::Bitmapset,
}

impl Parameters {
    /// An empty set, of a query's parameters.
    pub fn none(estate: *mut pg_sys::EState) -> Parameters {
        Parameters {
            estate,
            members: std::ptr::null_mut(),
        }
    }

    /// Adds those that an expression depends on, and those of its subplans.
    ///
    /// # Safety
    /// `expression` is null or of the query's plan.
    pub unsafe fn add(&mut self, expression: *mut pg_sys::Node) {
        // SAFETY: the expression is null or of the query's plan.
        unsafe { visit(expression, (&raw mut *self).cast()) };
    }

    /// Adds one.
    pub fn add_number(&mut self, number: i32) {
        // SAFETY: the set is this one's.
        self.members = unsafe { pg_sys::bms_add_member(self.members, number) };
    }

    /// Adds those that the subplans of an expression depend on, but for those that the expression gives them.
    ///
    /// # Safety
    /// As for [`Parameters::add`].
    pub unsafe fn add_of_subplans(&mut self, expression: *mut pg_sys::Node) {
        // SAFETY: the expression is null or of the query's plan.
        unsafe { visit_subplans(expression, (&raw mut *self).cast()) };
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        // SAFETY: null is the empty set.
        unsafe { pg_sys::bms_next_member(self.members, -1) < 0 }
    }

    /// Whether one of them is in a set.
    ///
    /// # Safety
    /// `changed` is the executor's.
    pub unsafe fn overlap(&self, changed: *mut pg_sys::Bitmapset) -> bool {
        // SAFETY: the set is the executor's.
        unsafe { pg_sys::bms_overlap(changed, self.members) }
    }
}

/// A walker of expression trees (nodeFuncs.h).
#[pg_guard]
unsafe extern "C-unwind" fn visit_subplans(
    node: *mut pg_sys::Node,
    parameters: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the context is the Parameters that `add_of_subplans` passed; each cast follows the node's tag.
    unsafe {
        if node.is_null() {
            return false;
        }
        if is_a(node, pg_sys::NodeTag::T_SubPlan) {
            let found = &mut *parameters.cast::<Parameters>();
            let subplan = &*node.cast::<pg_sys::SubPlan>();
            let plans = (*(*found.estate).es_plannedstmt).subplans;
            if let Some(plan) = nodes::nth::<pg_sys::Plan>(plans, subplan.plan_id as usize - 1) {
                let mut outside = pg_sys::bms_copy((*plan).extParam);
                for given in nodes::integers(subplan.parParam) {
                    outside = pg_sys::bms_del_member(outside, given);
                }
                found.members = pg_sys::bms_add_members(found.members, outside);
            }
        }
        pg_sys::expression_tree_walker(node, Some(visit_subplans), parameters)
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn collect(
    node: *mut pg_sys::Node,
    parameters: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the context is the Parameters that `add` passed.
    unsafe { visit(node, parameters) }
}

unsafe fn visit(node: *mut pg_sys::Node, parameters: *mut std::ffi::c_void) -> bool {
    if node.is_null() {
        return false;
    }
    // SAFETY: the context is the Parameters that `add` passed; each cast follows the node's tag.
    unsafe {
        let found = &mut *parameters.cast::<Parameters>();
        if is_a(node, pg_sys::NodeTag::T_Param) {
            let parameter = &*node.cast::<pg_sys::Param>();
            if parameter.paramkind == pg_sys::ParamKind::PARAM_EXEC {
                found.members = pg_sys::bms_add_member(found.members, parameter.paramid);
            }
            return false;
        }
        if is_a(node, pg_sys::NodeTag::T_SubPlan) {
            let number = (*node.cast::<pg_sys::SubPlan>()).plan_id as usize - 1;
            let plans = (*(*found.estate).es_plannedstmt).subplans;
            if let Some(plan) = nodes::nth::<pg_sys::Plan>(plans, number) {
                found.members = pg_sys::bms_add_members(found.members, (*plan).extParam);
            }
        }
        pg_sys::expression_tree_walker(node, Some(collect), parameters)
    }
}
