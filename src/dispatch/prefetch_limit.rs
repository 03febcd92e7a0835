//! How far a scan may go ahead of what was asked of it.
//!
//! If all rows will be asked for, at once as far as `max_concurrency`. If so many will be, so far. Otherwise 1, 2, 4, …,
//! twice as far with each row.

use super::executor_hooks;
use super::rows_wanted::RowsWanted;
use pgrx::pg_sys;

/// The pace of one scan.
pub struct PrefetchLimit {
    node: *mut pg_sys::PlanState,
    most: usize,
    rows_wanted: RowsWanted,
    /// The run in which the demand was looked at, and how many runs there were.
    run: u64,
    runs: u32,
    /// Whether the demand may have changed although the run has not.
    stale: bool,
    asked: u64,
    asked_in_run: u64,
}

impl PrefetchLimit {
    /// The pace of a scan that has not been asked yet. Rows that no node asks for are all wanted.
    pub fn new(node: *mut pg_sys::PlanState, most: usize) -> PrefetchLimit {
        PrefetchLimit {
            node,
            most,
            rows_wanted: if node.is_null() {
                RowsWanted::ALL
            } else {
                RowsWanted::UNKNOWN
            },
            run: 0,
            runs: 0,
            stale: false,
            asked: 0,
            asked_in_run: 0,
        }
    }

    /// The next row is asked for.
    pub fn note_requested(&mut self) {
        self.note_skipped();
        self.asked += 1;
        self.asked_in_run += 1;
    }

    /// Looks at what the query is going to ask, once in each of its runs.
    pub fn note_skipped(&mut self) {
        if let Some(run) = executor_hooks::innermost()
            && (run.number != self.run || self.stale)
            && !self.node.is_null()
        {
            self.stale = false;
            if run.number != self.run {
                self.run = run.number;
                self.runs += 1;
                self.asked_in_run = 0;
            }
            // SAFETY: the node is part of a query that is being run.
            self.rows_wanted = unsafe { RowsWanted::of(self.node, &run) };
        }
    }

    /// Another set of values has come: what was asked so far says nothing of it.
    pub fn start_over(&mut self) {
        self.asked = 0;
        self.asked_in_run = 0;
        // A LIMIT may have another number.
        self.stale = true;
    }

    /// Whether no row is going to be asked for twice.
    pub fn is_once(&self) -> bool {
        !self.rows_wanted.rescans
    }

    /// Whether it is not known how many rows will be asked for.
    pub fn may_end_early(&self) -> bool {
        self.rows_wanted.may_end_early
    }

    /// Whether every row is going to be asked for.
    pub fn all_are_wanted(&self) -> bool {
        self.rows_wanted.is_all()
    }

    /// Most invocations that may be on their way.
    pub fn allowed(&self) -> usize {
        self.wanted().min(self.most as u64) as usize
    }

    /// How many rows from the one being asked for on are worth invoking for.
    pub fn wanted(&self) -> u64 {
        let rows_wanted = &self.rows_wanted;
        let mut wanted = u64::MAX;
        if rows_wanted.may_end_early {
            wanted = doubled(self.asked).min(self.most as u64);
        }
        if let Some(rows) = rows_wanted.limit {
            wanted = wanted.min(left(rows, self.asked));
        }
        if let Some(rows) = rows_wanted.rows {
            // Who comes back for more may do so again: once as many ahead, then three times, then seven times.
            let ahead = rows.saturating_mul((1 << (self.runs - 1).min(16)) - 1);
            wanted = wanted.min(left(rows, self.asked_in_run).saturating_add(ahead));
        }
        wanted
    }
}

/// 1 for the first row that is asked for, twice as much with each further one.
fn doubled(asked: u64) -> u64 {
    1 << asked.saturating_sub(1).min(16)
}

/// How many of so many rows are left to be asked for, the one being asked for included. Where more are asked
/// for, because not every one became a row, it is not known how many more.
fn left(rows: u64, asked: u64) -> u64 {
    match rows.saturating_add(1).checked_sub(asked) {
        Some(left) if left > 0 => left,
        _ => doubled(asked - rows),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefetch_limit(rows_wanted: RowsWanted, runs: u32) -> PrefetchLimit {
        PrefetchLimit {
            rows_wanted,
            runs,
            ..PrefetchLimit::new(std::ptr::null_mut(), 64)
        }
    }

    fn allowed(prefetch_limit: &mut PrefetchLimit, asks: usize) -> Vec<usize> {
        (0..asks)
            .map(|_| {
                prefetch_limit.asked += 1;
                prefetch_limit.asked_in_run += 1;
                prefetch_limit.allowed()
            })
            .collect()
    }

    #[test]
    fn all() {
        assert_eq!(
            allowed(&mut prefetch_limit(RowsWanted::ALL, 1), 2),
            [64, 64]
        );
    }

    #[test]
    fn not_known() {
        let rows_wanted = RowsWanted {
            may_end_early: true,
            ..RowsWanted::ALL
        };
        let expected = [1, 2, 4, 8, 16, 32, 64, 64];
        assert_eq!(allowed(&mut prefetch_limit(rows_wanted, 1), 8), expected);
        let mut again = prefetch_limit(rows_wanted, 1);
        allowed(&mut again, 8);
        again.start_over();
        assert_eq!(allowed(&mut again, 2), [1, 2]);
    }

    #[test]
    fn a_limit_and_rows_that_were_filtered_out() {
        let rows_wanted = RowsWanted {
            limit: Some(3),
            ..RowsWanted::ALL
        };
        assert_eq!(
            allowed(&mut prefetch_limit(rows_wanted, 1), 6),
            [3, 2, 1, 1, 2, 4]
        );
    }

    #[test]
    fn fetches() {
        let rows_wanted = RowsWanted {
            rows: Some(2),
            ..RowsWanted::ALL
        };
        assert_eq!(allowed(&mut prefetch_limit(rows_wanted, 1), 3), [2, 1, 1]);
        assert_eq!(allowed(&mut prefetch_limit(rows_wanted, 2), 2), [4, 3]);
        assert_eq!(allowed(&mut prefetch_limit(rows_wanted, 3), 2), [8, 7]);
        assert_eq!(prefetch_limit(rows_wanted, 9).wanted(), 3 + 2 * 255);
        let many = RowsWanted {
            rows: Some(u64::MAX),
            ..RowsWanted::ALL
        };
        assert_eq!(allowed(&mut prefetch_limit(many, 9), 1), [64]);
    }
}
