//! How many rows a scan may start invocations for, ahead of those that it was asked for.
//!
//! If the query wants all rows, `max_concurrency` invocations at once. If it wants a number of rows, that number. Otherwise 1, 2, 4, …,
//! twice as many with each row.

use super::executor_hooks;
use super::rows_wanted::RowsWanted;
use crate::postgres::plans::PlanState;

/// The limit of one scan.
pub struct PrefetchLimit {
    node: Option<PlanState<'static>>,
    most: usize,
    /// Whether rows share invocations.
    are_batched: bool,
    rows_wanted: RowsWanted,
    /// The run in which the rows wanted were found out.
    run: u64,
    /// How many runs there were.
    runs: u32,
    /// Whether an invocation may give another number of rows than one.
    gives_rows: bool,
    /// Whether the rows wanted may have changed although the run has not.
    is_stale: bool,
    /// How many rows were asked for since the scan had other values.
    asked: u64,
    /// How many of them in this run.
    asked_in_run: u64,
}

impl PrefetchLimit {
    /// The limit of a scan that was not asked for a row yet. Without a node all rows are wanted.
    pub fn new(node: Option<PlanState<'static>>, most: usize, are_batched: bool) -> PrefetchLimit {
        PrefetchLimit {
            node,
            most,
            are_batched,
            rows_wanted: node.map_or(RowsWanted::ALL, |_| RowsWanted::UNKNOWN),
            run: 0,
            runs: 0,
            gives_rows: false,
            is_stale: false,
            asked: 0,
            asked_in_run: 0,
        }
    }

    /// Notes that an invocation may give another number of rows than one. A row that is asked for is then no invocation.
    pub fn note_gives_rows(&mut self) {
        self.gives_rows = true;
    }

    /// Notes that the next row is asked for.
    pub fn note_requested(&mut self) {
        self.note_skipped();
        self.asked += 1;
        self.asked_in_run += 1;
    }

    /// Notes that the same row is asked for once more. Finds out how many rows the query wants, once in each of its runs.
    pub fn note_skipped(&mut self) {
        let Some(node) = self.node else { return };
        executor_hooks::with_innermost(|run| {
            if run.number == self.run && !self.is_stale {
                return;
            }
            self.is_stale = false;
            if run.number != self.run {
                self.run = run.number;
                self.runs += 1;
                self.asked_in_run = 0;
            }
            self.rows_wanted = RowsWanted::of(node, run);
            if self.gives_rows {
                self.rows_wanted = self.rows_wanted.of_unknown_rows();
            }
        });
    }

    /// Notes that the scan has other values. The rows asked for so far do not count any more.
    pub fn start_over(&mut self) {
        self.asked = 0;
        self.asked_in_run = 0;
        // A LIMIT may have another number.
        self.is_stale = true;
    }

    /// Whether the query asks for each row once at most.
    pub fn is_once(&self) -> bool {
        !self.rows_wanted.rescans
    }

    /// Whether the query may stop after an unknown number of rows.
    pub fn may_end_early(&self) -> bool {
        self.rows_wanted.may_end_early
    }

    /// Whether the query wants all rows.
    pub fn all_are_wanted(&self) -> bool {
        self.rows_wanted.is_all()
    }

    /// The number that the window of a query that wants all rows has.
    pub fn most(&self) -> u64 {
        self.most as u64
    }

    /// Whether as many rows as are wanted were started, and further ones are not started one by one as others are taken.
    pub fn is_satisfied(&self, untaken: usize) -> bool {
        let wanted = self.wanted();
        untaken as u64 >= wanted && wanted < (self.most as u64).min(MOST_DOUBLED)
    }

    /// How many rows are wanted, the one being asked for included.
    pub fn wanted(&self) -> u64 {
        let rows_wanted = &self.rows_wanted;
        let mut wanted = u64::MAX;
        if rows_wanted.may_end_early {
            wanted = self.guess(self.asked);
        }
        if let Some(rows) = rows_wanted.limit {
            wanted = wanted.min(self.left(rows, self.asked));
        }
        if let Some(rows) = rows_wanted.rows {
            let left = self.left(rows, self.asked_in_run);
            // A client that fetches again may do so once more: so once as many ahead, then three times, then seven times as many.
            let ahead = rows.saturating_mul((1 << (self.runs - 1).min(16)) - 1);
            wanted = wanted.min(match self.are_batched && self.runs > 1 {
                true => left.max(self.guess(self.asked)),
                false => left.saturating_add(ahead),
            });
        }
        wanted
    }

    /// How many of the wanted rows are left, the one being asked for included. If more are asked for, not every one became a row of the
    /// result, and it is not known how many more will be.
    fn left(&self, rows: u64, asked: u64) -> u64 {
        match rows.saturating_add(1).checked_sub(asked) {
            Some(left) if left > 0 => left,
            _ => self.guess(asked - rows),
        }
    }

    /// How many more are wanted where that is not known, and so many were asked for.
    fn guess(&self, asked: u64) -> u64 {
        let most = self.most as u64;
        match self.are_batched && asked < most {
            true => left_of_step(asked),
            false => doubled(asked).min(most),
        }
    }
}

/// The number that is not doubled any more.
const MOST_DOUBLED: u64 = 1 << 16;

/// 1 for the first row that is asked for, twice as many with each further row.
fn doubled(asked: u64) -> u64 {
    1 << asked.saturating_sub(1).min(MOST_DOUBLED.ilog2().into())
}

/// Of 1 row, then 2, then 4, and so on, how many of the step are left, the one being asked for included. Rows that share an invocation are so sent
/// together, and no more than twice as many as were asked for.
fn left_of_step(asked: u64) -> u64 {
    (2 << asked.max(1).ilog2()) - asked.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefetch_limit(rows_wanted: RowsWanted, runs: u32) -> PrefetchLimit {
        PrefetchLimit {
            rows_wanted,
            runs,
            ..PrefetchLimit::new(None, 64, false)
        }
    }

    fn allowed(prefetch_limit: &mut PrefetchLimit, asks: usize) -> Vec<usize> {
        (0..asks)
            .map(|_| {
                prefetch_limit.asked += 1;
                prefetch_limit.asked_in_run += 1;
                prefetch_limit.wanted().min(prefetch_limit.most()) as usize
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
    fn a_window_that_moves_is_not_satisfied() {
        let unknown = RowsWanted {
            may_end_early: true,
            ..RowsWanted::ALL
        };
        for most in [64, 1 << 20] {
            let mut limit = PrefetchLimit {
                most,
                ..prefetch_limit(unknown, 1)
            };
            limit.asked = 3;
            assert!(limit.is_satisfied(4));
            assert!(!limit.is_satisfied(3));
            limit.asked = 1000;
            assert!(!limit.is_satisfied(most));
        }
        let mut last = prefetch_limit(
            RowsWanted {
                limit: Some(10),
                ..RowsWanted::ALL
            },
            1,
        );
        last.asked = 1;
        assert!(last.is_satisfied(10));
    }

    #[test]
    fn rows_that_share_invocations() {
        let mut limit = PrefetchLimit {
            are_batched: true,
            most: 12,
            ..prefetch_limit(
                RowsWanted {
                    may_end_early: true,
                    ..RowsWanted::ALL
                },
                1,
            )
        };
        let expected = [1, 2, 1, 4, 3, 2, 1, 8, 7, 6, 5, 12, 12];
        assert_eq!(allowed(&mut limit, 13), expected);
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
