//! Recognises the clauses that give an input column its values.
//!
//! `column = x`, `column IS NOT DISTINCT FROM x`, `column = ANY (array)`, `column IS NULL`, and
//! `column = x OR column = y`, which is what `column IN (x, y)` becomes where x or y is not a constant. The
//! right side is not volatile and holds no column of the table itself. Everything else filters rows and is
//! left to the executor.

use crate::columns::{Attribute, Column, Layout};
use crate::postgres::compat;
use crate::postgres::nodes;
use pgrx::{PgBox, is_a, pg_sys};

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
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// The column.
    pub attribute: Attribute,
    /// How.
    pub kind: Kind,
    /// The collation under which values are equal.
    pub collation: pg_sys::Oid,
    /// The right side, coerced to text or jsonb, or to an array of it; null for [`Kind::Null`].
    pub expression: *mut pg_sys::Node,
}

/// Recognises a binding in a clause of the relation with number `relid`.
///
/// # Safety
/// `root` and `clause` are the planner's.
pub unsafe fn classify(
    root: *mut pg_sys::PlannerInfo,
    relid: pg_sys::Index,
    layout: &Layout,
    clause: *mut pg_sys::Node,
) -> Option<Binding> {
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        let (column, right, kind, collation) = if is_a(clause, pg_sys::NodeTag::T_OpExpr) {
            let (column, right, collation) = equality(relid, layout, clause.cast())?;
            (column, right, Kind::Equal, collation)
        } else if is_a(clause, pg_sys::NodeTag::T_BoolExpr) {
            let boolean = &*clause.cast::<pg_sys::BoolExpr>();
            if boolean.boolop == pg_sys::BoolExprType::OR_EXPR {
                return either(root, relid, layout, boolean.args);
            }
            if boolean.boolop != pg_sys::BoolExprType::NOT_EXPR {
                return None;
            }
            let distinct = nodes::nth(boolean.args, 0)?;
            if !is_a(distinct, pg_sys::NodeTag::T_DistinctExpr) {
                return None;
            }
            let (column, right, collation) = equality(relid, layout, distinct.cast())?;
            (column, right, Kind::NotDistinct, collation)
        } else if is_a(clause, pg_sys::NodeTag::T_ScalarArrayOpExpr) {
            let any = &*clause.cast::<pg_sys::ScalarArrayOpExpr>();
            if !any.useOr || !is_equality(any.opno) {
                return None;
            }
            let column = column_of(relid, layout, nodes::nth(any.args, 0)?)?;
            (column, nodes::nth(any.args, 1)?, Kind::Any, any.inputcollid)
        } else if is_a(clause, pg_sys::NodeTag::T_NullTest) {
            let test = &*clause.cast::<pg_sys::NullTest>();
            if test.nulltesttype != pg_sys::NullTestType::IS_NULL || test.argisrow {
                return None;
            }
            return Some(Binding {
                attribute: column_of(relid, layout, test.arg.cast())?,
                kind: Kind::Null,
                collation: pg_sys::InvalidOid,
                expression: std::ptr::null_mut(),
            });
        } else {
            return None;
        };
        if pg_sys::contain_volatile_functions(right)
            || pg_sys::bms_is_member(relid as _, compat::pull_varnos(root, right))
        {
            return None;
        }
        Some(Binding {
            attribute: column,
            kind,
            collation,
            expression: coerce(right, column, kind)?,
        })
    }
}

/// Recognises an OR of equalities of one column, as a list of their values.
unsafe fn either(
    root: *mut pg_sys::PlannerInfo,
    relid: pg_sys::Index,
    layout: &Layout,
    arms: *mut pg_sys::List,
) -> Option<Binding> {
    // SAFETY: the arms are expressions of the planner's. array_cat takes a null array for an empty one.
    unsafe {
        let mut whole: Option<Binding> = None;
        for arm in nodes::pointers(arms) {
            let mut binding = classify(root, relid, layout, arm)?;
            let element_type = value_type(&binding.attribute);
            let array_type = array_type(&binding.attribute);
            if binding.kind == Kind::Equal {
                let array =
                    PgBox::<pg_sys::ArrayExpr>::alloc_node(pg_sys::NodeTag::T_ArrayExpr).into_pg();
                (*array).array_typeid = array_type;
                (*array).array_collid = pg_sys::exprCollation(binding.expression);
                (*array).element_typeid = element_type;
                (*array).elements =
                    pg_sys::lappend(std::ptr::null_mut(), binding.expression.cast());
                (*array).location = -1;
                binding.kind = Kind::Any;
                binding.expression = array.cast();
            }
            whole = Some(match whole {
                None => binding,
                Some(whole)
                    if binding.kind == Kind::Any
                        && whole.attribute.column == binding.attribute.column
                        && whole.collation == binding.collation =>
                {
                    let arguments = pg_sys::lappend(std::ptr::null_mut(), whole.expression.cast());
                    let arguments = pg_sys::lappend(arguments, binding.expression.cast());
                    let joined = pg_sys::makeFuncExpr(
                        pg_sys::Oid::from(pg_sys::F_ARRAY_CAT),
                        array_type,
                        arguments,
                        pg_sys::exprCollation(binding.expression),
                        pg_sys::InvalidOid,
                        pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
                    );
                    Binding {
                        expression: joined.cast(),
                        ..whole
                    }
                }
                _ => return None,
            });
        }
        whole.filter(|binding| binding.kind == Kind::Any)
    }
}

fn array_type(attribute: &Attribute) -> pg_sys::Oid {
    match value_type(attribute) {
        pg_sys::JSONBOID => pg_sys::JSONBARRAYOID,
        _ => pg_sys::TEXTARRAYOID,
    }
}

/// Whether an expression is the given input column, perhaps with a relabelled type.
///
/// # Safety
/// `node` is an expression of the planner's.
pub unsafe fn is_column(
    relid: pg_sys::Index,
    layout: &Layout,
    node: *mut pg_sys::Node,
    column: Column,
) -> bool {
    // SAFETY: see above.
    unsafe { column_of(relid, layout, node) }.is_some_and(|found| found.column == column)
}

/// The two columns of an equality between input columns.
///
/// # Safety
/// `node` is a clause of the planner's.
pub unsafe fn equal_inputs(
    relid: pg_sys::Index,
    layout: &Layout,
    node: *mut pg_sys::Node,
) -> Option<(Attribute, Attribute)> {
    // SAFETY: the cast follows the node's own tag.
    unsafe {
        if !is_a(node, pg_sys::NodeTag::T_OpExpr) {
            return None;
        }
        let (column, other, _) = equality(relid, layout, node.cast())?;
        Some((column, column_of(relid, layout, other)?))
    }
}

/// Recognises an equality between an input column and another column of the same table.
///
/// # Safety
/// `node` is a clause of the planner's.
pub unsafe fn equal_output(
    relid: pg_sys::Index,
    layout: &Layout,
    node: *mut pg_sys::Node,
) -> Option<(Attribute, *mut pg_sys::Node)> {
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        if !is_a(node, pg_sys::NodeTag::T_OpExpr) {
            return None;
        }
        let (column, other, _) = equality(relid, layout, node.cast())?;
        let var = stripped(other);
        let is_output = is_a(var, pg_sys::NodeTag::T_Var)
            && (*var.cast::<pg_sys::Var>()).varno as pg_sys::Index == relid
            && column_of(relid, layout, var).is_none();
        is_output.then_some((column, var))
    }
}

/// What `column = x` gives an input column where that equals `output`, and the clause is `output = x`. PostgreSQL makes one clause of the two
/// that an equivalence class with both columns has.
///
/// # Safety
/// All are the planner's.
pub unsafe fn given_through(
    root: *mut pg_sys::PlannerInfo,
    relid: pg_sys::Index,
    column: Attribute,
    output: *mut pg_sys::Node,
    clause: *mut pg_sys::Node,
) -> Option<Binding> {
    // SAFETY: each cast follows the node's own tag; an equality has two arguments.
    unsafe {
        if !is_a(clause, pg_sys::NodeTag::T_OpExpr) {
            return None;
        }
        let equality = &*clause.cast::<pg_sys::OpExpr>();
        if !is_equality(equality.opno) {
            return None;
        }
        let (left, right) = (nodes::nth(equality.args, 0)?, nodes::nth(equality.args, 1)?);
        let is_output = |node| pg_sys::equal(stripped(node).cast(), output.cast());
        let given = match (is_output(left), is_output(right)) {
            (true, false) => right,
            (false, true) => left,
            _ => return None,
        };
        if pg_sys::contain_volatile_functions(given)
            || pg_sys::bms_is_member(relid as _, compat::pull_varnos(root, given))
        {
            return None;
        }
        Some(Binding {
            attribute: column,
            kind: Kind::Equal,
            collation: equality.inputcollid,
            expression: coerce(given, column, Kind::Equal)?,
        })
    }
}

/// An expression without what changes nothing but its type's name.
unsafe fn stripped(node: *mut pg_sys::Node) -> *mut pg_sys::Node {
    let mut node = node;
    // SAFETY: the cast follows the node's own tag.
    unsafe {
        while is_a(node, pg_sys::NodeTag::T_RelabelType) {
            node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
        }
    }
    node
}

/// The column and the other side of `column = x` or `x = column`, and the collation.
unsafe fn equality(
    relid: pg_sys::Index,
    layout: &Layout,
    expression: *mut pg_sys::OpExpr,
) -> Option<(Attribute, *mut pg_sys::Node, pg_sys::Oid)> {
    // SAFETY: OpExpr and DistinctExpr are one structure, with two arguments for an equality.
    unsafe {
        let expression = &*expression;
        if !is_equality(expression.opno) {
            return None;
        }
        let (left, right) = (
            nodes::nth(expression.args, 0)?,
            nodes::nth(expression.args, 1)?,
        );
        let (column, other) = match column_of(relid, layout, left) {
            Some(column) => (column, right),
            None => (column_of(relid, layout, right)?, left),
        };
        Some((column, other, expression.inputcollid))
    }
}

/// Whether an operator is PostgreSQL's own equality of text or jsonb.
unsafe fn is_equality(operator: pg_sys::Oid) -> bool {
    // SAFETY: a catalog look-up.
    let function = unsafe { pg_sys::get_opcode(operator) }.to_u32();
    [
        pg_sys::F_TEXTEQ,
        pg_sys::F_TEXTEQNAME,
        pg_sys::F_NAMEEQTEXT,
        pg_sys::F_JSONB_EQ,
    ]
    .contains(&function)
}

unsafe fn column_of(
    relid: pg_sys::Index,
    layout: &Layout,
    node: *mut pg_sys::Node,
) -> Option<Attribute> {
    // SAFETY: each cast follows the node's own tag.
    unsafe {
        let mut node = node;
        let mut through_text = false;
        loop {
            if is_a(node, pg_sys::NodeTag::T_RelabelType) {
                node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
            } else if is_a(node, pg_sys::NodeTag::T_CoerceViaIO) && !through_text {
                through_text = true;
                node = (*node.cast::<pg_sys::CoerceViaIO>()).arg.cast();
            } else if let Some(held) = compat::held_by_placeholder(node) {
                node = held;
            } else {
                break;
            }
        }
        if !is_a(node, pg_sys::NodeTag::T_Var) {
            return None;
        }
        let var = &*node.cast::<pg_sys::Var>();
        if var.varno as pg_sys::Index != relid || var.varlevelsup != 0 || compat::is_nulled(var) {
            return None;
        }
        let attribute = *layout.attribute(var.varattno)?;
        // json has no equality of its own; its text is its value, so column::text stands for it.
        (attribute.column.is_input() && (!through_text || attribute.base_type == pg_sys::JSONOID))
            .then_some(attribute)
    }
}

/// The type in which a column's values are compared and sent.
pub fn value_type(attribute: &Attribute) -> pg_sys::Oid {
    if attribute.base_type == pg_sys::JSONBOID {
        pg_sys::JSONBOID
    } else {
        pg_sys::TEXTOID
    }
}

unsafe fn coerce(
    expression: *mut pg_sys::Node,
    attribute: Attribute,
    kind: Kind,
) -> Option<*mut pg_sys::Node> {
    let target = match kind {
        Kind::Any => array_type(&attribute),
        _ => value_type(&attribute),
    };
    // SAFETY: an expression has a type, and without a parse state the coercion adds nothing but nodes.
    unsafe {
        let found = pg_sys::exprType(expression);
        if found == target {
            return Some(expression);
        }
        let coerced = pg_sys::coerce_to_target_type(
            std::ptr::null_mut(),
            expression,
            found,
            target,
            -1,
            pg_sys::CoercionContext::COERCION_IMPLICIT,
            pg_sys::CoercionForm::COERCE_IMPLICIT_CAST,
            -1,
        );
        (!coerced.is_null()).then_some(coerced)
    }
}
