//! `aws_lambda.deliver`, a delivery that a session calls for, and `aws_lambda.start_worker`.

use super::deliver::{Delivery, Look, Totals, Transactions};
use super::{rows, worker};
use crate::error::{Error, OrReport, StatementError};
use crate::postgres::fmgr::make_row_type;
use crate::postgres::refs::Ref;
use crate::postgres::{process, spi};
use pgrx::{pg_guard, pg_sys};
use std::cell::OnceCell;

/// The transactions of a procedure: each ends with a commit, and the next has then begun.
struct OfProcedure(spi::Connection);

impl OfProcedure {
    fn commit(&self) {
        self.0.commit();
        process::read_committed();
    }
}

impl Transactions for OfProcedure {
    fn run<T>(&mut self, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        let done = work()?;
        self.commit();
        Ok(done)
    }
}

/// Delivers what is due when it is called.
///
/// # Safety
/// Called by PostgreSQL, with the most rows and a place for each of three results.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn deliver(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the procedure has these arguments, and CALL passes its context.
    unsafe {
        let context = (*call).context.cast::<pg_sys::CallContext>().as_ref();
        if context.is_none_or(|context| context.atomic) {
            Err(Error::Statement(StatementError::DeliversInTransaction)).or_report()
        }
        let most = (*call).args.as_slice(1)[0];
        let most = (!most.isnull).then(|| most.value.value() as i64);
        let totals = run(most).or_report();
        result(&totals)
    }
}

/// `aws_lambda.start_worker`: starts a background worker that delivers the queue of this database.
///
/// # Safety
/// Called by PostgreSQL, without arguments.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn start_worker(_call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    match worker::start() {
        true => pg_sys::Datum::null(),
        false => Err(Error::Statement(StatementError::NoWorker)).or_report(),
    }
}

/// The calling convention.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_start_worker() -> &'static pg_sys::Pg_finfo_record {
    &pg_sys::Pg_finfo_record { api_version: 1 }
}

/// The calling convention.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_deliver() -> &'static pg_sys::Pg_finfo_record {
    &pg_sys::Pg_finfo_record { api_version: 1 }
}

fn run(most: Option<i64>) -> Result<Totals, Error> {
    let mut transactions = OfProcedure(spi::Connection::open_nonatomic()?);
    // The first transaction may be of another isolation level.
    transactions.commit();
    let most = most.map(|most| most.max(0) as u64);
    Delivery::new(most).run(&mut transactions, Look::Until(rows::now()))
}

/// The totals as the procedure's row.
fn result(totals: &Totals) -> pg_sys::Datum {
    thread_local! {
        static ROW_TYPE: OnceCell<Ref<'static, pg_sys::TupleDescData>> = const { OnceCell::new() };
    }
    let columns = [c"delivered", c"postponed", c"failed"].map(|name| (name, pg_sys::INT8OID));
    let row_type = ROW_TYPE.with(|known| *known.get_or_init(|| make_row_type(columns)));
    let counts = [totals.delivered, totals.postponed, totals.failed];
    let mut values = counts.map(|count| pg_sys::Datum::from(count as i64));
    let mut nulls = [false; 3];
    // SAFETY: the values are of the columns' types.
    unsafe {
        let row =
            pg_sys::heap_form_tuple(row_type.as_ptr(), values.as_mut_ptr(), nulls.as_mut_ptr());
        pg_sys::HeapTupleHeaderGetDatum((*row).t_data)
    }
}
