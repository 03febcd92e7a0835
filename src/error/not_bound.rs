//! Input columns without a value, without which nothing is invoked.

use super::Row;
use pgrx::PgSqlErrorCode;

/// Why an input column has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotBound {
    /// No clause gives it one. This is an example of such clauses.
    NoClause(String),
    /// A join condition on it exists that the plan could not use.
    InJoin,
    /// A row is inserted, and the statement leaves the column out.
    LeftOut,
}

impl NotBound {
    pub(super) fn row(&self, columns: &[&str], table: &str) -> Row {
        let names: Vec<String> = (columns.iter())
            .map(|column| format!("\"{column}\""))
            .collect();
        let row = Row::new(
            PgSqlErrorCode::ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION,
            format!(
                "no value for {} {} of foreign table \"{table}\"",
                if columns.len() == 1 {
                    "column"
                } else {
                    "columns"
                },
                names.join(" and "),
            ),
        );
        match self {
        NotBound::NoClause(example) => row.detail("No function was invoked.").hint(format!(
            "{}: WHERE {example}. LIKE, ->> and @> only filter results, as does what is compared with random() or the table's own columns.",
            match columns.contains(&"payload") {
                true => "Say what to send",
                false => "Give it a value",
            }
        )),
        NotBound::InJoin => row
            .detail("The join condition on it can't be used in this plan, so no function was invoked.")
            .hint("Write the query as an inner, left or LATERAL join in which the other table comes first."),
        NotBound::LeftOut => row.detail("No function was invoked for the row.").hint(
            "Name the column in INSERT or COPY; NULL in it sends no payload.",
        ),
    }
    }
}
