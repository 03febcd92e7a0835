//! A function in FROM that becomes a table while its query is planned (parsenodes.h).

use super::compat;
use super::expressions::{make_bigint, make_case, make_is_not_null};
use super::list::List;
use super::planner::Root;
use super::refs::{Node, Ref, as_ptr, calls, setters};
use pgrx::{pg_guard, pg_sys};

/// A member of the range table.
pub type Entry<'p> = Ref<'p, pg_sys::RangeTblEntry>;

setters! {
    /// Sets the collation that the function is told.
    FuncExpr.inputcollid as set_input_collation: pg_sys::Oid;
    /// Sets whether the member may refer to others.
    RangeTblEntry.lateral as set_lateral: bool;
    Var.varattnosyn as set_written_number: i16;
    Var.vartype as set_type: pg_sys::Oid;
    Query.rtable as set_range_table: List<'p, pg_sys::RangeTblEntry>;
}

calls! {
    fn type_collation(type_oid: pg_sys::Oid) -> pg_sys::Oid = get_typcollation(type_oid);
}

/// A table that takes the place of a function.
pub struct Replacement<'a> {
    /// The table, which is locked.
    pub table: pg_sys::Oid,
    /// The table's column for each of the function's, and its type.
    pub columns: &'a [(i16, pg_sys::Oid)],
    /// A column of text that is not null in any of the table's rows.
    pub never_null: i16,
    /// The role whose rights on the table are checked.
    pub role: pg_sys::Oid,
}

/// Has a query read a table instead of the function at an index of the range table, from 1. The table's member has the call as an argument of
/// TABLESAMPLE, which the planner lets refer to other relations. `call` gives it.
pub fn replace<'p>(
    root: Root<'p>,
    index: i32,
    with: &Replacement,
    call: impl FnOnce() -> Node<'p>,
) -> bool {
    let replaced = || {
        let query = root.query()?;
        let entry = query.range_table().get(index as usize - 1)?;
        // SAFETY: each member has names.
        let names = unsafe { (*(*entry.as_ptr()).eref).colnames };
        let columns = Columns { with, names };
        let mapped = map_columns(query.as_node(), index, &columns);
        let parts = root.append_relations().as_node();
        let parts = parts.map(|parts| map_columns(parts, index, &columns));
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

/// What takes the place of a function's columns.
struct Columns<'a> {
    with: &'a Replacement<'a>,
    /// The function's column names.
    names: *mut pg_sys::List,
}

/// The node with the columns of a table in the place of a function's.
fn map_columns<'p>(node: Node<'p>, index: i32, columns: &Columns) -> Node<'p> {
    let callback = Some(column_of_table as _);
    let passed = std::ptr::from_ref(columns).cast_mut().cast();
    // SAFETY: the callback gets the columns, which live across the call. The result is a new node.
    unsafe {
        let mut has_subqueries = true;
        Ref::new(pg_sys::replace_rte_variables(
            node.as_ptr(),
            index,
            0,
            callback,
            passed,
            &mut has_subqueries,
        ))
    }
}

/// Callback: what takes the place of a column of the function.
#[pg_guard]
unsafe extern "C-unwind" fn column_of_table(
    var: compat::PassedVar,
    context: *mut pg_sys::replace_rte_variables_context,
) -> *mut pg_sys::Node {
    // SAFETY: PostgreSQL passes a column of the function, and what `map_columns` has passed.
    let (var, columns): (Ref<pg_sys::Var>, &Columns) = unsafe {
        let var = std::ptr::from_ref(&*var).cast_mut();
        (Ref::new(var), &*(*context).callback_arg.cast::<Columns>())
    };
    columns.of_table(var).as_ptr()
}

impl Columns<'_> {
    fn of_table<'p>(&self, var: Ref<'p, pg_sys::Var>) -> Node<'p> {
        match var.varattno {
            0 => self.whole_row(var),
            number => self.column(var, number),
        }
    }

    /// A column by its number. The one behind those of the function is that of ORDINALITY, which counts to 1.
    fn column<'p>(&self, var: Ref<'p, pg_sys::Var>, number: i16) -> Node<'p> {
        match self.with.columns.get(number as usize - 1) {
            Some((number, ..)) => numbered(var, *number).as_node(),
            None => self.if_there(var, make_bigint(1)),
        }
    }

    /// The row, which is null where the call has none.
    fn whole_row<'p>(&self, var: Ref<'p, pg_sys::Var>) -> Node<'p> {
        // SAFETY: the names are a list of strings, which is not empty.
        let count = unsafe { (*self.names).length as i16 };
        let fields = (1..=count).map(|number| {
            let field = numbered(var, number);
            if let Some((_, type_oid)) = self.with.columns.get(number as usize - 1) {
                field.set_type(*type_oid);
                field.set_collation(type_collation(*type_oid));
            }
            self.column(field, number)
        });
        let mut row = pg_sys::RowExpr::default();
        row.xpr.type_ = pg_sys::NodeTag::T_RowExpr;
        row.args = List::of(fields).as_ptr();
        row.row_typeid = pg_sys::RECORDOID;
        row.row_format = pg_sys::CoercionForm::COERCE_IMPLICIT_CAST;
        row.colnames = self.names;
        row.location = -1;
        self.if_there(var, Ref::allocate(row).as_node())
    }

    /// A value where the call has a row, and null where an outer join has made that null.
    fn if_there<'p>(&self, var: Ref<'p, pg_sys::Var>, value: Node<'p>) -> Node<'p> {
        let never_null = numbered(var, self.with.never_null);
        never_null.set_type(pg_sys::TEXTOID);
        never_null.set_collation(pg_sys::DEFAULT_COLLATION_OID);
        make_case(make_is_not_null(never_null.as_node()), value)
    }
}

/// A copy of a column with another number.
fn numbered<'p>(var: Ref<'p, pg_sys::Var>, number: i16) -> Ref<'p, pg_sys::Var> {
    let copy = var.duplicate();
    copy.set_number(number);
    copy.set_written_number(number);
    copy
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
