//! The invocation that an error is of: the one place where a failure is told with its function and the id of its request.

use super::{Error, RequestError, Row, quotable};

/// What an error is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// Name or ARN.
    function_name: String,
    /// AWS's id of the request, where an answer had one.
    request_id: Option<String>,
    /// Whether it never went out.
    unsent: bool,
    by: InvokedBy,
}

/// How it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvokedBy {
    /// A clause, or a row that is inserted.
    Clause,
    /// `aws_lambda.invoke` of a name. The words are those of RDS, as in the next.
    Function,
    /// `aws_lambda.invoke` of a structure of name and region.
    FunctionWithStructure,
}

impl Error {
    /// The same error, of an invocation. What is of one stays so.
    pub fn of(self, function_name: &str, request_id: Option<&str>) -> Error {
        self.of_invocation(function_name, request_id, false)
    }

    /// The same error, of an invocation that was not made.
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

    /// The same error, as `aws_lambda.invoke` tells it.
    pub fn of_call(mut self, by: InvokedBy) -> Error {
        if let Error::Of(invocation, _) = &mut self {
            invocation.by = by;
        }
        self
    }
}

impl Invocation {
    /// What PostgreSQL is told of an error of this.
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
        let fact = match (error, &id) {
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
        let mut detail: Vec<String> = row.detail.take().into_iter().chain(fact).collect();
        if let Error::Response { .. } = error {
            // What it quotes has no end of its own.
            detail.reverse();
        }
        row.detail = (!detail.is_empty()).then(|| detail.join(" "));
        row
    }
}
