//! Expression trees (primnodes.h, nodeFuncs.h, clauses.h).

use super::compat;
use super::list::{IntList, List};
use super::refs::{FromRaw, Node, Ref, Untyped, calls, fields, setters};
use super::relids::Relids;
use pgrx::{pg_guard, pg_sys};
use std::ffi::{CStr, c_void};

fields! {
    /// The arguments.
    OpExpr.args as arguments: List<'p, pg_sys::Node>;
    /// The arguments.
    BoolExpr.args as arguments: List<'p, pg_sys::Node>;
    /// The scalar and the array.
    ScalarArrayOpExpr.args as arguments: List<'p, pg_sys::Node>;
    /// The arguments.
    FuncExpr.args as arguments: List<'p, pg_sys::Node>;
    /// The tested expression.
    NullTest.arg as argument: Option<Node<'p>>;
    /// The tested expression.
    BooleanTest.arg as argument: Option<Node<'p>>;
    /// The relabelled expression.
    RelabelType.arg as argument: Option<Node<'p>>;
    /// The converted expression.
    CoerceViaIO.arg as argument: Option<Node<'p>>;
    /// The elements.
    ArrayExpr.elements as elements: List<'p, pg_sys::Node>;
    /// What the placeholder stands for.
    PlaceHolderVar.phexpr as expression: Option<Node<'p>>;
    /// The expression that is compared with each WHEN.
    CaseExpr.arg as argument: Option<Node<'p>>;
    /// The WHENs.
    CaseExpr.args as whens: List<'p, pg_sys::CaseWhen>;
    /// The condition.
    CaseWhen.expr as condition: Option<Node<'p>>;
    /// The arguments.
    CoalesceExpr.args as arguments: List<'p, pg_sys::Node>;
    /// The FILTER.
    Aggref.aggfilter as filter: Option<Node<'p>>;
    /// The FILTER.
    WindowFunc.aggfilter as filter: Option<Node<'p>>;
    /// The expression of a column.
    TargetEntry.expr as expression: Option<Node<'p>>;
    /// The executor parameters that the subplan sets.
    SubPlan.setParam as set_parameters: IntList<'p>;
    /// The executor parameters that the expression gives the subplan.
    SubPlan.parParam as given_parameters: IntList<'p>;
    /// The expressions of the parameters that the subplan is given.
    SubPlan.args as arguments: List<'p, pg_sys::Node>;
    /// The left side.
    JoinExpr.larg as left: Option<Node<'p>>;
    /// The right side.
    JoinExpr.rarg as right: Option<Node<'p>>;
    /// The expression of a function in FROM.
    RangeTblFunction.funcexpr as call: Option<Node<'p>>;
    /// The arguments.
    TableSampleClause.args as arguments: List<'p, pg_sys::Node>;
    /// The members of FROM.
    FromExpr.fromlist as members: List<'p, pg_sys::Node>;
}

setters! {
    /// Sets the expression of a column.
    TargetEntry.expr as set_expression: Node<'p>;
}

/// Where a walk goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Walk {
    /// To the nodes below this one.
    Into,
    /// To the next node that is not below this one.
    Over,
    /// Nowhere.
    Stop,
}

/// Calls a function for an expression, or a list of them, and for the nodes below. Returns whether the function has stopped the walk.
pub fn walk<'p>(node: Option<Node<'p>>, visit: &mut dyn FnMut(Node<'p>) -> Walk) -> bool {
    let mut visit = visit;
    // SAFETY: the walker gets a pointer to the function, which lives across the call.
    node.is_some_and(|node| unsafe { walker(node.as_ptr(), (&raw mut visit).cast()) })
}

/// A walker of expression trees (nodeFuncs.h).
#[pg_guard]
unsafe extern "C-unwind" fn walker(node: *mut pg_sys::Node, visit: *mut c_void) -> bool {
    // SAFETY: `walk` passes a function, which takes nodes of the walked tree and is not called while it runs. PostgreSQL passes null or an
    // expression of that tree.
    unsafe {
        let Some(found) = Option::<Node>::from_raw(node) else {
            return false;
        };
        match (*visit.cast::<&mut dyn FnMut(Node<'static>) -> Walk>())(found) {
            Walk::Into => pg_sys::expression_tree_walker(node, Some(walker), visit),
            Walk::Over => false,
            Walk::Stop => true,
        }
    }
}

/// A copy of an expression. A function gives what takes the place of a node in it, or `None` to go on with the nodes below.
pub fn change<'p>(
    node: Node<'p>,
    replace: &mut dyn FnMut(Node<'p>) -> Option<Node<'p>>,
) -> Node<'p> {
    let mut replace = replace;
    // SAFETY: the mutator gets a pointer to the function, which lives across the call. A node gives a node.
    unsafe { Ref::new(mutator(node.as_ptr(), (&raw mut replace).cast())) }
}

/// A mutator of expression trees (nodeFuncs.h).
#[pg_guard]
unsafe extern "C-unwind" fn mutator(
    node: *mut pg_sys::Node,
    replace: *mut c_void,
) -> *mut pg_sys::Node {
    // SAFETY: `change` passes a function, which takes nodes of the tree and is not called while it runs. PostgreSQL passes null or an expression of
    // that tree.
    unsafe {
        let Some(found) = Option::<Node>::from_raw(node) else {
            return node;
        };
        let replace_in = replace.cast::<&mut dyn FnMut(Node<'static>) -> Option<Node<'static>>>();
        match (*replace_in)(found) {
            Some(other) => other.as_ptr(),
            None => compat::mutate_children(node, mutator, replace),
        }
    }
}

/// Calls a function for the expressions of a query, and for the nodes below. Returns whether the function has stopped the walk.
pub fn walk_query<'p>(
    query: Ref<'p, pg_sys::Query>,
    visit: &mut dyn FnMut(Node<'p>) -> Walk,
) -> bool {
    let mut visit = visit;
    // SAFETY: the walker gets a pointer to the function, which lives across the call.
    unsafe { pg_sys::query_tree_walker(query.as_ptr(), Some(walker), (&raw mut visit).cast(), 0) }
}

calls! {
    /// Whether an expression, or one in a list, has a volatile function. PostgreSQL looks at targets and at clauses, too.
    pub fn is_volatile(node: Option<Node>) -> bool = contain_volatile_functions(node);
    /// Has an expression, or a list of them, read another relation instead of one. Nobody else has the expression.
    pub fn change_relation(node: Option<Node>, from: i32, to: i32) = ChangeVarNodes(node, from, to, 0);
    /// Adds to a set that nobody else has.
    fn add_columns(node: Option<Node>, relation: pg_sys::Index, columns: &mut Relids) = pull_varattnos(node, relation, columns);
    #[cfg(feature = "pg14")]
    fn var<'p>(relation: u32, column: i16, type_oid: pg_sys::Oid) -> Ref<'p, pg_sys::Var>
        = makeVar(relation, column, type_oid, -1, pg_sys::InvalidOid, 0);
    #[cfg(not(feature = "pg14"))]
    fn var<'p>(relation: i32, column: i16, type_oid: pg_sys::Oid) -> Ref<'p, pg_sys::Var>
        = makeVar(relation, column, type_oid, -1, pg_sys::InvalidOid, 0);
    fn operator_function(operator: pg_sys::Oid) -> pg_sys::Oid = get_opcode(operator);
    fn strategy(operator: pg_sys::Oid, family: pg_sys::Oid) -> i32 = get_op_opfamily_strategy(operator, family);
    /// Entries live as long as the backend.
    fn type_cache_entry(type_oid: pg_sys::Oid, parts: i32) -> Ref<'static, pg_sys::TypeCacheEntry> = lookup_type_cache(type_oid, parts);
    fn collation_of_type(type_oid: pg_sys::Oid) -> pg_sys::Oid = get_typcollation(type_oid);
    fn null_constant<'p>(type_oid: pg_sys::Oid, collation: pg_sys::Oid) -> Ref<'p, pg_sys::Const> = makeNullConst(type_oid, -1, collation);
    /// A constant boolean.
    fn boolean_constant<'p>(value: bool, is_null: bool) -> Node<'p> = makeBoolConst(value, is_null);
    /// 8 bytes are passed by value wherever PostgreSQL runs with 64 bits.
    fn bigint_constant<'p>(value: pg_sys::Datum) -> Ref<'p, pg_sys::Const>
        = makeConst(pg_sys::INT8OID, -1, pg_sys::InvalidOid, 8, value, false, true);
    fn new_text<'p>(text: &CStr) -> Ref<'p, pg_sys::varlena> = cstring_to_text(text);
    fn text_constant<'p>(value: pg_sys::Datum) -> Ref<'p, pg_sys::Const>
        = makeConst(pg_sys::TEXTOID, -1, pg_sys::DEFAULT_COLLATION_OID, -1, value, false, false);
    fn call<'p>(function: pg_sys::Oid, type_oid: pg_sys::Oid, arguments: List<'p, pg_sys::Node>, collation: pg_sys::Oid) -> Ref<'p, pg_sys::FuncExpr>
        = makeFuncExpr(function, type_oid, arguments, collation, pg_sys::InvalidOid, pg_sys::CoercionForm::COERCE_EXPLICIT_CALL);
    /// Without a parse state the coercion makes nothing but nodes.
    fn coerce_in<'p>(context: pg_sys::CoercionContext::Type, node: Node<'p>, found: pg_sys::Oid, target: pg_sys::Oid) -> Option<Node<'p>>
        = coerce_to_target_type(
            None,
            node,
            found,
            target,
            -1,
            context,
            pg_sys::CoercionForm::COERCE_IMPLICIT_CAST,
            -1,
        );
}

impl<'p> Node<'p> {
    calls! {
        /// Whether the expression has a volatile function.
        pub fn is_volatile(self) -> bool = contain_volatile_functions(self);
        /// Whether the expression has a subplan.
        pub fn has_subplans(self) -> bool = contain_subplans(self);
        /// The expression's type.
        pub fn type_oid(self) -> pg_sys::Oid = exprType(self);
        /// The expression's collation.
        pub fn collation(self) -> pg_sys::Oid = exprCollation(self);
        /// Whether both are the same expression, as PostgreSQL compares them.
        pub fn equals(self, other: Node) -> bool = equal(Untyped::from(self), Untyped::from(other));
        /// A copy in the current memory context.
        pub fn copy(self) -> Node<'p> = copyObjectImpl(Untyped::from(self)).cast();
        /// The relations that an expression of a plan reads. Placeholders, which need a planner, are in none.
        pub fn relids_in_plan(self) -> Relids<'p> = pull_varnos(None, self);
    }

    /// Whether the expression has a subquery, planned or not.
    pub fn has_subqueries(self) -> bool {
        let is_subquery = |node: Node| {
            node.cast::<pg_sys::SubLink>().is_some()
                || node.cast::<pg_sys::SubPlan>().is_some()
                || node.cast::<pg_sys::AlternativeSubPlan>().is_some()
        };
        walk(Some(self), &mut |node| match is_subquery(node) {
            true => Walk::Stop,
            false => Walk::Into,
        })
    }

    /// The expression in another type, or `None` where there is no implicit cast.
    pub fn coerce(self, target: pg_sys::Oid) -> Option<Node<'p>> {
        let found = self.type_oid();
        if found == target {
            return Some(self);
        }
        coerce_in(
            pg_sys::CoercionContext::COERCION_IMPLICIT,
            self,
            found,
            target,
        )
    }

    /// The expression in another type as INSERT converts it, which may change the value; `None` where there is no such cast.
    pub fn coerce_as_assigned(self, target: pg_sys::Oid) -> Option<Node<'p>> {
        coerce_in(
            pg_sys::CoercionContext::COERCION_ASSIGNMENT,
            self,
            self.type_oid(),
            target,
        )
    }

    /// The expression without changes of its type's name.
    pub fn without_relabelling(self) -> Node<'p> {
        let mut node = self;
        while let Some(below) =
            (node.cast::<pg_sys::RelabelType>()).and_then(|relabelled| relabelled.argument())
        {
            node = below;
        }
        node
    }

    /// The numbers of a relation's columns that the expression reads, 0 for the whole row.
    pub fn columns(self, relation: pg_sys::Index) -> Vec<i32> {
        columns(Some(self), relation)
    }
}

/// The numbers of a relation's columns that an expression, or a list of them, reads, 0 for the whole row.
pub fn columns(node: Option<Node>, relation: pg_sys::Index) -> Vec<i32> {
    let mut set = Relids::EMPTY;
    add_columns(node, relation, &mut set);
    set.iter()
        .map(|member| member + pg_sys::FirstLowInvalidHeapAttributeNumber)
        .collect()
}

/// Whether an operator is PostgreSQL's own equality of text or jsonb.
pub fn is_equality(operator: pg_sys::Oid) -> bool {
    let function = operator_function(operator).to_u32();
    [
        pg_sys::F_TEXTEQ,
        pg_sys::F_TEXTEQNAME,
        pg_sys::F_NAMEEQTEXT,
        pg_sys::F_JSONB_EQ,
    ]
    .contains(&function)
}

/// Whether an operator is equality of a type in the type's own order or hash, also with values of another type.
pub fn is_equality_of_type(operator: pg_sys::Oid, type_oid: pg_sys::Oid) -> bool {
    let parts = pg_sys::TYPECACHE_BTREE_OPFAMILY | pg_sys::TYPECACHE_HASH_OPFAMILY;
    let entry = type_cache_entry(type_oid, parts as i32);
    let is_in = |family, equality: u32| {
        family != pg_sys::InvalidOid && strategy(operator, family) as u32 == equality
    };
    is_in(entry.btree_opf, pg_sys::BTEqualStrategyNumber)
        || is_in(entry.hash_opf, pg_sys::HTEqualStrategyNumber)
}

/// A column of a relation, without a type modifier or collation.
pub fn make_var<'p>(relation: i32, column: i16, type_oid: pg_sys::Oid) -> Node<'p> {
    var(relation as _, column, type_oid).as_node()
}

/// A field of a composite value.
pub fn make_field<'p>(composite: Node<'p>, number: i16, type_oid: pg_sys::Oid) -> Node<'p> {
    let mut field = pg_sys::FieldSelect::default();
    field.xpr.type_ = pg_sys::NodeTag::T_FieldSelect;
    field.arg = composite.as_ptr().cast();
    field.fieldnum = number;
    field.resulttype = type_oid;
    field.resulttypmod = -1;
    field.resultcollid = collation_of_type(type_oid);
    Ref::allocate(field).as_node()
}

/// A value as text that is read as a value of another type.
pub fn make_conversion<'p>(value: Node<'p>, type_oid: pg_sys::Oid) -> Node<'p> {
    let mut conversion = pg_sys::CoerceViaIO::default();
    conversion.xpr.type_ = pg_sys::NodeTag::T_CoerceViaIO;
    conversion.arg = value.as_ptr().cast();
    conversion.resulttype = type_oid;
    conversion.resultcollid = collation_of_type(type_oid);
    conversion.coerceformat = pg_sys::CoercionForm::COERCE_EXPLICIT_CAST;
    conversion.location = -1;
    Ref::allocate(conversion).as_node()
}

/// Whether a value that is no row is not null.
pub fn make_is_not_null<'p>(value: Node<'p>) -> Node<'p> {
    let mut test = pg_sys::NullTest::default();
    test.xpr.type_ = pg_sys::NodeTag::T_NullTest;
    test.arg = value.as_ptr().cast();
    test.nulltesttype = pg_sys::NullTestType::IS_NOT_NULL;
    test.location = -1;
    Ref::allocate(test).as_node()
}

/// A value if a condition is true, and null otherwise.
pub fn make_case<'p>(condition: Node<'p>, value: Node<'p>) -> Node<'p> {
    let mut when = pg_sys::CaseWhen::default();
    when.xpr.type_ = pg_sys::NodeTag::T_CaseWhen;
    when.expr = condition.as_ptr().cast();
    when.result = value.as_ptr().cast();
    when.location = -1;
    let mut case = pg_sys::CaseExpr::default();
    case.xpr.type_ = pg_sys::NodeTag::T_CaseExpr;
    case.casetype = value.type_oid();
    case.casecollid = value.collation();
    case.args = List::of([Ref::allocate(when).as_node()]).as_ptr();
    case.defresult = make_null(value.type_oid()).as_ptr().cast();
    case.location = -1;
    Ref::allocate(case).as_node()
}

/// A null.
pub fn make_null<'p>(type_oid: pg_sys::Oid) -> Node<'p> {
    null_constant(type_oid, collation_of_type(type_oid)).as_node()
}

/// A constant boolean.
pub fn make_boolean<'p>(value: bool) -> Node<'p> {
    boolean_constant(value, false)
}

/// A constant bigint.
pub fn make_bigint<'p>(number: i64) -> Node<'p> {
    bigint_constant(pg_sys::Datum::from(number)).as_node()
}

/// A constant text.
pub fn make_text<'p>(text: &CStr) -> Node<'p> {
    text_constant(pg_sys::Datum::from(new_text(text).as_ptr())).as_node()
}

/// An array of one element.
pub fn make_array<'p>(
    element: Node<'p>,
    element_type: pg_sys::Oid,
    array_type: pg_sys::Oid,
) -> Node<'p> {
    let mut array = pg_sys::ArrayExpr::default();
    array.xpr.type_ = pg_sys::NodeTag::T_ArrayExpr;
    array.array_typeid = array_type;
    array.array_collid = element.collation();
    array.element_typeid = element_type;
    array.elements = List::of([element]).as_ptr();
    array.location = -1;
    Ref::allocate(array).as_node()
}

/// The elements of two arrays, one behind the other. PostgreSQL takes a null array for an empty one.
pub fn make_array_cat<'p>(first: Node<'p>, second: Node<'p>, array_type: pg_sys::Oid) -> Node<'p> {
    let function = pg_sys::Oid::from(pg_sys::F_ARRAY_CAT);
    let arguments = List::of([first, second]);
    call(function, array_type, arguments, second.collation()).as_node()
}

/// How many elements a constant array has.
pub fn array_length(constant: Ref<pg_sys::Const>) -> u32 {
    if constant.constisnull {
        return 0;
    }
    // SAFETY: the constant is an array, as its type says, and not null. Behind the header are the dimensions.
    unsafe {
        let array = pg_sys::pg_detoast_datum(constant.constvalue.cast_mut_ptr());
        let array = array.cast::<pg_sys::ArrayType>();
        let dimensions = array.add(1).cast::<i32>();
        pg_sys::ArrayGetNItems((*array).ndim, dimensions).max(0) as u32
    }
}
