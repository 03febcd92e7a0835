//! References to PostgreSQL's structures, whose fields are read like those of a Rust structure.
//!
//! The fields that are pointers have typed accessors in the other modules here ([`fields`]). Node casts check the node's tag.

use pgrx::pg_sys;
use pgrx::pg_sys::PgNode;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;

/// A structure of PostgreSQL's that lives at least as long as `'p`.
///
/// It is a pointer and not a Rust reference: PostgreSQL may change the structure while it is called. [`Deref`] gives a Rust reference for reading
/// one field; it is not held over a call into PostgreSQL.
pub struct Ref<'p, T> {
    pointer: NonNull<T>,
    lifetime: PhantomData<&'p T>,
}

/// Any node: most often an expression.
pub type Node<'p> = Ref<'p, pg_sys::Node>;

impl<'p, T> Ref<'p, T> {
    /// A reference to a structure.
    ///
    /// # Safety
    /// The pointer is not null. The structure is a valid `T` of PostgreSQL's. It and all that it points to live as long as `'p`.
    pub unsafe fn new(pointer: *mut T) -> Ref<'p, T> {
        Ref {
            // SAFETY: the contract of this function says that it is not null.
            pointer: unsafe { NonNull::new_unchecked(pointer) },
            lifetime: PhantomData,
        }
    }

    /// The structure for a call into PostgreSQL.
    pub fn as_ptr(self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<'p, T: PgNode + Copy> Ref<'p, T> {
    /// A copy of the structure alone in the current memory context. It points to what the original points to.
    pub fn duplicate(self) -> Ref<'p, T> {
        // SAFETY: the memory has the size of a `T`, and gets a valid one.
        unsafe {
            let copy = pg_sys::palloc(std::mem::size_of::<T>()).cast::<T>();
            copy.write(*self.as_ptr());
            Ref::new(copy)
        }
    }
}

impl<'p, T: PgNode> Ref<'p, T> {
    /// The structure as a node.
    pub fn as_node(self) -> Node<'p> {
        // SAFETY: `PgNode` is implemented for structures that begin with a node.
        unsafe { Ref::new(self.as_ptr().cast()) }
    }

    /// The node's tag.
    pub fn tag(self) -> pg_sys::NodeTag {
        self.node_tag()
    }

    /// The node as a `U`, if its tag is that of a `U`.
    pub fn cast<U: PgNode>(self) -> Option<Ref<'p, U>> {
        // SAFETY: the tag is one of those whose nodes begin with a `U`.
        U::CAST_TAGS
            .contains(&self.tag())
            .then(|| unsafe { Ref::new(self.as_ptr().cast()) })
    }

    /// The node as a `U`, if it has this tag. For structures that nodes of several tags share.
    pub fn cast_tagged<U: PgNode>(self, tag: pg_sys::NodeTag) -> Option<Ref<'p, U>> {
        self.cast().filter(|_| self.tag() == tag)
    }
}

impl<T> Clone for Ref<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Ref<'_, T> {}

/// Two references are equal if they refer to the same structure.
impl<T> PartialEq for Ref<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.pointer == other.pointer
    }
}

impl<T> Eq for Ref<'_, T> {}

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the structure is valid for as long as this reference to it lives.
        unsafe { self.pointer.as_ref() }
    }
}

/// What a field of a structure of PostgreSQL's, or a result of a function, points to.
pub trait FromRaw {
    /// The structure that is pointed to.
    type Raw;

    /// Takes the pointer.
    ///
    /// # Safety
    /// The structure is valid and lives as long as the result. The pointer may be null where the result has a value for that.
    unsafe fn from_raw(pointer: *mut Self::Raw) -> Self;
}

impl<T> FromRaw for Ref<'_, T> {
    type Raw = T;

    unsafe fn from_raw(pointer: *mut T) -> Self {
        // SAFETY: the contract of this function is that of `Ref::new`, as this type has no value for null.
        unsafe { Ref::new(pointer) }
    }
}

impl<T> FromRaw for Option<Ref<'_, T>> {
    type Raw = T;

    unsafe fn from_raw(pointer: *mut T) -> Self {
        // SAFETY: the contract of this function is that of `Ref::new` but for null.
        (!pointer.is_null()).then(|| unsafe { Ref::new(pointer) })
    }
}

/// A pointer for a call into PostgreSQL, null for `None`.
pub fn as_ptr<T>(reference: Option<Ref<T>>) -> *mut T {
    reference.map_or(std::ptr::null_mut(), Ref::as_ptr)
}

/// Defines accessors of fields that are pointers: `structure.field as accessor: type`. A field that may be null has a type with a value for that.
macro_rules! fields {
    ($($(#[$doc:meta])* $owner:ident.$field:ident $(.$inner:ident)* as $name:ident: $type:ty;)*) => {
        $(impl<'p> $crate::postgres::refs::Ref<'p, pgrx::pg_sys::$owner> {
            $(#[$doc])*
            pub fn $name(self) -> $type {
                // SAFETY: a field of a valid structure points to a structure of the field's type, which lives as long, or is null where the type
                // has a value for that.
                unsafe { $crate::postgres::refs::FromRaw::from_raw((*self.as_ptr()).$field $(.$inner)*.cast()) }
            }
        })*
    };
}
pub(crate) use fields;
