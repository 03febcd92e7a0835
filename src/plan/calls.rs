//! Calls of `aws_lambda.invoke` in FROM that depend on other rows become scans of the extension's own tables, so that many are in flight.
//!
//! PostgreSQL simplifies the functions in FROM twice: all of them before it flattens subqueries, and those with LATERAL once more when the
//! query is flat. Each time it asks the planner support function. The first time marks a call. The second time turns the call's member of the
//! range table into one of the table, with the call as an argument of TABLESAMPLE. Foreign tables have no TABLESAMPLE otherwise, and the planner
//! treats its arguments as those of a function.
//!
//! What the scan invokes is decided here. Everything else is that of any scan.

use super::clause::{Binding, Kind};
use crate::backend::config;
use crate::columns::{Column, Layout};
use crate::error::InvokedBy;
use crate::lambda::request::InvocationType;
use crate::options::Events;
use crate::postgres::expressions::{Walk, make_conversion, make_field, make_null, walk};
use crate::postgres::list::IntList;
use crate::postgres::planner::Root;
use crate::postgres::range_table::{self, Entry, Replacement};
use crate::postgres::refs::{Node, Ref};
use crate::postgres::varlena::Toasted;
use crate::postgres::{catalog, compat, rel};
use crate::settings;
use pgrx::pg_sys;
use std::cell::Cell;
use std::ffi::CStr;

/// A call of a function.
pub type FunctionCall<'p> = Ref<'p, pg_sys::FuncExpr>;

/// The input columns of the arguments behind the payload, where the first argument is a name.
const BEHIND_NAME: [Column; 5] = [
    Column::Region,
    Column::InvocationType,
    Column::LogType,
    Column::Context,
    Column::Qualifier,
];
/// Those behind the payload where the first argument is a structure of name and region.
const BEHIND_STRUCTURE: [Column; 4] = [
    Column::InvocationType,
    Column::LogType,
    Column::Context,
    Column::Qualifier,
];
/// The columns of a call's result, in order.
pub const RESULT: [Column; 4] = [
    Column::StatusCode,
    Column::Response,
    Column::ExecutedVersion,
    Column::LogResult,
];

/// The first of the numbers that mark calls. They are in the place of the collation, which the function ignores.
const FIRST_MARK: u32 = 0xf000_0000;

/// The extension's table that calls with a payload of json are like.
pub const TABLE_OF_JSON: &CStr = c"lambda_invocations_json";
/// The extension's table that calls with a payload of jsonb are like.
pub const TABLE_OF_JSONB: &CStr = c"lambda_invocations";

/// What takes the place of a call that is being simplified; `None` leaves it as it is.
pub fn simplify<'p>(root: Option<Root<'p>>, call: FunctionCall<'p>) -> Option<Node<'p>> {
    let root = root.filter(|_| settings::invoke_concurrency() > 1)?;
    let members = root.query()?.range_table();
    // The planner learns of LATERAL after it has simplified the functions in FROM for the first time.
    if !root.hasLateralRTEs {
        let is_of_call = |entry: &Entry| call_of(*entry).is_some_and(is_call);
        let calls: Vec<Entry> = members.iter().filter(is_of_call).collect();
        // A function that depends on no other relation is simplified once more only if it might. Its subquery may come to be one that depends on others.
        (calls.iter()).for_each(|entry| entry.set_lateral(true));
        return (!calls.is_empty())
            .then(|| with_collation(call, pg_sys::Oid::from(next_mark())).as_node());
    }
    if !is_marked(call) {
        return None;
    }
    let unmarked = with_collation(call, pg_sys::DEFAULT_COLLATION_OID);
    let is_this = |(_, entry): &(i32, Entry)| {
        call_of(*entry).is_some_and(|of| of.inputcollid == call.inputcollid)
    };
    let found = (1..).zip(members.iter()).find(is_this);
    if let Some((index, entry)) = found
        && can_become_scan(entry)
        && become_scan(root, index, unmarked).is_some()
    {
        // Nobody reads it. Of the call itself the planner would plan the subqueries once more.
        return Some(make_null(unmarked.funcresulttype));
    }
    Some(unmarked.as_node())
}

thread_local! {
    /// The planner support function of the calls, once the planner has called it.
    static SUPPORT: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::InvalidOid) };
}

/// Notes which function is the planner support function of the calls.
pub fn note_support(function: pg_sys::Oid) {
    SUPPORT.set(function);
}

/// Whether the planner may have simplified a call in this backend.
pub fn may_be_there() -> bool {
    SUPPORT.get() != pg_sys::InvalidOid
}

/// Whether a function call is one of `aws_lambda.invoke`.
pub fn is_call(call: FunctionCall) -> bool {
    may_be_there() && catalog::support_function(call.funcid) == SUPPORT.get()
}

/// A number that no other call has while a query is planned.
fn next_mark() -> u32 {
    thread_local! {
        static NEXT: Cell<u32> = const { Cell::new(FIRST_MARK) };
    }
    NEXT.replace(NEXT.get().checked_add(1).unwrap_or(FIRST_MARK))
}

fn is_marked(call: FunctionCall) -> bool {
    call.inputcollid.to_u32() >= FIRST_MARK
}

fn with_collation(call: FunctionCall<'_>, collation: pg_sys::Oid) -> FunctionCall<'_> {
    let copy = call.duplicate();
    copy.set_input_collation(collation);
    copy
}

/// The call that a function in FROM is.
fn call_of<'p>(entry: Entry<'p>) -> Option<FunctionCall<'p>> {
    if entry.rtekind != pg_sys::RTEKind::RTE_FUNCTION {
        return None;
    }
    let function = entry
        .functions()
        .get(0)?
        .cast::<pg_sys::RangeTblFunction>()?;
    function.call()?.cast()
}

/// Whether a function in FROM is a call alone, and no argument has another call. Nobody would tell how far ahead that is.
fn can_become_scan(entry: Entry) -> bool {
    entry.functions().len() == 1
        && call_of(entry).is_some_and(|call| !call.arguments().iter().any(has_call))
}

fn has_call(node: Node) -> bool {
    walk(
        Some(node),
        &mut |node| match node.cast::<pg_sys::FuncExpr>().is_some_and(is_marked) {
            true => Walk::Stop,
            false => Walk::Into,
        },
    )
}

/// Has the query scan the table that a call is like. Nothing changes where a scan would not do the same as the call.
fn become_scan<'p>(root: Root<'p>, index: i32, call: FunctionCall<'p>) -> Option<()> {
    let callee = Callee::of(call)?;
    // A structure is evaluated for each of its fields.
    let structure = structure(call).is_none_or(|it| !it.is_volatile() && !it.has_subqueries());
    structure.then_some(())?;
    let columns = callee.columns()?;
    let with = Replacement {
        table: callee.table,
        columns: &columns,
        // Without a name there is an error, and no row.
        never_null: callee.layout.find(Column::FunctionName)?.number,
        role: callee.role,
    };
    // Once and no more: each time the planner would plan the subqueries and evaluate the aggregates of queries around this one.
    let finish = || compat::finish_expression(root, call.as_node());
    range_table::replace(root, index, &with, finish)
        .then(|| catalog::depend_on_function(root, call.funcid))
}

/// What a call needs to be made like a scan of one of the extension's tables.
pub struct Callee {
    /// The table.
    pub table: pg_sys::Oid,
    /// The table's columns.
    pub layout: Layout,
    /// The role whose rights count, the invalid one for the caller.
    pub role: pg_sys::Oid,
}

impl Callee {
    /// That of a call; `None` where a scan would not do the same as the call.
    pub fn of(call: FunctionCall) -> Option<Callee> {
        let role = catalog::role_of_plain_function(call.funcid)?;
        let table = match call.arguments().get(1)?.type_oid() {
            pg_sys::JSONOID => TABLE_OF_JSON,
            pg_sys::JSONBOID => TABLE_OF_JSONB,
            _ => return None,
        };
        let table = catalog::relation_of_extension(c"aws_lambda", table)?;
        catalog::lock(table, pg_sys::AccessShareLock);
        if !catalog::is_foreign_table(table) {
            return None;
        }
        let layout = rel::with_locked(table, Layout::read).ok()?;
        let fixed = config::fixed_inputs(table);
        let given = inputs(call)?;
        // A call whose arguments contradict an option gives a null row, which a scan does not.
        let is_fixed = |(column, _): &(Column, Node)| fixed.get(*column).is_some();
        if given.iter().any(is_fixed) || (queues_events(table) && may_be_event(&given)) {
            return None;
        }
        Some(Callee {
            table,
            layout,
            role,
        })
    }
}

impl Callee {
    /// The table's column for each of the call's result, and its type.
    pub fn columns(&self) -> Option<Vec<(i16, pg_sys::Oid)>> {
        let column = |column: &Column| {
            let found = self.layout.find(*column)?;
            Some((found.number, found.type_oid))
        };
        RESULT.iter().map(column).collect()
    }
}

fn queues_events(table: pg_sys::Oid) -> bool {
    config::queues_events(table) || Events::of_setting(settings::events()) == Events::Queue
}

/// Whether an invocation may be an event: unless its type is another constant.
fn may_be_event(given: &[(Column, Node)]) -> bool {
    (given.iter())
        .filter(|(column, _)| *column == Column::InvocationType)
        .any(|(_, node)| {
            let text = constant_text(*node).and_then(|text| String::from_utf8(text).ok());
            text.and_then(|text| InvocationType::parse(&text).ok())
                .is_none_or(|parsed| parsed == InvocationType::Event)
        })
}

/// A text that is a constant, in UTF-8.
fn constant_text(node: Node) -> Option<Vec<u8>> {
    let constant = node.without_relabelling().cast::<pg_sys::Const>()?;
    if constant.consttype != pg_sys::TEXTOID || constant.constisnull {
        return None;
    }
    // SAFETY: the constant is not null, and of this type.
    let text = unsafe { Toasted::new(constant.constvalue, pg_sys::TEXTOID) };
    text.detoast().print().ok()
}

fn is_null(node: Node) -> bool {
    (node.without_relabelling().cast::<pg_sys::Const>()).is_some_and(|found| found.constisnull)
}

/// The input columns that a call gives values, with the expressions. `None` where the call's own values decide which ones.
fn inputs<'p>(call: FunctionCall<'p>) -> Option<Vec<(Column, Node<'p>)>> {
    let arguments: Vec<Node> = call.arguments().iter().collect();
    let (first, payload, behind) = match &arguments[..] {
        [first, payload, behind @ ..] => (*first, *payload, behind),
        _ => return None,
    };
    let is_name = first.type_oid() == pg_sys::TEXTOID;
    let (named, columns): (Vec<_>, &[Column]) = match (is_name, behind.len()) {
        (true, 5) => (vec![(Column::FunctionName, first)], &BEHIND_NAME),
        (true, 4) => {
            // Of arguments without types the name decides which ones they are.
            let columns: &[Column] = match constant_text(first)?.starts_with(b"(") {
                true => &BEHIND_STRUCTURE,
                false => &BEHIND_NAME,
            };
            (vec![(Column::FunctionName, first)], columns)
        }
        (false, 4) => {
            let field = |number| make_field(first, number, pg_sys::TEXTOID);
            let named = vec![(Column::FunctionName, field(1)), (Column::Region, field(2))];
            (named, &BEHIND_STRUCTURE)
        }
        _ => return None,
    };
    let payload_type = payload.type_oid();
    let others = columns.iter().zip(behind).map(|(column, argument)| {
        let is_text = *column == Column::Context && argument.type_oid() != payload_type;
        let value = match is_text {
            true => make_conversion(*argument, payload_type),
            false => *argument,
        };
        (*column, value)
    });
    let all = (named.into_iter())
        .chain(others)
        .chain([(Column::Payload, payload)]);
    Some(all.collect())
}

/// The call that a member of the range table stands for; `None` where it is a table that the query names.
pub fn scanned_call<'p>(entry: Entry<'p>) -> Option<FunctionCall<'p>> {
    let sample = entry.table_sample()?.cast::<pg_sys::TableSampleClause>()?;
    sample.arguments().get(0)?.cast()
}

/// The structure of name and region that a call has as its first argument.
pub fn structure<'p>(call: FunctionCall<'p>) -> Option<Node<'p>> {
    (call.arguments().get(0)).filter(|first| first.type_oid() != pg_sys::TEXTOID)
}

/// The function that is called.
#[derive(Clone, Copy)]
pub struct Called {
    /// The function.
    pub function: pg_sys::Oid,
    /// How it is called, which errors tell.
    pub by: InvokedBy,
}

impl Called {
    fn of(call: FunctionCall) -> Called {
        let name = call.arguments().get(0).and_then(constant_text);
        let is_literal = name.is_some_and(|name| name.starts_with(b"("));
        let by = match is_literal || structure(call).is_some() {
            true => InvokedBy::FunctionWithStructure,
            false => InvokedBy::Function,
        };
        let function = call.funcid;
        Called { function, by }
    }

    /// The function as numbers, for a plan.
    pub fn encode<'p>(self) -> IntList<'p> {
        let has_structure = self.by == InvokedBy::FunctionWithStructure;
        IntList::of([self.function.to_u32() as i32, has_structure.into()])
    }

    /// Reads the numbers of a plan; `None` where they are of no call.
    pub fn decode(numbers: &[i32]) -> Option<Called> {
        let [function, has_structure] = numbers else {
            return None;
        };
        let by = match has_structure {
            1 => InvokedBy::FunctionWithStructure,
            _ => InvokedBy::Function,
        };
        let function = pg_sys::Oid::from(*function as u32);
        Some(Called { function, by })
    }
}

/// A call, and what it gives the input columns of the table that it is like.
pub struct Call<'p> {
    /// The function.
    pub called: Called,
    /// Input columns and their expressions.
    pub bindings: Vec<Binding<'p>>,
}

impl<'p> Call<'p> {
    /// Reads the call of a member of the range table; `None` where it is a table that the query names.
    pub fn of(entry: Entry<'p>, layout: &Layout) -> Option<Call<'p>> {
        Call::new(scanned_call(entry)?, layout)
    }

    /// A call that is like a scan of a table with that layout.
    pub fn new(call: FunctionCall<'p>, layout: &Layout) -> Option<Call<'p>> {
        let binding = |(column, expression): (Column, Node<'p>)| {
            // A null is no value, except that these two have to have one.
            let is_needed = matches!(column, Column::FunctionName | Column::Payload);
            (is_needed || !is_null(expression)).then_some(())?;
            Some(Binding {
                attribute: *layout.find(column)?,
                kind: Kind::NotDistinct,
                collation: pg_sys::DEFAULT_COLLATION_OID,
                expression: Some(expression),
                may_change: false,
            })
        };
        Some(Call {
            called: Called::of(call),
            bindings: inputs(call)?.into_iter().filter_map(binding).collect(),
        })
    }
}
