//! The elements of an array (array.h).

use super::{Storage, Toasted};
use pgrx::pg_sys;

/// The elements of an array.
pub struct Elements<'p> {
    array: *mut pg_sys::varlena,
    /// Whether the array is a copy in the memory context that it was read into.
    is_copy: bool,
    datums: &'p mut [pg_sys::Datum],
    nulls: &'p [bool],
    type_oid: pg_sys::Oid,
    storage: Storage,
}

impl Elements<'_> {
    /// Reads an array of a type, as far as it is not whole into the current memory context.
    ///
    /// # Safety
    /// The datum is an array of the type, and in memory as long as the elements are used or until they are copied.
    pub unsafe fn new(array: pg_sys::Datum, type_oid: pg_sys::Oid) -> Self {
        let (mut datums, mut nulls) = (std::ptr::null_mut(), std::ptr::null_mut());
        let mut length = 0;
        let storage = Storage::of(type_oid);
        // SAFETY: the datum is an array of the type, which is stored so. The results have so many elements.
        unsafe {
            let whole = pg_sys::pg_detoast_datum(array.cast_mut_ptr());
            pg_sys::deconstruct_array(
                whole.cast(),
                type_oid,
                storage.length.into(),
                storage.by_value,
                storage.alignment,
                &mut datums,
                &mut nulls,
                &mut length,
            );
            Elements {
                is_copy: array.cast_mut_ptr() != whole,
                array: whole,
                datums: std::slice::from_raw_parts_mut(datums, length as usize),
                nulls: std::slice::from_raw_parts(nulls, length as usize),
                type_oid,
                storage,
            }
        }
    }

    /// Has the elements be parts of a copy of the array in the current memory context, which is the one that it was read into.
    pub fn copy(&mut self) {
        if std::mem::replace(&mut self.is_copy, true) || self.storage.by_value {
            return;
        }
        let before = self.array.addr();
        // SAFETY: the array has as many bytes as its header says, and the elements are among them.
        unsafe {
            let bytes = pgrx::varlena::varsize_any(self.array);
            let copy = pg_sys::palloc(bytes).cast::<u8>();
            std::ptr::copy_nonoverlapping(self.array.cast::<u8>(), copy, bytes);
            self.array = copy.cast();
        }
        for (datum, _) in (self.datums.iter_mut().zip(self.nulls)).filter(|(_, is_null)| !**is_null)
        {
            let offset = datum.value() - before;
            *datum = self.array.wrapping_byte_add(offset).into();
        }
    }

    /// How many there are, with nulls.
    pub fn len(&self) -> usize {
        self.datums.len()
    }

    /// Those that are not null.
    pub fn iter(&self) -> impl Iterator<Item = Toasted> {
        let (type_oid, storage) = (self.type_oid, self.storage);
        (self.datums.iter().zip(self.nulls))
            .filter(|(_, is_null)| !**is_null)
            .map(move |(datum, _)| Toasted {
                datum: *datum,
                type_oid,
                storage,
            })
    }
}
