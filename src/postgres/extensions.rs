//! The database's extensions in the catalog (pg_extension.h).

use super::refs::FromRaw;
use super::text;
use pgrx::pg_sys;
use std::num::NonZeroUsize;

/// Name and version of each extension. Called in a transaction.
pub fn versions() -> Vec<(String, String)> {
    let lock = pg_sys::AccessShareLock as i32;
    let mut found = Vec::new();
    // SAFETY: a scan of a catalog in its own order, with no index and no keys. Name and version are never null, and are
    // copied before the next row.
    unsafe {
        let relation = pg_sys::table_open(pg_sys::ExtensionRelationId, lock);
        let scan = pg_sys::systable_beginscan(
            relation,
            pg_sys::InvalidOid,
            false,
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let get = |number: u32| {
                let number = NonZeroUsize::new(number as usize)?;
                pgrx::htup::heap_getattr_raw(tuple, number, (*relation).rd_att)
            };
            let name = get(pg_sys::Anum_pg_extension_extname);
            let version = get(pg_sys::Anum_pg_extension_extversion);
            if let (Some(name), Some(version)) = (name, version) {
                let version = pg_sys::text_to_cstring(version.cast_mut_ptr());
                found.push((
                    text::shown(Some(text::name(&*name.cast_mut_ptr()))),
                    text::shown(FromRaw::from_raw(version)),
                ));
            }
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(relation, lock);
    }
    found
}
