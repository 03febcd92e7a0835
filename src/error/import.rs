//! Errors of IMPORT FOREIGN SCHEMA.

use super::{Row, quotable};
use pgrx::PgSqlErrorCode::*;

/// Why functions can't be imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImportError {
    /// The functions are in no schema but `lambda`.
    NoSuchSchema {
        /// The schema that was given.
        schema: String,
        /// The foreign server's name.
        server: String,
    },
    /// PostgreSQL's names are shorter than those of functions, and two functions would have one table.
    SameTable {
        /// The functions' names.
        functions: [String; 2],
        /// The table's name.
        table: String,
    },
    /// A name in LIMIT TO is no function's. It is a warning.
    NoSuchFunction(String),
    /// There are more functions than an account has.
    TooMany(usize),
}

impl ImportError {
    /// What PostgreSQL reports.
    pub(super) fn row(&self) -> Row {
        match self {
            ImportError::NoSuchSchema { schema, server } => Row::new(
                ERRCODE_FDW_SCHEMA_NOT_FOUND,
                format!(
                    "schema \"{}\" is not present on foreign server \"{}\"",
                    quotable(schema),
                    quotable(server)
                ),
            )
            .hint("The functions are in the schema lambda: use IMPORT FOREIGN SCHEMA lambda FROM SERVER ... INTO ..."),
            ImportError::SameTable { functions: [one, other], table } => Row::new(
                ERRCODE_DUPLICATE_TABLE,
                format!("two functions would have the foreign table \"{}\"", quotable(table)),
            )
            .detail(format!(
                "The functions are \"{}\" and \"{}\". A name in PostgreSQL has at most 63 bytes.",
                quotable(one),
                quotable(other)
            ))
            .hint("Leave both out with EXCEPT, and use CREATE FOREIGN TABLE with the option function_name for each."),
            ImportError::NoSuchFunction(name) => Row::new(
                ERRCODE_FDW_TABLE_NOT_FOUND,
                format!("there is no function \"{}\"", quotable(name)),
            )
            .hint("Check the region. Write the name in double quotes where it has capitals or a hyphen."),
            ImportError::TooMany(most) => Row::new(
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "too many functions",
            )
            .detail(format!("There are more than {most}."))
            .hint("Check that the endpoint is Lambda's."),
        }
    }
}
