//! Between PostgreSQL's rows and invocations.
//!
//! - [`values`] evaluates the values that clauses give an input column. [`lists`] has those of all input columns.
//! - [`payload`] makes the payload of columns that are fields of it.
//! - [`combinations`] has the combinations of those values. [`invocation_set`] makes requests of the values, and has them started and taken in order.
//! - [`conditions`] checks the values before they are sent.
//! - [`parameters`] finds the executor parameters that expressions depend on.
//! - [`sources`] remembers what the rows that give the values have invoked.
//! - [`inserted`] checks a row that is inserted, and makes inputs of it. [`checks`] and [`missing_payload`] have the checks.
//! - [`output`] makes the rows of an outcome. [`invocation_columns`] has the columns about the invocation, [`writer`] makes their datums, and
//!   [`call_result`] makes the row of a function of them.
//! - [`response`] takes a response apart, by means of [`tree`] and [`json`], and [`field`] makes the datums of its fields.

pub mod call_result;
mod checks;
mod combinations;
pub mod conditions;
mod field;
mod inputs;
pub mod inserted;
pub mod invocation_columns;
pub mod invocation_set;
mod json;
pub mod lists;
mod missing_payload;
pub mod output;
pub mod parameters;
pub mod payload;
mod response;
pub mod sources;
mod tree;
pub mod values;
pub mod writer;
