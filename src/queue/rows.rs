//! The statements that read and change the queue's tables. Text goes in and out as UTF-8 in a bytea.
//!
//! They run as the queue's owner, in sessions whose search_path is anybody's. So every operator and function has its schema.

use super::Entry;
use crate::error::{ConfigurationError, Error};
use crate::lambda::request::Inputs;
use crate::postgres::input::server_bytes;
use crate::postgres::spi::{Row, Statement, bigints, bytea};
use crate::postgres::varlena::Varlena;
use crate::postgres::{catalog, process};
use bytes::Bytes;
use pgrx::pg_sys::{self, Datum};
use std::collections::HashSet;
use std::thread::LocalKey;

/// A row of the queue that is to be delivered.
pub struct QueuedRow {
    /// Its id.
    pub id: i64,
    /// When it was queued, as a timestamptz. After TRUNCATE ... RESTART IDENTITY another row may have the id.
    pub queued_at: i64,
    /// Attempts that count.
    pub attempts: i32,
    /// Attempts that do not count.
    pub postponements: i32,
    /// When the first attempt was due, as a timestamptz.
    pub first_due_at: i64,
    /// The foreign table whose options and server are used.
    pub table: pg_sys::Oid,
    /// The role whose user mapping is used.
    pub user: pg_sys::Oid,
    /// What is sent.
    pub inputs: Inputs,
}

impl QueuedRow {
    /// The foreign table and the role whose configuration it needs.
    pub fn key(&self) -> (pg_sys::Oid, pg_sys::Oid) {
        (self.table, self.user)
    }
}

/// What is known of a row before it is locked.
#[derive(Clone, Copy)]
pub struct DueRow {
    /// Its id.
    pub id: i64,
    /// When it is due, as a timestamptz.
    pub due_at: i64,
    /// Bytes of its payload.
    pub bytes: usize,
}

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is tried again.
    Waiting,
    /// It is kept for a while.
    Delivered,
    /// It is not tried again.
    Failed,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Delivered => "delivered",
            State::Failed => "failed",
        }
    }
}

/// The columns of an outcome, in the order of [`UPDATE`]'s parameters.
pub const OUTCOME_COLUMNS: usize = 9;

thread_local! {
    static INSERT: Statement = const { Statement::new(
        c"INSERT INTO aws_lambda.queue (id, queued_at, queued_by, foreign_table, user_mapping_of, first_due_at, due_at,
            function_name, region, payload, invocation_type, log_type, context, qualifier, tenant_id, durable_execution_name)
        OVERRIDING SYSTEM VALUE
        VALUES ($1, $2, $3, $4, $5, $6, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
        RETURNING id",
        &[
            pg_sys::INT8OID, pg_sys::TIMESTAMPTZOID, pg_sys::REGROLEOID, pg_sys::REGCLASSOID, pg_sys::REGROLEOID,
            pg_sys::TIMESTAMPTZOID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID,
            pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID,
        ],
    ) };
    static DUE: Statement = const { Statement::new(
        c"SELECT id, due_at, pg_catalog.octet_length(payload)
        FROM aws_lambda.queue
        WHERE state OPERATOR(pg_catalog.=) 'waiting' AND due_at OPERATOR(pg_catalog.<=) $1
            AND due_at OPERATOR(pg_catalog.>=) $2 AND (due_at OPERATOR(pg_catalog.>) $2 OR id OPERATOR(pg_catalog.>) $3)
        ORDER BY due_at USING OPERATOR(pg_catalog.<), id USING OPERATOR(pg_catalog.<)
        LIMIT $4",
        &[pg_sys::TIMESTAMPTZOID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID, pg_sys::INT8OID],
    ) };
    // Not by the index of rows that wait, all of which it would read: PostgreSQL does not know how many there are.
    static LOCK: Statement = const { Statement::new(
        c"SELECT id, attempts, postponements, first_due_at, foreign_table, user_mapping_of,
            pg_catalog.convert_to(function_name, 'UTF8'), pg_catalog.convert_to(region, 'UTF8'), pg_catalog.convert_to(payload, 'UTF8'),
            pg_catalog.convert_to(invocation_type, 'UTF8'), pg_catalog.convert_to(log_type, 'UTF8'),
            pg_catalog.convert_to(context, 'UTF8'), pg_catalog.convert_to(qualifier, 'UTF8'),
            pg_catalog.convert_to(tenant_id, 'UTF8'), pg_catalog.convert_to(durable_execution_name, 'UTF8'), queued_at
        FROM aws_lambda.queue
        WHERE id OPERATOR(pg_catalog.=) ANY ($1) AND pg_catalog.textcat(state, '') OPERATOR(pg_catalog.=) 'waiting'
            AND due_at OPERATOR(pg_catalog.<=) $2
        ORDER BY due_at USING OPERATOR(pg_catalog.<), id USING OPERATOR(pg_catalog.<)
        FOR UPDATE SKIP LOCKED",
        &[pg_sys::INT8ARRAYOID, pg_sys::TIMESTAMPTZOID],
    ) };
    static LOCK_ENDED: Statement = const { Statement::new(
        c"SELECT id, queued_at FROM aws_lambda.queue
        WHERE id OPERATOR(pg_catalog.=) ANY ($1) AND pg_catalog.textcat(state, '') OPERATOR(pg_catalog.=) 'waiting' FOR UPDATE SKIP LOCKED",
        &[pg_sys::INT8ARRAYOID],
    ) };
    static EXISTING: Statement = const { Statement::new(
        c"SELECT id, queued_at FROM aws_lambda.queue
        WHERE id OPERATOR(pg_catalog.=) ANY ($1) AND pg_catalog.textcat(state, '') OPERATOR(pg_catalog.=) 'waiting'",
        &[pg_sys::INT8ARRAYOID],
    ) };
    static DELETE: Statement = const { Statement::new(
        c"DELETE FROM aws_lambda.queue WHERE id OPERATOR(pg_catalog.=) ANY ($1) RETURNING id",
        &[pg_sys::INT8ARRAYOID],
    ) };
    static UPDATE: Statement = const { Statement::new(
        c"UPDATE aws_lambda.queue
        SET state = $2, due_at = $3, attempts = $4, postponements = $5, tried_at = $6,
            status_code = $7, response = $8, executed_version = $9, log_result = $10, function_error = $11, request_id = $12,
            durable_execution_arn = $13, error_code = $14, error_message = $15
        WHERE id OPERATOR(pg_catalog.=) $1
        RETURNING id",
        &[
            pg_sys::INT8OID, pg_sys::TEXTOID, pg_sys::TIMESTAMPTZOID, pg_sys::INT4OID, pg_sys::INT4OID, pg_sys::TIMESTAMPTZOID,
            pg_sys::INT4OID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID,
            pg_sys::TEXTOID, pg_sys::TEXTOID, pg_sys::TEXTOID,
        ],
    ) };
    static COUNT: Statement = const { Statement::new(
        c"INSERT INTO aws_lambda.queue_deliveries VALUES (pg_catalog.convert_from($1, 'UTF8'), $2, $3)",
        &[pg_sys::BYTEAOID, pg_sys::TIMESTAMPTZOID, pg_sys::INT8OID],
    ) };
    static WORKER: Statement = const { Statement::new(c"SELECT pid FROM aws_lambda.queue_worker", &[]) };
    static FORGET_WORKER: Statement = const { Statement::new(c"DELETE FROM aws_lambda.queue_worker", &[]) };
    static REGISTER_WORKER: Statement = const { Statement::new(
        c"INSERT INTO aws_lambda.queue_worker VALUES ($1, $2)",
        &[pg_sys::INT4OID, pg_sys::TIMESTAMPTZOID],
    ) };
    static NEXT_DUE: Statement = const { Statement::new(
        c"SELECT due_at FROM aws_lambda.queue WHERE state OPERATOR(pg_catalog.=) 'waiting'
        ORDER BY due_at USING OPERATOR(pg_catalog.<) LIMIT 1",
        &[],
    ) };
    static FORGET_COUNTS: Statement = const { Statement::new(
        c"DELETE FROM aws_lambda.queue_deliveries WHERE ctid OPERATOR(pg_catalog.=) ANY (ARRAY(
            SELECT ctid FROM aws_lambda.queue_deliveries
            WHERE delivered_at OPERATOR(pg_catalog.<) $1
            FOR UPDATE SKIP LOCKED))",
        &[pg_sys::TIMESTAMPTZOID],
    ) };
    static FORGET_DELIVERED: Statement = const { Statement::new(
        c"DELETE FROM aws_lambda.queue WHERE id OPERATOR(pg_catalog.=) ANY (ARRAY(
            SELECT id FROM aws_lambda.queue
            WHERE state OPERATOR(pg_catalog.=) 'delivered' AND tried_at OPERATOR(pg_catalog.<) $1
            FOR UPDATE SKIP LOCKED))",
        &[pg_sys::TIMESTAMPTZOID],
    ) };
}

/// The time, as a timestamptz.
pub fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// A text of UTF-8, in the current memory context.
fn text(utf8: &[u8]) -> Datum {
    Varlena::of_server(server_bytes(utf8)).datum()
}

/// Writes an entry, and returns its id.
pub fn insert(entry: &Entry) -> Result<i64, Error> {
    let inputs = &entry.inputs;
    let now = now();
    let word = |word: Option<&str>| word.map(|word| text(word.as_bytes()));
    // The durable execution name has the id too. A statement that takes the id itself needs a subquery for that, which costs more than a call.
    process::prevent_if_read_only(c"INSERT");
    let id = catalog::next_value(sequence()?);
    let name = (inputs.durable_execution_name.clone()).or_else(|| {
        entry
            .durable
            .then(|| durable_execution_name(now, id).into())
    });
    let values = [
        Some(id.into()),
        Some(now.into()),
        Some(catalog::outer_role().into()),
        Some(entry.table.into()),
        Some(entry.user_mapping_of.into()),
        Some(entry.not_before.unwrap_or(now).max(now).into()),
        word(inputs.function_name.as_deref()),
        word(inputs.region.as_deref()),
        inputs.payload.as_ref().map(|payload| text(payload)),
        word(inputs.invocation_type.as_deref()),
        word(inputs.log_type.as_deref()),
        word(inputs.context.as_deref()),
        word(inputs.qualifier.as_deref()),
        word(inputs.tenant_id.as_deref()),
        word(name.as_deref()),
    ];
    // SAFETY: the caller has opened a connection. The values are of the statement's types.
    let ids = INSERT.with(|insert| unsafe { insert.execute(&values, |row| row.bigint(1)) })?;
    (ids.into_iter().flatten().next()).ok_or(Error::Unexpected("queued row has no id"))
}

/// The sequence of the ids.
fn sequence() -> Result<pg_sys::Oid, Error> {
    catalog::relation(c"aws_lambda", c"queue_id_seq")
        .ok_or(Error::Configuration(ConfigurationError::NoQueue))
}

/// The durable execution name of what is queued now. It has at most 63 characters, of 64.
///
/// A copy of the cluster's files has the same identifier and goes on with the same ids, but not at the same microsecond.
fn durable_execution_name(now: i64, id: i64) -> String {
    // SAFETY: reads a number of the cluster.
    let cluster = unsafe { pg_sys::GetSystemIdentifier() };
    let database = process::database().to_u32();
    format!("queue-{cluster:x}-{database:x}-{now:x}-{id:x}")
}

/// The rows that are due at `until` and come behind `after`, a time and an id, at most `count` of them.
pub fn due(until: i64, after: (i64, i64), count: usize) -> Result<Vec<DueRow>, Error> {
    let values = [
        Some(until.into()),
        Some(after.0.into()),
        Some(after.1.into()),
        Some((count as i64).into()),
    ];
    let read = |row: Row| DueRow {
        id: row.bigint(1).unwrap_or_default(),
        due_at: row.bigint(2).unwrap_or_default(),
        bytes: row.integer(3).unwrap_or_default() as usize,
    };
    // SAFETY: the caller has opened a connection. The values are of the statement's types.
    DUE.with(|due| unsafe { due.execute(&values, read) })
}

/// Reads and locks those of the rows that are still due at `until`, and that no transaction has locked.
pub fn lock(ids: &[i64], until: i64) -> Result<Vec<QueuedRow>, Error> {
    let values = [Some(bigints(ids)), Some(until.into())];
    let word = |row: Row, number| row.bytes(number).map(Inputs::word);
    let read = |row: Row| QueuedRow {
        id: row.bigint(1).unwrap_or_default(),
        queued_at: row.bigint(16).unwrap_or_default(),
        attempts: row.integer(2).unwrap_or_default(),
        postponements: row.integer(3).unwrap_or_default(),
        first_due_at: row.bigint(4).unwrap_or_default(),
        table: row.oid(5).unwrap_or(pg_sys::InvalidOid),
        user: row.oid(6).unwrap_or(pg_sys::InvalidOid),
        inputs: Inputs {
            function_name: word(row, 7),
            region: word(row, 8),
            payload: row.bytes(9).map(Bytes::from),
            invocation_type: word(row, 10),
            log_type: word(row, 11),
            context: row.bytes(12).map(Inputs::text),
            qualifier: word(row, 13),
            tenant_id: word(row, 14),
            durable_execution_name: word(row, 15),
            ..Inputs::default()
        },
    };
    // SAFETY: the caller has opened a connection. The values are of the statement's types.
    LOCK.with(|lock| unsafe { lock.execute(&values, read) })
}

/// Locks those of the rows that still wait and that no other transaction has locked. Returns their ids, and when they were queued.
pub fn lock_ended(ids: &[i64]) -> Result<HashSet<(i64, i64)>, Error> {
    identities(&LOCK_ENDED, ids)
}

/// The ids of the rows that still wait, and when they were queued.
pub fn existing(ids: &[i64]) -> Result<HashSet<(i64, i64)>, Error> {
    identities(&EXISTING, ids)
}

fn identities(
    statement: &'static LocalKey<Statement>,
    ids: &[i64],
) -> Result<HashSet<(i64, i64)>, Error> {
    let column = |row: Row, number| row.bigint(number).unwrap_or_default();
    let read = |row: Row| (column(row, 1), column(row, 2));
    // SAFETY: the caller has opened a connection. The value is of the statement's type.
    let found = statement.with(|found| unsafe { found.execute(&[Some(bigints(ids))], read) })?;
    Ok(found.into_iter().collect())
}

/// Deletes rows. Errors if one is still there, as where a trigger keeps it.
pub fn delete(ids: &[i64]) -> Result<(), Error> {
    // SAFETY: the caller has opened a connection. The value is of the statement's type.
    let deleted = DELETE.with(|delete| unsafe { delete.execute(&[Some(bigints(ids))], |_| ()) })?;
    match deleted.len() == ids.len() {
        true => Ok(()),
        false => Err(Error::Unexpected("row of the queue was not deleted")),
    }
}

/// Writes what became of a row. Errors if it was not written, as where a trigger skips it.
///
/// `due_at` is when it is tried again, and `outcome` what the last attempt gave, in text and one integer.
pub fn update(
    row: &QueuedRow,
    state: State,
    due_at: i64,
    outcome: &[Option<Datum>; OUTCOME_COLUMNS],
) -> Result<(), Error> {
    let head = [
        Some(row.id.into()),
        Some(bytea(state.name().as_bytes())),
        Some(due_at.into()),
        Some(row.attempts.into()),
        Some(row.postponements.into()),
        Some(now().into()),
    ];
    let values: Vec<Option<Datum>> = head.into_iter().chain(*outcome).collect();
    // SAFETY: the caller has opened a connection. The values are of the statement's types; a text is made as a bytea is.
    let updated = UPDATE.with(|update| unsafe { update.execute(&values, |_| ()) })?;
    match updated.is_empty() {
        true => Err(Error::Unexpected("row of the queue was not updated")),
        false => Ok(()),
    }
}

/// Counts delivered rows of a function.
pub fn count(function_name: &str, delivered: i64) -> Result<(), Error> {
    let values = [
        Some(bytea(function_name.as_bytes())),
        Some(now().into()),
        Some(delivered.into()),
    ];
    // SAFETY: the caller has opened a connection. The values are of the statement's types.
    COUNT.with(|count| unsafe { count.execute(&values, |_| ()) })?;
    Ok(())
}

/// Deletes counts from before one time, and delivered rows from before another.
pub fn forget(counts_before: i64, delivered_before: i64) -> Result<(), Error> {
    // SAFETY: the caller has opened a connection. The values are of the statements' types.
    unsafe {
        FORGET_COUNTS.with(|forget| forget.execute(&[Some(counts_before.into())], |_| ()))?;
        FORGET_DELIVERED.with(|forget| forget.execute(&[Some(delivered_before.into())], |_| ()))?;
    }
    Ok(())
}

/// The process id of the worker that delivers; `None` if there was none.
pub fn worker() -> Result<Option<i32>, Error> {
    // SAFETY: the caller has opened a connection.
    let found = WORKER.with(|worker| unsafe { worker.execute(&[], |row| row.integer(1)) })?;
    Ok(found.into_iter().flatten().next())
}

/// Notes the process id of the worker that delivers from now on.
pub fn register_worker(pid: i32) -> Result<(), Error> {
    // SAFETY: the caller has opened a connection. The values are of the statement's types.
    unsafe {
        FORGET_WORKER.with(|forget| forget.execute(&[], |_| ()))?;
        let values = [Some(pid.into()), Some(now().into())];
        REGISTER_WORKER.with(|register| register.execute(&values, |_| ()))?;
    }
    Ok(())
}

/// When the next row is due, as a timestamptz; `None` if no row waits.
pub fn next_due() -> Result<Option<i64>, Error> {
    // SAFETY: the caller has opened a connection.
    let found = NEXT_DUE.with(|next| unsafe { next.execute(&[], |row| row.bigint(1)) })?;
    Ok(found.into_iter().flatten().next())
}
