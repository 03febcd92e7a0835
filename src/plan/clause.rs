//! Recognises the clauses that give an input column its values.
//!
//! `column = x`, `column IS NOT DISTINCT FROM x`, `column = ANY (array)`, `column IS NULL`, and
//! `column = x OR column = y`, as `column IN (x, y)` becomes where x or y is not a constant; and a boolean column by itself. The
//! right side is not volatile and has no column of the table itself. Every other clause filters rows and is
//! left to the executor.

use super::relation::ForeignRel;
use crate::columns::{Attribute, Column};
use crate::postgres::expressions::{
    is_equality, is_equality_of_type, make_array, make_array_cat, make_boolean,
};
use crate::postgres::list::List;
use crate::postgres::refs::{Node, Ref};
use crate::postgres::{catalog, compat};
use pgrx::pg_sys;

/// How a binding's expression gives values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// `=`: one value, and none when it is null.
    Equal,
    /// `IS NOT DISTINCT FROM`: one value, which may be null.
    NotDistinct,
    /// `= ANY`: the elements that are not null.
    Any,
    /// `IS NULL`: null, and there is no expression.
    Null,
}

impl Kind {
    /// The kind with a number that `kind as i32` gave.
    pub fn from_number(number: i32) -> Option<Kind> {
        [Kind::Equal, Kind::NotDistinct, Kind::Any, Kind::Null]
            .into_iter()
            .find(|kind| *kind as i32 == number)
    }

    /// The kind as SQL writes it.
    pub fn operator(self) -> &'static str {
        match self {
            Kind::Equal => "=",
            Kind::NotDistinct => "IS NOT DISTINCT FROM",
            Kind::Any => "= ANY",
            Kind::Null => "IS NULL",
        }
    }
}

/// A clause that gives an input column its values.
#[derive(Clone, Copy)]
pub struct Binding<'p> {
    /// The column.
    pub attribute: Attribute,
    /// How.
    pub kind: Kind,
    /// The collation under which values are equal.
    pub collation: pg_sys::Oid,
    /// The right side, coerced to the type of the column's values, or to an array of it; `None` for [`Kind::Null`].
    pub expression: Option<Node<'p>>,
    /// Whether coercing may change a value, so that the clause has to be checked too.
    pub may_change: bool,
}

impl<'p> Binding<'p> {
    /// The right side; `None` for [`Kind::Null`].
    pub fn node(&self) -> Option<Node<'p>> {
        self.expression
    }
}

/// Recognises a binding in a clause of a scan.
pub fn classify<'p>(scan: ForeignRel<'p>, clause: Node<'p>) -> Option<Binding<'p>> {
    use pg_sys::NodeTag::{T_DistinctExpr, T_OpExpr};
    if let Some((column, value)) = boolean(scan, clause) {
        let (kind, expression) = match value {
            Some(value) => (Kind::Equal, Some(make_boolean(value))),
            None => (Kind::Null, None),
        };
        return Some(Binding {
            attribute: column,
            kind,
            collation: pg_sys::InvalidOid,
            expression,
            may_change: false,
        });
    }
    let (column, right, kind, collation) = if let Some(operation) = clause.cast_tagged(T_OpExpr) {
        let (column, right, collation) = equality(scan, operation)?;
        (column, right, Kind::Equal, collation)
    } else if let Some(boolean) = clause.cast::<pg_sys::BoolExpr>() {
        match boolean.boolop {
            pg_sys::BoolExprType::OR_EXPR => return any_of(scan, boolean.arguments()),
            pg_sys::BoolExprType::NOT_EXPR => (),
            _ => return None,
        }
        let distinct = boolean.arguments().get(0)?.cast_tagged(T_DistinctExpr)?;
        let (column, right, collation) = equality(scan, distinct)?;
        (column, right, Kind::NotDistinct, collation)
    } else if let Some(any) = clause.cast::<pg_sys::ScalarArrayOpExpr>() {
        let column = column_of(scan, any.arguments().get(0)?)?;
        if !any.useOr || !is_equality_for(&column, any.opno) {
            return None;
        }
        (column, any.arguments().get(1)?, Kind::Any, any.inputcollid)
    } else {
        let test = clause.cast::<pg_sys::NullTest>()?;
        if test.nulltesttype != pg_sys::NullTestType::IS_NULL {
            return None;
        }
        let column = column_of(scan, test.argument()?)?;
        return Some(Binding {
            attribute: column,
            kind: Kind::Null,
            collation: pg_sys::InvalidOid,
            expression: None,
            may_change: false,
        });
    };
    bind(scan, column, kind, collation, right)
}

/// Recognises a boolean column as a clause, and the value that it has then. PostgreSQL makes `column` of `column = true`, and `NOT column` of
/// `column = false`.
fn boolean(scan: ForeignRel, clause: Node) -> Option<(Attribute, Option<bool>)> {
    use pg_sys::BoolTestType::{IS_FALSE, IS_TRUE, IS_UNKNOWN};
    let (node, value) = if let Some(test) = clause.cast::<pg_sys::BooleanTest>() {
        let value = match test.booltesttype {
            IS_TRUE => Some(true),
            IS_FALSE => Some(false),
            IS_UNKNOWN => None,
            _ => return None,
        };
        (test.argument()?, value)
    } else if let Some(not) = clause.cast::<pg_sys::BoolExpr>() {
        let is_not = not.boolop == pg_sys::BoolExprType::NOT_EXPR;
        (not.arguments().get(0).filter(|_| is_not)?, Some(false))
    } else {
        (clause, Some(true))
    };
    let column = column_of(scan, node)?;
    (column.base_type == pg_sys::BOOLOID).then_some((column, value))
}

/// Binds a column to a value that is not volatile and does not come from the scan.
fn bind<'p>(
    scan: ForeignRel<'p>,
    column: Attribute,
    kind: Kind,
    collation: pg_sys::Oid,
    value: Node<'p>,
) -> Option<Binding<'p>> {
    if value.is_volatile() || scan.root.relids(value).contains(scan.rel.relid as i32) {
        return None;
    }
    let target = match kind {
        Kind::Any => array_type(&column),
        _ => value_type(&column),
    };
    let implicit = value.coerce(target);
    // A number of another size, for example. Columns with a name of their own take no such value.
    let assigned = || (column.column.part().is_some()).then(|| value.coerce_as_assigned(target));
    Some(Binding {
        attribute: column,
        kind,
        collation,
        expression: Some(implicit.or_else(|| assigned().flatten())?),
        may_change: implicit.is_none(),
    })
}

/// Whether an operator is equality of a column's values.
fn is_equality_for(column: &Attribute, operator: pg_sys::Oid) -> bool {
    match column.column.part() {
        Some(_) => is_equality_of_type(operator, value_type(column)),
        None => is_equality(operator),
    }
}

/// Recognises an OR of equalities of one column, as a list of their values.
fn any_of<'p>(scan: ForeignRel<'p>, arms: List<'p, pg_sys::Node>) -> Option<Binding<'p>> {
    let mut whole: Option<Binding> = None;
    for arm in arms.iter() {
        let mut binding = classify(scan, arm)?;
        let array_type = array_type(&binding.attribute);
        if binding.kind == Kind::Equal {
            let array = make_array(
                binding.expression?,
                value_type(&binding.attribute),
                array_type,
            );
            binding.expression = Some(array);
            binding.kind = Kind::Any;
        }
        whole = Some(match whole {
            None => binding,
            Some(whole)
                if binding.kind == Kind::Any
                    && whole.attribute.column == binding.attribute.column
                    && whole.collation == binding.collation =>
            {
                let joined = make_array_cat(whole.expression?, binding.expression?, array_type);
                Binding {
                    expression: Some(joined),
                    may_change: whole.may_change || binding.may_change,
                    ..whole
                }
            }
            _ => return None,
        });
    }
    whole.filter(|binding| binding.kind == Kind::Any)
}

fn array_type(attribute: &Attribute) -> pg_sys::Oid {
    match value_type(attribute) {
        pg_sys::JSONBOID => pg_sys::JSONBARRAYOID,
        pg_sys::TEXTOID => pg_sys::TEXTARRAYOID,
        other => match catalog::array_type(other) {
            // Arrays have no type of arrays of them. A list of them, which an OR makes, is an array of their type to the planner alone.
            pg_sys::InvalidOid => other,
            array_type => array_type,
        },
    }
}

/// Whether an expression is the given input column, perhaps with a relabelled type.
pub fn is_column(scan: ForeignRel, node: Node, column: Column) -> bool {
    column_of(scan, node).is_some_and(|found| found.column == column)
}

/// The two columns of an equality between input columns.
pub fn equal_inputs(scan: ForeignRel, clause: Node) -> Option<(Attribute, Attribute)> {
    let (column, other, _) = equality(scan, clause.cast_tagged(pg_sys::NodeTag::T_OpExpr)?)?;
    Some((column, column_of(scan, other)?))
}

/// Recognises an equality between an input column and another column of the same table.
pub fn equal_output<'p>(scan: ForeignRel<'p>, clause: Node<'p>) -> Option<(Attribute, Node<'p>)> {
    let (column, other, _) = equality(scan, clause.cast_tagged(pg_sys::NodeTag::T_OpExpr)?)?;
    let other = other.without_relabelling();
    let var = other.cast::<pg_sys::Var>()?;
    let is_output =
        var.varno as pg_sys::Index == scan.rel.relid && column_of(scan, other).is_none();
    is_output.then_some((column, other))
}

/// The value that `column = output` and `output = x` give an input column. PostgreSQL makes one clause of the two
/// that an equivalence class with both columns has.
pub fn given_through<'p>(
    scan: ForeignRel<'p>,
    column: Attribute,
    output: Node,
    clause: Node<'p>,
) -> Option<Binding<'p>> {
    let equality = clause.cast_tagged::<pg_sys::OpExpr>(pg_sys::NodeTag::T_OpExpr)?;
    if !is_equality_for(&column, equality.opno) {
        return None;
    }
    let (left, right) = (equality.arguments().get(0)?, equality.arguments().get(1)?);
    let is_output = |node: Node| node.without_relabelling().equals(output);
    let value = match (is_output(left), is_output(right)) {
        (true, false) => right,
        (false, true) => left,
        _ => return None,
    };
    bind(scan, column, Kind::Equal, equality.inputcollid, value)
}

/// The column and the other side of `column = x` or `x = column`, and the collation.
fn equality<'p>(
    scan: ForeignRel,
    operation: Ref<'p, pg_sys::OpExpr>,
) -> Option<(Attribute, Node<'p>, pg_sys::Oid)> {
    let (left, right) = (operation.arguments().get(0)?, operation.arguments().get(1)?);
    let (column, other) = match column_of(scan, left) {
        Some(column) => (column, right),
        None => (column_of(scan, right)?, left),
    };
    is_equality_for(&column, operation.opno).then_some((column, other, operation.inputcollid))
}

fn column_of(scan: ForeignRel, node: Node) -> Option<Attribute> {
    let mut node = node;
    let mut is_text_of_column = false;
    loop {
        if let Some(relabelled) = node.cast::<pg_sys::RelabelType>() {
            node = relabelled.argument()?;
        } else if let Some(converted) = node.cast::<pg_sys::CoerceViaIO>()
            && !is_text_of_column
        {
            is_text_of_column = true;
            node = converted.argument()?;
        } else if let Some(held) = compat::held_by_placeholder(node) {
            node = held;
        } else {
            break;
        }
    }
    let var = node.cast::<pg_sys::Var>()?;
    if var.varno as pg_sys::Index != scan.rel.relid
        || var.varlevelsup != 0
        || compat::is_nulled(var)
    {
        return None;
    }
    let attribute = *scan.relation.layout.attribute(var.varattno)?;
    // json has no equality. Its text is its value, so column::text stands for the column.
    let is_json = attribute.base_type == pg_sys::JSONOID;
    (attribute.column.is_input() && (!is_text_of_column || is_json)).then_some(attribute)
}

/// The type in which a column's values are compared. All kinds of text are one.
pub fn value_type(attribute: &Attribute) -> pg_sys::Oid {
    match attribute.base_type {
        pg_sys::JSONOID | pg_sys::VARCHAROID => pg_sys::TEXTOID,
        other => other,
    }
}
