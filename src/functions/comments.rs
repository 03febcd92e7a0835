//! Comments on imported tables: the functions' descriptions.
//!
//! IMPORT FOREIGN SCHEMA runs nothing but CREATE FOREIGN TABLE, which has no clause for a comment. So a hook makes the comment right after the
//! statement that makes the table. A statement is known by its text.

use crate::postgres::utility::{after_inner_tables, comment_on_table};
use pgrx::{PgMemoryContexts, pg_sys};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::{CStr, CString};

thread_local! {
    /// The descriptions of the import that runs, by the text of the statement that makes the table.
    static COMMENTS: RefCell<HashMap<CString, String>> = RefCell::default();
}

/// Forgets what is left when the import's memory is freed, also after an error.
struct Import;

impl Drop for Import {
    fn drop(&mut self) {
        let _ = COMMENTS.try_with(|comments| comments.take());
    }
}

/// Makes comments on the tables that these statements are going to make.
pub fn make(comments: HashMap<CString, String>) {
    if comments.is_empty() {
        return;
    }
    after_inner_tables(comment);
    PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(Import);
    COMMENTS.set(comments);
}

fn comment(statement: &CStr, table: pg_sys::Oid) {
    let comment = COMMENTS.with_borrow_mut(|comments| comments.remove(statement));
    if let Some(comment) = comment {
        comment_on_table(table, &comment);
    }
}
