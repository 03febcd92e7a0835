//! IMPORT FOREIGN SCHEMA (parsenodes.h, foreign.h), and a hook on the statements that it runs (utility.h).

use super::list::List;
use super::refs::{Ref, calls, fields};
use super::text;
use pgrx::pg_guard;
use pgrx::pg_sys;
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

/// The statement.
pub type Import<'p> = Ref<'p, pg_sys::ImportForeignSchemaStmt>;

fields! {
    /// The foreign server's name.
    ImportForeignSchemaStmt.server_name as server: Option<&'p CStr>;
    /// The remote schema's name.
    ImportForeignSchemaStmt.remote_schema as remote_schema: Option<&'p CStr>;
    /// The options of the statement.
    ImportForeignSchemaStmt.options as options: List<'p, pg_sys::DefElem>;
    /// The tables of LIMIT TO or EXCEPT.
    ImportForeignSchemaStmt.table_list as tables: List<'p, pg_sys::RangeVar>;
    RangeVar.relname as table: Option<&'p CStr>;
    PlannedStmt.utilityStmt as utility: Option<Ref<'p, pg_sys::Node>>;
    CreateForeignTableStmt.base.relation as relation: Option<Ref<'p, pg_sys::RangeVar>>;
}

calls! {
    fn quoted_literal<'p>(text: &CStr) -> Option<&'p CStr> = quote_literal_cstr(text);
    fn quoted_identifier<'p>(name: &CStr) -> Option<&'p CStr> = quote_identifier(name).cast_mut();
    fn copied(text: &CStr) -> Ref<'static, c_char> = pstrdup(text);
}

/// A name as SQL has it, in the database's encoding.
pub fn identifier(name: &CStr) -> &[u8] {
    quoted_identifier(name).map_or(b"", CStr::to_bytes)
}

/// A text as a literal of SQL, in the database's encoding.
pub fn literal(text: &CStr) -> &[u8] {
    quoted_literal(text).map_or(b"", CStr::to_bytes)
}

/// Texts of statements for PostgreSQL to run, copied into the current memory context.
pub fn commands<'t>(texts: impl Iterator<Item = &'t CStr>) -> List<'static, c_char> {
    List::of(texts.map(copied))
}

/// Which tables an import is limited to.
pub enum Tables<'p> {
    /// All.
    All,
    /// Those in LIMIT TO.
    Only(Vec<&'p CStr>),
    /// Those that are not in EXCEPT.
    Except(Vec<&'p CStr>),
}

impl<'p> Import<'p> {
    /// The tables that are wanted.
    pub fn wanted(self) -> Tables<'p> {
        use pg_sys::ImportForeignSchemaType::{
            FDW_IMPORT_SCHEMA_EXCEPT, FDW_IMPORT_SCHEMA_LIMIT_TO,
        };
        let named = || {
            self.tables()
                .iter()
                .filter_map(|name| name.table())
                .collect()
        };
        match self.list_type {
            FDW_IMPORT_SCHEMA_LIMIT_TO => Tables::Only(named()),
            FDW_IMPORT_SCHEMA_EXCEPT => Tables::Except(named()),
            _ => Tables::All,
        }
    }
}

static PREVIOUS: OnceLock<pg_sys::ProcessUtility_hook_type> = OnceLock::new();
static AFTER_TABLE: OnceLock<AfterTable> = OnceLock::new();

/// Called with the text of a statement inside of another that has made a foreign table, and with that table.
type AfterTable = fn(&CStr, pg_sys::Oid);

/// Has a function called for each foreign table that a statement inside of another one makes. Called in the backend's thread. The first
/// function stays.
pub fn after_inner_tables(function: AfterTable) {
    AFTER_TABLE.get_or_init(|| function);
    // SAFETY: hooks are set in the backend's thread. The library is never unloaded.
    unsafe {
        PREVIOUS.get_or_init(|| {
            let previous = pg_sys::ProcessUtility_hook;
            pg_sys::ProcessUtility_hook = Some(process_utility);
            previous
        });
    }
}

#[pg_guard]
#[allow(clippy::too_many_arguments, reason = "the hook has them")]
unsafe extern "C-unwind" fn process_utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: the arguments are PostgreSQL's, and go to the hook that was there before, or to what PostgreSQL calls without a hook. The
    // guard is for the call through a pointer. An inner statement and its text are there until the hook returns.
    unsafe {
        let is_inner = context == pg_sys::ProcessUtilityContext::PROCESS_UTILITY_SUBCOMMAND;
        let inner =
            (is_inner && !text.is_null()).then(|| (Ref::new(statement), CStr::from_ptr(text)));
        match PREVIOUS.get().copied().flatten() {
            Some(previous) => pg_guard_ffi_boundary(|| {
                previous(
                    statement,
                    text,
                    read_only,
                    context,
                    parameters,
                    environment,
                    destination,
                    completion,
                )
            }),
            None => pg_sys::standard_ProcessUtility(
                statement,
                text,
                read_only,
                context,
                parameters,
                environment,
                destination,
                completion,
            ),
        }
        if let (Some((statement, text)), Some(after)) = (inner, AFTER_TABLE.get())
            && let Some(table) = made_table(statement)
        {
            after(text, table);
        }
    }
}

/// The foreign table that a statement has made.
fn made_table(statement: Ref<pg_sys::PlannedStmt>) -> Option<pg_sys::Oid> {
    let made: Ref<pg_sys::CreateForeignTableStmt> = statement.utility()?.cast()?;
    let name = made.relation()?;
    // SAFETY: looks the name up, which is there and whole, without a lock beyond the one that making the table took. Unlike PostgreSQL's look-up of a table
    // for a query it needs no right to use the schema.
    unsafe {
        let name = name.as_ptr();
        if (*name).schemaname.is_null() {
            return None;
        }
        let schema = pg_sys::get_namespace_oid((*name).schemaname, true);
        let table = pg_sys::get_relname_relid((*name).relname, schema);
        (table != pg_sys::InvalidOid).then_some(table)
    }
}

/// Makes a comment on a table that the current role has made.
pub fn comment_on_table(table: pg_sys::Oid, comment: &str) {
    let comment = text::for_server(comment);
    // SAFETY: PostgreSQL copies the text.
    unsafe { pg_sys::CreateComments(table, pg_sys::RelationRelationId, 0, comment.as_ptr()) };
}
