//! The values that a scan's clauses give an input column: evaluated, made distinct, and intersected.
//!
//! Values keep the order of their first occurrence. Equality is PostgreSQL's, in the collation of the clause. The meaning of a value to
//! Lambda is request.rs's.

use crate::columns::{Attribute, Column};
use crate::error::Error;
use crate::memory;
use crate::plan::clause::{Binding, Kind, value_type};
use crate::postgres::executor::{ExprContext, Expression};
use crate::postgres::plans::PlanState;
use crate::postgres::varlena::comparer::Comparer;
use crate::postgres::varlena::elements::Elements;
use crate::postgres::varlena::{Toasted, Varlena};
use pgrx::pg_sys;
use smallvec::{SmallVec, smallvec};
use std::num::NonZeroU32;

/// A value of an input column, in the memory context of its set.
#[derive(Clone, Copy)]
pub struct Value {
    /// `None` is null: not given.
    pub datum: Option<Varlena>,
    /// Where the datum is.
    pub place: Place,
    /// Bytes of a value that is too large to be sent, and so has no datum. It equals no other. A list may have millions of values, so this is small.
    too_large: Option<NonZeroU32>,
}

/// Where a value's datum is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A copy that belongs to the value alone, in the memory context of its set.
    Own,
    /// A part of something in that memory context.
    Set,
    /// Memory that may be freed before.
    Elsewhere,
}

/// Values of a column, which often has one.
pub type Values = SmallVec<[Value; 1]>;

impl Value {
    /// Null.
    pub const NULL: Value = Value {
        datum: None,
        place: Place::Elsewhere,
        too_large: None,
    };

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.datum.is_none() && self.too_large.is_none()
    }

    /// The value of a text that an option gives.
    pub fn of_text(text: &str) -> Value {
        Value::of(Varlena::of_text(text), Place::Own)
    }

    /// A value of a row that is there as long as the value is used.
    pub fn of_row(datum: Toasted) -> Value {
        Value::of(datum.detoast(), Place::Elsewhere)
    }

    /// A single value may have megabytes. Unless it is to be `copied`, it stays where it is. Of a value with more than `most` bytes only the
    /// size is kept.
    fn new(datum: Toasted, copied: bool, most: usize) -> Value {
        if let Some(too_large) = Value::of_size(datum, most) {
            return too_large;
        }
        if copied {
            return Value::of(datum.copy(), Place::Own);
        }
        Value::detoasted(datum, Place::Elsewhere)
    }

    /// An element of an array that is in the memory context of the set.
    fn of_element(datum: Toasted, most: usize) -> Value {
        Value::of_size(datum, most).unwrap_or_else(|| Value::detoasted(datum, Place::Set))
    }

    fn of_size(datum: Toasted, most: usize) -> Option<Value> {
        let bytes = datum.longer_than(most)?;
        // No value of PostgreSQL's has more than a gigabyte.
        Some(Value {
            too_large: NonZeroU32::new(u32::try_from(bytes).unwrap_or(u32::MAX)),
            ..Value::NULL
        })
    }

    /// Bytes of a value that is too large to be sent.
    pub fn too_large(&self) -> Option<usize> {
        self.too_large.map(|bytes| bytes.get() as usize)
    }

    fn detoasted(datum: Toasted, place: Place) -> Value {
        let whole = datum.detoast();
        Value::of(whole, if datum.is(whole) { place } else { Place::Own })
    }

    fn of(datum: Varlena, place: Place) -> Value {
        Value {
            datum: Some(datum),
            place,
            ..Value::NULL
        }
    }

    /// The printed form, in UTF-8.
    ///
    /// Errors where there is no memory for it.
    pub fn print(&self) -> Result<Option<Vec<u8>>, Error> {
        self.datum.map(Varlena::print).transpose()
    }

    fn hash(&self, comparer: &Comparer) -> u32 {
        self.datum.map_or(0, |datum| comparer.hash(datum))
    }

    fn equals(&self, other: &Value, comparer: &Comparer) -> bool {
        match (self.datum, other.datum) {
            (Some(a), Some(b)) => comparer.equal(a, b),
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

/// Finds equal values among others. Sorted hashes take less time than a hash table, whose memory is not in the processor's cache.
struct Index<'a> {
    comparer: &'a Comparer,
    values: &'a [Value],
    /// The hash of each value, and behind it the value's position. An array has fewer elements than a `u32` can count.
    hashes: Vec<u64>,
}

/// Most numbers that are sorted without a look for interrupts.
const MOST_SORTED: usize = 1 << 20;

impl<'a> Index<'a> {
    fn new(comparer: &'a Comparer, values: &'a [Value]) -> Index<'a> {
        let mut hashes = Vec::with_capacity(values.len());
        for (position, value) in (0u64..).zip(values) {
            pgrx::check_for_interrupts!();
            if value.too_large.is_none() {
                hashes.push(u64::from(value.hash(comparer)) << 32 | position);
            }
        }
        sort(&mut hashes);
        Index {
            comparer,
            values,
            hashes,
        }
    }

    fn value(&self, hash: u64) -> &'a Value {
        &self.values[hash as u32 as usize]
    }

    /// The positions of values that equal one before them, in ascending order.
    fn repeated(&self) -> Vec<u32> {
        let mut repeated = Vec::new();
        for same in self.hashes.chunk_by(|a, b| a >> 32 == b >> 32) {
            let mut first: SmallVec<[&Value; 1]> = SmallVec::new();
            for hash in same {
                let value = self.value(*hash);
                match (first.iter()).any(|known| known.equals(value, self.comparer)) {
                    true => repeated.push(*hash as u32),
                    false => first.push(value),
                }
                pgrx::check_for_interrupts!();
            }
        }
        sort(&mut repeated);
        repeated
    }

    fn contains(&self, value: &Value) -> bool {
        let hash = u64::from(value.hash(self.comparer)) << 32;
        let start = self.hashes.partition_point(|known| *known < hash);
        (self.hashes[start..].iter())
            .take_while(|known| **known >> 32 == hash >> 32)
            .any(|known| self.value(*known).equals(value, self.comparer))
    }
}

/// Sorts in parts, with a look for interrupts between them.
fn sort<T: Ord>(numbers: &mut [T]) {
    pgrx::check_for_interrupts!();
    if numbers.len() <= MOST_SORTED {
        return numbers.sort_unstable();
    }
    let (left, _, right) = numbers.select_nth_unstable(numbers.len() / 2);
    sort(left);
    sort(right);
}

/// Each value once, in the order in which they come first.
fn distinct(comparer: &Comparer, mut values: Values) -> Values {
    let repeated = Index::new(comparer, &values).repeated();
    let mut repeated = repeated.into_iter().peekable();
    if repeated.peek().is_some() {
        let mut position = 0;
        values.retain(|_| {
            let is_repeated = repeated.next_if_eq(&position).is_some();
            position += 1;
            !is_repeated
        });
    }
    values
}

/// Narrows a column's values by one more clause: `None` so far means any value.
pub fn narrow(
    ReadyBinding { binding, .. }: &ReadyBinding,
    so_far: Option<Values>,
    by: Values,
) -> Values {
    // A single value is distinct. To hash megabytes would take milliseconds.
    if so_far.is_none() && by.len() < 2 {
        return by;
    }
    let comparer = Comparer::new(value_type(&binding.attribute), binding.collation);
    match so_far {
        None => distinct(&comparer, by),
        Some(so_far) => {
            let by = Index::new(&comparer, &by);
            so_far
                .into_iter()
                .filter(|value| value.too_large.is_some() || by.contains(value))
                .collect()
        }
    }
}

/// A binding whose expression is ready to be evaluated.
pub struct ReadyBinding {
    binding: Binding<'static>,
    /// `None` for [`Kind::Null`].
    expression: Option<Expression<'static>>,
}

impl ReadyBinding {
    /// Initialises a binding of the plan of `parent`, which is evaluated with `econtext`, in the current memory context.
    pub fn init(
        binding: &Binding<'static>,
        parent: PlanState<'static>,
        econtext: ExprContext<'static>,
    ) -> ReadyBinding {
        ReadyBinding {
            binding: *binding,
            expression: (binding.node()).map(|node| Expression::init(node, parent, econtext)),
        }
    }

    /// The column of the table.
    pub fn attribute(&self) -> &Attribute {
        &self.binding.attribute
    }

    /// The column.
    pub fn column(&self) -> Column {
        self.binding.attribute.column
    }

    /// Evaluates the expression, and copies its values into the current memory context. A single value that is not to be `copied` stays in the
    /// per-tuple memory, which is there until the expression is evaluated for another row.
    pub fn evaluate(&self, copied: bool, most: usize) -> Result<Values, Error> {
        if self.binding.kind == Kind::Null {
            return Ok(smallvec![Value::NULL]);
        }
        let datum = self.expression.ok_or_else(not_initialised)?.evaluate();
        match (self.binding.kind, datum) {
            (Kind::NotDistinct, None) => Ok(smallvec![Value::NULL]),
            (_, None) => Ok(Values::new()),
            (kind, Some(datum)) => self.values(kind, datum, copied, most),
        }
    }

    fn values(
        &self,
        kind: Kind,
        datum: pg_sys::Datum,
        copied: bool,
        most: usize,
    ) -> Result<Values, Error> {
        let value_type = value_type(&self.binding.attribute);
        if kind != Kind::Any {
            // SAFETY: the planner has coerced the expression to the type.
            let value = unsafe { Toasted::new(datum, value_type) };
            return Ok(smallvec![Value::new(value, copied, most)]);
        }
        // SAFETY: the planner has coerced the expression to an array of the type.
        let mut elements = unsafe { Elements::new(datum, value_type) };
        memory::check_available(elements.len() * PER_VALUE, "list of values")?;
        if elements.len() == 1 {
            // A value that is alone may be freed before the others of its set.
            return Ok((elements.iter())
                .map(|element| Value::new(element, true, most))
                .collect());
        }
        elements.copy();
        let value = |element| Value::of_element(element, most);
        Ok(elements.iter().map(value).collect())
    }
}

/// The error of an expression that is not there.
pub fn not_initialised() -> Error {
    Error::Runtime("An expression was not initialised.".to_owned())
}

/// Bytes of a value beside its own: in its list, and where equal ones are looked for.
const PER_VALUE: usize = 256;
