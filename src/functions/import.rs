//! IMPORT FOREIGN SCHEMA: a foreign table for each function.
//!
//! PostgreSQL runs the statements that are made here, and leaves out those of tables that LIMIT TO and EXCEPT leave out. They are left out here
//! too, so that their names count nowhere.

use super::comments;
use crate::backend::config::Config;
use crate::dispatch::Dispatch;
use crate::error::{self, Error, ImportError, OrReport, Question};
use crate::lambda::api_request::is_bare_name;
use crate::lambda::configuration::{FunctionConfiguration, Pages};
use crate::options::{self, Object};
use crate::postgres::catalog;
use crate::postgres::refs::Ref;
use crate::postgres::text::{self, for_server};
use crate::postgres::utility::{Import, Tables, commands, identifier, literal};
use pgrx::{pg_guard, pg_sys};
use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString};

/// The remote schema that has the functions.
const SCHEMA: &CStr = c"lambda";

/// The columns of an imported table. Types have their schema, as a user's may have the same names.
const COLUMNS: &str = "payload pg_catalog.jsonb, context pg_catalog.jsonb, status_code pg_catalog.int4, response pg_catalog.jsonb, \
    function_error pg_catalog.text, error_code pg_catalog.text, error_message pg_catalog.text";

/// Most functions that are imported. No account has as many, and an endpoint may list without end.
const MOST: usize = 100_000;

/// Most bytes of a name in PostgreSQL.
const LONGEST_NAME: usize = pg_sys::NAMEDATALEN as usize - 1;

/// Callback: the statements that an import runs.
///
/// # Safety
/// Called by PostgreSQL.
#[pg_guard]
pub unsafe extern "C-unwind" fn import_foreign_schema(
    statement: *mut pg_sys::ImportForeignSchemaStmt,
    server: pg_sys::Oid,
) -> *mut pg_sys::List {
    // SAFETY: PostgreSQL passes its statement, which is valid during the callback.
    let statement: Import = unsafe { Ref::new(statement) };
    let made = statements(statement, server).or_report();
    let list = commands(made.iter().map(|(text, _)| text.as_c_str()));
    let described = made.into_iter().filter(|(_, comment)| !comment.is_empty());
    comments::make(described.collect());
    list.as_ptr()
}

/// The statements, each with the comment on its table.
fn statements(import: Import, server: pg_sys::Oid) -> Result<Vec<(CString, String)>, Error> {
    check_schema(import)?;
    let options = options_of(import)?;
    let config = Config::of_server(server, catalog::current_role())?;
    let wanted = import.wanted();
    let functions = list(config, &wanted)?;
    warn_of_unknown(&wanted, &functions);
    let server = identifier(import.server().unwrap_or_default());
    (functions.into_iter())
        .map(|(_, function)| {
            // PostgreSQL cuts the table's name, and says so.
            let name = for_server(&function.function_name);
            let parts: [&[u8]; 9] = [
                b"CREATE FOREIGN TABLE ",
                identifier(&name),
                b" (",
                COLUMNS.as_bytes(),
                b") SERVER ",
                server,
                b" OPTIONS (function_name ",
                literal(&name),
                &options,
            ];
            let text = [&parts.concat(), &b")"[..]].concat();
            let text =
                CString::new(text).map_err(|_| Error::Unexpected("statement has a zero byte"))?;
            Ok((text, function.description.unwrap_or_default()))
        })
        .collect()
}

fn check_schema(import: Import) -> Result<(), Error> {
    match import.remote_schema() {
        Some(schema) if schema == SCHEMA => Ok(()),
        schema => Err(Error::Import(ImportError::NoSuchSchema {
            schema: text::shown(schema),
            server: text::shown(import.server()),
        })),
    }
}

/// The options of the statement, which become options of each table, as the rest of a list in SQL.
fn options_of(import: Import) -> Result<Vec<u8>, Error> {
    let mut rest = Vec::new();
    for option in import.options().iter() {
        let definition = options::check_given(Object::Import, option)?;
        let value = CString::new(option.value())
            .map_err(|_| Error::Unexpected("option has a zero byte"))?;
        let parts: [&[u8]; 4] = [b", ", definition.name.as_bytes(), b" ", literal(&value)];
        rest.extend(parts.concat());
    }
    Ok(rest)
}

/// The functions that are wanted, each with the name of its table, in the order of Lambda's list.
fn list(config: Config, wanted: &Tables) -> Result<Vec<(String, FunctionConfiguration)>, Error> {
    let mut found: Vec<(String, FunctionConfiguration)> = Vec::new();
    let mut by_table: HashMap<String, usize> = HashMap::new();
    let mut pages = Pages::new(None);
    let mut dispatch = Dispatch::alone(pg_sys::InvalidOid, config);
    while let Some(request) = pages.next().cloned() {
        let handle = dispatch.start(request)?;
        let outcome = dispatch.wait_for(handle)?;
        let response = outcome.result.as_ref().map_err(Error::clone)?;
        for function in pages.read(response.payload.as_deref().unwrap_or_default())? {
            let table = table_name(&function)?;
            if !is_wanted(wanted, table.as_bytes()) {
                continue;
            }
            if let Some(index) = by_table.get(&table) {
                // A function may move to the next page while the list is read.
                check_same(&found[*index].1, &function, table)?;
                continue;
            }
            if found.len() == MOST {
                return Err(Error::Import(ImportError::TooMany(MOST)));
            }
            by_table.insert(table.clone(), found.len());
            found.push((table, function));
        }
    }
    Ok(found)
}

/// The name of a function's table, which is cut as PostgreSQL would cut it.
fn table_name(function: &FunctionConfiguration) -> Result<String, Error> {
    let name = &function.function_name;
    if !is_bare_name(name) {
        let problem = format!("\"{}\" is no name of a function.", error::quotable(name));
        return Err(Error::bad_answer(Question::Functions, problem));
    }
    // Such a name is ASCII.
    Ok(name[..name.len().min(LONGEST_NAME)].to_owned())
}

fn check_same(
    one: &FunctionConfiguration,
    other: &FunctionConfiguration,
    table: String,
) -> Result<(), Error> {
    if one.function_name == other.function_name {
        return Ok(());
    }
    let functions = [one, other].map(|function| function.function_name.clone());
    Err(Error::Import(ImportError::SameTable { functions, table }))
}

fn is_wanted(wanted: &Tables, table: &[u8]) -> bool {
    let is_in = |names: &[&CStr]| names.iter().any(|name| name.to_bytes() == table);
    match wanted {
        Tables::All => true,
        Tables::Only(names) => is_in(names),
        Tables::Except(names) => !is_in(names),
    }
}

/// PostgreSQL says nothing of a name in LIMIT TO that is no table's.
fn warn_of_unknown(wanted: &Tables, functions: &[(String, FunctionConfiguration)]) {
    let Tables::Only(names) = wanted else {
        return;
    };
    let found: HashSet<&[u8]> = functions
        .iter()
        .map(|(table, _)| table.as_bytes())
        .collect();
    for name in names.iter().filter(|name| !found.contains(name.to_bytes())) {
        let name = text::shown(Some(name));
        error::warn(&Error::Import(ImportError::NoSuchFunction(name)));
    }
}
