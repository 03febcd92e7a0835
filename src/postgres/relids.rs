//! Sets of small integers, most often of relations by their index in the range table (bitmapset.h).
//!
//! Operations make new sets, and change none.

use super::refs::FromRaw;
use pgrx::pg_sys;
use std::marker::PhantomData;

/// A set, null where it is empty.
#[derive(Clone, Copy)]
pub struct Relids<'p> {
    set: pg_sys::Relids,
    lifetime: PhantomData<&'p pg_sys::Bitmapset>,
}

/// Defines operations on two sets.
macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $result:path, $function:ident -> $type:ty;)*) => {
        impl<'p> Relids<'p> {
            $($(#[$doc])*
            pub fn $name(self, other: Relids<'p>) -> $type {
                // SAFETY: both are null or valid sets, and the function changes neither.
                $result(unsafe { pg_sys::$function(self.set, other.set) })
            })*
        }
    };
}

operations! {
    /// The members of either.
    union = Relids::made, bms_union -> Relids<'p>;
    /// The members of both.
    intersection = Relids::made, bms_intersect -> Relids<'p>;
    /// The members that the other does not have.
    difference = Relids::made, bms_difference -> Relids<'p>;
    /// Whether there are members of both.
    overlaps = bool::from, bms_overlap -> bool;
    /// Whether the other has all members.
    is_subset = bool::from, bms_is_subset -> bool;
    /// Whether both have the same members.
    equals = bool::from, bms_equal -> bool;
}

impl<'p> Relids<'p> {
    /// The empty set.
    pub const EMPTY: Relids<'p> = Relids {
        set: std::ptr::null_mut(),
        lifetime: PhantomData,
    };

    /// A set that PostgreSQL has made.
    fn made(set: pg_sys::Relids) -> Relids<'p> {
        Relids {
            set,
            lifetime: PhantomData,
        }
    }

    /// A set of one member.
    pub fn singleton(member: i32) -> Relids<'p> {
        // SAFETY: makes a new set. PostgreSQL refuses a member that is negative.
        Relids::made(unsafe { pg_sys::bms_make_singleton(member) })
    }

    /// The set without a member.
    pub fn without(self, member: i32) -> Relids<'p> {
        self.difference(Relids::singleton(member))
    }

    /// Whether it has a member.
    pub fn contains(self, member: i32) -> bool {
        // SAFETY: the set is null or valid.
        member >= 0 && unsafe { pg_sys::bms_is_member(member, self.set) }
    }

    /// Whether it has no members.
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// How many members it has.
    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// The members in ascending order.
    pub fn iter(self) -> impl Iterator<Item = i32> {
        let next = move |member: i32| {
            // SAFETY: the set is null or valid.
            let next = unsafe { pg_sys::bms_next_member(self.set, member) };
            (next >= 0).then_some(next)
        };
        std::iter::successors(next(-1), move |member| next(*member))
    }

    /// The set for a call into PostgreSQL.
    pub fn as_ptr(self) -> pg_sys::Relids {
        self.set
    }
}

impl FromRaw for Relids<'_> {
    type Raw = pg_sys::Bitmapset;

    unsafe fn from_raw(set: pg_sys::Relids) -> Self {
        Relids::made(set)
    }
}
