//! Whose invocations are prefetched: a scan's, or an INSERT's.
//!
//! The node begins before the scan or the INSERT, which then hands over all that the node has to know of it.

use crate::columns::Layout;
use crate::dispatch::Dispatch;
use crate::error::Error;
use crate::postgres::executor::EState;
use crate::postgres::plans::PlanState;
use crate::rows::inserted::InsertedRows;
use crate::rows::payload::InputColumns;
use pgrx::pg_sys;
use std::rc::Rc;

/// A scan or an INSERT, as the node sees it.
pub enum Consumer {
    /// The inner side of a join.
    Scan(ScanConsumer),
    /// An INSERT that returns what came back.
    Insert(Box<InsertedRows>),
}

/// A scan whose invocations are made for outer rows.
pub struct ScanConsumer {
    /// The foreign table.
    pub table: pg_sys::Oid,
    /// The role whose rights count.
    pub user: pg_sys::Oid,
    /// The table's columns.
    pub layout: Rc<Layout>,
    /// Its input columns.
    pub columns: Rc<InputColumns>,
    /// The table's index in the range table, from 1.
    pub range_table_index: pg_sys::Index,
    /// Whether rows show the response.
    pub reads_response: bool,
    /// Whether it stands for calls of `aws_lambda.invoke`.
    pub is_call: bool,
}

impl Consumer {
    /// Prepares the invocations, made as fast as `node` is asked for rows.
    pub fn dispatch(&mut self, node: PlanState<'static>) -> Result<Dispatch, Error> {
        match self {
            Consumer::Scan(scan) => Dispatch::of_scan(
                scan.table,
                scan.user,
                &scan.layout,
                node,
                scan.reads_response,
                scan.is_call,
            ),
            Consumer::Insert(rows) => rows.dispatch(Some(node)),
        }
    }

    /// Whether PostgreSQL rechecks a row that was changed meanwhile, and has the scan's row already.
    pub fn is_substituted(&self, estate: EState) -> bool {
        match self {
            Consumer::Scan(scan) => estate.is_substituted(scan.range_table_index),
            Consumer::Insert(_) => false,
        }
    }
}
