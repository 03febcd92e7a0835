//! PostgreSQL's lists, which have been arrays since version 13 (pg_list.h).

use super::refs::{FromRaw, Node, Ref, Untyped, as_ptr, calls, pointers};
use pgrx::pg_sys;
use std::marker::PhantomData;

/// A list of either kind, which is none where it is empty.
type AnyList<'p> = Option<Ref<'p, pg_sys::List>>;

/// A list of pointers to structures.
pub struct List<'p, T> {
    list: AnyList<'p>,
    elements: PhantomData<&'p T>,
}

/// A list of integers.
#[derive(Clone, Copy)]
pub struct IntList<'p> {
    list: AnyList<'p>,
}

calls! {
    /// Adds to a list that nobody else has.
    fn append<'p>(list: AnyList<'p>, element: Option<Untyped<'p>>) -> AnyList<'p> = lappend(list, element);
    /// Adds to a list that nobody else has.
    fn append_integer(list: AnyList, integer: i32) -> AnyList = lappend_int(list, integer);
}

impl<'p, T> List<'p, T> {
    /// The empty list.
    pub const EMPTY: List<'p, T> = List::from_list(None);

    const fn from_list(list: AnyList<'p>) -> List<'p, T> {
        List {
            list,
            elements: PhantomData,
        }
    }

    /// A list for a call into PostgreSQL, null where it is empty.
    pub fn as_ptr(self) -> *mut pg_sys::List {
        as_ptr(self.list)
    }

    /// The list as a node; `None` where it is null.
    pub fn as_node(self) -> Option<Node<'p>> {
        self.list.map(Ref::as_node)
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
        let append = |list, element: Option<Ref<'p, T>>| append(list, element.map(Untyped::from));
        List::from_list(elements.into_iter().fold(None, append))
    }

    /// The list with one more element, which takes the place of this one.
    pub fn append(self, element: Ref<'p, T>) -> List<'p, T> {
        List::from_list(append(self.list, Some(element.into())))
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
    type Raw = *mut pg_sys::List;

    unsafe fn from_raw(list: *mut pg_sys::List) -> Self {
        // SAFETY: the contract of this function says that the list is null or valid.
        List::from_list(unsafe { FromRaw::from_raw(list) })
    }
}

impl<'p> IntList<'p> {
    /// The empty list.
    pub const EMPTY: IntList<'p> = IntList { list: None };

    /// The list as a node; `None` where it is null.
    pub fn as_node(self) -> Option<Node<'p>> {
        self.list.map(Ref::as_node)
    }

    /// A list for a call into PostgreSQL, null where it is empty.
    pub fn as_ptr(self) -> *mut pg_sys::List {
        as_ptr(self.list)
    }

    /// The integers.
    pub fn iter(self) -> impl Iterator<Item = i32> {
        // SAFETY: the elements of a list of integers are integers.
        (0..length(self.list))
            .filter_map(move |index| cell(self.list, index).map(|cell| unsafe { cell.int_value }))
    }

    /// Changes the integer at an index from 0, if there is one.
    pub fn set(self, index: usize, integer: i32) {
        if let Some(list) = self.list.filter(|_| index < length(self.list)) {
            // SAFETY: the list has that element, which is an integer. No reference to it is held.
            unsafe { (*list.elements.add(index)).int_value = integer };
        }
    }

    /// A new list.
    pub fn of(integers: impl IntoIterator<Item = i32>) -> Self {
        IntList {
            list: integers.into_iter().fold(None, append_integer),
        }
    }
}

impl<'p> List<'p, pg_sys::Node> {
    /// The list as one of targets, which it is.
    pub fn as_targets(self) -> List<'p, pg_sys::TargetEntry> {
        List::of(self.iter().filter_map(Node::cast))
    }
}

impl<'p> Node<'p> {
    /// The node as a list of nodes, which is empty where it is none.
    pub fn as_list(self) -> List<'p, pg_sys::Node> {
        List::from_list(self.cast_tagged(pg_sys::NodeTag::T_List))
    }

    /// The node as a list of integers, which is empty where it is none.
    pub fn as_integers(self) -> IntList<'p> {
        let is_list = self.tag() == pg_sys::NodeTag::T_IntList;
        IntList {
            // SAFETY: the tag is that of a list of integers.
            list: is_list.then(|| unsafe { Ref::new(self.as_ptr().cast()) }),
        }
    }
}

impl FromRaw for IntList<'_> {
    type Raw = *mut pg_sys::List;

    unsafe fn from_raw(list: *mut pg_sys::List) -> Self {
        // SAFETY: the contract of this function says that the list is null or valid.
        let list = unsafe { FromRaw::from_raw(list) };
        IntList { list }
    }
}

pointers! {
    List<'_, T> => pg_sys::List [T]: list => list.as_ptr();
    IntList<'_> => pg_sys::List: list => list.as_ptr();
}

fn length(list: AnyList) -> usize {
    list.map_or(0, |list| list.length as usize)
}

fn cell(list: AnyList, index: usize) -> Option<pg_sys::ListCell> {
    // SAFETY: a list has `length` elements.
    list.filter(|_| index < length(list))
        .map(|list| unsafe { *list.elements.add(index) })
}
