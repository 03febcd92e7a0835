//! The user mapping of a role, and the explanation where a role has no keys in one.

use crate::lambda::credentials::NoKeys;
use crate::options::Options;
use crate::postgres::refs::Ref;
use crate::postgres::{catalog, text};
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
    pub fn read(user: pg_sys::Oid, server: pg_sys::Oid) -> Option<Mapping> {
        let role = [user, pg_sys::InvalidOid]
            .into_iter()
            .find(|role| catalog::has_user_mapping(*role, server))?;
        Some(Mapping {
            options: Options::of_list(catalog::user_mapping(user, server).options()),
            is_publics: role == pg_sys::InvalidOid,
        })
    }
}

/// Why a role has no keys for a server, and the statement that adds keys. `is_publics` is that of its mapping, if it has one.
pub fn no_keys(
    user: pg_sys::Oid,
    server: Ref<pg_sys::ForeignServer>,
    is_publics: Option<bool>,
    use_machine: bool,
) -> NoKeys {
    let name = catalog::role_name(user);
    // A role may be gone.
    let shown = |role: pg_sys::Oid, name: Option<_>| {
        name.map_or_else(|| role.to_string(), |name| text::shown(Some(name)))
    };
    let caller = catalog::outer_role();
    let server_shown = text::shown(server.name());
    let role = shown(user, name);
    let server = catalog::shown_in_sql(server.name());
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
            " It owns the function or view that invokes, or has queued the invocation, so its user mapping counts, and not that of \"{}\".",
            shown(caller, catalog::role_name(caller))
        ));
    }
    let role = name.map_or(role, |name| catalog::shown_in_sql(Some(name)));
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
