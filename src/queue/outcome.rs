//! What an outcome makes of a row: the state, the pause until it is tried again, and the columns.

use super::rows::{OUTCOME_COLUMNS, QueuedRow, State, now};
use crate::columns::{Attribute, Column};
use crate::dispatch::Outcome;
use crate::postgres::memory_context::MemoryContext;
use crate::rows::writer::Writer;
use crate::settings;
use pgrx::pg_sys;
use std::time::Duration;

/// The pause before a row is tried again: at first, and at most. It is doubled each time, and half of it is random.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(300)];
/// The columns of an outcome, as the queue has them.
const COLUMNS: [Column; OUTCOME_COLUMNS] = [
    Column::StatusCode,
    Column::Response,
    Column::ExecutedVersion,
    Column::LogResult,
    Column::FunctionError,
    Column::RequestId,
    Column::DurableExecutionArn,
    Column::ErrorCode,
    Column::ErrorMessage,
];

/// What becomes of a row. Counts the attempt.
pub fn state_of(row: &mut QueuedRow, outcome: &Outcome) -> State {
    let counts = match &outcome.result {
        Ok(response) if response.function_error.is_none() => return State::Delivered,
        Ok(_) => true,
        Err(error) => !error.may_pass(),
    };
    match counts {
        true => row.attempts += 1,
        false => row.postponements += 1,
    }
    let most = settings::queue_max_attempts();
    let age = now().saturating_sub(row.first_due_at);
    let longest = Duration::from_secs(settings::queue_max_age().into());
    match row.attempts.unsigned_abs() >= most || age > micros(longest) {
        true => State::Failed,
        false => State::Waiting,
    }
}

/// The pause after so many attempts.
pub fn pause_after(attempts: i32) -> Duration {
    let [first, longest] = PAUSES;
    let doublings = attempts.saturating_sub(1).clamp(0, 16) as u32;
    let pause = first.saturating_mul(1 << doublings).min(longest);
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}

/// As a difference of timestamptz.
pub fn micros(duration: Duration) -> i64 {
    duration.as_micros().min(i64::MAX as u128) as i64
}

/// Writers of the queue's columns of an outcome. Used as long as the current memory context is there.
pub fn writers() -> Vec<Writer> {
    let writer = |(number, column): (i16, Column)| {
        let type_oid = match column {
            Column::StatusCode => pg_sys::INT4OID,
            _ => pg_sys::TEXTOID,
        };
        let attribute = Attribute {
            number,
            column,
            type_oid,
            base_type: type_oid,
            typmod: -1,
            is_required: false,
        };
        Writer::new(attribute, MemoryContext::current())
    };
    (1..).zip(COLUMNS).map(writer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_differ() {
        let seconds = |attempts| pause_after(attempts).as_secs_f64();
        for (attempts, longest) in [
            (0, 1.0),
            (1, 1.0),
            (2, 2.0),
            (5, 16.0),
            (9, 256.0),
            (10, 300.0),
            (i32::MAX, 300.0),
        ] {
            let pauses: Vec<f64> = (0..100).map(|_| seconds(attempts)).collect();
            assert!(
                pauses
                    .iter()
                    .all(|pause| (longest / 2.0..=longest).contains(pause))
            );
            assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        }
    }
}
