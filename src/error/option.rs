//! Errors that the validator of options raises.

use super::{Row, quotable};
use pgrx::PgSqlErrorCode::*;

/// Why an object can't have an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionError {
    /// This catalog object does not take the option.
    UnknownOption {
        /// The name that was given.
        name: String,
        /// `server`, `user mapping`, …
        object: &'static str,
        /// What to write instead.
        hint: String,
    },
    /// The option does not take the value.
    InvalidOption {
        /// The option's name.
        name: &'static str,
        /// What was given; `None` for a secret.
        value: Option<String>,
        /// A sentence with the allowed values.
        allowed: String,
    },
    /// The value is not text in the database's encoding.
    NotText {
        /// The option. The value is left out, as it may be a secret.
        what: String,
    },
    /// The value is longer than any valid one.
    TooLong {
        /// The option.
        what: String,
        /// Length of the value.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// An option needs another option of the same object.
    OptionsTogether {
        /// The missing option.
        missing: &'static str,
        /// The option that needs it.
        given: &'static str,
    },
    /// A table of functions has an option that is about invocations.
    NotForFunctions {
        /// The option's name.
        name: &'static str,
        /// The options that it may have.
        known: String,
    },
    /// Only a superuser may set the option, as it sends the server process somewhere.
    OptionNeedsSuperuser {
        /// The option's name.
        name: &'static str,
    },
}

impl OptionError {
    /// What PostgreSQL reports.
    pub(super) fn row(&self) -> Row {
        match self {
            OptionError::UnknownOption { name, object, hint } => Row::new(
                ERRCODE_FDW_INVALID_OPTION_NAME,
                format!("invalid option \"{name}\" for a {object} of aws_lambda_fdw"),
            )
            .hint(hint),
            OptionError::InvalidOption {
                name,
                value,
                allowed,
            } => Row::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                match value {
                    Some(value) => {
                        format!(
                            "invalid value for option \"{name}\": \"{}\"",
                            quotable(value)
                        )
                    }
                    None => format!("invalid value for option \"{name}\""),
                },
            )
            .hint(allowed),
            OptionError::NotText { what } => Row::new(
                ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
                format!("invalid byte sequence in {what}"),
            )
            .hint("It is text in the database's encoding, or in UTF-8 where that is SQL_ASCII."),
            OptionError::TooLong { what, bytes, most } => Row::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("value of {what} is too long"),
            )
            .detail(format!("It has {bytes} bytes. {most} are the most."))
            .hint("Give a shorter one."),
            OptionError::OptionsTogether { missing, given } => Row::new(
                ERRCODE_FDW_OPTION_NAME_NOT_FOUND,
                format!("option \"{missing}\" is missing"),
            )
            .hint(format!(
                "Option \"{given}\" is of use only together with \"{missing}\"."
            )),
            OptionError::NotForFunctions { name, known } => Row::new(
                ERRCODE_FDW_INVALID_OPTION_NAME,
                format!("invalid option \"{name}\" for a foreign table of functions"),
            )
            .detail(
                "The table has the option object 'functions', and no row of it is an invocation.",
            )
            .hint(format!("Options here are {known}.")),
            OptionError::OptionNeedsSuperuser { name } => Row::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("only a superuser may set option \"{name}\""),
            )
            .detail("It decides where the server process connects or which of its files it reads."),
        }
    }
}
