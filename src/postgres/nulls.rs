//! Which columns need a value for clauses to be true.

use super::compat;
use super::expressions::change;
use super::list::List;
use super::planner::Clause;
use super::refs::{Node, Ref, fields, setters};
use pgrx::pg_sys;

fields! {
    /// The array or jsonb.
    SubscriptingRef.refexpr as whole: Option<Node<'p>>;
    /// The composite value.
    FieldSelect.arg as whole: Option<Node<'p>>;
}

impl Ref<'_, pg_sys::SubscriptingRef> {
    /// Whether it is no slice. A slice may have no elements, and then `<> ALL` of it is true for a null.
    fn is_element(self) -> bool {
        self.reflowerindexpr.is_null()
    }
}

setters! {
    NullTest.argisrow as set_of_row: bool;
}

/// Whether clauses can be true together only if a column is not null.
pub fn refuse_null(clauses: &[Clause], relid: pg_sys::Index, column: i16) -> bool {
    let expressions = clauses.iter().filter_map(|clause| clause.expression());
    compat::refuse_null(List::of(expressions.map(with_wholes)), relid, column)
}

/// Whether an expression, which is no clause, is null where a column is.
pub fn is_null_with(expression: Node, relid: pg_sys::Index, column: i16) -> bool {
    // PostgreSQL takes an expression for a clause, which may be false in place of null. It does not so with the argument of a coercion.
    let mut coerced = pg_sys::CoerceViaIO::default();
    coerced.xpr.type_ = pg_sys::NodeTag::T_CoerceViaIO;
    coerced.arg = with_wholes(expression).as_ptr().cast();
    compat::refuse_null(List::of([Ref::allocate(coerced).as_node()]), relid, column)
}

/// A copy that has a value in place of its elements and fields, as PostgreSQL's analysis does not know that these are null where the value is.
/// It is not evaluated.
fn with_wholes(expression: Node) -> Node {
    change(expression, &mut |node| {
        let element = node
            .cast::<pg_sys::SubscriptingRef>()
            .filter(|it| it.is_element());
        let field = node.cast::<pg_sys::FieldSelect>();
        let whole = (element.and_then(|it| it.whole())).or_else(|| field?.whole());
        if let Some(whole) = whole {
            return Some(with_wholes(whole));
        }
        // A null row is not "not null".
        let test = node
            .cast::<pg_sys::NullTest>()
            .filter(|test| test.argisrow)?;
        let copy: Ref<pg_sys::NullTest> = test.duplicate();
        copy.set_of_row(false);
        Some(with_wholes(copy.as_node()))
    })
}
