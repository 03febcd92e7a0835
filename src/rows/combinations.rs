//! The combinations of the lists' values that a set invokes.

use super::conditions::Selection;
use super::lists::{List, Lists};
use super::values::Value;

/// Lists, and which combinations of their values are invoked.
#[derive(Default)]
pub struct Combinations {
    /// The lists.
    pub lists: Lists,
    /// Those that are invoked.
    pub selection: Selection,
}

impl Combinations {
    /// The lists' values in one combination, by its index among those that are selected.
    pub fn values(&self, index: u64) -> impl Iterator<Item = (&List, &Value)> {
        (self.lists.iter())
            .zip(self.selection.value_indexes(index))
            .map(|(list, value)| (list, &list.values[value]))
    }

    /// The number of a combination among all of them, whatever is selected.
    pub fn number(&self, index: u64) -> u64 {
        let values = self.selection.value_indexes(index);
        (self.lists.iter().zip(values)).fold(0, |number: u64, (list, value)| {
            (number.wrapping_mul(list.values.len() as u64)).wrapping_add(value as u64)
        })
    }

    /// How many there are of all values.
    pub fn all(&self) -> u64 {
        (self.lists.iter()).fold(1, |count: u64, list| {
            count.saturating_mul(list.values.len() as u64)
        })
    }
}
