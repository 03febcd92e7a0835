//! The database's extensions in the catalog (pg_extension.h).

use super::catalog;
use super::refs::FromRaw;
use super::text;
use pgrx::pg_sys;
use std::num::NonZeroUsize;

/// Name and version of each extension. Called in a transaction.
pub fn versions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    catalog::scan(pg_sys::ExtensionRelationId, |tuple, descriptor| {
        // SAFETY: name and version are never null, are of these types, and are copied.
        unsafe {
            let get = |number: u32| {
                let number = NonZeroUsize::new(number as usize)?;
                pgrx::htup::heap_getattr_raw(tuple, number, descriptor)
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
    });
    found
}
