//! Values of any type, and their copies (varatt.h, datum.h). [`elements`] has those of arrays, and [`comparer`] compares values.

pub mod comparer;
pub mod elements;

use super::refs::{Ref, ToRaw, calls, pointers};
use super::text;
use crate::error::Error;
use crate::memory;
use pgrx::pg_sys;
use std::ffi::CStr;

/// How values of a type are stored (pg_type).
#[derive(Clone, Copy)]
struct Storage {
    /// Bytes, or -1 where they vary and stand behind a header.
    length: i16,
    by_value: bool,
    alignment: std::ffi::c_char,
}

impl Storage {
    fn of(type_oid: pg_sys::Oid) -> Storage {
        let mut storage = Storage {
            length: -1,
            by_value: false,
            alignment: pg_sys::TYPALIGN_INT as _,
        };
        let is_known = matches!(
            type_oid,
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::JSONOID | pg_sys::JSONBOID
        );
        if !is_known {
            look_up_storage(
                type_oid,
                &mut storage.length,
                &mut storage.by_value,
                &mut storage.alignment,
            );
        }
        storage
    }

    fn is_varlena(self) -> bool {
        self.length == -1
    }
}

/// A value that may be compressed, or stored elsewhere.
#[derive(Clone, Copy)]
pub struct Toasted {
    datum: pg_sys::Datum,
    type_oid: pg_sys::Oid,
    storage: Storage,
}

impl ToRaw<pg_sys::Datum> for Toasted {
    fn to_raw(self) -> pg_sys::Datum {
        self.datum
    }
}

pointers! { Toasted => pg_sys::varlena: value => value.datum.cast_mut_ptr(); }

calls! {
    fn look_up_storage(type_oid: pg_sys::Oid, length: &mut i16, by_value: &mut bool, alignment: &mut std::ffi::c_char)
        = get_typlenbyvalalign(type_oid, length, by_value, alignment);
    fn copied_datum(datum: pg_sys::Datum, by_value: bool, length: i32) -> pg_sys::Datum = datumCopy(datum, by_value, length);
    fn widest_character() -> i32 = pg_database_encoding_max_length();
    fn raw_size(value: Toasted) -> usize = toast_raw_datum_size(value);
    fn detoasted<'p>(value: Toasted) -> Ref<'p, pg_sys::varlena> = pg_detoast_datum(value);
    fn detoasted_copy<'p>(value: Toasted) -> Ref<'p, pg_sys::varlena> = pg_detoast_datum_copy(value);
    fn new_text<'p>(text: &CStr) -> Ref<'p, pg_sys::varlena> = cstring_to_text(text);
}

impl Toasted {
    /// A value of a type.
    ///
    /// # Safety
    /// The datum is of the type, and in memory as long as this value and what is made of it are used.
    pub unsafe fn new(datum: pg_sys::Datum, type_oid: pg_sys::Oid) -> Toasted {
        Toasted {
            datum,
            type_oid,
            storage: Storage::of(type_oid),
        }
    }

    fn with(self, datum: pg_sys::Datum) -> Varlena {
        Varlena(Toasted { datum, ..self })
    }

    /// Whether all of a value is here as it is: neither compressed nor stored elsewhere. It may have a short header, which functions and slots take.
    fn is_plain(self) -> bool {
        let start = self.datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the value begins with a header.
        self.storage.is_varlena()
            && unsafe {
                pgrx::varlena::varatt_is_4b_u(start)
                    || pgrx::varlena::varatt_is_1b(start) && !pgrx::varlena::varatt_is_1b_e(start)
            }
    }

    /// Bytes of a value, which is whole or not.
    fn bytes(self) -> usize {
        match self.is_plain() {
            // SAFETY: the value is here, and has a header.
            true => unsafe { pgrx::varlena::varsize_any_exhdr(self.datum.cast_mut_ptr()) },
            false => raw_size(self).saturating_sub(pg_sys::VARHDRSZ),
        }
    }

    /// The bytes of a text, json or jsonb, if its printed form surely has more than `most`. The value is not read.
    pub fn longer_than(self, most: usize) -> Option<usize> {
        let is_text = matches!(
            self.type_oid,
            pg_sys::TEXTOID | pg_sys::VARCHAROID | pg_sys::JSONOID | pg_sys::JSONBOID
        );
        if !is_text {
            return None;
        }
        let bytes = self.bytes();
        if bytes <= most {
            return None;
        }
        let (encoding, widest) = (text::database_encoding(), widest_character());
        let at_most = if self.type_oid == pg_sys::JSONBOID {
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

    /// A copy in the current memory context.
    pub fn copy(self) -> Varlena {
        let storage = self.storage;
        self.with(match storage.is_varlena() && !self.is_plain() {
            true => detoasted_copy(self).as_ptr().into(),
            false => copied_datum(self.datum, storage.by_value, storage.length.into()),
        })
    }

    /// The whole value: this one, or a copy in the current memory context.
    pub fn detoast(self) -> Varlena {
        self.with(match self.storage.is_varlena() && !self.is_plain() {
            true => detoasted(self).as_ptr().into(),
            false => self.datum,
        })
    }

    /// The value for a call into PostgreSQL.
    pub fn datum(self) -> pg_sys::Datum {
        self.datum
    }

    /// Whether a value that `detoast` gave is this one and no copy.
    pub fn is(self, whole: Varlena) -> bool {
        self.datum == whole.0.datum
    }
}

/// A value that is whole.
#[derive(Clone, Copy)]
pub struct Varlena(Toasted);

impl Varlena {
    fn made(whole: Ref<pg_sys::varlena>, type_oid: pg_sys::Oid) -> Varlena {
        Varlena(Toasted {
            datum: whole.as_ptr().into(),
            type_oid,
            storage: Storage::of(type_oid),
        })
    }

    /// A new text in the current memory context.
    pub fn of_text(text: &str) -> Varlena {
        Varlena::made(new_text(&text::for_server(text)), pg_sys::TEXTOID)
    }

    /// A new text in the current memory context, of bytes in the database's encoding.
    pub fn of_server(bytes: &[u8]) -> Varlena {
        // SAFETY: copies that many bytes.
        let made = unsafe {
            let start = bytes.as_ptr().cast();
            Ref::new(pg_sys::cstring_to_text_with_len(start, bytes.len() as _))
        };
        Varlena::made(made, pg_sys::TEXTOID)
    }

    /// The value for a call into PostgreSQL.
    pub fn datum(self) -> pg_sys::Datum {
        self.0.datum
    }

    /// A copy in the current memory context.
    pub fn copy(self) -> Varlena {
        self.0.copy()
    }

    /// Frees the value.
    ///
    /// # Safety
    /// It was allocated by itself, and is not used afterwards.
    pub unsafe fn free(self) {
        if !self.0.storage.by_value {
            // SAFETY: the contract of this function says that nobody else has the value.
            unsafe { pg_sys::pfree(self.datum().cast_mut_ptr()) };
        }
    }

    /// The printed form of a jsonb, in the database's encoding.
    pub fn print_for_server(self) -> Vec<u8> {
        // SAFETY: jsonb_out gives a zero-terminated string, which is freed once it is copied.
        unsafe {
            let function = pg_sys::Oid::from(pg_sys::F_JSONB_OUT);
            let printed = pg_sys::OidOutputFunctionCall(function, self.datum());
            let copy = CStr::from_ptr(printed).to_bytes().to_vec();
            pg_sys::pfree(printed.cast());
            copy
        }
    }

    /// The bytes of a text or of what is stored as one.
    fn text_bytes(&self) -> &[u8] {
        let text = self.datum().cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the value is whole, and has so many bytes behind its header.
        unsafe {
            let length = pgrx::varlena::varsize_any_exhdr(text);
            std::slice::from_raw_parts(pgrx::varlena::vardata_any(text).cast(), length)
        }
    }

    /// The printed form of a text, json or jsonb, in UTF-8.
    ///
    /// Errors where there is no memory for it.
    pub fn print(self) -> Result<Vec<u8>, Error> {
        let (datum, is_jsonb) = (self.datum(), self.0.type_oid == pg_sys::JSONBOID);
        // The output function would leave such a copy of a value with a short header.
        let whole = match is_jsonb {
            true => detoasted(self.0).as_ptr().into(),
            false => datum,
        };
        // SAFETY: jsonb_out gives a zero-terminated string. The other types are text with a header, which is whole.
        unsafe {
            let (start, length) = if is_jsonb {
                let printed =
                    pg_sys::OidOutputFunctionCall(pg_sys::Oid::from(pg_sys::F_JSONB_OUT), whole);
                (printed, CStr::from_ptr(printed).count_bytes())
            } else {
                let text = datum.cast_mut_ptr::<pg_sys::varlena>();
                (
                    pgrx::varlena::vardata_any(text).cast_mut(),
                    pgrx::varlena::varsize_any_exhdr(text),
                )
            };
            let bytes = std::slice::from_raw_parts(start.cast::<u8>(), length);
            // ASCII is a part of all encodings of a database.
            let utf8 = match bytes.is_ascii() {
                true => start,
                false => pg_sys::pg_server_to_any(start, length as _, pg_sys::pg_enc::PG_UTF8 as _),
            };
            let length = if utf8 == start {
                length
            } else {
                CStr::from_ptr(utf8).count_bytes()
            };
            let printed = copied(std::slice::from_raw_parts(utf8.cast::<u8>(), length));
            // It may have megabytes, and the context may live as long as the value.
            if utf8 != start {
                pg_sys::pfree(utf8.cast());
            }
            if is_jsonb {
                pg_sys::pfree(start.cast());
            }
            if whole != datum {
                pg_sys::pfree(whole.cast_mut_ptr());
            }
            printed
        }
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
