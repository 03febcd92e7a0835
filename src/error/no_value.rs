//! Input columns that need a value and have none, so that nothing is invoked.

use super::Row;
use pgrx::PgSqlErrorCode;

/// Why an input column has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoValueReason {
    /// No clause gives it a value. The text is an example of clauses that do.
    NoClause(String),
    /// There is a join condition on it that the plan could not use.
    InJoin,
    /// INSERT or COPY leaves the column out.
    LeftOut,
}

impl NoValueReason {
    /// What PostgreSQL reports. `has_invoked` tells whether the statement has invoked functions before.
    pub(super) fn row(&self, columns: &[String], table: &str, has_invoked: bool) -> Row {
        let names: Vec<String> = (columns.iter())
            .map(|column| format!("\"{column}\""))
            .collect();
        let noun = if columns.len() == 1 {
            "column"
        } else {
            "columns"
        };
        let row = Row::new(
            PgSqlErrorCode::ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION,
            format!(
                "no value for {noun} {} of foreign table \"{table}\"",
                names.join(" and "),
            ),
        );
        match self {
            NoValueReason::NoClause(example) => row
                .detail(match has_invoked {
                    true => "No function was invoked for the table. The statement had invoked functions before.",
                    false => "No function was invoked.",
                })
                .hint(format!(
                    "{}: WHERE {example}. LIKE, ->> and @> only filter results, as does what is compared with random() or the table's own columns.",
                    match columns.iter().any(|column| column == "payload") {
                        true => "Say what to send",
                        false => "Give it a value",
                    }
                )),
            NoValueReason::InJoin => row
                .detail(match has_invoked {
                    true => "The join condition on it can't be used in this plan, so no function was invoked for the table. The statement had invoked functions before.",
                    false => "The join condition on it can't be used in this plan, so no function was invoked.",
                })
                .hint("Write the query as an inner, left or LATERAL join in which the other table comes first."),
            NoValueReason::LeftOut => row
                .detail("No function was invoked for the row.")
                .hint("Name the column in INSERT or COPY; NULL in it sends no payload."),
        }
    }
}
