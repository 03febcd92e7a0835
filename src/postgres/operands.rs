//! Expressions that evaluate all of their operands whenever they are evaluated (execExpr.c), with others in the place of these.

use super::list::List;
use super::planner::Root;
use super::refs::{Node, Ref, fields, setters};
use pgrx::pg_sys;

/// Defines [`Node::operands`] and [`Node::with_operands`] for kinds of expressions with a list of operands, and for those with one.
macro_rules! operands {
    (lists { $($list:ident.$operands:ident;)* } single { $($single:ident.$operand:ident;)* }) => {
        fields! {
            $(/// The operands.
            $list.$operands as operands: List<'p, pg_sys::Node>;)*
            $(/// The operand.
            $single.$operand as operand: Option<Node<'p>>;)*
        }
        setters! {
            $(/// Sets the operands.
            $list.$operands as set_operands: List<'p, pg_sys::Node>;)*
            $(/// Sets the operand.
            $single.$operand as set_operand: Node<'p>;)*
        }

        impl<'p> Node<'p> {
            /// The operands of an expression of these kinds; none of another, which may leave some out.
            pub fn operands(self) -> Vec<Node<'p>> {
                if !has_constant_subscripts(self) {
                    return Vec::new();
                }
                $(if let Some(node) = self.cast::<pg_sys::$list>() {
                    return node.operands().iter().collect();
                })*
                $(if let Some(node) = self.cast::<pg_sys::$single>() {
                    return node.operand().into_iter().collect();
                })*
                Vec::new()
            }

            /// A copy of an expression of these kinds, with what a function gives for each operand. Another expression stays as it is.
            pub fn with_operands(self, change: &mut dyn FnMut(Node<'p>) -> Node<'p>) -> Node<'p> {
                $(if let Some(node) = self.cast::<pg_sys::$list>() {
                    let copy = node.duplicate();
                    copy.set_operands(List::of(node.operands().iter().map(change)));
                    return copy.as_node();
                })*
                $(if let Some(node) = self.cast::<pg_sys::$single>() {
                    let copy = node.duplicate();
                    if let Some(operand) = node.operand() {
                        copy.set_operand(change(operand));
                    }
                    return copy.as_node();
                })*
                self
            }
        }
    };
}

operands! {
    lists {
        FuncExpr.args;
        OpExpr.args;
        ScalarArrayOpExpr.args;
        MinMaxExpr.args;
        RowExpr.args;
        ArrayExpr.elements;
    }
    single {
        FieldSelect.arg;
        RelabelType.arg;
        CoerceViaIO.arg;
        CoerceToDomain.arg;
        ConvertRowtypeExpr.arg;
        CollateExpr.arg;
        NullTest.arg;
        BooleanTest.arg;
        SubscriptingRef.refexpr;
    }
}

fields! {
    SubscriptingRef.refupperindexpr as upper: List<'p, pg_sys::Node>;
    SubscriptingRef.reflowerindexpr as lower: List<'p, pg_sys::Node>;
}

/// Whether the subscripts of an expression, if it has any, are constants. They are not evaluated where there is nothing to take an element of.
fn has_constant_subscripts(node: Node) -> bool {
    let Some(subscripting) = node.cast::<pg_sys::SubscriptingRef>() else {
        return true;
    };
    let mut subscripts = (subscripting.upper().iter()).chain(subscripting.lower().iter());
    subscripting.refassgnexpr.is_null()
        && subscripts.all(|subscript| subscript.cast::<pg_sys::Const>().is_some())
}

impl<'p> Root<'p> {
    /// A placeholder for an expression, which is equal to no other.
    pub fn make_placeholder(self, expression: Node<'p>) -> Option<Node<'p>> {
        let global = self.global()?;
        // SAFETY: the planner's structure is valid, and no reference to it is held.
        let number = unsafe {
            (*global.as_ptr()).lastPHId += 1;
            (*global.as_ptr()).lastPHId
        };
        let mut placeholder = pg_sys::PlaceHolderVar::default();
        placeholder.xpr.type_ = pg_sys::NodeTag::T_PlaceHolderVar;
        placeholder.phexpr = expression.as_ptr().cast();
        placeholder.phid = number;
        Some(Ref::allocate(placeholder).as_node())
    }
}
