//! PostgreSQL's lists as raw pointers, for structures that have no wrapper ([`list`](super::list)).

use pgrx::pg_sys;

/// The pointers of a list of nodes.
///
/// # Safety
/// `list` is null or a list of pointers to `T`, and is not changed while it is walked.
pub unsafe fn pointers<T>(list: *mut pg_sys::List) -> impl Iterator<Item = *mut T> {
    // SAFETY: the elements of a list of pointers are pointers.
    unsafe { cells(list) }.map(|cell| unsafe { (*cell).ptr_value.cast() })
}

/// One pointer of a list of nodes, counted from 0.
///
/// # Safety
/// As for [`pointers`].
pub unsafe fn nth<T>(list: *mut pg_sys::List, index: usize) -> Option<*mut T> {
    // SAFETY: the list is null or one of pointers to `T`.
    unsafe { pointers(list) }.nth(index)
}

/// The numbers of a list of integers.
///
/// # Safety
/// `list` is null or a list of integers, and is not changed while it is walked.
pub unsafe fn integers(list: *mut pg_sys::List) -> impl Iterator<Item = i32> {
    // SAFETY: the elements of a list of integers are integers.
    unsafe { cells(list) }.map(|cell| unsafe { (*cell).int_value })
}

/// Changes one number of a list of integers.
///
/// # Safety
/// `list` is a list of integers with that index.
pub unsafe fn set_integer(list: *mut pg_sys::List, index: usize, number: i32) {
    // SAFETY: the list has that element, which is an integer.
    unsafe { (*(*list).elements.add(index)).int_value = number };
}

/// A list of pointers.
pub fn list<T>(pointers: &[*mut T]) -> *mut pg_sys::List {
    pointers
        .iter()
        // SAFETY: null is the empty list.
        .fold(std::ptr::null_mut(), |list, pointer| unsafe {
            pg_sys::lappend(list, pointer.cast())
        })
}

/// A list of integers.
pub fn integer_list(numbers: impl IntoIterator<Item = i32>) -> *mut pg_sys::List {
    numbers
        .into_iter()
        // SAFETY: null is the empty list.
        .fold(std::ptr::null_mut(), |list, number| unsafe {
            pg_sys::lappend_int(list, number)
        })
}

/// The length of a list of either kind.
///
/// # Safety
/// `list` is null or a list.
pub unsafe fn length(list: *mut pg_sys::List) -> usize {
    // SAFETY: null is the empty list.
    unsafe { list.as_ref() }.map_or(0, |list| list.length as usize)
}

unsafe fn cells(list: *mut pg_sys::List) -> impl Iterator<Item = *mut pg_sys::ListCell> {
    // SAFETY: a list has `length` elements.
    (0..unsafe { length(list) }).map(move |index| unsafe { (*list).elements.add(index) })
}
