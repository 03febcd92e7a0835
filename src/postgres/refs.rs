//! References to PostgreSQL's structures, whose fields are read like those of a Rust structure.
//!
//! The fields that are pointers have typed accessors in the other modules here ([`fields`]). Node casts check the node's tag.

use pgrx::pg_sys;
use pgrx::pg_sys::PgNode;
use std::ffi::{CStr, c_char, c_void};
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
    /// A structure in the current memory context.
    pub fn allocate(structure: T) -> Ref<'p, T> {
        // SAFETY: the memory has the size of a `T`, and gets a valid one.
        unsafe {
            let memory = pg_sys::palloc(std::mem::size_of::<T>()).cast::<T>();
            memory.write(structure);
            Ref::new(memory)
        }
    }

    /// A copy of the structure alone in the current memory context. It points to what the original points to.
    pub fn duplicate(self) -> Ref<'p, T> {
        Ref::allocate(*self)
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

/// The structure for a function that takes any pointer.
pub struct Untyped<'p> {
    pointer: NonNull<c_void>,
    lifetime: PhantomData<&'p c_void>,
}

impl<'p, T> From<&'p T> for Ref<'p, T> {
    fn from(reference: &'p T) -> Ref<'p, T> {
        Ref {
            pointer: NonNull::from(reference),
            lifetime: PhantomData,
        }
    }
}

impl<'p, T> From<Ref<'p, T>> for Untyped<'p> {
    fn from(reference: Ref<'p, T>) -> Untyped<'p> {
        Untyped {
            pointer: reference.pointer.cast(),
            lifetime: PhantomData,
        }
    }
}

/// A typed value of a field of PostgreSQL's, or of a function's result.
pub trait FromRaw {
    /// The type in PostgreSQL, most often a pointer.
    type Raw;

    /// Takes the value.
    ///
    /// # Safety
    /// The structure is valid and lives as long as the result. A pointer may be null where the result has a value for that.
    unsafe fn from_raw(raw: Self::Raw) -> Self;
}

impl<T> FromRaw for Ref<'_, T> {
    type Raw = *mut T;

    unsafe fn from_raw(pointer: *mut T) -> Self {
        // SAFETY: the contract of this function is that of `Ref::new`, as this type has no value for null.
        unsafe { Ref::new(pointer) }
    }
}

impl<T> FromRaw for Option<Ref<'_, T>> {
    type Raw = *mut T;

    unsafe fn from_raw(pointer: *mut T) -> Self {
        NonNull::new(pointer).map(|pointer| Ref {
            pointer,
            lifetime: PhantomData,
        })
    }
}

/// A string of PostgreSQL's.
impl FromRaw for Option<&CStr> {
    type Raw = *mut c_char;

    unsafe fn from_raw(string: *mut c_char) -> Self {
        // SAFETY: the string is not null, so that it ends in a zero byte and lives as long as the result.
        (!string.is_null()).then(|| unsafe { CStr::from_ptr(string) })
    }
}

/// A value as PostgreSQL takes it.
pub trait ToRaw<R> {
    /// The value in PostgreSQL's type.
    fn to_raw(self) -> R;
}

/// Implements the conversions to pointers.
macro_rules! pointers {
    ($($type:ty => $raw:ty $([$generic:ident])?: $value:ident => $pointer:expr;)*) => {
        $(impl$(<$generic>)? $crate::postgres::refs::ToRaw<*mut $raw> for $type {
            fn to_raw(self) -> *mut $raw {
                let $value = self;
                $pointer
            }
        }

        impl$(<$generic>)? $crate::postgres::refs::ToRaw<*const $raw> for $type {
            fn to_raw(self) -> *const $raw {
                $crate::postgres::refs::ToRaw::<*mut $raw>::to_raw(self)
            }
        })*
    };
}
pub(super) use pointers;

pointers! {
    Ref<'_, T> => T [T]: reference => reference.as_ptr();
    Option<Ref<'_, T>> => T [T]: reference => as_ptr(reference);
    Untyped<'_> => c_void: untyped => untyped.pointer.as_ptr();
    Option<Untyped<'_>> => c_void: untyped => untyped.map_or(std::ptr::null_mut(), ToRaw::<*mut c_void>::to_raw);
}

impl ToRaw<*const c_char> for &CStr {
    fn to_raw(self) -> *const c_char {
        self.as_ptr()
    }
}

impl ToRaw<*const c_char> for Option<&CStr> {
    fn to_raw(self) -> *const c_char {
        self.map_or(std::ptr::null(), CStr::as_ptr)
    }
}

/// For results that a function leaves in a variable.
impl<T> ToRaw<*mut T> for &mut T {
    fn to_raw(self) -> *mut T {
        self
    }
}

/// Expressions are nodes.
impl ToRaw<*mut pg_sys::Expr> for Node<'_> {
    fn to_raw(self) -> *mut pg_sys::Expr {
        self.as_ptr().cast()
    }
}

/// Implements both conversions for types that are the same in PostgreSQL.
macro_rules! plain {
    ($($type:ty),*) => {
        $(impl FromRaw for $type {
            type Raw = $type;

            unsafe fn from_raw(raw: $type) -> Self {
                raw
            }
        }

        impl ToRaw<$type> for $type {
            fn to_raw(self) -> $type {
                self
            }
        })*
    };
}
plain! {
    (), bool, i16, i32, i64, u32, u64, usize, f64, pg_sys::Oid, pg_sys::Datum, pg_sys::ItemPointerData, pg_sys::NodeTag, pg_sys::ResourceOwner,
    pg_sys::PGFunction, pg_sys::ExecProcNodeMtd
}

/// A pointer for a call into PostgreSQL, null for `None`.
pub fn as_ptr<T>(reference: Option<Ref<T>>) -> *mut T {
    reference.map_or(std::ptr::null_mut(), Ref::as_ptr)
}

/// Defines accessors of fields: `structure.field as accessor: type`. A field that may be null has a type with a value for that.
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

/// Defines accessors of structures that are in others: `structure.field as accessor: type`.
macro_rules! parts {
    ($($(#[$doc:meta])* $owner:ident.$field:ident $(.$inner:ident)* as $name:ident: $type:ident;)*) => {
        $(impl<'p> $crate::postgres::refs::Ref<'p, pgrx::pg_sys::$owner> {
            $(#[$doc])*
            pub fn $name(self) -> $crate::postgres::refs::Ref<'p, pgrx::pg_sys::$type> {
                // SAFETY: a part of a valid structure is valid, and lives as long.
                unsafe { $crate::postgres::refs::Ref::new(&raw mut (*self.as_ptr()).$field $(.$inner)*) }
            }
        })*
    };
}
pub(crate) use parts;

/// Defines functions that set a field: `structure.field as function: type`. No reference to a structure is held while it is changed.
macro_rules! setters {
    ($($(#[$doc:meta])* $owner:ident.$field:ident $(.$inner:ident)* as $name:ident: $type:ty;)*) => {
        $(impl<'p> $crate::postgres::refs::Ref<'p, pgrx::pg_sys::$owner> {
            $(#[$doc])*
            pub fn $name(self, value: $type) {
                // SAFETY: the structure is valid, and the field takes any value of the type. No reference to the structure is held.
                unsafe { (*self.as_ptr()).$field $(.$inner)* = $crate::postgres::refs::ToRaw::to_raw(value) };
            }
        })*
    };
}
pub(crate) use setters;

/// Defines accessors of the elements of arrays: `structure.array[length] as accessor: type`. There is null outside of an array.
macro_rules! arrays {
    ($($(#[$doc:meta])* $owner:ident.$field:ident[$length:ident] as $name:ident: $type:ty;)*) => {
        $(impl<'p> $crate::postgres::refs::Ref<'p, pgrx::pg_sys::$owner> {
            $(#[$doc])*
            pub fn $name(self, index: i32) -> $type {
                let array = self.$field;
                let is_there = (0..self.$length).contains(&index) && !array.is_null();
                // SAFETY: the array has so many elements. Each is null or points to a structure of the type, which lives as long.
                unsafe {
                    let element = is_there.then(|| *array.add(index as usize));
                    $crate::postgres::refs::FromRaw::from_raw(element.unwrap_or(std::ptr::null_mut()))
                }
            }
        })*
    };
}
pub(crate) use arrays;

/// Defines safe functions that call one of PostgreSQL's: `fn name(arguments) -> type = function(values);`. The function is defined for all values of
/// the arguments' types, and its result is one of the type. It is called in the backend's thread, a catalog look-up in a transaction.
macro_rules! calls {
    ($($(#[$doc:meta])* $vis:vis fn $name:ident $(<$lifetime:lifetime>)? ($($arguments:tt)*) $(-> $type:ty)?
        = $function:ident($($value:expr),* $(,)?) $(.$cast:ident())?;)*) => {
        $($(#[$doc])*
        $vis fn $name $(<$lifetime>)? ($($arguments)*) $(-> $type)? {
            // SAFETY: the function takes all values of the types. They are valid, and so is its result.
            unsafe {
                $crate::postgres::refs::FromRaw::from_raw(
                    pgrx::pg_sys::$function($($crate::postgres::refs::ToRaw::to_raw($value)),*) $(.$cast())?,
                )
            }
        })*
    };
}
pub(crate) use calls;

/// Defines functions that read a variable of the backend's, in its thread: `fn name() -> type = variable;`.
macro_rules! variables {
    ($($(#[$doc:meta])* $vis:vis fn $name:ident $(<$lifetime:lifetime>)? () -> $type:ty = $variable:ident;)*) => {
        $($(#[$doc])*
        $vis fn $name $(<$lifetime>)? () -> $type {
            // SAFETY: called in the backend's thread, and no other changes the variable. It has a value of the type.
            unsafe { $crate::postgres::refs::FromRaw::from_raw(pgrx::pg_sys::$variable) }
        })*
    };
}
pub(crate) use variables;
