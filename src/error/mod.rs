//! Everything that can go wrong, and how PostgreSQL reports it: one enum, one table of SQLSTATE, message,
//! DETAIL and HINT.
//!
//! No value of a secret ever becomes part of an [`Error`]. PostgreSQL's own errors are not wrapped here.

mod api;
mod invocation;
mod misplaced;
mod not_bound;
mod report;

pub use api::{Answer, ApiFailure, Cause};
pub use invocation::{By, Invocation};
pub use not_bound::NotBound;
pub use report::OrReport;

use crate::lambda::credentials::NoKeys;
use pgrx::PgSqlErrorCode;

/// An error of this extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// An option that this catalog object does not take.
    UnknownOption {
        /// The name that was given.
        name: String,
        /// `server`, `user mapping`, …
        object: &'static str,
        /// What to write instead.
        hint: String,
    },
    /// A value that an option does not take.
    InvalidOption {
        /// The option's name.
        name: &'static str,
        /// What was given; `None` for a secret.
        value: Option<String>,
        /// What is allowed, as a sentence.
        allowed: String,
    },
    /// Bytes that are no text in the database's encoding.
    NotText {
        /// Where they are. The value is not told: it may be a secret.
        what: String,
    },
    /// A value that is longer than any that has a meaning.
    TooLong {
        /// Whose value it is.
        what: String,
        /// Its bytes.
        bytes: usize,
        /// Most bytes.
        most: usize,
    },
    /// Options of one object of which each needs the other.
    OptionsTogether {
        /// The option that is missing.
        missing: &'static str,
        /// The option that is there.
        given: &'static str,
    },
    /// An option that points the server process somewhere, set by an ordinary role.
    OptionNeedsSuperuser {
        /// The option's name.
        name: &'static str,
    },
    /// A column of the foreign table that has no meaning here.
    UnknownColumn {
        /// The column's name.
        column: String,
        /// The foreign table's name.
        table: String,
        /// Every known column.
        known: String,
    },
    /// A known column of an unsuitable type.
    ColumnType {
        /// The column's name.
        column: &'static str,
        /// The foreign table's name.
        table: String,
        /// The type it has.
        found: String,
        /// The types it may have.
        allowed: &'static str,
    },
    /// A generated column of a kind that it can't be.
    GeneratedColumn {
        /// The column's name.
        column: &'static str,
        /// The foreign table's name.
        table: String,
        /// Whether it is an input, which can't be virtual; an output can't be stored.
        input: bool,
    },
    /// The scan was asked for a row before an input column that it needs had a value.
    NotBound {
        /// The names of the columns, at least one.
        columns: Vec<&'static str>,
        /// The foreign table's name.
        table: String,
        /// Why it had none.
        why: NotBound,
    },
    /// A table whose option makes rows of failures, and that has no column to tell them by.
    FailuresUnseen {
        /// The foreign table's name.
        table: String,
    },
    /// A statement that changes or deletes rows of a foreign table.
    NoSuchRows {
        /// `update` or `delete from`.
        verb: &'static str,
        /// The foreign table's name.
        table: String,
    },
    /// A cursor that was not declared to be rewound is.
    CursorRewound,
    /// No clause, argument or option names a function.
    NoFunctionName,
    /// An input value outside the API's grammar.
    InvalidValue {
        /// Column, argument or setting.
        what: &'static str,
        /// What was given.
        value: String,
        /// What is allowed, as a sentence.
        allowed: String,
    },
    /// A setting that was given a value which it does not take, before there was anybody to say so.
    InvalidSetting {
        /// PostgreSQL's message, had the setting been known to it.
        message: String,
        /// What is allowed, as a sentence.
        allowed: String,
    },
    /// A region or qualifier that differs from the one in the function's name.
    Contradiction {
        /// `region` or `qualifier`.
        what: &'static str,
        /// The value given beside the name.
        argument: String,
        /// The value in the name.
        in_name: String,
    },
    /// A client context over Lambda's limit.
    ContextTooLong {
        /// Bytes of base64.
        length: usize,
        /// Most bytes of base64.
        limit: usize,
    },
    /// A payload that is over the limit of its invocation.
    PayloadTooLarge {
        /// Whether it is an event, or else waited for.
        is_event: bool,
        /// Its size, or how much of memory it takes.
        bytes: usize,
        /// Most bytes.
        limit: usize,
    },
    /// There is no memory for it.
    OutOfMemory {
        /// What it is.
        what: &'static str,
        /// Its size.
        bytes: usize,
    },
    /// There was none for what does not ask, so the statement ends.
    MemoryIsShort,
    /// The statement may make no more invocations.
    TooManyInvocations {
        /// How many it may make.
        most: u64,
        /// How many it has made.
        made: u64,
        /// How many more it is known to want.
        wanted: Option<u64>,
    },
    /// A row that is to be inserted has a value where the function's answer goes.
    OutputColumn {
        /// The column's name.
        column: &'static str,
        /// The foreign table's name.
        table: String,
    },
    /// A row that is to be inserted has another value than the table's option of that name.
    FixedColumn {
        /// The column's name.
        column: &'static str,
        /// The row's value.
        value: String,
        /// The option's value.
        fixed: String,
    },
    /// The role has no keys and may not use the machine's.
    NoCredentials {
        /// The foreign server's name.
        server: String,
        /// Whose mapping was looked for.
        no_keys: NoKeys,
    },
    /// Library and scripts are of two releases.
    OtherRelease {
        /// The extension's name.
        extension: String,
        /// The version of its scripts.
        version: String,
        /// The version of scripts that the library wants.
        library: &'static str,
        /// Whether the scripts are the newer ones.
        newer: bool,
    },
    /// The library is not loaded before a parallel query runs.
    LoadedInParallelQuery,
    /// The function ran, or was stopped, and reported an error.
    Function {
        /// Name or ARN, as it was given.
        function_name: String,
        /// `Handled` or `Unhandled`.
        function_error: String,
        /// The response payload.
        payload: String,
    },
    /// The Invoke API did not give a result.
    Api(ApiFailure),
    /// Any of the others, and the invocation that it is of.
    Of(Box<Invocation>, Box<Error>),
    /// A response that its column cannot hold.
    Response {
        /// The column's name.
        column: &'static str,
        /// What is wrong with it.
        problem: ResponseProblem,
        /// Its first characters.
        beginning: String,
    },
    /// The backend could not start its network thread.
    Runtime(String),
    /// The network thread panicked over an invocation.
    Panicked,
    /// What can't be, had a plan not been changed by somebody.
    Unexpected(&'static str),
}

/// What makes a response unfit for a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseProblem {
    /// Not JSON, in a json or jsonb column.
    NotJson,
    /// JSON with `\u0000`, or with a character that the database's encoding lacks, in a jsonb column.
    NotJsonb,
    /// Too long, too large or too deep for the column's type, or with a character that the database's encoding lacks.
    Unfit {
        /// PostgreSQL's.
        sqlstate: PgSqlErrorCode,
        /// What PostgreSQL says.
        message: String,
    },
    /// Not UTF-8.
    NotUtf8,
    /// A zero byte, which PostgreSQL's text cannot hold.
    ZeroByte,
}

struct Row {
    sqlstate: PgSqlErrorCode,
    message: String,
    detail: Option<String>,
    hint: Option<String>,
}

impl Row {
    fn new(sqlstate: PgSqlErrorCode, message: impl Into<String>) -> Row {
        Row {
            sqlstate,
            message: message.into(),
            detail: None,
            hint: None,
        }
    }

    fn detail(mut self, detail: impl Into<String>) -> Row {
        self.detail = Some(detail.into());
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Row {
        self.hint = Some(hint.into());
        self
    }
}

impl Error {
    /// What PostgreSQL is told. Names and values in it are a role's, a function's or an endpoint's.
    fn row(&self) -> Row {
        let row = self.of_table();
        Row {
            message: printable(&row.message),
            detail: row.detail.as_deref().map(printable),
            hint: row.hint.as_deref().map(printable),
            ..row
        }
    }

    /// The one table of errors.
    fn of_table(&self) -> Row {
        use PgSqlErrorCode::*;
        match self {
            Error::UnknownOption { name, object, hint } => Row::new(
                ERRCODE_FDW_INVALID_OPTION_NAME,
                format!("invalid option \"{name}\" for a {object} of aws_lambda_fdw"),
            )
            .hint(hint),
            Error::InvalidOption {
                name,
                value,
                allowed,
            } => Row::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                match value {
                    Some(value) => {
                        format!("invalid value for option \"{name}\": \"{}\"", quotable(value))
                    }
                    None => format!("invalid value for option \"{name}\""),
                },
            )
            .hint(allowed),
            Error::NotText { what } => Row::new(
                ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
                format!("invalid byte sequence in {what}"),
            )
            .hint("It is text in the database's encoding, or in UTF-8 where that is SQL_ASCII."),
            Error::TooLong { what, bytes, most } => Row::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("value of {what} is too long"),
            )
            .detail(format!("It has {bytes} bytes. {most} are the most."))
            .hint("Give a shorter one."),
            Error::OptionsTogether { missing, given } => Row::new(
                ERRCODE_FDW_OPTION_NAME_NOT_FOUND,
                format!("option \"{missing}\" is missing"),
            )
            .hint(format!("Option \"{given}\" is of use only together with \"{missing}\".")),
            Error::OptionNeedsSuperuser { name } => Row::new(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!("only a superuser may set option \"{name}\""),
            )
            .detail("It decides where the server process connects or which of its files it reads."),
            Error::UnknownColumn {
                column,
                table,
                known,
            } => Row::new(
                ERRCODE_FDW_INVALID_COLUMN_NAME,
                format!("column \"{column}\" of foreign table \"{table}\" is not known to aws_lambda_fdw"),
            )
            .hint(format!(
                "Known columns are {known}. Fields of the payload go into payload; take the response apart in a view."
            )),
            Error::ColumnType {
                column,
                table,
                found,
                allowed,
            } => Row::new(
                ERRCODE_FDW_INVALID_DATA_TYPE,
                format!("column \"{column}\" of foreign table \"{table}\" cannot have type {found}"),
            )
            .hint(format!("It can be of type {allowed}.")),
            Error::GeneratedColumn {
                column,
                table,
                input,
            } => {
                let row = |kind| {
                    Row::new(
                        ERRCODE_FDW_INVALID_COLUMN_NAME,
                        format!("column \"{column}\" of foreign table \"{table}\" cannot be a {kind} generated column"),
                    )
                };
                if *input {
                    row("virtual")
                        .detail("It is what the function is invoked with, and a virtual column has no value until it is read.")
                        .hint("Make it STORED, which INSERT sends, or an ordinary column that a clause gives its value.")
                } else {
                    row("stored")
                        .detail("It tells what the function answered, which is not there yet when a stored column is computed.")
                        .hint("Make it VIRTUAL, or compute the value in the query.")
                }
            }
            Error::NotBound {
                columns,
                table,
                why,
            } => why.row(columns, table),
            Error::FailuresUnseen { table } => Row::new(
                ERRCODE_FDW_INVALID_COLUMN_NAME,
                format!("foreign table \"{table}\" has no column that tells of a failure"),
            )
            .detail("With its option on_error 'return' a failure would look like a response. No function was invoked.")
            .hint("Use ALTER FOREIGN TABLE ... ADD error_code text, ADD error_message text, or set on_error 'raise'."),
            Error::NoSuchRows { verb, table } => Row::new(
                ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("cannot {verb} foreign table \"{table}\""),
            )
            .detail("Its rows are invocations. No function was invoked.")
            .hint("To store responses, UPDATE your own table FROM this one."),
            Error::CursorRewound => Row::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "cursor can only scan forward",
            )
            .hint("Declare it with SCROLL option to enable backward scan."),
            Error::NoFunctionName => Row::new(ERRCODE_NULL_VALUE_NOT_ALLOWED, "no function name")
                .detail("No function was invoked.")
                .hint("Name the function in the call, in a clause on function_name, or in the table option function_name."),
            Error::InvalidValue {
                what,
                value,
                allowed,
            } => Row::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("invalid {what}: \"{}\"", quotable(value)),
            )
            .hint(allowed),
            Error::InvalidSetting { message, allowed } => Row::new(ERRCODE_INVALID_PARAMETER_VALUE, message)
            .detail("It was set before the library was loaded, when nothing could check it. No function was invoked.")
            .hint(format!("{allowed} SET or RESET it. If it comes from ALTER DATABASE, ALTER ROLE or ALTER FUNCTION, change it there.")),
            Error::Contradiction {
                what,
                argument,
                in_name,
            } => Row::new(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("{what} \"{argument}\" conflicts with {what} \"{in_name}\" in the function name"),
            )
            .hint(format!("Give the {what} once.")),
            Error::ContextTooLong { length, limit } => Row::new(
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "client context is too long",
            )
            .detail(format!(
                "It has {length} bytes in base64; Lambda takes at most {limit}."
            ))
            .hint("Put the data into the payload."),
            Error::PayloadTooLarge {
                is_event,
                bytes,
                limit,
            } => Row::new(ERRCODE_PROGRAM_LIMIT_EXCEEDED, "payload is too large")
                .detail(format!(
                    "It takes {bytes} bytes, and {limit} are the most {}.",
                    match is_event {
                        true => "as an event",
                        false => "in a synchronous invocation",
                    }
                ))
                .hint("Send where the data is in the place of the data. If the endpoint takes more than Lambda does, raise the server or table option max_payload_bytes."),
            Error::OutOfMemory { what, bytes } => Row::new(ERRCODE_OUT_OF_MEMORY, "out of memory")
                .detail(format!("There are no {bytes} bytes for a {what}."))
                .hint("Lower aws_lambda.max_memory or aws_lambda.max_concurrency, or give the server more memory."),
            Error::MemoryIsShort => Row::new(ERRCODE_OUT_OF_MEMORY, "out of memory")
                .detail("There was none left for invocations. Functions that were invoked may have run.")
                .hint("Lower aws_lambda.max_memory or aws_lambda.max_concurrency, or give the server more memory."),
            Error::TooManyInvocations { most, made, wanted } => Row::new(
                ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "too many invocations in one statement",
            )
            .detail(match wanted {
                Some(wanted) => format!("It may make {most}. It has made {made}, and needs {wanted} more."),
                None => format!("It may make {most}, and has made {made}."),
            })
            .hint("Raise aws_lambda.max_invocations or the server or table option max_invocations, or let the statement invoke for fewer rows."),
            Error::OutputColumn { column, table } => Row::new(
                ERRCODE_GENERATED_ALWAYS,
                format!("cannot insert a value into column \"{column}\" of foreign table \"{table}\""),
            )
            .detail("The column tells what the function answered.")
            .hint("Leave the column out, and read it with RETURNING."),
            Error::FixedColumn {
                column,
                value,
                fixed,
            } => Row::new(
                ERRCODE_CHECK_VIOLATION,
                format!("{column} \"{}\" conflicts with the table option {column}", quotable(value)),
            )
            .detail(format!("The table option is \"{fixed}\". The function was not invoked."))
            .hint("Leave the column out, or insert into a foreign table without the option."),
            Error::NoCredentials { server, no_keys } => Row::new(
                ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
                format!("no AWS credentials for server \"{server}\""),
            )
            .detail(format!(
                "{} Credentials found on the machine are used only through servers owned by a superuser.",
                no_keys.why
            ))
            .hint(&no_keys.remedy),
            Error::OtherRelease {
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
            Error::LoadedInParallelQuery => Row::new(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "aws_lambda_fdw cannot be loaded while a parallel query runs",
            )
            .detail("PostgreSQL would drop the session's values of its settings. No function was invoked.")
            .hint("Declare the function that calls aws_lambda.invoke PARALLEL UNSAFE, or add aws_lambda_fdw to session_preload_libraries."),
            Error::Function {
                function_name,
                function_error,
                payload,
            } => Row::new(ERRCODE_EXTERNAL_ROUTINE_EXCEPTION, "lambda invocation failed").detail(format!(
                "\"{function_name}\" returned error \"{function_error}\", details: \"{payload}\"."
            )),
            Error::Api(failure) => failure.row(),
            Error::Of(invocation, error) => invocation.row(error),
            Error::Response {
                column,
                problem,
                beginning,
            } => {
                let (sqlstate, what) = match problem {
                    ResponseProblem::NotJson => (ERRCODE_INVALID_TEXT_REPRESENTATION, "not valid JSON"),
                    ResponseProblem::NotJsonb => (ERRCODE_UNTRANSLATABLE_CHARACTER, "not valid jsonb: it escapes a character that text cannot hold"),
                    ResponseProblem::Unfit { sqlstate, .. } => (*sqlstate, "not what its column can hold"),
                    ResponseProblem::NotUtf8 => (ERRCODE_CHARACTER_NOT_IN_REPERTOIRE, "not valid UTF-8"),
                    ResponseProblem::ZeroByte => (ERRCODE_UNTRANSLATABLE_CHARACTER, "not text: it has a zero byte"),
                };
                let message = match problem {
                    ResponseProblem::Unfit { message, .. } => message.clone(),
                    _ => format!("response of the function is {what}"),
                };
                let row = Row::new(sqlstate, message)
                    .detail(format!("The function ran. Its response begins: {beginning}"));
                match problem {
                    ResponseProblem::NotJson | ResponseProblem::NotJsonb | ResponseProblem::Unfit { .. } => {
                        row.hint(format!("To read it as it is, use a foreign table whose column \"{column}\" is text."))
                    }
                    _ => row,
                }
            }
            Error::Runtime(problem) => Row::new(
                ERRCODE_INSUFFICIENT_RESOURCES,
                "could not start the AWS Lambda client",
            )
            .detail(problem),
            Error::Panicked => Row::new(ERRCODE_INTERNAL_ERROR, "the AWS Lambda client failed")
                .detail("The function may have run. It was not invoked again.")
                .hint("The server's log has the reason. Please report it."),
            Error::Unexpected(what) => Row::new(ERRCODE_INTERNAL_ERROR, *what)
                .hint("Please report it, with the output of EXPLAIN."),
        }
    }
}

impl Error {
    /// The primary message and DETAIL.
    #[cfg(any(test, fuzzing))]
    pub fn texts(&self) -> (String, Option<String>) {
        let row = self.row();
        (row.message, row.detail)
    }

    /// The error as a row of a foreign table has it: a name and a message.
    pub fn as_columns(&self) -> (&str, String) {
        let code = match self {
            Error::Of(_, error) => return error.as_columns(),
            Error::Api(failure) => return (failure.code(), failure.message()),
            Error::Response { .. } => "InvalidResponse",
            Error::PayloadTooLarge { .. } => "RequestTooLargeException",
            Error::OutOfMemory { .. } | Error::MemoryIsShort => "OutOfMemory",
            Error::Runtime(_) | Error::Panicked => "ClientFailure",
            _ => "InvalidParameterValue",
        };
        let row = self.row();
        let message = match self {
            Error::Response {
                problem: ResponseProblem::Unfit { .. },
                ..
            } => format!(
                "response of the function is not what its column can hold: {}",
                row.message
            ),
            _ => row.message,
        };
        let message = match row.detail {
            Some(detail) => format!("{message}. {detail}"),
            None => message,
        };
        (code, message)
    }
}

/// The beginning of something that came from outside, fit for a message.
pub fn quotable(text: &str) -> String {
    shortened(text, 200)
}

/// The same with a length of its own, in characters.
pub fn shortened(text: &str, most: usize) -> String {
    let mut short = String::new();
    let mut left = most;
    for letter in text.chars() {
        let shown = printable(letter.encode_utf8(&mut [0; 4]));
        match left.checked_sub(shown.chars().count()) {
            Some(less) => left = less,
            None => return short + "...",
        }
        short.push_str(&shown);
    }
    short
}

/// The text with `\u{1b}` in the place of each character that is not seen, or changes how others are: a terminal would obey it, and
/// who reads it would see something else than there is.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_seen(letter) {
            true => shown.push(letter),
            false => shown.extend(letter.escape_unicode()),
        }
    }
    shown
}

/// Whether it is none of Unicode's control and format characters, marks of direction, what has no width, and what is nobody's or anybody's to
/// define.
pub fn is_seen(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fdd0}'..='\u{fdef}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documented_texts() {
        let row = Error::Function {
            function_name: "arn:aws:lambda:us-west-2:123456789012:function:my-function".into(),
            function_error: "Unhandled".into(),
            payload: "<Error details string>".into(),
        }
        .row();
        assert_eq!(row.message, "lambda invocation failed");
        assert_eq!(
            row.detail.as_deref(),
            Some(
                "\"arn:aws:lambda:us-west-2:123456789012:function:my-function\" returned error \"Unhandled\", details: \"<Error details string>\"."
            )
        );
        let row = Error::Api(ApiFailure::new(
            Cause::Connect,
            "Unable to connect to endpoint",
            String::new(),
        ))
        .row();
        assert_eq!(row.message, "invoke API failed");
        assert_eq!(
            row.detail.as_deref(),
            Some("AWS Lambda client returned 'Unable to connect to endpoint'.")
        );
    }

    #[test]
    fn a_failure_is_told_with_its_invocation() {
        let failure = ApiFailure::new(Cause::RequestTimeout, "Request timed out", String::new());
        let error = Error::Api(failure).of("geocode", Some("1-2"));
        let detail =
            "AWS Lambda client returned 'Request timed out'. Function \"geocode\", request id 1-2.";
        let row = error.row();
        assert_eq!(
            row.message,
            "could not invoke \"geocode\": request timed out"
        );
        assert_eq!(row.detail.as_deref(), Some(detail));
        let row = error.of("another", None).of_call(By::Call).row();
        assert_eq!(row.message, "invoke API failed");
        assert_eq!(row.detail.as_deref(), Some(detail));
    }

    #[test]
    fn the_error_of_a_function_has_its_documented_text_in_a_call() {
        let error = Error::Function {
            function_name: "f".into(),
            function_error: "Unhandled".into(),
            payload: "x".into(),
        }
        .of("f", Some("1-2"));
        let documented = "\"f\" returned error \"Unhandled\", details: \"x\".";
        let row = error.clone().of_call(By::Call).row();
        assert_eq!(row.detail.as_deref(), Some(documented));
        assert_eq!(
            row.hint.as_deref(),
            Some("Its log in CloudWatch has request id 1-2.")
        );
        let told = format!("{documented} Request id 1-2.");
        assert_eq!(error.row().detail.as_deref(), Some(&*told));
    }

    #[test]
    fn what_is_quoted_is_short_and_printable() {
        assert_eq!(quotable("a\nb\0c"), "a\\u{a}b\\u{0}c");
        assert_eq!(quotable("\u{202e}\u{200b}é"), "\\u{202e}\\u{200b}é");
        assert_eq!(quotable(&"\x1b".repeat(1000)).len(), 33 * 6 + 3);
        assert_eq!(quotable(&"é".repeat(1000)).chars().count(), 203);
    }
}
