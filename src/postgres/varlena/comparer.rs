//! Equality and hash of values (typcache.h).

use super::{Toasted, Varlena};
use crate::postgres::catalog;
use crate::postgres::refs::{Ref, calls, parts};
use pgrx::pg_sys;
use std::hash::{DefaultHasher, Hash, Hasher};

parts! {
    TypeCacheEntry.hash_proc_finfo as hash_function: FmgrInfo;
    TypeCacheEntry.eq_opr_finfo as equality: FmgrInfo;
}

calls! {
    /// Entries live as long as the backend.
    fn type_cache_entry(type_oid: pg_sys::Oid, parts: i32) -> Ref<'static, pg_sys::TypeCacheEntry> = lookup_type_cache(type_oid, parts);
    /// The function takes values of the type.
    fn call_1(function: Ref<pg_sys::FmgrInfo>, collation: pg_sys::Oid, value: Toasted) -> pg_sys::Datum
        = FunctionCall1Coll(function, collation, value);
    /// The function takes values of the type.
    fn call_2(function: Ref<pg_sys::FmgrInfo>, collation: pg_sys::Oid, a: Toasted, b: Toasted) -> pg_sys::Datum
        = FunctionCall2Coll(function, collation, a, b);
}

/// Equality and hash of a type under one collation.
pub struct Comparer {
    entry: Ref<'static, pg_sys::TypeCacheEntry>,
    collation: pg_sys::Oid,
    /// Whether values are equal if their bytes are. That takes a part of the time of calls into PostgreSQL.
    is_of_bytes: bool,
}

impl Comparer {
    /// That of a type.
    pub fn new(type_oid: pg_sys::Oid, collation: pg_sys::Oid) -> Comparer {
        let parts = pg_sys::TYPECACHE_EQ_OPR_FINFO | pg_sys::TYPECACHE_HASH_PROC_FINFO;
        let entry = type_cache_entry(type_oid, parts as i32);
        let collation = match collation {
            pg_sys::InvalidOid => pg_sys::DEFAULT_COLLATION_OID,
            _ => collation,
        };
        let is_text = entry.equality().fn_oid.to_u32() == pg_sys::F_TEXTEQ;
        Comparer {
            entry,
            collation,
            is_of_bytes: is_text && catalog::is_deterministic(collation),
        }
    }

    fn is_for(&self, value: Varlena) -> bool {
        value.0.type_oid == self.entry.type_id
    }

    /// The hash of a value of the type: 0 where the type has none.
    pub fn hash(&self, value: Varlena) -> u32 {
        if self.is_of_bytes && self.is_for(value) {
            let mut hasher = DefaultHasher::new();
            value.text_bytes().hash(&mut hasher);
            return hasher.finish() as u32;
        }
        if !self.is_for(value) || self.entry.hash_function().fn_oid == pg_sys::InvalidOid {
            return 0;
        }
        call_1(self.entry.hash_function(), self.collation, value.0).value() as u32
    }

    /// Whether two values of the type are equal.
    pub fn equal(&self, a: Varlena, b: Varlena) -> bool {
        let has_equality = self.entry.equality().fn_oid != pg_sys::InvalidOid;
        if !self.is_for(a) || !self.is_for(b) || !has_equality {
            return false;
        }
        if self.is_of_bytes {
            return a.text_bytes() == b.text_bytes();
        }
        call_2(self.entry.equality(), self.collation, a.0, b.0).value() != 0
    }
}
