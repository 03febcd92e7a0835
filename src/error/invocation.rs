//! The invocation that failed with an error: function and request id in the messages of all errors.

use super::{BatchProblem, Error, RequestError, Row, quotable};

/// The invocation of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Name or ARN.
    function_name: String,
    /// AWS's request id, where a response had one.
    request_id: Option<String>,
    /// Whether the request was never sent.
    unsent: bool,
    by: InvokedBy,
}

/// How the invocation was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokedBy {
    /// A clause, or a row that is inserted.
    Clause,
    /// `aws_lambda.invoke` with a function name. Messages are those of RDS.
    Function,
    /// `aws_lambda.invoke` with a structure of name and region. Messages are those of RDS.
    FunctionWithStructure,
}

impl Error {
    /// This error of an invocation. An error that already has an invocation keeps it.
    pub fn of(self, function_name: &str, request_id: Option<&str>) -> Error {
        self.of_invocation(function_name, request_id, false)
    }

    /// This error of an invocation that was not made.
    pub fn of_unsent(self, function_name: &str) -> Error {
        self.of_invocation(function_name, None, true)
    }

    fn of_invocation(self, function_name: &str, request_id: Option<&str>, unsent: bool) -> Error {
        if matches!(self, Error::Of(..)) {
            return self;
        }
        let invocation = Invocation {
            function_name: function_name.to_owned(),
            request_id: request_id.map(str::to_owned),
            unsent,
            by: InvokedBy::Clause,
        };
        Error::Of(Box::new(invocation), Box::new(self))
    }

    /// This error of an invocation that was requested in such a way.
    pub fn invoked_by(mut self, by: InvokedBy) -> Error {
        if let Error::Of(invocation, _) = &mut self {
            invocation.by = by;
        }
        self
    }
}

impl Invocation {
    /// What PostgreSQL reports of an error of this invocation.
    pub(super) fn row(&self, error: &Error) -> Row {
        let mut row = error.raw_row();
        let name = quotable(&self.function_name);
        let id = self.request_id.as_deref().map(quotable);
        match error {
            Error::Api(failure) if self.by == InvokedBy::Clause => {
                row.message = format!(
                    "could not invoke \"{name}\": {}",
                    failure.cause.row().phrase
                );
            }
            Error::Request(RequestError::InvalidValue { what, value, .. }) => {
                if let Some(hint) = super::wrong_argument::hint(what, value, self.by) {
                    row.hint = Some(hint);
                }
            }
            _ => (),
        }
        let sentence = match (error, &id) {
            (Error::Function { .. }, Some(id)) => {
                row.hint = Some(format!("Its log in CloudWatch has request id {id}."));
                // RDS's DETAIL has no more than the function's error.
                (self.by == InvokedBy::Clause).then(|| format!("Request id {id}."))
            }
            (Error::Function { .. }, None) => None,
            (Error::Request(RequestError::InvalidValue { what, .. }), _)
                if *what == "function_name" =>
            {
                Some("It was not invoked.".to_owned())
            }
            _ if self.unsent => Some(format!("Function \"{name}\" was not invoked.")),
            (_, Some(id)) => Some(format!("Function \"{name}\", request id {id}.")),
            (_, None) => Some(format!("Function \"{name}\".")),
        };
        let mut detail: Vec<String> = row.detail.take().into_iter().chain(sentence).collect();
        let quotes_response = match error {
            Error::Response { .. } | Error::Field { .. } | Error::Rows { .. } => true,
            Error::Batch(failure) => matches!(failure.problem, BatchProblem::Shape { .. }),
            _ => false,
        };
        if quotes_response {
            // The quoted response comes last, as it has no end mark.
            detail.reverse();
        }
        row.detail = (!detail.is_empty()).then(|| detail.join(" "));
        row
    }
}
