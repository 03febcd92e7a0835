//! The values that a scan's clauses give an input column: evaluated, made distinct, and intersected.
//!
//! Values keep the order of their first occurrence. Equality is PostgreSQL's, in the collation of the clause. The meaning of a value to
//! Lambda is request.rs's.

use crate::error::Error;
use crate::memory;
use crate::plan::clause::{Binding, Kind, value_type};
use crate::postgres::text::for_server;
use pgrx::pg_sys;
use std::collections::HashMap;

/// A value of an input column, in the memory context of its set.
#[derive(Clone, Copy)]
pub struct Value {
    /// `None` is null: not given.
    pub datum: Option<pg_sys::Datum>,
    /// Whether it is a copy that belongs to this value alone.
    pub is_copy: bool,
    /// Bytes of a value that is too large to be sent, and so has no datum. It equals no other.
    pub too_large: Option<usize>,
}

impl Value {
    /// Null.
    pub const NULL: Value = Value {
        datum: None,
        is_copy: false,
        too_large: None,
    };

    /// A datum that belongs to someone else.
    pub fn borrowed(datum: pg_sys::Datum) -> Value {
        Value {
            datum: Some(datum),
            ..Value::NULL
        }
    }

    fn copied(datum: pg_sys::Datum) -> Value {
        Value {
            datum: Some(datum),
            is_copy: true,
            ..Value::NULL
        }
    }

    fn too_large(bytes: usize) -> Value {
        Value {
            too_large: Some(bytes),
            ..Value::NULL
        }
    }
}

/// Equality and hash of text or jsonb under one collation.
struct Comparer {
    entry: *mut pg_sys::TypeCacheEntry,
    collation: pg_sys::Oid,
}

impl Comparer {
    fn new(type_oid: pg_sys::Oid, collation: pg_sys::Oid) -> Comparer {
        // SAFETY: a look-up of a built-in type; entries of the type cache live as long as the backend.
        let entry = unsafe {
            pg_sys::lookup_type_cache(
                type_oid,
                (pg_sys::TYPECACHE_EQ_OPR_FINFO | pg_sys::TYPECACHE_HASH_PROC_FINFO) as _,
            )
        };
        let collation = if collation == pg_sys::InvalidOid && type_oid == pg_sys::TEXTOID {
            pg_sys::DEFAULT_COLLATION_OID
        } else {
            collation
        };
        Comparer { entry, collation }
    }

    fn hash(&self, value: &Value) -> u32 {
        value.datum.map_or(0, |datum| {
            // SAFETY: the datum is of the entry's type.
            unsafe {
                pg_sys::FunctionCall1Coll(&mut (*self.entry).hash_proc_finfo, self.collation, datum)
            }
            .value() as u32
        })
    }

    fn equal(&self, a: &Value, b: &Value) -> bool {
        match (a.datum, b.datum) {
            // SAFETY: both datums are of the entry's type.
            (Some(a), Some(b)) => unsafe {
                pg_sys::FunctionCall2Coll(&mut (*self.entry).eq_opr_finfo, self.collation, a, b)
                    .value()
                    != 0
            },
            (a, b) => a.is_none() && b.is_none(),
        }
    }
}

/// Distinct values with a look-up.
struct Set<'a> {
    comparer: &'a Comparer,
    values: Vec<Value>,
    by_hash: HashMap<u32, Vec<usize>>,
}

impl<'a> Set<'a> {
    fn new(comparer: &'a Comparer, values: impl IntoIterator<Item = Value>) -> Set<'a> {
        let mut set = Set {
            comparer,
            values: Vec::new(),
            by_hash: HashMap::new(),
        };
        for value in values {
            pgrx::check_for_interrupts!();
            if value.too_large.is_some() {
                set.values.push(value);
                continue;
            }
            let hash = comparer.hash(&value);
            if !set.has(hash, &value) {
                set.by_hash.entry(hash).or_default().push(set.values.len());
                set.values.push(value);
            }
        }
        set
    }

    fn has(&self, hash: u32, value: &Value) -> bool {
        self.by_hash.get(&hash).is_some_and(|indexes| {
            indexes
                .iter()
                .any(|index| self.comparer.equal(&self.values[*index], value))
        })
    }

    fn contains(&self, value: &Value) -> bool {
        self.has(self.comparer.hash(value), value)
    }
}

/// Narrows a column's values by one more clause: `None` so far means any value.
pub fn narrow(binding: &Binding, so_far: Option<Vec<Value>>, by: Vec<Value>) -> Vec<Value> {
    // A single value is distinct. To hash megabytes would take milliseconds.
    if so_far.is_none() && by.len() < 2 {
        return by;
    }
    let comparer = Comparer::new(value_type(&binding.attribute), binding.collation);
    match so_far {
        None => Set::new(&comparer, by).values,
        Some(so_far) => {
            let by = Set::new(&comparer, by);
            so_far
                .into_iter()
                .filter(|value| value.too_large.is_some() || by.contains(value))
                .collect()
        }
    }
}

/// Evaluates a binding's expression, and copies its values into the current memory context. A single value may have megabytes. Unless it is
/// to be `copied`, it stays in the per-tuple memory, which is there until the expression is evaluated for another row. Of a value with more
/// than `most` bytes only the size is kept.
///
/// # Safety
/// `state` is the initialised expression of the binding, or null for [`Kind::Null`]; `econtext` is the
/// scan's, and the current memory context lives as long as the values are used.
pub unsafe fn evaluate(
    binding: &Binding,
    state: *mut pg_sys::ExprState,
    econtext: *mut pg_sys::ExprContext,
    copied: bool,
    most: usize,
) -> Result<Vec<Value>, Error> {
    let value_type = value_type(&binding.attribute);
    if binding.kind == Kind::Null {
        return Ok(vec![Value::NULL]);
    }
    // SAFETY: the state is that of the binding, and what lives in the per-tuple context is copied.
    unsafe {
        match (binding.kind, run(state, econtext)?) {
            (Kind::NotDistinct, None) => Ok(vec![Value::NULL]),
            (_, None) => Ok(Vec::new()),
            (Kind::Any, Some(array)) => elements(array, value_type, most),
            (_, Some(datum)) => {
                if let Some(bytes) = too_large(datum, value_type, most) {
                    return Ok(vec![Value::too_large(bytes)]);
                }
                if copied {
                    return Ok(vec![Value::copied(copy(datum))]);
                }
                let whole = pg_sys::pg_detoast_datum(datum.cast_mut_ptr()).into();
                Ok(vec![match whole == datum {
                    true => Value::borrowed(datum),
                    false => Value::copied(whole),
                }])
            }
        }
    }
}

/// Whether a condition is true, which a null one is not.
///
/// # Safety
/// `condition` is an initialised Boolean expression, and `econtext` has what it is about.
pub unsafe fn is_true(
    condition: *mut pg_sys::ExprState,
    econtext: *mut pg_sys::ExprContext,
) -> Result<bool, Error> {
    // SAFETY: the condition is initialised, and the context has its row.
    let datum = unsafe { run(condition, econtext)? };
    Ok(datum.is_some_and(|datum| datum.value() != 0))
}

/// Runs an expression in the per-tuple context; `None` is null.
///
/// # Safety
/// `state` is null or initialised, and `econtext` has what it is about.
pub unsafe fn run(
    state: *mut pg_sys::ExprState,
    econtext: *mut pg_sys::ExprContext,
) -> Result<Option<pg_sys::Datum>, Error> {
    // SAFETY: the evaluation function belongs to the state. A call through a pointer needs the guard that turns PostgreSQL's
    // errors into unwinding.
    unsafe {
        let Some(evaluate) = state.as_ref().and_then(|state| state.evalfunc) else {
            return Err(Error::Runtime(
                "An expression was not initialised.".to_owned(),
            ));
        };
        let mut is_null = false;
        let context = pg_sys::MemoryContextSwitchTo((*econtext).ecxt_per_tuple_memory);
        let datum = pg_sys::ffi::pg_guard_ffi_boundary(|| evaluate(state, econtext, &mut is_null));
        pg_sys::MemoryContextSwitchTo(context);
        Ok((!is_null).then_some(datum))
    }
}

/// Bytes of a value beside its own: in its list, and in the hash table that finds equal ones.
const PER_VALUE: usize = 256;

/// The elements of a text or jsonb array that are not null.
unsafe fn elements(
    array: pg_sys::Datum,
    element_type: pg_sys::Oid,
    most: usize,
) -> Result<Vec<Value>, Error> {
    // SAFETY: both types are of variable length and aligned as integers (pg_type).
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let mut datums = std::ptr::null_mut();
        let mut nulls = std::ptr::null_mut();
        let mut length = 0;
        pg_sys::deconstruct_array(
            array,
            element_type,
            -1,
            false,
            pg_sys::TYPALIGN_INT as _,
            &mut datums,
            &mut nulls,
            &mut length,
        );
        memory::check_available(length as usize * PER_VALUE, "list of values")?;
        Ok((0..length as usize)
            .filter(|index| !*nulls.add(*index))
            .map(|index| {
                let datum = *datums.add(index);
                match too_large(datum, element_type, most) {
                    Some(bytes) => Value::too_large(bytes),
                    None => Value::copied(copy(datum)),
                }
            })
            .collect())
    }
}

/// The bytes of a value, if its printed form surely has more than `most`. The value is not read.
///
/// # Safety
/// The datum is of type `value_type`.
pub unsafe fn too_large(
    datum: pg_sys::Datum,
    value_type: pg_sys::Oid,
    most: usize,
) -> Option<usize> {
    // SAFETY: text, json and jsonb are varlenas.
    let (bytes, encoding, widest) = unsafe {
        (
            pg_sys::toast_raw_datum_size(datum).saturating_sub(pg_sys::VARHDRSZ),
            pg_sys::GetDatabaseEncoding(),
            pg_sys::pg_database_encoding_max_length(),
        )
    };
    let at_most = if value_type == pg_sys::JSONBOID {
        // A number of one digit takes four times its printed form, and nothing takes more. Twice that leaves a margin.
        8
    } else if widest > 1 && encoding != pg_sys::pg_enc::PG_UTF8 as i32 {
        // A character takes at most four times as many bytes as in UTF-8.
        4
    } else {
        1
    };
    (bytes / at_most > most).then_some(bytes)
}

/// Copies a text or jsonb.
///
/// # Safety
/// The datum is a varlena.
pub unsafe fn copy(datum: pg_sys::Datum) -> pg_sys::Datum {
    // SAFETY: text and jsonb are varlenas; the copy is whole and lies in the current memory context.
    unsafe { pg_sys::Datum::from(pg_sys::pg_detoast_datum_copy(datum.cast_mut_ptr())) }
}

/// The value of a text that an option gives.
pub fn from_text(text: &str) -> Value {
    // SAFETY: copies a zero-terminated string into the current memory context.
    let datum = unsafe { pg_sys::cstring_to_text(for_server(text).as_ptr()) };
    Value::copied(datum.into())
}

/// The printed form of a value, in UTF-8.
///
/// Errors where there is no memory for it.
///
/// # Safety
/// The value is of type `value_type`, and still in memory.
pub unsafe fn print(value: &Value, value_type: pg_sys::Oid) -> Result<Option<Vec<u8>>, Error> {
    let Some(datum) = value.datum else {
        return Ok(None);
    };
    // SAFETY: jsonb_out gives a zero-terminated string; a text that `copy` made is whole, with a 4-byte header.
    unsafe {
        let (start, length) = if value_type == pg_sys::JSONBOID {
            let printed =
                pg_sys::OidOutputFunctionCall(pg_sys::Oid::from(pg_sys::F_JSONB_OUT), datum);
            (printed, std::ffi::CStr::from_ptr(printed).count_bytes())
        } else {
            let text = datum.cast_mut_ptr::<pg_sys::varlena>();
            (
                pgrx::varlena::vardata_any(text).cast_mut(),
                pgrx::varlena::varsize_any_exhdr(text),
            )
        };
        let utf8 = pg_sys::pg_server_to_any(start, length as _, pg_sys::pg_enc::PG_UTF8 as _);
        let length = if utf8 == start {
            length
        } else {
            std::ffi::CStr::from_ptr(utf8).count_bytes()
        };
        let printed = copied(std::slice::from_raw_parts(utf8.cast::<u8>(), length));
        // It may have megabytes, and the context may live as long as the value.
        if utf8 != start {
            pg_sys::pfree(utf8.cast());
        }
        if value_type == pg_sys::JSONBOID {
            pg_sys::pfree(start.cast());
        }
        printed.map(Some)
    }
}

/// A copy. Errors where there is no memory, as Rust would abort the process, and the server with it.
fn copied(bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let mut copy = Vec::new();
    memory::try_reserve(&mut copy, bytes.len()).map_err(|()| Error::OutOfMemory {
        what: "value",
        bytes: bytes.len(),
    })?;
    copy.extend_from_slice(bytes);
    Ok(copy)
}
