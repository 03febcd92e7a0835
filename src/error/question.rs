//! Questions about functions that have no answer. A question runs no function, so its errors say nothing of that.

use super::{ApiFailure, Cause, Error, Row, quotable};
use pgrx::PgSqlErrorCode::*;

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// Which functions there are.
    Functions,
    /// The configuration of a function.
    Function(String),
}

impl Error {
    /// This error of a question.
    pub fn of_question(self, question: Question) -> Error {
        match self {
            Error::Asked(..) => self,
            error => Error::Asked(Box::new(question), Box::new(error)),
        }
    }

    /// The error of an answer to a question that is not Lambda's.
    pub fn bad_answer(question: Question, problem: String) -> Error {
        let failure = ApiFailure::new(Cause::BadAnswer, "Answer could not be read", problem);
        Error::Api(failure).of_question(question)
    }
}

impl Question {
    /// The action that the credentials have to be allowed.
    fn action(&self) -> &'static str {
        match self {
            Question::Functions => "lambda:ListFunctions",
            Question::Function(_) => "lambda:GetFunctionConfiguration",
        }
    }

    /// What PostgreSQL reports of an error of this question.
    pub(super) fn row(&self, error: &Error) -> Row {
        let row = error.raw_row();
        let Error::Api(failure) = error else {
            return row;
        };
        let cause = failure.cause.row();
        let what = match self {
            Question::Functions => "could not list functions".to_owned(),
            Question::Function(name) => {
                format!("could not get the configuration of \"{}\"", quotable(name))
            }
        };
        let id = (failure.answer.as_ref()).and_then(|answer| answer.request_id.as_deref());
        let detail = (row.detail.into_iter()).chain(id.map(|id| format!("Request id {id}.")));
        Row {
            sqlstate: match failure.cause {
                // The cause's own tells that it is not known what an invocation did.
                Cause::RequestTimeout => ERRCODE_CONNECTION_FAILURE,
                _ => cause.sqlstate,
            },
            message: format!("{what}: {}", cause.phrase),
            detail: Some(detail.collect::<Vec<_>>().join(" ")),
            hint: self.hint(failure),
        }
    }

    fn hint(&self, failure: &ApiFailure) -> Option<String> {
        let hint = match (failure.cause, &failure.hint) {
            (Cause::Denied, _) => {
                return Some(format!(
                    "Allow the action {} to the credentials in use.",
                    self.action()
                ));
            }
            (Cause::Throttled, _) => "Try again later.",
            (Cause::RequestTimeout, _) => {
                "Raise aws_lambda.request_timeout_ms or the server option request_timeout_ms."
            }
            (_, Some(hint)) => hint,
            (cause, None) => cause.row().hint,
        };
        let hint = ["The function did not run.", "The function may have run."]
            .into_iter()
            .fold(hint, |hint, fate| hint.strip_prefix(fate).unwrap_or(hint));
        Some(hint.trim_start().to_owned()).filter(|hint| !hint.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_runs_no_function() {
        let row = |cause| {
            let failure = ApiFailure::new(cause, "It failed", String::new());
            Error::Api(failure).of_question(Question::Functions).row()
        };
        let denied = row(Cause::Denied);
        assert_eq!(denied.message, "could not list functions: access denied");
        assert!(
            denied
                .hint
                .is_some_and(|hint| hint.contains("lambda:ListFunctions"))
        );
        for cause in [
            Cause::Connect,
            Cause::Service,
            Cause::BadAnswer,
            Cause::ConnectionLost,
        ] {
            let row = row(cause);
            let texts = [Some(row.message), row.detail, row.hint];
            assert!(!texts.into_iter().flatten().any(|text| text.contains("run")));
        }
    }
}
