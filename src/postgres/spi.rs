//! Statements that this library runs in the database (spi.h), with the rights of another role where it has to.

use crate::error::Error;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;

/// A connection to SPI, closed when it is dropped.
pub struct Connection(());

impl Connection {
    /// Opens one inside of the transaction.
    pub fn open() -> Result<Connection, Error> {
        Connection::with_options(0)
    }

    /// Opens one that can commit. The caller is a procedure that was not called in a transaction block.
    pub fn open_nonatomic() -> Result<Connection, Error> {
        Connection::with_options(pg_sys::SPI_OPT_NONATOMIC)
    }

    fn with_options(options: u32) -> Result<Connection, Error> {
        // SAFETY: called in the backend's thread, in a transaction.
        match unsafe { pg_sys::SPI_connect_ext(options as _) } {
            status if status == pg_sys::SPI_OK_CONNECT as i32 => Ok(Connection(())),
            _ => Err(Error::Unexpected("could not connect to SPI")),
        }
    }

    /// Commits, and starts the next transaction. Memory and resources of the transaction are gone afterwards.
    pub fn commit(&self) {
        // SAFETY: PostgreSQL raises an error if this connection is one that cannot commit.
        unsafe { pg_sys::SPI_commit() };
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: closes the connection that was opened, which is the innermost. After an error the transaction's end closes what is left.
        unsafe { pg_sys::SPI_finish() };
    }
}

/// A statement with parameters, planned once for a backend.
pub struct Statement {
    text: &'static CStr,
    types: &'static [pg_sys::Oid],
    plan: Cell<pg_sys::SPIPlanPtr>,
}

impl Statement {
    /// A statement whose parameters have these types.
    pub const fn new(text: &'static CStr, types: &'static [pg_sys::Oid]) -> Statement {
        Statement {
            text,
            types,
            plan: Cell::new(std::ptr::null_mut()),
        }
    }

    /// Executes the statement with a value for each parameter, and reads its rows.
    ///
    /// # Safety
    /// A [`Connection`] is open. Each value is of its parameter's type.
    pub unsafe fn execute<T>(
        &self,
        values: &[Option<pg_sys::Datum>],
        read: impl FnMut(Row) -> T,
    ) -> Result<Vec<T>, Error> {
        if values.len() != self.types.len() {
            return Err(Error::Unexpected("statement has other parameters"));
        }
        let nulls: Vec<u8> = (values.iter())
            .map(|value| if value.is_some() { b' ' } else { b'n' })
            .collect();
        let mut values: Vec<pg_sys::Datum> = (values.iter())
            .map(|value| value.unwrap_or(pg_sys::Datum::null()))
            .collect();
        // SAFETY: there is a value and a mark for each parameter. The table of rows lives until it is freed here.
        unsafe {
            let plan = self.plan()?;
            let nulls = nulls.as_ptr().cast();
            if pg_sys::SPI_execute_plan(plan, values.as_mut_ptr(), nulls, false, 0) < 0 {
                return Err(Error::Unexpected("statement could not be executed"));
            }
            let table = pg_sys::SPI_tuptable;
            if table.is_null() {
                return Ok(Vec::new());
            }
            let count = pg_sys::SPI_processed as usize;
            let tuples = std::slice::from_raw_parts((*table).vals, count);
            let row = |tuple: &pg_sys::HeapTuple| Row {
                tuple: *tuple,
                descriptor: (*table).tupdesc,
            };
            let rows = tuples.iter().map(row).map(read).collect();
            pg_sys::SPI_freetuptable(table);
            Ok(rows)
        }
    }

    unsafe fn plan(&self) -> Result<pg_sys::SPIPlanPtr, Error> {
        if self.plan.get().is_null() {
            let mut types = self.types.to_vec();
            // SAFETY: the text is terminated, and there are as many types as are said. A plan that is kept lives as long as the backend.
            unsafe {
                let plan =
                    pg_sys::SPI_prepare(self.text.as_ptr(), types.len() as _, types.as_mut_ptr());
                if plan.is_null() || pg_sys::SPI_keepplan(plan) != 0 {
                    return Err(Error::Unexpected("statement could not be prepared"));
                }
                self.plan.set(plan);
            }
        }
        Ok(self.plan.get())
    }
}

/// A row of a statement's result.
#[derive(Clone, Copy)]
pub struct Row {
    tuple: pg_sys::HeapTuple,
    descriptor: pg_sys::TupleDesc,
}

impl Row {
    /// The value of a column, counted from 1; `None` if it is null.
    fn value(self, number: i32) -> Option<pg_sys::Datum> {
        let mut is_null = false;
        // SAFETY: the tuple is one of the descriptor. A number that no column has gives null.
        let datum =
            unsafe { pg_sys::SPI_getbinval(self.tuple, self.descriptor, number, &mut is_null) };
        (!is_null).then_some(datum)
    }

    /// The value of a bigint column.
    pub fn bigint(self, number: i32) -> Option<i64> {
        self.value(number).map(|datum| datum.value() as i64)
    }

    /// The value of an integer column.
    pub fn integer(self, number: i32) -> Option<i32> {
        self.value(number).map(|datum| datum.value() as i32)
    }

    /// The value of an oid column, or of a type that is an oid.
    pub fn oid(self, number: i32) -> Option<pg_sys::Oid> {
        (self.value(number)).map(|datum| pg_sys::Oid::from(datum.value() as u32))
    }

    /// The bytes of a bytea column that the statement has computed, and that so is not in a TOAST table.
    pub fn bytes(self, number: i32) -> Option<Vec<u8>> {
        let datum = self.value(number)?;
        // SAFETY: the value is a bytea in the table of rows.
        let bytes = unsafe {
            let whole = pg_sys::pg_detoast_datum_packed(datum.cast_mut_ptr());
            pgrx::varlena_to_byte_slice(whole).to_vec()
        };
        Some(bytes)
    }
}

/// Bytes as a bytea, in the current memory context.
pub fn bytea(bytes: &[u8]) -> pg_sys::Datum {
    // SAFETY: copies that many bytes. A text and a bytea are the same structure.
    unsafe { pg_sys::cstring_to_text_with_len(bytes.as_ptr().cast(), bytes.len() as _).into() }
}

/// Numbers as an array of bigint, in the current memory context.
pub fn bigints(numbers: &[i64]) -> pg_sys::Datum {
    let mut values: Vec<pg_sys::Datum> = numbers.iter().map(|number| (*number).into()).collect();
    // SAFETY: the values are of the type whose length and alignment are given.
    unsafe {
        pg_sys::construct_array(
            values.as_mut_ptr(),
            values.len() as _,
            pg_sys::INT8OID,
            8,
            true,
            pg_sys::TYPALIGN_DOUBLE as _,
        )
        .into()
    }
}

/// Works with the rights of another role, as PostgreSQL's checks of foreign keys do.
pub fn as_role<T>(role: pg_sys::Oid, work: impl FnOnce() -> T) -> T {
    struct Before(pg_sys::Oid, i32);
    impl Drop for Before {
        fn drop(&mut self) {
            // SAFETY: sets variables of this backend. After an error the transaction's end does the same.
            unsafe { pg_sys::SetUserIdAndSecContext(self.0, self.1) };
        }
    }
    let mut before = Before(pg_sys::Oid::INVALID, 0);
    // SAFETY: reads and sets variables of this backend.
    unsafe {
        pg_sys::GetUserIdAndSecContext(&mut before.0, &mut before.1);
        let security = before.1 | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
        pg_sys::SetUserIdAndSecContext(role, security);
    }
    work()
}
