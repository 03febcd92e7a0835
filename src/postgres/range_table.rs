//! A function in FROM that becomes a table while its query is planned (parsenodes.h).

use super::compat;
use super::list::List;
use super::planner::Root;
use super::refs::{Node, Ref, as_ptr, setters};
use pgrx::pg_sys;
use std::ffi::c_int;

/// A member of the range table.
pub type Entry<'p> = Ref<'p, pg_sys::RangeTblEntry>;

setters! {
    /// Sets the collation that the function is told.
    FuncExpr.inputcollid as set_input_collation: pg_sys::Oid;
    Query.rtable as set_range_table: List<'p, pg_sys::RangeTblEntry>;
}

/// A table that takes the place of a function.
pub struct Replacement<'a> {
    /// The table, which is locked.
    pub table: pg_sys::Oid,
    /// The table's column for each of the function's.
    pub columns: &'a [i16],
    /// The role whose rights on the table are checked.
    pub role: pg_sys::Oid,
}

/// Has a query read a table instead of the function at an index of the range table, from 1. The table's member has the call as an argument of
/// TABLESAMPLE, which the planner lets refer to other relations. `call` gives it once nothing stands against this. False where the query reads the
/// function's row as a whole, and nothing is changed.
pub fn replace<'p>(
    root: Root<'p>,
    index: i32,
    with: &Replacement,
    call: impl FnOnce() -> Node<'p>,
) -> bool {
    let replaced = || {
        let query = root.query()?;
        let entry = query.range_table().get(index as usize - 1)?;
        let mapped = map_columns(query.as_node(), index, with.columns)?;
        let parts = match root.append_relations().as_node() {
            Some(parts) => Some(map_columns(parts, index, with.columns)?),
            None => None,
        };
        let call = call();
        become_query(query, mapped.cast()?);
        // SAFETY: a list gives a list.
        unsafe { (*root.as_ptr()).append_rel_list = as_ptr(parts).cast() };
        become_table(root, entry, with, call);
        Some(())
    };
    replaced().is_some()
}

/// Gives a query and its members the contents of others. The planner goes on with the structures that it has.
fn become_query(query: Ref<pg_sys::Query>, other: Ref<pg_sys::Query>) {
    // SAFETY: both are valid, and have as many members.
    unsafe {
        for (old, new) in (query.range_table().iter()).zip(other.range_table().iter()) {
            *old.as_ptr() = *new.as_ptr();
        }
        let members = query.range_table().as_ptr();
        *query.as_ptr() = *other.as_ptr();
        (*query.as_ptr()).rtable = members;
    }
}

/// An AttrMap (attmap.h), which pgrx does not have for each version.
#[repr(C)]
struct ColumnMap {
    attnums: *mut pg_sys::AttrNumber,
    maplen: c_int,
}

/// The node with other numbers for the columns of a relation; `None` where it reads the row as a whole.
fn map_columns<'p>(node: Node<'p>, index: i32, columns: &[i16]) -> Option<Node<'p>> {
    let mut columns = columns.to_vec();
    let map = ColumnMap {
        attnums: columns.as_mut_ptr(),
        maplen: columns.len() as _,
    };
    let mut is_whole = false;
    // SAFETY: the map has so many numbers. The result is a new node.
    let mapped = unsafe {
        Ref::new(pg_sys::map_variable_attnos(
            node.as_ptr(),
            index,
            0,
            (&raw const map).cast(),
            pg_sys::InvalidOid,
            &mut is_whole,
        ))
    };
    (!is_whole).then_some(mapped)
}

/// Makes a function's member of the range table that of a table.
fn become_table<'p>(root: Root<'p>, entry: Entry<'p>, with: &Replacement, call: Node<'p>) {
    let sample = Ref::allocate(pg_sys::TableSampleClause {
        type_: pg_sys::NodeTag::T_TableSampleClause,
        tsmhandler: pg_sys::Oid::from(pg_sys::F_BERNOULLI),
        args: List::of([call]).as_ptr(),
        repeatable: std::ptr::null_mut(),
    });
    // SAFETY: the function's member is valid, and gets the contents of another valid one.
    unsafe {
        let alias = pg_sys::makeAlias((*(*entry.as_ptr()).eref).aliasname, std::ptr::null_mut());
        let made = make_entry(root, with.table, alias, with.role).as_ptr();
        (*made).lateral = true;
        (*made).tablesample = sample.as_ptr();
        *entry.as_ptr() = *made;
    }
}

/// Adds a table to a query whose plan is being made. The plan depends on the table, locks it, and has the rights of a role on it checked. No expression
/// reads its columns.
pub fn add_table(root: Root, table: pg_sys::Oid, role: pg_sys::Oid) {
    let Some(query) = root.query() else { return };
    // SAFETY: the name is a constant, of which PostgreSQL keeps a copy.
    let alias = unsafe { pg_sys::makeAlias(c"lambda".as_ptr(), std::ptr::null_mut()) };
    let entry = make_entry(root, table, alias, role);
    query.set_range_table(query.range_table().append(entry));
}

/// A member of the range table for a table that is locked. The rights of a role are checked when the query runs.
fn make_entry<'p>(
    root: Root<'p>,
    table: pg_sys::Oid,
    alias: *mut pg_sys::Alias,
    role: pg_sys::Oid,
) -> Entry<'p> {
    let (no_lock, lock) = (pg_sys::NoLock as i32, pg_sys::AccessShareLock as i32);
    // SAFETY: the table is locked.
    unsafe {
        let state = pg_sys::make_parsestate(std::ptr::null_mut());
        let open = pg_sys::table_open(table, no_lock);
        let made = pg_sys::addRangeTableEntryForRelation(state, open, lock, alias, false, true);
        pg_sys::table_close(open, no_lock);
        let made = (*made).p_rte;
        compat::check_rights_of(root, made, state, role);
        Ref::new(made)
    }
}
