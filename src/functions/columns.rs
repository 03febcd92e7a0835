//! The columns of a table of functions, as texts of a configuration.

use crate::columns::Column;
use crate::lambda::configuration::FunctionConfiguration;
use std::borrow::Cow;

/// The text of a column, which its type reads.
pub fn text(column: Column, function: &FunctionConfiguration) -> Option<Cow<'_, str>> {
    let text = match column {
        Column::FunctionName => Some(&function.function_name),
        Column::FunctionArn => function.function_arn.as_ref(),
        Column::Runtime => function.runtime.as_ref(),
        Column::Handler => function.handler.as_ref(),
        Column::Role => function.role.as_ref(),
        Column::Description => function
            .description
            .as_ref()
            .filter(|text| !text.is_empty()),
        Column::Version => function.version.as_ref(),
        Column::State => function.state.as_ref(),
        Column::PackageType => function.package_type.as_ref(),
        Column::LastModified => function.last_modified.as_ref(),
        Column::Architecture => {
            let names = function.architectures.as_ref()?;
            return (!names.is_empty()).then(|| names.join(", ").into());
        }
        Column::MemorySize => return number(function.memory_size),
        Column::Timeout => return number(function.timeout),
        Column::CodeSize => return number(function.code_size),
        _ => None,
    };
    text.map(|text| Cow::from(text.as_str()))
}

fn number(number: Option<impl ToString>) -> Option<Cow<'static, str>> {
    Some(number?.to_string().into())
}
