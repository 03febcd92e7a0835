//! Hints for a value that belongs to another argument or column, such as an invocation type in the place of the region.

use super::invocation::InvokedBy;
use crate::lambda::name::is_version;
use crate::lambda::region::{check_region, meant_region};

/// The constants of the API, each with its column.
const CONSTANTS: [(&str, &str); 5] = [
    ("RequestResponse", "invocation_type"),
    ("Event", "invocation_type"),
    ("DryRun", "invocation_type"),
    ("None", "log_type"),
    ("Tail", "log_type"),
];

/// The hint for an invalid value of `what`, if another column can have the value.
pub fn hint(what: &str, value: &str, by: InvokedBy) -> Option<String> {
    // In a call, a missing argument shifts those behind it.
    let argument = match (what, by) {
        ("region", InvokedBy::Function) => "The third argument is the region. ",
        _ => "",
    };
    let write = |of: &str, value: &str| match (of, by) {
        (of, _) if of == what => None,
        ("region", InvokedBy::FunctionWithStructure) => Some(format!(
            "Write aws_commons.create_lambda_function_arn('...', '{value}')."
        )),
        (_, InvokedBy::Clause) => Some(format!("Write {of} = '{value}'.")),
        _ => Some(format!("{argument}Write {of} => '{value}'.")),
    };
    let word = CONSTANTS
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(value.trim()));
    if let Some((word, of)) = word {
        return write(of, word);
    }
    if check_region(value).is_ok() {
        return write("region", value);
    }
    if is_version(value) {
        return write("qualifier", value);
    }
    if value.trim_start().starts_with('{') {
        return write("context", "...");
    }
    (what == "region" && by == InvokedBy::Function && meant_region(value).is_none()).then(|| {
        format!("{argument}It looks like us-east-1 or us-gov-west-1. An alias or version is qualifier => '...'.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_other_columns() {
        let called = |what, value| hint(what, value, InvokedBy::Function).unwrap_or_default();
        for (value, write) in [
            ("Event", "invocation_type => 'Event'"),
            ("tail", "log_type => 'Tail'"),
            ("$LATEST", "qualifier => '$LATEST'"),
            ("7", "qualifier => '7'"),
            ("{}", "context => '...'"),
        ] {
            let told = format!("The third argument is the region. Write {write}.");
            assert_eq!(called("region", value), told);
        }
        assert!(called("region", "prod").contains("qualifier => '...'"));
        assert_eq!(
            called("invocation_type", "Tail"),
            "Write log_type => 'Tail'."
        );
        assert_eq!(called("invocation_type", "event"), "");
        assert_eq!(
            hint(
                "invocation_type",
                "us-east-1",
                InvokedBy::FunctionWithStructure
            )
            .as_deref(),
            Some("Write aws_commons.create_lambda_function_arn('...', 'us-east-1').")
        );
        assert_eq!(hint("region", "here", InvokedBy::Clause), None);
        assert_eq!(
            hint("region", "DryRun", InvokedBy::Clause).as_deref(),
            Some("Write invocation_type = 'DryRun'.")
        );
    }
}
