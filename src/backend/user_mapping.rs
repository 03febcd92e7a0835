//! The user mapping of a role, and the explanation where a role has no keys in one.

use super::config::read_options;
use crate::lambda::credentials::NoKeys;
use crate::options::Options;
use crate::postgres::text;
use pgrx::pg_sys;

/// A user mapping.
pub struct Mapping {
    /// Its options.
    pub options: Options,
    /// Whether it is the mapping of PUBLIC.
    pub is_publics: bool,
}

impl Mapping {
    /// The mapping of the role, else that of PUBLIC. `None` if there is neither, where `GetUserMapping` would raise an error.
    ///
    /// # Safety
    /// Called in a transaction, in the backend's thread.
    pub unsafe fn read(user: pg_sys::Oid, server: pg_sys::Oid) -> Option<Mapping> {
        [user, pg_sys::InvalidOid].into_iter().find_map(|role| {
            // SAFETY: a look-up by the cache's two keys. The tuple is released at once, and GetUserMapping returns a palloc'd copy.
            unsafe {
                let tuple = pg_sys::SearchSysCache2(
                    pg_sys::SysCacheIdentifier::USERMAPPINGUSERSERVER as _,
                    role.into(),
                    server.into(),
                );
                if tuple.is_null() {
                    return None;
                }
                pg_sys::ReleaseSysCache(tuple);
                Some(Mapping {
                    options: read_options((*pg_sys::GetUserMapping(user, server)).options),
                    is_publics: role == pg_sys::InvalidOid,
                })
            }
        })
    }
}

/// Why a role has no keys for a server, and the statement that adds keys. `is_publics` is that of its mapping, if it has one.
///
/// # Safety
/// Called in a transaction, in the backend's thread, with a server of the catalog.
pub unsafe fn no_keys(
    user: pg_sys::Oid,
    server: &pg_sys::ForeignServer,
    is_publics: Option<bool>,
    use_machine: bool,
) -> NoKeys {
    // SAFETY: names are those of the catalog, or palloc'd copies of them; a role may be gone.
    let name = |role: pg_sys::Oid| unsafe {
        let name = pg_sys::GetUserNameFromId(role, true);
        (!name.is_null()).then_some(name)
    };
    // SAFETY: the name is zero-terminated.
    let shown =
        |role| name(role).map_or_else(|| role.to_string(), |name| unsafe { text::shown(name) });
    // SAFETY: the name is zero-terminated.
    let quoted = |name: *const _| unsafe { text::shown(pg_sys::quote_identifier(name)) };
    // SAFETY: reads the outer role.
    let caller = unsafe { pg_sys::GetOuterUserId() };
    // SAFETY: the server's name is zero-terminated.
    let server_shown = unsafe { text::shown(server.servername) };
    let (role, server) = (shown(user), quoted(server.servername));
    let mut why = match is_publics {
        None => format!("Role \"{role}\" has no user mapping for server \"{server_shown}\"."),
        Some(true) => format!(
            "Role \"{role}\" has no user mapping for server \"{server_shown}\" but PUBLIC's, which has no access_key_id and secret_access_key."
        ),
        Some(false) => format!(
            "The user mapping of role \"{role}\" for server \"{server_shown}\" has no access_key_id and secret_access_key."
        ),
    };
    if caller != user {
        why.push_str(&format!(
            " It owns the function or view that invokes, so its user mapping counts, and not that of \"{}\".",
            shown(caller)
        ));
    }
    let role = name(user).map_or(role, |name| quoted(name));
    let mut remedy = match is_publics {
        Some(false) => format!(
            "Use ALTER USER MAPPING FOR {role} SERVER {server} OPTIONS (ADD access_key_id '...', ADD secret_access_key '...')"
        ),
        _ => format!(
            "Use CREATE USER MAPPING FOR {role} SERVER {server} OPTIONS (access_key_id '...', secret_access_key '...')"
        ),
    };
    if use_machine {
        remedy.push_str(
            ", or give the server process credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in its environment, or a profile in ~/.aws of its user",
        );
    }
    remedy.push('.');
    NoKeys {
        reason: why,
        hint: remedy,
    }
}
