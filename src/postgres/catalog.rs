//! Look-ups in catalogs: foreign tables, servers and user mappings (foreign.h), roles (miscadmin.h, acl.h), and types (lsyscache.h).
//!
//! They are made in a transaction. What they find is a copy in the current memory context.

use super::compat;
use super::list::List;
use super::planner::Root;
use super::refs::{Ref, calls, fields};
use super::text;
use pgrx::pg_sys;
use std::ffi::CStr;

fields! {
    /// The table's options.
    ForeignTable.options as options: List<'p, pg_sys::DefElem>;
    /// The server's options.
    ForeignServer.options as options: List<'p, pg_sys::DefElem>;
    /// The server's name.
    ForeignServer.servername as name: Option<&'p CStr>;
    /// The mapping's options.
    UserMapping.options as options: List<'p, pg_sys::DefElem>;
}

calls! {
    /// Accepts what other sessions have changed. PostgreSQL does so in each look-up of a table by name.
    pub fn accept_invalidation_messages() = AcceptInvalidationMessages();
    /// A foreign table.
    pub fn foreign_table<'p>(table: pg_sys::Oid) -> Ref<'p, pg_sys::ForeignTable> = GetForeignTable(table);
    /// A server.
    pub fn foreign_server<'p>(server: pg_sys::Oid) -> Ref<'p, pg_sys::ForeignServer> = GetForeignServer(server);
    /// The user mapping of a role, else that of PUBLIC. It is an error if there is neither.
    pub fn user_mapping<'p>(role: pg_sys::Oid, server: pg_sys::Oid) -> Ref<'p, pg_sys::UserMapping> = GetUserMapping(role, server);
    /// The role whose rights count.
    pub fn current_role() -> pg_sys::Oid = GetUserId();
    /// The role that has called the function whose owner's rights count.
    pub fn outer_role() -> pg_sys::Oid = GetOuterUserId();
    /// Whether a role is a superuser.
    pub fn is_superuser(role: pg_sys::Oid) -> bool = superuser_arg(role);
    /// A role's name; `None` where the role is gone.
    pub fn role_name<'p>(role: pg_sys::Oid) -> Option<&'p CStr> = GetUserNameFromId(role, true);
    /// A database's name; `None` where there is no such database.
    pub fn database_name<'p>(database: pg_sys::Oid) -> Option<&'p CStr> = get_database_name(database);
    fn relation_name<'p>(relation: pg_sys::Oid) -> Option<&'p CStr> = get_rel_name(relation);
    fn schema_of(relation: pg_sys::Oid) -> pg_sys::Oid = get_rel_namespace(relation);
    fn schema_name<'p>(schema: pg_sys::Oid) -> Option<&'p CStr> = get_namespace_name(schema);
    /// The options of a foreign table's column.
    pub fn column_options<'p>(table: pg_sys::Oid, column: i16) -> List<'p, pg_sys::DefElem> = GetForeignColumnOptions(table, column);
    /// The type of arrays of a type; an invalid oid where there is none.
    pub fn array_type(type_oid: pg_sys::Oid) -> pg_sys::Oid = get_array_type(type_oid);
    /// Whether a type, or the base type of a domain, is composite.
    pub fn is_composite(type_oid: pg_sys::Oid) -> bool = type_is_rowtype(type_oid);
    /// The type of an array's elements; an invalid oid where the type is no array.
    pub fn element_type(array_type: pg_sys::Oid) -> pg_sys::Oid = get_element_type(array_type);
    /// A type, or the base type of a domain.
    pub fn base_type(type_oid: pg_sys::Oid) -> pg_sys::Oid = getBaseType(type_oid);
    /// A type's name, which is a placeholder where there is no such type.
    pub fn type_name<'p>(type_oid: pg_sys::Oid) -> Option<&'p CStr> = format_type_be(type_oid);
    /// Whether values that are equal in a collation have the same bytes.
    pub fn is_deterministic(collation: pg_sys::Oid) -> bool = get_collation_isdeterministic(collation);
    /// The name of a table's column; `None` where the table has no such column.
    pub fn column_name<'p>(table: pg_sys::Oid, column: i16) -> Option<&'p CStr> = get_attname(table, column, true);
    /// The callbacks of a server's wrapper.
    pub fn wrapper_routine<'p>(server: pg_sys::Oid) -> Option<Ref<'p, pg_sys::FdwRoutine>> = GetFdwRoutineByServerId(server);
    /// The planner support function of a function, the invalid one where it has none.
    pub fn support_function(function: pg_sys::Oid) -> pg_sys::Oid = get_func_support(function);
    fn quoted(name: &CStr) -> Option<&CStr> = quote_identifier(name).cast_mut();
}

/// The names of a relation's schema and of the relation.
pub fn schema_and_name<'p>(relation: pg_sys::Oid) -> (Option<&'p CStr>, Option<&'p CStr>) {
    (schema_name(schema_of(relation)), relation_name(relation))
}

/// A name as SQL has it, for a message.
pub fn shown_in_sql(name: Option<&CStr>) -> String {
    text::shown(name.and_then(quoted))
}

/// Whether a role has a user mapping of its own. PUBLIC is the invalid role.
pub fn has_user_mapping(role: pg_sys::Oid, server: pg_sys::Oid) -> bool {
    let cache = pg_sys::SysCacheIdentifier::USERMAPPINGUSERSERVER;
    // SAFETY: a look-up by the cache's two keys. The tuple is released at once.
    unsafe {
        let tuple = pg_sys::SearchSysCache2(cache as _, role.into(), server.into());
        if !tuple.is_null() {
            pg_sys::ReleaseSysCache(tuple);
        }
        !tuple.is_null()
    }
}

/// A table, locked as long as the transaction lasts. It is an error if the current role may not read it.
pub fn lock_readable_table(
    schema: &'static CStr,
    name: &'static CStr,
    kind: pg_sys::ObjectType::Type,
) -> pg_sys::Oid {
    let (schema, name) = (schema.as_ptr().cast_mut(), name.as_ptr().cast_mut());
    let lock = pg_sys::AccessShareLock as _;
    let reads = pg_sys::ACL_SELECT as _;
    // SAFETY: PostgreSQL only reads the names. It raises errors of its own if there is no such table or it may not be read.
    unsafe {
        let range = pg_sys::makeRangeVar(schema, name, -1);
        let table = pg_sys::RangeVarGetRelidExtended(range, lock, 0, None, std::ptr::null_mut());
        let allowed = pg_sys::pg_class_aclcheck(table, pg_sys::GetUserId(), reads);
        if allowed != pg_sys::AclResult::ACLCHECK_OK {
            pg_sys::aclcheck_error(allowed, kind, name);
        }
        table
    }
}

/// The relation of a name in a schema; `None` if there is none.
pub fn relation(schema: &CStr, relation: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: PostgreSQL only reads the names. What is not there has an invalid oid.
    let found = unsafe {
        let schema = pg_sys::get_namespace_oid(schema.as_ptr(), true);
        pg_sys::get_relname_relid(relation.as_ptr(), schema)
    };
    (found != pg_sys::InvalidOid).then_some(found)
}

/// Locks a relation as long as the transaction lasts. Waits for other transactions.
pub fn lock(relation: pg_sys::Oid, lock: u32) {
    // SAFETY: an oid that no relation has may be locked.
    unsafe { pg_sys::LockRelationOid(relation, lock as _) };
}

/// Locks a relation as long as the transaction lasts, so that it is not dropped meanwhile. False if another transaction has a lock that
/// conflicts. An oid that no relation has may be locked.
pub fn try_lock(relation: pg_sys::Oid, lock: u32) -> bool {
    // SAFETY: takes a lock without waiting.
    unsafe { pg_sys::ConditionalLockRelationOid(relation, lock as _) }
}

/// Whether there is a foreign table with this oid.
pub fn is_foreign_table(table: pg_sys::Oid) -> bool {
    // SAFETY: a look-up in a cache.
    unsafe { pg_sys::get_rel_relkind(table) as u8 == pg_sys::RELKIND_FOREIGN_TABLE }
}

/// Reads a catalog in its own order, with no index. Calls `row` with each tuple, which lives for the call, and with their descriptor.
pub(super) fn scan(
    catalog: pg_sys::Oid,
    mut row: impl FnMut(pg_sys::HeapTuple, pg_sys::TupleDesc),
) {
    let lock = pg_sys::AccessShareLock as i32;
    let none = pg_sys::InvalidOid;
    // SAFETY: a scan without keys. PostgreSQL's transaction ends it after an error.
    unsafe {
        let relation = pg_sys::table_open(catalog, lock);
        let (snapshot, keys) = (std::ptr::null_mut(), std::ptr::null_mut());
        let scan = pg_sys::systable_beginscan(relation, none, false, snapshot, 0, keys);
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            row(tuple, (*relation).rd_att);
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
    }
}

/// Name and oid of each database that accepts connections. A process that is connected to no database can call this: it has no other
/// catalog's description, and so no index, unless another process has left one on disk.
pub fn databases() -> Vec<(Vec<u8>, pg_sys::Oid)> {
    let mut found = Vec::new();
    scan(pg_sys::DatabaseRelationId, |tuple, _| {
        // SAFETY: the columns of the structure come first in each of the catalog's tuples, and are never null.
        let database =
            unsafe { &*pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_database>(tuple) };
        // An interrupted DROP DATABASE leaves -2 (pg_database.h).
        if database.datallowconn && database.datconnlimit != -2 {
            let name = text::name(&database.datname).to_bytes().to_vec();
            found.push((name, database.oid));
        }
    });
    found
}

/// The relation of an extension, in the schema of the same name; `None` if there is none, or one that is somebody else's.
pub fn relation_of_extension(extension: &CStr, relation: &CStr) -> Option<pg_sys::Oid> {
    let table = self::relation(extension, relation)?;
    // SAFETY: PostgreSQL only reads the name. A relation that no extension has made gives an invalid oid.
    unsafe {
        let extension = pg_sys::get_extension_oid(extension.as_ptr(), true);
        let is_its = extension != pg_sys::InvalidOid
            && pg_sys::getExtensionOfObject(pg_sys::RelationRelationId, table) == extension;
        is_its.then_some(table)
    }
}

/// The next value of a sequence. It is an error if the current role may not use it.
pub fn next_value(sequence: pg_sys::Oid) -> i64 {
    let next = pg_sys::Oid::from(pg_sys::F_NEXTVAL);
    // SAFETY: the function takes the oid of a sequence. PostgreSQL raises an error of its own if there is none with the oid.
    unsafe {
        pg_sys::OidFunctionCall1Coll(next, pg_sys::InvalidOid, sequence.into()).value() as i64
    }
}

/// The role as which a function runs, the invalid one for the caller. `None` where it is not called as it is: with settings of its own, or not
/// with nulls.
pub fn role_of_plain_function(function: pg_sys::Oid) -> Option<pg_sys::Oid> {
    let cache = pg_sys::SysCacheIdentifier::PROCOID;
    // SAFETY: a look-up by the cache's key. The tuple is released once it is read.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache as _, function.into());
        if tuple.is_null() {
            return None;
        }
        let row = pg_sys::heap_tuple_get_struct::<pg_sys::FormData_pg_proc>(tuple);
        let no_descriptor = std::ptr::null_mut();
        let settings = pg_sys::Anum_pg_proc_proconfig as i32;
        let is_plain =
            !(*row).proisstrict && pg_sys::heap_attisnull(tuple, settings, no_descriptor);
        let owner = (*row).prosecdef.then_some((*row).proowner);
        pg_sys::ReleaseSysCache(tuple);
        is_plain.then_some(owner.unwrap_or(pg_sys::InvalidOid))
    }
}

/// Has a plan made again when a function changes.
pub fn depend_on_function(root: Root, function: pg_sys::Oid) {
    // SAFETY: notes the function in the plan.
    unsafe { pg_sys::record_plan_function_dependency(root.as_ptr(), function) };
}

/// Raises an error if the current role may not execute a function.
pub fn check_execute(function: pg_sys::Oid) {
    // SAFETY: look-ups in caches.
    unsafe {
        let allowed = compat::may_execute(function, pg_sys::GetUserId());
        if allowed != pg_sys::AclResult::ACLCHECK_OK {
            let kind = pg_sys::ObjectType::OBJECT_FUNCTION;
            pg_sys::aclcheck_error(allowed, kind, pg_sys::get_func_name(function));
        }
    }
}

/// The owner of a relation, which is locked.
pub fn owner(relation: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: the relation is locked, and so is there.
    unsafe {
        let open = pg_sys::relation_open(relation, pg_sys::NoLock as _);
        let owner = (*(*open).rd_rel).relowner;
        pg_sys::relation_close(open, pg_sys::NoLock as _);
        owner
    }
}
