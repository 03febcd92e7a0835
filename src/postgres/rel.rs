//! Open relations (rel.h).

use super::refs::{Ref, calls, fields};
use super::text;
use pgrx::{PgTupleDesc, pg_sys};

/// An open relation.
pub type OpenRelation<'p> = Ref<'p, pg_sys::RelationData>;

fields! {
    /// The relation's row of pg_class.
    RelationData.rd_rel as class: Ref<'p, pg_sys::FormData_pg_class>;
    /// The relation's columns.
    RelationData.rd_att as descriptor: Ref<'p, pg_sys::TupleDescData>;
}

calls! {
    fn table_open<'p>(table: pg_sys::Oid, lock: i32) -> OpenRelation<'p> = table_open(table, lock);
    /// Whether the backend has a lock of a mode on a relation, or of a stronger one.
    pub fn is_locked(relation: OpenRelation, mode: i32, or_stronger: bool) -> bool
        = CheckRelationLockedByMe(relation, mode, or_stronger);
    fn table_close(relation: OpenRelation, lock: i32) = table_close(relation, lock);
}

/// Opens a table that the statement has locked, works, and closes the table.
pub fn with_locked<T>(table: pg_sys::Oid, work: impl FnOnce(OpenRelation) -> T) -> T {
    let lock = pg_sys::NoLock as i32;
    let relation = table_open(table, lock);
    let result = work(relation);
    table_close(relation, lock);
    result
}

impl OpenRelation<'_> {
    /// The relation's name.
    pub fn name(self) -> String {
        text::shown(Some(text::name(&self.class().relname)))
    }

    /// The columns that were not dropped.
    pub fn columns(self) -> impl Iterator<Item = pg_sys::FormData_pg_attribute> {
        // SAFETY: the relation is open, so its descriptor is there.
        let descriptor = unsafe { PgTupleDesc::from_pg_unchecked(self.descriptor().as_ptr()) };
        (0..descriptor.len())
            .filter_map(move |index| descriptor.get(index).copied())
            .filter(|column| !column.attisdropped)
    }
}
