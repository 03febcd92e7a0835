//! PostgreSQL's lists, which have been arrays since version 13 (pg_list.h).

use super::refs::{FromRaw, Node, Ref, as_ptr};
use pgrx::pg_sys;
use std::marker::PhantomData;

/// A list of pointers to structures.
pub struct List<'p, T> {
    list: *mut pg_sys::List,
    lifetime: PhantomData<&'p T>,
}

/// A list of integers.
#[derive(Clone, Copy)]
pub struct IntList<'p> {
    list: *mut pg_sys::List,
    lifetime: PhantomData<&'p pg_sys::List>,
}

impl<'p, T> List<'p, T> {
    /// The empty list.
    pub const EMPTY: List<'p, T> = List {
        list: std::ptr::null_mut(),
        lifetime: PhantomData,
    };

    /// A list for a call into PostgreSQL, null where it is empty.
    pub fn as_ptr(self) -> *mut pg_sys::List {
        self.list
    }

    /// The list as a node; `None` where it is null.
    pub fn as_node(self) -> Option<Node<'p>> {
        // SAFETY: a list is a node.
        unsafe { FromRaw::from_raw(self.list.cast()) }
    }

    /// How many elements the list has.
    pub fn len(self) -> usize {
        length(self.list)
    }

    /// Whether the list has no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The element at an index from 0; `None` where that is null.
    pub fn get(self, index: usize) -> Option<Ref<'p, T>> {
        // SAFETY: the elements of a list of pointers are pointers to structures that live as long as the list.
        cell(self.list, index).and_then(|cell| unsafe { FromRaw::from_raw(cell.ptr_value.cast()) })
    }

    /// The elements that are not null.
    pub fn iter(self) -> impl Iterator<Item = Ref<'p, T>> {
        (0..self.len()).filter_map(move |index| self.get(index))
    }

    /// A new list.
    pub fn of(elements: impl IntoIterator<Item = Ref<'p, T>>) -> List<'p, T> {
        List::of_optional(elements.into_iter().map(Some))
    }

    /// A new list, some of whose elements are null.
    pub fn of_optional(elements: impl IntoIterator<Item = Option<Ref<'p, T>>>) -> List<'p, T> {
        let append = |list: List<'p, T>, element: Option<Ref<'p, T>>| List {
            // SAFETY: null is the empty list, and this one is new, so that nobody else has it.
            list: unsafe { pg_sys::lappend(list.list, as_ptr(element).cast()) },
            lifetime: PhantomData,
        };
        elements.into_iter().fold(List::EMPTY, append)
    }

    /// A new list of the elements of both.
    pub fn concat(self, other: List<'p, T>) -> List<'p, T> {
        List::of_optional(
            (0..self.len())
                .map(|index| self.get(index))
                .chain((0..other.len()).map(|index| other.get(index))),
        )
    }
}

impl<T> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for List<'_, T> {}

impl<T> FromRaw for List<'_, T> {
    type Raw = pg_sys::List;

    unsafe fn from_raw(list: *mut pg_sys::List) -> Self {
        List {
            list,
            lifetime: PhantomData,
        }
    }
}

impl<'p> IntList<'p> {
    /// The list as a node; `None` where it is null.
    pub fn as_node(self) -> Option<Node<'p>> {
        // SAFETY: a list is a node.
        unsafe { FromRaw::from_raw(self.list.cast()) }
    }

    /// A list for a call into PostgreSQL, null where it is empty.
    pub fn as_ptr(self) -> *mut pg_sys::List {
        self.list
    }

    /// The integers.
    pub fn iter(self) -> impl Iterator<Item = i32> {
        // SAFETY: the elements of a list of integers are integers.
        (0..length(self.list))
            .filter_map(move |index| cell(self.list, index).map(|cell| unsafe { cell.int_value }))
    }

    /// A new list.
    pub fn of(integers: impl IntoIterator<Item = i32>) -> Self {
        let append = |list, integer| {
            // SAFETY: null is the empty list, and this one is new, so that nobody else has it.
            unsafe { pg_sys::lappend_int(list, integer) }
        };
        IntList {
            list: integers.into_iter().fold(std::ptr::null_mut(), append),
            lifetime: PhantomData,
        }
    }
}

impl FromRaw for IntList<'_> {
    type Raw = pg_sys::List;

    unsafe fn from_raw(list: *mut pg_sys::List) -> Self {
        IntList {
            list,
            lifetime: PhantomData,
        }
    }
}

fn length(list: *mut pg_sys::List) -> usize {
    // SAFETY: `List` and `IntList` have valid lists, or null for an empty one.
    unsafe { list.as_ref() }.map_or(0, |list| list.length as usize)
}

fn cell(list: *mut pg_sys::List, index: usize) -> Option<pg_sys::ListCell> {
    // SAFETY: a list has `length` elements.
    (index < length(list)).then(|| unsafe { *(*list).elements.add(index) })
}
