//! Errors of settings, credentials, and the release of the library.

use super::Row;
use crate::lambda::credentials::NoKeys;
use pgrx::PgSqlErrorCode::*;

/// Why nothing can be invoked with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigurationError {
    /// A setting got an invalid value before the library was loaded.
    InvalidSetting {
        /// The message that PostgreSQL would have had for it.
        message: String,
        /// A sentence with the allowed values.
        allowed: String,
    },
    /// The role has no keys, and may not use the machine's credentials.
    NoCredentials {
        /// The foreign server's name.
        server: String,
        /// Why it has none.
        no_keys: NoKeys,
    },
    /// The library and the extension's scripts are of different releases.
    OtherRelease {
        /// The extension's name.
        extension: String,
        /// The version of its scripts.
        version: String,
        /// The version of scripts that the library needs.
        library: &'static str,
        /// Whether the scripts are newer than the library.
        newer: bool,
    },
    /// The library is loaded while a parallel query runs.
    LoadedInParallelQuery,
    /// The extension has no queue.
    NoQueue,
    /// The foreign table of a queued row was dropped. With its oid.
    DroppedTable(u32),
    /// The owner of the queue is no superuser.
    QueueOfNoSuperuser,
    /// The role of a queued row was dropped. With its oid.
    DroppedRole(u32),
}

impl ConfigurationError {
    /// What PostgreSQL reports.
    pub(super) fn row(&self) -> Row {
        match self {
            ConfigurationError::InvalidSetting { message, allowed } => Row::new(ERRCODE_INVALID_PARAMETER_VALUE, message)
            .detail("It was set before the library was loaded, when nothing could check it. No function was invoked.")
            .hint(format!("{allowed} SET or RESET it. If it comes from ALTER DATABASE, ALTER ROLE or ALTER FUNCTION, change it there.")),
            ConfigurationError::NoCredentials { server, no_keys } => Row::new(
                ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                format!("no AWS credentials for server \"{server}\""),
            )
            .detail(format!(
                "{} Credentials found on the machine are used only through servers owned by a superuser.",
                no_keys.reason
            ))
            .hint(&no_keys.hint),
            ConfigurationError::NoQueue => Row::new(
                ERRCODE_UNDEFINED_TABLE,
                "there is no table aws_lambda.queue",
            )
            .hint("CREATE EXTENSION aws_lambda, or update it."),
            ConfigurationError::QueueOfNoSuperuser => Row::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "owner of the table aws_lambda.queue is not a superuser",
            )
            .detail("Its triggers would run with the rights of those who queue and deliver. Nothing was queued or delivered.")
            .hint("ALTER TABLE aws_lambda.queue OWNER TO a superuser."),
            ConfigurationError::DroppedTable(table) => Row::new(
                ERRCODE_UNDEFINED_TABLE,
                "foreign table of a queued invocation does not exist",
            )
            .detail(format!("It had the OID {table}. The function was not invoked."))
            .hint("Queue the invocation again, and delete this row."),
            ConfigurationError::DroppedRole(role) => Row::new(
                ERRCODE_UNDEFINED_OBJECT,
                "role of a queued invocation does not exist",
            )
            .detail(format!("It had the OID {role}. The function was not invoked."))
            .hint("Queue the invocation again, and delete this row."),
            ConfigurationError::OtherRelease {
                extension,
                version,
                library,
                newer,
            } => Row::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("extension \"{extension}\" is not of the library's release"),
            )
            .detail(format!(
                "The extension in this database is {version}, and the library {library}. No function was invoked."
            ))
            .hint(if *newer {
                format!("Connect again. If that does not help, install the library of release {version}.")
            } else {
                format!("Use ALTER EXTENSION {extension} UPDATE.")
            }),
            ConfigurationError::LoadedInParallelQuery => Row::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "aws_lambda_fdw cannot be loaded while a parallel query runs",
            )
            .detail("PostgreSQL would drop the session's values of its settings. No function was invoked.")
            .hint("Declare the function that calls aws_lambda.invoke PARALLEL UNSAFE, or add aws_lambda_fdw to session_preload_libraries."),
        }
    }
}
