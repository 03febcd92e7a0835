//! Sets of small integers, most often of relations by their index in the range table (bitmapset.h).
//!
//! Operations make new sets, and change none.

use super::refs::{FromRaw, Ref, ToRaw, calls, pointers};
use pgrx::pg_sys;
use std::marker::PhantomData;

/// A set, null where it is empty.
#[derive(Clone, Copy)]
pub struct Relids<'p> {
    set: pg_sys::Relids,
    lifetime: PhantomData<&'p pg_sys::Bitmapset>,
}

calls! {
    fn is_member(set: Relids, member: i32) -> bool = bms_is_member(member, set);
    fn next_member(set: Relids, member: i32) -> i32 = bms_next_member(set, member);
}

impl<'p> Relids<'p> {
    /// The empty set.
    pub const EMPTY: Relids<'p> = Relids {
        set: std::ptr::null_mut(),
        lifetime: PhantomData,
    };

    calls! {
        /// A set of one member. PostgreSQL refuses a member that is negative.
        pub fn singleton(member: i32) -> Relids<'p> = bms_make_singleton(member);
        /// The members of either.
        pub fn union(self, other: Relids<'p>) -> Relids<'p> = bms_union(self, other);
        /// The members of both.
        pub fn intersection(self, other: Relids<'p>) -> Relids<'p> = bms_intersect(self, other);
        /// The members that the other does not have.
        pub fn difference(self, other: Relids<'p>) -> Relids<'p> = bms_difference(self, other);
        /// Whether there are members of both.
        pub fn overlaps(self, other: Relids<'p>) -> bool = bms_overlap(self, other);
        /// Whether the other has all members.
        pub fn is_subset(self, other: Relids<'p>) -> bool = bms_is_subset(self, other);
        /// Whether both have the same members.
        pub fn equals(self, other: Relids<'p>) -> bool = bms_equal(self, other);
        /// A copy.
        #[cfg(not(any(feature = "pg14", feature = "pg15")))]
        pub fn copy(self) -> Relids<'p> = bms_copy(self);
    }

    /// The set without a member.
    pub fn without(self, member: i32) -> Relids<'p> {
        self.difference(Relids::singleton(member))
    }

    /// Whether it has a member.
    pub fn contains(self, member: i32) -> bool {
        member >= 0 && is_member(self, member)
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
        let next = move |member: i32| Some(next_member(self, member)).filter(|next| *next >= 0);
        std::iter::successors(next(-1), move |member| next(*member))
    }

    /// The set for a call into PostgreSQL.
    pub fn as_ptr(self) -> pg_sys::Relids {
        self.set
    }
}

impl FromRaw for Relids<'_> {
    type Raw = pg_sys::Relids;

    unsafe fn from_raw(set: pg_sys::Relids) -> Self {
        Relids {
            set,
            lifetime: PhantomData,
        }
    }
}

impl<'p> From<Ref<'p, pg_sys::Bitmapset>> for Relids<'p> {
    fn from(set: Ref<'p, pg_sys::Bitmapset>) -> Relids<'p> {
        Relids {
            set: set.as_ptr(),
            lifetime: PhantomData,
        }
    }
}

pointers! { Relids<'_> => pg_sys::Bitmapset: relids => relids.set; }

/// For functions that add to a set.
impl ToRaw<*mut pg_sys::Relids> for &mut Relids<'_> {
    fn to_raw(self) -> *mut pg_sys::Relids {
        &mut self.set
    }
}
