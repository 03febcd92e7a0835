//! The executor parameters that expressions depend on. A rescan that changes none of them wants the same values.

use crate::postgres::executor::EState;
use crate::postgres::expressions::{Walk, walk};
use crate::postgres::refs::{Node, Ref};
use crate::postgres::relids::Relids;
use pgrx::pg_sys;

/// A set of executor parameters, in the memory context that is current when they are added.
pub struct Parameters {
    estate: EState<'static>,
    members: Relids<'static>,
}

impl Parameters {
    /// An empty set, of a query's parameters.
    pub fn none(estate: EState<'static>) -> Parameters {
        Parameters {
            estate,
            members: Relids::EMPTY,
        }
    }

    /// Adds those that an expression of the query's plan depends on, and those of its subplans.
    pub fn add(&mut self, expression: Option<Node>) {
        walk(expression, &mut |node| {
            if let Some(parameter) = node.cast::<pg_sys::Param>() {
                if parameter.paramkind == pg_sys::ParamKind::PARAM_EXEC {
                    self.add_number(parameter.paramid);
                }
                return Walk::Over;
            }
            if let Some(subplan) = node.cast() {
                self.members = self.members.union(self.of_subplan(subplan));
            }
            Walk::Into
        });
    }

    /// Adds one.
    pub fn add_number(&mut self, number: i32) {
        self.members = self.members.union(Relids::singleton(number));
    }

    /// Adds those that the subplans of an expression of the query's plan depend on, but for those that the expression gives them.
    pub fn add_of_subplans(&mut self, expression: Option<Node>) {
        walk(expression, &mut |node| {
            if let Some(subplan) = node.cast::<pg_sys::SubPlan>() {
                let given = subplan.given_parameters();
                let outside = (given.iter()).fold(self.of_subplan(subplan), Relids::without);
                self.members = self.members.union(outside);
            }
            Walk::Into
        });
    }

    /// Those that the plan of a subplan depends on.
    fn of_subplan(&self, subplan: Ref<pg_sys::SubPlan>) -> Relids<'static> {
        let plan = self.estate.subplan(subplan.plan_id);
        plan.map_or(Relids::EMPTY, |plan| plan.external_parameters())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether one of them is in the executor's set of changed parameters.
    pub fn overlap(&self, changed: Relids) -> bool {
        self.members.overlaps(changed)
    }
}
